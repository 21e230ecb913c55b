//! `io.choria.signer.v1.signature_audit`, <https://choria.io/schemas/choria/signer/v1/signature_audit.json>.
//!
//! The schema wants the request as a string of JSON. What `aaasvc` sends has the object in its place, and readers made
//! for that can have it so. Logins are not signatures, and have no place in it.

use std::fmt::Write as _;

use aaa_core::audit::{Record, Subject};
use aaa_core::json::Strict;

use super::{RequestEncoding, action, caller, json, request_text, unreadable};

/// `None` for what the schema has no words for; `out` is then as it was.
pub(super) fn write(out: &mut String, record: &Record, encoding: RequestEncoding) -> Option<()> {
    let request = match &record.subject {
        Subject::Sign(request) => request_text(record, request),
        Subject::Unreadable { length, digest } => unreadable(*length, digest).into(),
        Subject::Login { .. } => return None,
    };
    out.push_str("{\"protocol\":\"io.choria.signer.v1.signature_audit\",\"callerid\":");
    json::string(out, caller(record));
    out.push_str(",\"action\":\"");
    out.push_str(action(record));
    out.push_str("\",\"site\":");
    json::string(out, &record.site);
    let _infallible = write!(out, ",\"time\":{}", record.time.as_second());
    out.push_str(",\"request\":");
    match encoding {
        RequestEncoding::Object if everybody_reads(&request) => json::compact(out, &request),
        _ => json::string(out, &request),
    }
    out.push('}');
    Some(())
}

/// Whether readers can take the request in as part of a document.
///
/// In members that nothing interprets, a request may hold numbers out of range, half a surrogate pair or a thousand brackets.
/// In a string they do no harm; as a part of the record they would make it one that tools cannot read, which is to hide it.
fn everybody_reads(request: &str) -> bool {
    serde_json::from_str::<Strict>(request).is_ok()
}
