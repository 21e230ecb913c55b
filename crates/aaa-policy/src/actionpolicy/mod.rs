//! The authorizer `actionpolicy`: Choria's Action Policy, decided where no node is known.
//!
//! Rules come from `.policy` files and from Hiera ([`Sources`]). With a node's facts and classes at hand [`ActionPolicy::at_node`]
//! decides as the node would. At a signer there is only the request's filter, and [`ActionPolicy::at_signer`] allows what every node
//! that the filter can select would allow.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use aaa_core::caller::CallerId;
use aaa_core::decision::Decision;
use aaa_core::filter::Filter;
use serde_json::Value;

use crate::{Authorizer, Look, Question, problem};

mod export;
mod expression;
mod facts;
mod hiera;
mod lint;
mod rules;
pub mod yaml;

pub use crate::problem::Problem;
pub use expression::{Certainty, Expression, Guarantee};
pub use facts::{ClassTest, FactTest, Node, Operator};
pub use hiera::Hiera;
pub use lint::Finding;
pub use rules::{Caller, Groups, Policy, Rule, Verdict, groups_file, policy_file};

/// The largest file of rules, in bytes.
pub const MAX_FILE: usize = 1024 * 1024;

/// How many facts, and how many classes, of a filter are looked at. Without the rest fewer rules are certain, and none is allowed
/// that would not be.
const FILTER: usize = 100;

/// What is set beside the rules.
#[derive(Debug, Clone)]
pub struct Options {
    /// What holds where a policy says no default.
    pub default: Verdict,
    /// Whether a policy without a default allows, whatever [`Options::default`] says.
    pub allow_unconfigured: bool,
    /// The name of the policy for agents without one, if they have one.
    pub default_policy: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            default: Verdict::Deny,
            allow_unconfigured: false,
            default_policy: None,
        }
    }
}

/// Files of rules, read one after the other.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `.policy` files by agent.
    policies: BTreeMap<String, Policy>,
    hiera: Hiera,
    groups: Groups,
    problems: Vec<Problem>,
}

impl Sources {
    /// Adds a `.policy` file, whose name without the ending is the agent's.
    pub fn policy(&mut self, file: &str, bytes: &[u8]) {
        let name = rules::base_name(file);
        let agent = name.strip_suffix(".policy").unwrap_or(name).to_owned();
        match policy_file(file, bytes) {
            Ok(policy) => {
                if let Some(other) = self.policies.get(&agent) {
                    let text = format!("agent {agent} has a policy already: {}", other.source);
                    self.problems.push(Problem::of_file(file, text));
                } else {
                    self.policies.insert(agent, policy);
                }
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    /// Adds a Hiera file.
    pub fn hiera(&mut self, file: &str, bytes: &[u8]) {
        if let Err(problems) = self.hiera.add(file, bytes) {
            self.problems.extend(problems);
        }
    }

    /// Adds the file of groups.
    pub fn groups(&mut self, file: &str, bytes: &[u8]) {
        match groups_file(file, bytes) {
            Ok(groups) => self.groups = groups,
            Err(problems) => self.problems.extend(problems),
        }
    }

    /// The rules, ready to decide.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn build(mut self, options: &Options) -> Result<ActionPolicy, Vec<Problem>> {
        for (agent, own) in &self.hiera.agents {
            if let Some(other) = self.policies.get(agent) {
                let text = format!(
                    "agent {agent} has rules in {} too; one of the two must go",
                    own.source
                );
                self.problems.push(Problem::of_file(&other.source, text));
            }
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let mut agents: HashMap<String, Policy> = HashMap::new();
        for (agent, own) in &self.hiera.agents {
            agents.insert(agent.clone(), self.hiera.for_agent(own));
        }
        agents.extend(self.policies);
        let fallback = options
            .default_policy
            .as_ref()
            .and_then(|name| agents.get(name).cloned());
        let others = if self.hiera.has_site() {
            Some(self.hiera.site)
        } else {
            fallback
        };
        Ok(ActionPolicy {
            agents,
            others,
            groups: self.groups,
            default: if options.allow_unconfigured {
                Verdict::Allow
            } else {
                options.default
            },
        })
    }
}

/// Reads a node's facts, a map in YAML or JSON.
///
/// # Errors
/// What is wrong with the file.
pub fn facts_file(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    if !problem::is_json(file) {
        return yaml::json(file, bytes);
    }
    match problem::json(file, bytes)? {
        facts @ (Value::Object(_) | Value::Null) => Ok(facts),
        _ => Err(Problem::of_file(file, "must hold an object")),
    }
}

/// Reads a node's classes, one a line, or a list in JSON.
///
/// # Errors
/// What is wrong with the file.
pub fn classes_file(file: &str, bytes: &[u8]) -> Result<BTreeSet<String>, Problem> {
    if problem::is_json(file) {
        let classes = problem::json(file, bytes)?;
        return serde_json::from_value(classes)
            .map_err(|_| Problem::of_file(file, "must hold a list of texts"));
    }
    let text = problem::text(file, bytes)?;
    let mut classes = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let class = line.trim();
        // A list in another form would be read as classes that nobody has.
        if class.contains(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | '"' | '\'')) {
            return Err(Problem::at(
                file,
                index + 1,
                line,
                0,
                "is no name of a class; one stands on each line",
            ));
        }
        if !class.is_empty() {
            classes.insert(class.to_owned());
        }
    }
    Ok(classes)
}

/// Reads data for policies, a map in YAML that is read in one way only.
pub(crate) fn data_file(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    yaml::plain_json(file, bytes)
}

/// Rules that are ready to decide. Without any, nothing is allowed.
#[derive(Debug, Clone, Default)]
pub struct ActionPolicy {
    agents: HashMap<String, Policy>,
    /// For agents without rules of their own.
    others: Option<Policy>,
    groups: Groups,
    default: Verdict,
}

/// What rules are applied to.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Who asks.
    pub caller: &'a str,
    /// Which agent is to act.
    pub agent: &'a str,
    /// What it is to do, or the task that it is to run.
    pub action: &'a str,
}

