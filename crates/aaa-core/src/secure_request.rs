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
