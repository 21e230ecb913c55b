//! The generator against a service that does what it should, and against one that does not.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, Handlers, LoginHandler, LoginOutcome, SignHandler, SignOutcome};
use aaa_api::rest::{LoginRequest, SignRequest};
use aaa_core::caller::CallerId;
use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::{Ed25519Key, Ed25519Public, SigningKey, VerifyingKey};
use aaa_core::request::Request;
use aaa_core::secure_request::RequestSigner;
use aaa_core::token::{ChainIssuer, Grant, Minter, Verified, Verifier};
use async_trait::async_trait;
use tokio::net::TcpListener;

use crate::cli::{Arguments, Command, Extent, SignOptions, Target, Version};
use crate::connect::{Endpoint, Protocol};
use crate::failure::{Failure, read, read_text};
use crate::sign::{Caller, Done, drive, prepared};
use crate::{blank, login, site};
use clap::Parser as _;

/// A site with its keys.
struct Site(tempfile::TempDir);

/// The one of most tests, as its keys take their time.
fn shared() -> Arc<Site> {
    static SITE: Mutex<Weak<Site>> = Mutex::new(Weak::new());
    let mut site = SITE.lock().unwrap();
    site.upgrade().unwrap_or_else(|| {
        let new = Arc::new(Site::new());
        *site = Arc::downgrade(&new);
        new
    })
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        site::make(dir.path(), 40, 4).unwrap();
        Self(dir)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        read_text(&self.file(name)).unwrap()
    }

    fn key(&self, name: &str) -> Ed25519Key {
        Ed25519Key::from_seed_hex(&self.text(name)).unwrap()
    }

    /// A signer with the keys of this site.
    fn signer(&self, version: Version) -> Arc<Signer> {
        let (verifying, delegator) = match version {
            Version::V1 => {
                let key = read(&self.file("aaa.privileged.mcollective.key")).unwrap();
                let SigningKey::Rsa(key) = SigningKey::parse(&key).unwrap() else {
                    panic!("no RSA key");
                };
                let pem = self.text("aaa.privileged.mcollective.pem");
                ("login-rsa.pem", RequestSigner::Certificate { key, pem })
            }
            Version::V2 => {
                let (key, token) = (self.key("signer.seed"), self.text("signer.jwt"));
                ("issuer.public", RequestSigner::Delegator { key, token })
            }
        };
        let verifying = VerifyingKey::parse(&read(&self.file(verifying)).unwrap()).unwrap();
        let chain = ChainIssuer::new(
            self.key("login.seed"),
            &self.text("login.jwt"),
            SystemClock.now(),
        );
        Arc::new(Signer {
            verifier: Verifier::new(vec![verifying]),
            delegator,
            minter: Minter::chain(chain.unwrap()),
            refuse: None,
        })
    }

    async fn serve(&self, signer: Arc<Signer>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let certificate = read(&self.file("localhost.pem")).unwrap();
        let tls = blank::server_config(&certificate, &read(&self.file("localhost.key")).unwrap());
        let handlers = Handlers {
            login: Some(Arc::clone(&signer) as _),
            sign: Some(signer),
        };
        tokio::spawn(blank::serve(listener, tls.unwrap(), handlers));
        format!("https://{address}")
    }
}

/// Does what a service does, except for policy and record.
struct Signer {
    verifier: Verifier,
    delegator: RequestSigner,
    minter: Minter,
    /// The action that it refuses.
    refuse: Option<&'static str>,
}

#[async_trait]
impl SignHandler for Signer {
    async fn sign(&self, _: &Context, request: SignRequest) -> Result<SignOutcome, ApiError> {
        let authentic = self.verifier.authenticate(&request.token).unwrap();
        let claims: Verified<ClientClaims> = authentic.valid_at(SystemClock.now(), None).unwrap();
        let key = Ed25519Public::from_hex(&claims.standard.public_key).unwrap();
        assert!(key.verify(&request.request, &hex::decode(&request.signature).unwrap()));
        let parsed = Request::parse(&request.request).unwrap();
        if self.refuse.is_some_and(|action| action == parsed.action()) {
            return Ok(SignOutcome::Refused {
                error: "Request denied".to_owned(),
                detail: "no".to_owned(),
            });
        }
        let vouched = parsed.with_caller(&CallerId::new(claims.callerid.clone()));
        Ok(SignOutcome::Signed(self.delegator.sign(&vouched).unwrap()))
    }
}

