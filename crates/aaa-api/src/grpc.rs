//! The gRPC front: the types of `proto/choria/aaa/v1`, and the services that answer them.

mod gate;
mod health;
mod service;
mod stream;

use crate::error::ApiError;
use crate::handler::{LoginOutcome, SignOutcome};
use crate::rest;

pub(crate) use gate::{gate, has_grpc_content_type, pass, status_response};
pub(crate) use health::Readiness;
pub(crate) use service::{Login, Signer, no_login, no_signer};
pub use stream::IN_FLIGHT;

/// The generated types of package `choria.aaa.v1`: messages, clients and servers.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("choria.aaa.v1");
}

/// The descriptors of the contract, encoded: what reflection serves.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/choria.aaa.v1.bin"));

impl From<v1::LoginRequest> for rest::LoginRequest {
    fn from(message: v1::LoginRequest) -> Self {
        Self {
            username: message.username,
            password: message.password.into(),
            public_key: message.public_key,
            timestamp: message.timestamp,
            signature: message.signature,
        }
    }
}

impl From<&rest::LoginRequest> for v1::LoginRequest {
    fn from(login: &rest::LoginRequest) -> Self {
        Self {
            username: login.username.clone(),
            password: login.password.expose().clone(),
            public_key: login.public_key.clone(),
            timestamp: login.timestamp.clone(),
            signature: login.signature.clone(),
        }
    }
}

impl From<LoginOutcome> for v1::LoginResponse {
    fn from(outcome: LoginOutcome) -> Self {
        match outcome {
            LoginOutcome::Token(token) => Self {
                token,
                ..Self::default()
            },
            LoginOutcome::Refused { error, detail } => Self {
                token: String::new(),
                error,
                detail,
            },
        }
    }
}

impl From<v1::SignRequest> for rest::SignRequest {
    fn from(message: v1::SignRequest) -> Self {
        Self {
            token: message.token,
            request: message.request,
            signature: message.signature,
        }
    }
}

impl From<rest::SignRequest> for v1::SignRequest {
    fn from(sign: rest::SignRequest) -> Self {
        Self {
            token: sign.token,
            request: sign.request,
            signature: sign.signature,
        }
    }
}

impl From<SignOutcome> for v1::SignResponse {
    fn from(outcome: SignOutcome) -> Self {
        match outcome {
            SignOutcome::Signed(secure_request) => Self {
                secure_request,
                ..Self::default()
            },
            SignOutcome::Refused { error, detail } => Self {
                secure_request: Vec::new(),
                error,
                detail,
            },
        }
    }
}

impl From<&ApiError> for v1::Failure {
    fn from(error: &ApiError) -> Self {
        Self {
            code: error.cause().code() as i32,
            error: error.cause().message().to_owned(),
            detail: error.detail().to_owned(),
            retry_after: error.retry_after_seconds().unwrap_or_default(),
        }
    }
}
