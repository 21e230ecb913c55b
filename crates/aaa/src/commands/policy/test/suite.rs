//! Suites: which rules are asked, about what, and what is expected.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::claims::ClientClaims;
use aaa_core::request::Request;
use aaa_policy::actionpolicy::yaml::{self, Kind, Yaml};
use aaa_policy::actionpolicy::{ActionPolicy, Node, Options};
use aaa_signer::Site;
use aaa_signer::action_policy::Files;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::beside;
use super::case::{Asking, Expected, Token, several};
use crate::commands::policy;
use crate::failure::Failure;
use crate::files;

/// A suite that is ready to run.
pub(super) struct Suite {
    /// Its file.
    pub(super) path: PathBuf,
    /// Which rules are asked, where it is not those of each token.
    pub(super) rules: Option<Rules>,
    /// Its cases, in their order.
    pub(super) cases: Vec<Case>,
}

/// Rules of a site.
pub(super) struct Rules {
    /// What they are called in reports.
    pub(super) name: String,
    /// Who decides.
    pub(super) site: Site,
    /// Those of Action Policy, which nodes have too.
    pub(super) action_policy: Option<Arc<ActionPolicy>>,
}

/// One question, and the answer that is expected.
pub(super) struct Case {
    /// The line where it stands.
    pub(super) line: usize,
    /// What it is called.
    pub(super) name: String,
    /// Who asks.
    pub(super) claims: Arc<ClientClaims>,
    /// What they ask.
    pub(super) request: Request,
    /// The node that is asked, where it is not the signer.
    pub(super) node: Option<Arc<Node>>,
    /// When.
    pub(super) at: Timestamp,
    /// What is expected.
    pub(super) expected: Expected,
}

/// All that a suite may have.
const KEYS: [&str; 10] = [
    "config",
    "policies",
    "hiera",
    "groups",
    "allow_unconfigured",
    "enable_default",
    "default_name",
    "at",
    "callers",
    "cases",
];

/// What stands before the callers and the cases.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    config: Option<PathBuf>,
    #[serde(deserialize_with = "several")]
    policies: Vec<String>,
    #[serde(deserialize_with = "several")]
    hiera: Vec<String>,
    groups: Option<PathBuf>,
    allow_unconfigured: bool,
    enable_default: bool,
    default_name: Option<String>,
    at: Option<Timestamp>,
}

/// Collects what is wrong with a suite.
struct Problems<'a> {
    path: &'a Path,
    found: Vec<String>,
}

impl Problems<'_> {
    fn at(&mut self, line: usize, text: impl Display) {
        let path = self.path.display();
        self.found.push(format!("{path}:{line}: {text}"));
    }
}

impl Suite {
    /// Reads a suite and its rules, or those of `config` in their place. Where it says no time, it is `now`.
    ///
    /// # Errors
    /// Everything that is wrong, with file and line.
    pub(super) fn read(
        path: &Path,
        config: Option<&Path>,
        now: Timestamp,
    ) -> Result<Self, Vec<String>> {
        let one = |text: String| vec![text];
        let bytes = files::read(path).map_err(|failure| one(failure.to_string()))?;
        let members = yaml::parse(&path.display().to_string(), &bytes)
            .map_err(|problem| one(problem.to_string()))?;
        let mut problems = Problems {
            path,
            found: Vec::new(),
        };
        let (mut head, mut callers, mut written) = (Map::new(), Vec::new(), Vec::new());
        for (key, value) in members {
            let name = key.text().unwrap_or_default().to_owned();
            match (name.as_str(), value.kind) {
                ("callers", Kind::Map(members)) => callers = members,
                ("cases", Kind::List(items)) => written = items,
                ("callers", _) => problems.at(value.line, "callers wants a map of caller ids"),
                ("cases", _) => problems.at(value.line, "cases wants a list"),
                (other, _) if !KEYS.contains(&other) => {
                    let known = KEYS.join(", ");
                    problems.at(key.line, format!("{other} is unknown; a suite has {known}"));
                }
                (_, kind) => {
                    let line = value.line;
                    let one = Map::from_iter([(name.clone(), Yaml { line, kind }.json())]);
                    // By itself, so that what is wrong is known to be here.
                    match serde_json::from_value::<Head>(Value::Object(one.clone())) {
                        Ok(_) => head.extend(one),
                        Err(error) => problems.at(key.line, format!("{name}: {error}")),
                    }
                }
            }
        }
        let head: Head = serde_json::from_value(Value::Object(head)).unwrap_or_default();
        let now = head.at.unwrap_or(now);
        let rules = match head.rules(path, config, now) {
            Ok(rules) => rules,
            Err(failure) => {
                problems.found.push(failure.to_string());
                None
            }
        };
        let callers = tokens(path, callers, &mut problems);
        let mut cases = Vec::new();
        for item in written {
            let line = item.line;
            let asking = serde_json::from_value::<Asking>(item.json());
            let read = asking
                .map_err(|error| error.to_string())
                .and_then(|asking| asking.cases(line, path, &callers, now));
            match read {
                Ok(read) => cases.extend(read),
                Err(text) => problems.at(line, text),
            }
        }
        let at_nodes = rules
            .as_ref()
            .is_some_and(|rules| rules.action_policy.is_some());
        if problems.found.is_empty() && !at_nodes {
            for case in cases.iter().filter(|case| case.node.is_some()) {
                problems.at(case.line, "node: only Action Policy decides at nodes");
            }
        }
        if cases.is_empty() && problems.found.is_empty() {
            problems.at(1, "has no cases");
        }
        if !problems.found.is_empty() {
            return Err(problems.found);
        }
        Ok(Self {
            path: path.to_owned(),
            rules,
            cases,
        })
    }
}

