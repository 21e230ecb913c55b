use aaa_service::config::{Document, Table};

use super::*;

static TABLE: &Table = &[
    ORGANIZATION,
    ACLS,
    OPA_POLICY,
    OPA_POLICY_FILE,
    PROPERTIES,
    BROKER_PERMISSIONS,
];
const POLICY: &str = "package io.choria.aaasvc\ndefault allow = false\n";

/// Reads these sections one by one.
fn read(sections: &[serde_json::Value]) -> Result<Grants, String> {
    let mut reader = Reader::default();
    let mut grants = Vec::new();
    let mut told = String::new();
    for section in sections {
        let text = serde_json::json!({"okta_authenticator": section}).to_string();
        let document = Document::parse("login.json", text.as_bytes()).unwrap();
        grants.push(reader.read(&document.section("okta_authenticator", TABLE).unwrap()));
        if let Err(problems) = document.finish() {
            told.push_str(&problems.to_string());
        }
    }
    if told.is_empty() {
        Ok(reader.finish(grants))
    } else {
        Err(told)
    }
}

#[test]
fn of_several_one_has_all_and_the_first_policy() {
    let other = format!("{POLICY}# other\n");
    let grants = read(&[
        serde_json::json!({"acls": ["a.*", "b.x"], "broker_permissions": {"streams_user": true, "governor": false}}),
        serde_json::json!({"acls": ["b.x", "c.*"], "opa_policy": POLICY, "properties": {"team": "web", "x": "1"}, "organization": "other"}),
        serde_json::json!({"opa_policy": other, "properties": {"team": "db", "y": "2"}, "broker_permissions": {"fleet_management": true}}),
    ])
    .unwrap();
    let rights = grants.union([2, 0, 1, 1]).unwrap();
    assert_eq!(rights.agents, ["a.*", "b.x", "c.*"]);
    assert_eq!(rights.organization, "choria");
    assert_eq!(rights.policy.as_deref(), Some(POLICY));
    let expected = [("team", "web"), ("x", "1"), ("y", "2")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(rights.properties, expected);
    let mut given = rights.permissions.unwrap().given();
    given.sort_unstable();
    assert_eq!(given, ["fleet_management", "streams_user"]);
    assert_eq!(grants.union([1]).unwrap().organization, "other");
    assert_eq!(grants.union([0]).unwrap().policy, None);
    assert!(grants.union([]).is_none());
    assert!(grants.union([7]).is_none());
}

#[test]
fn policy_files_are_followed_and_a_broken_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rego");
    std::fs::write(&path, POLICY).unwrap();
    let grants = read(&[serde_json::json!({"opa_policy_file": path})]).unwrap();
    let policy = || grants.union([0]).unwrap().policy.unwrap().to_string();
    assert_eq!(policy(), POLICY);
    let changed = format!("{POLICY}allow {{ input.agent == \"x\" }}\n");
    std::fs::write(&path, &changed).unwrap();
    grants.look_at_policies().unwrap();
    assert_eq!(policy(), changed);
    std::fs::write(&path, "package").unwrap();
    let problem = grants.look_at_policies().unwrap_err();
    assert!(problem.contains("a.rego: "), "{problem}");
    assert_eq!(policy(), changed);
    // Told once.
    grants.look_at_policies().unwrap();
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    let told = read(&[
        serde_json::json!({"opa_policy": "allow", "broker_permissions": {"fleet_managment": true, "governor": "yes"}}),
        serde_json::json!({"opa_policy_file": "/nonexistent/a.rego", "acls": "a.*"}),
    ])
    .err()
    .unwrap();
    for expected in [
        "okta_authenticator.opa_policy ",
        "broker_permissions.fleet_managment   unknown; did you mean fleet_management?",
        "broker_permissions.governor          wants true or false; this is a text",
        "opa_policy_file   /nonexistent/a.rego: no such file",
        "acls              wants a list of texts; this is a text",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn every_right_on_the_network_has_a_setting() {
    let keys: Vec<_> = PERMISSIONS.iter().map(|setting| setting.key).collect();
    assert_eq!(keys, ClientPermissions::NAMES);
}
