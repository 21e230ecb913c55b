//! Bundles of OPA: policies and data of a site in one file, as `opa build` and bundle servers make them.
//!
//! They are read as OPA reads them, and what of them this service would do otherwise is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::archive::{files, within};
use super::inspect::PACKAGE;
use super::source::{Version, names_others};
use crate::actionpolicy::data_file;
use crate::problem::{self, Problem};

/// What stands before everything else, at the top.
const MANIFEST: &str = ".manifest";

/// The longest revision, in bytes. It stands in the log.
const LONGEST_REVISION: usize = 1024;

/// The most roots. Each is held against each.
const MOST_ROOTS: usize = 256;

/// What is in a bundle.
pub(super) struct Bundle {
    /// The policies, by their paths.
    pub(super) policies: Vec<Module>,
    /// What they see under `data`.
    pub(super) data: Map<String, Value>,
    /// The length of what that was read from, in bytes.
    pub(super) data_bytes: usize,
    /// What its maker calls this state of it; empty for nothing.
    pub(super) revision: String,
}

/// A policy in a bundle.
pub(super) struct Module {
    /// Its path.
    pub(super) path: String,
    /// How its author wrote it.
    pub(super) text: String,
    /// The version of Rego that the bundle says it is in.
    pub(super) version: Option<Version>,
}

impl Bundle {
    /// Reads a bundle; `name` is what problems call it.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Self, Vec<Problem>> {
        let mut files = files(name, bytes).map_err(|problem| vec![problem])?;
        let mut problems = Vec::new();
        let manifest = files
            .remove(MANIFEST)
            .map(|bytes| Manifest::read(&within(name, MANIFEST), &bytes));
        let manifest = manifest.unwrap_or_else(|| Ok(Manifest::default()));
        let manifest = manifest
            .map_err(|problem| problems.push(problem))
            .unwrap_or_default();
        let mut bundle = Self {
            policies: Vec::new(),
            data: Map::new(),
            data_bytes: 0,
            revision: manifest.revision.clone(),
        };
        for (path, bytes) in files {
            if let Err(problem) = bundle.take(name, path, &bytes, &manifest) {
                problems.push(problem);
            }
        }
        problems.extend(
            manifest
                .outside(&bundle)
                .map(|text| Problem::of_file(&within(name, MANIFEST), text)),
        );
        if bundle.policies.len() > 1 {
            problems.extend(bundle.policies.iter().filter_map(|policy| {
                let others = names_others(&policy.text)?;
                Some(others.in_file(&within(name, &policy.path), &policy.text))
            }));
        }
        if problems.is_empty() {
            Ok(bundle)
        } else {
            Err(problems)
        }
    }

    /// Takes a file. Those that mean nothing to OPA are left out, and so are compiled policies: no manifest with one of them in use is taken.
    fn take(
        &mut self,
        bundle: &str,
        path: String,
        bytes: &[u8],
        manifest: &Manifest,
    ) -> Result<(), Problem> {
        let file = within(bundle, &path);
        let wrong = |text: &str| Err(Problem::of_file(&file, text));
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
        match name {
            _ if name.ends_with("signatures.json") => {
                wrong("the bundle is signed, and signatures are not checked here; build it without")
            }
            "patch.json" => {
                wrong("the bundle says what changes in another one (delta); whole ones are taken")
            }
            _ if matches!(name.rsplit_once('.'), Some((_, "rego"))) => {
                let text = problem::text(&file, bytes)?.to_owned();
                let version = manifest.version(&path);
                self.policies.push(Module {
                    path,
                    text,
                    version,
                });
                Ok(())
            }
            "data.json" | "data.yaml" | "data.yml" => self.document(&file, directory, bytes),
            _ if name.ends_with(MANIFEST) => {
                wrong("the manifest of a bundle is `.manifest` at its top")
            }
            _ => Ok(()),
        }
    }

    /// Takes a document, which is under `data` where its directory says.
    fn document(&mut self, file: &str, directory: &str, bytes: &[u8]) -> Result<(), Problem> {
        let value = if problem::is_json(file) {
            problem::json(file, bytes)?
        } else {
            data_file(file, bytes)?
        };
        self.data_bytes = self.data_bytes.saturating_add(bytes.len());
        // OPA takes dots before the first name for those that stand for the top.
        let directory = directory.trim_start_matches(['/', '.']);
        let names = directory.split('/').filter(|name| !name.is_empty());
        let tree = names.rev().fold(value, |value, name| {
            Value::Object(Map::from_iter([(name.to_owned(), value)]))
        });
        let Value::Object(members) = tree else {
            return Err(Problem::of_file(file, "must hold an object"));
        };
        merge(&mut self.data, members, &mut Vec::new()).map_err(|twice| {
            Problem::of_file(
                file,
                format!("`{twice}` is in another file of the bundle already"),
            )
        })
    }
}

/// Adds members, those of objects that are in both below them.
///
/// # Errors
/// What else is in both.
fn merge(
    into: &mut Map<String, Value>,
    from: Map<String, Value>,
    at: &mut Vec<String>,
) -> Result<(), String> {
    for (name, value) in from {
        at.push(name.clone());
        match (into.get_mut(&name), value) {
            (None, value) => {
                into.insert(name, value);
            }
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from, at)?,
            (Some(_), _) => return Err(at.join(".")),
        }
        at.pop();
    }
    Ok(())
}

