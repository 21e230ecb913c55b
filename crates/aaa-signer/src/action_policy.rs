//! The rules of the authorizer `actionpolicy`: where they lie, how they are read, and what becomes of a change.

use std::path::{Path, PathBuf};

use aaa_policy::actionpolicy::{ActionPolicy, Options, Problem, Sources, Verdict};
use aaa_service::config::{Document, Kind, Setting};
use aaa_service::shell::Directory;

use crate::followed::{Configured, Reader, Source, directories_in};
pub use crate::followed::{FilesProblem, Loaded};

/// The name of the section, and of the authorizer's files in the log.
pub(crate) const SECTION: &str = "actionpolicy_authorizer";

/// The most files that a directory may hold.
const FILES: usize = 10_000;

/// The section `actionpolicy_authorizer`.
pub static ACTIONPOLICY_AUTHORIZER: &[Setting] = &[
    Setting::new(
        "policies",
        Kind::List,
        "Files `<agent>.policy`, and directories of them. A file named `groups` in a directory holds its groups. Followed, also what is \
         added to a directory or removed from it.",
    )
    .example("[\"/etc/aaa/policies\"]"),
    Setting::new(
        "hiera",
        Kind::List,
        "Hiera files in YAML, with `mcollective::policies` and `mcollective_agent_<name>::policies`. Followed.",
    )
    .example("[\"/etc/aaa/hiera.yaml\"]"),
    Setting::new(
        "groups",
        Kind::Path,
        "The file of groups, if it is not in a directory of policies. Followed.",
    )
    .example("\"/etc/aaa/groups\""),
    Setting::new(
        "default",
        Kind::OneOf(&["allow", "deny"]),
        "What holds where no rule does and the policy names no default.",
    )
    .default("deny")
    .example("\"deny\""),
    Setting::new(
        "allow_unconfigured",
        Kind::Bool,
        "Whether a policy that names no default allows. An agent without a policy is refused nonetheless, as by nodes.",
    )
    .default("false")
    .example("false"),
    Setting::new(
        "enable_default",
        Kind::Bool,
        "Whether an agent without a policy has the one that `default_name` names.",
    )
    .default("false")
    .example("true"),
    Setting::new(
        "default_name",
        Kind::Text,
        "The name of the policy for agents without one, without `.policy`.",
    )
    .default("default")
    .example("\"default\""),
];

/// Where rules lie, and what is set beside them.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// `.policy` files, and directories of them.
    pub policies: Vec<PathBuf>,
    /// Hiera files.
    pub hiera: Vec<PathBuf>,
    /// The file of groups.
    pub groups: Option<PathBuf>,
    /// What is set beside them.
    pub options: Options,
}

/// The policies that a path stands for, and the groups beside them.
fn policies(path: &Path, reader: &mut Reader) -> (Vec<PathBuf>, Option<PathBuf>) {
    if !path.is_dir() {
        return (vec![path.to_owned()], None);
    }
    match directory(path).files() {
        Ok(mut found) => {
            let groups = path.join(GROUPS);
            let groups = found.iter().position(|file| *file == groups);
            let groups = groups.map(|place| found.remove(place));
            if found.is_empty() && groups.is_none() {
                let text = format!("{}: holds no .policy file", path.display());
                reader.problem("policies", text);
            }
            (found, groups)
        }
        Err(error) => {
            let text = format!("{}: cannot be read ({error})", path.display());
            reader.problem("policies", text);
            (Vec::new(), None)
        }
    }
}

/// The name of the file of groups in a directory of policies.
const GROUPS: &str = "groups";

/// What is read from a directory of policies.
fn directory(path: &Path) -> Directory {
    Directory {
        path: path.to_owned(),
        endings: &["policy"],
        names: &[GROUPS],
        most: FILES,
    }
}

impl Source for Files {
    const SECTION: &'static str = SECTION;
    type Rules = ActionPolicy;

    fn load(&self) -> Result<Loaded<ActionPolicy>, Vec<FilesProblem>> {
        let (mut reader, mut sources) = (Reader::default(), Sources::default());
        let mut groups: Vec<PathBuf> = self.groups.iter().cloned().collect();
        for path in &self.policies {
            let (files, beside) = policies(path, &mut reader);
            for file in files {
                reader.file("policies", &file, |name, bytes| sources.policy(name, bytes));
            }
            if self.groups.is_none() {
                groups.extend(beside);
            }
        }
        for path in &self.hiera {
            reader.file("hiera", path, |name, bytes| sources.hiera(name, bytes));
        }
        if let [_, second, ..] = groups.as_slice() {
            let text = format!("{} is a second file of groups; name one", second.display());
            reader.problem("groups", text);
        } else if let [only] = groups.as_slice() {
            reader.file("groups", only, |name, bytes| sources.groups(name, bytes));
        }
        reader.finish(sources.build(&self.options).map_err(|wrong| {
            let problem = |problem: &Problem| FilesProblem {
                setting: "policies",
                text: problem.to_string(),
            };
            wrong.iter().map(problem).collect()
        }))
    }

    fn directories(&self) -> Vec<Directory> {
        directories_in(&self.policies, directory)
    }
}

impl Files {
    /// Reads the rules.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(&self) -> Result<Loaded<ActionPolicy>, Vec<FilesProblem>> {
        Source::load(self)
    }

    /// Reads the section; what is wrong with it is for the document.
    fn read(document: &Document) -> Option<Self> {
        let top = document.top();
        let Some(section) = document.section(SECTION, ACTIONPOLICY_AUTHORIZER) else {
            top.problem(
                SECTION,
                "missing; authorizer is actionpolicy, and this says where its rules are",
            );
            return None;
        };
        let paths = |key| section.list(key).into_iter().map(PathBuf::from).collect();
        let default = section.string("default");
        let name = section.string("default_name");
        let files = Self {
            policies: paths("policies"),
            hiera: paths("hiera"),
            groups: section.path("groups"),
            options: Options {
                default: default
                    .and_then(|word| Verdict::parse(&word))
                    .unwrap_or(Verdict::Deny),
                allow_unconfigured: section.boolean("allow_unconfigured"),
                default_policy: name.filter(|_| section.boolean("enable_default")),
            },
        };
        if files.policies.is_empty() && files.hiera.is_empty() {
            section.problem(
                "policies",
                "missing; the rules are in policies, in hiera, or in both",
            );
            return None;
        }
        Some(files)
    }
}

/// Reads the section and the rules; what is wrong is for the document.
pub(crate) fn read(document: &Document) -> Option<Configured<Files>> {
    Configured::load(document, Files::read(document)?)
}

#[cfg(test)]
#[path = "action_policy_tests.rs"]
mod tests;
