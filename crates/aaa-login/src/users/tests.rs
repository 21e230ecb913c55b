use std::path::{Path, PathBuf};

use aaa_core::claims::ClientPermissions;
use serde_json::{Value, json};

use super::read::Outcome;
use super::*;

/// bcrypt of `secret`, as cheap as bcrypt gets.
const HASH: &str = "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu";
const POLICY: &str =
    "package io.choria.aaasvc\ndefault allow = false\nallow { input.agent == \"puppet\" }\n";

fn from_file(text: &str) -> Outcome {
    let mut reader = Reader::default();
    reader.file(FileText(text));
    reader.finish()
}

fn from_both(inline: &Value, text: &str) -> Outcome {
    let mut reader = Reader::default();
    reader.inline(inline.as_array().unwrap());
    reader.file(FileText(text));
    reader.finish()
}

fn faults(outcome: Outcome) -> Vec<String> {
    match outcome.users {
        Ok(_) => panic!("nothing is wrong"),
        Err(faults) => faults.lines(Some(Path::new("users.json"))),
    }
}

/// What is wrong with a file with one user, on line 2.
fn wrong(user: &str) -> String {
    let lines = faults(from_file(&format!("[\n{user}\n]")));
    let text = lines.join("\n");
    text.replace("users.json:2: ", "")
}

