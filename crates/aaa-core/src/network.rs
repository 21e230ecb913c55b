//! Requests to a service on the Choria network, and its replies: what is wrapped in what, in both versions of the protocol.
//!
//! A message is a transport, in it a secure request or reply, in that the request or reply, and in that the RPC message. A request to
//! a service need not be signed; whoever answers it relies on what is in the RPC message alone. So nothing of the outer parts is
//! believed, and only where to reply to is used, after a look at whether it is a place for replies.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::key::Ed25519Key;
use crate::request::{Request, Version};
use crate::secret::Secret;

/// The longest message that is read, in bytes: a request to sign of 1 MiB, wrapped and escaped.
pub const MESSAGE_LIMIT: usize = 8 << 20;

/// The longest subject.
const SUBJECT_LIMIT: usize = 512;

/// What is not a call that can be answered. Nobody is told: there is nowhere to tell it to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Longer than any call.
    #[error("the message is longer than {MESSAGE_LIMIT} bytes")]
    TooLong,
    /// Not what it should be.
    #[error("the message has no {0} that can be read")]
    Unreadable(&'static str),
    /// To be answered where no answers go.
    #[error("it asks for a reply on a subject that is no reply subject of its collective")]
    ReplySubject,
    /// Not for this collective or agent.
    #[error("it is for another collective or agent")]
    Misdirected,
}

/// A request to a service.
#[derive(Debug)]
pub struct Call {
    /// The request; unverified.
    pub request: Request,
    reply_to: String,
    hops: Vec<Value>,
}

/// What a service answers: the members of an RPC reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 0 is good, 1 refused, 2 no such action, 3 missing data, 4 wrong data, 5 something else.
    pub code: u8,
    /// What a person reads.
    pub message: String,
    /// The outputs.
    pub data: Value,
}

/// Who replies.
pub struct Replier {
    /// Its name on the network.
    pub identity: String,
    /// The server that it is connected to, for the trace of hops.
    pub server: String,
    /// In version 2: who it is on the network, and so signs its replies.
    pub proof: Option<Arc<Bearer>>,
}

/// Who has a server token, and the key that it is bound to.
pub struct Bearer {
    /// The token, a JWT.
    pub token: Secret<String>,
    /// Its key.
    pub key: Ed25519Key,
}

impl Call {
    /// Reads a call to an agent from a message that came for a collective.
    ///
    /// # Errors
    /// When it is none, or one that must not be answered.
    pub fn parse(message: &[u8], collective: &str, agent: &str) -> Result<Self, CallError> {
        if message.len() > MESSAGE_LIMIT {
            return Err(CallError::TooLong);
        }
        let transport = object(message, "transport")?;
        let version = match text(&transport, "protocol") {
            Some("choria:transport:1") => Version::V1,
            Some("io.choria.protocol.v2.transport") => Version::V2,
            _ => return Err(CallError::Unreadable("protocol")),
        };
        let headers = transport.get("headers").unwrap_or(&Value::Null);
        let (reply, trace) = match version {
            Version::V1 => ("reply-to", "seen-by"),
            Version::V2 => ("reply", "trace"),
        };
        let reply_to = text(headers, reply).unwrap_or_default();
        if !takes_replies(reply_to, collective) {
            return Err(CallError::ReplySubject);
        }
        let secure = base64_member(&transport, "data")?;
        let secure = object(&secure, "secure request")?;
        let bytes = match (version, text(&secure, "protocol")) {
            (Version::V1, Some("choria:secure:request:1")) => {
                let message = text(&secure, "message");
                message
                    .ok_or(CallError::Unreadable("message"))?
                    .as_bytes()
                    .to_vec()
            }
            (Version::V2, Some("io.choria.protocol.v2.secure_request")) => {
                base64_member(&secure, "request")?
            }
            _ => return Err(CallError::Unreadable("secure request")),
        };
        let request = Request::parse(&bytes).map_err(|_| CallError::Unreadable("request"))?;
        if request.version() != version {
            return Err(CallError::Unreadable("request"));
        }
        if request.collective() != collective || request.agent() != agent {
            return Err(CallError::Misdirected);
        }
        let hops = headers.get(trace).and_then(Value::as_array).cloned();
        Ok(Self {
            request,
            reply_to: reply_to.to_owned(),
            hops: hops.unwrap_or_default().into_iter().take(20).collect(),
        })
    }

