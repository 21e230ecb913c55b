//! What is probably not meant in rules that can be read.

use std::collections::BTreeSet;
use std::fmt;

use aaa_core::caller::CallerId;
use regex_syntax::hir::Look;

use super::expression::Expression;
use super::facts::FactTest;
use super::rules::{Caller, Rule, Verdict, base_name};
use super::{ActionPolicy, Policy};
use crate::go::pattern::Pattern;

/// Something in the rules that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The rule: file and line.
    pub rule: String,
    /// What kind it is of: `shadowed`, `unmatched`, `allow-all`, `unanchored`, `unknown-caller` or `one-name`.
    pub kind: &'static str,
    /// What is the matter.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.kind, self.text)
    }
}

impl ActionPolicy {
    /// Looks for rules that another hides, that nobody can match, that allow everything, and for callers that no authenticator
    /// makes. `providers` are what stands before the `=` of the ids there are.
    pub fn lint(&self, providers: &[&str]) -> Vec<Finding> {
        let mut found = Vec::new();
        for policy in self.agents.values().chain(&self.others) {
            self.lint_policy(policy, providers, &mut found);
        }
        for (group, members) in &self.groups {
            for member in members.iter().filter(|id| !known(id, providers)) {
                found.push(Finding {
                    rule: format!("group {group}"),
                    kind: "unknown-caller",
                    text: format!("no authenticator makes {member}"),
                });
            }
        }
        // Rules of the whole site are those of several agents.
        found.sort();
        found.dedup();
        found
    }

    fn lint_policy(&self, policy: &Policy, providers: &[&str], found: &mut Vec<Finding>) {
        if policy.default == Some(Verdict::Allow) {
            found.push(Finding {
                rule: format!("default of {}", base_name(&policy.source)),
                kind: "allow-all",
                text: "everybody may do what no rule is about".to_owned(),
            });
        }
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, rule) in policy.rules.iter().enumerate() {
            // A rule of the site may stand in a list once only, whoever it is for.
            if !seen.insert(&rule.name) {
                continue;
            }
            let mut say = |kind, text: String| {
                found.push(Finding {
                    rule: rule.name.clone(),
                    kind,
                    text,
                });
            };
            let mut before = policy.rules.iter().take(index);
            if let Some(earlier) = before.find(|earlier| covers(earlier, rule)) {
                let text = format!("{} decides before it whenever it matches", earlier.name);
                say("shadowed", text);
            }
            if contradicts(&rule.nodes) {
                let text = format!("no node can have {}", rule.nodes);
                say("unmatched", text);
            }
            if rule.verdict == Verdict::Deny {
                for id in self.unseen(rule) {
                    let text = format!("nodes see {} for {id}; name both", wire(id));
                    say("one-name", text);
                }
            }
            let everything = rule.actions.is_none() && rule.nodes.is_everything();
            if rule.verdict == Verdict::Allow && is_everybody(rule) && everything {
                say("allow-all", "everybody may do everything".to_owned());
            }
            for pattern in patterns(&rule.nodes) {
                if anchors(pattern) == (false, false) {
                    let pattern = pattern.as_str();
                    let text = format!(
                        "/{pattern}/ matches any part of a value; begin it with ^ or end it with $"
                    );
                    say("unanchored", text);
                }
            }
            let callers = rule.callers.iter().flatten();
            for caller in callers {
                match caller {
                    Caller::Pattern(pattern) => {
                        let text = pattern.as_str();
                        if anchors(pattern) != (true, true) {
                            let text = format!(
                                "/{text}/ also matches a part of an id; begin it with ^ and end it with $"
                            );
                            say("unanchored", text);
                        }
                    }
                    Caller::Named(name) if self.groups.contains_key(name) => {}
                    Caller::Named(name) if !known(name, providers) => {
                        let text = format!("{name} is no group, and no authenticator makes it");
                        say("unknown-caller", text);
                    }
                    Caller::Named(_) => {}
                }
            }
        }
    }
}

