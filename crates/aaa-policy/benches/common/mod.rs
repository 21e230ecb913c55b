//! What is decided about in these benchmarks.

use aaa_core::claims::{ClientClaims, ClientPermissions, Purpose};
use aaa_core::request::Request;
use aaa_policy::{Authorizer, Question};
use jiff::Timestamp;
use serde_json::json;

/// What published policies look like: a few rules about agents, actions and filters.
pub(crate) const POLICY: &str = r#"package io.choria.aaasvc

default allow = false

allow {
  input.agent == "puppet"
  input.action == "status"
  input.collective == "choria"
}

allow {
  input.agent == "package"
  input.action == "install"
  requires_fact_filter("country=mt")
}

allow {
  input.agent == "rpcutil"
  input.action == "ping"
}
"#;

/// One with a comprehension over two loops.
pub(crate) const LOOPS: &str = r"package io.choria.aaasvc

import rego.v1

default allow := false

allow if count({[a, b] | some a in input.claims.agents; some b in input.claims.agents}) > 0
";

/// One whose rules need one another, so deep that it is evaluated on a thread of its own.
pub(crate) fn deep() -> String {
    let rules = (1..=60).map(|i| format!("r{i} if r{}\n", i - 1));
    let rules: String = rules.collect();
    format!(
        "package io.choria.aaasvc\nimport rego.v1\ndefault allow := false\nr0 if input.agent == \"rpcutil\"\n{rules}allow if r60\n"
    )
}

pub(crate) fn request() -> Request {
    let message = json!({"agent": "rpcutil", "action": "ping", "data": {"process_results": true}})
        .to_string();
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": {
        "requestid": "b3d32b2c22d94a3e9f5e6d8f6e2f1d10", "senderid": "dev1.example.net", "callerid": "up=alice",
        "collective": "choria", "agent": "rpcutil", "ttl": 60, "time": 1_795_347_603,
        "filter": {"fact": [], "cf_class": [], "agent": ["rpcutil"], "identity": [], "compound": []}}});
    Request::parse(request.to_string().as_bytes()).unwrap()
}

pub(crate) fn claims(policy: &str) -> ClientClaims {
    let mut claims = ClientClaims {
        callerid: "up=alice".to_owned(),
        agents: vec![
            "package.*".to_owned(),
            "puppet.status".to_owned(),
            "rpcutil.*".to_owned(),
        ],
        opa_policy: policy.to_owned(),
        permissions: Some(ClientPermissions {
            fleet_management: true,
            signed_fleet_management: true,
            ..ClientPermissions::default()
        }),
        ..ClientClaims::default()
    };
    claims.standard.purpose = Purpose::Client;
    "abc7b758f1a9ec9f100a37920764906823bba7314dcbe87a81dea298e0acd944"
        .clone_into(&mut claims.standard.public_key);
    "I-abc7b758f1a9ec9f100a37920764906823bba7314dcbe87a81dea298e0acd944"
        .clone_into(&mut claims.standard.iss);
    claims.standard.exp = Some(2_426_067_603);
    claims.standard.iat = Some(1_795_347_603);
    claims
}

/// Asks for a plain `rpcutil.ping`; it has to be allowed.
pub(crate) fn ask(authorizer: &dyn Authorizer, request: &Request, claims: &ClientClaims) {
    let question = Question {
        request,
        action: request.action(),
        claims,
        site: "london",
        now: Timestamp::from_second(1_795_347_603).unwrap(),
    };
    assert!(authorizer.decide(&question).is_allowed());
}

/// Memory that this process has, in KiB.
pub(crate) fn resident() -> u64 {
    memory("VmRSS:")
}

/// What the system says of this process, in KiB.
pub(crate) fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.unwrap().parse().unwrap()
}
