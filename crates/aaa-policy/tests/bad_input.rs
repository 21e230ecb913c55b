//! Files of Action Policy as people and tools leave them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

use std::collections::BTreeSet;

use aaa_policy::actionpolicy::{
    ActionPolicy, Asked, Node, Options, Sources, classes_file, facts_file,
};
use serde_json::json;

fn build(sources: Sources) -> Result<ActionPolicy, String> {
    sources.build(&Options::default()).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

fn asked(caller: &str) -> Asked<'_> {
    Asked {
        caller,
        agent: "puppet",
        action: "status",
    }
}

fn allows(policy: &ActionPolicy, caller: &str) -> bool {
    policy.at_node(asked(caller), &Node::default()).is_allowed()
}

#[test]
fn line_ends_marks_before_comments_and_tabs_between_columns_are_no_matter() {
    let mut sources = Sources::default();
    sources.policy(
        "puppet.policy",
        "\u{feff}# rules\r\n \r\npolicy  default\tdeny \r\nallow\t\tops up=ann\t\tstatus\t*\t*\r\n"
            .as_bytes(),
    );
    sources.groups("groups", b"\xef\xbb\xbf# people\r\n\r\nops up=bob\r\n");
    let policy = build(sources).unwrap();
    assert!(allows(&policy, "up=bob") && allows(&policy, "up=ann"));
    assert!(!allows(&policy, "up=bob\r") && !allows(&policy, "ops "));

    let mut sources = Sources::default();
    sources.hiera(
        "all.yaml",
        b"\xef\xbb\xbfmcollective::policies:\r\n- action: allow\r\n  callers: up=bob\r\n",
    );
    let policy = build(sources).unwrap();
    assert!(allows(&policy, "up=bob") && !allows(&policy, "up=bob\r"));
}

#[test]
fn tabs_and_spaces_are_not_taken_for_one_another() {
    for (line, says) in [
        (
            "allow up=bob\tstatus\t*\t*",
            "puppet.policy:1:6: columns are separated by tabs",
        ),
        (
            "allow\tup=bob status\t*\t*",
            "puppet.policy:1:24: the column for classes is missing",
        ),
        (
            "allow\tup=bob\tstatus\t*  *",
            "puppet.policy:1:23: is a second space",
        ),
        ("allow\tup=bob\tstatus\t* *\t*", "* stands alone"),
        (
            "allow\tup=bob\tstatus\u{a0}\t* *",
            "is neither a space nor a tab",
        ),
    ] {
        let mut sources = Sources::default();
        sources.policy("puppet.policy", line.as_bytes());
        let error = build(sources).unwrap_err();
        assert!(error.contains(says), "{line:?}: {error}");
    }
}

#[test]
fn files_without_anything_in_them_allow_nothing() {
    for empty in ["", "\n\n", "\u{feff}", "# nothing yet\n", "\r\n"] {
        let mut sources = Sources::default();
        sources.policy("puppet.policy", empty.as_bytes());
        sources.hiera("all.yaml", empty.as_bytes());
        sources.groups("groups", empty.as_bytes());
        let policy = build(sources).unwrap();
        assert!(!allows(&policy, "up=bob"), "{empty:?}");
    }
}

#[test]
fn patterns_that_explode_elsewhere_decide() {
    let mut sources = Sources::default();
    sources.policy(
        "puppet.policy",
        b"policy default deny\n\
          allow\t/^(a+)+$/\tstatus\t*\t*\n\
          allow\tup=bob\tstatus\tname=~/^(([a-z])+.)+[A-Z]([a-z])+$/\t*\n\
          allow\tup=bob\tstatus\t*\t/^(x|xx)+$/\n",
    );
    let policy = build(sources).unwrap();
    // One that tries every way would not come to an end.
    let long = format!("{}!", "a".repeat(1 << 16));
    assert!(!allows(&policy, &long));
    let node = Node {
        facts: json!({"name": long}),
        classes: [format!("{}!", "x".repeat(1 << 16))].into(),
    };
    assert!(!policy.at_node(asked("up=bob"), &node).is_allowed());
}

