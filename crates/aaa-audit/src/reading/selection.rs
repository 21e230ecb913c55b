//! Which records somebody wants to see.

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
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
                None => return false,
            }
        }
        rest.ends_with(last)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, yes) in [
            ("up=bob", "up=bob", true),
            ("up=bob", "up=bobby", false),
            ("up=*", "up=bob", true),
            ("up=*", "okta=bob", false),
            ("*=bob", "up=bob", true),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("*é*", "café au lait", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(text), yes, "{pattern} {text}");
        }
    }
}
