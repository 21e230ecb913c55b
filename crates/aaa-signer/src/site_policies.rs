//! The section `opa_authorizer`: Rego of the site, where it lies, how it is read, and what becomes of a change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::decision::Decision;
use aaa_policy::actionpolicy::MAX_FILE;
use aaa_policy::rego::Limits;
use aaa_policy::rego::site::{SitePolicies, Sources};
use aaa_policy::{Authorizer, Line, Look, Question};
use aaa_service::config::{Document, FileContent, Kind, Setting};
use aaa_service::shell::{Directory, Shell};
use arc_swap::ArcSwap;

use crate::aside::aside;

/// The name of the section, and of its files in the log.
pub(crate) const SECTION: &str = "opa_authorizer";

/// The most entries that a directory may have.
const FILES: usize = 1000;

/// How the names of data documents end.
const DATA: &[&str] = &["json", "yaml", "yml"];

/// The section `opa_authorizer`.
pub static OPA_AUTHORIZER: &[Setting] = &[
    Setting::new(
        "site_policies",
        Kind::Path,
        "A directory of `.rego` files that apply to every request, whatever its token says: all of them must allow. Followed, with files \
         that are added or removed.",
    )
    .example("\"/etc/aaa/rego\""),
    Setting::new(
        "data",
        Kind::List,
        "Data documents in JSON or YAML, and directories of them (`.json`, `.yaml`, `.yml`). Site policies see their members under `data`. \
         Followed, with files that are added to directories or removed.",
    )
    .example("[\"/etc/aaa/rego/data.yaml\"]"),
    Setting::new(
        "mode",
        Kind::OneOf(&["and", "site-only"]),
        "Whether the policy in the token must allow, too (`and`), or is not looked at (`site-only`).",
    )
    .default("and")
    .example("\"and\""),
];

/// Where the policies and their data lie.
#[derive(Debug, Clone)]
struct Files {
    policies: PathBuf,
    data: Vec<PathBuf>,
}

/// Policies that were read, and what was read for them.
struct Loaded {
    policies: Arc<SitePolicies>,
    contents: Vec<FileContent>,
}

/// Something that is wrong: the setting that led there, and what.
struct Problem {
    setting: &'static str,
    text: String,
}

/// Reads files, and collects what is wrong with them.
#[derive(Default)]
struct Reader {
    contents: Vec<FileContent>,
    problems: Vec<Problem>,
}

impl Reader {
    /// Reads a file, or all that a directory holds.
    fn read(
        &mut self,
        setting: &'static str,
        path: &Path,
        endings: &'static [&'static str],
        mut take: impl FnMut(&str, &[u8]),
    ) {
        let files = if path.is_dir() {
            directory(path, endings).files()
        } else {
            Ok(vec![path.to_owned()])
        };
        match files {
            Ok(files) => {
                for file in files {
                    self.file(setting, &file, &mut take);
                }
            }
            Err(error) => self.problem(setting, path, &error),
        }
    }

    fn file(&mut self, setting: &'static str, path: &Path, take: &mut impl FnMut(&str, &[u8])) {
        match FileContent::read(path, MAX_FILE as u64) {
            Ok(content) => {
                take(&path.display().to_string(), content.bytes());
                self.contents.push(content);
            }
            Err(error) => self.problem(setting, path, &error),
        }
    }

    fn problem(&mut self, setting: &'static str, path: &Path, error: &dyn std::error::Error) {
        let text = format!("{}: {error}", path.display());
        self.problems.push(Problem { setting, text });
    }
}

fn directory(path: &Path, endings: &'static [&'static str]) -> Directory {
    Directory {
        path: path.to_owned(),
        endings,
        names: &[],
        most: FILES,
    }
}

