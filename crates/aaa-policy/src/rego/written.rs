//! The text that the engine gets: what the author wrote, with additions. Lines stay what they are, so that errors still name the author's.

use std::borrow::Cow;

use regorus::unstable::Span;

use super::error::PolicyError;

/// A text and what is added to it.
pub(super) struct Written<'a> {
    text: &'a str,
    /// What is added, and before which byte; what ends there first.
    additions: Vec<(usize, Side, String)>,
}

/// What an addition does at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// Ends an expression.
    EndsExpression,
    /// Ends a statement.
    EndsStatement,
    /// Begins a statement.
    BeginsStatement,
    /// Begins an expression.
    BeginsExpression,
}

impl<'a> Written<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            additions: Vec::new(),
        }
    }

    /// As the author wrote it.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Adds something before that byte.
    pub(super) fn add(&mut self, place: usize, side: Side, addition: impl Into<String>) {
        self.additions.push((place, side, addition.into()));
    }

    /// A span's place, with the quotes of texts at its ends, which the engine leaves out.
    pub(super) fn quoted(&self, span: &Span) -> (usize, usize) {
        let (start, end) = (place(span.start), place(span.end));
        let before = self.text.get(..start).unwrap_or_default();
        let after = self.text.get(end..).unwrap_or_default();
        (
            start - usize::from(before.ends_with(['"', '`'])),
            end + usize::from(after.starts_with(['"', '`'])),
        )
    }

    /// What stands there.
    pub(super) fn whole(&self, span: &Span) -> &'a str {
        let (start, end) = self.quoted(span);
        self.text.get(start..end).unwrap_or_default()
    }

    /// The text with the additions.
    ///
    /// # Errors
    /// When a place is not in it.
    pub(super) fn finish(mut self) -> Result<Cow<'a, str>, PolicyError> {
        if self.additions.is_empty() {
            return Ok(Cow::Borrowed(self.text));
        }
        self.additions
            .sort_by_key(|(place, side, _)| (*place, *side));
        let mut written = String::with_capacity(self.text.len() * 2);
        let mut from = 0;
        for (place, _, addition) in &self.additions {
            let before = self.text.get(from..*place);
            written.push_str(before.ok_or_else(|| PolicyError::new("a place is not in the text"))?);
            written.push_str(addition);
            from = *place;
        }
        written.push_str(self.text.get(from..).unwrap_or_default());
        Ok(Cow::Owned(written))
    }
}

fn place(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
