//! Records of everything that can happen.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_audit::Scribe;
use aaa_audit::formats::{Format, Formatter};
use aaa_core::audit::{Effect, Exchange, Front, Outcome, Record, Subject};
use aaa_core::caller::CallerId;
use aaa_core::decision::Reason;
use aaa_core::request::Request;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What the client says of itself; the caller is a lie in most tests.
pub(crate) const CLAIMED: &str = "up=claimed";

/// 2026-11-22 11:22:36.724956 UTC.
pub(crate) fn time() -> Timestamp {
    Timestamp::from_microsecond(1_795_346_556_724_956).unwrap()
}

pub(crate) fn v1(agent: &str, message: &Value) -> Arc<Request> {
    let message = match message {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": {
        "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1.example.net", "callerid": CLAIMED,
        "collective": "mcollective", "agent": agent, "ttl": 60, "time": 1_795_346_555,
        "filter": {"fact": [], "cf_class": [], "agent": [], "identity": [], "compound": []}}});
    Arc::new(Request::parse(request.to_string().as_bytes()).unwrap())
}

pub(crate) fn v2() -> Arc<Request> {
    // {"agent":"rpcutil","action":"ping","data":{}}
    let message = "eyJhZ2VudCI6InJwY3V0aWwiLCJhY3Rpb24iOiJwaW5nIiwiZGF0YSI6e319";
    let request = json!({"protocol": "io.choria.protocol.v2.request", "message": message, "id": "3MSajOxQIhGhTmAjYqevdPrGO00",
        "sender": "dev1.example.net", "caller": CLAIMED, "collective": "choria", "agent": "rpcutil", "ttl": 60,
        "time": 1_795_346_555_548_776_511_i64,
        "filter": {"fact": [], "cf_class": [], "agent": [], "identity": [], "compound": []}});
    Arc::new(Request::parse(request.to_string().as_bytes()).unwrap())
}

/// `package.install`, with inputs of every kind.
pub(crate) fn install() -> Arc<Request> {
    v1(
        "package",
        &json!({"agent": "package", "action": "install", "data": {
            "package": "zsh <&>", "version": "1.0~β\n", "n": 1.5, "l": [1, null], "process_results": true}}),
    )
}

pub(crate) fn record(subject: Subject, caller: Option<&str>, outcome: Outcome) -> Record {
    Record {
        id: "3MScw6FciyQvaNKhi4NTbHiSZTx".to_owned(),
        time: time(),
        site: "london".into(),
        exchange: Arc::new(Exchange {
            id: "3MScvvbVlkVSGTGWYtjHDRXMyrR".to_owned(),
            front: Front::Rest,
            trace: None,
            received: Instant::now(),
        }),
        latency: Duration::from_micros(734),
        caller: caller.map(CallerId::new),
        token: caller.map(|_| "3MScvzjVPGm6dp1yVYkmWp8kAHL".to_owned()),
        action: None,
        effect: match (&outcome, &subject) {
            (Outcome::Refused { .. }, _) => Effect::Refused,
            (_, Subject::Login { .. }) => Effect::Issued,
            _ => Effect::Signed,
        },
        subject,
        outcome,
    }
}

/// Writes in a format, of which nothing more is said.
pub(crate) fn scribe(format: Format) -> Scribe {
    let formatter = Formatter {
        format,
        ..Formatter::default()
    };
    Scribe::new(formatter, None)
}

pub(crate) fn allowed() -> Outcome {
    Outcome::Allowed {
        rule: "rpcutil.*".to_owned(),
    }
}

pub(crate) fn refused(reason: Reason) -> Outcome {
    Outcome::Refused {
        reason,
        detail: "needs a fact filter such as country=mt".to_owned(),
    }
}

/// An allowed v1 request with an id of its own.
pub(crate) fn numbered(number: usize) -> Arc<Record> {
    let mut record = record(Subject::Sign(install()), Some("up=alice"), allowed());
    record.site = format!("record-{number}-").into();
    Arc::new(record)
}

pub(crate) fn login(outcome: Outcome, caller: Option<&str>) -> Record {
    let username = "bob\u{1b}[2J\nreqid=1:".to_owned();
    record(Subject::Login { username }, caller, outcome)
}

/// Everything, with a name for each.
pub(crate) fn all() -> Vec<(&'static str, Record)> {
    const ALICE: Option<&str> = Some("up=alice@example.net");
    let sign = |request, caller, outcome| record(Subject::Sign(request), caller, outcome);
    let discovery = || v1("discovery", &json!("ping"));
    let denied = || refused(Reason::NotAuthorized);
    vec![
        ("allow v1", sign(install(), ALICE, allowed())),
        ("allow v2", sign(v2(), ALICE, allowed())),
        ("deny v1", sign(install(), ALICE, denied())),
        ("deny v2", sign(v2(), ALICE, denied())),
        ("discovery", sign(discovery(), ALICE, allowed())),
        (
            "invalid token v1",
            sign(install(), None, refused(Reason::InvalidToken)),
        ),
        (
            "invalid token v2",
            sign(v2(), None, refused(Reason::InvalidToken)),
        ),
        (
            "unreadable",
            record(
                Subject::unreadable(b"hunter2"),
                None,
                refused(Reason::MalformedRequest),
            ),
        ),
        ("login", login(allowed(), Some("up=bob"))),
        ("login refused", login(refused(Reason::LoginRefused), None)),
    ]
}
