use aaa_api::handler::VerifyClient;
use aaa_core::clock::{Clock as _, ManualClock, SystemClock};
use aaa_core::secret::Secret;
use aaa_service::config::Document;
use aaa_testing::pki::{Authority, Issued, Wanted};
use aaa_testing::tls::exchange;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;
use crate::conformance::{Fixture, Try, words};

const RIGHTS: &str = r#"[
    {"certnames": "bob.mcollective, /^ops-/", "acls": ["puppet.*"], "properties": {"team": "ops"}},
    {"certnames": ["/\\.mcollective$/"], "acls": ["rpcutil.ping"]}
]"#;

/// An authority, a service that trusts it, and what that has found revoked.
struct Site {
    _dir: tempfile::TempDir,
    authority: Authority,
    service: Issued,
    roots: Arc<RootCertStore>,
    verifier: Arc<Verifier>,
    clock: Arc<ManualClock>,
}

/// As the listener is: what is trusted may change while connections are open.
#[derive(Debug)]
struct Verifier(ArcSwap<Arc<dyn ClientCertVerifier>>);

impl VerifyClient for Verifier {
    fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), rustls::Error> {
        self.0.load().verify(chain, now)
    }
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "ca").unwrap();
        let service = authority.service().unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(authority.path()).unwrap())
            .unwrap();
        let roots = Arc::new(roots);
        let verifier = Verifier(ArcSwap::from_pointee(verifier(&roots, &authority)));
        Self {
            _dir: dir,
            authority,
            service,
            roots,
            verifier: Arc::new(verifier),
            // A little later than what is issued from here on.
            clock: ManualClock::at(SystemClock.now().as_second() + 60),
        }
    }

    /// Takes the authority's list as it is now.
    fn reload(&self) {
        let verifier = verifier(&self.roots, &self.authority);
        self.verifier.0.store(Arc::new(verifier));
    }

    fn authenticator(&self, allowed: &str) -> Certificate {
        let section = format!("{{\"allowed_certnames\": {allowed}, \"rights\": {RIGHTS}}}");
        let (settings, problems) = read(&section);
        assert_eq!(problems, [""; 0]);
        Certificate::new(settings, self.clock.clone())
    }

    /// What a handshake with this certificate leaves.
    fn shown(&self, issued: &Issued) -> ClientCertificates {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (chain, key) = pair(&self.service);
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier(&self.roots, &self.authority))
            .with_single_cert(chain, key)
            .unwrap();
        let (chain, key) = pair(issued);
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots))
            .with_client_auth_cert(chain, key)
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        for _ in 0..2 {
            exchange(&mut client, &mut server).unwrap();
        }
        ClientCertificates::of(&server, Arc::<Verifier>::clone(&self.verifier)).unwrap()
    }

    /// A login without name and password over a connection that showed this certificate.
    fn with(&self, issued: &Issued) -> Try {
        let mut attempt = words("", "");
        attempt.context.client_certificates = Some(self.shown(issued));
        attempt
    }

    fn client(&self, certname: &str) -> Issued {
        self.authority.client(certname).unwrap()
    }

    fn issue(&self, subject: &str, names: &str) -> Issued {
        let wanted = Wanted {
            subject,
            names,
            purpose: "clientAuth",
            end: "",
        };
        self.authority.issue(&wanted).unwrap()
    }
}

