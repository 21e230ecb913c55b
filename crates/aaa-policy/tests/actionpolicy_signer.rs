//! Action Policy: what a signer can be sure of.

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

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aaa_core::decision::Decision;
use aaa_core::filter::{FactFilter, Filter};
use aaa_policy::actionpolicy::{Asked, ClassTest, FactTest, Node, Operator, Options, Verdict};
use proptest::prelude::*;
use rules::{ASKED, filter, from_files, from_hiera, load, load_hiera, load_with};
use serde_json::{Value, json};

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
        ("country", "==", "mtt"),
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
fn nodes_compare_without_regard_to_case() {
    let node = Node {
        facts: json!({"country": "mt", "os": {"family": "RedHat"}, "on": true, "big": 1_152_921_504_606_846_976_i64}),
        classes: ["apache", "Role::Web"].map(str::to_owned).into(),
    };
    let holds = |facts: &str, classes: &str| {
        let policy = load(&format!("allow\t*\t*\t{facts}\t{classes}\n")).unwrap();
        policy.at_node(ASKED, &node).is_allowed()
    };
    for (facts, classes) in [
        ("country=MT", "*"),
        ("country=~^M", "*"),
        ("country=/^MT$/", "*"),
        ("os.family=redhat", "*"),
        ("country>=MT", "*"),
        ("country<=MT", "*"),
        ("on=TRUE", "*"),
        ("big=1152921504606847000", "*"),
        ("*", "APACHE"),
        ("*", "/^APACHE$/"),
        ("*", "/role::web/"),
    ] {
        assert!(holds(facts, classes), "{facts} {classes}");
    }
    for (facts, classes) in [
        ("country!=MT", "*"),
        ("country>MT", "*"),
        ("on=tRUE", "*"),
        // Nodes put the name into small letters, and not their own class.
        ("*", "role::web"),
        ("*", "Role::Web"),
    ] {
        assert!(!holds(facts, classes), "{facts} {classes}");
    }
}

#[test]
fn a_filter_is_weighed_without_regard_to_case() {
    let decide = |policy: &str, facts: &[(&str, &str, &str)], classes: &[&str]| {
        let policy = load(policy).unwrap();
        policy
            .at_signer(ASKED, &filter(facts, classes))
            .is_allowed()
    };
    // A node with country mt is selected, and refuses.
    let deny = "policy default allow\ndeny\t*\t*\tcountry=mt\t*\n";
    let facts = [("country", "==", "MT"), ("country", ">=", "A")];
    assert!(!decide(deny, &facts, &[]));
    assert!(decide(
        deny,
        &[("country", "==", "DE"), ("country", ">=", "A")],
        &[]
    ));
    let allow = "allow\t*\t*\tcountry=mt\tapache\n";
    assert!(decide(allow, &facts, &["Apache"]));
    let spelled = "allow\t*\t*\ton=TRUE\t*\n";
    assert!(decide(spelled, &[("on", "==", "true")], &[]));
    // On a node whose fact is true the one holds and the other does not.
    assert!(!decide(spelled, &[("on", "==", "tRUE")], &[]));
    // Patterns are compared as they stand: \W is not \w.
    let pattern = "allow\t*\t*\t*\t/^\\w$/\n";
    assert!(decide(pattern, &[], &["/^\\w$/"]) && !decide(pattern, &[], &["/^\\W$/"]));
}

