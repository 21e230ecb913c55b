//! TLS: versions, both protocols, certificates that change, clients that must show one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_api::client::{Client, Identity, Settings, Trust};
use aaa_api::rest::SignRequest;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::secret::Secret;
use aaa_service::shell::{self, Running};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{PROGRAM, Signer, admin, document, options, over, sign, text};

/// An authority, and a directory with a pair that it issued.
struct Site {
    dir: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Site {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
            ca,
        };
        site.write("ca.crt", &site.ca.pem());
        site.install(&site.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth));
        site
    }

    fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn install(&self, pair: &Pair) {
        self.write("tls.crt", &pair.certificate);
        self.write("tls.key", &pair.key);
    }

    fn config(&self, site: &str, clients: bool) -> String {
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let ca = if clients {
            format!(", \"tls_ca\": {}", quoted(&self.path("ca.crt")))
        } else {
            String::new()
        };
        format!(
            "{{\"site\": \"{site}\", \"tls_certificate\": {}, \"tls_key\": {}{ca}}}",
            quoted(&self.path("tls.crt")),
            quoted(&self.path("tls.key"))
        )
    }

    async fn start(&self, signer: &Arc<Signer>, site: &str, clients: bool) -> Running {
        let handlers = signer.handlers();
        let config = document(&self.config(site, clients));
        shell::start(&PROGRAM, config, options(false), |_, _| Ok(handlers))
            .await
            .unwrap()
    }

    fn client(&self, identity: Option<&Pair>) -> Client {
        Client::new(Settings {
            trust: Trust::Authorities(self.ca.pem().into_bytes()),
            identity: identity.map(|pair| Identity {
                certificates: pair.certificate.clone().into_bytes(),
                key: Secret::new(pair.key.clone().into_bytes()),
            }),
            ..Settings::default()
        })
        .unwrap()
    }

    /// A TLS connection of this version, with the certificate that the service showed.
    async fn handshake(
        &self,
        address: SocketAddr,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> (
        tokio_rustls::client::TlsStream<TcpStream>,
        CertificateDer<'static>,
    ) {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0]
            .clone()
            .into_owned();
        (stream, shown)
    }
}

fn request() -> SignRequest {
    SignRequest {
        token: "a".to_owned(),
        request: b"{}".to_vec(),
        ..SignRequest::default()
    }
}

#[tokio::test]
async fn both_protocols_and_both_versions_are_spoken() {
    let site = Site::new();
    let (signer, _) = Signer::new();
    let running = site.start(&signer, "tls", false).await;
    let address = running.addr.unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let (stream, _) = site.handshake(address, version).await;
        let mut connection = over(stream).await;
        assert_eq!(
            text(connection.send_request(sign("a")).await.unwrap())
                .await
                .0,
            200
        );
    }
    let client = site.client(None);
    let origin = format!("https://localhost:{}", address.port());
    let answer = client
        .sign(&format!("{origin}/choria/v1/sign"), &request())
        .await
        .unwrap();
    assert_eq!(answer, b"{}");
    let message = aaa_api::grpc::v1::SignRequest {
        token: "a".to_owned(),
        request: b"{}".to_vec(),
        ..Default::default()
    };
    let mut grpc = client.grpc_signer(&origin).unwrap();
    grpc.sign(message).await.unwrap();
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn plain_http_is_told_to_use_https() {
    let site = Site::new();
    let (signer, _) = Signer::new();
    let running = site.start(&signer, "plain", false).await;
    let mut client = TcpStream::connect(running.addr.unwrap()).await.unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    // What is left unread of the request may end the connection hard; the answer came first.
    let _ = client.read_to_string(&mut answer).await;
    assert!(answer.contains("this port speaks HTTPS"), "{answer}");
}

#[tokio::test]
async fn a_changed_certificate_is_shown_and_a_bad_one_is_not() {
    let site = Site::new();
    let (signer, _) = Signer::new();
    let running = site.start(&signer, "tls-reload", false).await;
    let address = running.addr.unwrap();
    let (_, first) = site.handshake(address, &rustls::version::TLS13).await;

    // Half a change: the key of another certificate.
    let next = site.issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
    site.write("tls.key", &next.key);
    assert!(!running.reload(None).await);
    let (_, shown) = site.handshake(address, &rustls::version::TLS13).await;
    assert_eq!(shown, first);
    let (_, metrics) = admin(&running, "/metrics").await;
    let counted = "choria_aaa_reload_errors{site=\"tls-reload\",what=\"tls_certificate\"}";
    assert!(metrics.contains(counted), "{metrics}");

    site.write("tls.crt", &next.certificate);
    assert!(running.reload(None).await);
    let (_, shown) = site.handshake(address, &rustls::version::TLS13).await;
    assert_eq!(
        shown,
        CertificateDer::from_pem_slice(next.certificate.as_bytes()).unwrap()
    );
}

#[tokio::test]
async fn with_a_ca_clients_show_certificates_that_handlers_see() {
    let site = Site::new();
    let (signer, _) = Signer::new();
    let running = site.start(&signer, "mtls", true).await;
    let url = format!(
        "https://localhost:{}/choria/v1/sign",
        running.addr.unwrap().port()
    );

    assert!(site.client(None).sign(&url, &request()).await.is_err());
    let foreign = Site::new().issue("bob", ExtendedKeyUsagePurpose::ClientAuth);
    assert!(
        site.client(Some(&foreign))
            .sign(&url, &request())
            .await
            .is_err()
    );
    assert!(signer.contexts.lock().unwrap().is_empty());

    let bob = site.issue("bob", ExtendedKeyUsagePurpose::ClientAuth);
    site.client(Some(&bob))
        .sign(&url, &request())
        .await
        .unwrap();
    let contexts = signer.contexts.lock().unwrap();
    let shown = contexts[0].client_certificates.as_ref().unwrap();
    assert_eq!(
        shown.verified(SystemClock.now()).unwrap()[0],
        CertificateDer::from_pem_slice(bob.certificate.as_bytes()).unwrap()
    );
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_ended() {
    let site = Site::new();
    let (signer, _) = Signer::new();
    let mut config = site.config("handshake", false);
    config.insert_str(1, "\"header_timeout\": \"20ms\", ");
    let handlers = signer.handlers();
    let running = shell::start(&PROGRAM, document(&config), options(false), |_, _| {
        Ok(handlers)
    })
    .await
    .unwrap();
    let mut client = TcpStream::connect(running.addr.unwrap()).await.unwrap();
    client.write_all(&[22, 3, 1]).await.unwrap();
    assert_eq!(client.read(&mut [0; 64]).await.unwrap(), 0);
    let (_, metrics) = admin(&running, "/metrics").await;
    let line = "choria_aaa_connection_errors{site=\"handshake\",reason=\"handshake_timeout\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}