#[test]
fn patterns_that_grow_are_refused_where_they_stand() {
    for (column, says) in [
        (
            "/(\\pL{30}){30}/\tstatus\t*\t*",
            "puppet.policy:2:7: the pattern is too large",
        ),
        (
            "*\tstatus\tname=~/(\\pL{30}){30}/\t*",
            "puppet.policy:2:16: the pattern is too large",
        ),
        (
            "*\tstatus\t*\t/(\\pL{30}){30}/",
            "puppet.policy:2:18: the pattern is too large",
        ),
    ] {
        let mut sources = Sources::default();
        let text = format!("policy default allow\nallow\t{column}\n");
        sources.policy("puppet.policy", text.as_bytes());
        let error = build(sources).unwrap_err();
        assert!(error.contains(says), "{column}: {error}");
    }
}

#[test]
fn a_group_that_leads_to_itself_or_to_another_is_refused() {
    for (groups, says) in [
        (
            "ops ops\n",
            "groups:1:5: is a group, and a group holds caller ids only",
        ),
        ("a up=x b\nb up=y c\nc a\n", "groups:1:8: is a group"),
        ("all ops\nops up=bob\n", "groups:1:5: is a group"),
    ] {
        let mut sources = Sources::default();
        sources.groups("groups", groups.as_bytes());
        let error = build(sources).unwrap_err();
        assert!(error.contains(says), "{groups:?}: {error}");
    }
}

#[test]
fn facts_and_classes_are_read_in_one_way_or_not_at_all() {
    let facts = br#"{"a": "\ud83d\ude00 a\/b", "cpus": 4, "os": {"family": "RedHat"}}"#;
    assert_eq!(
        facts_file("f.json", facts).unwrap(),
        json!({"a": "\u{1f600} a/b", "cpus": 4, "os": {"family": "RedHat"}})
    );
    let says = |facts: &str| {
        facts_file("f.json", facts.as_bytes())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        says("{\n \"a\": 1, \"a\": 2}"),
        "f.json:2:16: is no JSON that can be taken: a member is there twice\n   \"a\": 1, \"a\": 2}\n                 ^"
    );
    assert_eq!(says("[1]"), "f.json: must hold an object");
    let classes = |file: &str, text: &str| {
        classes_file(file, text.as_bytes()).map_err(|problem| problem.to_string())
    };
    let both = BTreeSet::from(["apache".to_owned(), "role::web".to_owned()]);
    assert_eq!(
        classes("c.txt", "\u{feff}apache\r\n\n  role::web\n").as_ref(),
        Ok(&both)
    );
    assert_eq!(
        classes("c.json", "[\"apache\", \"role::web\"]").as_ref(),
        Ok(&both)
    );
    for (file, text, says) in [
        (
            "c.yaml",
            "---\n- apache\n",
            "c.yaml:2:1: is no name of a class",
        ),
        ("c.txt", "[\"apache\"]", "c.txt:1:1: is no name of a class"),
        ("c.txt", "apache,mysql", "c.txt:1:1: is no name of a class"),
        ("c.json", "{}", "c.json: must hold a list of texts"),
    ] {
        let error = classes(file, text).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn a_key_twice_and_an_anchor_are_refused_within_a_rule_too() {
    for (text, says) in [
        (
            "mcollective::policies:\n- action: deny\n  callers: up=bob\n  action: allow\n",
            "all.yaml:4:3: the key \"action\" stands twice in this map",
        ),
        (
            "mcollective::policies:\n- &rule {action: allow, callers: up=bob}\n- *rule\n",
            "anchors and aliases are not taken",
        ),
        (
            "mcollective::policies:\n- {action: allow, callers: up=bob, <<: {actions: status}}\n",
            "all.yaml:2:36: keys are not merged here",
        ),
    ] {
        let mut sources = Sources::default();
        sources.hiera("all.yaml", text.as_bytes());
        let error = build(sources).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}
