//! Reading records back: of whatever format, from a file or a stream, each once.
//!
//! What is read here was written by services that may be older, newer or somebody else's, so nothing is taken for granted: a line that is
//! no record is named and passed over.

mod once;
mod selection;
mod stream;
mod verify;

use std::borrow::Cow;

use aaa_core::request::Request;
use jiff::Timestamp;
use jiff::fmt::strtime;
use serde_json::Value;

use crate::formats::{UNVERIFIED, v2};

pub use once::Once;
pub use selection::{Pattern, Selection};
pub use stream::{Lag, StreamReader};
pub use verify::{Finding, RunReport, Verifier};

/// The longest line that is read: a record holds a request, and those have a limit far below.
pub const LONGEST_LINE: usize = 8 << 20;

/// A line as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The record, without its line end.
    pub bytes: Vec<u8>,
    /// Where it is: `audit.log:17`, or the place in the stream.
    pub place: String,
    /// The id that it was published under.
    pub id: Option<String>,
    /// When the stream got it.
    pub arrived: Option<Timestamp>,
}

/// What somebody who reads hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A line.
    Line(Line),
    /// All that was there has been read; lines after this are new.
    CaughtUp,
}

/// A record, as far as its format tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id; of a format that has none, the one that it was published under.
    pub id: Option<String>,
    /// When it was decided.
    pub time: Timestamp,
    /// `login` or `sign`.
    pub kind: String,
    /// The site that decided.
    pub site: String,
    /// The service that decided; empty where the format does not say.
    pub instance: String,
    /// The way it came in; empty where the format does not say.
    pub front: String,
    /// The verified caller; `None` when nobody was verified.
    pub caller: Option<String>,
    /// Who it says it is from.
    pub claimed: String,
    /// The collective of the request.
    pub collective: String,
    /// The agent that was to be asked.
    pub agent: String,
    /// The action that was decided.
    pub action: String,
    /// `allow`, `deny` or `unknown`.
    pub decision: String,
    /// What came of it; empty where the format does not say.
    pub outcome: String,
    /// The code of a refusal.
    pub reason: String,
    /// The rule that allowed, or why it was refused.
    pub why: String,
    /// The id of the request.
    pub request: String,
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no record: {0}")]
pub struct NoRecord(Cow<'static, str>);

/// What records can be told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// [`Entry::kind`].
    Kind,
    /// [`Entry::site`].
    Site,
    /// [`Entry::instance`].
    Instance,
    /// [`Entry::front`].
    Front,
    /// [`Entry::caller`].
    Caller,
    /// [`Entry::collective`].
    Collective,
    /// [`Entry::agent`].
    Agent,
    /// [`Entry::action`].
    Action,
    /// [`Entry::decision`].
    Decision,
    /// [`Entry::outcome`].
    Outcome,
    /// [`Entry::reason`].
    Reason,
    /// [`Entry::why`], where it allowed or refused.
    Rule,
    /// The hour of [`Entry::time`], in UTC.
    Hour,
    /// The day of [`Entry::time`], in UTC.
    Day,
}

impl Field {
    /// The names that [`parse`](Self::parse) takes.
    pub const NAMES: &'static [&'static str] = &[
        "kind",
        "site",
        "instance",
        "front",
        "caller",
        "collective",
        "agent",
        "action",
        "decision",
        "outcome",
        "reason",
        "rule",
        "hour",
        "day",
    ];

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "kind" => Self::Kind,
            "site" => Self::Site,
            "instance" => Self::Instance,
            "front" => Self::Front,
            "caller" => Self::Caller,
            "collective" => Self::Collective,
            "agent" => Self::Agent,
            "action" => Self::Action,
            "decision" => Self::Decision,
            "outcome" => Self::Outcome,
            "reason" => Self::Reason,
            "rule" => Self::Rule,
            "hour" => Self::Hour,
            "day" => Self::Day,
            _ => return None,
        })
    }
}

