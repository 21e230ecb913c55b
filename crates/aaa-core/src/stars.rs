//! Texts in which `*` stands for any text, also none: `up=*`, `puppet.*`, `*`.

/// Whether a text is one of those that a pattern means. Every letter means itself, in its case.
pub fn fit(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut left) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return left.is_empty();
    };
    // What stands between two stars is best taken where it stands first: that leaves most to the others.
    for part in parts {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last)
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
            assert_eq!(fit(pattern, text), yes, "{pattern} {text}");
        }
    }
}