#[async_trait]
impl LoginHandler for Signer {
    async fn login(&self, _: &Context, request: LoginRequest) -> Result<LoginOutcome, ApiError> {
        let grant = Grant {
            caller: format!("up={}", request.username),
            public_key: Some(Ed25519Public::from_hex(&request.public_key).unwrap()),
            validity: std::time::Duration::from_mins(1),
            ..Grant::default()
        };
        let token = self.minter.client(grant, SystemClock.now()).unwrap();
        Ok(LoginOutcome::Token(token))
    }
}

fn options(site: &Site, url: &str, version: &str, more: &[&str]) -> SignOptions {
    let trust = if version == "v1" {
        "ca.pem"
    } else {
        "issuer.public"
    };
    let path = |name: &str| site.file(name).display().to_string();
    let (token, seed) = (
        path(&format!("{version}/client.jwt")),
        path(&format!("{version}/client.seed")),
    );
    let (ca, trust) = (path("ca.pem"), path(trust));
    let given = [
        "aaa-load",
        "sign",
        "--url",
        url,
        "--ca",
        &ca,
        "--version",
        version,
        "--token-file",
        &token,
        "--seed-file",
        &seed,
        "--trust",
        &trust,
        "--connections",
        "3",
        "--count",
        "30",
    ];
    match Arguments::try_parse_from(given.iter().chain(more))
        .unwrap()
        .command
    {
        Command::Sign(options) => options,
        _ => panic!("another command"),
    }
}

async fn run(options: &SignOptions) -> Result<Done, Failure> {
    let caller = Arc::new(Caller::new(&options.caller, prepared(&options.extent))?);
    drive(&caller, options).await
}

#[tokio::test]
async fn every_front_is_asked_for_distinct_requests_and_its_answers_are_verified() {
    let site = shared();
    for (version, protocol, count, verified) in
        [("v1", Version::V1, 50, 1), ("v2", Version::V2, 1001, 2)]
    {
        let url = site.serve(site.signer(protocol)).await;
        for front in ["rest", "stream", "grpc"] {
            let mut options = options(&site, &url, version, &["--front", front]);
            options.extent.count = Some(count);
            let done = run(&options).await.unwrap();
            let errors = done.tally.errors();
            assert!(errors.is_empty(), "{front}: {errors:?}");
            assert_eq!(done.tally.count(), count, "{front}");
            assert_eq!(done.verified, verified, "{front}");
            assert!(done.used_up);
        }
    }
}

#[tokio::test]
async fn refusals_count_as_errors_and_say_why() {
    let site = shared();
    let mut signer = Arc::into_inner(site.signer(Version::V2)).unwrap();
    signer.refuse = Some("disable");
    let url = site.serve(Arc::new(signer)).await;
    for front in ["rest", "stream", "grpc"] {
        let options = options(
            &site,
            &url,
            "v2",
            &["--front", front, "--action", "disable"],
        );
        let done = run(&options).await.unwrap();
        assert_eq!(done.tally.count(), 0, "{front}");
        let errors: Vec<_> = done.tally.errors().iter().collect();
        assert_eq!(
            errors,
            [(&"refused: Request denied (no)".to_owned(), &30)],
            "{front}"
        );
    }
}

#[tokio::test]
async fn what_no_node_would_obey_is_noticed() {
    let (site, other) = (shared(), Site::new());
    let mut signer = Arc::into_inner(site.signer(Version::V2)).unwrap();
    signer.delegator = Arc::into_inner(other.signer(Version::V2))
        .unwrap()
        .delegator;
    let url = site.serve(Arc::new(signer)).await;
    let failure = run(&options(&site, &url, "v2", &[]))
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        failure.starts_with("a node would not obey the answer to request"),
        "{failure}"
    );
}

#[tokio::test]
async fn a_service_that_nobody_vouches_for_is_not_loaded() {
    let (site, other) = (shared(), Site::new());
    let url = other.serve(other.signer(Version::V2)).await;
    assert!(run(&options(&site, &url, "v2", &[])).await.is_err());
}

#[tokio::test]
async fn logins_get_tokens_for_their_own_keys() {
    let site = shared();
    let url = site.serve(site.signer(Version::V2)).await;
    let endpoint = Endpoint::new(&target(&url, &site.file("ca.pem")), Protocol::Http1).unwrap();
    let extent = Extent {
        connections: 4,
        duration: std::time::Duration::from_mins(1),
        count: Some(100),
        threads: 1,
    };
    let load = login::logins(&endpoint, &extent, 4, 8).await.unwrap();
    assert_eq!((load.count, load.verified, load.errors.len()), (100, 5, 0));
    assert!(load.rate > 0.0 && load.latency_ms.max >= load.latency_ms.p50);
}

fn target(url: &str, ca: &Path) -> Target {
    Target {
        url: url.to_owned(),
        ca: Some(ca.to_owned()),
        insecure: false,
    }
}
