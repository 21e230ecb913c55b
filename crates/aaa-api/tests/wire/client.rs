//! Our client against our router, over real connections, and against services that are none.

use std::sync::Arc;
use std::time::Duration;

use aaa_api::client::{ANSWER_LIMIT, Client, ClientError, Identity, Settings, Trust};
use aaa_api::grpc::v1;
use aaa_api::rest::{LoginRequest, SignRequest};
use aaa_api::server;
use aaa_core::secret::Secret;
use axum::Router;
use axum::routing::post;
use http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{LOGIN, Oracle, SIGN, Served, router};

fn login(username: &str) -> LoginRequest {
    LoginRequest {
        username: username.to_owned(),
        password: Secret::new("hunter2".to_owned()),
        ..LoginRequest::default()
    }
}

fn sign(token: &str) -> SignRequest {
    SignRequest {
        token: token.to_owned(),
        request: b"{}".to_vec(),
        ..SignRequest::default()
    }
}

fn client(trust: Trust) -> Client {
    Client::new(Settings {
        trust,
        ..Settings::default()
    })
    .unwrap()
}

#[tokio::test]
async fn it_logs_in_and_has_requests_signed() {
    let served = Served::new(router(&Oracle::new())).await;
    let client = client(Trust::System);
    assert_eq!(
        client
            .login(&served.url(LOGIN), &login("bob"))
            .await
            .unwrap(),
        "token of bob"
    );
    assert_eq!(
        client.sign(&served.url(SIGN), &sign("good")).await.unwrap(),
        b"signed:{}"
    );
    let refused = client
        .sign(&served.url(SIGN), &sign("refuse"))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused { error, detail } if error == "Request denied" && detail == "because")
    );
    assert_eq!(refused.to_string(), "Request denied: because");
    let busy = client
        .login(&served.url(LOGIN), &login("busy"))
        .await
        .unwrap_err();
    assert!(
        matches!(&busy, ClientError::Status { status, .. } if *status == StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(
        busy.to_string()
            .ends_with("503 Service Unavailable: Service unavailable: the queue is full")
    );

    let mut grpc = client.grpc_login(&served.origin()).unwrap();
    let answer = grpc
        .login(v1::LoginRequest::from(&login("bob")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.token, "token of bob");
}

#[tokio::test]
async fn the_next_url_is_asked_when_one_is_out_and_not_when_one_refused() {
    let served = Served::new(router(&Oracle::new())).await;
    let broken = Served::new(server::router(server::Handlers::default())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}{LOGIN}", listener.local_addr().unwrap());
    drop(listener);
    let urls = [closed.clone(), broken.url(LOGIN), served.url(LOGIN)];
    let client = client(Trust::System);
    assert_eq!(
        client.login_any(&urls, &login("bob")).await.unwrap(),
        "token of bob"
    );

    let order = [served.url(LOGIN), closed];
    assert!(matches!(
        client.login_any(&order, &login("refuse")).await,
        Err(ClientError::Refused { .. })
    ));
    let outage = client
        .login_any(&urls[..1], &login("bob"))
        .await
        .unwrap_err();
    assert!(
        outage
            .to_string()
            .starts_with(&format!("cannot reach {}: ", urls[0])),
        "{outage}"
    );
    assert!(outage.to_string().contains("refused"), "{outage}");
    assert!(matches!(
        client.login_any(&[], &login("bob")).await,
        Err(ClientError::NoUrl)
    ));
}

#[tokio::test]
async fn what_is_no_answer_is_called_that() {
    let page = "<html>Welcome</html>";
    let long = " ".repeat(ANSWER_LIMIT + 1);
    let other = Router::new()
        .route("/page", post(move || async move { page }))
        .route("/empty", post(|| async { "{}" }))
        .route("/numbers", post(|| async { "{\"token\":1}" }))
        .route("/long", post(move || async move { long }))
        .route(
            "/missing",
            post(move || async move { (StatusCode::NOT_FOUND, page) }),
        );
    let served = Served::new(other).await;
    let client = client(Trust::System);
    for path in ["/page", "/empty", "/numbers"] {
        let error = client
            .login(&served.url(path), &login("bob"))
            .await
            .unwrap_err();
        assert!(
            matches!(error, ClientError::NoAnswer { .. }),
            "{path}: {error}"
        );
    }
    let error = client
        .login(&served.url("/long"), &login("bob"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::TooLong { .. }), "{error}");
    let error = client
        .login(&served.url("/missing"), &login("bob"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("404 Not Found: <html>Welcome</html>"),
        "{error}"
    );
    for url in [
        "",
        "login.example.net/choria",
        "ftp://a/",
        "http://",
        "https:///x",
    ] {
        let error = client.login(url, &login("bob")).await.unwrap_err();
        assert!(matches!(error, ClientError::Url { .. }), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_service_that_is_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}{LOGIN}", listener.local_addr().unwrap());
    let settings = Settings {
        timeout: Duration::from_millis(20),
        ..Settings::default()
    };
    let error = Client::new(settings)
        .unwrap()
        .login(&url, &login("bob"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    assert!(
        error.to_string().ends_with("did not answer within 0.02 s"),
        "{error}"
    );
}

/// An authority of its own, and a service and a client that hold its certificates.
struct Site {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
        }
    }

    fn pem(&self) -> Vec<u8> {
        self.authority.pem().into_bytes()
    }

    fn identity(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        Identity {
            certificates: certificate.pem().into_bytes(),
            key: Secret::new(key.serialize_pem().into_bytes()),
        }
    }

    /// Serves over TLS as `name`; asks for a certificate of this site if `mutual`. Gives the port.
    async fn serve(&self, name: &str, mutual: bool) -> u16 {
        let identity = self.identity(name, ExtendedKeyUsagePurpose::ServerAuth);
        self.serve_as(identity, mutual).await
    }

    async fn serve_as(&self, identity: Identity, mutual: bool) -> u16 {
        let Identity { certificates, key } = identity;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_slice(&certificates).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.expose()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        listen(TlsAcceptor::from(Arc::new(config)), router(&Oracle::new())).await
    }
}

async fn listen(tls: TlsAcceptor, router: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (tls, router) = (tls.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(connection) = tls.accept(tcp).await else {
                    return;
                };
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let service = TowerToHyperService::new(router);
                let _ = server
                    .serve_connection(TokioIo::new(connection), service)
                    .await;
            });
        }
    });
    port
}

