//! `aaa policy check`, `lint` and `export`.

use std::fs;

use aaa_testing::archive::archive;

use super::support::Home;

const CHECK: [&str; 10] = [
    "policy",
    "check",
    "--policies",
    "policies",
    "--caller",
    "up=bob",
    "--agent",
    "puppet",
    "--action",
    "status",
];

#[test]
fn a_check_says_what_a_node_would_decide_and_by_which_rule() {
    let home = Home::new();
    home.write(
        "policies/puppet.policy",
        "policy default deny\nallow\tops\tstatus\tcountry=mt and not apache\n",
    );
    home.write("policies/groups", "ops up=bob\n");
    home.write("facts.yaml", "country: mt\n");
    home.write("classes.txt", "apache\n");
    assert_eq!(
        home.aaa(&CHECK).ends(1).stdout,
        "deny  default of puppet.policy\n"
    );
    let with = |more: &[&str]| home.aaa(&[&CHECK, more].concat());
    assert_eq!(
        with(&["--facts", "facts.yaml"]).ends(0).stdout,
        "allow  puppet.policy:2\n"
    );
    let run = with(&[
        "--facts",
        "facts.yaml",
        "--classes",
        "classes.txt",
        "--json",
    ])
    .ends(1);
    assert_eq!(run.json()["verdict"], "deny");
}

#[test]
fn rules_that_cannot_be_read_are_no_decision() {
    let home = Home::new();
    home.write("policies/puppet.policy", "policy default allow\n");
    home.write("policies/other.policy", "allow * * * *\n");
    home.aaa(&CHECK)
        .ends(64)
        .without_data()
        .says("policies/other.policy:1:6: columns are separated by tabs")
        .says("\n  allow * * * *\n       ^");
    home.aaa(&[
        "policy",
        "check",
        "--hiera",
        "absent.yaml",
        "--caller",
        "a",
        "--agent",
        "b",
        "--action",
        "c",
    ])
    .ends(64)
    .says("absent.yaml: no such file");
}

#[test]
fn lint_finds_what_is_probably_not_meant() {
    let home = Home::new();
    home.write("policies/puppet.policy", "allow\tldap=bob\tstatus\t*\t*\n");
    let lint = ["policy", "lint", "--policies", "policies"];
    let run = home.aaa(&lint).ends(1);
    assert_eq!(
        run.stdout,
        "puppet.policy:1: unknown-caller: ldap=bob is no group, and no authenticator makes it\n"
    );
    let run = home.aaa(&[&lint[..], &["--json"]].concat()).ends(1);
    assert_eq!(run.json()[0]["kind"], "unknown-caller");
    let run = home.aaa(&[&lint[..], &["--provider", "ldap"]].concat());
    assert_eq!(run.ends(0).stdout, "");
    home.write("policies/puppet.policy", "allow *\n");
    home.aaa(&lint).ends(64).without_data();
}

#[test]
fn lint_finds_what_is_wrong_in_rego() {
    let home = Home::new();
    let head = "package io.choria.aaasvc\nimport rego.v1\ndefault allow := false\n";
    let write = |name: &str, lines: &str| {
        home.write(
            &format!("rego/{name}.rego"),
            &format!("\u{feff}{head}{lines}\n"),
        );
    };
    write("good", "allow if input.agent == \"puppet\"");
    let lint = ["policy", "lint", "--rego", "rego"];
    assert_eq!(home.aaa(&lint).ends(0).stdout, "");
    write("a", "allow if {\n\tx := input.agent\n}");
    write("b", "allow if starts_with(input.agent, \"x\")");
    write("c", "allow if y == input.agent");
    write("d", "allow if not input.agents[y]");
    write("e", "allow if {");
    let run = home.aaa(&lint).ends(1);
    for says in [
        "rego/a.rego:5:2: unused: the variable `x` is never used\n   x := input.agent\n   ^\n",
        "rego/b.rego:4:10: unusable: there is no function `starts_with` for policies\n  allow if starts_with(input.agent, \"x\")\n           ^\n",
        "rego/c.rego:4:10: unusable: use of undefined variable `y` is unsafe\n  allow if y == input.agent\n           ^\n",
        "rego/d.rego:4:27: unusable: `y` gets no value",
        "rego/e.rego:5:1: unusable: ",
    ] {
        assert!(run.stdout.contains(says), "{says}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("good.rego"));
    // One file, whatever it is called, beside rules of the other kind.
    home.write("one.policy", "allow\t*\t*\t*\t*\n");
    home.write("policy.txt", &format!("{head}allow if x\n"));
    let both = ["--rego", "policy.txt", "--policies", "one.policy", "--json"];
    let found = home.aaa(&[&lint[..2], &both].concat()).ends(1).json();
    assert_eq!(found[0]["kind"], "allow-all");
    assert_eq!(found[1]["rule"], "policy.txt:4");
    assert_eq!(
        (&found[1]["line"], &found[1]["column"]),
        (&4.into(), &10.into())
    );
    for (rego, says) in [("none.rego", "none.rego"), (".", "holds no .rego file")] {
        let run = home.aaa(&[&lint[..3], &[rego]].concat());
        run.ends(64).without_data().says(says);
    }
    home.aaa(&lint[..2]).ends(64).says("--rego");
}

#[test]
fn lint_looks_into_bundles() {
    let home = Home::new();
    let bundle = |files: &[(&str, &str)]| {
        fs::write(home.path("rego.tar.gz"), archive(files).unwrap()).unwrap();
    };
    bundle(&[(
        "/rules/a.rego",
        "package io.choria.aaasvc\nallow if { x := input.agent }\n",
    )]);
    let lint = ["policy", "lint", "--rego", "rego.tar.gz"];
    let run = home.aaa(&lint).ends(1);
    let says = "rego.tar.gz: rules/a.rego:2:12: unused: the variable `x` is never used\n";
    assert!(run.stdout.starts_with(says), "{}", run.stdout);
    bundle(&[("data.json", "{"), (".manifest", "[]")]);
    let run = home.aaa(&lint).ends(64).without_data();
    run.says("rego.tar.gz: data.json:1:")
        .says("rego.tar.gz: .manifest: must hold an object");
}

#[test]
fn export_writes_the_other_form_and_over_nothing() {
    let home = Home::new();
    home.write(
        "all.yaml",
        "mcollective_agent_puppet::policies:\n- {action: allow, callers: up=bob, actions: status}\nmcollective::policy_default: deny\n",
    );
    let there = ["policy", "export", "--hiera", "all.yaml", "--to", "out"];
    home.aaa(&there).ends(0);
    let puppet = home.read("out/puppet.policy");
    assert_eq!(puppet, "policy default deny\nallow\tup=bob\tstatus\t*\t*\n");
    assert_eq!(home.read("out/default.policy"), "policy default deny\n");
    home.aaa(&there).ends(64).says("exists already");
    let back = home.aaa(&["policy", "export", "--policies", "out"]).ends(0);
    home.write("again.yaml", &back.stdout);
    home.aaa(&["policy", "export", "--hiera", "again.yaml", "--to", "again"])
        .ends(0);
    assert_eq!(home.read("again/puppet.policy"), puppet);
}
