//! The policies of users: each file read once, each distinct text compiled once.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_policy::rego::LONGEST_POLICY;
use aaa_service::config::FileContent;

use super::Policy;

/// What was read and compiled so far.
#[derive(Default)]
pub(crate) struct Policies {
    checked: HashMap<Policy, Result<(), String>>,
    files: BTreeMap<PathBuf, Result<Policy, String>>,
    stamps: Stamps,
}

/// Files, and what they looked like from outside; `None` for one that was not there.
pub(crate) type Stamps = BTreeMap<PathBuf, Option<Stamp>>;

/// Device, inode, size and the two times of a file: another one when it was written or replaced.
pub(crate) type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// What a file looks like from outside.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    ))
}

impl Policies {
    /// A policy that stands in the user's entry.
    pub(crate) fn inline(&mut self, text: &str) -> Result<Policy, String> {
        if let Some((policy, outcome)) = self.checked.get_key_value(text) {
            return outcome.clone().map(|()| Arc::clone(policy));
        }
        let outcome = match aaa_policy::rego::check(text) {
            Ok(unused) => {
                for finding in unused {
                    let line = finding.line();
                    tracing::warn!(line, "a policy of users: {}", finding.problem());
                }
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        };
        let policy = Policy::from(text);
        self.checked.insert(Arc::clone(&policy), outcome.clone());
        outcome.map(|()| policy)
    }

    /// A policy that stands in a file.
    pub(crate) fn file(&mut self, path: &Path) -> Result<Policy, String> {
        if let Some(outcome) = self.files.get(path) {
            return outcome.clone();
        }
        // Looked at before it is read, so that no change in between goes unseen.
        self.stamps.insert(path.to_owned(), stamp(path));
        let outcome = self
            .read(path)
            .map_err(|problem| format!("{}: {problem}", path.display()));
        self.files.insert(path.to_owned(), outcome.clone());
        outcome
    }

    fn read(&mut self, path: &Path) -> Result<Policy, String> {
        let content =
            FileContent::read(path, LONGEST_POLICY as u64).map_err(|error| error.to_string())?;
        let text = content.text().ok_or("is not UTF-8")?;
        if text.trim().is_empty() {
            return Err("is empty; wants a policy in Rego".to_owned());
        }
        self.inline(text)
    }

    /// The files that were asked for, whether they could be read or not.
    pub(crate) fn files(&self) -> Stamps {
        self.stamps.clone()
    }
}
