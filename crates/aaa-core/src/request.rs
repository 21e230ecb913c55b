//! What a client wants the fleet to do: Choria requests of protocol v1 and v2, as they come from outside.
//!
//! A [`Request`] keeps the bytes it came in. Signing changes one value in them, the caller, so whatever else a client put
//! there reaches the node exactly as it was, and what policy saw is what the node will read.

use std::ops::Range;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::caller::CallerId;
use crate::duration;
use crate::filter::Filter;
use crate::json::{JsonError, Object, Strict};

/// The agent that finds nodes. Its requests have a plain body and no action, and everybody may send them.
pub const DISCOVERY: &str = "discovery";

/// `protocol` of a v1 request.
pub const PROTOCOL_V1: &str = "choria:request:1";
/// `protocol` of a v2 request.
pub const PROTOCOL_V2: &str = "io.choria.protocol.v2.request";

/// Which protocol a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Signed with RSA by a privileged certificate.
    V1,
    /// Signed with Ed25519 by the holder of a delegator token.
    V2,
}

/// Why bytes are not a request that may be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A member is missing, wrong or ambiguous.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// Neither v1 nor v2.
    #[error("its protocol is neither {PROTOCOL_V1} nor {PROTOCOL_V2}")]
    Protocol,
    /// A value of the right kind that cannot be.
    #[error("{0} is wrong: {1}")]
    Value(&'static str, &'static str),
    /// The body is for another agent than the one addressed. A node would run the action of the one it addresses.
    #[error("it addresses one agent, and its body names another")]
    AgentMismatch,
}

/// Why a well-formed request is refused for its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untimely {
    /// Dated ahead: nodes would accept it after the token has ended.
    #[error("the request is dated {} ahead of this signer; check the clock of the host that sent it", duration::human(*ahead))]
    Future {
        /// How far ahead.
        ahead: Duration,
    },
    /// Past its ttl: no node would accept it.
    #[error("the request is {} old and its ttl is {ttl} s; check the clock of the host that sent it", duration::human(*age))]
    Past {
        /// How old it is.
        age: Duration,
        /// The request's own ttl in seconds.
        ttl: i64,
    },
    /// A ttl so long that the request would outlive the token.
    #[error(
        "the request's ttl of {ttl} s is over the {max} s that this signer accepts (max_request_ttl)"
    )]
    TtlTooLong {
        /// The request's own ttl in seconds.
        ttl: i64,
        /// The longest accepted, in seconds.
        max: u64,
    },
    /// Zero or negative.
    #[error("the request's ttl must be at least one second")]
    NoTtl,
}

/// A request, read once and strictly. The agent of its body is the agent that it addresses.
#[derive(Debug, Clone)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where in the bytes the caller's value stands, quotes included.
    caller_at: Range<usize>,
    version: Version,
    id: String,
    sender: String,
    claimed_caller: String,
    collective: String,
    agent: String,
    ttl: i64,
    time: Timestamp,
    filter: Filter,
    body: Body,
}

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// An action and its inputs.
    Rpc {
        /// The action.
        action: String,
        /// Its inputs as they came; `Null` when there are none.
        data: serde_json::Value,
    },
    /// The plain body of a discovery request.
    Plain,
}

