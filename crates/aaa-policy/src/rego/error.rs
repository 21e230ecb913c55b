//! What is wrong with a policy, in words that its author understands.

use regorus::unstable::Span;

use crate::problem::Problem;

/// A place in a policy, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    /// Where a piece of syntax begins.
    pub(super) fn of(span: &Span) -> Self {
        Self {
            line: span.line,
            column: span.col,
        }
    }
}

/// Why a text is not a policy that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", place.map(|place| format!("line {}: ", place.line)).unwrap_or_default())]
pub struct PolicyError {
    place: Option<Place>,
    problem: String,
}

/// The longest problem that is passed on. The engine quotes values of the policy at times.
const LONGEST: usize = 300;

impl PolicyError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self {
            place: None,
            problem: problem.into(),
        }
    }

    pub(super) fn at(place: impl Into<Option<Place>>, problem: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            problem: problem.into(),
        }
    }

    /// Reads the engine's own error: `--> file:line:column`, an excerpt, and `error: …`, each on lines of its own.
    pub(super) fn from_engine(error: &str) -> Self {
        let place = error
            .lines()
            .find_map(|line| line.strip_prefix("--> "))
            .and_then(|place| {
                let mut numbers = place.rsplit(':').map(str::parse);
                let (column, line) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
                Some(Place { line, column })
            });
        let problem = if error.contains("cyclic evaluation") {
            "the rules depend on each other in a circle"
        } else {
            let last = error.rsplit("error: ").next().unwrap_or(error);
            // Values of variables follow, which are of no use here.
            last.split(" (path [").next().unwrap_or(last)
        };
        Self {
            place,
            problem: one_line(problem),
        }
    }

    /// Where the problem is, counted from one, if it is in one place.
    pub fn line(&self) -> Option<u32> {
        self.place.map(|place| place.line)
    }

    /// The same about the text of another line that this one was written from: where the two differ, the column says nothing.
    pub(super) fn of_text(mut self, written: &str, read: &str) -> Self {
        if let Some(place) = &mut self.place
            && line_of(written, place.line) != line_of(read, place.line)
        {
            place.column = 1;
        }
        self
    }

    /// As a problem of a file that holds the policy, with the line and a caret.
    pub fn in_file(&self, file: &str, text: &str) -> Problem {
        let Some(Place { line, column }) = self.place else {
            return Problem::of_file(file, &self.problem);
        };
        let source = line_of(text, line).unwrap_or_default();
        let blank = source.len() - source.trim_start().len();
        let byte = byte_at(source, column).max(blank);
        Problem::at(file, line as usize, source, byte, &self.problem)
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

/// The byte at one of the engine's columns, for which a tab is four.
fn byte_at(line: &str, column: u32) -> usize {
    let mut left = column.saturating_sub(1) as usize;
    for (byte, c) in line.char_indices() {
        let width = if c == '\t' { 4 } else { c.len_utf8() };
        match left.checked_sub(width) {
            Some(more) => left = more,
            None => return byte,
        }
    }
    line.len()
}

fn line_of(text: &str, line: u32) -> Option<&str> {
    text.lines().nth(line.saturating_sub(1) as usize)
}

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_errors_are_read() {
        let error = "\n--> policy.rego:4:7\n  |\n4 | allow { true }\n  |       ^\nerror: `if` keyword is required before rule body";
        let error = PolicyError::from_engine(error);
        assert_eq!(error.line(), Some(4));
        assert_eq!(error.problem(), "`if` keyword is required before rule body");
        assert_eq!(
            error.to_string(),
            "line 4: `if` keyword is required before rule body"
        );
    }

    #[test]
    fn a_place_in_a_file_has_a_caret() {
        let text = "package x\n\n  allow { true }\n";
        let error = PolicyError::from_engine("--> opa_policy:3:9\nerror: no `if`");
        let problem = error.in_file("a.rego", text);
        assert_eq!(
            problem.to_string(),
            "a.rego:3:9: no `if`\n    allow { true }\n          ^"
        );
        let tabs = PolicyError::from_engine("--> opa_policy:1:11\nerror: no `if`");
        let tabs = tabs.in_file("a.rego", "\té\tallow { true }");
        assert_eq!((tabs.line, tabs.column), (1, 4));
        // A text that was written otherwise has its columns elsewhere.
        let problem = error.of_text(text, "package x\n\n  allow { _ = x; true }\n");
        let problem = problem.in_file("a.rego", text);
        assert_eq!((problem.line, problem.column), (3, 3));
        let nowhere = PolicyError::new("the policy is empty").in_file("a.rego", "");
        assert_eq!(nowhere.to_string(), "a.rego: the policy is empty");
    }

    #[test]
    fn values_and_long_texts_are_left_out() {
        let error = PolicyError::from_engine(
            r#"error: var z is unsafe (path ["z"], scopes [{"x": Number(1)}])"#,
        );
        assert_eq!(error.to_string(), "var z is unsafe");
        assert_eq!(
            PolicyError::from_engine(&"é".repeat(900))
                .problem()
                .chars()
                .count(),
            LONGEST
        );
    }
}
