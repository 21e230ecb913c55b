//! How a command ends: the exit codes, and the one kind of error.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// What the shell is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is done.
    Done = 0,
    /// It did not work, or the answer is no.
    Failed = 1,
    /// The person at the prompt does not want to.
    Cancelled = 2,
    /// Nobody is logged in, or not any more.
    LoginNeeded = 4,
    /// The command line or a configuration is wrong.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked, in words that say what to do next.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the shell is told.
    pub exit: Exit,
    /// What the person is told; nothing when it is empty.
    message: String,
}

impl Failure {
    /// It did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line, or a file that it names, is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Nobody is logged in.
    pub(crate) fn login_needed(message: impl Into<String>) -> Self {
        Self::new(Exit::LoginNeeded, message)
    }

    /// Ctrl-C, or the end of input, at a prompt.
    pub(crate) fn cancelled() -> Self {
        Self::new(Exit::Cancelled, "cancelled; nothing was changed")
    }

    /// Whoever read our output has heard enough, such as `head`.
    pub(crate) fn unheard() -> Self {
        Self::new(Exit::Failed, "")
    }

    /// A file could not be read or written.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        Self::failed(format!(
            "cannot {verb} {}: {}",
            path.display(),
            reason(error)
        ))
    }

    /// The same, with another exit code.
    pub(crate) fn with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What the system says of an error, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let plain = text.split(" (os error").next().unwrap_or_default();
    let mut letters = plain.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_named_in_plain_words() {
        let error = std::fs::read("/does/not/exist").unwrap_err();
        let failure = Failure::file("read", Path::new("/does/not/exist"), &error);
        assert_eq!(
            failure.to_string(),
            "cannot read /does/not/exist: no such file or directory"
        );
        assert_eq!(failure.exit, Exit::Failed);
        assert_eq!(failure.with(Exit::Usage).exit as u8, 64);
    }
}