impl Files {
    fn load(&self) -> Result<Loaded, Vec<Problem>> {
        let (mut reader, mut sources) = (Reader::default(), Sources::default());
        if self.policies.is_dir() {
            reader.read("site_policies", &self.policies, &["rego"], |name, bytes| {
                sources.policy(name, bytes);
            });
        } else {
            let text = format!("{}: is no directory", self.policies.display());
            let setting = "site_policies";
            return Err(vec![Problem { setting, text }]);
        }
        for path in &self.data {
            reader.read("data", path, DATA, |name, bytes| sources.data(name, bytes));
        }
        let Reader {
            contents,
            mut problems,
        } = reader;
        match sources.build(Limits::default(), aside) {
            Ok(policies) if problems.is_empty() => {
                let policies = Arc::new(policies);
                return Ok(Loaded { policies, contents });
            }
            Ok(_) => {}
            Err(wrong) => problems.extend(wrong.into_iter().map(|problem| Problem {
                setting: if problem.data {
                    "data"
                } else {
                    "site_policies"
                },
                text: problem.text,
            })),
        }
        Err(problems)
    }

    /// What is followed as a whole.
    fn directories(&self) -> Vec<Directory> {
        let data = self.data.iter().filter(|path| path.is_dir());
        std::iter::once(directory(&self.policies, &["rego"]))
            .chain(data.map(|path| directory(path, DATA)))
            .collect()
    }
}

/// The section, and the policies as they were read.
pub(crate) struct Configured {
    files: Files,
    loaded: Loaded,
    /// Whether the policy in the token must allow, too.
    pub(crate) with_tokens: bool,
}

impl Configured {
    /// Reads the section and the files, where there is one; what is wrong is for the document.
    pub(crate) fn read(document: &Document, opa: bool) -> Option<Self> {
        let section = document.section(SECTION, OPA_AUTHORIZER)?;
        if !opa {
            let text = "authorizer does not name opa, so this would have no effect";
            document.top().problem(SECTION, text);
        }
        let data = section.list("data").into_iter().map(PathBuf::from);
        let with_tokens = section.string("mode").as_deref() != Some("site-only");
        section.require("site_policies");
        let files = Files {
            data: data.collect(),
            policies: section.path("site_policies")?,
        };
        match files.load() {
            Ok(loaded) => Some(Self {
                files,
                loaded,
                with_tokens,
            }),
            Err(problems) => {
                for problem in problems {
                    document.problem(format!("{SECTION}.{}", problem.setting), problem.text);
                }
                None
            }
        }
    }
}

/// The policies in use, which change with their files.
#[derive(Clone)]
pub(crate) struct Followed {
    policies: Arc<ArcSwap<SitePolicies>>,
    files: Arc<ArcSwap<Files>>,
}

impl Followed {
    /// Decides by what was read.
    pub(crate) fn new(configured: &Configured) -> Self {
        Self {
            policies: Arc::new(ArcSwap::new(Arc::clone(&configured.loaded.policies))),
            files: Arc::new(ArcSwap::from_pointee(configured.files.clone())),
        }
    }

    /// Takes over what a reload read.
    pub(crate) fn replace(&self, configured: &Configured) {
        self.files.store(Arc::new(configured.files.clone()));
        self.policies.store(Arc::clone(&configured.loaded.policies));
    }

    /// Reads the policies anew when a file is changed, added or removed; what cannot be read keeps the old ones.
    pub(crate) fn follow(&self, configured: &Configured, shell: &mut Shell) {
        let contents: Vec<&FileContent> = configured.loaded.contents.iter().collect();
        let directories = configured.files.directories();
        let followed = self.clone();
        let limit = MAX_FILE as u64;
        shell.follow_directories(SECTION, &contents, directories, limit, move |_| {
            followed.renew()
        });
    }

    fn renew(&self) -> Result<(), String> {
        let loaded = self.files.load().load().map_err(|problems| {
            let texts: Vec<_> = problems.into_iter().map(|problem| problem.text).collect();
            texts.join("; ")
        })?;
        self.policies.store(loaded.policies);
        Ok(())
    }
}

impl Authorizer for Followed {
    fn name(&self) -> &'static str {
        "site_policies"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        self.policies.load().authorize(question, seen)
    }

    fn lines(&self, question: &Question<'_>) -> Vec<Line> {
        self.policies.load().lines(question)
    }
}
