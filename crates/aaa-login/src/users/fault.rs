//! What is wrong with a list of users, each thing with its place.

use std::fmt::{self, Write as _};
use std::path::Path;

/// So many are told one by one; of the rest only how many they are.
const MOST: usize = 20;

/// Where a user stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In `users` of the configuration, at this index.
    Inline(usize),
    /// In the users file, from this byte on.
    File(usize),
}

/// One thing that is wrong, or worth a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) place: Place,
    /// The name, if it could be read.
    pub(crate) user: Option<String>,
    /// The key, if it is about one.
    pub(crate) key: Option<String>,
    /// What is wrong and what is wanted; never a value.
    pub(crate) text: String,
}

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the configuration, at this index of `users`.
    Index(usize),
    /// In the users file, on this line.
    Line(usize),
    /// In the users file as a whole.
    File,
    /// Nowhere in particular.
    List,
}

/// Everything that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    told: Vec<Fault>,
    untold: usize,
}

impl Faults {
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.told.len() < MOST {
            self.told.push(fault);
        } else {
            self.untold += 1;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// One line for each, without the keys of a configuration: for the log of a service that runs.
    pub(crate) fn lines(&self, file: Option<&Path>) -> Vec<String> {
        let mut lines: Vec<String> = self.told.iter().map(|fault| fault.line(file)).collect();
        lines.extend(self.rest());
        lines
    }

    /// Tells them to whoever reads the configuration: the key within the section, and the text.
    pub(crate) fn report(&self, file: Option<&Path>, tell: impl Fn(&str, String)) {
        for fault in &self.told {
            match fault.place {
                Place::Index(index) => {
                    let key = fault.key.as_deref().map(|key| format!(".{key}"));
                    let key = format!("users[{index}]{}", key.unwrap_or_default());
                    tell(&key, fault.about_user(false));
                }
                Place::Line(_) | Place::File => tell("users_file", fault.line(file)),
                Place::List => tell("users", fault.line(file)),
            }
        }
        if let Some(rest) = self.rest() {
            tell("users", rest);
        }
    }

    fn rest(&self) -> Option<String> {
        (self.untold > 0).then(|| format!("and {} more", self.untold))
    }
}

impl Fault {
    /// The file and the line, the user, the key, what is wrong.
    fn line(&self, file: Option<&Path>) -> String {
        let file = file.map(|file| file.display().to_string());
        let file = file.as_deref().unwrap_or("users_file");
        let text = self.about_user(true);
        match self.place {
            Place::Index(index) => format!("users[{index}]: {text}"),
            Place::Line(line) => format!("{file}:{line}: {text}"),
            Place::File => format!("{file}: {text}"),
            Place::List => text,
        }
    }

    fn about_user(&self, with_key: bool) -> String {
        let mut text = String::new();
        if let Some(user) = &self.user {
            // Writing into memory has no way to fail.
            let _ = write!(text, "user {user:?}: ");
        }
        if let Some(key) = self.key.as_deref().filter(|_| with_key) {
            text.push_str(key);
            text.push_str(": ");
        }
        text.push_str(&self.text);
        text
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "users[{index}]"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::File => f.write_str("the file"),
            Self::List => f.write_str("the list"),
        }
    }
}
