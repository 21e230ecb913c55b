//! `aaa policy test`.

use serde_json::json;

use super::support::Home;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/policy");

const RULES: &str = "\
policy default deny
allow\tops\tstatus\t*\t*
allow\tops\tdisable\tcountry=mt\tapache
deny\t*\tenable\t*\t*
";

/// A site with Action Policy, and a suite with these cases.
fn site(cases: &str) -> Home {
    let home = Home::new();
    home.write("site/policies/puppet.policy", RULES);
    home.write("site/policies/groups", "ops up=bob\n");
    home.write(
        "site/puppet_test.yaml",
        &format!("policies: policies\ncases:\n{cases}"),
    );
    home
}

const STATUS: &str = "- {caller: up=bob, agent: puppet, action: status, expect: allow}\n";

#[test]
fn the_examples_of_the_manual_decide_as_they_say() {
    let run = Home::new()
        .aaa(&["policy", "test", "--json", EXAMPLES])
        .ends(0);
    let report = run.json();
    assert_eq!(report["failed"], 0);
    assert!(report["passed"].as_u64().unwrap() >= 45, "{report}");
    // Every authorizer has a case that it allows and one that it refuses, and no rule is without one.
    let cases = report["cases"].as_array().unwrap();
    for by in ["guards", "tasks", "actionlist", "actionpolicy", "opa"] {
        let mut steps = cases
            .iter()
            .flat_map(|case| case["decided"]["steps"].as_array().unwrap())
            .filter(|step| step["by"] == by);
        assert!(
            steps.clone().any(|step| step["decision"] == "allow"),
            "{by}"
        );
        assert!(steps.any(|step| step["decision"] != "allow"), "{by}");
    }
    assert_eq!(report["rules"]["never"], json!([]));
}

