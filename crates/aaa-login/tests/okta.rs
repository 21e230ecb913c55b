//! Logins of an Okta tenant's people, from the configuration to the token, over the wire.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::path::Path;

use aaa_api::client::{Client, Settings};
use aaa_api::handler::Handlers;
use aaa_api::rest::LoginRequest;
use aaa_core::claims::{ClientClaims, ClientPermissions};
use aaa_core::clock::{Clock as _, ManualClock};
use aaa_core::key::{Ed25519Key, RsaPublic, SigningKey, VerifyingKey};
use aaa_core::secret::Secret;
use aaa_core::token::{Grant, Minter, Verifier};
use aaa_login::{Options, PROGRAM, build};
use aaa_service::config::Document;
use aaa_service::shell::{self, Running};
use aaa_testing::okta::{API_TOKEN, CLIENT_ID, CLIENT_SECRET, Call, Fault, Okta, User};
use serde_json::{Value, json};

const NOW: i64 = 1_795_346_537;
/// bcrypt of `secret`.
const HASH: &str = "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu";

async fn tenant() -> Okta {
    let bob = User::new(
        "00u1",
        "bob@example.net",
        "bob's",
        &["Everyone", "Operations"],
    );
    Okta::start(vec![bob]).await.unwrap()
}

async fn start(config: &Value) -> Running {
    let document = Document::parse("login.json", config.to_string().as_bytes()).unwrap();
    let options = shell::Options {
        listen: Some("127.0.0.1:0".to_owned()),
        disable_tls: true,
        clock: ManualClock::at(NOW),
        ..shell::Options::default()
    };
    let running = shell::start(&PROGRAM, document, options, |document, shell| {
        let login = build(document, shell, Options { alone: true });
        document.finish()?;
        Ok(Handlers { login, sign: None })
    });
    let running = running.await.unwrap_or_else(|error| panic!("{error}"));
    running.readiness().wait().await;
    running
}

async fn login(running: &Running, username: &str, password: &str) -> Result<String, String> {
    let client = Client::new(Settings::default()).unwrap();
    let url = format!("http://{}/choria/v1/login", running.addr.unwrap());
    let key = Ed25519Key::generate().unwrap();
    let now = ManualClock::at(NOW).now();
    let request = LoginRequest::signed(username, Secret::new(password.to_owned()), &key, now);
    client
        .login(&url, &request)
        .await
        .map_err(|error| error.to_string())
}

/// Writes the keys of a chain: the organization issuer's public key.
fn chain(dir: &Path) -> VerifyingKey {
    let organization = Ed25519Key::generate().unwrap();
    let key = Ed25519Key::generate().unwrap();
    let grant = Grant {
        caller: "up=aaa_login".to_owned(),
        permissions: Some(ClientPermissions::default()),
        public_key: Some(key.public()),
        validity: std::time::Duration::from_hours(24),
        ..Grant::default()
    };
    let token = Minter::organization(organization.clone())
        .client(grant, ManualClock::at(NOW).now())
        .unwrap();
    std::fs::write(dir.join("login.seed"), key.seed_hex().expose()).unwrap();
    std::fs::write(dir.join("login.jwt"), token).unwrap();
    VerifyingKey::Ed25519(organization.public())
}

fn okta(dir: &Path, tenant: &Okta) -> Value {
    json!({
        "endpoint": tenant.endpoint(), "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "api_token": API_TOKEN,
        "validity": "1h", "signing_key": dir.join("login.seed"), "signing_token": dir.join("login.jwt"),
        "acls": {"Operations": ["puppet.*"]},
        "groups": [{"group": "Everyone", "acls": ["rpcutil.ping"], "broker_permissions": {"fleet_management": true}, "properties": {"team": "ops"}}]
    })
}

fn userlist(dir: &Path) -> Value {
    json!({
        "validity": "2h", "signing_key": dir.join("login.seed"), "signing_token": dir.join("login.jwt"),
        "users": [{"username": "root", "password": HASH}, {"username": "bob@example.net", "password": HASH}]
    })
}

fn claims(token: &str, key: VerifyingKey) -> ClientClaims {
    let now = ManualClock::at(NOW).now();
    let authentic = Verifier::new(vec![key]).authenticate(token).unwrap();
    let verified = authentic.valid_at(now, None).unwrap();
    (*verified).clone()
}

