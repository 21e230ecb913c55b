//! Requests that the fleet obeys: a request and the signature of one whom the nodes let speak for others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::key::{Ed25519Key, KeyError, RsaKey};
use crate::request::Version;

mod node;

pub use node::{Accepted, NodeTrust, NotAccepted, privileged_name};

/// `protocol` of a v1 secure request.
pub const PROTOCOL_V1: &str = "choria:secure:request:1";
/// `protocol` of a v2 secure request.
pub const PROTOCOL_V2: &str = "io.choria.protocol.v2.secure_request";

/// What signs requests: a privileged certificate in v1, a delegator's token and key in v2.
#[derive(Clone)]
pub enum RequestSigner {
    /// v1.
    Certificate {
        /// The certificate's key.
        key: RsaKey,
        /// The certificate in PEM, as it goes into each secure request.
        pem: String,
    },
    /// v2.
    Delegator {
        /// The key that the token is bound to.
        key: Ed25519Key,
        /// A client token with `authentication_delegator`.
        token: String,
    },
}

#[derive(Serialize, Deserialize)]
struct V1<'a> {
    protocol: &'a str,
    message: std::borrow::Cow<'a, str>,
    signature: std::borrow::Cow<'a, str>,
    pubcert: std::borrow::Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct V2<'a> {
    protocol: &'a str,
    request: std::borrow::Cow<'a, str>,
    signature: std::borrow::Cow<'a, str>,
    caller: std::borrow::Cow<'a, str>,
    #[serde(default)]
    signer: std::borrow::Cow<'a, str>,
}

/// A secure request as Choria's clients publish it: with the token of its caller, where a v2 signer left its own. What is none of v2 stays
/// as it is.
pub fn published_by(secure: Vec<u8>, token: &str) -> Vec<u8> {
    match serde_json::from_slice::<V2<'_>>(&secure) {
        Ok(request) if request.protocol == PROTOCOL_V2 => {
            let published = V2 {
                caller: token.into(),
                ..request
            };
            serde_json::to_vec(&published).unwrap_or_else(|_| secure.clone())
        }
        _ => secure,
    }
}

impl RequestSigner {
    /// The version of the requests that it signs.
    pub fn version(&self) -> Version {
        match self {
            Self::Certificate { .. } => Version::V1,
            Self::Delegator { .. } => Version::V2,
        }
    }

    /// Signs the bytes of a request of its version, as [`crate::request::Request::with_caller`] makes them.
    ///
    /// # Errors
    /// When the key cannot sign, or the bytes are not text.
    pub fn sign(&self, request: &[u8]) -> Result<Vec<u8>, KeyError> {
        let json = match self {
            Self::Certificate { key, pem } => {
                let text = std::str::from_utf8(request).map_err(|_| KeyError::Signing)?;
                serde_json::to_vec(&V1 {
                    protocol: PROTOCOL_V1,
                    message: text.into(),
                    signature: STANDARD.encode(key.sign(request)?).into(),
                    pubcert: pem.into(),
                })
            }
            Self::Delegator { key, token } => serde_json::to_vec(&V2 {
                protocol: PROTOCOL_V2,
                request: STANDARD.encode(request).into(),
                signature: STANDARD.encode(key.sign(request)).into(),
                // The client puts its own token there before it publishes.
                caller: token.into(),
                signer: token.into(),
            }),
        };
        json.map_err(|_| KeyError::Signing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_token_stands_where_the_signers_stood_and_nothing_else_changes() {
        let signed = |caller: &str, protocol: &str| {
            let text = format!(
                r#"{{"protocol":"{protocol}","request":"cg","signature":"cw","caller":"{caller}","signer":"s"}}"#
            );
            text.into_bytes()
        };
        let published = published_by(signed("s", PROTOCOL_V2), "t");
        assert_eq!(published, signed("t", PROTOCOL_V2));
        for other in [signed("s", PROTOCOL_V1), b"{".to_vec()] {
            assert_eq!(published_by(other.clone(), "t"), other);
        }
    }
}
