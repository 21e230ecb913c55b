//! What policies see, what they may call, and what their bearers are told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use aaa_core::decision::Decision;
use aaa_policy::Authorizer;
use aaa_policy::rego::{Limits, Opa, check};
use common::{bearer, decide, ping, plain, policy, problem, request};
use proptest::prelude::*;
use serde_json::json;

fn denied(hint: Option<&str>, rule: &'static str) -> Decision {
    Decision::Deny {
        rule: rule.into(),
        hint: hint.map(str::to_owned),
    }
}

#[test]
fn everybody_may_discover() {
    let bytes = json!({"protocol": "choria:request:1", "message": "ping", "envelope": {
        "requestid": "1", "senderid": "s", "callerid": "up=alice", "collective": "c", "agent": "discovery",
        "ttl": 60, "time": 1_795_347_603, "filter": {}}});
    let discovery = aaa_core::request::Request::parse(bytes.to_string().as_bytes()).unwrap();
    let decision = decide(&Opa::default(), &bearer("broken"), &discovery);
    assert_eq!(decision, Decision::allow("discovery"));
}

#[test]
fn the_rule_that_decided_is_named() {
    let one = policy("default allow := false\n\nallow if input.action == \"ping\"");
    assert_eq!(ping(&one), Decision::allow("opa_policy allow (line 5)"));
    let many = policy("default allow := false\nallow if false\nallow if input.action == \"x\"");
    assert_eq!(ping(&many), Decision::deny("opa_policy allow"));
}

#[test]
fn input_is_the_envelope_and_the_claims() {
    let text = policy(
        r#"default allow := false
allow if {
  input == {
    "agent": "package", "action": "install", "data": {"n": [1, 2.5, null, true, "x"]},
    "sender": "web1.example.net", "collective": "ams", "ttl": 10, "time": "2026-11-22T11:22:17Z", "site": "london",
    "request": input.request,
    "claims": {"callerid": "up=alice", "agents": ["rpcutil.*"], "opa_policy": input.claims.opa_policy, "purpose": ""},
  }
}"#,
    );
    // The purpose of these claims is not one that has a name.
    let mut claims = bearer(&text);
    claims.standard.purpose = aaa_core::claims::Purpose::Client;
    claims.opa_policy = text.replace(r#""purpose": """#, r#""purpose": "choria_client_id""#);
    let envelope = json!({"senderid": "web1.example.net", "collective": "ams", "ttl": 10, "time": 1_795_346_537});
    let data = json!({"n": [1, 2.5, null, true, "x"]});
    let asked = request("package", "install", &data, &json!({}), &envelope);
    let decision = decide(&Opa::default(), &claims, &asked);
    assert!(decision.is_allowed(), "{decision:?}");
}

#[test]
fn the_whole_envelope_is_there_with_its_filter() {
    let text = policy(
        r#"default allow := false
allow if {
  input.request == {
    "protocol": 1, "id": input.request.id, "claimed_caller": input.request.claimed_caller, "agent": "package",
    "sender": "web1.example.net", "collective": "ams", "ttl": 10, "time": "2026-11-22T11:22:17Z",
    "filter": {
      "fact": [{"fact": "country", "operator": "==", "value": "mt"}], "cf_class": ["apache"], "identity": ["web1"],
      "agent": ["package"], "compound": [[{"expr": "a and b"}]],
    },
  }
  count(input.request.id) > 0
  input.request.claimed_caller != input.claims.callerid
}"#,
    );
    let envelope = json!({"senderid": "web1.example.net", "collective": "ams", "ttl": 10, "time": 1_795_346_537,
        "callerid": "up=root"});
    let filter = json!({
        "fact": [{"fact": "country", "operator": "==", "value": "mt"}], "cf_class": ["apache"], "identity": ["web1"],
        "agent": ["package"], "compound": [[{"expr": "a and b"}]]});
    let asked = request("package", "install", &json!({}), &filter, &envelope);
    let decision = decide(&Opa::default(), &bearer(&text), &asked);
    assert!(decision.is_allowed(), "{decision:?}");
    // A request without a filter has one that is empty.
    let text = policy(
        "default allow := false\nallow if { every part in input.request.filter { count(part) == 0 } }",
    );
    let asked = request("package", "install", &json!({}), &json!(null), &json!({}));
    assert!(decide(&Opa::default(), &bearer(&text), &asked).is_allowed());
}

#[test]
fn data_cannot_pose_as_a_number() {
    let text = policy("default allow := false\nallow if is_object(input.data.a)");
    let data = json!({"a": {"$serde_json::private::Number": "7"}});
    let asked = request("rpcutil", "ping", &data, &json!({}), &json!({}));
    assert!(decide(&Opa::default(), &bearer(&text), &asked).is_allowed());
}

#[test]
fn the_time_is_that_of_the_question() {
    let text = policy("default allow := false\nallow if time.now_ns() == 1795347603000000000");
    assert!(ping(&text).is_allowed());
}

#[test]
fn a_denial_says_which_filter_is_missing() {
    let text = policy(
        "default allow := false\nallow if requires_fact_filter(\"country=mt\")\nallow if requires_class_filter(\"apache\")",
    );
    assert_eq!(
        ping(&text),
        denied(
            Some(
                "needs a fact filter such as country=mt (opa_policy:4), or a class filter such as apache (opa_policy:5)"
            ),
            "opa_policy allow"
        )
    );
    let filter = json!({"fact": [{"fact": "country", "operator": "==", "value": "mt"}]});
    let asked = request("rpcutil", "ping", &json!({}), &filter, &json!({}));
    assert!(decide(&Opa::default(), &bearer(&text), &asked).is_allowed());
}

#[test]
fn hints_are_for_denials_that_asked() {
    let text =
        policy("default allow := false\nallow if { input.action == \"x\"; requires_filter() }");
    assert_eq!(ping(&text), denied(None, "opa_policy allow (line 4)"));
    let text = policy("default allow := false\nallow if not requires_filter()");
    assert_eq!(ping(&text), Decision::allow("opa_policy allow (line 4)"));
}

#[test]
fn evaluations_do_not_see_each_other() {
    let opa = Opa::default();
    let claims = bearer(&policy(
        "default allow := false\nallow if requires_class_filter(\"apache\")",
    ));
    let with = request(
        "rpcutil",
        "ping",
        &json!({}),
        &json!({"cf_class": ["apache"]}),
        &json!({}),
    );
    let without = plain("rpcutil", "ping");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert!(decide(&opa, &claims, &with).is_allowed());
                    assert!(!decide(&opa, &claims, &without).is_allowed());
                }
            });
        }
    });
    assert_eq!(opa.kept(), 1);
}

