//! The HTTP API's requests and answers, as types.
//!
//! Requests are parsed strictly and their *form* is checked here, for both fronts alike: lengths, hexadecimal, base64, decimal.
//! What they *mean* (is the time near, the signature good, the caller known) is for the handlers. A member that is missing
//! reads as empty. Answers are objects of strings, as the stock client reads nothing else, and absent members are left out.

use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::error::ApiError;
use crate::handler::{LoginOutcome, SignOutcome};
use crate::json::read_object;

/// The largest body of a request, and the largest gRPC message, in bytes.
pub const BODY_LIMIT: usize = 1024 * 1024;
/// The longest name of a user, in bytes.
pub const USERNAME_LIMIT: usize = 256;
/// The longest password, in bytes.
pub const PASSWORD_LIMIT: usize = 1024;
/// The longest token, in bytes: tokens may carry a whole policy.
pub const TOKEN_LIMIT: usize = 256 * 1024;
/// The largest request to sign, in bytes, before base64. With the longest token it still fits a body.
pub const REQUEST_LIMIT: usize = 512 * 1024;
/// The length of a public key in hexadecimal characters.
pub const PUBLIC_KEY_LENGTH: usize = 64;
/// The length of a signature in hexadecimal characters.
pub const SIGNATURE_LENGTH: usize = 128;
/// The most digits of a time in seconds: enough until the year 33658, and never beyond an `i64`.
pub const TIMESTAMP_LIMIT: usize = 12;

/// Who wants a token, and for which key: the body of `POST /choria/v1/login`.
#[derive(Clone, Default, ToSchema)]
pub struct LoginRequest {
    /// The name, as the authenticator knows it. At most 256 bytes.
    #[schema(max_length = 256, example = "bob")]
    pub username: String,
    /// The password. At most 1024 bytes.
    #[schema(value_type = String, format = Password, max_length = 1024, write_only)]
    pub password: Secret<String>,
    /// The Ed25519 public key that the token will be bound to, in hexadecimal. Empty: the token is bound to no key, which a
    /// service admits only if it was configured so.
    #[schema(pattern = "^([0-9a-fA-F]{64})?$", max_length = 64)]
    pub public_key: String,
    /// When the request was made: seconds of the unix epoch in decimal digits. Not in the future and not over 60 seconds old.
    #[schema(pattern = "^[0-9]{0,12}$", max_length = 12, example = "1795346537")]
    pub timestamp: String,
    /// The Ed25519 signature by `public_key` over the bytes of `<timestamp>:<username>:<password>`, in hexadecimal.
    #[schema(pattern = "^([0-9a-fA-F]{128})?$", max_length = 128)]
    pub signature: String,
}

impl LoginRequest {
    pub(crate) const MEMBERS: &'static [&'static str] = &[
        "username",
        "password",
        "public_key",
        "timestamp",
        "signature",
    ];

    /// Reads the body of a login.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut login = Self::default();
        read_object(body, Self::MEMBERS, |member, text| {
            match member {
                0 => bounded("username", text, USERNAME_LIMIT)?.clone_into(&mut login.username),
                1 => {
                    login.password =
                        Secret::new(bounded("password", text, PASSWORD_LIMIT)?.to_owned());
                }
                2 => hexadecimal("public_key", text, PUBLIC_KEY_LENGTH)?
                    .clone_into(&mut login.public_key),
                3 => decimal("timestamp", text)?.clone_into(&mut login.timestamp),
                _ => hexadecimal("signature", text, SIGNATURE_LENGTH)?
                    .clone_into(&mut login.signature),
            }
            Ok(())
        })?;
        Ok(login)
    }

    /// The form of a login that came as a typed message.
    pub(crate) fn check(message: &crate::grpc::v1::LoginRequest) -> Result<(), ApiError> {
        bounded("username", &message.username, USERNAME_LIMIT)?;
        bounded("password", &message.password, PASSWORD_LIMIT)?;
        hexadecimal("public_key", &message.public_key, PUBLIC_KEY_LENGTH)?;
        decimal("timestamp", &message.timestamp)?;
        hexadecimal("signature", &message.signature, SIGNATURE_LENGTH)?;
        Ok(())
    }

    /// A login signed by the key that the token is to be bound to, as a client sends it.
    pub fn signed(
        username: impl Into<String>,
        password: Secret<String>,
        key: &Ed25519Key,
        now: Timestamp,
    ) -> Self {
        let username = username.into();
        let timestamp = now.as_second().to_string();
        let message = Self::signed_bytes(&timestamp, &username, password.expose());
        let signature = hex::encode(key.sign(&message));
        Self {
            username,
            password,
            public_key: key.public().to_hex(),
            timestamp,
            signature,
        }
    }

    /// The bytes that the signature of a login covers: `<timestamp>:<username>:<password>`.
    pub fn signed_bytes(timestamp: &str, username: &str, password: &str) -> Zeroizing<Vec<u8>> {
        let mut message = Zeroizing::new(Vec::with_capacity(
            timestamp.len() + username.len() + password.len() + 2,
        ));
        message.extend_from_slice(timestamp.as_bytes());
        message.push(b':');
        message.extend_from_slice(username.as_bytes());
        message.push(b':');
        message.extend_from_slice(password.as_bytes());
        message
    }

    /// The body as a client sends it; empty members are left out. Wiped after use, for the password in it.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        #[derive(Serialize)]
        struct Wire<'a> {
            username: &'a str,
            password: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            public_key: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            timestamp: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            signature: &'a str,
        }
        // Every byte becomes six at most (`\u0000`), so that the buffer never grows and leaves copies behind.
        let room = 6 * (self.username.len() + self.password.expose().len()) + 512;
        let mut body = Zeroizing::new(Vec::with_capacity(room));
        let wire = Wire {
            username: &self.username,
            password: self.password.expose(),
            public_key: &self.public_key,
            timestamp: &self.timestamp,
            signature: &self.signature,
        };
        // Writing strings into memory has no way to fail.
        let _ = serde_json::to_writer(&mut *body, &wire);
        body
    }
}