fn user(more: &str) -> String {
    format!(r#"{{"username": "bob", "password": "{HASH}"{more}}}"#)
}

#[test]
fn everything_that_a_user_can_have_is_read() {
    let text = json!([{
        "username": "ünïcode@example.net", "password": HASH, "organization": "other", "acls": ["puppet.*", "*"],
        "opa_policy": POLICY, "properties": {"group": "admins"},
        "broker_permissions": {"fleet_management": true, "streams_user": false}
    }, {
        "Username": "jill", "PASSWORD": HASH, "acls": null, "opa_policy_file": "", "broker_permissions": {}
    }, {
        "username": "none", "password": HASH
    }]);
    let outcome = from_file(&text.to_string());
    assert!(outcome.warnings.is_empty());
    let users = outcome.users.unwrap_or_else(|faults| panic!("{faults:?}"));
    assert_eq!(users.len(), 3);
    let rights = &users.get("ünïcode@example.net").unwrap().rights;
    assert_eq!(rights.organization, "other");
    assert_eq!(rights.agents, ["puppet.*", "*"]);
    assert_eq!(rights.policy.as_deref(), Some(POLICY));
    assert_eq!(
        rights.properties,
        [("group".to_owned(), "admins".to_owned())]
    );
    let given = ClientPermissions {
        fleet_management: true,
        ..ClientPermissions::default()
    };
    assert_eq!(rights.permissions, Some(given));
    let jill = &users.get("jill").unwrap().rights;
    assert_eq!(jill.permissions, Some(ClientPermissions::default()));
    assert_eq!(users.get("none").unwrap().rights.permissions, None);
    assert!(users.get("Jill").is_none());
}

#[test]
fn what_is_wrong_names_the_user_the_key_and_what_is_wanted() {
    for (more, expected) in [
        (
            r#", "pasword": "x""#,
            "pasword: unknown; did you mean password?",
        ),
        (
            r#", "opa-policy": "x""#,
            "opa-policy: unknown; did you mean opa_policy?",
        ),
        (
            r#", "flavour": 1"#,
            "flavour: unknown; known are username, password, organization, acls, opa_policy, opa_policy_file, properties, broker_permissions",
        ),
        (
            r#", "acls": "puppet.*""#,
            "acls: wants a list of texts; this is a text",
        ),
        (
            r#", "acls": ["*", 5]"#,
            "acls: wants a list of texts; one item wants a text; this is a number",
        ),
        (
            r#", "organization": 5"#,
            "organization: wants a text; this is a number",
        ),
        (
            r#", "properties": ["x"]"#,
            "properties: wants an object {…}; this is a list",
        ),
        (
            r#", "properties": {"n": 1}"#,
            r#"properties: "n" wants a text; this is a number"#,
        ),
        (
            r#", "broker_permissions": true"#,
            "broker_permissions: wants an object {…}; this is true or false",
        ),
        (
            r#", "broker_permissions": {"fleet_managment": true}"#,
            "broker_permissions.fleet_managment: unknown; did you mean fleet_management?",
        ),
        (
            r#", "broker_permissions": {"fleet_managment": false}"#,
            "broker_permissions.fleet_managment: unknown; did you mean fleet_management?",
        ),
        (
            r#", "broker_permissions": {"governor": "yes"}"#,
            "broker_permissions.governor: wants true or false; this is a text",
        ),
        (
            r#", "properties": {"a": "1", "b": "2", "a": "3"}"#,
            "properties: \"a\" is there twice",
        ),
        (
            r#", "broker_permissions": {"governor": true, "governor": false}"#,
            "broker_permissions: \"governor\" is there twice",
        ),
        (r#", "Username": "bobby""#, "username: is there twice"),
        (
            r#", "opa_policy_file": "/nonexistent.rego""#,
            "opa_policy_file: /nonexistent.rego: no such file",
        ),
    ] {
        assert_eq!(wrong(&user(more)), format!("user \"bob\": {expected}"));
    }
}

#[test]
fn names_and_passwords_must_be_there_and_be_sane() {
    for (text, expected) in [
        (json!({"password": HASH}), "username: required"),
        (
            json!({"username": "", "password": HASH}),
            "username: is empty",
        ),
        (
            json!({"username": 5, "password": HASH}),
            "username: wants a text; this is a number",
        ),
        (
            json!({"username": "a\nb", "password": HASH}),
            "username: holds a control character",
        ),
        (
            json!({"username": "a\u{9b}b", "password": HASH}),
            "username: holds a control character",
        ),
        (
            json!({"username": "x".repeat(257), "password": HASH}),
            "username: is longer than 256 bytes",
        ),
        (
            json!({"username": "bob"}),
            "user \"bob\": password: required: a hash made with aaa crypt",
        ),
        (
            json!({"username": "bob", "password": null}),
            "user \"bob\": password: is null: a hash made with aaa crypt",
        ),
    ] {
        assert_eq!(wrong(&text.to_string()), expected);
    }
    for secret in ["hunter2", "$2a$04$hunter2", "$6$hunter2"] {
        let told = wrong(&json!({"username": "bob", "password": secret}).to_string());
        assert!(told.starts_with("user \"bob\": password: is "), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let told = wrong(r#"{"username": "bob", "password": 12345678}"#);
    assert_eq!(
        told,
        "user \"bob\": password: wants a text; this is a number"
    );
}

#[test]
fn everything_wrong_is_told_at_once_with_its_line() {
    let text = format!(
        "\u{feff}\n[\n  {{\"username\": \"a\", \"password\": \"plain\", \"acl\": []}},\n  {{\n    \"username\": \"b\"\n  }},\n  5,\n  {}\n]\n",
        user("")
    );
    assert_eq!(
        faults(from_file(&text)),
        [
            "users.json:3: user \"a\": password: is not a password hash; wants bcrypt ($2a$, $2b$, $2y$) or Argon2id ($argon2id$): make one with aaa crypt",
            "users.json:3: user \"a\": acl: unknown; did you mean acls?",
            "users.json:4: user \"b\": password: required: a hash made with aaa crypt",
            "users.json:7: a user is an object {…}; this is a number",
        ]
    );
    let many: Vec<Value> = (0..50).map(|_| json!({})).collect();
    let lines = faults(from_file(&json!(many).to_string()));
    assert_eq!(lines.len(), 21);
    assert_eq!(lines[20], "and 80 more");
}

#[test]
fn what_is_no_list_of_users_is_refused() {
    for (text, expected) in [
        (
            "",
            "users.json: is empty; wants a list of users [{…}]; for nobody, []",
        ),
        (
            " \n",
            "users.json: is empty; wants a list of users [{…}]; for nobody, []",
        ),
        ("{}", "users.json: wants a list of users [{…}]"),
        ("\"secret\"", "users.json: wants a list of users [{…}]"),
        ("[\n{", "users.json:2: ends before the list is complete"),
        (
            "[\n{}\nx]",
            "users.json:3: is no JSON: expected `,` or `]` (column 1)",
        ),
        (
            "[] []",
            "users.json:1: is no JSON: trailing characters (column 4)",
        ),
    ] {
        assert_eq!(faults(from_file(text)), [expected], "{text}");
    }
    let deep = format!("[{}", "[".repeat(100_000));
    assert_eq!(faults(from_file(&deep)).len(), 1);
    assert_eq!(from_file("[]").users.map(|users| users.len()).ok(), Some(0));
}

#[test]
fn a_name_is_one_users_wherever_it_stands() {
    let twice = format!("[{},\n{}]", user(""), user(""));
    assert_eq!(
        faults(from_file(&twice)),
        ["users.json:2: user \"bob\": username: a user of this name is there already (line 1)"]
    );
    let inline =
        json!([{"username": "bob", "password": HASH}, {"username": "eve", "password": HASH}]);
    assert_eq!(
        faults(from_both(&inline, &format!("[{}]", user("")))),
        ["users.json:1: user \"bob\": username: a user of this name is there already (users[0])"]
    );
    let merged = from_both(
        &inline,
        &json!([{"username": "Bob", "password": HASH}]).to_string(),
    );
    assert_eq!(merged.users.map(|users| users.len()).ok(), Some(3));
}

#[test]
fn callers_that_the_network_cannot_tell_apart_are_worth_a_word() {
    let users = json!([
        {"username": "a.b", "password": HASH}, {"username": "a_b", "password": HASH}, {"username": "c@d", "password": HASH}
    ]);
    let outcome = from_file(&users.to_string());
    assert!(outcome.users.is_ok());
    assert_eq!(
        outcome.warnings.lines(None),
        ["user \"a.b\": the network takes \"a_b\" for the same caller: @ and . become _"]
    );
}

#[test]
fn what_cannot_be_meant_is_worth_a_word() {
    let text = format!(
        "[{}]",
        user(&format!(
            r#", "acls": ["puppet"], "opa_policy": {}, "opa_policy_file": "/nonexistent""#,
            json!(POLICY)
        ))
    );
    let outcome = from_file(&text);
    assert!(outcome.users.is_ok());
    assert_eq!(
        outcome.warnings.lines(Some(Path::new("users.json"))),
        [
            "users.json:1: user \"bob\": opa_policy_file: not used: opa_policy is set too",
            "users.json:1: user \"bob\": acls: \"puppet\" is neither *, agent.* nor agent.action; the signer will refuse everything",
        ]
    );
}

#[test]
fn cheap_hashes_are_counted() {
    let list: Vec<Value> = (0..5)
        .map(|n| {
            let hash = if n == 0 {
                HASH.replace("$04$", "$12$")
            } else {
                HASH.to_owned()
            };
            json!({"username": format!("u{n}"), "password": hash})
        })
        .collect();
    let users = from_file(&json!(list).to_string()).users.ok().unwrap();
    assert_eq!(
        users.weakness().unwrap(),
        "4 of 5 passwords are hashed too cheaply (bcrypt cost 4: 4); hash them again with aaa crypt"
    );
    assert_eq!(from_file("[]").users.ok().unwrap().weakness(), None);
}

#[test]
fn policies_are_compiled_when_they_are_read() {
    let broken = "package io.choria.aaasvc\n\nallow {\n  input.agent ==\n}\n";
    let told = wrong(&user(&format!(r#", "opa_policy": {}"#, json!(broken))));
    assert!(
        told.starts_with("user \"bob\": opa_policy: line 3: "),
        "{told}"
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("policy.rego");
    let with_file = user(&format!(r#", "opa_policy_file": {}"#, json!(path)));
    std::fs::write(&path, broken).unwrap();
    let told = wrong(&with_file);
    assert!(
        told.contains(&format!("opa_policy_file: {}: ", path.display())),
        "{told}"
    );
    std::fs::write(&path, " \n").unwrap();
    assert!(wrong(&with_file).ends_with("is empty; wants a policy in Rego"));
    std::fs::write(&path, b"\xff").unwrap();
    assert!(wrong(&with_file).ends_with("is not UTF-8"));
    let longest = aaa_policy::rego::LONGEST_POLICY;
    let long = format!("{POLICY}#{}", " ".repeat(longest - POLICY.len()));
    std::fs::write(&path, &long).unwrap();
    assert!(wrong(&with_file).ends_with("is larger than 65536 bytes"));
    let inline = |text: &str| user(&format!(r#", "opa_policy": {}"#, json!(text)));
    let told = wrong(&inline(&long));
    assert!(told.contains("the limit is 65536"), "{told}");
    assert!(
        from_file(&format!("[{}]", inline(&long[..longest])))
            .users
            .is_ok()
    );
    let says = format!("at most {} KiB", longest >> 10);
    assert!(crate::grants::OPA_POLICY.doc.contains(&says));
    std::fs::write(&path, POLICY).unwrap();
    let users = from_file(&format!("[{with_file}]")).users.ok().unwrap();
    assert_eq!(
        users.get("bob").unwrap().rights.policy.as_deref(),
        Some(POLICY)
    );
    assert_eq!(
        users.policy_files().keys().collect::<Vec<&PathBuf>>(),
        [&path]
    );
}

#[test]
fn users_share_what_is_the_same() {
    let list = json!([
        {"username": "a", "password": HASH, "opa_policy": POLICY}, {"username": "b", "password": HASH, "opa_policy": POLICY}
    ]);
    let users = from_file(&list.to_string()).users.ok().unwrap();
    let policy = |name| users.get(name).unwrap().rights.policy.clone().unwrap();
    assert!(Arc::ptr_eq(&policy("a"), &policy("b")));
}

#[test]
fn a_hundred_thousand_users_are_read() {
    let list: Vec<Value> = (0..100_000)
        .map(|n| json!({"username": format!("user{n}"), "password": HASH, "acls": ["puppet.*"], "opa_policy": POLICY}))
        .collect();
    let users = from_file(&json!(list).to_string()).users.ok().unwrap();
    assert_eq!(users.len(), 100_000);
    assert_eq!(users.get("user99999").unwrap().rights.agents, ["puppet.*"]);
}

#[test]
fn names_that_nobody_has_cost_what_those_of_users_cost() {
    let cost = |n: usize| if n < 90 { "$05$" } else { "$06$" };
    let list: Vec<Value> = (0..100)
        .map(|n| json!({"username": format!("u{n}"), "password": HASH.replace("$04$", cost(n))}))
        .collect();
    let users = from_file(&json!(list).to_string()).users.ok().unwrap();
    let seed = RandomState::new();
    let kind = |name: &str| users.hash_for(name, &seed).kind();
    assert_eq!(kind("u0"), Kind::Bcrypt { cost: 5 });
    assert_eq!(kind("u99"), Kind::Bcrypt { cost: 6 });
    let unknown: Vec<Kind> = (0..10_000).map(|n| kind(&format!("x{n}"))).collect();
    let dear = unknown
        .iter()
        .filter(|kind| **kind == Kind::Bcrypt { cost: 6 })
        .count();
    assert!((500..1_500).contains(&dear), "{dear}");
    assert_eq!(unknown[17], kind("x17"));
    // No users, and still nobody can tell.
    let nobody = from_file("[]").users.ok().unwrap();
    assert_eq!(nobody.hash_for("x", &seed).kind(), Kind::DEFAULT);
}
