//! Policies of the site: what they see, how they go together, and what is wrong with their files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use aaa_core::decision::Decision;
use aaa_policy::rego::Limits;
use aaa_policy::rego::site::{MOST_DATA, SitePolicies, SiteProblem, Sources};
use common::{bearer, decide, plain, policy, request};
use serde_json::json;

fn build(
    policies: &[(&str, &str)],
    data: &[(&str, &str)],
) -> Result<SitePolicies, Vec<SiteProblem>> {
    let mut sources = Sources::default();
    for (file, text) in data {
        sources.data(file, text.as_bytes());
    }
    for (file, lines) in policies {
        sources.policy(file, policy(lines).as_bytes());
    }
    sources.build(Limits::default(), |work| work())
}

fn problems(policies: &[(&str, &str)], data: &[(&str, &str)]) -> String {
    let problems = build(policies, data).unwrap_err();
    let lines = problems.iter().map(ToString::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

fn ping(policies: &SitePolicies) -> Decision {
    decide(policies, &bearer(""), &plain("rpcutil", "ping"))
}

#[test]
fn all_must_allow_and_the_file_that_does_not_is_named() {
    let open = "default allow := true";
    let frozen = "default allow := false\nallow if input.agent != \"rpcutil\"";
    let one = build(&[("/etc/x/a.rego", open)], &[]).unwrap();
    assert_eq!(ping(&one), Decision::allow("a.rego allow"));
    let two = build(&[("a.rego", open), ("b.rego", open)], &[]).unwrap();
    assert_eq!(ping(&two), Decision::allow("2 site policies"));
    let refusing = build(
        &[
            ("a.rego", open),
            ("b.rego", frozen),
            ("c.rego", "allow := 1"),
        ],
        &[],
    );
    assert_eq!(
        ping(&refusing.unwrap()),
        Decision::deny("b.rego allow (line 4)")
    );
    let hinting = build(
        &[(
            "a.rego",
            "default allow := false\nallow if requires_fact_filter(\"country=mt\")",
        )],
        &[],
    );
    assert_eq!(
        ping(&hinting.unwrap()).explanation(),
        Some("needs a fact filter such as country=mt (a.rego:4)")
    );
    let undefined = build(&[("a.rego", "allow if input.agent == \"x\"")], &[]).unwrap();
    assert!(
        ping(&undefined)
            .explanation()
            .unwrap()
            .starts_with("a.rego cannot be applied: `allow` is undefined")
    );
}

#[test]
fn the_claims_and_data_of_yaml_and_json_are_seen() {
    let limits = "default allow := false\nallow if input.ttl <= data.ttl[input.agent]";
    let admins = "default allow := false\nallow if input.claims.callerid in data.admins\nallow if data.open == {\"a\": [1, 2.5, null, true, \"010\"]}";
    let data = [
        ("limits.yaml", "ttl:\n  rpcutil: 60\n  puppet: 10\n"),
        (
            "people.json",
            r#"{"admins": ["up=root"], "open": {"a": [1, 2.5, null, true, "010"]}}"#,
        ),
    ];
    let site = build(&[("limits.rego", limits), ("admins.rego", admins)], &data).unwrap();
    assert!(ping(&site).is_allowed());
    let slow = request("puppet", "run", &json!({}), &json!({}), &json!({}));
    assert_eq!(
        decide(&site, &bearer(""), &slow),
        Decision::deny("limits.rego allow (line 4)")
    );
    let closed = build(&[("admins.rego", admins)], &[data[0]]).unwrap();
    assert!(!ping(&closed).is_allowed());
}

#[test]
fn policies_cannot_see_one_another() {
    let other = "default allow := false\nsecret := true\nallow if true";
    let nosy = "default allow := false\nallow if data.io.choria.aaasvc.secret";
    let site = build(&[("a.rego", other), ("b.rego", nosy)], &[]).unwrap();
    assert!(!ping(&site).is_allowed());
}

#[test]
fn what_is_wrong_is_said_of_each_file() {
    let broken = [
        ("a.rego", "allow if {"),
        ("b.rego", "allow if nothing(1)"),
        (
            "c.rego",
            "import data.limits\nallow if { x := input.agent }",
        ),
    ];
    let data = [
        ("twice.yaml", "a: 1\na: 2\n"),
        ("anchor.yaml", "b: &x 1\nc: *x\n"),
        ("twice.json", r#"{"d": {"e": 1, "e": 2}}"#),
        ("norway.yaml", "countries:\n  - mt\n  - no\n"),
        ("octal.yaml", "mode: 0644\n"),
        ("list.json", "[]"),
        ("io.yaml", "io: {choria: {aaasvc: {allow: true}}}"),
        ("f.yaml", "f: 1"),
        ("g.yaml", "f: 2"),
    ];
    let said = problems(&broken, &data);
    for says in [
        "a.rego:4:1: ",
        "b.rego:3:10: there is no function `nothing` for policies\n  allow if nothing(1)\n           ^",
        "c.rego:3:13: the import `limits` is never used",
        "c.rego:4:12: the variable `x` is never used",
        "twice.yaml:2:1: the key \"a\" stands twice",
        "anchor.yaml:1:4: anchors and aliases are not taken",
        "norway.yaml:3:3: `no` is read in two ways",
        "octal.yaml:1:1: `0644` is read in two ways",
        "twice.json:1:22: is no JSON that can be taken: a member is there twice",
        "list.json: must hold an object",
        "io.yaml: `io` is where the policies themselves are",
        "g.yaml: `f` is in f.yaml already",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    assert_eq!(problems(&[], &[]), "there is no policy in it");
    let mut latin = Sources::default();
    latin.policy("a.rego", b"package x\n# \xfc");
    let said = latin.build(Limits::default(), |work| work()).unwrap_err();
    let lines: Vec<_> = said.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["a.rego:2:3: is no text: the byte here is not UTF-8\n  # \n    ^"]
    );
}

#[test]
fn data_is_bounded() {
    let open = [("a.rego", "default allow := true")];
    let many: serde_json::Map<_, _> = (0..257).map(|n| (format!("m{n}"), json!(n))).collect();
    let many = serde_json::Value::Object(many).to_string();
    assert!(problems(&open, &[("many.json", &many)]).contains("more than 256 members"));
    let large = format!("{{\"a\": \"{}\"}}", "x".repeat(MOST_DATA));
    assert!(problems(&open, &[("large.json", &large)]).contains("bytes together"));
    let deep = "[".repeat(5000);
    assert!(problems(&open, &[("deep.json", &deep)]).contains("recursion limit"));
}
