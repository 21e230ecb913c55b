//! What Action Policy shows of each rule on the way to a decision.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

use aaa_core::filter::{FactFilter, Filter};
use aaa_policy::actionpolicy::{ActionPolicy, Asked, Known, Node, Options, Sources};
use serde_json::json;

const RULES: &str = "\
deny\t/^okta=/\t*\t*\t*
allow\tup=bob\tstatus\t*\t*
allow\tup=bob\tdisable\tcpus>=4\t*
deny\t*\t*\tproduction=true\tapache
allow\tup=bob\t*\tcountry=mt\t*
";

fn rules() -> ActionPolicy {
    let mut sources = Sources::default();
    sources.policy("puppet.policy", RULES.as_bytes());
    sources.build(&Options::default()).unwrap()
}

/// Each rule that is looked at: its name, what was found, and whether it decided.
fn seen(known: &Known<'_>) -> Vec<(String, String, bool)> {
    let asked = Asked {
        caller: "up=bob",
        agent: "puppet",
        action: "disable",
    };
    let mut seen = Vec::new();
    let decision = rules().decide(asked, known, &mut |look| {
        let name = look.rule.trim_start_matches("puppet.policy:").to_owned();
        seen.push((name, look.found.to_string(), look.decided));
    });
    assert_eq!(seen.iter().filter(|(.., decided)| *decided).count(), 1);
    assert!(!decision.is_allowed() || seen.last().unwrap().2);
    seen
}

fn found(seen: &[(String, String, bool)]) -> Vec<(&str, &str)> {
    let found = seen
        .iter()
        .map(|(name, found, _)| (name.as_str(), found.as_str()));
    found.collect()
}

#[test]
fn at_a_signer_what_the_filter_leaves_open_is_said() {
    let fact = |fact: &str, operator: &str, value: &str| FactFilter {
        fact: fact.to_owned(),
        operator: operator.to_owned(),
        value: value.to_owned(),
    };
    let mut filter = Filter {
        fact: vec![fact("cpus", "<", "4")],
        ..Filter::default()
    };
    let before = [
        ("1", "no: caller up=bob"),
        ("2", "no: action disable"),
        ("3", "no: cpus>=4 — the request's filter rules it out"),
    ];
    let open = "perhaps: production=true and apache — the request's filter does not rule it out";
    let looks = seen(&Known::of(&filter));
    assert_eq!(found(&looks), [&before[..], &[("4", open)]].concat());
    filter.fact = vec![fact("cpus", "==", "2"), fact("production", ">", "true")];
    let looks = seen(&Known::of(&filter));
    assert_eq!(
        found(&looks)[2],
        (
            "3",
            "no: cpus>=4 — the request's filter does not promise it"
        )
    );
}

#[test]
fn at_a_node_what_it_has_is_certain() {
    let node = Node {
        facts: json!({"cpus": 2, "country": "mt", "production": true}),
        ..Node::default()
    };
    let looks = seen(&Known::Node(&node));
    assert_eq!(
        found(&looks)[2..],
        [
            ("3", "no: the node does not have cpus>=4"),
            ("4", "no: the node does not have production=true and apache"),
            ("5", "yes"),
        ]
    );
}

#[test]
fn rules_are_listed_once_by_agent_and_line_and_read_as_they_are_written() {
    let mut sources = Sources::default();
    sources.hiera(
        "all.yaml",
        b"mcollective::policies:\n- {action: deny, callers: '*'}\n\
          mcollective_agent_a::policies:\n- {action: allow, callers: up=bob, actions: [x, y], facts: 'a=b'}\n\
          mcollective_agent_b::policies: []\n",
    );
    let policy = sources.build(&Options::default()).unwrap();
    let listed: Vec<_> = policy
        .rules()
        .into_iter()
        .map(|rule| format!("{}: {rule}", rule.name))
        .collect();
    assert_eq!(
        listed,
        [
            "all.yaml:4 mcollective_agent_a::policies: allow up=bob x y a=b",
            "all.yaml:2 mcollective::policies: deny *",
        ]
    );
}
