//! Logins by certificate, from the configuration to the token, over the wire. All certificates are made by `openssl`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::path::PathBuf;

use aaa_api::client::{Client, Identity, Settings, Trust};
use aaa_api::handler::Handlers;
use aaa_api::rest::LoginRequest;
use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_core::token::unverified;
use aaa_login::{Options, PROGRAM, build};
use aaa_service::config::Document;
use aaa_service::shell::{self, Running};
use aaa_testing::pki::{Authority, Issued};
use serde_json::{Value, json};

/// bcrypt of `secret`.
const HASH: &str = "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu";

/// An authority, and a directory with what a login service needs of it.
struct Site {
    dir: tempfile::TempDir,
    authority: Authority,
    service: Issued,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new(dir.path(), "ca").unwrap();
        let service = authority.service().unwrap();
        let site = Self {
            dir,
            authority,
            service,
        };
        let seed = Ed25519Key::generate().unwrap().seed_hex();
        std::fs::write(site.path("login.seed"), seed.expose()).unwrap();
        site.write_list();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_list(&self) {
        let list = self.authority.list(None).unwrap();
        std::fs::write(self.path("ca.crl"), list).unwrap();
    }

    fn config(&self, authenticator: &Value) -> Value {
        let seed = self.path("login.seed");
        json!({
            "site": "certificate",
            "tls_certificate": self.service.path.with_extension("crt"),
            "tls_key": self.service.path.with_extension("key"),
            "tls_ca": self.authority.path(),
            "tls_crl": self.path("ca.crl"),
            "authenticator": authenticator,
            "certificate_authenticator": {
                "signing_key": seed,
                "validity": "1h",
                "allowed_certnames": "bob, jill, /\\.mcollective$/",
                "rights": [{
                    "certnames": "/./",
                    "acls": ["puppet.*"],
                    "broker_permissions": {"fleet_management": true},
                }],
            },
            "userlist_authenticator": {
                "signing_key": seed,
                "validity": "1h",
                "users": [{"username": "bob", "password": HASH, "acls": ["rpcutil.ping"]}],
            },
        })
    }

    fn client(&self, issued: Option<&Issued>) -> Client {
        Client::new(Settings {
            trust: Trust::Authorities(std::fs::read(self.authority.path()).unwrap()),
            identity: issued.map(|issued| Identity {
                certificates: issued.certificate.clone().into_bytes(),
                key: Secret::new(issued.key.clone().into_bytes()),
            }),
            ..Settings::default()
        })
        .unwrap()
    }

    fn issue(&self, certname: &str) -> Issued {
        self.authority.client(certname).unwrap()
    }
}

async fn start(config: &Value, disable_tls: bool) -> Result<Running, String> {
    let document = Document::parse("login.json", config.to_string().as_bytes()).unwrap();
    let options = shell::Options {
        listen: Some("127.0.0.1:0".to_owned()),
        disable_tls,
        ..shell::Options::default()
    };
    let running = shell::start(&PROGRAM, document, options, |document, shell| {
        let login = build(document, shell, Options { alone: true });
        document.finish()?;
        Ok(Handlers { login, sign: None })
    });
    let running = running.await.map_err(|error| error.to_string())?;
    running.readiness().wait().await;
    Ok(running)
}

/// The caller whom the token of a login is for, or what was answered.
async fn login(
    client: &Client,
    running: &Running,
    name: &str,
    password: &str,
) -> Result<String, String> {
    let url = format!(
        "https://localhost:{}/choria/v1/login",
        running.addr.unwrap().port()
    );
    let key = Ed25519Key::generate().unwrap();
    let password = Secret::new(password.to_owned());
    let request = LoginRequest::signed(name, password, &key, SystemClock.now());
    let token = client
        .login(&url, &request)
        .await
        .map_err(|error| error.to_string())?;
    let claims: ClientClaims = unverified(&token).unwrap();
    assert_eq!(claims.standard.public_key, key.public().to_hex());
    Ok(claims.callerid)
}

