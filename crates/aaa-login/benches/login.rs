//! What a login costs besides its password hash (proof, token, counters), and what reading many users does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark that cannot go on should stop"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aaa_api::handler::{Context, Front, Handlers, LoginHandler, LoginOutcome};
use aaa_api::rest::LoginRequest;
use aaa_core::clock::{Clock as _, ManualClock};
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_core::token::{Grant, Minter};
use aaa_login::hash::PasswordHash;
use aaa_login::{Options, PROGRAM, build};
use aaa_service::config::Document;
use aaa_service::shell::{self, Running};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const NOW: i64 = 1_795_346_537;
/// bcrypt of `secret` at the least cost, so that the rest shows.
const HASH: &str = "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu";
const POLICY: &str =
    "package io.choria.aaasvc\ndefault allow = false\nallow { input.agent == \"puppet\" }\n";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn write_keys(dir: &Path) {
    let (organization, login) = (
        Ed25519Key::generate().unwrap(),
        Ed25519Key::generate().unwrap(),
    );
    let grant = Grant {
        caller: "up=aaa_login".to_owned(),
        public_key: Some(login.public()),
        validity: Duration::from_hours(24),
        ..Grant::default()
    };
    let token = Minter::organization(organization).client(grant, ManualClock::at(NOW).now());
    std::fs::write(dir.join("login.seed"), login.seed_hex().expose()).unwrap();
    std::fs::write(dir.join("login.jwt"), token.unwrap()).unwrap();
}

fn write_users(dir: &Path, count: usize) {
    let users: Vec<Value> = (0..count)
        .map(|n| {
            json!({
                "username": format!("user{n}"), "password": HASH, "acls": ["puppet.*", "rpcutil.ping"], "opa_policy": POLICY,
                "properties": {"group": "admins"}, "broker_permissions": {"fleet_management": true}
            })
        })
        .collect();
    std::fs::write(dir.join("users.json"), json!(users).to_string()).unwrap();
}

async fn start(dir: &Path) -> (Running, Arc<dyn LoginHandler>) {
    let text = json!({"authenticator": "userlist", "userlist_authenticator": {
        "signing_key": dir.join("login.seed"), "signing_token": dir.join("login.jwt"), "validity": "1h",
        "users_file": dir.join("users.json")
    }});
    let document = Document::parse("login.json", text.to_string().as_bytes()).unwrap();
    let options = shell::Options {
        listen: Some("127.0.0.1:0".to_owned()),
        disable_tls: true,
        clock: ManualClock::at(NOW),
        ..shell::Options::default()
    };
    let mut handler = None;
    let running = shell::start(&PROGRAM, document, options, |document, shell| {
        let login = build(document, shell, Options::default());
        document.finish()?;
        handler.clone_from(&login);
        Ok(Handlers { login, sign: None })
    });
    (running.await.unwrap(), handler.unwrap())
}

fn login(c: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    write_keys(dir.path());
    write_users(dir.path(), 1_000);
    let (running, handler) = runtime.block_on(start(dir.path()));
    let password = || Secret::new("secret".to_owned());
    let key = Ed25519Key::generate().unwrap();
    let request = LoginRequest::signed("user500", password(), &key, ManualClock::at(NOW).now());
    let context = Context::new("benchmark", Front::Rest);
    let hash = PasswordHash::parse(HASH).unwrap();
    let mut group = c.benchmark_group("login");
    group.bench_function("the hash alone (bcrypt cost 4)", |b| {
        b.iter(|| assert!(hash.verify(black_box(b"secret")).unwrap()));
    });
    group.bench_function("all of it", |b| {
        b.iter(|| {
            let outcome = runtime.block_on(handler.login(&context, request.clone()));
            assert!(matches!(outcome, Ok(LoginOutcome::Token(_))));
        });
    });
    let mut forged = request.clone();
    "user501".clone_into(&mut forged.username);
    group.bench_function("refused for its signature", |b| {
        b.iter(|| {
            let outcome = runtime.block_on(handler.login(&context, forged.clone()));
            assert!(matches!(outcome, Ok(LoginOutcome::Refused { .. })));
        });
    });
    group.finish();
    runtime.block_on(running.shutdown());
}

fn users(c: &mut Criterion) {
    let runtime = runtime();
    let dir = tempfile::tempdir().unwrap();
    write_keys(dir.path());
    write_users(dir.path(), 100_000);
    let mut group = c.benchmark_group("users");
    group.sample_size(10);
    group.bench_function("start with 100,000", |b| {
        b.iter(|| {
            let (running, handler) = runtime.block_on(start(dir.path()));
            drop(handler);
            runtime.block_on(running.shutdown());
        });
    });
    group.finish();
}

criterion_group!(benches, login, users);
criterion_main!(benches);