#[test]
fn wrong_arguments_are_said_and_never_allow() {
    let of_number = policy("default allow := false\nallow if not requires_class_filter(input.ttl)");
    assert_eq!(
        problem(ping(&of_number)),
        "the policy cannot be applied: requires_class_filter takes one string"
    );
    // The engine takes one definition's error for no answer when another one answers.
    let hidden = policy(
        "default allow := false\nf(x) if requires_fact_filter(x)\nf(x) := false if x == \"bad\"\nallow if not f(\"bad\")",
    );
    assert_eq!(
        problem(ping(&hidden)),
        r#"the policy cannot be applied: "bad" is not a fact filter such as country=mt"#
    );
}

#[test]
fn only_a_boolean_decides() {
    for (value, said) in [
        ("\"true\"", "`allow` is a string"),
        ("1", "`allow` is a number"),
        ("[true]", "`allow` is an array"),
        ("{true}", "`allow` is a set"),
        ("{\"a\": true}", "`allow` is an object"),
        ("null", "`allow` is null"),
    ] {
        let problem = problem(ping(&policy(&format!("allow := {value}"))));
        assert!(problem.contains(said), "{problem}");
    }
    let undefined = problem(ping(&policy("allow if input.agent == \"x\"")));
    assert!(
        undefined.contains("`allow` is undefined for this request"),
        "{undefined}"
    );
    assert_eq!(problem(ping("")), "the token has no policy");
}