#[tokio::test]
async fn trust_is_what_was_said_and_no_more() {
    let site = Site::new();
    let port = site.serve("localhost", false).await;
    let url = format!("https://localhost:{port}{LOGIN}");
    let log_in = |trust| {
        let url = url.clone();
        async move { client(trust).login(&url, &login("bob")).await }
    };
    assert_eq!(
        log_in(Trust::Authorities(site.pem())).await.unwrap(),
        "token of bob"
    );
    assert_eq!(
        log_in(Trust::SystemAnd(site.pem())).await.unwrap(),
        "token of bob"
    );
    assert_eq!(
        log_in(Trust::InsecureAnybody).await.unwrap(),
        "token of bob"
    );
    for stranger in [Trust::System, Trust::Authorities(Site::new().pem())] {
        let error = log_in(stranger).await.unwrap_err();
        assert!(matches!(error, ClientError::Tls { .. }), "{error}");
        assert!(
            error
                .to_string()
                .ends_with("; name the authority that issued its certificate"),
            "{error}"
        );
    }
    let elsewhere = site.serve("elsewhere.example.net", false).await;
    let url = format!("https://localhost:{elsewhere}{LOGIN}");
    let error = client(Trust::Authorities(site.pem()))
        .login(&url, &login("bob"))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Tls { .. }), "{error}");
}

#[tokio::test]
async fn an_authority_is_no_service() {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem().into_bytes();
    let identity = Identity {
        certificates: pem.clone(),
        key: Secret::new(key.serialize_pem().into_bytes()),
    };
    let port = Site::new().serve_as(identity, false).await;
    let error = client(Trust::Authorities(pem))
        .login(&format!("https://localhost:{port}{LOGIN}"), &login("bob"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("CA:FALSE"),
        "who reads it knows what to make: {error}"
    );
}

#[tokio::test]
async fn grpc_goes_over_the_same_port_and_trust() {
    let site = Site::new();
    let port = site.serve("localhost", false).await;
    let origin = format!("https://localhost:{port}");
    let request = || v1::SignRequest::from(sign("good"));
    let mut signer = client(Trust::Authorities(site.pem()))
        .grpc_signer(&origin)
        .unwrap();
    assert_eq!(
        signer
            .sign(request())
            .await
            .unwrap()
            .into_inner()
            .secure_request,
        b"signed:{}"
    );
    let mut stranger = client(Trust::System).grpc_signer(&origin).unwrap();
    assert!(stranger.sign(request()).await.is_err());
}

#[tokio::test]
async fn a_certificate_is_shown_where_one_is_wanted() {
    let site = Site::new();
    let port = site.serve("localhost", true).await;
    let url = format!("https://localhost:{port}{LOGIN}");
    let settings = |identity| Settings {
        trust: Trust::Authorities(site.pem()),
        identity,
        ..Settings::default()
    };
    let bob = site.identity("bob", ExtendedKeyUsagePurpose::ClientAuth);
    let known = Client::new(settings(Some(bob))).unwrap();
    assert_eq!(
        known.login(&url, &login("bob")).await.unwrap(),
        "token of bob"
    );
    let error = Client::new(settings(None))
        .unwrap()
        .login(&url, &login("bob"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ClientError::Tls { .. } | ClientError::Unreachable { .. }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_port_without_tls_is_told_from_one_that_is_not_trusted() {
    let served = Served::new(router(&Oracle::new())).await;
    let url = format!("https://{}{LOGIN}", served.address);
    let error = client(Trust::InsecureAnybody)
        .login(&url, &login("bob"))
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("; does it speak TLS on this port?"),
        "{error}"
    );
}

#[test]
fn what_is_no_certificate_is_refused_at_once() {
    let settings = |trust, identity| {
        Client::new(Settings {
            trust,
            identity,
            ..Settings::default()
        })
    };
    let refused = |client: Result<Client, ClientError>| client.err().unwrap().to_string();
    assert_eq!(
        refused(settings(Trust::Authorities(b"no".to_vec()), None)),
        "no certificates found: PEM certificates are wanted"
    );
    let site = Site::new();
    let identity = Identity {
        certificates: site.pem(),
        key: Secret::new(b"no".to_vec()),
    };
    assert_eq!(
        refused(settings(Trust::System, Some(identity))),
        "no private key found: a PEM key is wanted"
    );
}
