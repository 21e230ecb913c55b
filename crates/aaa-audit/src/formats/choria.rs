//! The JSON lines of a Choria node's audit: `{timestamp, request_id, request_time, caller, sender, agent, action, data}`.
//!
//! A node writes what it is about to do; we also write what was refused. So `kind` (`sign` or `login`), `decision` (`allow`,
//! `deny` or `unknown`) and, of refusals, the `reason` code follow what a node writes. Where there is no request its members are
//! empty, and `request_id` is the id that the service's log has; a login is the action `login` of the agent `aaa_login`.

use std::fmt::Write as _;

use aaa_core::audit::{Record, Subject};
use aaa_core::request::Body;

use super::{action, caller, json, reason, unreadable, username};

pub(super) fn write(out: &mut String, record: &Record) {
    let stamp = record.time.strftime("%Y-%m-%dT%H:%M:%S%.6f+0000");
    let _infallible = write!(out, "{{\"timestamp\":\"{stamp}\"");
    match &record.subject {
        Subject::Sign(request) => {
            start(out, request.id(), request.time().as_second());
            json::member(out, "caller", caller(record));
            json::member(out, "sender", request.sender());
            json::member(out, "agent", request.agent());
            json::member(out, "action", record.action_of(request));
            match request.body() {
                Body::Plain => data(out, "null"),
                Body::Rpc { data: inputs, .. } => data(out, &inputs.to_string()),
            }
        }
        Subject::Unreadable { length, digest } => {
            bare(out, record, ("", ""));
            data(out, &unreadable(*length, digest));
        }
        Subject::Login { username: name } => {
            bare(out, record, ("aaa_login", "login"));
            let mut inputs = String::from("{\"username\":");
            json::string(&mut inputs, &username(name));
            inputs.push('}');
            data(out, &inputs);
        }
    }
    let kind = match &record.subject {
        Subject::Login { .. } => "login",
        Subject::Sign(_) | Subject::Unreadable { .. } => "sign",
    };
    json::member(out, "kind", kind);
    json::member(out, "decision", action(record));
    if let Some(reason) = reason(record) {
        json::member(out, "reason", reason);
    }
    out.push('}');
}

/// The members of what is no request.
fn bare(out: &mut String, record: &Record, (agent, action): (&str, &str)) {
    start(out, &record.exchange.id, record.time.as_second());
    json::member(out, "caller", caller(record));
    json::member(out, "sender", "");
    json::member(out, "agent", agent);
    json::member(out, "action", action);
}

fn start(out: &mut String, id: &str, time: i64) {
    json::member(out, "request_id", id);
    let _infallible = write!(out, ",\"request_time\":{time}");
}

fn data(out: &mut String, json: &str) {
    out.push_str(",\"data\":");
    json::compact(out, json);
}
