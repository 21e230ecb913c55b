//! What a service implements to be reached over the wire, whichever front a request came through.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_core::audit::Exchange;
pub use aaa_core::audit::Front;
use async_trait::async_trait;
use jiff::Timestamp;
use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;

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
    /// again), and gives what is to be answered: the error, or that it cannot be put on record. Bodies that were too large, too
    /// slow, or no message at all are not told.
    async fn malformed(&self, context: &Context, body: &[u8], error: ApiError) -> ApiError {
        let _ = (context, body);
        error
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
    async fn malformed(&self, context: &Context, body: &[u8], error: ApiError) -> ApiError {
        let _ = (context, body);
        error
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
    /// The address of the other end of the connection, or, with port 0, that which a trusted proxy told.
    pub peer: Option<SocketAddr>,
    /// The certificates that the client showed in the TLS handshake.
    pub client_certificates: Option<ClientCertificates>,
    /// The way it came.
    pub front: Front,
    /// The trace that it belongs to, if it is traced: 32 hexadecimal digits.
    pub trace: Option<String>,
    /// When the service had it.
    pub received: Instant,
}

/// The certificates that a client showed in a TLS handshake, which verified them. Nothing that a client says in a request can make
/// one.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    chain: Arc<[CertificateDer<'static>]>,
    verifier: Arc<dyn VerifyClient>,
}

/// Decides, at any time, whether the certificates of a client are good.
pub trait VerifyClient: fmt::Debug + Send + Sync {
    /// Whether they are good at this time, the client's own first.
    ///
    /// # Errors
    /// When they are not, and why: for the log.
    fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), rustls::Error>;
}

impl ClientCertificates {
    /// Those of a connection; `None` when the client showed none, or the handshake is not done.
    ///
    /// A connection outlives what its handshake found: `verifier` is asked again in [`Self::verified`].
    pub fn of(session: &ServerConnection, verifier: Arc<dyn VerifyClient>) -> Option<Self> {
        let chain = session
            .peer_certificates()
            .filter(|chain| !session.is_handshaking() && !chain.is_empty())?;
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        Some(Self { chain, verifier })
    }

    /// The certificates, the client's own first, if they are good at this time too.
    ///
    /// # Errors
    /// When one has ended or been revoked since, or its issuer is trusted no more.
    pub fn verified(&self, now: Timestamp) -> Result<&[CertificateDer<'static>], rustls::Error> {
        self.verifier.verify(&self.chain, now)?;
        Ok(&self.chain)
    }
}

impl VerifyClient for Arc<dyn ClientCertVerifier> {
    fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), rustls::Error> {
        let (own, issuers) = chain
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let since = Duration::from_secs(now.as_second().max(0).unsigned_abs());
        self.verify_client_cert(own, issuers, UnixTime::since_unix_epoch(since))
            .map(drop)
    }
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

#[cfg(test)]
mod tests {
    use aaa_testing::tls::exchange;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa,
        KeyPair,
    };
    use rustls::crypto::aws_lc_rs;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

    use super::*;

    const END: i64 = 1_900_000_000;

    /// An authority, for both ends.
    struct Site(CertifiedIssuer<'static, KeyPair>);

    type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

    impl Site {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
        }

        fn pair(&self, purpose: ExtendedKeyUsagePurpose) -> Pair {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.extended_key_usages = vec![purpose];
            params.not_after = std::time::SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(END.unsigned_abs()))
                .unwrap()
                .into();
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &self.0).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            (vec![certificate.der().clone()], key)
        }

        fn roots(&self) -> Arc<RootCertStore> {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            Arc::new(roots)
        }

        fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
            let provider = Arc::new(aws_lc_rs::default_provider());
            WebPkiClientVerifier::builder_with_provider(self.roots(), provider)
                .allow_unauthenticated()
                .build()
                .unwrap()
        }

        /// Both ends of a connection before its handshake.
        fn ends(&self, shows: Option<Pair>) -> (ClientConnection, ServerConnection) {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let (chain, key) = self.pair(ExtendedKeyUsagePurpose::ServerAuth);
            let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_client_cert_verifier(self.verifier())
                .with_single_cert(chain, key)
                .unwrap();
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(self.roots());
            let client = match shows {
                Some((chain, key)) => client.with_client_auth_cert(chain, key).unwrap(),
                None => client.with_no_client_auth(),
            };
            let name = ServerName::try_from("localhost").unwrap();
            (
                ClientConnection::new(Arc::new(client), name).unwrap(),
                ServerConnection::new(Arc::new(server)).unwrap(),
            )
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn certificates_come_from_handshakes_and_are_looked_at_again() {
        let site = Site::new();
        let pair = site.pair(ExtendedKeyUsagePurpose::ClientAuth);
        let own = pair.0[0].clone();
        let (mut client, mut server) = site.ends(Some(pair));
        let of = |server: &ServerConnection, site: &Site| {
            ClientCertificates::of(server, Arc::new(site.verifier()))
        };
        exchange(&mut client, &mut server).unwrap();
        assert!(of(&server, &site).is_none(), "before the end");
        exchange(&mut client, &mut server).unwrap();
        let shown = of(&server, &site).unwrap();
        assert_eq!(shown.verified(at(END - 1)).unwrap(), [own]);
        assert!(shown.verified(at(END + 1)).is_err());
        // Whoever is asked again may trust others by then.
        let shown = of(&server, &Site::new()).unwrap();
        assert!(shown.verified(at(END - 1)).is_err());
    }

    #[test]
    fn a_client_that_shows_nothing_has_no_certificates() {
        let site = Site::new();
        let (mut client, mut server) = site.ends(None);
        exchange(&mut client, &mut server).unwrap();
        exchange(&mut client, &mut server).unwrap();
        assert!(!server.is_handshaking());
        let verifier = Arc::new(site.verifier());
        assert!(ClientCertificates::of(&server, verifier).is_none());
    }
}
