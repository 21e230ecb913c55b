use std::path::Path;

use aaa_api::client::{Client, Settings};
use aaa_api::rest::LoginRequest;
use aaa_core::claims::ClientClaims;
use aaa_core::clock::ManualClock;
use aaa_core::key::{Ed25519Key, VerifyingKey};
use aaa_core::secret::Secret;
use aaa_core::token::{Verifier, unverified};
use aaa_service::shell::{Running, StartError};
use serde_json::{Value, json};

use super::*;
use crate::testing::{Issuers, NOW, SECRET, at, rsa_key};

async fn start(text: &str) -> Result<Running, StartError> {
    let document =
        Document::parse("login.json", text.as_bytes()).map_err(StartError::Configuration)?;
    let options = shell::Options {
        listen: Some("127.0.0.1:0".to_owned()),
        disable_tls: true,
        clock: ManualClock::at(NOW),
        ..shell::Options::default()
    };
    shell::start(&PROGRAM, document, options, |document, shell| {
        let login = build(document, shell, Options { alone: true });
        document.finish()?;
        Ok(Handlers { login, sign: None })
    })
    .await
}

/// What is wrong, without the directory of the test.
async fn problems(dir: &Path, config: &Value) -> String {
    match start(&config.to_string()).await {
        Err(StartError::Configuration(problems)) => problems
            .to_string()
            .replace(&dir.display().to_string(), "DIR"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it started"),
    }
}

fn config(dir: &Path, userlist: &Value) -> Value {
    let mut section = json!({
        "signing_key": dir.join("login.seed"), "signing_token": dir.join("login.jwt"), "validity": "1h",
        "users": [{"username": "bob", "password": SECRET}]
    });
    for (key, value) in userlist.as_object().unwrap() {
        section[key] = value.clone();
    }
    json!({"site": "london", "authenticator": "userlist", "userlist_authenticator": section})
}

async fn login(running: &Running, username: &str) -> Result<String, String> {
    let client = Client::new(Settings::default()).unwrap();
    let url = format!("http://{}/choria/v1/login", running.addr.unwrap());
    let key = Ed25519Key::generate().unwrap();
    let request = LoginRequest::signed(username, Secret::new("secret".to_owned()), &key, at(NOW));
    client
        .login(&url, &request)
        .await
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_configuration_without_an_authenticator_has_no_logins() {
    let document = Document::parse("login.json", b"{}").unwrap();
    assert!(doors::chosen(&document).is_empty());
    assert!(document.problems().is_empty());
}

#[tokio::test]
async fn authenticators_that_there_are_not_are_told() {
    let dir = tempfile::tempdir().unwrap();
    for (authenticator, expected) in [
        (
            json!("ldap"),
            "unknown; those that there are: certificate, userlist, okta",
        ),
        (json!(["userlist", "userlist"]), "userlist is there twice"),
    ] {
        let told = problems(dir.path(), &json!({"authenticator": authenticator})).await;
        assert!(
            told.contains(&format!("\n  authenticator            {expected}"))
                || told.contains(&format!("\n  authenticator   {expected}")),
            "{told}"
        );
    }
}

#[tokio::test]
async fn everything_wrong_is_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let told = problems(dir.path(), &json!({"authenticator": "userlist"})).await;
    assert_eq!(
        told,
        "login.json: 1 problem\n  userlist_authenticator   required with authenticator userlist"
    );
    let told = problems(
        dir.path(),
        &json!({"authenticator": "userlist", "userlist_authenticator": {
            "signing_kay": "x", "users_file": dir.path().join("none.json"), "users": {}, "allow_unsigned_logins": "no"
        }}),
    )
    .await;
    assert_eq!(
        told,
        "login.json: 5 problems\n\
         \x20 userlist_authenticator.signing_kay             unknown; did you mean signing_key?\n\
         \x20 userlist_authenticator.validity                required, for example \"1h\"\n\
         \x20 userlist_authenticator.allow_unsigned_logins   wants true or false; this is a text\n\
         \x20 userlist_authenticator.users                   wants a list of objects [{…}]; this is an object\n\
         \x20 userlist_authenticator.users_file              DIR/none.json: no such file; wants a JSON list of users"
    );
}

#[tokio::test]
async fn what_is_wrong_with_the_record_is_told_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 3_600);
    let mut config = config(dir.path(), &json!({"validity": ""}));
    config["auditors"] = json!(["papyrus"]);
    let told = problems(dir.path(), &config).await;
    assert!(told.starts_with("login.json: 2 problems\n"), "{told}");
    assert!(
        told.contains("\n  auditors ") && told.contains("\n  userlist_authenticator.validity "),
        "{told}"
    );
}

