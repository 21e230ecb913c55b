//! Which rules decided a case and which lines of Rego ran for one, and which never did.

use std::collections::HashMap;
use std::path::Path;

use aaa_core::claims::ClientClaims;

use super::suite::Rules;
use crate::commands::policy::road::{Looked, Road};

/// Authorizers whose rules are known before they are looked at, or are in the token.
const ACTION_POLICY: &str = "actionpolicy";
const ACTION_LIST: &str = "actionlist";
const OPA: &str = "opa";

/// The rules and lines of all suites, in the order in which they became known.
#[derive(Default)]
pub(super) struct Coverage {
    pub(super) rules: Vec<Covered>,
    places: HashMap<Key, usize>,
    /// Whose token a policy was seen in first. It is one policy, whoever has it.
    policies: HashMap<String, String>,
}

/// Where a rule belongs, whose it is, and its name.
type Key = (String, &'static str, String);

/// A rule, or a line of a policy in Rego, and whether a case was decided by it.
pub(super) struct Covered {
    /// Where it belongs: the rules of a site, or a caller's token.
    pub(super) of: String,
    /// Whose rule it is.
    pub(super) by: &'static str,
    /// Its name.
    pub(super) rule: String,
    /// How it reads; empty where the name says it all.
    pub(super) text: String,
    /// Whether it decided; of a line, whether it ran.
    pub(super) decided: bool,
}

impl Coverage {
    /// The rules of a site, whether they are ever looked at or not.
    pub(super) fn know(&mut self, rules: &Rules) {
        let policy = rules.action_policy.iter();
        for rule in policy.flat_map(|policy| policy.rules()) {
            let text = rule.to_string();
            self.rule(&rules.name, ACTION_POLICY, &rule.name, &text, false);
        }
    }

    /// What decided a case.
    pub(super) fn saw(
        &mut self,
        of_site: Option<&str>,
        suite: &Path,
        claims: &ClientClaims,
        road: &Road,
    ) {
        for step in &road.steps {
            let token = format!("{} in {}", claims.callerid, suite.display());
            let of = match (step.by, of_site) {
                (OPA, _) => {
                    let policy = self.policies.entry(claims.opa_policy.clone());
                    policy.or_insert(token).clone()
                }
                (ACTION_LIST, _) | (_, None) => token,
                (_, Some(name)) => name.to_owned(),
            };
            if step.by == ACTION_LIST {
                for entry in &claims.agents {
                    self.rule(&of, step.by, entry, "", false);
                }
            }
            for Looked {
                rule,
                text,
                decided,
                ..
            } in &step.rules
            {
                // What Action Policy shows beside its rules is its default.
                let key = (of.clone(), step.by, rule.clone());
                if step.by != ACTION_POLICY || self.places.contains_key(&key) {
                    self.rule(&of, step.by, rule, text, *decided);
                }
            }
            for line in &step.lines {
                self.rule(&of, step.by, &line.name, &line.text, line.ran);
            }
        }
    }

    /// Makes a rule known, or what is known of it more.
    fn rule(&mut self, of: &str, by: &'static str, rule: &str, text: &str, decided: bool) {
        let next = self.rules.len();
        let key = (of.to_owned(), by, rule.to_owned());
        let place = *self.places.entry(key).or_insert(next);
        if let Some(known) = self.rules.get_mut(place) {
            known.decided |= decided;
        } else {
            self.rules.push(Covered {
                of: of.to_owned(),
                by,
                rule: rule.to_owned(),
                text: text.to_owned(),
                decided,
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
