//! What happened, as data. How it is written down, and where, is for others to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::caller::CallerId;
use crate::decision::Reason;
use crate::request::Request;

/// One thing that happened: a login, or a request that was to be signed. Refusals are recorded like the rest.
#[derive(Debug, Clone)]
pub struct Record {
    /// Unique id of the record, a KSUID.
    pub id: String,
    /// When it happened, by the service's clock.
    pub time: Timestamp,
    /// The site whose service decided.
    pub site: Arc<str>,
    /// The exchange that it happened in.
    pub exchange: Arc<Exchange>,
    /// How long it had taken until it went on record.
    pub latency: Duration,
    /// Who asked, as *verified*; `None` when nobody was.
    pub caller: Option<CallerId>,
    /// The id of the verified token.
    pub token: Option<String>,
    /// What was asked.
    pub subject: Subject,
    /// The action that was decided, where it is not the request's own: the name of a Puppet Task that the request runs.
    pub action: Option<String>,
    /// What was decided.
    pub outcome: Outcome,
    /// What came of it.
    pub effect: Effect,
}

/// One request to a service, and its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// Its id, as in the service's log.
    pub id: String,
    /// The way it came.
    pub front: Front,
    /// The trace that it belongs to, if it is traced (<https://www.w3.org/TR/trace-context/>, 32 hexadecimal digits).
    pub trace: Option<String>,
    /// When the service had it.
    pub received: Instant,
}

/// The ways into a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Front {
    /// The HTTP API.
    Rest,
    /// gRPC.
    Grpc,
    /// The Choria network.
    Network,
}

impl Front {
    /// The front's name in metrics, logs and records.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::Network => "network",
        }
    }
}

/// What was asked.
#[derive(Debug, Clone)]
pub enum Subject {
    /// To sign a request.
    Sign(Arc<Request>),
    /// To sign what is no request, or one that is long and that nobody proved to have made: its length and SHA-256, never its content.
    Unreadable {
        /// Bytes.
        length: usize,
        /// SHA-256, in hexadecimal.
        digest: String,
    },
    /// To log in, under this unverified name.
    Login {
        /// The name that was given.
        username: String,
    },
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Allowed, by this rule.
    Allowed {
        /// The deciding rule.
        rule: String,
    },
    /// Refused.
    Refused {
        /// The code.
        reason: Reason,
        /// What a caller in good standing is told.
        detail: String,
    },
}

/// What came of it. A record is kept before its deed is done, so it tells what is about to be; where that fails, a second record says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The request is signed.
    Signed,
    /// A token is issued.
    Issued,
    /// Nothing is done: it is refused, in this or in another decision about the same request.
    Refused,
    /// It was allowed and on record, and could not be done.
    Failed,
}

impl Effect {
    /// Its name in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Issued => "issued",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl Record {
    /// The action that was decided: the task's name, or the action of the request.
    pub fn action_of<'a>(&'a self, request: &'a Request) -> &'a str {
        self.action.as_deref().unwrap_or_else(|| request.action())
    }
}

impl Outcome {
    /// Whether it was allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

impl Subject {
    /// What to say of bytes that are no request.
    pub fn unreadable(bytes: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        Self::Unreadable {
            length: bytes.len(),
            digest: hex::encode(digest.as_ref()),
        }
    }
}