impl Request {
    /// Reads a request from outside.
    ///
    /// # Errors
    /// When it is not a v1 or v2 request, or one that a node could read otherwise than we do.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let object = Object::parse(bytes, MEMBERS)?;
        let (version, envelope) = match object.required::<String>("protocol")?.as_str() {
            PROTOCOL_V1 => (Version::V1, read_v1(bytes, &object)?),
            PROTOCOL_V2 => (Version::V2, read_v2(bytes, &object)?),
            _ => return Err(RequestError::Protocol),
        };
        Self::assemble(bytes, version, envelope)
    }

    fn assemble(bytes: &[u8], version: Version, parts: Parts) -> Result<Self, RequestError> {
        if parts.agent.is_empty() {
            return Err(RequestError::Value("agent", "it is empty"));
        }
        let body = if parts.agent == DISCOVERY {
            Body::Plain
        } else {
            rpc_body(&parts.message, &parts.agent)?
        };
        Ok(Self {
            bytes: bytes.to_vec(),
            caller_at: parts.caller_at,
            version,
            id: parts.id,
            sender: parts.sender,
            claimed_caller: parts.caller,
            collective: parts.collective,
            agent: parts.agent,
            ttl: parts.ttl,
            time: parts.time,
            filter: parts.filter,
            body,
        })
    }

    /// The bytes that the request came in, which the client's signature covers.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The request with the caller that the signer vouches for, and everything else as it came.
    pub fn with_caller(&self, caller: &CallerId) -> Vec<u8> {
        let caller = serde_json::Value::from(caller.on_the_wire()).to_string();
        let (before, rest) = self.bytes.split_at(self.caller_at.start);
        let after = rest.get(self.caller_at.len()..).unwrap_or_default();
        [before, caller.as_bytes(), after].concat()
    }

    /// Whether the request's own time and ttl are such that a signature on it ends when it should.
    ///
    /// A node accepts within ± ttl of the request's time, and both are the client's own words.
    ///
    /// # Errors
    /// Which of the limits it breaks, and whose clock to check.
    pub fn check_time(&self, now: Timestamp, limits: TimeLimits) -> Result<(), Untimely> {
        if self.ttl <= 0 {
            return Err(Untimely::NoTtl);
        }
        if self.ttl.unsigned_abs() > limits.max_ttl.as_secs() {
            return Err(Untimely::TtlTooLong {
                ttl: self.ttl,
                max: limits.max_ttl.as_secs(),
            });
        }
        let ahead = Duration::try_from(self.time.duration_since(now)).unwrap_or_default();
        if ahead > limits.max_clock_skew {
            return Err(Untimely::Future { ahead });
        }
        let age = Duration::try_from(now.duration_since(self.time)).unwrap_or_default();
        if age > Duration::from_secs(self.ttl.unsigned_abs()) {
            return Err(Untimely::Past { age, ttl: self.ttl });
        }
        Ok(())
    }

    /// v1 or v2.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The request's id: 32 hexadecimal characters, or a KSUID in v2. The client's own words.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The host that sent it. The client's own words.
    pub fn sender(&self) -> &str {
        &self.sender
    }

    /// The caller that the request claims. Nothing is decided by it: the caller is who the token says.
    pub fn claimed_caller(&self) -> &str {
        &self.claimed_caller
    }

    /// The collective whose nodes are meant.
    pub fn collective(&self) -> &str {
        &self.collective
    }

    /// The agent addressed.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The action asked; empty for discovery.
    pub fn action(&self) -> &str {
        match &self.body {
            Body::Rpc { action, .. } => action,
            Body::Plain => "",
        }
    }

    /// Agent and action as people write them, `puppet.status`; only the agent for discovery.
    pub fn agent_action(&self) -> String {
        match &self.body {
            Body::Rpc { action, .. } => format!("{}.{action}", self.agent),
            Body::Plain => self.agent.clone(),
        }
    }

    /// How long the request is good for, in seconds. The client's own words.
    pub fn ttl(&self) -> i64 {
        self.ttl
    }

    /// When it was made. The client's own words.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The nodes that are meant.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// What the agent is to do.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

/// How far a request's own time and ttl may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// The furthest that a request may be dated ahead.
    pub max_clock_skew: Duration,
    /// The longest ttl.
    pub max_ttl: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            max_clock_skew: Duration::from_mins(1),
            max_ttl: Duration::from_hours(1),
        }
    }
}

/// The parts of a request, wherever its version keeps them.
struct Parts {
    caller_at: Range<usize>,
    id: String,
    sender: String,
    caller: String,
    collective: String,
    agent: String,
    ttl: i64,
    time: Timestamp,
    filter: Filter,
    message: Vec<u8>,
}