impl Entry {
    /// Reads a line of the formats `v2`, `signature_audit`, `aaasvc` or `choria`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn read(line: &Line) -> Result<Self, NoRecord> {
        let value: Value = serde_json::from_slice(&line.bytes)
            .map_err(|_| NoRecord("it is not JSON, or not whole".into()))?;
        let mut entry = match value.get("protocol").and_then(Value::as_str) {
            Some(v2::PROTOCOL) => of_v2(&value),
            Some("io.choria.signer.v1.signature_audit") => of_signature_audit(&value),
            Some(other) => return Err(NoRecord(format!("protocol {other:?} is unknown").into())),
            None if value.get("auditor").is_some() => of_aaasvc(&value),
            None if value.get("request_time").is_some() => of_choria(&value),
            None => return Err(NoRecord("no format that is known looks like this".into())),
        }
        .ok_or(NoRecord("it lacks what its format has".into()))?;
        entry.id = entry.id.or_else(|| line.id.clone());
        Ok(entry)
    }

    /// What stands in a field.
    pub fn field(&self, field: Field) -> Cow<'_, str> {
        match field {
            Field::Kind => (&self.kind).into(),
            Field::Site => (&self.site).into(),
            Field::Instance => (&self.instance).into(),
            Field::Front => (&self.front).into(),
            Field::Caller => self.caller.as_deref().unwrap_or(UNVERIFIED).into(),
            Field::Collective => (&self.collective).into(),
            Field::Agent => (&self.agent).into(),
            Field::Action => (&self.action).into(),
            Field::Decision => (&self.decision).into(),
            Field::Outcome => (&self.outcome).into(),
            Field::Reason => (&self.reason).into(),
            Field::Rule => (&self.why).into(),
            Field::Hour => self.time.strftime("%Y-%m-%dT%H").to_string().into(),
            Field::Day => self.time.strftime("%Y-%m-%d").to_string().into(),
        }
    }

    fn at(time: Timestamp) -> Self {
        let empty = String::new;
        Self {
            id: None,
            time,
            kind: "sign".to_owned(),
            site: empty(),
            instance: empty(),
            front: empty(),
            caller: None,
            claimed: empty(),
            collective: empty(),
            agent: empty(),
            action: empty(),
            decision: empty(),
            outcome: empty(),
            reason: empty(),
            why: empty(),
            request: empty(),
        }
    }

    /// Takes what a request says of itself.
    fn take_request(&mut self, text: &str) {
        if let Ok(request) = Request::parse(text.as_bytes()) {
            request.claimed_caller().clone_into(&mut self.claimed);
            request.collective().clone_into(&mut self.collective);
            request.agent().clone_into(&mut self.agent);
            request.action().clone_into(&mut self.action);
            request.id().clone_into(&mut self.request);
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The caller, unless it says that nobody was verified.
fn verified(caller: String) -> Option<String> {
    (!caller.is_empty() && caller != UNVERIFIED).then_some(caller)
}

fn of_v2(value: &Value) -> Option<Entry> {
    let nothing = Value::Null;
    let request = value.get("request").unwrap_or(&nothing);
    let (reason, detail) = (text(value, "reason"), text(value, "detail"));
    let why = if detail.is_empty() {
        text(value, "rule")
    } else {
        detail
    };
    Some(Entry {
        id: Some(text(value, "id")).filter(|id| !id.is_empty()),
        kind: text(value, "kind"),
        site: text(value, "site"),
        instance: text(value, "instance"),
        front: text(value, "front"),
        caller: value
            .get("caller")
            .and_then(Value::as_str)
            .map(str::to_owned),
        claimed: text(value, "claimed"),
        collective: text(request, "collective"),
        agent: text(request, "agent"),
        action: text(request, "action"),
        decision: text(value, "decision"),
        outcome: text(value, "outcome"),
        reason,
        why,
        request: text(request, "id"),
        ..Entry::at(text(value, "time").parse().ok()?)
    })
}

fn of_signature_audit(value: &Value) -> Option<Entry> {
    let time = value.get("time").and_then(Value::as_i64)?;
    let mut entry = Entry::at(Timestamp::from_second(time).ok()?);
    match value.get("request")? {
        Value::String(request) => entry.take_request(request),
        object => entry.take_request(&object.to_string()),
    }
    Some(Entry {
        site: text(value, "site"),
        caller: verified(text(value, "callerid")),
        decision: text(value, "action"),
        ..entry
    })
}

fn of_aaasvc(value: &Value) -> Option<Entry> {
    let mut entry = Entry::at(text(value, "time").parse().ok()?);
    let message = text(value, "msg");
    entry.take_request(&message);
    let message: Value = serde_json::from_str(&message).unwrap_or_default();
    if let Some(login) = message.get("login") {
        "login".clone_into(&mut entry.kind);
        entry.claimed = text(login, "username");
    }
    Some(Entry {
        site: text(value, "site"),
        caller: verified(text(value, "caller")),
        decision: text(value, "action"),
        ..entry
    })
}

fn of_choria(value: &Value) -> Option<Entry> {
    let stamp = text(value, "timestamp");
    let time = strtime::parse("%Y-%m-%dT%H:%M:%S%.f%z", stamp)
        .ok()?
        .to_timestamp()
        .ok()?;
    let kind = text(value, "kind");
    Some(Entry {
        kind: if kind.is_empty() {
            "sign".to_owned()
        } else {
            kind
        },
        caller: verified(text(value, "caller")),
        agent: text(value, "agent"),
        action: text(value, "action"),
        decision: text(value, "decision"),
        why: text(value, "reason"),
        reason: text(value, "reason"),
        request: text(value, "request_id"),
        ..Entry::at(time)
    })
}
