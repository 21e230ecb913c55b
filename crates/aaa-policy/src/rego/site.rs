//! The authorizer `site_policies`: Rego of the site, which applies to every request whatever its token says.
//!
//! It is in files, or in one that holds them, a bundle of OPA. Each is a policy of its own, written like those in tokens, and all of
//! them must allow. They share the site's data documents, which they see under `data`.

use std::fmt;
use std::path::Path;

use aaa_core::decision::Decision;
use regorus::Value;
use regorus::value::Object;
use serde_json::Map;

use super::archive::within;
use super::bundle::Bundle;
use super::input;
use super::lane::{Aside, Lane};
use super::machine::{Given, Needs, Verdict};
use super::policy::Policy;
use super::source::Version;
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
    policies: Vec<Written>,
    revision: Option<String>,
    data: Vec<(String, Vec<(String, Value)>)>,
    bytes: usize,
    problems: Vec<SiteProblem>,
}

/// A policy as it was read.
#[derive(Debug)]
struct Written {
    /// What problems call its file.
    file: String,
    /// What decisions call it: the name of its file, or its path in the bundle.
    name: String,
    text: String,
    version: Option<Version>,
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
        match problem::text(file, bytes) {
            Ok(text) => {
                let name = Path::new(file).file_name().unwrap_or_default();
                self.policies.push(Written {
                    file: file.to_owned(),
                    name: name.to_string_lossy().into_owned(),
                    text: text.to_owned(),
                    version: None,
                });
            }
            Err(problem) => self.problem(false, problem.to_string()),
        }
    }

    /// Adds the policies and the data of a bundle of OPA.
    pub fn bundle(&mut self, file: &str, bytes: &[u8]) {
        let bundle = match Bundle::read(file, bytes) {
            Ok(bundle) => bundle,
            Err(problems) => {
                for problem in problems {
                    self.problem(false, problem.to_string());
                }
                return;
            }
        };
        self.bytes = self.bytes.saturating_add(bundle.data_bytes);
        self.members(false, file, bundle.data);
        self.revision = Some(bundle.revision).filter(|revision| !revision.is_empty());
        let policies = bundle.policies.into_iter();
        self.policies.extend(policies.map(|policy| Written {
            file: within(file, &policy.path),
            name: policy.path,
            text: policy.text,
            version: policy.version,
        }));
    }

    /// Adds a data document, an object whose members are added to `data`: JSON if its name ends so, else YAML.
    pub fn data(&mut self, file: &str, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        let read = if problem::is_json(file) {
            problem::json(file, bytes)
        } else {
            data_file(file, bytes)
        };
        match read {
            Ok(serde_json::Value::Object(members)) => self.members(true, file, members),
            Ok(_) => self.problem(true, format!("{file}: must hold an object")),
            Err(problem) => self.problem(true, problem.to_string()),
        }
    }

    fn members(&mut self, data: bool, file: &str, members: Map<String, serde_json::Value>) {
        let mut taken = Vec::with_capacity(members.len());
        for (name, value) in members {
            let earlier = self
                .data
                .iter()
                .find(|(_, members)| members.iter().any(|(other, _)| *other == name));
            if let Some((other, _)) = earlier {
                let problem = format!("{file}: `{name}` is in {other} already");
                self.problem(data, problem);
            } else if name == RESERVED {
                let problem = format!("{file}: `{name}` is where the policies themselves are");
                self.problem(data, problem);
            } else {
                taken.push((name, input::value(&value)));
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
        if self.policies.is_empty() && self.problems.iter().all(|problem| problem.data) {
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
        for Written {
            file,
            name,
            text,
            version,
        } in std::mem::take(&mut self.policies)
        {
            let longest = limits.policy_bytes;
            let compiled = compile_with(&name, &text, data.clone(), version, longest, &lane);
            match compiled.map_err(not_compiled).and_then(|compiled| compiled) {
                Ok(policy) => {
                    for unused in policy.unused() {
                        self.problem(false, unused.in_file(&file, &text).to_string());
                    }
                    policies.push(Named { name, text, policy });
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
            revision: self.revision,
            limits,
            lane,
        })
    }
}

struct Named {
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
    revision: Option<String>,
    limits: Limits,
    /// Apart from that of policies in tokens, so that no bearer keeps the site's own from running.
    lane: Lane,
}

impl SitePolicies {
    /// What the maker of the bundle calls the state of it that was read.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }
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