    /// Where the reply goes.
    pub fn reply_to(&self) -> &str {
        &self.reply_to
    }

    /// The reply, as it is published; `None` when it has no form in JSON.
    pub fn reply(&self, replier: &Replier, answer: &Answer, now: Timestamp) -> Option<Vec<u8>> {
        let rpc = serde_json::to_string(&json!({
            "action": self.request.action(),
            "statuscode": answer.code,
            "statusmsg": answer.message,
            "data": answer.data,
        }))
        .ok()?;
        let mut hops = self.hops.clone();
        hops.push(json!([replier.server, replier.identity, replier.server]));
        let transport = match self.request.version() {
            Version::V1 => json!({
                "protocol": "choria:transport:1",
                "data": STANDARD.encode(self.secure_v1(replier, &rpc, now)),
                "headers": {"mc_sender": replier.identity, "seen-by": hops},
            }),
            Version::V2 => json!({
                "protocol": "io.choria.protocol.v2.transport",
                "data": STANDARD.encode(self.secure_v2(replier, &rpc, now)),
                "headers": {"sender": replier.identity, "trace": hops},
            }),
        };
        serde_json::to_vec(&transport).ok()
    }

    fn secure_v1(&self, replier: &Replier, rpc: &str, now: Timestamp) -> String {
        let reply = json!({
            "protocol": "choria:reply:1",
            "message": rpc,
            "envelope": {
                "requestid": self.request.id(),
                "senderid": replier.identity,
                "agent": self.request.agent(),
                "time": now.as_second(),
            },
        })
        .to_string();
        json!({
            "protocol": "choria:secure:reply:1",
            "hash": checksum(reply.as_bytes()),
            "message": reply,
        })
        .to_string()
    }

    fn secure_v2(&self, replier: &Replier, rpc: &str, now: Timestamp) -> String {
        let reply = json!({
            "protocol": "io.choria.protocol.v2.reply",
            "message": STANDARD.encode(rpc),
            "request": self.request.id(),
            "sender": replier.identity,
            "agent": self.request.agent(),
            "time": i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX),
        })
        .to_string();
        let mut secure = json!({
            "protocol": "io.choria.protocol.v2.secure_reply",
            "reply": STANDARD.encode(&reply),
            "hash": checksum(reply.as_bytes()),
        });
        if let (Some(bearer), Some(secure)) = (&replier.proof, secure.as_object_mut()) {
            let signature = STANDARD.encode(bearer.key.sign(reply.as_bytes()));
            secure.insert("signature".to_owned(), signature.into());
            secure.insert("sender".to_owned(), bearer.token.expose().clone().into());
        }
        secure.to_string()
    }
}

fn checksum(bytes: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

/// Whether replies may be published there: `<collective>.reply.<who>.<id>`, in words that are no patterns.
fn takes_replies(subject: &str, collective: &str) -> bool {
    let words: Vec<&str> = subject.split('.').collect();
    let plain = |word: &&str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_graphic() && b != b'*' && b != b'>')
    };
    subject.len() <= SUBJECT_LIMIT
        && words.iter().all(plain)
        && matches!(words.as_slice(), [first, "reply", _, _, ..] if *first == collective)
}

fn object(bytes: &[u8], what: &'static str) -> Result<Value, CallError> {
    // Read strictly, so that no two readers see two things in it.
    let crate::json::Strict(value) =
        serde_json::from_slice(bytes).map_err(|_| CallError::Unreadable(what))?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(CallError::Unreadable(what))
    }
}

fn text<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.get(name)?.as_str()
}

fn base64_member(object: &Value, name: &'static str) -> Result<Vec<u8>, CallError> {
    text(object, name)
        .and_then(|text| STANDARD.decode(text).ok())
        .ok_or(CallError::Unreadable(name))
}

#[cfg(test)]
mod tests;
