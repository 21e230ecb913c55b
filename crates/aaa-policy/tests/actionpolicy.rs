//! Action Policy: as nodes decide, and what a signer can be sure of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use aaa_core::decision::Decision;
use aaa_core::filter::{FactFilter, Filter};
use aaa_policy::actionpolicy::{
    ActionPolicy, Asked, ClassTest, FactTest, Node, Operator, Options, Sources, Verdict, facts_file,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const ASKED: Asked<'static> = Asked {
    caller: "up=bob",
    agent: "puppet",
    action: "status",
};

fn load(policy: &str) -> Result<ActionPolicy, String> {
    load_with(policy, "", &Options::default())
}

fn load_with(policy: &str, groups: &str, options: &Options) -> Result<ActionPolicy, String> {
    let mut sources = Sources::default();
    sources.policy("puppet.policy", policy.as_bytes());
    sources.groups("groups", groups.as_bytes());
    built(sources, options)
}

fn load_hiera(files: &[&str]) -> Result<ActionPolicy, String> {
    let mut sources = Sources::default();
    for (index, text) in files.iter().enumerate() {
        sources.hiera(&format!("{index}.yaml"), text.as_bytes());
    }
    built(sources, &Options::default())
}

fn built(sources: Sources, options: &Options) -> Result<ActionPolicy, String> {
    sources.build(options).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

fn filter(facts: &[(&str, &str, &str)], classes: &[&str]) -> Filter {
    Filter {
        fact: facts
            .iter()
            .map(|(fact, operator, value)| FactFilter {
                fact: (*fact).to_owned(),
                operator: (*operator).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
        cf_class: classes.iter().map(|class| (*class).to_owned()).collect(),
        ..Filter::default()
    }
}

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
            "allow\t/(\\w{99}){99}/\t*\t*\t*",
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
    ] {
        let error = load(&format!("{line}\n")).unwrap_err();
        assert!(error.contains(says), "{line}: {error}");
    }
    let deep = format!("allow\t*\t*\t{}a=b\t*", "(".repeat(100_000));
    assert!(
        load(&deep)
            .unwrap_err()
            .contains("is nested deeper than 32")
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
    // A mark at the beginning and lines that end in CR LF are no matter.
    assert!(
        load("\u{feff}allow\t*\t*\t*\t*\r\n")
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
fn a_signer_says_which_filter_is_missing() {
    let policy = load("policy default deny\nallow\tup=bob\tstatus\tcountry=mt\tapache\n").unwrap();
    let decide = |filter: &Filter| policy.at_signer(ASKED, filter);
    let hint = |filter: &Filter| decide(filter).explanation().unwrap_or_default().to_owned();
    assert_eq!(
        hint(&Filter::default()),
        "needs a fact filter such as country=mt (puppet.policy:2)"
    );
    let fact = ("country", "==", "mt");
    assert_eq!(
        hint(&filter(&[fact], &[])),
        "needs a class filter such as apache (puppet.policy:2)"
    );
    assert_eq!(
        decide(&filter(&[fact], &["apache"])),
        Decision::allow("puppet.policy:2")
    );
    // What nodes do not understand, and what is only like it, is no filter.
    for other in [
        ("country", "=", "mt"),
        ("country", "!=", "mt"),
        ("Country", "==", "mt"),
        ("country", "=~", "mt"),
    ] {
        assert!(!decide(&filter(&[other], &["apache"])).is_allowed());
    }
    let stranger = Asked {
        caller: "up=ann",
        ..ASKED
    };
    assert_eq!(
        policy.at_signer(stranger, &Filter::default()),
        Decision::deny("default of puppet.policy")
    );
}

#[test]
fn a_deny_counts_unless_the_filter_leaves_its_nodes_out() {
    let policy = load("deny\t*\t*\tcpus>16\t*\nallow\t*\t*\t*\t*\n").unwrap();
    let allowed =
        |facts: &[(&str, &str, &str)]| policy.at_signer(ASKED, &filter(facts, &[])).is_allowed();
    assert!(allowed(&[("cpus", "<=", "16")]) && allowed(&[("cpus", "<", "15")]));
    assert!(!allowed(&[]) && !allowed(&[("cpus", "<=", "32")]) && !allowed(&[("cpus", ">", "16")]));
    // "9" is no greater than "16" as a number, but it is as a text.
    assert!(!allowed(&[("cpus", "<", "9")]));
    // A node whose fact is false meets both.
    let policy = load("deny\t*\t*\tproduction=false\t*\nallow\t*\t*\t*\t*\n").unwrap();
    let no = filter(&[("production", "==", "no")], &[]);
    assert!(!policy.at_signer(ASKED, &no).is_allowed());
    assert!(
        policy
            .at_signer(ASKED, &filter(&[("production", "==", "true")], &[]))
            .is_allowed()
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

fn whole(sources: Sources) -> ActionPolicy {
    let options = Options {
        default_policy: Some("default".to_owned()),
        ..Options::default()
    };
    sources.build(&options).unwrap()
}

fn from_files(files: &BTreeMap<String, String>) -> ActionPolicy {
    let mut sources = Sources::default();
    for (agent, text) in files {
        sources.policy(&format!("{agent}.policy"), text.as_bytes());
    }
    whole(sources)
}

fn from_hiera(text: &str) -> ActionPolicy {
    let mut sources = Sources::default();
    sources.hiera("all.yaml", text.as_bytes());
    whole(sources)
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

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "mt", "de", "true", "false", "no", "1", "2", "9", "10", "16", "1.5", "2.0",
    ])
    .prop_map(str::to_owned)
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["==", "!=", "=~", "<", "<=", ">", ">="])
}

fn fact_test() -> impl Strategy<Value = (String, &'static str, String)> {
    ("[ab]", operator(), value())
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => fact_test().prop_map(|(f, o, v)| format!("{f}{o}{v}")),
        1 => prop::sample::select(vec!["apache", "Apache", "/apa/"]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| format!("not ({e})")),
            prop::collection::vec(inner.clone(), 2..4)
                .prop_map(|e| format!("({})", e.join(" and "))),
            prop::collection::vec(inner, 2..4).prop_map(|e| format!("({})", e.join(" or "))),
        ]
    })
}

