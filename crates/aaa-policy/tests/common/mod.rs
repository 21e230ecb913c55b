//! Requests and claims for tests, made the way clients make them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests; each uses a part"
)]

pub mod bundle;

use aaa_core::claims::ClientClaims;
use aaa_core::decision::Decision;
use aaa_core::request::Request;
use aaa_policy::rego::Opa;
use aaa_policy::{Authorizer, Question};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A v1 request as it comes over the wire.
pub fn request(
    agent: &str,
    action: &str,
    data: &Value,
    filter: &Value,
    envelope: &Value,
) -> Request {
    let mut whole = json!({
        "requestid": "b3d32b2c22d94a3e9f5e6d8f6e2f1d10",
        "senderid": "dev1.example.net",
        "callerid": "up=alice",
        "collective": "choria",
        "agent": agent,
        "ttl": 60,
        "time": 1_795_347_603,
        "filter": filter,
    });
    for (name, value) in envelope.as_object().unwrap() {
        whole[name] = value.clone();
    }
    let message = json!({"agent": agent, "action": action, "data": data}).to_string();
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": whole});
    Request::parse(request.to_string().as_bytes()).unwrap()
}

/// A request for `agent.action` without anything special.
pub fn plain(agent: &str, action: &str) -> Request {
    request(agent, action, &json!({}), &json!({}), &json!({}))
}

/// Claims with a policy.
pub fn bearer(policy: &str) -> ClientClaims {
    ClientClaims {
        callerid: "up=alice".to_owned(),
        agents: vec!["rpcutil.*".to_owned()],
        opa_policy: policy.to_owned(),
        ..ClientClaims::default()
    }
}

/// The decision of an authorizer, at a fixed time in London.
pub fn decide(authorizer: &dyn Authorizer, claims: &ClientClaims, request: &Request) -> Decision {
    authorizer.decide(&Question {
        request,
        action: request.action(),
        claims,
        site: "london",
        now: Timestamp::from_second(1_795_347_603).unwrap(),
    })
}

/// What a policy says to a plain `rpcutil.ping`.
pub fn ping(policy: &str) -> Decision {
    decide(&Opa::default(), &bearer(policy), &plain("rpcutil", "ping"))
}

/// A v1 policy of these lines.
pub fn policy(lines: &str) -> String {
    format!("package io.choria.aaasvc\nimport rego.v1\n{lines}\n")
}

/// The problem of a decision that must be one.
pub fn problem(decision: Decision) -> String {
    match decision {
        Decision::Failed { problem } => problem,
        other => panic!("must fail, but: {other:?}"),
    }
}
