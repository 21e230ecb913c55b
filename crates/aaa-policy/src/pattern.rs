//! Texts with `*` in them, which stands for any text, also none: `up=*`, `puppet.*`, `*`.
//!
//! They are used only where a match takes something away, so the case of ASCII letters does not matter: nobody escapes a rule by
//! spelling a name otherwise.

use aaa_core::stars;

/// The longest pattern, in bytes.
const LONGEST: usize = 256;

/// A text to compare with, in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// The text in small letters.
    small: String,
}

impl Pattern {
    /// Reads a pattern; `None` when it is empty, longer than 256 bytes or has control characters.
    pub fn new(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > LONGEST || text.contains(char::is_control) {
            return None;
        }
        Some(Self {
            text: text.to_owned(),
            small: text.to_ascii_lowercase(),
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a text is one of those that are meant.
    pub fn matches(&self, text: &str) -> bool {
        stars::fit(&self.small, &text.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "anything"),
            ("up=*", "up=bob"),
            ("up=*", "up="),
            ("*@example.net", "up=bob@example.net"),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("a**c", "ac"),
            ("*ab", "aab"),
            ("up=bob", "UP=Bob"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("up=bob", "up=bobby"),
            ("up=*", "okta=up="),
            ("aba*aba", "aba"),
            ("a*b*b", "ab"),
            ("*@example.net", "up=bob@example.net.evil"),
            ("a?c", "abc"),
            ("a.c", "abc"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(Pattern::new(""), None);
        assert_eq!(Pattern::new("a\nb"), None);
        assert_eq!(Pattern::new(&"x".repeat(257)), None);
    }

    #[test]
    fn many_stars_cost_no_more_than_a_look_at_the_text_each() {
        let pattern = "a*".repeat(128);
        assert!(!matches(&pattern, &"b".repeat(1 << 20)));
        assert!(matches(&pattern, &"a".repeat(1 << 20)));
    }
}
