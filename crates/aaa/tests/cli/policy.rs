//! `aaa policy`.

use aaa_testing::archive::archive;
use serde_json::{Value, json};

use super::support::{Home, Run};

/// A request of nobody in particular.
fn request(home: &Home, action: &str, data: &Value) {
    let agent = if action.starts_with("run_") {
        "bolt_tasks"
    } else {
        "puppet"
    };
    let message = json!({"agent": agent, "action": action, "data": data}).to_string();
    let envelope = json!({
        "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1", "callerid": "up=root", "collective": "mcollective",
        "agent": agent, "ttl": 60, "time": 1_795_346_555, "filter": {}});
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": envelope});
    home.write("req.json", &request.to_string());
}

/// A token with these claims; whoever explains does not look at its signature.
fn token(home: &Home, mut claims: Value) {
    use base64::Engine as _;
    let base64 = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    claims["callerid"] = json!("up=bob");
    claims["purpose"] = json!("choria_client_id");
    let header = base64(r#"{"alg":"EdDSA","typ":"JWT"}"#);
    let token = format!("{header}.{}.{}\n", base64(&claims.to_string()), base64("x"));
    home.write("bob.jwt", &token);
}

/// The configuration of a signer with these rules.
fn config(home: &Home, rules: &Value) {
    let mut config = json!({
    "site": "london", "signer": "basicjwt", "auditors": ["logfile"],
    "basicjwt_signer": {
        "max_validity": "2h", "signing_certificate": "absent", "signing_token": "absent", "signing_seed": "absent"
    }});
    for (key, value) in rules.as_object().unwrap() {
        config[key] = value.clone();
    }
    home.write("signer.json", &config.to_string());
}

fn explain(home: &Home, arguments: &[&str]) -> Run {
    home.aaa(&[&["policy", "explain", "bob.jwt", "req.json"], arguments].concat())
}

const WITH_CONFIG: [&str; 2] = ["--config", "signer.json"];

#[test]
fn the_road_is_that_of_the_signer() {
    let home = Home::new();
    token(
        &home,
        json!({"agents": ["puppet.status"], "opa_policy":
        "package io.choria.aaasvc\ndefault allow = false\nallow { requires_fact_filter(\"country=mt\") }"}),
    );
    config(
        &home,
        &json!({
        "authorizer": ["actionlist", "opa"], "guards": {"deny_agents": ["shell"]}}),
    );
    request(&home, "status", &json!({}));
    let run = explain(&home, &WITH_CONFIG).ends(1);
    assert_eq!(
        run.stdout,
        "deny  up=bob puppet.status\n\
         └ puppet.status\n\
         \u{20} ├ guards       allow  guards\n\
         \u{20} │ └ deny_agents  holds\n\
         \u{20} ├ actionlist   allow  puppet.status\n\
         \u{20} │ └ puppet.status  yes  ← decided here\n\
         \u{20} └ opa          deny   opa_policy allow (line 3): needs a fact filter such as country=mt (opa_policy:3)  ← decided here\n\
         \u{20}   ├ opa_policy:2  default allow = false                         reached\n\
         \u{20}   └ opa_policy:3  allow { requires_fact_filter(\"country=mt\") }  reached\n"
    );
    // Nobody is asked after a guard that does not hold.
    config(
        &home,
        &json!({
        "authorizer": "actionlist", "guards": {"deny_agents": ["puppet"]}}),
    );
    let run = explain(&home, &[&WITH_CONFIG[..], &["--json"]].concat()).ends(1);
    let explained = run.json();
    assert_eq!(explained["decision"], "deny");
    assert_eq!(explained["site"], "london");
    assert_eq!(explained["steps"].as_array().unwrap().len(), 1);
    assert_eq!(explained["steps"][0]["by"], "guards");
    assert_eq!(explained["refused"]["rule"], "deny_agents");
}

#[test]
fn every_rule_that_was_looked_at_is_on_the_road() {
    let home = Home::new();
    token(&home, json!({}));
    request(&home, "disable", &json!({}));
    home.write(
        "policies/puppet.policy",
        "deny\t/^okta=/\t*\t*\t*\n\
         allow\tup=bob\tstatus\t*\t*\n\
         allow\tup=bob\tdisable\tcountry=mt\t*\n",
    );
    let policies = home.path("policies");
    config(
        &home,
        &json!({"authorizer": "actionpolicy", "actionpolicy_authorizer": {"policies": [policies]}}),
    );
    let run = explain(&home, &WITH_CONFIG).ends(1);
    assert_eq!(
        run.stdout,
        "deny  up=bob puppet.disable\n\
         └ puppet.disable\n\
         \u{20} └ actionpolicy deny   puppet.policy:3: needs a fact filter such as country=mt (puppet.policy:3)\n\
         \u{20}   ├ puppet.policy:1           deny /^okta=/                    no: caller up=bob\n\
         \u{20}   ├ puppet.policy:2           allow up=bob status              no: action disable\n\
         \u{20}   ├ puppet.policy:3           allow up=bob disable country=mt  no: country=mt — the request's filter does not promise it\n\
         \u{20}   └ default of puppet.policy  deny  ← decided here\n"
    );
    let explained = explain(&home, &[&WITH_CONFIG[..], &["--json"]].concat()).ends(1);
    let rules = &explained.json()["steps"][0]["rules"];
    assert_eq!(
        rules[1],
        json!({"rule": "puppet.policy:2", "text": "allow up=bob status", "found": "no: action disable", "decided": false})
    );
    assert_eq!(rules[3]["decided"], true);
}

#[test]
fn the_lines_of_a_policy_are_on_the_road() {
    let home = Home::new();
    let policy = "package io.choria.aaasvc\nimport rego.v1\ndefault allow := false\n\
                  allow if {\n\tinput.agent == \"puppet\"\n\tinput.action == \"status\"\n\tnot frozen\n}\n\
                  frozen if input.data.freeze";
    token(&home, json!({"opa_policy": policy}));
    request(&home, "disable", &json!({}));
    let explained = explain(&home, &["--json"]).ends(1).json();
    let lines = &explained["steps"][0]["lines"];
    let reached = |line: &str| {
        let mut lines = lines.as_array().unwrap().iter();
        lines
            .find(|one| one["line"] == format!("opa_policy:{line}"))
            .unwrap()["reached"]
            .clone()
    };
    assert_eq!(lines[1]["text"], "input.agent == \"puppet\"");
    assert_eq!((reached("5"), reached("6")), (true.into(), true.into()));
    assert_eq!((reached("7"), reached("9")), (false.into(), false.into()));
    request(&home, "status", &json!({}));
    let run = explain(&home, &[]).ends(0);
    assert!(
        run.stdout
            .contains("opa_policy:7  not frozen                   reached\n"),
        "{run:?}"
    );
    // Of the site's own each is named like its file, and after the one that refuses none is asked.
    home.write("rego/a.rego", policy);
    home.write(
        "rego/b.rego",
        "package io.choria.aaasvc\nallow = input.ttl > 60",
    );
    home.write(
        "rego/c.rego",
        "package io.choria.aaasvc\ndefault allow = true",
    );
    config(
        &home,
        &json!({"authorizer": "opa", "opa_authorizer": {"site_policies": home.path("rego")}}),
    );
    let run = explain(&home, &WITH_CONFIG).ends(1);
    assert!(run.stdout.contains("a.rego        "), "{run:?}");
    for (shown, says) in [
        (true, "├ a.rego:5"),
        (true, "└ b.rego:2"),
        (false, "c.rego"),
    ] {
        assert_eq!(run.stdout.contains(says), shown, "{says}: {}", run.stdout);
    }
    // In a bundle each is named by its path.
    let bundle = archive(&[("/x/b.rego", &home.read("rego/b.rego"))]).unwrap();
    std::fs::write(home.path("rego.tar.gz"), bundle).unwrap();
    config(
        &home,
        &json!({"authorizer": "opa", "opa_authorizer": {"site_policies": home.path("rego.tar.gz")}}),
    );
    let run = explain(&home, &WITH_CONFIG).ends(1);
    assert!(run.stdout.contains("└ x/b.rego:2"), "{run:?}");
}

#[test]
fn a_task_is_explained_in_both_its_parts() {
    let home = Home::new();
    token(&home, json!({"agents": ["bolt_tasks.run_no_wait"]}));
    request(&home, "run_no_wait", &json!({"task": "puppet_conf"}));
    let run = explain(&home, &[]).ends(1);
    assert_eq!(
        run.stdout,
        "deny  up=bob bolt_tasks.run_no_wait\n\
         ├ bolt_tasks.run_no_wait\n\
         │ └ actionlist   allow  bolt_tasks.run_no_wait\n\
         │   └ bolt_tasks.run_no_wait  yes  ← decided here\n\
         └ bolt_tasks.puppet_conf\n\
         \u{20} └ actionlist   deny   not in the action list  ← decided here\n\
         \u{20}   └ bolt_tasks.run_no_wait  no\n"
    );
    token(&home, json!({"agents": ["bolt_tasks.*"]}));
    let explained = explain(&home, &["--json"]).ends(0).json();
    assert_eq!(explained["decision"], "allow");
    assert_eq!(explained["steps"][1]["action"], "bolt_tasks.puppet_conf");
    assert_eq!(explained["refused"], Value::Null);
    // Both are decided; the answer is the first that is refused.
    token(&home, json!({"agents": ["bolt_tasks.puppet_conf"]}));
    let explained = explain(&home, &["--json"]).ends(1).json();
    assert_eq!(explained["steps"][1]["decision"], "allow");
    assert_eq!(explained["refused"]["action"], "bolt_tasks.run_no_wait");
    assert_eq!(explained["refused"]["by"], "actionlist");
    // A run of nothing is refused before anybody is asked.
    request(&home, "run_no_wait", &json!({}));
    let run = explain(&home, &[]).ends(1);
    assert!(
        run.stdout.contains("└ deny   the input task is missing"),
        "{run:?}"
    );
}

#[test]
fn the_time_can_be_another() {
    let home = Home::new();
    token(&home, json!({"agents": ["*"]}));
    request(&home, "status", &json!({}));
    let hours = json!({"timezone": "UTC", "from": "08:00", "to": "18:00"});
    config(
        &home,
        &json!({"authorizer": "actionlist", "guards": {"business_hours": hours}}),
    );
    for (at, code) in [("2026-11-25T12:00:00Z", 0), ("2026-11-25T20:00:00Z", 1)] {
        explain(&home, &[&WITH_CONFIG[..], &["--at", at]].concat()).ends(code);
    }
}

#[test]
fn what_cannot_be_explained_says_why() {
    let home = Home::new();
    token(&home, json!({"agents": ["*"]}));
    request(&home, "status", &json!({}));
    config(
        &home,
        &json!({"authorizer": "opaa", "guards": {"max_tll": "1m"}}),
    );
    explain(&home, &WITH_CONFIG)
        .ends(64)
        .without_data()
        .says("guards.max_tll")
        .says("authorizer");
    home.write("signer.json", "{}");
    explain(&home, &WITH_CONFIG).ends(64).says("signer");
    home.write("bob.jwt", "x");
    explain(&home, &[]).ends(64).says("bob.jwt: ");
    token(&home, json!({"agents": ["*"]}));
    home.write("req.json", "{");
    explain(&home, &[]).ends(64).says("req.json: ");
    home.aaa(&["policy", "explain", "bob.jwt"]).ends(64);
}