#[test]
fn nobody_escapes_a_deny_by_their_other_name() {
    let asked = Asked {
        caller: "okta=eve@example.net",
        ..ASKED
    };
    let groups = "evil okta=eve_example_net\n";
    let decide = |rule: &str| {
        let text = format!("policy default allow\n{rule}\t*\t*\t*\n");
        let policy = load_with(&text, groups, &Options::default()).unwrap();
        policy.at_signer(asked, &Filter::default()).is_allowed()
    };
    for callers in [
        "okta=eve@example.net",
        "okta=eve_example_net",
        "/_example_net$/",
        "/@example/",
        "evil",
    ] {
        assert!(!decide(&format!("deny\t{callers}")), "{callers}");
    }
    assert!(decide("deny\tokta=eve_example.net"));
    // `okta=eve_example_net` may be somebody else, whom a rule allows.
    let text = "allow\tokta=eve_example_net evil\t*\t*\t*\n";
    let policy = load_with(text, groups, &Options::default()).unwrap();
    assert!(!policy.at_signer(asked, &Filter::default()).is_allowed());
    let policy = load(&text.replace(" evil", " okta=eve@example.net")).unwrap();
    assert!(policy.at_signer(asked, &Filter::default()).is_allowed());
}

#[test]
fn a_deny_that_nodes_do_not_see_is_found() {
    let found = |callers: &str| {
        let text = format!("deny\t{callers}\t*\t*\t*\n");
        let policy = load_with(&text, "web okta=ann@b.c\n", &Options::default()).unwrap();
        let found = policy.lint(&["okta"]);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        found("okta=eve@example.net"),
        [
            "puppet.policy:1: one-name: nodes see okta=eve_example_net for okta=eve@example.net; name both"
        ]
    );
    assert_eq!(
        found("web"),
        ["puppet.policy:1: one-name: nodes see okta=ann_b_c for okta=ann@b.c; name both"]
    );
    for both in ["okta=a.b okta=a_b", "okta=a.b /^okta=a.b$/", "okta=ab"] {
        assert!(found(both).is_empty(), "{both}: {:?}", found(both));
    }
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

fn value() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "mt", "MT", "de", "true", "tRUE", "false", "no", "\u{212a}", "k", "1", "2", "9", "10",
        "16", "1.5", "2.0",
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
        1 => prop::sample::select(vec!["apache", "Apache", "/apa/", "/APA/"]).prop_map(str::to_owned),
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

/// Rules that allow name a caller as their token does and as nodes see them; those that refuse, either way.
fn verdict_and_callers() -> impl Strategy<Value = (bool, &'static str)> {
    let both = [
        "*",
        "okta=eve@example.net okta=eve_example_net",
        "/^okta=eve.example.net$/",
    ];
    let either = [
        "*",
        "okta=eve@example.net",
        "okta=eve_example_net",
        "/@/",
        "/_/",
        "okta=ann",
    ];
    prop_oneof![
        prop::sample::select(both.to_vec()).prop_map(|callers| (true, callers)),
        prop::sample::select(either.to_vec()).prop_map(|callers| (false, callers)),
    ]
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_a_signer_allows_every_node_allows_that_the_filter_selects(
        rules in prop::collection::vec((verdict_and_callers(), expression()), 1..5),
        default in any::<bool>(),
        facts in prop::collection::vec(fact_test(), 0..4),
        classes in prop::collection::vec("apache|Apache|/apa/|/Apa/", 0..2),
        compound in any::<bool>(),
        nodes in prop::collection::vec(node(), 40),
    ) {
        let word = |allow: bool| if allow { "allow" } else { "deny" };
        let mut text = format!("policy default {}\n", word(default));
        for ((allow, callers), expression) in &rules {
            writeln!(text, "{}\t{callers}\t*\t({expression})", word(*allow)).unwrap();
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
            facts.iter().all(|(f, o, v)| FactTest::new(f, Operator::parse(o).unwrap(), v).unwrap().holds(node))
                && classes.iter().all(|class| ClassTest::new(class).unwrap().holds(node))
        });
        let asked = |caller| Asked { caller, ..ASKED };
        if policy.at_signer(asked("okta=eve@example.net"), &filter).is_allowed() {
            for node in selected {
                prop_assert!(policy.at_node(asked("okta=eve_example_net"), node).is_allowed(), "{text}\n{filter:?}\n{node:?}");
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