#[tokio::test]
async fn a_right_that_ends_soon_is_told_when_the_configuration_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("login.json");
    for (days, expected) in [(6, "expires in 6 d; "), (31, "")] {
        Issuers::write(dir.path(), days * 86_400);
        let text = config(dir.path(), &json!({})).to_string();
        std::fs::write(&path, &text).unwrap();
        let document = Document::load(&path).unwrap();
        let options = shell::Options {
            listen: Some("127.0.0.1:0".to_owned()),
            disable_tls: true,
            clock: ManualClock::at(NOW),
            ..shell::Options::default()
        };
        let mut warnings = String::new();
        let running = shell::start(&PROGRAM, document, options, |document, shell| {
            let login = build(document, shell, Options { alone: true });
            for warning in document.problems().warnings() {
                if warning.key == "userlist_authenticator.signing_token" {
                    warnings.push_str(&warning.text);
                }
            }
            Ok(Handlers { login, sign: None })
        });
        let running = running.await.unwrap();
        assert!(running.readiness().is_ready());
        assert!(running.shutdown().await);
        assert!(
            warnings.contains(expected) && warnings.is_empty() == expected.is_empty(),
            "{warnings}"
        );
    }
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_told() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 3_600);
    std::fs::write(dir.path().join("rsa.pem"), rsa_key()).unwrap();
    std::fs::write(dir.path().join("short.seed"), "ab").unwrap();
    for (change, expected) in [
        (
            json!({"signing_key": dir.path().join("short.seed")}),
            "signing_key   DIR/short.seed: 2 characters; a seed is 64 hexadecimal characters",
        ),
        (
            json!({"signing_key": dir.path().join("none")}),
            "signing_key   DIR/none: no such file; wants an RSA private key in PEM, or an Ed25519 seed of 64 hexadecimal characters",
        ),
        (
            json!({"signing_key": dir.path().join("rsa.pem")}),
            "signing_key   DIR/rsa.pem: is an RSA key; with signing_token it must be the Ed25519 seed that the token is bound to",
        ),
        (
            json!({"signing_token": dir.path().join("short.seed")}),
            "signing_token   DIR/short.seed: it is no token: it does not have three parts",
        ),
        (
            json!({"signing_token": dir.path()}),
            "signing_token   DIR: is a directory; wants the token of a chain issuer, signed by the organization issuer",
        ),
        (
            json!({"allow_unsigned_logins": true}),
            "allow_unsigned_logins   not possible with signing_token: every token in a chain of trust is bound to a key",
        ),
        (
            json!({"validity": "0s"}),
            "validity   tokens must be valid for a second at least",
        ),
        (
            json!({"validity": "1y"}),
            "validity   \"1y\" is not a duration; write a number and a unit (h, m, s, ms, us, ns), such as 1h30m",
        ),
    ] {
        assert_eq!(
            problems(dir.path(), &config(dir.path(), &change)).await,
            format!("login.json: 1 problem\n  userlist_authenticator.{expected}")
        );
    }
}

#[tokio::test]
async fn users_that_cannot_be_used_are_told_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 3_600);
    let path = dir.path().join("users.json");
    let file = json!([{"username": "bob", "password": SECRET}]);
    std::fs::write(&path, file.to_string()).unwrap();
    let users = json!([
        {"username": "bob", "password": SECRET},
        {"username": "jill", "password": "hunter2", "pasword": "hunter2"},
        5
    ]);
    let told = problems(
        dir.path(),
        &config(dir.path(), &json!({"users": users, "users_file": path})),
    )
    .await;
    assert_eq!(
        told,
        "login.json: 4 problems\n\
         \x20 userlist_authenticator.users[1].password   user \"jill\": is not a password hash; wants bcrypt ($2a$, $2b$, $2y$) or Argon2id ($argon2id$): make one with aaa crypt\n\
         \x20 userlist_authenticator.users[1].pasword    user \"jill\": unknown; did you mean password?\n\
         \x20 userlist_authenticator.users[2]            a user is an object {…}; this is a number\n\
         \x20 userlist_authenticator.users_file          DIR/users.json:1: user \"bob\": username: a user of this name is there already (users[0])"
    );
}

