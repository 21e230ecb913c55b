//! Action Policy: how rules are read, and what nodes decide by them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

#[path = "common/rules.rs"]
mod rules;

use std::collections::BTreeMap;

use aaa_core::decision::Decision;
use aaa_policy::actionpolicy::{Asked, Node, Options, Sources, facts_file};
use rules::{ASKED, built, from_files, from_hiera, load, load_hiera, load_with};
use serde_json::{Value, json};

#[test]
fn nodes_decide_as_the_vectors_say() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/actionpolicy.json"
    );
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(cases.len() >= 59);
    for case in cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let agent = text("agent");
        let file = if case["policy_is_the_default_file"] == true {
            "default.policy".to_owned()
        } else {
            format!("{agent}.policy")
        };
        let mut sources = Sources::default();
        if case["policy_file_missing"] != true {
            sources.policy(&file, text("policy").as_bytes());
        }
        sources.groups("groups", text("groups").as_bytes());
        let options = Options {
            allow_unconfigured: case["allow_unconfigured"] == true,
            default_policy: Some("default".to_owned()),
            ..Options::default()
        };
        let node = Node {
            facts: case["facts"].clone(),
            classes: serde_json::from_value(case["classes"].clone()).unwrap(),
        };
        let asked = Asked {
            caller: text("caller"),
            agent,
            action: text("action"),
        };
        let allowed = sources
            .build(&options)
            .is_ok_and(|policy| policy.at_node(asked, &node).is_allowed());
        assert_eq!(allowed, text("expect") == "allow", "{}", text("name"));
    }
}

