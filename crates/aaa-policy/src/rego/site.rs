//! The authorizer `site_policies`: Rego of the site, which applies to every request whatever its token says.
//!
//! Each file is a policy of its own, written like those in tokens, and all of them must allow. They share the site's data
//! documents, which they see under `data`.

use std::fmt;
use std::path::Path;

use aaa_core::decision::Decision;
use regorus::Value;
use regorus::value::Object;

use super::error::PolicyError;
use super::input;
use super::lane::{Aside, Lane};
use super::machine::{Given, Needs, Policy, Verdict};
use super::{Limits, compile_with, not_compiled};
use crate::actionpolicy::data_file;
use crate::problem;
use crate::{Authorizer, Line, Look, Question};

/// The most that the data documents may have together, in bytes.
pub const MOST_DATA: usize = 8 << 20;

/// The most members that `data` may have. An evaluation copies their names.
const MOST_MEMBERS: usize = 256;

/// Where policies are, in `data`.
const RESERVED: &str = "io";

/// Files of a site, read one after the other.
#[derive(Debug, Default)]
pub struct Sources {
    policies: Vec<(String, String)>,
    data: Vec<(String, Vec<(String, Value)>)>,
    bytes: usize,
    problems: Vec<SiteProblem>,
}

/// What is wrong with a file of a site: its name, and what.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct SiteProblem {
    /// Whether the file is a data document.
    pub data: bool,
    /// The name of the file, and what is wrong with it where.
    pub text: String,
}

impl Sources {
    /// Adds a policy.
    pub fn policy(&mut self, file: &str, bytes: &[u8]) {
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                self.policies.push((file.to_owned(), text.to_owned()));
            }
            Err(_) => self.problem(false, format!("{file}: is no text")),
        }
    }

    /// Adds a data document, an object whose members are added to `data`: JSON if its name ends so, else YAML.
    pub fn data(&mut self, file: &str, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        let read = if problem::is_json(file) {
            problem::json(file, bytes)
        } else {
            data_file(file, bytes)
        };
        let members = match read {
            Ok(serde_json::Value::Object(members)) => members,
            Ok(_) => return self.problem(true, format!("{file}: must hold an object")),
            Err(problem) => return self.problem(true, problem.to_string()),
        };
        let mut taken = Vec::with_capacity(members.len());
        for (name, value) in &members {
            let earlier = self
                .data
                .iter()
                .find(|(_, members)| members.iter().any(|(other, _)| other == name));
            if let Some((other, _)) = earlier {
                let problem = format!("{file}: `{name}` is in {other} already");
                self.problem(true, problem);
            } else if name == RESERVED {
                let problem = format!("{file}: `{name}` is where the policies themselves are");
                self.problem(true, problem);
            } else {
                taken.push((name.clone(), input::value(value)));
            }
        }
        self.data.push((file.to_owned(), taken));
    }

    fn problem(&mut self, data: bool, text: String) {
        self.problems.push(SiteProblem { data, text });
    }

    /// The policies, ready to decide, which wait in that way when they take long.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn build(mut self, limits: Limits, aside: Aside) -> Result<SitePolicies, Vec<SiteProblem>> {
        if self.bytes > MOST_DATA {
            let problem = format!("the data documents have more than {MOST_DATA} bytes together");
            self.problem(true, problem);
        }
        let members: Vec<_> = std::mem::take(&mut self.data)
            .into_iter()
            .flat_map(|(_, members)| members)
            .collect();
        if members.len() > MOST_MEMBERS {
            let problem = format!(
                "the data documents have more than {MOST_MEMBERS} members; put some under one name"
            );
            self.problem(true, problem);
        }
        if self.policies.is_empty() {
            self.problem(false, "there is no policy in it".to_owned());
        }
        let members = members.into_iter();
        let data = Value::from(
            members
                .map(|(name, value)| (Value::from(name), value))
                .collect::<Object>(),
        );
        let lane = Lane::new(aside);
        let mut policies = Vec::with_capacity(self.policies.len());
        for (file, text) in std::mem::take(&mut self.policies) {
            match compile(&file, &text, &data, limits, &lane) {
                Ok(policy) => {
                    for unused in policy.policy.unused() {
                        self.problem(false, unused.in_file(&file, &text).to_string());
                    }
                    policies.push(policy);
                }
                Err(error) => self.problem(false, error.in_file(&file, &text).to_string()),
            }
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let rule = match policies.as_slice() {
            [one] => one.policy.rule.clone(),
            several => format!("{} site policies", several.len()),
        };
        let needs = policies.iter().map(|policy| policy.policy.needs());
        Ok(SitePolicies {
            needs: needs.fold(Needs::NOTHING, Needs::or),
            policies,
            rule,
            limits,
            lane,
        })
    }
}

fn compile(
    file: &str,
    text: &str,
    data: &Value,
    limits: Limits,
    lane: &Lane,
) -> Result<Named, PolicyError> {
    let name = Path::new(file).file_name().unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let policy = compile_with(&name, text, data.clone(), limits.policy_bytes, lane)
        .map_err(not_compiled)??;
    let text = text.to_owned();
    Ok(Named { name, text, policy })
}

struct Named {
    /// The name of its file, without the directory.
    name: String,
    /// How its author wrote it.
    text: String,
    policy: Policy,
}

/// Policies of a site that are ready to decide.
pub struct SitePolicies {
    policies: Vec<Named>,
    /// What they need of a request, all together.
    needs: Needs,
    /// What an allowed request is allowed by.
    rule: String,
    limits: Limits,
    /// Apart from that of policies in tokens, so that no bearer keeps the site's own from running.
    lane: Lane,
}

impl fmt::Debug for SitePolicies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.policies.iter().map(|policy| &policy.name);
        f.debug_list().entries(names).finish()
    }
}

impl Authorizer for SitePolicies {
    fn name(&self) -> &'static str {
        "site_policies"
    }

    /// Asks one policy after the other, by name; the first that does not allow ends it, and is named.
    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        if self.policies.is_empty() {
            return Decision::failed("there are no site policies");
        }
        let given = Given::new(question, self.needs, self.limits.time);
        for Named { name, policy, .. } in &self.policies {
            let verdict = policy.evaluate(given.clone(), &self.lane);
            let allows = verdict == Verdict::Allow;
            seen(&Look {
                rule: name,
                text: &"",
                decided: !allows,
                found: if allows { &"allows" } else { &"does not allow" },
            });
            match verdict {
                Verdict::Allow => {}
                Verdict::Deny(missing) => return policy.refusal(&missing),
                Verdict::Trouble(trouble) => {
                    return Decision::failed(format!("{name} cannot be applied: {trouble}"));
                }
            }
        }
        Decision::allow(self.rule.clone())
    }

    fn lines(&self, question: &Question<'_>) -> Vec<Line> {
        let given = Given::new(question, self.needs, self.limits.time);
        let mut lines = Vec::new();
        for Named { name, text, policy } in &self.policies {
            lines.extend(policy.lines(name, text, given.clone(), &self.lane));
            if policy.evaluate(given.clone(), &self.lane) != Verdict::Allow {
                break;
            }
        }
        lines
    }
}
