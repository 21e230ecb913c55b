//! What is wrong with a configuration: everything at once, each thing with its key.

use std::fmt;

/// One thing that is wrong, or worth a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The full key, dotted (`basicjwt_signer.max_validity`), or a place in the file (`line 3, column 7`).
    pub key: String,
    /// What is wrong and what is wanted. Never a secret value.
    pub text: String,
    /// What it is about.
    pub topic: Topic,
}

/// What a problem is about, for those who treat some kinds otherwise than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Topic {
    /// What a setting says, or the file that it names.
    #[default]
    Setting,
    /// A secret that everybody on the machine can read.
    Exposed,
    /// A key that verifies, and is not that of who vouches.
    Issuer,
    /// Hashes that a thief would find the passwords of.
    Hashes,
    /// Something that ends soon, or has.
    Ending,
}

/// All that is wrong with one configuration file: errors, which keep the service from starting, and warnings, which do not.
///
/// Displayed as people see it: the file and the count, then a line for each error with the keys in a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    file: String,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Problems {
    /// No problems yet, of the file with this name.
    pub fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Adds an error. The same one twice is kept once.
    pub fn push(&mut self, key: impl AsRef<str>, text: impl Into<String>) {
        add(&mut self.errors, key.as_ref(), &text.into(), Topic::Setting);
    }

    /// Adds a warning. The same one twice is kept once.
    pub fn warn(&mut self, key: impl AsRef<str>, text: impl Into<String>) {
        self.warn_of(Topic::Setting, key, text);
    }

    /// The same, about this.
    pub fn warn_of(&mut self, topic: Topic, key: impl AsRef<str>, text: impl Into<String>) {
        add(&mut self.warnings, key.as_ref(), &text.into(), topic);
    }

    /// Takes over what another one found.
    pub fn merge(&mut self, other: Self) {
        if self.file.is_empty() {
            self.file = other.file;
        }
        for Problem { key, text, topic } in other.errors {
            add(&mut self.errors, &key, &text, topic);
        }
        for Problem { key, text, topic } in other.warnings {
            add(&mut self.warnings, &key, &text, topic);
        }
    }

    /// Whether there is no error; there may be warnings.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// The name of the file, as the person gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What keeps the service from starting.
    pub fn errors(&self) -> &[Problem] {
        &self.errors
    }

    /// What does not.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        write!(f, "{}: {count} {noun}", printable(&self.file))?;
        write_lines(f, &self.errors)
    }
}

impl std::error::Error for Problems {}

/// The lines of several problems, each on a line of its own after a line break, keys padded to one column.
pub(crate) fn write_lines(f: &mut dyn fmt::Write, problems: &[Problem]) -> fmt::Result {
    let width = problems
        .iter()
        .map(|problem| problem.key.chars().count())
        .max()
        .unwrap_or(0);
    for Problem { key, text, .. } in problems {
        let mut lines = text.lines();
        write!(f, "\n  {key:width$}   {}", lines.next().unwrap_or_default())?;
        for line in lines {
            write!(f, "\n  {:width$}   {line}", "")?;
        }
    }
    Ok(())
}

fn add(problems: &mut Vec<Problem>, key: &str, text: &str, topic: Topic) {
    let problem = Problem {
        topic,
        key: printable(key),
        text: text
            .split('\n')
            .map(printable)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

/// A name from a file without what could move a terminal's cursor.
fn printable(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars()
            .flat_map(|c| {
                let escape = c.is_control().then(|| c.escape_default());
                let plain = (!c.is_control()).then_some(c);
                escape.into_iter().flatten().chain(plain)
            })
            .collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_all_in_a_column() {
        let mut problems = Problems::new("signer.json");
        problems.push(
            "basicjwt_signer.max_validty",
            "unknown; did you mean max_validity?",
        );
        problems.push("basicjwt_signer.signing_seed", "65 characters\nmake one");
        problems.push("tls_key", "does not belong");
        problems.push("tls_key", "does not belong");
        problems.warn("cluster_id", "no meaning");
        assert_eq!(
            problems.to_string(),
            "signer.json: 3 problems\n  \
             basicjwt_signer.max_validty    unknown; did you mean max_validity?\n  \
             basicjwt_signer.signing_seed   65 characters\n                                 make one\n  \
             tls_key                        does not belong"
        );
        assert!(!problems.is_empty());
        assert_eq!(problems.warnings().len(), 1);
    }

    #[test]
    fn one_is_no_plural_and_keys_cannot_move_the_cursor() {
        let mut problems = Problems::new("a.json");
        problems.push("x\u{1b}[2J", "unknown");
        assert_eq!(
            problems.to_string(),
            "a.json: 1 problem\n  x\\u{1b}[2J   unknown"
        );
    }

    #[test]
    fn merging_keeps_each_once() {
        let mut all = Problems::new("a.json");
        all.push("a", "wrong");
        let mut other = Problems::new("a.json");
        other.push("a", "wrong");
        other.push("b", "wrong");
        other.warn("c", "hm");
        all.merge(other);
        assert_eq!((all.errors().len(), all.warnings().len()), (2, 1));
    }
}