#[test]
fn mistakes_are_found_when_a_policy_is_loaded() {
    let wrong = [
        (
            "allow if http.send({}).x",
            "line 3: there is no function `http.send` for policies: OPA has it, this service does not",
        ),
        (
            "allow if opa.runtime().env.X",
            "line 3: there is no function `opa.runtime` for policies: OPA has it, this service does not",
        ),
        (
            "allow if net.lookup_ip_addr(\"x\")",
            "line 3: there is no function `net.lookup_ip_addr` for policies: OPA has it, this service does not",
        ),
        (
            "allow if print(\"x\")",
            "line 3: there is no function `print` for policies: OPA has it, this service does not",
        ),
        (
            "allow if rand.intn(\"x\", 3) == 1",
            "line 3: there is no function `rand.intn` for policies: OPA has it, this service does not",
        ),
        (
            "allow if nothing(1)",
            "line 3: there is no function `nothing` for policies",
        ),
        (
            "\nallow if true with input.x as y.z(1)",
            "line 4: there is no function `y.z` for policies",
        ),
        (
            "a if b\nb if a\nallow if a",
            "line 3: `a` depends on itself",
        ),
        (
            "f(x) := f(x)\nallow if f(1)",
            "line 3: `f` depends on itself",
        ),
        (
            "f(x) := g(x)\ng(x) := data.io.choria.aaasvc.f(x)\nallow if f(1)",
            "line 3: `f` depends on itself",
        ),
        (
            "allow if x == y",
            "line 3: use of undefined variable `x` is unsafe",
        ),
        (
            "deny if true",
            "there is no rule `allow` in package io.choria.aaasvc",
        ),
        ("allow", "line 3: rule must have a body or assignment"),
    ];
    for (lines, said) in wrong {
        let error = check(&policy(lines)).unwrap_err();
        assert_eq!(error.to_string(), said, "{lines}");
        assert_eq!(
            problem(ping(&policy(lines))),
            format!("the policy cannot be used: {said}")
        );
    }
    let v0 = "package io.choria.aaasvc\ndefault allow = false\nallow\nb { true }";
    assert_eq!(
        check(v0).unwrap_err().to_string(),
        "line 3: a rule needs a value or a body"
    );
    let other = "package other\ndefault allow = true";
    assert_eq!(
        check(other).unwrap_err().to_string(),
        "line 1: the package is other, and must be io.choria.aaasvc"
    );
}

#[test]
fn an_old_policy_with_new_words_allows_nobody() {
    let mixed = "package io.choria.aaasvc\ndefault allow = false\nallow if { input.agent == \"x\" }\nb { true }\n";
    assert!(!ping(mixed).is_allowed());
    assert!(check(mixed).is_err());
}

#[test]
fn a_function_of_rego_stays_guarded_when_it_stands_in_for_another() {
    let text = policy(
        "default allow := false\nallow if { count(array.concat([1], [2])) == 1 with array.concat as numbers.range }\n\
         allow if { x := y with max as numbers.range; x }\ny := count(max([1])) ",
    );
    // Whatever it decides, it does so without harm.
    assert!(!ping(&text).is_allowed());
}

#[test]
fn local_names_that_are_rules_elsewhere_are_no_circle() {
    let text =
        policy("default allow := false\nx := 1\na if { x := 2; x == 2 }\nallow if { a; x == 1 }");
    assert!(check(&text).is_ok());
    assert!(ping(&text).is_allowed());
}

#[test]
fn the_cache_keeps_to_its_bounds() {
    let opa = Opa::new(Limits {
        kept_bytes: 100 << 10,
        ..Limits::default()
    });
    for n in 0..200 {
        let text = policy(&format!(
            "default allow := false\nallow if input.ttl == {n}"
        ));
        decide(&opa, &bearer(&text), &plain("rpcutil", "ping"));
    }
    assert!((5..=10).contains(&opa.kept()), "{}", opa.kept());
    let large = Opa::new(Limits {
        kept_bytes: 400 << 10,
        ..Limits::default()
    });
    for n in 0..20 {
        let text = policy(&format!("# {}\nallow := {n} == 1", "x".repeat(30 << 10)));
        decide(&large, &bearer(&text), &plain("rpcutil", "ping"));
    }
    assert!((1..=4).contains(&large.kept()), "{}", large.kept());
    // What counts is what a policy takes, and a short text may take much.
    let dense = Opa::new(Limits {
        kept_bytes: 400 << 10,
        ..Limits::default()
    });
    for n in 0..20 {
        let text = policy(&format!(
            "allow := {n} == 1\n{}",
            "allow if 1 < 1\n".repeat(40)
        ));
        assert!(text.len() < 1 << 10);
        decide(&dense, &bearer(&text), &plain("rpcutil", "ping"));
    }
    assert!((1..=4).contains(&dense.kept()), "{}", dense.kept());
    let decision = decide(
        &large,
        &bearer(&"#".repeat(70_000)),
        &plain("rpcutil", "ping"),
    );
    assert_eq!(
        problem(decision),
        "the policy cannot be used: the policy is 70000 bytes long, the limit is 65536"
    );
    assert_eq!(large.name(), "opa");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_panics_the_checker(text in "\\PC{0,200}") {
        drop(check(&text));
        drop(check(&policy(&text)));
    }

    #[test]
    fn no_heap_of_words_panics_the_checker_or_allows(words in prop::collection::vec(prop::sample::select(vec![
        "allow", "if", "x", "input", "data", "{", "}", "[", "]", "(", ")", ":=", "=", "==", "|", ",", ";", "\n", ".", "not", "some",
        "in", "every", "else", "default", "with", "as", "1", "\"a\"", "contains", "count", "f", "_", "+", "-", "false", "null", "import",
    ]), 0..25)) {
        let text = words.join(" ");
        drop(check(&policy(&text)));
        // There is no `true` among the words, but comparisons may be; so only panics are of interest.
        ping(&format!("package io.choria.aaasvc\ndefault allow = false\n{text}\n"));
    }

    #[test]
    fn an_agent_is_allowed_only_by_its_own_name(agent in "[a-z]{1,6}", other in "[a-z]{1,6}") {
        let text = policy(&format!("default allow := false\nallow if input.agent == {agent:?}"));
        let decision = decide(&Opa::default(), &bearer(&text), &plain(&other, "ping"));
        prop_assert_eq!(decision.is_allowed(), agent == other);
    }
}