impl<'a> Asked<'a> {
    /// What an authorizer is asked.
    pub fn of(question: &Question<'a>) -> Self {
        Self {
            caller: &question.claims.callerid,
            agent: question.request.agent(),
            action: question.action,
        }
    }
}

/// What is said where an agent has no rules.
const UNCONFIGURED: &str = "no policy for this agent";

/// What is known of the nodes that a request is for.
#[derive(Debug)]
pub enum Known<'a> {
    /// The only one.
    Node(&'a Node),
    /// What the filter that selects them says of each.
    Filter(Guarantee),
}

impl Known<'_> {
    /// What follows from a filter.
    pub fn of(filter: &Filter) -> Self {
        Self::Filter(Guarantee::of(filter))
    }

    fn certainty(&self, nodes: &Expression) -> Certainty {
        match self {
            Self::Node(node) if nodes.holds(node) => Certainty::Always,
            Self::Node(_) => Certainty::Never,
            Self::Filter(known) => nodes.certainty(known),
        }
    }
}

/// Whether a rule is about a request.
#[derive(Clone, Copy)]
enum Fit {
    /// It is about other actions.
    Action,
    /// It is about other callers.
    Caller,
    /// It is about some nodes, and so certain of those that the request is for.
    Nodes(Certainty),
}

impl ActionPolicy {
    /// What a node with these facts and classes would decide.
    pub fn at_node(&self, asked: Asked<'_>, node: &Node) -> Decision {
        self.decide(asked, &Known::Node(node), &mut |_| {})
    }

    /// What every node would decide that the filter can select: allowed only if all of them allow.
    pub fn at_signer(&self, asked: Asked<'_>, filter: &Filter) -> Decision {
        self.decide(asked, &Known::of(filter), &mut |_| {})
    }

    /// Every rule once, by agent and line.
    pub fn rules(&self) -> Vec<&Rule> {
        let mut agents: Vec<_> = self.agents.iter().collect();
        agents.sort_by_key(|(agent, _)| agent.as_str());
        let policies = agents.into_iter().map(|(_, policy)| policy);
        let mut names = HashSet::new();
        policies
            .chain(&self.others)
            .flat_map(|policy| &policy.rules)
            .filter(|rule| names.insert(rule.name.as_str()))
            .collect()
    }

