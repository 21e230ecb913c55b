//! Action lists and policies decide as the project's vectors say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use std::path::Path;

use aaa_core::claims::ClientClaims;
use aaa_core::decision::Decision;
use aaa_policy::Authorizer;
use aaa_policy::actionlist::ActionList;
use aaa_policy::rego::{Opa, check};
use jiff::Timestamp;
use serde_json::{Value, json};

fn vectors(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() > 50, "all of {name}");
    cases
}

fn outcome(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow { .. } => "allow",
        Decision::Deny { .. } => "deny",
        Decision::Failed { .. } => "error",
    }
}

#[test]
fn action_lists() {
    for case in vectors("actionlist.json") {
        let claims: ClientClaims = serde_json::from_value(json!({"agents": case["acls"]})).unwrap();
        let request = common::plain(
            case["agent"].as_str().unwrap(),
            case["action"].as_str().unwrap(),
        );
        let decision = common::decide(&ActionList, &claims, &request);
        assert_eq!(outcome(&decision), case["result"], "{case}: {decision:?}");
    }
}

#[test]
fn policies() {
    let opa = Opa::default();
    for case in vectors("rego.json") {
        let asked = &case["request"];
        let mut claims: ClientClaims = serde_json::from_value(case["claims"].clone()).unwrap();
        claims.opa_policy = case["policy"].as_str().unwrap().to_owned();
        let time: Timestamp = asked["time"].as_str().unwrap().parse().unwrap();
        let request = common::request(
            asked["agent"].as_str().unwrap(),
            asked["action"].as_str().unwrap(),
            &asked["data"],
            &case["filter"],
            &json!({
                "collective": asked["collective"], "senderid": asked["sender"],
                "ttl": asked["ttl"], "time": time.as_second(),
            }),
        );
        let question = aaa_policy::Question {
            request: &request,
            action: request.action(),
            claims: &claims,
            site: case["site"].as_str().unwrap(),
            now: time,
        };
        let decision = opa.authorize(&question, &mut |_| {});
        assert_eq!(
            outcome(&decision),
            case["expect"],
            "{}: {decision:?}",
            case["name"]
        );
    }
}

#[test]
fn what_the_reference_cannot_compile_is_refused_when_it_is_loaded() {
    for case in vectors("rego.json") {
        let policy = case["policy"].as_str().unwrap();
        let reference = case["reference_error"].as_str().unwrap_or_default();
        let checked = check(policy);
        if reference.starts_with("could not initialize") {
            let error = checked.unwrap_err();
            assert!(!error.problem().is_empty(), "{}", case["name"]);
        } else if case["expect"] != "error" {
            assert!(checked.is_ok(), "{}: {checked:?}", case["name"]);
        }
    }
}
