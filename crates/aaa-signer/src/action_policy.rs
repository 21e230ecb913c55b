//! The rules of the authorizer `actionpolicy`: where they lie, how they are read, and what becomes of a change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::decision::Decision;
use aaa_policy::actionpolicy::{ActionPolicy, MAX_FILE, Options, Sources, Verdict};
use aaa_policy::{Authorizer, Look, Question};
use aaa_service::config::{Document, FileContent, Kind, Setting};
use aaa_service::shell::{Directory, Shell};
use arc_swap::ArcSwap;

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

/// Something that is wrong: the setting that led there, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesProblem {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong with which file.
    pub text: String,
}

/// Rules that were read, and what was read for them.
pub struct Loaded {
    /// The rules.
    pub policy: ActionPolicy,
    /// The files, as they were.
    pub contents: Vec<FileContent>,
}

/// Collects files, and what is wrong with them.
#[derive(Default)]
struct Reader {
    contents: Vec<FileContent>,
    problems: Vec<FilesProblem>,
}

impl Reader {
    fn problem(&mut self, setting: &'static str, text: String) {
        self.problems.push(FilesProblem { setting, text });
    }

    /// Reads a file, and hands on its name and what stands in it.
    fn file(&mut self, setting: &'static str, path: &Path, take: impl FnOnce(&str, &[u8])) {
        match FileContent::read(path, MAX_FILE as u64) {
            Ok(content) => {
                take(&path.display().to_string(), content.bytes());
                self.contents.push(content);
            }
            Err(error) => self.problem(setting, format!("{}: {error}", path.display())),
        }
    }

    /// The policies that a path stands for, and the groups beside them.
    fn policies(&mut self, path: &Path) -> (Vec<PathBuf>, Option<PathBuf>) {
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
                    self.problem("policies", text);
                }
                (found, groups)
            }
            Err(error) => {
                let text = format!("{}: cannot be read ({error})", path.display());
                self.problem("policies", text);
                (Vec::new(), None)
            }
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

impl Files {
    /// Reads the rules.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(&self) -> Result<Loaded, Vec<FilesProblem>> {
        let (mut reader, mut sources) = (Reader::default(), Sources::default());
        let mut groups: Vec<PathBuf> = self.groups.iter().cloned().collect();
        for path in &self.policies {
            let (files, beside) = reader.policies(path);
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
        let built = sources.build(&self.options);
        let Reader {
            contents,
            mut problems,
        } = reader;
        match built {
            Ok(policy) if problems.is_empty() => Ok(Loaded { policy, contents }),
            Ok(_) => Err(problems),
            Err(wrong) => {
                problems.extend(wrong.iter().map(|problem| FilesProblem {
                    setting: "policies",
                    text: problem.to_string(),
                }));
                Err(problems)
            }
        }
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

/// The section and the rules as they were read.
pub(crate) struct Configured {
    files: Files,
    loaded: Loaded,
}

impl Configured {
    /// Reads both; what is wrong is for the document.
    pub(crate) fn read(document: &Document) -> Option<Self> {
        let files = Files::read(document)?;
        match files.load() {
            Ok(loaded) => Some(Self { files, loaded }),
            Err(problems) => {
                for problem in problems {
                    document.problem(format!("{SECTION}.{}", problem.setting), problem.text);
                }
                None
            }
        }
    }
}

impl Configured {
    /// The rules alone.
    pub(crate) fn into_policy(self) -> ActionPolicy {
        self.loaded.policy
    }
}

/// The rules in use, which change with their files.
#[derive(Clone)]
pub(crate) struct Followed {
    rules: Arc<ArcSwap<ActionPolicy>>,
    files: Arc<ArcSwap<Files>>,
}

impl Followed {
    /// Decides by what was read.
    pub(crate) fn new(configured: &Configured) -> Self {
        Self {
            rules: Arc::new(ArcSwap::from_pointee(configured.loaded.policy.clone())),
            files: Arc::new(ArcSwap::from_pointee(configured.files.clone())),
        }
    }

    /// Takes over what a reload read.
    pub(crate) fn replace(&self, configured: &Configured) {
        self.files.store(Arc::new(configured.files.clone()));
        self.rules.store(Arc::new(configured.loaded.policy.clone()));
    }

    /// Reads the rules anew when a file is changed, added or removed; what cannot be read keeps the old ones.
    pub(crate) fn follow(&self, configured: &Configured, shell: &mut Shell) {
        let contents: Vec<&FileContent> = configured.loaded.contents.iter().collect();
        let policies = configured.files.policies.iter();
        let directories = policies.filter(|path| path.is_dir());
        let directories = directories.map(|path| directory(path)).collect();
        let (followed, limit) = (self.clone(), MAX_FILE as u64);
        shell.follow_directories(SECTION, &contents, directories, limit, move |_| {
            followed.renew()
        });
    }

    fn renew(&self) -> Result<(), String> {
        let loaded = self.files.load().load().map_err(|problems| {
            let texts: Vec<_> = problems.into_iter().map(|problem| problem.text).collect();
            texts.join("; ")
        })?;
        self.rules.store(Arc::new(loaded.policy));
        Ok(())
    }
}

impl Authorizer for Followed {
    fn name(&self) -> &'static str {
        "actionpolicy"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        self.rules.load().authorize(question, seen)
    }
}

#[cfg(test)]
#[path = "action_policy_tests.rs"]
mod tests;