/// Whether a pattern begins where the text does, and ends where it does, whichever way it matches.
fn anchors(pattern: &Pattern) -> (bool, bool) {
    // What is no pattern was refused when it was read.
    regex_syntax::parse(pattern.regex().as_str()).map_or((true, true), |pattern| {
        let pattern = pattern.properties();
        (
            pattern.look_set_prefix().contains(Look::Start),
            pattern.look_set_suffix().contains(Look::End),
        )
    })
}

/// The patterns for facts and classes.
fn patterns(nodes: &Expression) -> Vec<&Pattern> {
    match nodes {
        Expression::Fact(test) => test.pattern().into_iter().collect(),
        Expression::Class(test) => test.pattern().into_iter().collect(),
        Expression::All(parts) | Expression::Any(parts) => {
            parts.iter().flat_map(patterns).collect()
        }
        Expression::Not(inner) => patterns(inner),
    }
}

/// Whether a rule is about all callers.
fn is_everybody(rule: &Rule) -> bool {
    let anybody = |caller: &Caller| match caller {
        Caller::Named(_) => false,
        Caller::Pattern(pattern) => {
            let inner = pattern
                .as_str()
                .trim_start_matches('^')
                .trim_end_matches('$');
            ["", ".*", ".+"].contains(&inner)
        }
    };
    let callers = rule.callers.as_ref();
    callers.is_none_or(|callers| callers.iter().any(anybody))
}

impl ActionPolicy {
    /// Ids that a rule names and no node sees, where the rule does not name what nodes see.
    fn unseen<'a>(&'a self, rule: &'a Rule) -> impl Iterator<Item = &'a str> {
        let callers = rule.callers.iter().flatten();
        let ids = callers.flat_map(|caller| match caller {
            Caller::Pattern(_) => Vec::new(),
            Caller::Named(name) => match self.groups.get(name) {
                Some(members) => members.iter().map(String::as_str).collect(),
                None => vec![name.as_str()],
            },
        });
        ids.filter(|id| !self.is_about(rule, &wire(id)))
    }
}

/// An id as nodes see it.
fn wire(id: &str) -> String {
    CallerId::new(id).on_the_wire()
}

/// Whether an authenticator makes such an id.
fn known(id: &str, providers: &[&str]) -> bool {
    id.split_once('=')
        .is_some_and(|(provider, name)| !name.is_empty() && providers.contains(&provider))
}

/// Whether a rule matches all that another does.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let actions = match (&earlier.actions, &later.actions) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => earlier.is_superset(later),
    };
    let callers = match (&earlier.callers, &later.callers) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later
            .iter()
            .all(|caller| earlier.iter().any(|other| includes(other, caller))),
    };
    let nodes = earlier.nodes.is_everything() || earlier.nodes == later.nodes;
    actions && callers && nodes
}

fn includes(wide: &Caller, narrow: &Caller) -> bool {
    match (wide, narrow) {
        (Caller::Named(wide), Caller::Named(narrow)) => wide == narrow,
        (Caller::Pattern(wide), Caller::Pattern(narrow)) => wide.as_str() == narrow.as_str(),
        // A name without = is a group's, whose members a pattern need not match.
        (Caller::Pattern(wide), Caller::Named(narrow)) => {
            narrow.contains('=') && wide.is_match(narrow)
        }
        (Caller::Named(_), Caller::Pattern(_)) => false,
    }
}

/// Whether facts that must all hold exclude one another.
fn contradicts(nodes: &Expression) -> bool {
    let Expression::All(parts) = nodes else {
        return false;
    };
    let facts: Vec<FactTest> = parts
        .iter()
        .filter_map(|part| match part {
            Expression::Fact(test) => Some(test.clone()),
            _ => None,
        })
        .collect();
    facts.iter().any(|test| test.ruled_out_by(&facts)) || parts.iter().any(contradicts)
}