#[test]
fn a_case_that_is_decided_otherwise_is_shown_with_its_road() {
    let home = site(
        "- {name: bob looks, caller: up=bob, agent: puppet, action: status, expect: allow, rule: 'puppet.policy:2', by: actionpolicy}\n\
         - {name: bob disables, caller: up=bob, agent: puppet, action: disable, expect: allow}\n",
    );
    let run = home
        .aaa(&["policy", "test", "--junit", "report.xml"])
        .ends(1);
    assert_eq!(
        run.stdout,
        "site/puppet_test.yaml\n \
         ok    bob looks\n \
         FAIL  bob disables (line 4)\n\
         \u{20}      decided deny, expected allow\n\
         \u{20}      deny  up=bob puppet.disable\n\
         \u{20}      └ puppet.disable\n\
         \u{20}        └ actionpolicy deny   puppet.policy:3: needs a fact filter such as country=mt (puppet.policy:3)\n\
         \u{20}          ├ puppet.policy:2           allow ops status                     no: action disable\n\
         \u{20}          ├ puppet.policy:3           allow ops disable country=mt apache  no: country=mt and apache — the request's filter does not promise it\n\
         \u{20}          ├ puppet.policy:4           deny * enable                        no: action disable\n\
         \u{20}          └ default of puppet.policy  deny  ← decided here\n\
         2 cases, 1 not as expected\n\
         1 of 3 rules and lines decided a case; never:\n\
         \u{20} actionpolicy puppet.policy:3  allow ops disable country=mt apache  (site/policies)\n\
         \u{20} actionpolicy puppet.policy:4  deny * enable  (site/policies)\n"
    );
    let report = home.read("report.xml");
    assert!(
        report.contains("<testsuite name=\"site/puppet_test.yaml\" tests=\"2\""),
        "{report}"
    );
    assert!(report.contains("failures=\"1\""), "{report}");
    assert!(
        report.contains("<failure message=\"decided deny, expected allow\">"),
        "{report}"
    );
    assert!(report.contains("line=\"4\""), "{report}");
    let report = home.aaa(&["policy", "test", "--json"]).ends(1).json();
    assert_eq!(
        (&report["passed"], &report["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        report["cases"][1]["unexpected"][0],
        "decided deny, expected allow"
    );
    assert_eq!(report["rules"]["never"][0]["rule"], "puppet.policy:3");
}

#[test]
fn who_decides_the_rule_and_the_reason_can_be_expected() {
    for (expectation, code, says) in [
        ("expect: deny, by: actionpolicy", 0, "all as expected"),
        (
            "expect: deny, rule: 'puppet.policy:3'",
            0,
            "all as expected",
        ),
        (
            "expect: deny, reason: such as country=mt",
            0,
            "all as expected",
        ),
        (
            "expect: deny, by: guards",
            1,
            "decided by actionpolicy, expected guards",
        ),
        (
            "expect: deny, rule: 'puppet.policy:4'",
            1,
            "decided by the rule puppet.policy:3, expected puppet.policy:4",
        ),
        (
            "expect: deny, reason: country=de",
            1,
            "expected \"country=de\" in it",
        ),
        ("expect: allow", 1, "decided deny, expected allow"),
        (
            "filter: {fact: country=mt, class: apache}, expect: allow, rule: 'puppet.policy:3'",
            0,
            "all as expected",
        ),
        (
            "node: {facts: {country: mt}, classes: apache}, expect: allow",
            0,
            "all as expected",
        ),
        (
            "node: {facts: facts.yaml}, expect: deny, rule: default of puppet.policy",
            0,
            "all as expected",
        ),
    ] {
        let home = site(&format!(
            "- {{caller: up=bob, agent: puppet, action: disable, {expectation}}}\n"
        ));
        home.write("site/facts.yaml", "country: mt\n");
        let run = home.aaa(&["policy", "test", "site"]).ends(code);
        assert!(run.stdout.contains(says), "{expectation}: {}", run.stdout);
    }
}

#[test]
fn several_callers_and_actions_are_a_case_each() {
    let home = site(
        "- {name: operators, caller: [up=bob, up=eve], agent: puppet, action: [status, disable], expect: deny}\n",
    );
    let run = home.aaa(&["policy", "test", "site"]).ends(1);
    assert!(run.stdout.contains("FAIL  operators: up=bob puppet.status"));
    for ok in [
        "up=bob puppet.disable",
        "up=eve puppet.status",
        "up=eve puppet.disable",
    ] {
        assert!(
            run.stdout.contains(&format!("ok    operators: {ok}")),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn rules_are_those_of_the_token_where_none_are_named() {
    let home = Home::new();
    home.write(
        "list.rego",
        "package io.choria.aaasvc\ndefault allow = false\nallow { input.action == \"status\" }\n\
         allow { input.agent == \"package\"\n  input.action == \"install\" }",
    );
    home.write(
        "tokens_test.yaml",
        "callers:\n  up=bob: {agents: [puppet.status, puppet.enable]}\n  up=ann: {opa_policy_file: list.rego}\n  up=eve: {opa_policy_file: list.rego}\n\
         cases:\n\
         - {caller: [up=bob, up=ann], agent: puppet, action: status, expect: allow}\n\
         - {caller: [up=bob, up=eve, up=nobody], agent: puppet, action: disable, expect: deny}\n",
    );
    let run = home.aaa(&["policy", "test"]).ends(0);
    // A policy that two have is one policy, and a line that runs for either has run.
    assert!(
        run.stdout.ends_with(
            "5 cases, all as expected\n\
             4 of 6 rules and lines decided a case; never:\n\
             \u{20} actionlist puppet.enable  (up=bob in tokens_test.yaml)\n\
             \u{20} opa opa_policy:5  input.action == \"install\" }  (up=ann in tokens_test.yaml)\n"
        ),
        "{}",
        run.stdout
    );
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_nothing_is_decided() {
    for (suite, says) in [
        (
            "policis: x\n",
            "bad_test.yaml:1: policis is unknown; a suite has config, policies",
        ),
        (
            "cases:\n- {caller: up=bob, agnt: x, expect: deny}\n",
            "bad_test.yaml:2: unknown field `agnt`",
        ),
        (
            "cases:\n- {agent: x, action: y, expect: deny}\n",
            "bad_test.yaml:2: needs a caller, or a token",
        ),
        (
            "cases:\n- {caller: a, action: y, expect: deny}\n",
            "bad_test.yaml:2: needs an agent, or a request",
        ),
        (
            "cases:\n- {caller: a, agent: y, expect: deny}\n",
            "bad_test.yaml:2: needs an action",
        ),
        (
            "cases:\n- {caller: a, agent: x, action: y}\n",
            "bad_test.yaml:2: missing field `expect`",
        ),
        (
            "cases:\n- {caller: a, agent: x, action: y, expect: perhaps}\n",
            "unknown variant `perhaps`",
        ),
        (
            "cases:\n- {caller: a, agent: x, action: y, expect: allow, reason: z}\n",
            "reason is for what is denied",
        ),
        (
            "cases:\n- {caller: a, agent: x, action: y, expect: deny, filter: {fact: z}}\n",
            "bad_test.yaml:2: filter: write fact=value",
        ),
        (
            "cases:\n- {caller: a, agent: x, action: y, expect: deny, node: {}}\n",
            "bad_test.yaml:2: node: only Action Policy",
        ),
        (
            "cases:\n- {token: no.jwt, agent: x, action: y, expect: deny}\n",
            "no.jwt: no such file",
        ),
        (
            "callers:\n  a: {agents: {}}\n",
            "bad_test.yaml:2: a: a text or a list of texts is wanted",
        ),
        (
            "callers:\n  a: {permissions: root}\n",
            "bad_test.yaml:2: a: root is no permission",
        ),
        (
            "callers:\n  a: {opa_policy_file: no.rego}\n",
            "no.rego: no such file",
        ),
        ("cases: {}\n", "bad_test.yaml:1: cases wants a list"),
        ("cases: []\n", "bad_test.yaml:1: has no cases"),
        ("cases: &a []\n", "anchors and aliases are not taken"),
        ("at: noon\n", "bad_test.yaml:1: at: "),
        ("config: no.json\n", "no.json"),
        ("policies: no.policy\n", "no.policy: no such file"),
        ("policies: a\nconfig: b\n", "the rules are in one of them"),
    ] {
        // One suite that is good does not help.
        let home = site(STATUS);
        home.write("bad_test.yaml", suite);
        home.aaa(&["policy", "test"])
            .ends(64)
            .without_data()
            .says(says);
    }
    let home = Home::new();
    home.aaa(&["policy", "test"])
        .ends(64)
        .says("no suites in .: their names end with _test.yaml");
    home.aaa(&["policy", "test", "absent.yaml"])
        .ends(64)
        .says("absent.yaml: no such file");
}

#[test]
fn a_configuration_can_take_the_place_of_those_in_suites() {
    let home = site(STATUS);
    let config = json!({
    "site": "london", "signer": "basicjwt", "auditors": ["logfile"], "authorizer": "actionlist",
    "basicjwt_signer": {
        "max_validity": "2h", "signing_certificate": "absent", "signing_token": "absent", "signing_seed": "absent"
    }});
    home.write("new.json", &config.to_string());
    home.aaa(&["policy", "test"]).ends(0);
    let run = home
        .aaa(&["policy", "test", "--config", "new.json"])
        .ends(1);
    assert!(
        run.stdout
            .contains("actionlist   deny   not in the action list")
    );
}

#[test]
fn a_token_and_a_request_that_were_are_a_case() {
    use base64::Engine as _;
    let base64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let home = Home::new();
    let claims =
        json!({"callerid": "up=bob", "purpose": "choria_client_id", "agents": ["puppet.status"]});
    let token = format!(
        "{}.{}.{}\n",
        base64(r#"{"alg":"EdDSA","typ":"JWT"}"#),
        base64(&claims.to_string()),
        base64("x")
    );
    home.write("in/bob.jwt", &token);
    let message = json!({"agent": "puppet", "action": "status", "data": {}}).to_string();
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": {
        "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1", "callerid": "up=root", "collective": "mcollective",
        "agent": "puppet", "ttl": 60, "time": 1_795_346_555, "filter": {}}});
    home.write("in/req.json", &request.to_string());
    home.write(
        "in/was.yaml",
        "cases:\n- {token: bob.jwt, request: req.json, expect: allow, rule: puppet.status}\n",
    );
    home.aaa(&["policy", "test", "in/was.yaml"]).ends(0);
    home.write(
        "in/was.yaml",
        "cases:\n- {caller: up=bob, token: bob.jwt, request: req.json, expect: allow}\n",
    );
    home.aaa(&["policy", "test", "in/was.yaml"])
        .ends(64)
        .says("has a caller and a token; one must go");
}