#[test]
fn what_the_engine_reads_otherwise_than_opa_is_refused() {
    for (lines, says) in [
        (
            "allow if { x := -input.ttl; x < 0 }",
            "line 3: `-` stands before numbers only; write `0 - x`",
        ),
        (
            "allow if count([v | [_, v] := walk(input)]) > 0",
            "line 3: `walk` takes two arguments: `walk(x, [path, value])`",
        ),
        (
            "default allow := true\ndefault allow := false",
            "line 4: a second default for `allow`",
        ),
        (
            "allow if { not input.data.tags[y] == y }",
            "line 3: `y` gets no value: it stands behind `not` only",
        ),
    ] {
        assert_eq!(check(&policy(lines)).unwrap_err().to_string(), says);
    }
    assert!(check(&policy("allow if input.ttl > -1")).is_ok());
    let named = problem(ping(&policy(
        "allow if sprintf(\"%s\", [input.ttl]) == \"60\"",
    )));
    assert!(
        named.contains("`sprintf` takes %s for all but numbers"),
        "{named}"
    );
}

#[test]
fn what_nobody_uses_is_no_error_and_is_said() {
    let unused = check(&policy("allow if { x := input.agent }")).unwrap();
    assert_eq!(
        unused[0].to_string(),
        "line 3: the variable `x` is never used"
    );
}

#[test]
fn what_has_no_value_is_not_allowed_by_its_absence() {
    for body in [
        "not startswith(input.data.path, \"/etc\")",
        "not input.data.env in {\"production\"}",
        "not \"production\" in input.data.envs",
        "not input.data.count > 3",
        "not regex.match(\"^/etc\", lower(input.data.path))",
        "not forbidden[input.data.path]",
        "not bad(input.data.path)",
    ] {
        let text = policy(&format!(
            "default allow := false\nforbidden contains \"/etc\"\nbad(x) if x == \"/etc\"\nallow if {{ {body} }}\nx if forbidden[\"/etc\"]"
        ));
        let ask = |data| {
            let asked = request("rpcutil", "ping", &data, &json!({}), &json!({}));
            decide(&Opa::default(), &bearer(&text), &asked).is_allowed()
        };
        assert!(!ask(json!({})), "{body}");
        let fine = json!({"path": "/tmp", "env": "test", "envs": ["test"], "count": 1});
        assert!(ask(fine), "{body}");
        let bad = json!({"path": "/etc", "env": "production", "envs": ["production"], "count": 4});
        assert!(!ask(bad), "{body}");
    }
    // A reference by itself, and what it is compared with, may have none.
    assert!(ping(&policy("allow if not input.data.path == \"/etc\"")).is_allowed());
    assert!(ping(&policy("allow if not input.data.path")).is_allowed());
    let error = check(&policy("allow if { \"a\", input.data.x in input.data }")).unwrap_err();
    assert!(
        error
            .problem()
            .contains("give what is computed a name first"),
        "{error}"
    );
}
