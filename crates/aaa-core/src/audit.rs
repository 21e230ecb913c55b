//! What happened, as data. How it is written down, and where, is for others to say.

use std::sync::Arc;

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
    /// The id of the exchange, as in the service's log.
    pub exchange: String,
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
}

/// What was asked.
#[derive(Debug, Clone)]
pub enum Subject {
    /// To sign a request.
    Sign(Arc<Request>),
    /// To sign what is no request: its length and SHA-256, never its content.
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
