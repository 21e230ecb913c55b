//! The lines of `aaasvc`'s file auditor, which come from the JSON formatter of logrus: members in the order of the alphabet,
//! time to the second, in RFC 3339.

use aaa_core::audit::{Record, Subject};

use super::{action, caller, json, request_text, unreadable, username};

pub(super) fn write(out: &mut String, record: &Record) {
    out.push_str("{\"action\":\"");
    out.push_str(action(record));
    out.push_str("\",\"auditor\":\"logfile\",\"caller\":");
    json::string(out, caller(record));
    out.push_str(",\"level\":\"info\",\"msg\":");
    match &record.subject {
        Subject::Sign(request) => json::string(out, &request_text(record, request)),
        Subject::Unreadable { length, digest } => json::string(out, &unreadable(*length, digest)),
        Subject::Login { username } => json::string(out, &login(username)),
    }
    out.push_str(",\"site\":");
    json::string(out, &record.site);
    out.push_str(",\"time\":\"");
    out.push_str(&record.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    out.push_str("\"}");
}

/// No request looks like this: theirs have a `protocol`.
fn login(name: &str) -> String {
    let mut text = String::from("{\"login\":{\"username\":");
    json::string(&mut text, &username(name));
    text.push_str("}}");
    text
}