/// The token, or why there is none: the answer to a login.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct LoginResponse {
    /// The token, a JWT in its compact form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token: Option<String>,
    /// Why the login was refused, in one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Login failed")]
    pub error: Option<String>,
    /// More about the refusal, such as the setting or the client that is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detail: Option<String>,
}

impl LoginResponse {
    /// The body of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<LoginOutcome> for LoginResponse {
    fn from(outcome: LoginOutcome) -> Self {
        match outcome {
            LoginOutcome::Token(token) => Self {
                token: Some(token),
                ..Self::default()
            },
            LoginOutcome::Refused { error, detail } => Self {
                token: None,
                error: Some(error),
                detail: Some(detail).filter(|detail| !detail.is_empty()),
            },
        }
    }
}

/// A request, with the caller's authority for it: the body of `POST /choria/v1/sign`.
#[derive(Clone, Default, ToSchema)]
pub struct SignRequest {
    /// The caller's token, as the login gave it. At most 256 KiB.
    #[schema(max_length = 262_144)]
    pub token: String,
    /// The request as the client made it, at most 512 KiB, in standard base64 with padding and without line breaks.
    #[schema(value_type = String, format = Byte, content_encoding = "base64", max_length = 699_052)]
    pub request: Vec<u8>,
    /// The Ed25519 signature over the bytes of the request (before base64) by the key that the token is bound to, in
    /// hexadecimal. Empty with a token that is bound to no key, which a service admits only if it was configured so.
    #[schema(pattern = "^([0-9a-fA-F]{128})?$", max_length = 128)]
    pub signature: String,
}

impl SignRequest {
    pub(crate) const MEMBERS: &'static [&'static str] = &["token", "request", "signature"];

    /// Reads the body of a request to sign.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut sign = Self::default();
        read_object(body, Self::MEMBERS, |member, text| {
            match member {
                0 => bounded("token", text, TOKEN_LIMIT)?.clone_into(&mut sign.token),
                1 => sign.request = base64_bytes("request", text, REQUEST_LIMIT)?,
                _ => hexadecimal("signature", text, SIGNATURE_LENGTH)?
                    .clone_into(&mut sign.signature),
            }
            Ok(())
        })?;
        Ok(sign)
    }

    /// A request that came as texts, over the Choria network.
    ///
    /// # Errors
    /// When one of them has not got its form.
    pub fn from_texts(token: &str, request: &str, signature: &str) -> Result<Self, ApiError> {
        Ok(Self {
            token: bounded("token", token, TOKEN_LIMIT)?.to_owned(),
            request: bounded("request", request, REQUEST_LIMIT)?
                .as_bytes()
                .to_vec(),
            signature: hexadecimal("signature", signature, SIGNATURE_LENGTH)?.to_owned(),
        })
    }

    /// The form of a request that came as a typed message.
    pub(crate) fn check(message: &crate::grpc::v1::SignRequest) -> Result<(), ApiError> {
        bounded("token", &message.token, TOKEN_LIMIT)?;
        if message.request.len() > REQUEST_LIMIT {
            return Err(too_long("request", REQUEST_LIMIT));
        }
        hexadecimal("signature", &message.signature, SIGNATURE_LENGTH)?;
        Ok(())
    }

    /// The body as a client sends it.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Wire<'a> {
            token: &'a str,
            request: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            signature: &'a str,
        }
        let request = STANDARD.encode(&self.request);
        serde_json::to_vec(&Wire {
            token: &self.token,
            request: &request,
            signature: &self.signature,
        })
        .unwrap_or_default()
    }
}