#[tokio::test]
async fn a_certificate_logs_in_and_its_key_is_in_the_token() {
    let site = Site::new();
    let running = start(&site.config(&json!("certificate")), false)
        .await
        .unwrap();
    let bob = site.client(Some(&site.issue("bob.mcollective")));
    let caller = "choria=bob.mcollective";
    assert_eq!(login(&bob, &running, "", "").await.unwrap(), caller);
    assert_eq!(
        login(&bob, &running, "bob.mcollective", "").await.unwrap(),
        caller
    );
    let refused = login(&bob, &running, "jill", "").await.unwrap_err();
    assert!(refused.contains("of another name"), "{refused}");
    for (name, reason) in [
        ("x.privileged.mcollective", "speaks for others"),
        ("node1.example.net", "none that may log in here"),
    ] {
        let client = site.client(Some(&site.issue(name)));
        let refused = login(&client, &running, "", "").await.unwrap_err();
        assert!(refused.contains(reason), "{refused}");
    }
    // Without one there is no connection, whatever else is said.
    assert!(
        login(&site.client(None), &running, "bob", "secret")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_open_connection_is_no_way_around_the_list() {
    let site = Site::new();
    let running = start(&site.config(&json!("certificate")), false)
        .await
        .unwrap();
    let issued = site.issue("bob");
    let bob = site.client(Some(&issued));
    login(&bob, &running, "", "").await.unwrap();
    site.authority.revoke(&issued).unwrap();
    site.write_list();
    assert!(running.reload(None).await);
    // Neither over the connection that was opened before nor over a new one.
    assert!(login(&bob, &running, "", "").await.is_err());
    assert!(
        login(&site.client(Some(&issued)), &running, "", "")
            .await
            .is_err()
    );
}

#[tokio::test]
async fn who_has_no_certificate_or_gives_a_password_is_asked_by_the_next() {
    let site = Site::new();
    let mut config = site.config(&json!(["certificate", "userlist"]));
    config["tls_client_certificate"] = json!("optional");
    let running = start(&config, false).await.unwrap();
    let jill = site.client(Some(&site.issue("jill")));
    let nobody = site.client(None);
    assert_eq!(login(&jill, &running, "", "").await.unwrap(), "choria=jill");
    for client in [&jill, &nobody] {
        assert_eq!(
            login(client, &running, "bob", "secret").await.unwrap(),
            "up=bob"
        );
        // The password decides, not the certificate beside it.
        assert!(login(client, &running, "bob", "wrong").await.is_err());
        assert!(login(client, &running, "jill", "secret").await.is_err());
    }
    let refused = login(&nobody, &running, "", "").await.unwrap_err();
    assert!(
        refused.contains("a name and a password are needed"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_configuration_with_which_no_certificate_could_log_in_does_not_start() {
    let site = Site::new();
    let config = site.config(&json!("certificate"));
    let said = start(&config, true).await.err().unwrap();
    assert!(
        said.contains("certificate cannot work without TLS"),
        "{said}"
    );
    let mut without = config.clone();
    for key in ["tls_ca", "tls_crl"] {
        without.as_object_mut().unwrap().remove(key);
    }
    let said = start(&without, false).await.err().unwrap();
    assert!(
        said.contains("required with authenticator certificate"),
        "{said}"
    );
    let late = site.config(&json!(["userlist", "certificate"]));
    let said = start(&late, false).await.err().unwrap();
    assert!(said.contains("certificate must be the first"), "{said}");
}

/// The example of the manual, with the files of this site.
#[tokio::test]
async fn the_example_of_the_manual_works() {
    let site = Site::new();
    let manual = include_str!("../../../docs/login.md");
    let (_, chapter) = manual.split_once("\n## Certificates\n").unwrap();
    let (_, example) = chapter.split_once("```json\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let mut config: Value = serde_json::from_str(example).unwrap();
    let known = site.config(&json!("certificate"));
    for key in ["tls_certificate", "tls_key", "tls_ca", "tls_crl"] {
        config[key] = known[key].clone();
    }
    config["userlist_authenticator"] = known["userlist_authenticator"].clone();
    std::fs::write(
        site.path("operations.rego"),
        "package io.choria.aaasvc\nallow { true }\n",
    )
    .unwrap();
    let own = &mut config["certificate_authenticator"];
    own["signing_key"] = known["certificate_authenticator"]["signing_key"].clone();
    assert!(
        own.as_object_mut()
            .unwrap()
            .remove("signing_token")
            .is_some()
    );
    own["rights"][1]["opa_policy_file"] = json!(site.path("operations.rego"));
    let running = start(&config, false).await.unwrap();
    for (name, lets_in) in [
        ("bob", true),
        ("jill.mcollective", true),
        ("jill", false),
        ("node1.example.net", false),
    ] {
        let client = site.client(Some(&site.issue(name)));
        let outcome = login(&client, &running, "", "").await;
        assert_eq!(outcome.is_ok(), lets_in, "{name}: {outcome:?}");
    }
    let nobody = site.client(None);
    assert_eq!(
        login(&nobody, &running, "bob", "secret").await.unwrap(),
        "up=bob"
    );
}
