//! Certificates of clients: which are taken, and what becomes of one that is revoked. All of them are made by `openssl`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_service::shell::{self, Running};
use aaa_testing::pki::{Authority, Issued, Wanted};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{PROGRAM, Signer, document, options, over, sign, text};

/// A service that asks for certificates of one authority.
struct Site {
    dir: TempDir,
    authority: Authority,
    signer: Arc<Signer>,
    running: Running,
}

impl Site {
    /// With these further members of the configuration; `@` stands for the directory.
    async fn new(members: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "ca").unwrap();
        let service = authority.service().unwrap();
        let path = service.path.display();
        let list = authority.list(None).unwrap();
        std::fs::write(dir.path().join("ca.crl"), list).unwrap();
        let config = format!(
            "{{\"site\": \"revoked\", \"tls_certificate\": \"{path}.crt\", \"tls_key\": \"{path}.key\", \
             \"tls_ca\": \"{}\", {}}}",
            authority.path().display(),
            members.replace('@', &dir.path().display().to_string())
        );
        let (signer, _) = Signer::new();
        let handlers = signer.handlers();
        let running = shell::start(&PROGRAM, document(&config), options(false), |_, _| {
            Ok(handlers)
        });
        let running = running.await.unwrap_or_else(|error| panic!("{error}"));
        Self {
            dir,
            authority,
            signer,
            running,
        }
    }

    fn list(&self) -> PathBuf {
        self.dir.path().join("ca.crl")
    }

    fn address(&self) -> SocketAddr {
        self.running.addr.unwrap()
    }

    /// What a client is that shows this certificate. It resumes sessions where it may.
    fn client(
        &self,
        issued: Option<&Issued>,
        version: &'static SupportedProtocolVersion,
    ) -> Client {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.authority.path()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match issued {
            None => config.with_no_client_auth(),
            Some(issued) => config
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        Client(TlsConnector::from(Arc::new(config)))
    }
}

struct Client(TlsConnector);

impl Client {
    async fn connect(&self, address: SocketAddr) -> Option<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.0.connect(name, stream).await.ok()
    }

    /// Whether a request over a new connection is served.
    async fn is_served(&self, address: SocketAddr) -> bool {
        let Some(stream) = self.connect(address).await else {
            return false;
        };
        let mut connection = over(stream).await;
        match connection.send_request(sign("a")).await {
            Ok(response) => text(response).await.0 == 200,
            Err(_) => false,
        }
    }
}