/// What a bundle says of itself.
struct Manifest {
    revision: String,
    /// The paths under which all of its rules and data are; one of no names is all paths.
    roots: Vec<Vec<String>>,
    version: Option<Version>,
    /// Of single files.
    versions: BTreeMap<String, Version>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            revision: String::new(),
            roots: vec![Vec::new()],
            version: None,
            versions: BTreeMap::new(),
        }
    }
}

impl Manifest {
    fn read(file: &str, bytes: &[u8]) -> Result<Self, Problem> {
        let wrong = |text: String| Problem::of_file(file, text);
        let Value::Object(members) = problem::json(file, bytes)? else {
            return Err(wrong("must hold an object".to_owned()));
        };
        let mut manifest = Self::default();
        for (name, value) in members {
            manifest.member(&name, value).map_err(wrong)?;
        }
        let roots = &manifest.roots;
        let overlapping = roots.iter().enumerate().find_map(|(place, root)| {
            let mut later = roots.iter().skip(place + 1);
            later.find(|other| root.starts_with(other) || other.starts_with(root))
        });
        match overlapping {
            Some(root) => Err(wrong(format!(
                "the root `{}` is in another one, or holds it",
                root.join("/")
            ))),
            None => Ok(manifest),
        }
    }

    fn member(&mut self, name: &str, value: Value) -> Result<(), String> {
        let unfit = || format!("`{name}` is not what OPA has there");
        match (name, value) {
            ("revision", Value::String(text)) if text.len() > LONGEST_REVISION => {
                return Err(format!("`{name}` is longer than {LONGEST_REVISION} bytes"));
            }
            ("revision", Value::String(text)) => self.revision = text,
            ("roots", Value::Array(roots)) if roots.len() > MOST_ROOTS => {
                return Err(format!("`{name}` has more than {MOST_ROOTS} entries"));
            }
            ("roots", Value::Array(roots)) => {
                let roots = roots.iter().map(|root| Some(names(root.as_str()?)));
                self.roots = roots.collect::<Option<_>>().ok_or_else(unfit)?;
            }
            ("rego_version", version) => {
                self.version = Some(Version::of(&version).ok_or_else(unfit)?);
            }
            ("file_rego_versions", Value::Object(files)) => {
                for (path, version) in files {
                    let version = Version::of(&version).ok_or_else(unfit)?;
                    if path.contains(['*', '?', '[', '{', '\\']) {
                        return Err(format!("`{name}` has the pattern `{path}`; name each file"));
                    }
                    let path = path.trim_start_matches('/').to_owned();
                    self.versions.insert(path, version);
                }
            }
            ("wasm", Value::Array(compiled)) if compiled.is_empty() => {}
            ("wasm", Value::Array(_)) => {
                let text = "it has WebAssembly decide, which is not run here; build it with `opa build --target rego`";
                return Err(text.to_owned());
            }
            ("metadata", Value::Object(_)) => {}
            ("revision" | "roots" | "file_rego_versions" | "wasm" | "metadata", _) => {
                return Err(unfit());
            }
            _ => return Err(format!("`{name}` is nothing that OPA knows")),
        }
        Ok(())
    }

    /// The version of Rego that a policy is in, if it is said.
    fn version(&self, path: &str) -> Option<Version> {
        self.versions.get(path).copied().or(self.version)
    }

    /// What of a bundle is outside the roots.
    fn outside(&self, bundle: &Bundle) -> impl Iterator<Item = String> {
        let package: Vec<String> = PACKAGE.split('.').map(ToOwned::to_owned).collect();
        let policy = bundle.policies.first().filter(|_| !self.has(&package));
        let policy = policy.map(|policy| {
            format!(
                "the roots do not hold `{}`, where {} is",
                package.join("/"),
                policy.path
            )
        });
        let data = self.stray(&bundle.data, &mut Vec::new());
        let data = data.map(|path| format!("the roots do not hold the data at `{path}`"));
        policy.into_iter().chain(data)
    }

    fn has(&self, path: &[String]) -> bool {
        self.roots.iter().any(|root| path.starts_with(root))
    }

    /// The first value that no root holds.
    fn stray(&self, members: &Map<String, Value>, at: &mut Vec<String>) -> Option<String> {
        for (name, value) in members {
            at.push(name.clone());
            if !self.has(at) {
                match value {
                    Value::Object(members)
                        if self.roots.iter().any(|root| root.starts_with(at)) =>
                    {
                        let stray = self.stray(members, at);
                        if stray.is_some() {
                            return stray;
                        }
                    }
                    _ => return Some(at.join("/")),
                }
            }
            at.pop();
        }
        None
    }
}

/// The names of a path as manifests have it, with or without slashes around it.
fn names(path: &str) -> Vec<String> {
    let path = path.trim_matches('/');
    let names = path.split('/').filter(|_| !path.is_empty());
    names.map(ToOwned::to_owned).collect()
}
