//! The lines of `MCollective`'s native audit log:
//! `[2016-12-13 08:32:34 UTC] reqid=30d7…: reqtime=1481617954 caller=choria=rip.mcollective@dev3 agent=rpcutil action=ping data={:process_results=>true}`.
//!
//! Such a line says that something is done. What was allowed is written exactly so; before the `reqid` of anything else stand
//! `kind=login`, `decision=` and `reason=`, where nothing from outside gets and where a reader of the native line does not
//! take it for an action. Values before `data` have no space in them, and a sender has no `@`, so that
//! a request cannot add fields or lend itself another's name. What there is none of is `-`.

use std::fmt::Write as _;

use aaa_core::audit::{Record, Subject};
use aaa_core::request::Body;
use serde_json::{Value, json};

use super::{action, caller, reason, ruby, username};

pub(super) fn write(out: &mut String, record: &Record) {
    let stamp = record.time.strftime("[%Y-%m-%d %H:%M:%S UTC]");
    let _infallible = write!(out, "{stamp}");
    if let Subject::Login { .. } = &record.subject {
        out.push_str(" kind=login");
    }
    if action(record) != "allow" {
        let reason = reason(record).unwrap_or("-");
        let _infallible = write!(out, " decision={} reason={reason}", action(record));
    }
    match &record.subject {
        Subject::Sign(request) => {
            let line = Line {
                id: request.id(),
                time: request.time().as_second(),
                caller: caller(record),
                sender: request.sender(),
                agent: request.agent(),
                action: record.action_of(request),
            };
            match request.body() {
                Body::Plain => line.write(out, &Value::Null),
                Body::Rpc { data, .. } => line.write(out, data),
            }
        }
        Subject::Unreadable { length, digest } => {
            Line::bare(record, "", "").write(out, &json!({"length": length, "sha256": digest}));
        }
        Subject::Login { username: name } => {
            Line::bare(record, "aaa_login", "login")
                .write(out, &json!({"username": username(name)}));
        }
    }
}

struct Line<'a> {
    id: &'a str,
    time: i64,
    caller: &'a str,
    sender: &'a str,
    agent: &'a str,
    action: &'a str,
}

impl<'a> Line<'a> {
    /// The fields of what is no request.
    fn bare(record: &'a Record, agent: &'a str, action: &'a str) -> Self {
        Self {
            id: &record.exchange.id,
            time: record.time.as_second(),
            caller: caller(record),
            sender: "",
            agent,
            action,
        }
    }

    fn write(&self, out: &mut String, data: &Value) {
        out.push_str(" reqid=");
        word(out, self.id, &[]);
        let _infallible = write!(out, ": reqtime={} caller=", self.time);
        word(out, self.caller, &[]);
        out.push('@');
        word(out, self.sender, &['@']);
        out.push_str(" agent=");
        word(out, self.agent, &[]);
        out.push_str(" action=");
        word(out, self.action, &[]);
        out.push_str(" data=");
        ruby::inspect_inputs(out, data);
    }
}

/// A value that cannot be taken for two, or for another: space, controls and backslashes by their number.
fn word(out: &mut String, value: &str, also: &[char]) {
    if value.is_empty() {
        out.push('-');
    }
    for c in value.chars() {
        if c == '\\' || c.is_whitespace() || !super::is_plain(c) || also.contains(&c) {
            ruby::by_number(out, c);
        } else {
            out.push(c);
        }
    }
}