fn wanted(name: &'static str, purpose: &'static str, end: &'static str) -> Wanted<'static> {
    Wanted {
        subject: Box::leak(format!("/CN={name}").into_boxed_str()),
        names: Box::leak(format!("DNS:{name}").into_boxed_str()),
        purpose,
        end,
    }
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

const LISTS: &str = "\"tls_crl\": \"@/ca.crl\"";

#[tokio::test]
async fn only_good_certificates_of_clients_are_taken() {
    let site = Site::new(LISTS).await;
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Authority::new(dir.path(), "ca").unwrap();
    let issue = |wanted| site.authority.issue(&wanted).unwrap();
    let revoked = site.authority.client("revoked.mcollective").unwrap();
    site.authority.revoke(&revoked).unwrap();
    std::fs::write(site.list(), site.authority.list(None).unwrap()).unwrap();
    assert!(site.running.reload(None).await);
    let good = site.authority.client("bob.mcollective").unwrap();
    for (what, issued, served) in [
        ("good", Some(good), true),
        ("none", None, false),
        ("revoked", Some(revoked), false),
        (
            "of another authority of the same name",
            Some(elsewhere.client("bob.mcollective").unwrap()),
            false,
        ),
        (
            "ended",
            Some(issue(wanted(
                "bob.mcollective",
                "clientAuth",
                "20210101000000Z",
            ))),
            false,
        ),
        (
            "of a server",
            Some(issue(wanted("bob.mcollective", "serverAuth", ""))),
            false,
        ),
    ] {
        for version in VERSIONS {
            let client = site.client(issued.as_ref(), version);
            assert_eq!(client.is_served(site.address()).await, served, "{what}");
        }
    }
    assert_eq!(site.signer.contexts.lock().unwrap().len(), VERSIONS.len());
}

#[tokio::test]
async fn a_session_does_not_carry_a_certificate_past_its_revocation() {
    let site = Site::new(LISTS).await;
    let bob = site.authority.client("bob.mcollective").unwrap();
    for version in VERSIONS {
        let client = site.client(Some(&bob), version);
        // Once for a session, and once to resume it.
        assert!(client.is_served(site.address()).await);
        assert!(client.is_served(site.address()).await);
        let before = std::fs::read_to_string(site.list()).unwrap();
        site.authority.revoke(&bob).ok();
        std::fs::write(site.list(), site.authority.list(None).unwrap()).unwrap();
        assert!(site.running.reload(None).await);
        assert!(!client.is_served(site.address()).await);
        std::fs::write(site.list(), before).unwrap();
        assert!(site.running.reload(None).await);
    }
}

#[tokio::test]
async fn certificates_are_looked_at_again_after_the_handshake() {
    let site = Site::new(LISTS).await;
    let bob = site.authority.client("bob.mcollective").unwrap();
    let client = site.client(Some(&bob), &rustls::version::TLS13);
    assert!(client.is_served(site.address()).await);
    let shown = site.signer.contexts.lock().unwrap()[0]
        .client_certificates
        .clone()
        .unwrap();
    let now = SystemClock.now();
    let own = CertificateDer::from_pem_slice(bob.certificate.as_bytes()).unwrap();
    assert_eq!(shown.verified(now).unwrap(), [own]);
    site.authority.revoke(&bob).unwrap();
    std::fs::write(site.list(), site.authority.list(None).unwrap()).unwrap();
    assert!(site.running.reload(None).await);
    assert!(shown.verified(now).is_err());
}

#[tokio::test]
async fn a_list_that_ended_or_is_broken_lets_nobody_new_in_and_nobody_revoked() {
    let site = Site::new(LISTS).await;
    let bob = site.authority.client("bob.mcollective").unwrap();
    let client = site.client(Some(&bob), &rustls::version::TLS13);
    // Half a file changes nothing.
    std::fs::write(site.list(), "-----BEGIN X509 CRL-----\nAAAA").unwrap();
    assert!(!site.running.reload(None).await);
    assert!(client.is_served(site.address()).await);
    let ended = site.authority.list(Some("20210101000000Z")).unwrap();
    std::fs::write(site.list(), ended).unwrap();
    assert!(site.running.reload(None).await);
    assert!(!client.is_served(site.address()).await);
}

#[tokio::test]
async fn where_certificates_are_optional_one_that_is_shown_must_still_be_good() {
    let site = Site::new(&format!(
        "{LISTS}, \"tls_client_certificate\": \"optional\""
    ))
    .await;
    let dir = tempfile::tempdir().unwrap();
    let foreign = Authority::new(dir.path(), "ca").unwrap();
    let foreign = foreign.client("bob.mcollective").unwrap();
    let bob = site.authority.client("bob.mcollective").unwrap();
    for version in VERSIONS {
        for (issued, served) in [(None, true), (Some(&bob), true), (Some(&foreign), false)] {
            let client = site.client(issued, version);
            assert_eq!(client.is_served(site.address()).await, served);
        }
    }
    let contexts = site.signer.contexts.lock().unwrap();
    let shown = contexts
        .iter()
        .map(|context| context.client_certificates.is_some());
    assert_eq!(shown.collect::<Vec<_>>(), [false, true, false, true]);
}

#[tokio::test]
async fn open_connections_end_when_others_decide_about_certificates() {
    let site = Site::new(LISTS).await;
    let bob = site.authority.client("bob.mcollective").unwrap();
    let client = site.client(Some(&bob), &rustls::version::TLS13);
    let stream = client.connect(site.address()).await.unwrap();
    let (mut send, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    let ended = tokio::spawn(connection);
    // Twice, with a reload in between that changes nothing for clients.
    for _ in 0..2 {
        let response = send.send_request(sign("a")).await.unwrap();
        assert_eq!(text(response).await.0, 200);
        assert!(site.running.reload(None).await);
    }
    // Somebody else is revoked: who is still good connects again.
    let jill = site.authority.client("jill.mcollective").unwrap();
    site.authority.revoke(&jill).unwrap();
    std::fs::write(site.list(), site.authority.list(None).unwrap()).unwrap();
    assert!(site.running.reload(None).await);
    let _ = ended.await.unwrap();
    assert!(client.is_served(site.address()).await);
}
