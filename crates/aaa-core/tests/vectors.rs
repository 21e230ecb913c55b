//! Tokens, logins and requests made by the real Choria.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeMap;
use std::path::Path;

use aaa_core::caller::CallerId;
use aaa_core::claims::ClientPermissions;
use aaa_core::key::{Ed25519Key, Ed25519Public, SigningKey, VerifyingKey};
use aaa_core::request::Request;
use aaa_core::secure_request::{NodeTrust, NotAccepted, RequestSigner};
use aaa_core::token::{Grant, Minter, Rules, Verifier};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An hour after the vectors were made, long before their tokens end.
const NOW: i64 = 1_795_351_244;

fn vectors<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

#[derive(Deserialize)]
struct Tokens {
    keys: BTreeMap<String, BTreeMap<String, String>>,
    cases: Vec<TokenCase>,
}

#[derive(Deserialize)]
struct TokenCase {
    name: String,
    token: String,
    verify_with: String,
    expect: String,
}

#[test]
fn tokens() {
    let Tokens { keys, cases } = vectors("tokens.json");
    let rules = Rules {
        max_validity: std::time::Duration::from_hours(24 * 365 * 30),
    };
    for case in &cases {
        let key = &keys[&case.verify_with];
        let key = key.get("public").or_else(|| key.get("public_pem")).unwrap();
        let verifier = Verifier::new(vec![VerifyingKey::parse(key.as_bytes()).unwrap()]);
        let result = verifier.authenticate(&case.token).and_then(|token| {
            token
                .valid_at(now(), Some(rules))
                .map(|claims| claims.callerid.clone())
        });
        assert_eq!(
            result.is_ok(),
            case.expect == "valid",
            "{}: {result:?}",
            case.name
        );
    }
    assert!(cases.len() >= 31);
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
    public_key: String,
    timestamp: String,
    signature: String,
}

#[test]
fn logins() {
    let logins: Vec<Login> = vectors("login.json");
    for login in &logins {
        let key = Ed25519Public::from_hex(&login.public_key).unwrap();
        let signature = hex::decode(&login.signature).unwrap();
        let message = format!("{}:{}:{}", login.timestamp, login.username, login.password);
        assert!(
            key.verify(message.as_bytes(), &signature),
            "{}",
            login.username
        );
    }
    assert!(!logins.is_empty());
}

#[derive(Deserialize)]
struct SecureRequests {
    issuer_public: String,
    privileged_cert_pem: String,
    privileged_key_pem: String,
    signer: BTreeMap<String, String>,
    signer_token: String,
    user: BTreeMap<String, String>,
    cases: Vec<SecureRequestCase>,
}

#[derive(Deserialize)]
struct SecureRequestCase {
    name: String,
    version: u8,
    request_b64: String,
    request_signature_hex: String,
    token_caller: String,
    caller_after: String,
    secure_request: serde_json::Value,
}

impl SecureRequests {
    fn signer(&self, version: u8) -> RequestSigner {
        let key = if version == 1 {
            &self.privileged_key_pem
        } else {
            &self.signer["seed"]
        };
        match SigningKey::parse(key.as_bytes()).unwrap() {
            SigningKey::Rsa(key) => RequestSigner::Certificate {
                key,
                pem: self.privileged_cert_pem.clone(),
            },
            SigningKey::Ed25519(key) => RequestSigner::Delegator {
                key,
                token: self.signer_token.clone(),
            },
        }
    }
}

#[test]
fn secure_requests() {
    let vectors: SecureRequests = vectors("secure_requests.json");
    let user = Ed25519Public::from_hex(&vectors.user["public"]).unwrap();
    for case in &vectors.cases {
        let bytes = STANDARD.decode(&case.request_b64).unwrap();
        let signature = hex::decode(&case.request_signature_hex).unwrap();
        assert!(user.verify(&bytes, &signature), "{}", case.name);

        let request = Request::parse(&bytes).unwrap();
        let caller = CallerId::new(case.token_caller.clone());
        let secure = vectors
            .signer(case.version)
            .sign(&request.with_caller(&caller))
            .unwrap();
        let secure: serde_json::Value = serde_json::from_slice(&secure).unwrap();
        // Both algorithms are deterministic, so equal JSON means the same bytes signed by the same key.
        assert_eq!(secure, case.secure_request, "{}", case.name);

        let inner = if case.version == 1 {
            secure["message"].as_str().unwrap().as_bytes().to_vec()
        } else {
            STANDARD
                .decode(secure["request"].as_str().unwrap())
                .unwrap()
        };
        let inner = Request::parse(&inner).unwrap();
        assert_eq!(inner.claimed_caller(), case.caller_after, "{}", case.name);
        assert_eq!(inner.body(), request.body(), "{}", case.name);
        assert_eq!(inner.filter(), request.filter(), "{}", case.name);
    }
    assert!(vectors.cases.len() >= 16);
}

#[test]
fn a_node_obeys_the_v2_ones() {
    let Tokens { keys, .. } = vectors("tokens.json");
    let vectors: SecureRequests = vectors("secure_requests.json");
    let trust = NodeTrust {
        issuer: Some(Ed25519Public::from_hex(&vectors.issuer_public).unwrap()),
        ..NodeTrust::default()
    };
    let issuer = Ed25519Key::from_seed_hex(&keys["issuer"]["seed"]).unwrap();
    let at = Timestamp::from_second(NOW - 3_600).unwrap();
    let grant = Grant {
        caller: "up=alice".to_owned(),
        permissions: Some(ClientPermissions {
            fleet_management: true,
            ..ClientPermissions::default()
        }),
        public_key: Some(Ed25519Public::from_hex(&vectors.user["public"]).unwrap()),
        validity: std::time::Duration::from_hours(2),
        ..Grant::default()
    };
    let token = Minter::organization(issuer).client(grant, at).unwrap();
    for case in vectors.cases.iter().filter(|case| case.version == 2) {
        let answered = serde_json::to_vec(&case.secure_request).unwrap();
        assert_eq!(
            trust.check(&answered, at).unwrap_err(),
            NotAccepted::NoCaller
        );
        // What clients do before they publish it.
        let mut secure = case.secure_request.clone();
        secure["caller"] = token.as_str().into();
        let secure = serde_json::to_vec(&secure).unwrap();
        let accepted = trust.check(&secure, at).unwrap();
        assert_eq!(accepted.caller, case.caller_after);
        assert_eq!(accepted.signer, "aaa_request_signer");
        // An hour later its ttl is over.
        assert!(trust.check(&secure, now()).is_err());
    }
}
