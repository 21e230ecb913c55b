//! Names and patterns of names, as Choria's own lists of certificates have them: `bob, jill, /\.mcollective$/`.

use aaa_service::config::Section;
use regex::Regex;

use super::certname::is_certname;

/// Which names are meant.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: Vec<String>,
    patterns: Vec<Regex>,
}

impl Names {
    /// Reads a list. What is wrong goes to the document.
    pub(super) fn read(section: &Section<'_>, key: &str) -> Self {
        let mut names = Self::default();
        for item in section.list(key) {
            match item.strip_prefix('/').and_then(|item| item.strip_suffix('/')) {
                Some(pattern) => match compiled(pattern) {
                    Ok(regex) => {
                        if !pattern.starts_with('^') && !pattern.ends_with('$') {
                            section.warn(
                                key,
                                format!("{item} matches anywhere in a name; a pattern is held to its begin by ^ and to its end by $"),
                            );
                        }
                        names.patterns.push(regex);
                    }
                    Err(problem) => section.problem(key, format!("{item}: {problem}")),
                },
                None if is_certname(&item) => names.exact.push(item),
                None => section.problem(
                    key,
                    format!("{item:?}: no certificate that logs in has this name; wants a name in lower case, or a pattern between slashes such as /\\.mcollective$/"),
                ),
            }
        }
        names
    }

    /// Whether this name is one of them.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.exact.iter().any(|exact| exact == name)
            || self.patterns.iter().any(|pattern| pattern.is_match(name))
    }
}

fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.is_empty() {
        return Err("an empty pattern is every name".to_owned());
    }
    Regex::new(pattern).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
        other => {
            // Its last line says what is wrong; those before draw an arrow.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default().trim();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    })
}