    /// What is decided by what is known of the nodes. Each rule that is looked at is shown to `seen`.
    pub fn decide(
        &self,
        asked: Asked<'_>,
        known: &Known<'_>,
        seen: &mut dyn FnMut(&Look<'_>),
    ) -> Decision {
        let Some(policy) = self.policy(asked.agent) else {
            return Decision::deny(UNCONFIGURED);
        };
        // Nodes see the caller as the request has them, and may have a rule that refuses them by that name.
        let wire = match known {
            Known::Node(_) => None,
            Known::Filter(_) => Some(CallerId::new(asked.caller).on_the_wire()),
        };
        let wire = wire.as_deref().filter(|wire| *wire != asked.caller);
        // An allow that holds on some nodes only; it helps when nothing after it decides for all.
        let mut partly: Option<&Rule> = None;
        for rule in &policy.rules {
            let fit = self.fit(rule, asked, wire, known);
            let refused = |why: fn(&Rule) -> Decision| match partly {
                Some(allow) => lacking(allow, known),
                None => why(rule),
            };
            let decided = match (fit, rule.verdict) {
                (Fit::Nodes(Certainty::Always), Verdict::Allow) => {
                    Some(Decision::allow(rule.name.clone()))
                }
                (Fit::Nodes(Certainty::Always), Verdict::Deny) => {
                    Some(refused(|rule| Decision::deny(rule.name.clone())))
                }
                (Fit::Nodes(Certainty::Maybe), Verdict::Deny) => Some(refused(not_ruled_out)),
                (Fit::Nodes(Certainty::Maybe), Verdict::Allow) => {
                    partly = partly.or(Some(rule));
                    None
                }
                (Fit::Nodes(Certainty::Never) | Fit::Action | Fit::Caller, _) => None,
            };
            seen(&Look {
                rule: &rule.name,
                text: rule,
                decided: decided.is_some(),
                found: &Found {
                    rule,
                    asked,
                    known,
                    fit,
                },
            });
            if let Some(decision) = decided {
                return decision;
            }
        }
        let verdict = policy.default.unwrap_or(self.default);
        let name = format!("default of {}", rules::base_name(&policy.source));
        seen(&Look {
            rule: &name,
            text: &verdict.as_str(),
            decided: true,
            found: &"",
        });
        match (verdict, partly) {
            (Verdict::Allow, _) => Decision::allow(name),
            (Verdict::Deny, Some(allow)) => lacking(allow, known),
            (Verdict::Deny, None) => Decision::deny(name),
        }
    }

    fn policy(&self, agent: &str) -> Option<&Policy> {
        self.agents.get(agent).or(self.others.as_ref())
    }

    /// A rule that refuses is about the caller under either name; one that allows, under that in their token, which is nobody else's.
    fn fit(&self, rule: &Rule, asked: Asked<'_>, wire: Option<&str>, known: &Known<'_>) -> Fit {
        let action = rule.actions.as_ref();
        let refuses = rule.verdict == Verdict::Deny;
        if !action.is_none_or(|actions| actions.contains(asked.action)) {
            Fit::Action
        } else if self.is_about(rule, asked.caller)
            || refuses && wire.is_some_and(|wire| self.is_about(rule, wire))
        {
            Fit::Nodes(known.certainty(&rule.nodes))
        } else {
            Fit::Caller
        }
    }

    fn is_about(&self, rule: &Rule, caller: &str) -> bool {
        rule.callers.as_ref().is_none_or(|callers| {
            callers.iter().any(|wanted| match wanted {
                Caller::Pattern(pattern) => pattern.is_match(caller),
                Caller::Named(name) => {
                    name == caller
                        || self
                            .groups
                            .get(name)
                            .is_some_and(|group| group.contains(caller))
                }
            })
        })
    }
}

/// What was found of a rule, as people read it.
struct Found<'a> {
    rule: &'a Rule,
    asked: Asked<'a>,
    known: &'a Known<'a>,
    fit: Fit,
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = &self.rule.nodes;
        match (self.fit, self.known, self.rule.verdict) {
            (Fit::Action, ..) => write!(f, "no: action {}", self.asked.action),
            (Fit::Caller, ..) => write!(f, "no: caller {}", self.asked.caller),
            (Fit::Nodes(Certainty::Always), ..) => f.write_str("yes"),
            (Fit::Nodes(_), Known::Node(_), _) => write!(f, "no: the node does not have {nodes}"),
            (Fit::Nodes(Certainty::Never), ..) => {
                write!(f, "no: {nodes} — the request's filter rules it out")
            }
            (Fit::Nodes(Certainty::Maybe), _, Verdict::Allow) => {
                write!(f, "no: {nodes} — the request's filter does not promise it")
            }
            (Fit::Nodes(Certainty::Maybe), _, Verdict::Deny) => {
                write!(
                    f,
                    "perhaps: {nodes} — the request's filter does not rule it out"
                )
            }
        }
    }
}

/// Refused, where a filter would make a rule hold on every node.
fn lacking(rule: &Rule, known: &Known<'_>) -> Decision {
    let open = match known {
        Known::Filter(known) => rule.nodes.open(known),
        // Nothing is open of a node that is known.
        Known::Node(_) => None,
    };
    let wanted = match open {
        Some(Expression::Class(class)) => format!("a class filter such as {}", class.text),
        Some(fact) if !has_not(&rule.nodes) => format!("a fact filter such as {fact}"),
        _ => format!("a filter that selects only nodes with {}", rule.nodes),
    };
    Decision::Deny {
        rule: rule.name.clone().into(),
        hint: Some(format!("needs {wanted} ({})", rule.name)),
    }
}

/// Refused, as the rule may refuse on some node.
fn not_ruled_out(rule: &Rule) -> Decision {
    let hint = format!(
        "needs a filter that leaves out nodes with {} ({})",
        rule.nodes, rule.name
    );
    Decision::Deny {
        rule: rule.name.clone().into(),
        hint: Some(hint),
    }
}

fn has_not(expression: &Expression) -> bool {
    match expression {
        Expression::Fact(_) | Expression::Class(_) => false,
        Expression::All(parts) | Expression::Any(parts) => parts.iter().any(has_not),
        Expression::Not(_) => true,
    }
}

impl Guarantee {
    /// What a filter says of each node that it selects. Of compound expressions and identities nothing follows.
    pub fn of(filter: &Filter) -> Self {
        Self {
            facts: filter
                .fact
                .iter()
                .take(FILTER)
                .filter_map(FactTest::of_filter)
                .collect(),
            classes: filter
                .cf_class
                .iter()
                .take(FILTER)
                .map(|class| ClassTest::compared(class))
                .collect(),
        }
    }
}

impl Authorizer for ActionPolicy {
    fn name(&self) -> &'static str {
        "actionpolicy"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        let known = Known::of(question.request.filter());
        self.decide(Asked::of(question), &known, seen)
    }
}