#[test]
fn what_cannot_be_understood_is_shown_with_line_and_caret() {
    let error = load("policy default deny\nallow\t*\t*\tcountry\t*\n").unwrap_err();
    assert_eq!(
        error,
        "puppet.policy:2:11: is no fact such as country=mt; classes have a column of their own\n  allow * * country *\n            ^"
    );
    for (line, says) in [
        ("allow * * * *", ":1:6: columns are separated by tabs"),
        ("permit\t*\t*\t*\t*", ":1:1: begins no rule"),
        ("allow\t*\t*\t*", ":1:12: the column for classes is missing"),
        ("allow\t*\t*", ":1:10: a column is missing"),
        ("allow\t*\t*\t*\t*\t*", ":1:15: is one column too many"),
        ("policy default maybe", ":1:16: wants policy default allow"),
        (
            "allow\t/bob\t*\t*\t*",
            ":1:7: a pattern stands between two slashes",
        ),
        (
            "allow\t/[/\t*\t*\t*",
            ":1:7: is no pattern: unclosed character class",
        ),
        (
            "allow\t/(\\pL{30}){30}/\t*\t*\t*",
            ":1:7: the pattern is too large",
        ),
        ("allow\t*\tstat*\t*\t*", ":1:9: an action is named in full"),
        (
            "allow\ta=b,c=d\t*\t*\t*",
            ":1:7: items are separated by spaces",
        ),
        ("allow\t*\t*\t(a=b\t*", ":1:11: is never closed"),
        ("allow\t*\t*\ta=b)\t*", ":1:14: closes nothing"),
        (
            "allow\t*\t*\ta=b or\t*",
            ":1:17: ends where a fact or a class is wanted",
        ),
        (
            "allow\t*\t*\ta=b or c=d e=f\t*",
            ":1:22: and or or is missing",
        ),
        ("allow\t*\t*\t*\tcountry=mt", ":1:13: is a fact"),
        ("allow\t*\t*\t* a=b\t*", ":1:11: * stands alone"),
        ("allow\t*\t*\t*\t/a=b/", ":1:13: looks like a fact"),
        ("allow\t*\t*\tcount*=b\t*", ":1:11: is no fact"),
        ("allow\t*\t*\ta|@this=b\t*", ":1:11: is no fact"),
        ("allow\t*\t*\ta..b=b\t*", ":1:11: is no fact"),
        ("allow\t*\t*\ta>0x1.8p1\t*", ":1:11: compares with a number"),
    ] {
        let error = load(&format!("{line}\n")).unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
    let deep = format!("allow\t*\t*\t{}a=b\t*", "(".repeat(10_000));
    assert!(
        load(&deep)
            .unwrap_err()
            .contains("is nested deeper than 32")
    );
}

/// Each of these lines is one that nodes skip, refuse, or read otherwise.
#[test]
fn lines_that_nodes_do_not_take_are_errors() {
    for (line, says) in [
        ("  allow\t*\t*\t*\t*", ":1:1: begins with white space"),
        ("\tallow\t*\t*\t*\t*", ":1:1: begins with white space"),
        ("  policy default allow", ":1:1: begins with white space"),
        ("\u{feff}allow\t*\t*\t*\t*", ":1:1: a byte order mark"),
        (
            "\u{a0}allow\t*\t*\t*\t*",
            ":1:1: is neither a space nor a tab",
        ),
        (
            "policy\u{a0}default allow",
            ":1:7: is neither a space nor a tab",
        ),
        (
            "allow\tup=a\u{2003}up=bob\t*\t*\t*",
            ":1:11: is neither a space nor a tab",
        ),
        (
            "allow\t*\t*\t*\t*\u{b}",
            ":1:14: is neither a space nor a tab",
        ),
        (
            "allow\t*\t*\t*\t*\r\r\n",
            ":1:14: is neither a space nor a tab",
        ),
        ("allow \t*\t*\t*\t*", ":1:6: columns are separated by tabs"),
        ("allow\t* \t*\t*\t*", ":1:8: ends with a space"),
        ("allow\t*\t* \t*\t*", ":1:10: ends with a space"),
        ("allow\t*\t*\t* \t*", ":1:12: ends with a space"),
        ("allow\t*\t*\tcountry=mt \t*", ":1:21: ends with a space"),
        (
            "allow\t*\t*\tcountry=mt  x=y\t*",
            ":1:22: is a second space",
        ),
        ("allow\t*\t*\t*\t* ", ":1:14: ends with a space"),
        ("allow\t*\t*\t*\tapache ", ":1:19: ends with a space"),
        ("allow\t*\t*\t*\t apache", ":1:13: begins with a space"),
        ("allow\t*\t*\t*\t*\t", ":1:14: ends with a tab"),
    ] {
        let error = load(&format!("# one\n{line}\n")).unwrap_err();
        let says = says.replacen(":1:", ":2:", 1);
        assert!(error.contains(&says), "{line:?}: {error}");
        assert!(error.ends_with('^'), "{line:?}: {error}");
    }
    let long = format!("allow\t*\t{}\t*\t*", "a".repeat(65_000));
    assert!(load(&long).unwrap_err().contains("longer than nodes read"));
    // As much as nodes take: any number of tabs, spaces in the default's line, comments and empty lines.
    let good = "\n  \n# c\n  # c\npolicy \t default  deny \nallow\t\t*\t*\t\t\t*\t*\n";
    assert!(
        load(good)
            .unwrap()
            .at_node(ASKED, &Node::default())
            .is_allowed()
    );
}

#[test]
fn files_that_are_no_text_or_too_large_are_refused() {
    let mut sources = Sources::default();
    sources.policy("a.policy", b"policy default deny\nallow\xff");
    sources.policy("b.policy", &vec![b'#'; 1024 * 1024 + 1]);
    sources.hiera("c.yaml", b"\xc3\x28");
    let error = built(sources, &Options::default()).unwrap_err();
    for says in [
        "a.policy:2:6: is no text",
        "b.policy: is larger than 1048576 bytes",
        "c.yaml:1:1: is no text",
    ] {
        assert!(error.contains(says), "{error}");
    }
    // Lines that end in CR LF are no matter.
    assert!(
        load("allow\t*\t*\t*\t*\r\n")
            .unwrap()
            .at_node(ASKED, &Node::default())
            .is_allowed()
    );
}

#[test]
fn groups_hold_callers_and_nothing_else() {
    for (groups, says) in [
        ("ops up=bob\nall ops\n", "groups:2:5: is a group"),
        ("a b\nb a\n", "groups:1:3: is a group"),
        ("ops\n", "groups:1:1: has no members"),
        ("ops /bob/\n", "groups:1:5: is no caller id"),
        ("ops up=a\nops up=b\n", "groups:2:1: is there already"),
        ("a/b up=a\n", "groups:1:1: is no name for a group"),
        ("öps up=a\n", "groups:1:1: is no name for a group"),
        ("ops\tup=bob\n", "groups:1:4: is a tab"),
        (" ops up=bob\n", "groups:1:1: begins with white space"),
        ("\u{feff}ops up=bob\n", "groups:1:1: a byte order mark"),
        ("ops up=a  up=b\n", "groups:1:10: is a second space"),
        ("ops up=a \n", "groups:1:9: ends with a space"),
        (
            "ops up=a\u{a0}up=b\n",
            "groups:1:9: is neither a space nor a tab",
        ),
    ] {
        let error = load_with("", groups, &Options::default()).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn an_agents_own_rules_stand_before_the_sites() {
    let policy = load_hiera(&[
        "mcollective::policies:\n  - {action: deny, callers: up=bob, actions: 'disable, enable', facts: '*', classes: '*'}\n\
         mcollective::policy_default: deny\nother::key: {a: [1, 2]}\n",
        "mcollective_agent_puppet::policies:\n- action: allow\n  callers: [up=bob, '/^okta=[a-z]{1,9}$/']\n  actions: status enable\n",
    ])
    .unwrap();
    let decide = |caller, agent, action| {
        policy.at_node(
            Asked {
                caller,
                agent,
                action,
            },
            &Node::default(),
        )
    };
    assert_eq!(
        decide("up=bob", "puppet", "enable"),
        Decision::allow("1.yaml:2 mcollective_agent_puppet::policies")
    );
    assert_eq!(
        decide("up=bob", "puppet", "disable"),
        Decision::deny("0.yaml:2 mcollective::policies")
    );
    assert!(decide("okta=ann", "puppet", "status").is_allowed());
    assert!(!decide("okta=ann1", "puppet", "status").is_allowed());
    // An agent without rules of its own has the site's.
    assert_eq!(
        decide("up=ann", "package", "status"),
        Decision::deny("default of 0.yaml:1")
    );
}

#[test]
fn hiera_that_can_be_read_two_ways_is_refused() {
    for (files, says) in [
        (
            vec!["a: &x 1\nb: *x\n"],
            "0.yaml:1:4: anchors and aliases are not taken",
        ),
        (
            vec!["a: 1\nb: 2\na: 3\n"],
            "0.yaml:3:1: the key \"a\" stands twice",
        ),
        (vec!["a: [1\n"], "is no YAML"),
        (vec!["a: 1\n---\nb: 1\n"], "a second document begins"),
        (vec!["- a\n"], "0.yaml:1:1: a map of keys is wanted"),
        (
            vec!["mcollective::policies: []\n", "mcollective::policies: []\n"],
            "stands at 0.yaml:1 already",
        ),
        (
            vec!["mcollective::policies: allow\n"],
            "wants a list of rules",
        ),
        (
            vec!["mcollective::policies:\n- {action: allow}\n"],
            "0.yaml:2:1: a rule needs action",
        ),
        (
            vec!["mcollective::policies:\n- {action: permit, callers: a}\n"],
            "0.yaml:2:1: is neither allow nor deny",
        ),
        (
            vec!["mcollective::policies:\n- {action: deny, callers: a, fact: b=c}\n"],
            "\"fact\" is unknown",
        ),
        (
            vec!["mcollective::policies:\n- {action: deny, callers: a, facts: [a=b or c=d]}\n"],
            "an item of a list holds no spaces",
        ),
        (
            vec!["mcollective::policies:\n- {action: deny, callers: a, facts: '(a=b'}\n"],
            "is never closed\n  deny a * (a=b *\n           ^",
        ),
        (
            vec!["mcollective::policy_default: maybe\n"],
            "wants allow or deny",
        ),
    ] {
        let error = load_hiera(&files).map(|_| ()).unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
    let deep = format!("a: {}", "[".repeat(1000));
    assert!(load_hiera(&[&deep]).is_err());
    let both = {
        let mut sources = Sources::default();
        sources.policy("puppet.policy", b"");
        sources.hiera("a.yaml", b"mcollective_agent_puppet::policies: []");
        built(sources, &Options::default()).unwrap_err()
    };
    assert!(
        both.contains("agent puppet has rules in a.yaml:1 too"),
        "{both}"
    );
}

#[test]
fn facts_of_a_node_are_read_from_yaml_and_json() {
    let yaml = facts_file(
        "facts.yaml",
        b"a: 1\nb: {c: 'true', d: true, e: 1.5, f: ~}\ng: [x]\n",
    )
    .unwrap();
    assert_eq!(
        yaml,
        json!({"a": 1, "b": {"c": "true", "d": true, "e": 1.5, "f": null}, "g": ["x"]})
    );
    assert_eq!(
        facts_file("facts.json", br#"{"a": {"b": [1, "2"]}}"#).unwrap(),
        json!({"a": {"b": [1, "2"]}})
    );
}

#[test]
fn rules_are_written_as_they_were_read() {
    let puppet = "policy default deny\n\
        allow\t*\t*\t*\t*\n\
        deny\t/^okta=[a-z]{1,9}$/ ops\tdisable enable\tcountry=mt cpus>=4\tapache /^role::/\n\
        allow\tup=ann\t*\t*\tapache\n\
        allow\tup=ann\t*\tnot (a=b and (c!=d or apache)) or e=~/x{1,2}/\t*\n";
    let files = BTreeMap::from([("puppet".to_owned(), puppet.to_owned())]);
    let read = from_files(&files);
    assert_eq!(read.policy_files(), files);
    assert_eq!(from_hiera(&read.hiera().unwrap()).policy_files(), files);
}

#[test]
fn what_hiera_cannot_say_is_not_written() {
    let site = (
        "default".to_owned(),
        "policy default deny\nallow\tup=a\t*\t*\t*\n".to_owned(),
    );
    let alone = ("puppet".to_owned(), "policy default deny\n".to_owned());
    let error = from_files(&[site.clone(), alone].into())
        .hiera()
        .unwrap_err();
    assert!(error.contains("puppet does not end with"), "{error}");
    let open = ("puppet".to_owned(), "allow\tup=a\t*\t*\t*\n".to_owned());
    let error = from_files(&[site, open].into()).hiera().unwrap_err();
    assert!(error.contains("puppet has no default"), "{error}");
}
