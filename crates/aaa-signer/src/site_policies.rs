//! The section `opa_authorizer`: Rego of the site, where it lies, how it is read, and what becomes of a change.

use std::path::{Path, PathBuf};

use aaa_policy::rego::Limits;
use aaa_policy::rego::site::{SitePolicies, SiteProblem, Sources};
use aaa_service::config::{Document, Kind, Setting};
use aaa_service::shell::Directory;

use crate::aside::aside;
use crate::followed::{Configured, FilesProblem, Loaded, Reader, Source, directories_in};

/// The name of the section, and of its files in the log.
pub(crate) const SECTION: &str = "opa_authorizer";

/// The most entries that a directory may have.
const FILES: usize = 1000;

/// The section `opa_authorizer`.
pub static OPA_AUTHORIZER: &[Setting] = &[
    Setting::new(
        "site_policies",
        Kind::Path,
        "A directory of `.rego` files, or a bundle of OPA (`.tar.gz`), that apply to every request, whatever its token says: all of them \
         must allow. Followed, with files that are added or removed.",
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
pub(crate) struct Files {
    policies: PathBuf,
    data: Vec<PathBuf>,
}

/// Reads a file, or all that a directory holds.
fn each(
    reader: &mut Reader,
    setting: &'static str,
    path: &Path,
    of: fn(&Path) -> Directory,
    mut take: impl FnMut(&str, &[u8]),
) {
    let files = if path.is_dir() {
        of(path).files()
    } else {
        Ok(vec![path.to_owned()])
    };
    match files {
        Ok(files) => {
            for file in files {
                reader.file(setting, &file, &mut take);
            }
        }
        Err(error) => reader.problem(setting, format!("{}: {error}", path.display())),
    }
}

/// A directory of policies.
fn of_policies(path: &Path) -> Directory {
    directory(path, &["rego"])
}

/// A directory of data documents.
fn of_data(path: &Path) -> Directory {
    directory(path, &["json", "yaml", "yml"])
}

fn directory(path: &Path, endings: &'static [&'static str]) -> Directory {
    Directory {
        path: path.to_owned(),
        endings,
        names: &[],
        most: FILES,
    }
}

impl Source for Files {
    const SECTION: &'static str = SECTION;
    type Rules = SitePolicies;

    fn load(&self) -> Result<Loaded<SitePolicies>, Vec<FilesProblem>> {
        let (mut reader, mut sources) = (Reader::default(), Sources::default());
        let (setting, policies) = ("site_policies", &self.policies);
        if policies.is_dir() {
            let take = |name: &str, bytes: &[u8]| sources.policy(name, bytes);
            each(&mut reader, setting, policies, of_policies, take);
        } else {
            reader.file(setting, policies, |name, bytes| sources.bundle(name, bytes));
            if reader.failed() {
                return reader.finish(Err(Vec::new()));
            }
        }
        for path in &self.data {
            each(&mut reader, "data", path, of_data, |name, bytes| {
                sources.data(name, bytes);
            });
        }
        reader.finish(sources.build(Limits::default(), aside).map_err(|wrong| {
            let problem = |problem: SiteProblem| FilesProblem {
                setting: if problem.data { "data" } else { setting },
                text: problem.text,
            };
            wrong.into_iter().map(problem).collect()
        }))
    }

    fn directories(&self) -> Vec<Directory> {
        let mut directories = directories_in(std::slice::from_ref(&self.policies), of_policies);
        directories.extend(directories_in(&self.data, of_data));
        directories
    }

    fn taken(rules: &SitePolicies) {
        if let Some(revision) = rules.revision() {
            tracing::info!(what = SECTION, revision, "bundle taken");
        }
    }
}

/// The section, and the policies as they were read.
pub(crate) struct Settings {
    pub(crate) configured: Configured<Files>,
    /// Whether the policy in the token must allow, too.
    pub(crate) with_tokens: bool,
}

impl Settings {
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
        Some(Self {
            configured: Configured::load(document, files)?,
            with_tokens,
        })
    }
}