#[tokio::test]
async fn somebody_of_the_tenant_gets_a_token_in_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = chain(dir.path());
    let tenant = tenant().await;
    let running =
        start(&json!({"authenticator": "okta", "okta_authenticator": okta(dir.path(), &tenant)}))
            .await;
    let claims = claims(
        &login(&running, "bob@example.net", "bob's").await.unwrap(),
        issuer,
    );
    assert_eq!(claims.callerid, "okta=bob@example.net");
    assert_eq!(claims.agents, ["puppet.*", "rpcutil.ping"]);
    assert_eq!(claims.permissions.unwrap().given(), ["fleet_management"]);
    assert_eq!(claims.standard.exp, Some(NOW + 3_600));
    let refused = login(&running, "bob@example.net", "wrong")
        .await
        .unwrap_err();
    let unknown = login(&running, "eve@example.net", "wrong")
        .await
        .unwrap_err();
    assert_eq!(refused, unknown);
    assert!(refused.contains("Login failed"), "{refused}");
    assert_eq!(tenant.complaints(), Vec::<String>::new());
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn an_rsa_key_signs_as_existing_sites_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
        .unwrap();
    std::fs::write(dir.path().join("login.seed"), pair.serialize_pem()).unwrap();
    let tenant = tenant().await;
    let mut section = okta(dir.path(), &tenant);
    section.as_object_mut().unwrap().remove("signing_token");
    section.as_object_mut().unwrap().remove("groups");
    let running = start(&json!({"authenticator": "okta", "okta_authenticator": section})).await;
    let key: RsaPublic = match SigningKey::parse(pair.serialize_pem().as_bytes())
        .unwrap()
        .public()
        .unwrap()
    {
        VerifyingKey::Rsa(key) => key,
        VerifyingKey::Ed25519(_) => panic!("another key"),
    };
    let token = login(&running, "bob@example.net", "bob's").await.unwrap();
    let claims = claims(&token, VerifyingKey::Rsa(key));
    assert_eq!(claims.standard.iss, "Choria Okta Authenticator");
    assert_eq!(claims.agents, ["puppet.*"]);
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn of_two_authenticators_the_second_has_those_whom_the_first_does_not_know() {
    let dir = tempfile::tempdir().unwrap();
    let issuer = chain(dir.path());
    let tenant = tenant().await;
    let path = dir.path().join("login.json");
    let mut config = json!({
        "authenticator": ["okta", "userlist"], "okta_authenticator": okta(dir.path(), &tenant),
        "userlist_authenticator": userlist(dir.path())
    });
    let running = start(&config).await;
    let caller = |token: String| claims(&token, issuer.clone()).callerid;
    assert_eq!(
        caller(login(&running, "root", "secret").await.unwrap()),
        "up=root"
    );
    assert_eq!(
        caller(login(&running, "bob@example.net", "bob's").await.unwrap()),
        "okta=bob@example.net"
    );
    // The first one knows this name, so its word is the last.
    let refused = login(&running, "bob@example.net", "secret")
        .await
        .unwrap_err();
    assert!(refused.contains("Login failed"), "{refused}");

    tenant.fail(Call::Token, Fault::Status(503));
    let away = login(&running, "root", "secret").await.unwrap_err();
    assert!(
        away.contains("the directory does not answer as it should"),
        "{away}"
    );
    config["okta_authenticator"]["fallback"] = json!(true);
    std::fs::write(&path, config.to_string()).unwrap();
    assert!(running.reload(Some(&path)).await);
    assert_eq!(
        caller(login(&running, "root", "secret").await.unwrap()),
        "up=root"
    );

    // Which they are is settled at start.
    config["authenticator"] = json!(["userlist", "okta"]);
    std::fs::write(&path, config.to_string()).unwrap();
    assert!(!running.reload(Some(&path)).await);
    assert_eq!(
        caller(login(&running, "root", "secret").await.unwrap()),
        "up=root"
    );
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn a_strange_name_is_an_error_or_a_stranger_and_no_path() {
    let dir = tempfile::tempdir().unwrap();
    chain(dir.path());
    let tenant = tenant().await;
    let config = json!({"authenticator": "okta", "okta_authenticator": okta(dir.path(), &tenant)});
    let running = start(&config).await;
    for (name, answer) in [
        ("x".repeat(10_240), "username"),
        ("bob@example.net/../00u2".to_owned(), "Login failed"),
        ("bob@example.net?x=1".to_owned(), "Login failed"),
        ("bob%2f..".to_owned(), "Login failed"),
        ("bob@example.net\nX: y".to_owned(), "Login failed"),
        ("b\u{f6}b@example.net".to_owned(), "Login failed"),
    ] {
        let refused = login(&running, &name, "bob's").await.unwrap_err();
        assert!(refused.contains(answer), "{name}: {refused}");
    }
    let asked: Vec<String> = tenant.calls().into_iter().map(|(_, path)| path).collect();
    assert_eq!(
        asked,
        [
            "/oauth2/default/v1/token",
            "/api/v1/users/b%C3%B6b@example.net"
        ]
    );
    assert_eq!(tenant.complaints(), Vec::<String>::new());
}
