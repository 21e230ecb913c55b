//! What went wrong, for the person at the terminal.

use std::fmt::Display;
use std::path::Path;

/// One line that says what could not be done, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Something failed while doing this.
    pub(crate) fn while_doing(what: impl Display, why: impl Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::while_doing(path.display(), error))
}

/// Reads a file of text, without the white space around it.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::while_doing(path.display(), "it is not text"))?;
    Ok(text.trim().to_owned())
}
