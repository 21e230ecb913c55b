//! What a service implements to be reached over the wire, whichever front a request came through.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use aaa_core::audit::Exchange;
pub use aaa_core::audit::Front;
use async_trait::async_trait;
use rustls::pki_types::CertificateDer;

use crate::error::ApiError;
use crate::rest::{LoginRequest, SignRequest};

/// Checks who a caller is, and gives out tokens.
#[async_trait]
pub trait LoginHandler: Send + Sync {
    /// Decides about one login. The request has the right form, and nothing else has been checked: members may be empty.
    ///
    /// That the caller is not let in is an outcome. An error is for what keeps the service from deciding.
    async fn login(
        &self,
        context: &Context,
        request: LoginRequest,
    ) -> Result<LoginOutcome, ApiError>;

    /// Hears of a request that could not be understood, with its bytes as they came (over gRPC: the message, encoded
    /// again). The answer waits for this. Bodies that were too large, too slow, or no message at all are not told.
    async fn malformed(&self, context: &Context, body: &[u8], error: &ApiError) {
        let _ = (context, body, error);
    }
}

/// Decides whether a caller may make a request, and signs it.
#[async_trait]
pub trait SignHandler: Send + Sync {
    /// Decides about one request. The request has the right form, and nothing else has been checked: members may be empty.
    ///
    /// A refusal is an outcome. An error is for what keeps the service from deciding, recording or signing.
    async fn sign(&self, context: &Context, request: SignRequest) -> Result<SignOutcome, ApiError>;

    /// Hears of a request that could not be understood: see [`LoginHandler::malformed`].
    async fn malformed(&self, context: &Context, body: &[u8], error: &ApiError) {
        let _ = (context, body, error);
    }
}

/// The services that one port offers. What is absent answers 501, over gRPC UNIMPLEMENTED.
#[derive(Clone, Default)]
pub struct Handlers {
    /// Who answers `/choria/v1/login` and `LoginService`.
    pub login: Option<Arc<dyn LoginHandler>>,
    /// Who answers `/choria/v1/sign` and `SignerService`.
    pub sign: Option<Arc<dyn SignHandler>>,
}

/// What came of a login.
#[derive(Clone, PartialEq, Eq)]
pub enum LoginOutcome {
    /// The caller is who they say: the token, a JWT in its compact form.
    Token(String),
    /// The caller is not let in.
    Refused {
        /// Why, in one line for people.
        error: String,
        /// More about it, such as what to do. May be empty.
        detail: String,
    },
}

/// What came of a request to sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignOutcome {
    /// The secure request, as JSON, ready to be published.
    Signed(Vec<u8>),
    /// The request is not signed.
    Refused {
        /// Why, in one line for people.
        error: String,
        /// More about it. May be empty.
        detail: String,
    },
}

/// How a request came.
#[derive(Debug, Clone)]
pub struct Context {
    /// Names the request in logs, traces and records.
    pub request_id: String,
    /// The address of the other end of the connection.
    pub peer: Option<SocketAddr>,
    /// The certificates that the client showed in the TLS handshake, its own first, verified against `tls_ca`.
    pub client_certificates: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// The way it came.
    pub front: Front,
    /// The trace that it belongs to, if it is traced: 32 hexadecimal digits.
    pub trace: Option<String>,
    /// When the service had it.
    pub received: Instant,
}

impl Context {
    /// A context that knows no more than a name and a way in.
    pub fn new(request_id: impl Into<String>, front: Front) -> Self {
        Self {
            request_id: request_id.into(),
            peer: None,
            client_certificates: None,
            front,
            trace: None,
            received: Instant::now(),
        }
    }

    /// What records say of it.
    pub fn exchange(&self) -> Arc<Exchange> {
        Arc::new(Exchange {
            id: self.request_id.clone(),
            front: self.front,
            trace: self.trace.clone(),
            received: self.received,
        })
    }
}
