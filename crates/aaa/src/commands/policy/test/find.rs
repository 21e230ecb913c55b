//! Where suites are.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};

/// How the name of a suite in a directory ends.
pub(super) const ENDING: &str = "_test.yaml";

/// How deep directories are looked through.
const DEPTH: usize = 16;

/// Files as they are named, and of directories the suites in and below them, by name.
pub(super) fn suites(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            below(path, DEPTH, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn below(directory: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let unread = |error| Failure::file("read", directory, &error).with(Exit::Usage);
    let mut entries = fs::read_dir(directory)
        .map_err(unread)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(unread)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Of the entry itself: a link may lead in a circle.
        let kind = entry.file_type().map_err(unread)?;
        if kind.is_dir() && depth > 0 {
            below(&path, depth - 1, found)?;
        } else if !kind.is_dir() && entry.file_name().to_string_lossy().ends_with(ENDING) {
            // `./x` and `x` are the same to everybody, and shorter is better.
            found.push(path.strip_prefix(".").unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}
