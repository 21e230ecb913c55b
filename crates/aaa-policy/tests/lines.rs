//! Which lines of Rego run for an answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use aaa_policy::rego::site::Sources;
use aaa_policy::rego::{Limits, Opa};
use aaa_policy::{Authorizer, Question};
use common::{bearer, plain, policy};
use jiff::Timestamp;

/// The lines, those that run marked with a plus.
fn lines(authorizer: &dyn Authorizer, in_token: &str) -> Vec<String> {
    let (claims, request) = (bearer(in_token), plain("rpcutil", "ping"));
    let question = Question {
        request: &request,
        action: request.action(),
        claims: &claims,
        site: "london",
        now: Timestamp::UNIX_EPOCH,
    };
    let lines = authorizer.lines(&question).into_iter().map(|line| {
        let mark = if line.ran { '+' } else { '-' };
        format!("{mark} {} {}", line.name, line.text)
    });
    lines.collect()
}

const RULES: &str = "\
default allow := false
allow if {
  input.agent == \"package\"
  input.action == \"install\"
}
allow if input.agent == \"rpcutil\"";

#[test]
fn of_the_policy_in_a_token() {
    assert_eq!(
        lines(&Opa::default(), &policy(RULES)),
        [
            "+ opa_policy:3 default allow := false",
            "+ opa_policy:5 input.agent == \"package\"",
            "- opa_policy:6 input.action == \"install\"",
            "+ opa_policy:8 allow if input.agent == \"rpcutil\"",
        ]
    );
}

#[test]
fn of_policies_of_the_site_up_to_the_one_that_refuses() {
    let mut sources = Sources::default();
    for (file, rules) in [
        ("a.rego", "allow := true"),
        (
            "b.rego",
            "default allow := false\nallow if input.agent == \"x\"",
        ),
        ("c.rego", "allow := true"),
    ] {
        sources.policy(file, policy(rules).as_bytes());
    }
    let site = sources.build(Limits::default(), |work| work()).unwrap();
    assert_eq!(
        lines(&site, ""),
        [
            "+ a.rego:3 allow := true",
            "+ b.rego:3 default allow := false",
            "+ b.rego:4 allow if input.agent == \"x\"",
        ]
    );
}

#[test]
fn of_what_is_no_policy_there_are_none() {
    for text in ["", "package other", &"x".repeat(1 << 20)] {
        assert_eq!(lines(&Opa::default(), text), Vec::<String>::new());
    }
}
