//! What the log says of logins. A process of its own: what is logged is decided once in a process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::sync::{Arc, Mutex};

use aaa_api::handler::{Context, Front, Handlers, LoginHandler, LoginOutcome};
use aaa_api::rest::LoginRequest;
use aaa_core::clock::{Clock as _, ManualClock};
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_login::{Options, PROGRAM, build};
use aaa_service::config::Document;
use aaa_service::shell;
use serde_json::{Value, json};

const NOW: i64 = 1_795_346_537;
/// bcrypt of `secret`.
const HASH: &str = "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu";

/// What was written to the log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn signed(username: &str, password: &str) -> LoginRequest {
    let key = Ed25519Key::generate().unwrap();
    let now = ManualClock::at(NOW).now();
    LoginRequest::signed(username, Secret::new(password.to_owned()), &key, now)
}

#[tokio::test]
async fn the_log_knows_who_and_why_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let key = Ed25519Key::generate().unwrap().seed_hex();
    std::fs::write(dir.path().join("login.seed"), key.expose()).unwrap();
    let text = json!({"authenticator": "userlist", "userlist_authenticator": {
        "signing_key": dir.path().join("login.seed"), "validity": "1h", "users": [{"username": "bob", "password": HASH}]
    }});
    let document = Document::parse("login.json", text.to_string().as_bytes()).unwrap();
    let options = shell::Options {
        listen: Some("127.0.0.1:0".to_owned()),
        disable_tls: true,
        clock: ManualClock::at(NOW),
        ..shell::Options::default()
    };
    let mut handler: Option<Arc<dyn LoginHandler>> = None;
    let running = shell::start(&PROGRAM, document, options, |document, shell| {
        let login = build(document, shell, Options::default());
        document.finish()?;
        handler.clone_from(&login);
        Ok(Handlers { login, sign: None })
    });
    let running = running.await.unwrap();
    let handler = handler.unwrap();

    let mut context = Context::new("exchange-1", Front::Rest);
    context.peer = Some("192.0.2.7:4711".parse().unwrap());
    let outcome = handler.login(&context, signed("bob", "secret")).await;
    let Ok(LoginOutcome::Token(token)) = outcome else {
        panic!("refused");
    };
    let mut unsigned = signed("bob", "hunter2");
    unsigned.public_key.clear();
    for request in [
        signed("bob", "hunter2"),
        signed("e\nve", "hunter2"),
        unsigned,
    ] {
        let outcome = handler.login(&context, request).await;
        assert!(matches!(outcome, Ok(LoginOutcome::Refused { .. })));
    }
    running.shutdown().await;

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let seen: Vec<Vec<String>> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone())
        .filter(|fields| fields["user"].is_string())
        .map(|fields| {
            let field = |name: &str| fields[name].as_str().unwrap_or("").to_owned();
            ["message", "user", "peer", "reason"].map(field).to_vec()
        })
        .collect();
    assert_eq!(
        seen,
        [
            ["logged in", "bob", "192.0.2.7:4711", ""],
            ["login refused", "bob", "192.0.2.7:4711", "wrong password"],
            [
                "login refused",
                "e\u{fffd}ve",
                "192.0.2.7:4711",
                "unknown user"
            ],
            ["login refused", "bob", "192.0.2.7:4711", "no public key"],
        ]
    );
    for secret in ["\"secret", "hunter2", token.as_str(), HASH] {
        assert!(!text.contains(secret), "{text}");
    }
}
