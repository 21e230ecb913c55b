//! Rules in Hiera: `mcollective::policies` for the whole site, `mcollective_agent_<name>::policies` for an agent.

use std::collections::BTreeMap;

use super::rules::{Columns, Policy, Rule, Verdict, base_name};
use super::yaml::{self, Kind, Yaml};
use crate::problem::Problem;

/// What stands in Hiera files.
#[derive(Debug, Clone, Default)]
pub struct Hiera {
    /// For the whole site, after an agent's own.
    pub site: Policy,
    /// By agent, their own only.
    pub agents: BTreeMap<String, Policy>,
}

/// What a key is about.
enum About<'a> {
    Rules(Option<&'a str>),
    Default(Option<&'a str>),
}

fn about(key: &str) -> Option<About<'_>> {
    let (module, setting) = key.split_once("::")?;
    let agent = match module {
        "mcollective" => None,
        other => Some(other.strip_prefix("mcollective_agent_")?),
    };
    match (setting, agent) {
        // What the Puppet module calls the rules of the site.
        ("site_policies", None) | ("policies", _) => Some(About::Rules(agent)),
        ("policy_default", _) => Some(About::Default(agent)),
        _ => None,
    }
}

impl Hiera {
    /// Adds what stands in a file. Other modules' keys are left alone; a key that was in an earlier file is an error.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn add(&mut self, file: &str, bytes: &[u8]) -> Result<(), Vec<Problem>> {
        let members = yaml::parse(file, bytes).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        for (key, value) in members {
            let name = key.text().unwrap_or_default();
            match about(name) {
                None => {}
                Some(About::Rules(agent)) => {
                    let rules = rules(file, name, &value, &mut problems);
                    let policy = self.policy(agent);
                    if policy.source.is_empty() {
                        policy.rules = rules;
                        policy.source = format!("{}:{}", base_name(file), key.line);
                    } else {
                        let text = format!("{name} stands at {} already", policy.source);
                        problems.push(Problem::at(file, key.line, name, 0, text));
                    }
                }
                Some(About::Default(agent)) => {
                    if let Some(verdict) = value.text().and_then(Verdict::parse) {
                        let policy = self.policy(agent);
                        if policy.default.replace(verdict).is_some() {
                            let text = format!("{name} stands in an earlier file already");
                            problems.push(Problem::at(file, key.line, name, 0, text));
                        }
                    } else {
                        let text = "wants allow or deny";
                        problems.push(Problem::at(file, value.line, name, 0, text));
                    }
                }
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn policy(&mut self, agent: Option<&str>) -> &mut Policy {
        match agent {
            None => &mut self.site,
            Some(agent) => self.agents.entry(agent.to_owned()).or_default(),
        }
    }

    /// Whether it says anything for all agents.
    pub fn has_site(&self) -> bool {
        !self.site.rules.is_empty() || self.site.default.is_some()
    }

    /// All the rules that hold for an agent: its own, then the site's.
    pub fn for_agent(&self, own: &Policy) -> Policy {
        Policy {
            rules: own.rules.iter().chain(&self.site.rules).cloned().collect(),
            default: own.default.or(self.site.default),
            source: own.source.clone(),
        }
    }
}

fn rules(file: &str, key: &str, value: &Yaml, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let items = match &value.kind {
        Kind::List(items) => items.as_slice(),
        _ if value.is_null() => &[],
        _ => {
            problems.push(Problem::at(
                file,
                value.line,
                key,
                0,
                "wants a list of rules",
            ));
            &[]
        }
    };
    let mut found = Vec::new();
    for item in items {
        match rule(file, key, item) {
            Ok(rule) => found.push(rule),
            Err(problem) => problems.push(problem),
        }
    }
    found
}

/// The members of a rule, in the order of the columns of a `.policy` file.
const MEMBERS: [&str; 5] = ["action", "callers", "actions", "facts", "classes"];

fn rule(file: &str, key: &str, item: &Yaml) -> Result<Rule, Problem> {
    let wrong = |line: usize, text: String| Problem::at(file, line, key, 0, text);
    let Kind::Map(members) = &item.kind else {
        let text = "a rule is a map of action, callers, actions, facts, classes";
        return Err(wrong(item.line, text.to_owned()));
    };
    let mut texts: [Option<String>; 5] = Default::default();
    for (name, value) in members {
        let name_text = name.text().unwrap_or_default();
        let place = MEMBERS.iter().position(|member| *member == name_text);
        let Some(slot) = place.and_then(|place| texts.get_mut(place)) else {
            let text = format!(
                "{name_text:?} is unknown; a rule has {}",
                MEMBERS.join(", ")
            );
            return Err(wrong(name.line, text));
        };
        *slot =
            Some(list(value).map_err(|text| wrong(value.line, format!("{name_text}: {text}")))?);
    }
    let [verdict, callers, actions, facts, classes] = texts;
    let (Some(verdict), Some(callers)) = (verdict, callers) else {
        let text = "a rule needs action (allow or deny) and callers";
        return Err(wrong(item.line, text.to_owned()));
    };
    let everything = || "*".to_owned();
    let columns = [
        verdict,
        callers,
        actions.unwrap_or_else(everything),
        facts.unwrap_or_else(everything),
        classes.unwrap_or_else(everything),
    ];
    // Shown as the line that it would be in a .policy file, so that a caret has something to point at.
    let line = columns.join("\t");
    let mut at = 0;
    let mut next = columns.iter().map(|column| {
        let start = at;
        at += column.len() + 1;
        (start, column.as_str())
    });
    let mut take = || next.next().unwrap_or_default();
    let columns = Columns {
        verdict: take(),
        callers: take(),
        actions: take(),
        facts: take(),
        classes: Some(take()),
    };
    let name = format!("{}:{} {key}", base_name(file), item.line);
    columns
        .rule(name, true)
        .map_err(|(at, text)| Problem::at(file, item.line, &line, at, text))
}

/// A text, or a list of texts none of which holds a space.
fn list(value: &Yaml) -> Result<String, String> {
    match &value.kind {
        Kind::Scalar(text, _) if !value.is_null() => Ok(text.trim().to_owned()),
        Kind::List(items) => {
            let words: Option<Vec<&str>> = items.iter().map(Yaml::text).collect();
            match words {
                Some(words) if words.iter().any(|word| word.contains(char::is_whitespace)) => Err(
                    "an item of a list holds no spaces; a compound statement is one text"
                        .to_owned(),
                ),
                Some(words) if !words.is_empty() => Ok(words.join(" ")),
                _ => Err("wants texts".to_owned()),
            }
        }
        _ => Err("wants a text, or a list of texts".to_owned()),
    }
}