/// What the tokens of callers hold, by their ids.
fn tokens(
    path: &Path,
    written: Vec<(Yaml, Yaml)>,
    problems: &mut Problems<'_>,
) -> BTreeMap<String, Arc<ClientClaims>> {
    let mut callers = BTreeMap::new();
    for (id, token) in written {
        let (id, line) = (id.text().unwrap_or_default().to_owned(), token.line);
        let token = serde_json::from_value::<Token>(token.json());
        let claims = token
            .map_err(|error| error.to_string())
            .and_then(|token| token.claims(&id, path));
        match claims {
            Ok(claims) => {
                callers.insert(id, Arc::new(claims));
            }
            Err(text) => problems.at(line, format!("{id}: {text}")),
        }
    }
    callers
}

impl Head {
    /// The rules that it names, if it names any.
    fn rules(
        self,
        suite: &Path,
        config: Option<&Path>,
        now: Timestamp,
    ) -> Result<Option<Rules>, Failure> {
        let named = |path: &Path| path.display().to_string();
        if let Some(path) = config {
            return Ok(Some(Rules::new(named(path), policy::site(path, now)?)));
        }
        let files = !self.policies.is_empty() || !self.hiera.is_empty();
        match self.config {
            Some(_) if files => {
                let text = "names a config, and policies or hiera; the rules are in one of them";
                Err(Failure::usage(format!("{}: {text}", named(suite))))
            }
            Some(path) => {
                let name = named(&beside(suite, &path));
                let read = within(suite, || policy::site(&path, now))??;
                Ok(Some(Rules::new(name, read)))
            }
            None if files => self.action_policy(suite).map(Some),
            None => Ok(None),
        }
    }

    fn action_policy(self, suite: &Path) -> Result<Rules, Failure> {
        let beside = |path: &String| beside(suite, Path::new(path));
        let name = self.default_name.unwrap_or_else(|| "default".to_owned());
        let policies: Vec<PathBuf> = self.policies.iter().map(beside).collect();
        let hiera: Vec<PathBuf> = self.hiera.iter().map(beside).collect();
        let all = policies.iter().chain(&hiera);
        let all: Vec<_> = all.map(|path| path.display().to_string()).collect();
        let policy = policy::load(&Files {
            policies,
            hiera,
            groups: self.groups.map(|groups| super::beside(suite, &groups)),
            options: Options {
                allow_unconfigured: self.allow_unconfigured,
                default_policy: self.enable_default.then_some(name),
                ..Options::default()
            },
        })?;
        let alone = Site {
            action_policy: Some(policy.clone()),
            ..policy::by(Box::new(policy))
        };
        Ok(Rules::new(all.join(" "), alone))
    }
}

impl Rules {
    fn new(name: String, mut site: Site) -> Self {
        Self {
            name,
            action_policy: site.action_policy.take().map(Arc::new),
            site,
        }
    }
}

/// Does something in the directory of a suite, from which the paths in a configuration count.
fn within<T>(suite: &Path, work: impl FnOnce() -> T) -> Result<T, Failure> {
    let there = match suite.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => return Ok(work()),
    };
    let to = |directory: &Path| {
        std::env::set_current_dir(directory)
            .map_err(|error| Failure::file("enter", directory, &error))
    };
    let here =
        std::env::current_dir().map_err(|error| Failure::file("find", Path::new("."), &error))?;
    to(there)?;
    let done = work();
    to(&here)?;
    Ok(done)
}
