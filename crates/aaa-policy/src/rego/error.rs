//! What is wrong with a policy, in words that its author understands.

/// Why a text is not a policy that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{problem}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct PolicyError {
    line: Option<u32>,
    problem: String,
}

/// The longest problem that is passed on. The engine quotes values of the policy at times.
const LONGEST: usize = 300;

impl PolicyError {
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Self {
            line: None,
            problem: problem.into(),
        }
    }

    pub(super) fn at(line: u32, problem: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            problem: problem.into(),
        }
    }

    /// Reads the engine's own error: `--> file:line:column`, an excerpt, and `error: …`, each on lines of its own.
    pub(super) fn from_engine(error: &str) -> Self {
        let line = error
            .lines()
            .find_map(|line| line.strip_prefix("--> "))
            .and_then(|place| place.rsplit(':').nth(1))
            .and_then(|line| line.parse().ok());
        let problem = if error.contains("cyclic evaluation") {
            "the rules depend on each other in a circle"
        } else {
            let last = error.rsplit("error: ").next().unwrap_or(error);
            // Values of variables follow, which are of no use here.
            last.split(" (path [").next().unwrap_or(last)
        };
        Self {
            line,
            problem: one_line(problem),
        }
    }

    /// Where the problem is, counted from one, if it is in one place.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// What is wrong.
    pub fn problem(&self) -> &str {
        &self.problem
    }
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
