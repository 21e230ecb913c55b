//! What a token and a signature cost, each beside the bare crypto under it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark that cannot go on should stop; criterion writes its own main"
)]

use std::hint::black_box;
use std::time::Duration;

use aaa_core::caller::CallerId;
use aaa_core::key::{Ed25519Key, SigningKey, VerifyingKey};
use aaa_core::request::Request;
use aaa_core::secure_request::RequestSigner;
use aaa_core::token::{ChainIssuer, Grant, Minter, Verifier};
use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;

const NOW: i64 = 1_795_351_244;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn key() -> Ed25519Key {
    Ed25519Key::generate().unwrap()
}

fn grant(key: &Ed25519Key) -> Grant {
    Grant {
        caller: "up=bob".into(),
        agents: vec!["rpcutil.*".into()],
        public_key: Some(key.public()),
        validity: Duration::from_hours(1),
        ..Grant::default()
    }
}

fn request() -> Vec<u8> {
    // {"agent":"rpcutil","action":"ping","data":{}}
    let message = "eyJhZ2VudCI6InJwY3V0aWwiLCJhY3Rpb24iOiJwaW5nIiwiZGF0YSI6e319";
    format!(
        r#"{{"protocol":"io.choria.protocol.v2.request","message":"{message}","id":"3MSajOxQIhGhTmAjYqevdPrGO00","sender":"dev1",
           "caller":"up=alice","collective":"choria","agent":"rpcutil","ttl":60,"time":1795347644548776511,
           "filter":{{"fact":[{{"fact":"country","operator":"==","value":"mt"}}],"cf_class":[],"agent":[],"identity":[],"compound":[]}}}}"#
    )
    .into_bytes()
}

fn verify(c: &mut Criterion) {
    let (organization, login, person) = (key(), key(), key());
    let message = request();
    let signature = person.sign(&message);
    let public = person.public();
    c.bench_function("verify/bare Ed25519", |b| {
        b.iter(|| public.verify(black_box(&message), &signature));
    });
    let minter = Minter::organization(organization.clone());
    let verifier = Verifier::new(vec![VerifyingKey::Ed25519(organization.public())]);
    let token = minter.client(grant(&person), now()).unwrap();
    c.bench_function("verify/token of the organization (2 signatures)", |b| {
        b.iter(|| verifier.authenticate(black_box(&token)).unwrap());
    });
    let login_token = minter.client(grant(&login), now()).unwrap();
    let chain = Minter::chain(ChainIssuer::new(login, &login_token, now()).unwrap());
    let token = chain.client(grant(&person), now()).unwrap();
    c.bench_function("verify/token of a chain (3 signatures)", |b| {
        b.iter(|| verifier.authenticate(black_box(&token)).unwrap());
    });
    c.bench_function("mint/token of a chain (2 signatures)", |b| {
        b.iter(|| chain.client(grant(&person), now()).unwrap());
    });
}

fn sign(c: &mut Criterion) {
    let bytes = request();
    c.bench_function("request/parse", |b| {
        b.iter(|| Request::parse(black_box(&bytes)).unwrap());
    });
    let request = Request::parse(&bytes).unwrap();
    let caller = CallerId::new("up=bob@example.net");
    let key = key();
    c.bench_function("sign/bare Ed25519", |b| {
        b.iter(|| key.sign(black_box(&bytes)));
    });
    let signer = RequestSigner::Delegator {
        key: key.clone(),
        token: "x".repeat(900),
    };
    c.bench_function("sign/v2 secure request", |b| {
        b.iter(|| {
            signer
                .sign(&request.with_caller(black_box(&caller)))
                .unwrap()
        });
    });
    let vectors = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/secure_requests.json"
    );
    let vectors: serde_json::Value =
        serde_json::from_slice(&std::fs::read(vectors).unwrap()).unwrap();
    let text = |member: &str| vectors.get(member).unwrap().as_str().unwrap().to_owned();
    let Ok(SigningKey::Rsa(key)) = SigningKey::parse(text("privileged_key_pem").as_bytes()) else {
        unreachable!("the vectors have an RSA key");
    };
    c.bench_function("sign/bare RSA-2048", |b| {
        b.iter(|| key.sign(black_box(&bytes)).unwrap());
    });
    let signer = RequestSigner::Certificate {
        key: key.clone(),
        pem: text("privileged_cert_pem"),
    };
    c.bench_function("sign/v1 secure request", |b| {
        b.iter(|| {
            signer
                .sign(&request.with_caller(black_box(&caller)))
                .unwrap()
        });
    });
}

criterion_group!(benches, verify, sign);
criterion_main!(benches);
