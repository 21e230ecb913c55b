//! Records as events of the service's own log: for sites that have no auditor, and for records that no auditor keeps.

use std::cell::Cell;
use std::sync::Arc;

use aaa_core::audit::{Outcome, Record, Subject};
use aaa_core::caller::CallerId;
use async_trait::async_trait;

use crate::sink::{Sink, SinkError, Stored};

thread_local! {
    /// Whether this thread's log could not be written since it was last given a record.
    static LOST: Cell<bool> = const { Cell::new(false) };
}

/// Takes note that the log could not be written: for whoever writes it down, on the thread that gave the event.
pub fn lost() {
    LOST.set(true);
}

/// Writes each record to the log, at info, with the target [`LogSink::TARGET`].
#[derive(Debug, Clone, Copy, Default)]
pub struct LogSink;

impl LogSink {
    /// The name of this auditor in metrics.
    pub const NAME: &'static str = "log";
    /// The target of the events.
    pub const TARGET: &'static str = "audit";

    /// Writes one record.
    ///
    /// # Errors
    /// When the log [could not be written](lost).
    pub fn log(record: &Record) -> Result<(), SinkError> {
        written(|| Self::event(record))
    }

    fn event(record: &Record) {
        let decision = if record.outcome.is_allowed() {
            "allow"
        } else {
            "deny"
        };
        let (rule, reason, detail) = match &record.outcome {
            Outcome::Allowed { rule } => (Some(rule.as_str()), None, None),
            Outcome::Refused { reason, detail } => {
                (None, Some(reason.as_str()), Some(detail.as_str()))
            }
        };
        let about = About::of(record);
        // Fields of type str are escaped by whatever writes the log down; `Display` would not be.
        tracing::info!(
            target: LogSink::TARGET,
            record = record.id.as_str(),
            site = &*record.site,
            exchange = record.exchange.id.as_str(),
            kind = about.kind,
            decision,
            outcome = record.effect.as_str(),
            rule,
            reason,
            detail,
            caller = record.caller.as_ref().map(CallerId::as_str),
            token = record.token.as_deref(),
            claimed_caller = about.claimed_caller,
            username = about.username,
            request = about.request,
            sender = about.sender,
            collective = about.collective,
            agent = about.agent,
            action = about.action,
            length = about.length,
            sha256 = about.digest,
            "on record"
        );
    }
}

#[async_trait]
impl Sink for LogSink {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        Self::log(record).map(|()| Stored::Kept)
    }

    async fn works(&self) -> Result<(), SinkError> {
        written(|| tracing::info!(target: LogSink::TARGET, "trying whether records can be kept"))
    }
}

/// Gives the log an event, and says whether it was written.
fn written(event: impl FnOnce()) -> Result<(), SinkError> {
    LOST.set(false);
    event();
    if LOST.get() {
        return Err(SinkError::failed("the service's log cannot be written"));
    }
    Ok(())
}

#[derive(Default)]
struct About<'a> {
    kind: &'static str,
    claimed_caller: Option<&'a str>,
    username: Option<&'a str>,
    request: Option<&'a str>,
    sender: Option<&'a str>,
    collective: Option<&'a str>,
    agent: Option<&'a str>,
    action: Option<&'a str>,
    length: Option<usize>,
    digest: Option<&'a str>,
}

impl<'a> About<'a> {
    fn of(record: &'a Record) -> Self {
        match &record.subject {
            Subject::Sign(request) => Self {
                kind: "sign",
                claimed_caller: Some(request.claimed_caller()),
                request: Some(request.id()),
                sender: Some(request.sender()),
                collective: Some(request.collective()),
                agent: Some(request.agent()),
                action: Some(record.action_of(request)),
                ..Self::default()
            },
            Subject::Unreadable { length, digest } => Self {
                kind: "sign",
                length: Some(*length),
                digest: Some(digest),
                ..Self::default()
            },
            Subject::Login { username } => Self {
                kind: "login",
                username: Some(username),
                ..Self::default()
            },
        }
    }
}