#[tokio::test]
async fn what_is_unwise_is_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 3_600);
    let key = dir.path().join("login.seed");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, mode).unwrap();
    let text = config(dir.path(), &json!({})).to_string();
    let document = Document::parse("login.json", text.as_bytes()).unwrap();
    let kinds = doors::chosen(&document);
    assert!(doors::load(&document, &kinds, at(NOW)).is_some());
    let warnings: Vec<String> = document
        .problems()
        .warnings()
        .iter()
        .map(|warning| format!("{}: {}", warning.key, warning.text))
        .collect();
    assert_eq!(
        warnings,
        [
            format!(
                "userlist_authenticator.signing_key: {} can be read by everybody (mode 0644); make it 0600",
                key.display()
            ),
            "userlist_authenticator.users: 1 of 1 passwords are hashed too cheaply (bcrypt cost 4: 1); hash them again with aaa crypt"
                .to_owned(),
        ]
    );
}

#[tokio::test]
async fn people_log_in_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let issuers = Issuers::write(dir.path(), 3_600);
    let running = start(&config(dir.path(), &json!({})).to_string())
        .await
        .unwrap();
    running.readiness().wait().await;
    let token = login(&running, "bob").await.unwrap();
    let verifier = Verifier::new(vec![VerifyingKey::Ed25519(issuers.organization.public())]);
    let authentic = verifier.authenticate(&token).unwrap();
    assert_eq!(
        authentic.valid_at(at(NOW), None).unwrap().callerid,
        "up=bob"
    );
    let refused = login(&running, "eve").await.unwrap_err();
    assert!(refused.contains("Login failed"), "{refused}");
    let endless = login(&running, &"x".repeat(100_000)).await.unwrap_err();
    assert!(
        endless.contains("username is longer than 256 bytes"),
        "{endless}"
    );
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn changed_files_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 3_600);
    let path = dir.path().join("users.json");
    std::fs::write(&path, "[]").unwrap();
    let running = start(&config(dir.path(), &json!({"users_file": path})).to_string())
        .await
        .unwrap();
    assert!(login(&running, "jill").await.is_err());
    std::fs::write(
        &path,
        json!([{"username": "jill", "password": SECRET}]).to_string(),
    )
    .unwrap();
    running.reload(None).await;
    login(&running, "jill").await.unwrap();
    std::fs::write(&path, "[{]").unwrap();
    running.reload(None).await;
    login(&running, "jill").await.unwrap();

    let issuer = |token: &str| unverified::<ClientClaims>(token).unwrap().standard.iss;
    let before = issuer(&login(&running, "jill").await.unwrap());
    std::fs::write(dir.path().join("login.jwt"), "broken").unwrap();
    running.reload(None).await;
    assert_eq!(issuer(&login(&running, "jill").await.unwrap()), before);
    Issuers::write(dir.path(), 3_600);
    running.reload(None).await;
    assert_ne!(issuer(&login(&running, "jill").await.unwrap()), before);
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn files_that_a_new_configuration_names_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 36_000);
    let running = start(&config(dir.path(), &json!({})).to_string())
        .await
        .unwrap();
    let write = |name: &str, users: &Value| {
        let path = dir.path().join(name);
        std::fs::write(&path, users.to_string()).unwrap();
        path
    };
    let users = write("users.json", &json!([]));
    let changed = config(dir.path(), &json!({"users_file": users}));
    assert!(running.reload(Some(&write("login.json", &changed))).await);
    write(
        "users.json",
        &json!([{"username": "jill", "password": SECRET}]),
    );
    assert!(running.reload(None).await);
    login(&running, "jill").await.unwrap();
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn a_changed_configuration_is_taken_whole_and_a_broken_one_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    Issuers::write(dir.path(), 36_000);
    let text = config(dir.path(), &json!({}));
    let running = start(&text.to_string()).await.unwrap();
    let path = dir.path().join("login.json");
    let validity = |token: String| {
        let claims: ClientClaims = unverified(&token).unwrap();
        claims.standard.exp.unwrap() - NOW
    };
    let jill = json!([{"username": "jill", "password": SECRET}]);
    let changed = config(dir.path(), &json!({"validity": "2h", "users": jill}));
    std::fs::write(&path, changed.to_string()).unwrap();
    assert!(running.reload(Some(&path)).await);
    assert_eq!(validity(login(&running, "jill").await.unwrap()), 7_200);
    assert!(login(&running, "bob").await.is_err());

    for broken in [
        config(
            dir.path(),
            &json!({"validity": "3h", "users": [{"username": "eve"}]}),
        ),
        json!({"authenticator": "okta"}),
        json!({}),
    ] {
        std::fs::write(&path, broken.to_string()).unwrap();
        assert!(!running.reload(Some(&path)).await, "{broken}");
        assert_eq!(validity(login(&running, "jill").await.unwrap()), 7_200);
    }
    assert!(running.shutdown().await);
}
