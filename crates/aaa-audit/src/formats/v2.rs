//! `io.choria.aaa.v2.audit`: everything that is known of a decision, for machines. The contract is `docs/audit-records.md`, with
//! its schema beside it.
//!
//! What a request says of itself stands in `claimed` and `request`; everything else is ours.

use std::fmt::Write as _;

use aaa_core::audit::{Outcome, Record, Subject};
use aaa_core::caller::CallerId;
use aaa_core::filter::Filter;
use aaa_core::request::{Body, Request, Version};
use serde_json::Value;

use super::redaction::{Redacted, Redaction};
use super::{json, unreadable, username};

/// The name of the format, as the member `protocol`.
pub const PROTOCOL: &str = "io.choria.aaa.v2.audit";

/// Writes a record but for its end: the place in a chain follows, and a brace.
pub(super) fn write(out: &mut String, record: &Record, instance: &str, redaction: &Redaction) {
    let _infallible = write!(out, "{{\"protocol\":\"{PROTOCOL}\",\"id\":");
    json::string(out, &record.id);
    let stamp = record.time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let _infallible = write!(out, ",\"time\":\"{stamp}\"");
    json::member(out, "site", &record.site);
    json::member(out, "instance", instance);
    json::member(out, "front", record.exchange.front.label());
    let kind = match &record.subject {
        Subject::Login { .. } => "login",
        Subject::Sign(_) | Subject::Unreadable { .. } => "sign",
    };
    json::member(out, "kind", kind);
    json::member(out, "exchange", &record.exchange.id);
    optional(out, "trace", record.exchange.trace.as_deref());
    optional(out, "caller", record.caller.as_ref().map(CallerId::as_str));
    match &record.subject {
        Subject::Sign(request) => json::member(out, "claimed", request.claimed_caller()),
        Subject::Login { username: name } => json::member(out, "claimed", &username(name)),
        Subject::Unreadable { .. } => out.push_str(",\"claimed\":null"),
    }
    optional(out, "token", record.token.as_deref());
    match &record.subject {
        Subject::Sign(asked) => request(out, record, asked, redaction),
        Subject::Unreadable { length, digest } => {
            let _infallible = write!(out, ",\"unreadable\":{}", unreadable(*length, digest));
        }
        Subject::Login { .. } => {}
    }
    match &record.outcome {
        Outcome::Allowed { rule } => {
            json::member(out, "decision", "allow");
            json::member(out, "rule", rule);
        }
        Outcome::Refused { reason, detail } => {
            json::member(out, "decision", "deny");
            json::member(out, "reason", reason.as_str());
            json::member(out, "detail", detail);
        }
    }
    json::member(out, "outcome", record.effect.as_str());
    let _infallible = write!(out, ",\"latency_us\":{}", record.latency.as_micros());
}

fn request(out: &mut String, record: &Record, request: &Request, redaction: &Redaction) {
    out.push_str(",\"request\":{\"id\":");
    json::string(out, request.id());
    let version = match request.version() {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    let _infallible = write!(out, ",\"version\":{version}");
    json::member(out, "sender", request.sender());
    json::member(out, "collective", request.collective());
    json::member(out, "agent", request.agent());
    json::member(out, "action", record.action_of(request));
    if record.action.is_some() {
        // A Puppet Task: decided is leave for it, asked for was to run it.
        json::member(out, "requested_action", request.action());
    }
    let stamp = request.time().strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    let _infallible = write!(out, ",\"time\":\"{stamp}\",\"ttl\":{}", request.ttl());
    filter(out, request.filter());
    out.push_str(",\"inputs\":");
    match request.body() {
        Body::Plain => out.push_str("null"),
        Body::Rpc { data, .. } => inputs(out, request, data, redaction),
    }
    out.push('}');
}

/// What the filter selects, without the parts that it has not.
fn filter(out: &mut String, filter: &Filter) {
    out.push_str(",\"filter\":{");
    let mut first = true;
    let mut list = |name: &str, items: &mut dyn Iterator<Item = String>| {
        let mut items = items.peekable();
        if items.peek().is_none() {
            return;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        let _infallible = write!(out, "\"{name}\":[");
        for (at, item) in items.enumerate() {
            if at > 0 {
                out.push(',');
            }
            json::string(out, &item);
        }
        out.push(']');
    };
    let facts = filter.fact.iter();
    list(
        "facts",
        &mut facts.map(|f| format!("{}{}{}", f.fact, f.operator, f.value)),
    );
    list("classes", &mut filter.cf_class.iter().cloned());
    list("agents", &mut filter.agent.iter().cloned());
    list("identities", &mut filter.identity.iter().cloned());
    let compound = filter.compound.iter();
    list(
        "compound",
        &mut compound.filter_map(|parts| serde_json::to_string(parts).ok()),
    );
    out.push('}');
}

/// The inputs that may be seen, and what is said of those that may not.
fn inputs(out: &mut String, request: &Request, data: &Value, redaction: &Redaction) {
    let Value::Object(members) = data else {
        json::compact(out, &data.to_string());
        return;
    };
    let redacted =
        |name: &str, value: &Value| redaction.of(request.agent(), request.action(), name, value);
    let mut hidden = Vec::new();
    out.push('{');
    let mut first = true;
    for (name, value) in members {
        if let Some(redacted) = redacted(name, value) {
            hidden.push((name, redacted));
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        json::string(out, name);
        out.push(':');
        json::compact(out, &value.to_string());
    }
    out.push('}');
    if hidden.is_empty() {
        return;
    }
    out.push_str(",\"redacted\":{");
    for (at, (name, redacted)) in hidden.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        json::string(out, name);
        match redacted {
            Redacted::Dropped => out.push_str(":\"dropped\""),
            Redacted::Code(code) => {
                let _infallible = write!(out, ":\"hmac-sha256:{code}\"");
            }
        }
    }
    out.push('}');
}

/// A member that is always there, as readers ask for it whether or not it is known.
fn optional(out: &mut String, name: &str, value: Option<&str>) {
    match value {
        Some(value) => json::member(out, name, value),
        None => {
            let _infallible = write!(out, ",\"{name}\":null");
        }
    }
}