/// Everything that a node's structures take from the top of a request, of either version.
const MEMBERS: &[&str] = &[
    "protocol",
    "message",
    "envelope",
    "id",
    "sender",
    "caller",
    "collective",
    "agent",
    "ttl",
    "time",
    "filter",
];

fn read_v1(bytes: &[u8], object: &Object<'_>) -> Result<Parts, RequestError> {
    const ENVELOPE: &[&str] = &[
        "requestid",
        "senderid",
        "callerid",
        "collective",
        "agent",
        "ttl",
        "time",
        "filter",
    ];
    let envelope = object.object("envelope", ENVELOPE)?;
    let seconds: i64 = envelope.required("time")?;
    Ok(Parts {
        caller_at: place(bytes, envelope.raw("callerid"))?,
        id: envelope.required("requestid")?,
        sender: envelope.required("senderid")?,
        caller: envelope.required("callerid")?,
        collective: envelope.required("collective")?,
        agent: envelope.required("agent")?,
        ttl: envelope.required("ttl")?,
        time: Timestamp::from_second(seconds).map_err(|_| FAR_TIME)?,
        filter: filter(&envelope)?,
        message: object.required::<String>("message")?.into_bytes(),
    })
}

fn read_v2(bytes: &[u8], object: &Object<'_>) -> Result<Parts, RequestError> {
    let nanos: i64 = object.required("time")?;
    let message: String = object.required("message")?;
    Ok(Parts {
        caller_at: place(bytes, object.raw("caller"))?,
        id: object.required("id")?,
        sender: object.required("sender")?,
        caller: object.required("caller")?,
        collective: object.required("collective")?,
        agent: object.required("agent")?,
        ttl: object.required("ttl")?,
        time: Timestamp::from_nanosecond(nanos.into()).map_err(|_| FAR_TIME)?,
        filter: filter(object)?,
        message: STANDARD
            .decode(message)
            .map_err(|_| RequestError::Value("message", "it is not base64"))?,
    })
}

const FAR_TIME: RequestError = RequestError::Value("time", "it is out of range");

/// Where a value stands in the text that it was read from.
fn place(bytes: &[u8], value: Option<&RawValue>) -> Result<Range<usize>, RequestError> {
    let value = value.ok_or(JsonError::Missing("caller"))?.get();
    let start = (value.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    let range = start..start.wrapping_add(value.len());
    // Values are borrowed from the text; should that ever change, nothing is spliced.
    match bytes.get(range.clone()) {
        Some(there) if there == value.as_bytes() => Ok(range),
        _ => Err(RequestError::Value("caller", "it cannot be replaced")),
    }
}

/// A request without a filter is for all, as a node reads it.
fn filter(envelope: &Object<'_>) -> Result<Filter, RequestError> {
    match envelope.raw("filter") {
        None => Ok(Filter::default()),
        Some(value) if value.get() == "null" => Ok(Filter::default()),
        Some(_) => Ok(Filter::read(&envelope.object("filter", Filter::MEMBERS)?)?),
    }
}

fn rpc_body(message: &[u8], addressed: &str) -> Result<Body, RequestError> {
    // Everything that a node's own structure would take from the body, if it is there.
    const BODY: &[&str] = &[
        "agent",
        "action",
        "data",
        "requestid",
        "senderid",
        "callerid",
        "collective",
        "ttl",
        "time",
    ];
    let body = Object::parse(message, BODY)?;
    if body.required::<String>("agent")? != addressed {
        return Err(RequestError::AgentMismatch);
    }
    let action: String = body.required("action")?;
    if action.is_empty() {
        return Err(RequestError::Value("action", "it is empty"));
    }
    let Strict(data) = body.optional("data")?;
    Ok(Body::Rpc { action, data })
}

#[cfg(test)]
mod tests;
