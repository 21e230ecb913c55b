//! Rules written out: as `.policy` files, and as Hiera.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::expression::Expression;
use super::rules::{Caller, Policy, Rule};
use super::{ActionPolicy, Verdict};

impl ActionPolicy {
    /// The rules as `.policy` files: the agent's name, and what stands in its file. Those for agents without rules of their own are
    /// under the name `default`.
    pub fn policy_files(&self) -> BTreeMap<String, String> {
        let mut files: BTreeMap<String, String> = self
            .agents
            .iter()
            .map(|(agent, policy)| (agent.clone(), policy_file(policy)))
            .collect();
        if let Some(others) = &self.others {
            files.insert(DEFAULT.to_owned(), policy_file(others));
        }
        files
    }

    /// The rules as Hiera. The policy for agents without rules of their own becomes that of the site.
    ///
    /// # Errors
    /// When an agent's policy does not end with the site's: in Hiera the rules of the site hold for every agent, so that something
    /// would be allowed or refused that is not now.
    pub fn hiera(&self) -> Result<String, String> {
        let none = Policy::default();
        let site = self.others.as_ref().unwrap_or(&none);
        let mut text = String::new();
        section(&mut text, "mcollective", &lines(site), site.default);
        let mut agents: Vec<_> = self.agents.iter().collect();
        agents.sort_by_key(|(agent, _)| agent.as_str());
        for (agent, policy) in agents {
            if self.others.is_some() && agent == DEFAULT {
                continue;
            }
            let all = lines(policy);
            let Some(own) = all.strip_suffix(lines(site).as_slice()) else {
                return Err(format!(
                    "the policy of {agent} does not end with the rules of the default policy, which in Hiera hold for every agent"
                ));
            };
            if policy.default.is_none() && site.default.is_some() {
                return Err(format!(
                    "the policy of {agent} has no default, and in Hiera that of the default policy holds for every agent"
                ));
            }
            let default = policy.default.filter(|_| policy.default != site.default);
            let module = format!("mcollective_agent_{agent}");
            section(&mut text, &module, own, default);
            if own.is_empty() && default.is_none() {
                // That it has rules at all is what lets its policy stand.
                let _ = writeln!(text, "{}: []", quoted(&format!("{module}::policies")));
            }
        }
        Ok(text)
    }
}

/// The name of the policy for agents without one.
const DEFAULT: &str = "default";

/// The columns of a rule.
type Line = [String; 5];

fn lines(policy: &Policy) -> Vec<Line> {
    policy.rules.iter().map(line).collect()
}

fn policy_file(policy: &Policy) -> String {
    let mut text = String::new();
    if let Some(default) = policy.default {
        let _ = writeln!(text, "policy default {}", default.as_str());
    }
    for line in lines(policy) {
        let _ = writeln!(text, "{}", line.join("\t"));
    }
    text
}

fn section(text: &mut String, module: &str, rules: &[Line], default: Option<Verdict>) {
    if !rules.is_empty() {
        let _ = writeln!(text, "{}:", quoted(&format!("{module}::policies")));
        for [action, callers, actions, facts, classes] in rules {
            let _ = writeln!(
                text,
                "  - action: {action}\n    callers: {}\n    actions: {}\n    facts: {}\n    classes: {}",
                quoted(callers),
                quoted(actions),
                quoted(facts),
                quoted(classes)
            );
        }
    }
    if let Some(default) = default {
        let key = quoted(&format!("{module}::policy_default"));
        let _ = writeln!(text, "{key}: {}", default.as_str());
    }
}

/// A text in double quotes, which YAML reads as JSON does.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn line(rule: &Rule) -> Line {
    let callers = rule.callers.as_ref().map(|callers| {
        let words: Vec<_> = callers
            .iter()
            .map(|caller| match caller {
                Caller::Named(name) => name.clone(),
                Caller::Pattern(pattern) => format!("/{}/", pattern.as_str()),
            })
            .collect();
        words.join(" ")
    });
    let actions = rule.actions.as_ref().map(|actions| {
        let words: Vec<_> = actions.iter().map(String::as_str).collect();
        words.join(" ")
    });
    let all = || "*".to_owned();
    let (facts, classes) = columns(&rule.nodes);
    [
        rule.verdict.as_str().to_owned(),
        callers.unwrap_or_else(all),
        actions.unwrap_or_else(all),
        facts,
        classes,
    ]
}

/// The columns without those at the end that demand nothing.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = line(self);
        let said = columns.iter().rposition(|column| column != "*");
        let shown = columns.get(..=said.unwrap_or_default().max(1));
        f.write_str(&shown.unwrap_or(&columns).join(" "))
    }
}

/// What is demanded of nodes, as the columns for facts and classes. A list stays one, as nodes know no compound statements.
fn columns(nodes: &Expression) -> (String, String) {
    let parts = match nodes {
        Expression::All(parts) => parts.as_slice(),
        one => std::slice::from_ref(one),
    };
    let is_fact = |part: &&Expression| matches!(part, Expression::Fact(_));
    let facts = parts.iter().take_while(is_fact).count();
    let (facts, classes) = parts.split_at_checked(facts).unwrap_or((parts, &[]));
    if !classes
        .iter()
        .all(|part| matches!(part, Expression::Class(_)))
    {
        // A list of compound statements keeps its parentheses.
        return (nodes.to_string(), "*".to_owned());
    }
    let list = |parts: &[Expression]| {
        if parts.is_empty() {
            return "*".to_owned();
        }
        let words: Vec<_> = parts.iter().map(ToString::to_string).collect();
        words.join(" ")
    };
    (list(facts), list(classes))
}
