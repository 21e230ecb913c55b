//! Runs suites: asks whom a signer or a node would ask, and compares.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::decision::Decision;
use aaa_policy::actionpolicy::{ActionPolicy, Asked, Known, Node};
use aaa_policy::{Authorizer, Look, Question};
use aaa_signer::Site;

use super::case::Expected;
use super::coverage::Coverage;
use super::suite::{Case, Rules, Suite};
use crate::commands::policy::{self, road::Road};

/// A suite that was run.
pub(super) struct Done {
    /// Its file.
    pub(super) path: PathBuf,
    /// What came of its cases, in their order.
    pub(super) outcomes: Vec<Outcome>,
}

/// What came of a case.
pub(super) struct Outcome {
    /// The line where it stands.
    pub(super) line: usize,
    /// What it is called.
    pub(super) name: String,
    /// How it was decided.
    pub(super) road: Road,
    /// What is not as expected.
    pub(super) unexpected: Vec<String>,
}

impl Outcome {
    pub(super) fn is_expected(&self) -> bool {
        self.unexpected.is_empty()
    }
}

impl Done {
    /// Runs a suite.
    pub(super) fn of(suite: Suite, coverage: &mut Coverage) -> Self {
        let Suite { path, rules, cases } = suite;
        if let Some(rules) = &rules {
            coverage.know(rules);
        }
        let cases = cases.into_iter();
        let outcomes = cases.map(|case| decide(case, &path, rules.as_ref(), coverage));
        Self {
            outcomes: outcomes.collect(),
            path,
        }
    }
}

fn decide(case: Case, path: &Path, rules: Option<&Rules>, coverage: &mut Coverage) -> Outcome {
    let Case {
        line,
        name,
        claims,
        request,
        node,
        at,
        expected,
    } = case;
    let action_policy = rules.and_then(|rules| rules.action_policy.as_ref());
    let alone: Site;
    let site = match (node, action_policy, rules) {
        (Some(node), Some(policy), _) => {
            let policy = Arc::clone(policy);
            alone = policy::by(Box::new(AtNode { policy, node }));
            &alone
        }
        (_, _, Some(rules)) => &rules.site,
        (_, _, None) => {
            alone = policy::of_token(&claims);
            &alone
        }
    };
    let road = Road::of(site, &claims, request, at);
    let of_site = rules.map(|rules| rules.name.as_str());
    coverage.saw(of_site, path, &claims, &road);
    Outcome {
        line,
        name,
        unexpected: expected.compare(&road),
        road,
    }
}

/// Action Policy as a node decides by it.
struct AtNode {
    policy: Arc<ActionPolicy>,
    node: Arc<Node>,
}

impl Authorizer for AtNode {
    fn name(&self) -> &'static str {
        "actionpolicy"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        let known = Known::Node(&self.node);
        self.policy.decide(Asked::of(question), &known, seen)
    }
}

impl Expected {
    /// What is not as expected.
    fn compare(&self, road: &Road) -> Vec<String> {
        if self.verdict.as_str() != road.verdict() {
            let (got, wanted) = (road.verdict(), self.verdict.as_str());
            return vec![format!("decided {got}, expected {wanted}")];
        }
        let answers = road.answers();
        let mut unexpected = Vec::new();
        if let Some(wanted) = &self.by
            && !answers.iter().any(|(by, _)| by == wanted)
        {
            let got: Vec<_> = answers.iter().map(|(by, _)| *by).collect();
            unexpected.push(format!("decided by {}, expected {wanted}", got.join(", ")));
        }
        if let Some(wanted) = &self.rule
            && !answers.iter().any(|(_, decision)| rule(decision) == wanted)
        {
            let got: Vec<_> = answers.iter().map(|(_, decision)| rule(decision)).collect();
            let got = got.join(", ");
            unexpected.push(format!("decided by the rule {got}, expected {wanted}"));
        }
        if let Some(wanted) = &self.reason {
            let reasons = answers.iter().filter_map(|(_, said)| said.explanation());
            let got = reasons.collect::<Vec<_>>().join("; ");
            if !got.contains(wanted.as_str()) {
                unexpected.push(format!("the reason is {got:?}, expected {wanted:?} in it"));
            }
        }
        unexpected
    }
}

/// The rule that a decision names; of rules that cannot be applied, why.
fn rule(decision: &Decision) -> &str {
    match decision {
        Decision::Allow { rule } | Decision::Deny { rule, .. } => rule,
        Decision::Failed { problem } => problem,
    }
}
