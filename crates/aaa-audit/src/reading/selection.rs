//! Which records somebody wants to see.

use aaa_core::stars;
use jiff::Timestamp;

use super::{Entry, Field};

/// Text with `*` for any part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

/// Which records somebody wants to see: those that fit in everything that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What a field must be like: one of the patterns for it.
    pub fields: Vec<(Field, Vec<Pattern>)>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

impl Pattern {
    /// A pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether text is like it.
    pub fn fits(&self, text: &str) -> bool {
        stars::fit(&self.0, text)
    }
}

impl Selection {
    /// Whether a record is one of them.
    pub fn has(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
            && self.fields.iter().all(|(field, patterns)| {
                let value = entry.field(*field);
                patterns.iter().any(|pattern| pattern.fits(&value))
            })
    }
}