/// The secure request, or why there is none: the answer to a request to sign.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub struct SignResponse {
    /// The secure request, in standard base64.
    #[serde(default, deserialize_with = "optional_base64")]
    #[schema(value_type = String, format = Byte, content_encoding = "base64", required = false)]
    pub secure_request: Option<Vec<u8>>,
    /// Why the request was refused, in one line for people.
    #[serde(default)]
    #[schema(
        nullable = false,
        example = "Request denied: up=bob may not puppet.disable"
    )]
    pub error: Option<String>,
    /// More about the refusal, told only to a caller whose token and signature are good.
    #[serde(default)]
    #[schema(nullable = false)]
    pub detail: Option<String>,
}

impl SignResponse {
    /// The body of the answer.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Refusal<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            detail: Option<&'a str>,
        }
        match &self.secure_request {
            Some(signed) => signed_json(signed),
            None => serde_json::to_vec(&Refusal {
                error: self.error.as_deref(),
                detail: self.detail.as_deref(),
            })
            .unwrap_or_default(),
        }
    }
}

/// `{"secure_request":"…"}`, encoded in place: base64 holds nothing that JSON would escape.
fn signed_json(signed: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"{\"secure_request\":\"";
    const TAIL: &[u8] = b"\"}";
    let encoded = signed.len().div_ceil(3) * 4;
    let mut body = String::with_capacity(HEAD.len() + encoded + TAIL.len());
    body.push_str("{\"secure_request\":\"");
    STANDARD.encode_string(signed, &mut body);
    body.push_str("\"}");
    body.into_bytes()
}

impl From<SignOutcome> for SignResponse {
    fn from(outcome: SignOutcome) -> Self {
        match outcome {
            SignOutcome::Signed(signed) => Self {
                secure_request: Some(signed),
                ..Self::default()
            },
            SignOutcome::Refused { error, detail } => Self {
                secure_request: None,
                error: Some(error),
                detail: Some(detail).filter(|detail| !detail.is_empty()),
            },
        }
    }
}

fn optional_base64<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| STANDARD.decode(text))
        .transpose()
        .map_err(|_| serde::de::Error::custom("secure_request is not standard base64"))
}

fn too_long(member: &str, limit: usize) -> ApiError {
    ApiError::malformed(format!("{member} is longer than {limit} bytes"))
}

fn bounded<'a>(member: &str, text: &'a str, limit: usize) -> Result<&'a str, ApiError> {
    if text.len() > limit {
        return Err(too_long(member, limit));
    }
    Ok(text)
}

/// Empty, or exactly so many hexadecimal characters.
fn hexadecimal<'a>(member: &str, text: &'a str, length: usize) -> Result<&'a str, ApiError> {
    if text.is_empty() || (text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Ok(text);
    }
    Err(ApiError::malformed(format!(
        "{member} must be {length} hexadecimal characters"
    )))
}

/// Empty, or digits.
fn decimal<'a>(member: &str, text: &'a str) -> Result<&'a str, ApiError> {
    if text.len() <= TIMESTAMP_LIMIT && text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(text);
    }
    Err(ApiError::malformed(format!(
        "{member} must be the seconds of the unix epoch in decimal digits"
    )))
}

/// Bytes in base64 as RFC 4648 section 4 has it: padded, without white space, unused bits zero.
fn base64_bytes(member: &str, text: &str, limit: usize) -> Result<Vec<u8>, ApiError> {
    if text.len() > limit.div_ceil(3) * 4 {
        return Err(too_long(member, limit));
    }
    let bytes = STANDARD.decode(text).map_err(|_| {
        ApiError::malformed(format!(
            "{member} must be standard base64 with padding and without line breaks"
        ))
    })?;
    if bytes.len() > limit {
        return Err(too_long(member, limit));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
