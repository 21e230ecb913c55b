//! Which rules decided a case, and which never did.

use std::collections::HashMap;
use std::path::Path;

use aaa_core::claims::ClientClaims;

use super::suite::Rules;
use crate::commands::policy::road::Road;

/// Authorizers whose rules are known before they are looked at.
const ACTION_POLICY: &str = "actionpolicy";
const ACTION_LIST: &str = "actionlist";

/// The rules of all suites, in the order in which they became known.
#[derive(Default)]
pub(super) struct Coverage {
    pub(super) rules: Vec<Covered>,
    places: HashMap<(String, &'static str, String), usize>,
}

/// A rule, and whether a case was decided by it.
pub(super) struct Covered {
    /// Where it belongs: the rules of a site, or a caller's token.
    pub(super) of: String,
    /// Whose rule it is.
    pub(super) by: &'static str,
    /// Its name.
    pub(super) rule: String,
    /// How it reads; empty where the name says it all.
    pub(super) text: String,
    pub(super) decided: bool,
}

impl Coverage {
    /// The rules of a site, whether they are ever looked at or not.
    pub(super) fn know(&mut self, rules: &Rules) {
        let policy = rules.action_policy.iter();
        for rule in policy.flat_map(|policy| policy.rules()) {
            self.rule(&rules.name, ACTION_POLICY, &rule.name, &rule.to_string());
        }
    }

    /// What decided a case.
    pub(super) fn saw(
        &mut self,
        rules: Option<&Rules>,
        suite: &Path,
        claims: &ClientClaims,
        road: &Road,
    ) {
        let token = format!("{} in {}", claims.callerid, suite.display());
        for step in &road.steps {
            let of = match rules {
                Some(rules) if step.by != ACTION_LIST => &rules.name,
                _ => &token,
            };
            if step.by == ACTION_LIST {
                for entry in &claims.agents {
                    self.rule(of, step.by, entry, "");
                }
            }
            for looked in &step.rules {
                // What Action Policy shows beside its rules is its default.
                if step.by != ACTION_POLICY {
                    self.rule(of, step.by, &looked.rule, &looked.text);
                }
                let key = (of.clone(), step.by, looked.rule.clone());
                let place = self.places.get(&key).filter(|_| looked.decided);
                if let Some(covered) = place.and_then(|place| self.rules.get_mut(*place)) {
                    covered.decided = true;
                }
            }
        }
    }

    fn rule(&mut self, of: &str, by: &'static str, rule: &str, text: &str) {
        let key = (of.to_owned(), by, rule.to_owned());
        let next = self.rules.len();
        if *self.places.entry(key).or_insert(next) == next {
            self.rules.push(Covered {
                of: of.to_owned(),
                by,
                rule: rule.to_owned(),
                text: text.to_owned(),
                decided: false,
            });
        }
    }

    /// How many decided a case.
    pub(super) fn decided(&self) -> usize {
        self.rules.iter().filter(|rule| rule.decided).count()
    }

    /// Those that never did.
    pub(super) fn never(&self) -> impl Iterator<Item = &Covered> {
        self.rules.iter().filter(|rule| !rule.decided)
    }
}