fn fact_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        value().prop_map(Value::from),
        Just(json!(true)),
        Just(json!(false)),
        (-1_i64..20).prop_map(Value::from),
        prop::sample::select(vec![1.5, 2.0, 9.5, 16.25]).prop_map(Value::from),
        Just(Value::Null),
        Just(json!([])),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let facts = prop::collection::btree_map("[ab]", fact_value(), 0..3);
    let classes = prop::collection::btree_set("apache|Apache|nginx", 0..3);
    (facts, classes).prop_map(|(facts, classes)| Node {
        facts: json!(facts),
        classes: classes.into_iter().collect::<BTreeSet<_>>(),
    })
}

fn operator_of(text: &str) -> Operator {
    [
        Operator::Equal,
        Operator::NotEqual,
        Operator::Matches,
        Operator::Less,
        Operator::AtMost,
        Operator::More,
        Operator::AtLeast,
    ]
    .into_iter()
    .find(|operator| operator.as_str() == text)
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_a_signer_allows_every_node_allows_that_the_filter_selects(
        rules in prop::collection::vec((any::<bool>(), expression()), 1..5),
        default in any::<bool>(),
        facts in prop::collection::vec(fact_test(), 0..4),
        classes in prop::collection::vec("apache|Apache|/apa/", 0..2),
        compound in any::<bool>(),
        nodes in prop::collection::vec(node(), 40),
    ) {
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        let mut text = format!("policy default {}\n", word(default));
        for (allow, expression) in &rules {
            writeln!(text, "{}\t*\t*\t({expression})", word(*allow)).unwrap();
        }
        let policy = load(&text).unwrap();
        let mut filter = Filter { cf_class: classes.clone(), ..Filter::default() };
        for (fact, operator, value) in &facts {
            filter.fact.push(FactFilter { fact: fact.clone(), operator: (*operator).to_owned(), value: value.clone() });
        }
        if compound {
            // Selects fewer nodes, or none; what is certain of all others is certain of these.
            filter.compound = vec![vec![]];
        }
        let selected = nodes.iter().filter(|node| {
            facts.iter().all(|(f, o, v)| FactTest::new(f, operator_of(o), v).unwrap().holds(node))
                && classes.iter().all(|class| ClassTest::new(class).unwrap().holds(node))
        });
        if policy.at_signer(ASKED, &filter).is_allowed() {
            for node in selected {
                prop_assert!(policy.at_node(ASKED, node).is_allowed(), "{text}\n{filter:?}\n{node:?}");
            }
        }
    }

    #[test]
    fn hiera_becomes_files_and_files_become_hiera_without_loss(
        own in prop::collection::vec((any::<bool>(), expression()), 0..4),
        site in prop::collection::vec((any::<bool>(), expression()), 0..3),
        default in any::<bool>(),
    ) {
        let list = |rules: &[(bool, String)]| {
            let rules: Vec<Value> = rules
                .iter()
                .map(|(allow, nodes)| json!({"action": if *allow { "allow" } else { "deny" }, "callers": "up=a, /^b{1,2}$/", "facts": format!("({nodes})")}))
                .collect();
            json!(rules)
        };
        let text = json!({
            "mcollective::policies": list(&site),
            "mcollective::policy_default": if default { "allow" } else { "deny" },
            "mcollective_agent_puppet::policies": list(&own),
        });
        let read = from_hiera(&text.to_string());
        let files = read.policy_files();
        let again = from_files(&files);
        prop_assert_eq!(&again.policy_files(), &files);
        let hiera = again.hiera().unwrap();
        prop_assert_eq!(&hiera, &read.hiera().unwrap());
        prop_assert_eq!(from_hiera(&hiera).policy_files(), files);
    }

    #[test]
    fn any_file_is_read_or_refused(text in "(allow|deny|policy default|\t|\\*|and|or|not|\\(|\\)|!|a=b|/|,| |\n|\\PC){0,40}") {
        let _ = load(&text);
        let _ = load_hiera(&[&text]);
        let _ = load_with("", &text, &Options { default: Verdict::Allow, ..Options::default() });
    }
}