fn verifier(roots: &Arc<RootCertStore>, authority: &Authority) -> Arc<dyn ClientCertVerifier> {
    let list = authority.list(None).unwrap();
    let list = CertificateRevocationListDer::from_pem_slice(list.as_bytes()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
        .with_crls([list])
        .build()
        .unwrap()
}

fn pair(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    (
        vec![der(issued)],
        PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap(),
    )
}

fn der(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()
}

/// The settings, and what is wrong with them or worth a word.
fn read(section: &str) -> (Settings, Vec<String>) {
    let text = format!("{{\"certificate_authenticator\": {section}}}");
    let document = Document::parse("a.json", text.as_bytes()).unwrap();
    let section = document.section(SECTION, CERTIFICATE).unwrap();
    let settings = Settings::read(&section);
    let problems = document.problems();
    let told = problems.errors().iter().chain(problems.warnings());
    let told = told
        .map(|problem| format!("{}: {}", problem.key, problem.text))
        .collect();
    (settings, told)
}

async fn ask(authenticator: &Certificate, attempt: &Try) -> Verdict {
    let attempt = Attempt {
        username: &attempt.username,
        password: &attempt.password,
        context: &attempt.context,
    };
    authenticator.authenticate(&attempt).await.unwrap()
}

async fn refused(authenticator: &Certificate, attempt: &Try) -> Refusal {
    match ask(authenticator, attempt).await {
        Verdict::Refused(refusal) => refusal,
        Verdict::Known(identity) => panic!("{identity:?}"),
        Verdict::Unknown | Verdict::Wrong(_) => panic!("unknown"),
    }
}

#[tokio::test]
async fn it_conforms() {
    let site = Site::new();
    let bob = site.client("bob.mcollective");
    let mut named = site.with(&bob);
    named.username = "bob.mcollective".to_owned();
    let mut misnamed = site.with(&bob);
    misnamed.username = "jill.mcollective".to_owned();
    let mut password = site.with(&bob);
    password.username = "bob".to_owned();
    password.password = Secret::new("secret".to_owned());
    let fixture = Fixture {
        authenticator: Arc::new(site.authenticator("\"jill, /\\\\.mcollective$/\"")),
        provider: PROVIDER,
        right: vec![
            (site.with(&bob), "choria=bob.mcollective"),
            (named, "choria=bob.mcollective"),
            (
                site.with(&site.client("ops-1.mcollective")),
                "choria=ops-1.mcollective",
            ),
        ],
        wrong: vec![
            site.with(&site.client("node1.example.net")),
            site.with(&site.client("bob.privileged.mcollective")),
            site.with(&site.client("jill")),
            misnamed,
        ],
        unknown: vec![words("bob", "secret"), words("", ""), password],
    };
    fixture.check().await;
}

#[tokio::test]
async fn a_name_has_the_rights_of_every_list_that_it_is_in() {
    let site = Site::new();
    let authenticator = site.authenticator("\"/\\\\.mcollective$/, /^ops-/\"");
    for (name, agents) in [
        ("bob.mcollective", &["puppet.*", "rpcutil.ping"][..]),
        ("jill.mcollective", &["rpcutil.ping"]),
        ("ops-7", &["puppet.*"]),
    ] {
        let verdict = ask(&authenticator, &site.with(&site.client(name))).await;
        let Verdict::Known(identity) = verdict else {
            panic!("{name}");
        };
        assert_eq!(identity.rights.agents, agents);
    }
}

#[tokio::test]
async fn who_is_refused_is_named_to_operators() {
    let site = Site::new();
    let authenticator = site.authenticator("\"/\\\\.mcollective$/, jill\"");
    for (name, reason) in [
        ("node1.example.net", Reason::CertificateName),
        ("bob.mcollective.evil", Reason::CertificateName),
        ("x.privileged.mcollective", Reason::Privileged),
        ("x.privileged.choria", Reason::Privileged),
        ("jill", Reason::NoRights),
    ] {
        let refusal = refused(&authenticator, &site.with(&site.client(name))).await;
        assert_eq!(
            (refusal.reason, refusal.whose.as_deref()),
            (reason, Some(name))
        );
    }
}

#[tokio::test]
async fn a_connection_does_not_carry_a_certificate_past_its_revocation() {
    let site = Site::new();
    let authenticator = site.authenticator("\"/\\\\.mcollective$/\"");
    let bob = site.client("bob.mcollective");
    let (open, other) = (site.with(&bob), site.with(&site.client("jill.mcollective")));
    assert!(matches!(
        ask(&authenticator, &open).await,
        Verdict::Known(_)
    ));
    site.authority.revoke(&bob).unwrap();
    site.reload();
    let refusal = refused(&authenticator, &open).await;
    assert_eq!(refusal.reason, Reason::Certificate);
    assert!(matches!(
        ask(&authenticator, &other).await,
        Verdict::Known(_)
    ));
    // Nor past its end, which is in thirty days.
    site.clock.set(site.clock.now().as_second() + 31 * 86_400);
    let refusal = refused(&authenticator, &other).await;
    assert_eq!(refusal.reason, Reason::Certificate);
}

#[test]
fn a_certname_is_a_common_name_that_is_a_dns_name_too() {
    let site = Site::new();
    let unfit = |name: &str| Err(Unnamed::Unfit(Some(name.to_owned())));
    let long = "x".repeat(60);
    for (subject, names, expected) in [
        ("/CN=bob", "DNS:bob", Ok("bob")),
        ("/CN=bob", "DNS:other,DNS:bob,email:a@b", Ok("bob")),
        // A node looks at DNS names alone, and people at the common name: they must not be of two minds.
        ("/CN=bob", "", unfit("bob")),
        ("/CN=bob", "DNS:jill", unfit("bob")),
        ("/CN=bob", "email:bob", unfit("bob")),
        ("/", "DNS:bob", Err(Unnamed::Unfit(None))),
        ("/CN=bob/CN=jill", "DNS:bob,DNS:jill", unfit("bob")),
        ("/CN=BOB", "DNS:BOB", unfit("BOB")),
        ("/CN=bob", "DNS:BOB", unfit("bob")),
        ("/CN=bob\\/x", "DNS:bob/x", unfit("bob/x")),
        ("/CN=bob\nx", "DNS:bob", unfit("bob\nx")),
        ("/CN=b\u{f6}b", "DNS:bob", unfit("b\u{f6}b")),
        ("/CN=bob jill", "DNS:bob jill", unfit("bob jill")),
        (
            "/CN=*.mcollective",
            "DNS:*.mcollective",
            unfit("*.mcollective"),
        ),
        ("/CN=bob.", "DNS:bob.", unfit("bob.")),
        (
            "/CN=.mcollective",
            "DNS:.mcollective",
            unfit(".mcollective"),
        ),
        (
            "/CN=a..mcollective",
            "DNS:a..mcollective",
            unfit("a..mcollective"),
        ),
        ("/CN=up\\=bob", "DNS:up=bob", unfit("up=bob")),
        (&format!("/CN={long}"), &format!("DNS:{long}"), Ok(&*long)),
    ] {
        let found = Certname::of(&der(&site.issue(subject, names)));
        let found = found.as_ref().map(Certname::as_str);
        assert_eq!(found, expected.as_ref().copied(), "{subject} {names}");
    }
    assert_eq!(Certname::of(b"nothing"), Err(Unnamed::Unfit(None)));
}

#[test]
fn a_privileged_name_anywhere_is_enough_to_be_refused() {
    let site = Site::new();
    for (subject, names, name) in [
        (
            "/CN=bob",
            "DNS:bob,DNS:x.privileged.mcollective",
            "x.privileged.mcollective",
        ),
        ("/CN=x.privileged.choria", "DNS:bob", "x.privileged.choria"),
        (
            "/CN=X.Privileged.MCollective",
            "DNS:bob",
            "X.Privileged.MCollective",
        ),
        (
            "/CN=bob",
            "DNS:bob,DNS:x.privileged.mcollective.",
            "x.privileged.mcollective.",
        ),
        (
            "/CN=x-privileged-mcollective",
            "DNS:x-privileged-mcollective",
            "x-privileged-mcollective",
        ),
        (
            "/CN=bob/CN=x.privileged.mcollective",
            "DNS:bob",
            "x.privileged.mcollective",
        ),
    ] {
        let found = Certname::of(&der(&site.issue(subject, names)));
        assert_eq!(
            found,
            Err(Unnamed::Privileged(name.to_owned())),
            "{subject} {names}"
        );
    }
    // The word alone is no privilege, and neither is another end.
    for name in ["privileged.mcollective.net", "unprivileged"] {
        assert!(Certname::of(&der(&site.client(name))).is_ok());
    }
}

#[test]
fn names_are_exact_and_patterns_search() {
    let names = |list: &str| {
        read(&format!(
            "{{\"allowed_certnames\": {list}, \"rights\": {RIGHTS}}}"
        ))
    };
    let (settings, told) = names("\"bob, jill, /\\\\.mcollective$/\"");
    assert_eq!(told, [""; 0]);
    for name in ["bob", "jill", "x.mcollective"] {
        assert!(settings.allowed.matches(name), "{name}");
    }
    for name in [
        "bobby",
        "abob",
        "bo",
        "xmcollective",
        "x.mcollective.net",
        "BOB",
        "",
    ] {
        assert!(!settings.allowed.matches(name), "{name}");
    }
    let (settings, told) = names("[\"/^[a-z]{2,3}, ?x/\", \"bob\"]");
    assert_eq!(told, [""; 0]);
    assert!(settings.allowed.matches("abc, x"));
    for (list, problem) in [
        ("\"/(/\"", "/(/: unclosed group"),
        ("\"//\"", "//: an empty pattern is every name"),
        (
            "\"*.mcollective\"",
            "\"*.mcollective\": no certificate that logs in has this name",
        ),
        (
            "\"/abc\"",
            "\"/abc\": no certificate that logs in has this name",
        ),
        (
            "\"Bob\"",
            "\"Bob\": no certificate that logs in has this name",
        ),
        (
            "\"/mcollective/\"",
            "/mcollective/ matches anywhere in a name",
        ),
    ] {
        let (_, told) = names(list);
        let wanted = format!("certificate_authenticator.allowed_certnames: {problem}");
        assert!(told.len() == 1 && told[0].starts_with(&wanted), "{told:?}");
    }
}

#[test]
fn the_default_is_what_nodes_allow() {
    let (settings, _) = read(&format!("{{\"rights\": {RIGHTS}}}"));
    assert!(settings.allowed.matches("bob.mcollective"));
    assert!(settings.allowed.matches("bob.choria"));
    assert!(!settings.allowed.matches("bob.example.net"));
}

#[test]
fn rights_say_whom_they_are_for() {
    let (_, told) = read("{\"rights\": [{\"acls\": [\"puppet.*\"]}]}");
    assert_eq!(
        told,
        ["certificate_authenticator.rights[0].certnames: required, for example \"bob, /^ops-/\""]
    );
    let (_, told) = read("{}");
    assert_eq!(
        told,
        [
            "certificate_authenticator.rights: nobody has any, so nobody can log in with a certificate"
        ]
    );
}
