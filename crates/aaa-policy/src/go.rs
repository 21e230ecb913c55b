//! What Go makes of texts. Nodes and OPA are written in Go, so that is what a rule means.

use std::borrow::Cow;

mod classes;
pub(crate) mod pattern;

/// A text as it is when the case of letters does not matter: two are alike when Go's `strings.EqualFold` takes them for one.
pub(crate) fn folded(text: &str) -> Cow<'_, str> {
    mapped(text, |c| match c {
        // Neither is a form of `i` or `I` there, though it becomes one in small or in capitals.
        '\u{130}' | '\u{131}' => c,
        c => small(capital(c)),
    })
}

/// A text in small letters, rune by rune as Go's `strings.ToLower` does it.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    mapped(text, small)
}

/// A text in capitals, rune by rune as Go's `strings.ToUpper` does it.
pub(crate) fn upper(text: &str) -> Cow<'_, str> {
    mapped(text, capital)
}

fn mapped(text: &str, map: fn(char) -> char) -> Cow<'_, str> {
    if text.chars().all(|c| map(c) == c) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().map(map).collect())
    }
}

fn small(c: char) -> char {
    // All but one have a small letter of one rune: İ, which loses its dot.
    c.to_lowercase().next().unwrap_or(c)
}

fn capital(c: char) -> char {
    let mut capitals = c.to_uppercase();
    match (capitals.next(), capitals.next()) {
        (Some(one), None) => one,
        // Several letters are no capital of one, with the exception of Greek ones with a iota below.
        _ => match c {
            '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
                char::from_u32(u32::from(c) + 8).unwrap_or(c)
            }
            '\u{1fb3}' => '\u{1fbc}',
            '\u{1fc3}' => '\u{1fcc}',
            '\u{1ff3}' => '\u{1ffc}',
            _ => c,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_alike_as_for_equal_fold() {
        for (one, other) in [
            ("RedHat", "redhat"),
            ("ÄÖ", "äö"),
            ("\u{212a}elvin", "Kelvin"),
            ("ma\u{17f}t", "MAST"),
            ("σίς", "ΣΊΣ"),
            ("ẞ", "ß"),
            ("ᾈ", "ᾀ"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        for (one, other) in [("ß", "ss"), ("ı", "i"), ("İ", "i"), ("ﬁ", "fi"), ("a", "á")] {
            assert_ne!(folded(one), folded(other), "{one} {other}");
        }
    }

    #[test]
    fn folding_is_that_of_patterns() {
        // Letters that a later version of Unicode folds than Go's does.
        let later = ['\u{390}', '\u{3b0}', '\u{1fd3}', '\u{1fe3}'];
        for c in (char::MIN..='\u{2fff}').filter(|c| !later.contains(c)) {
            let text = c.to_string();
            let like = folded(&text);
            if like != text {
                let pattern = format!("^(?i){}$", regex::escape(&text));
                assert!(
                    regex::Regex::new(&pattern).unwrap().is_match(&like),
                    "{c:?}"
                );
            }
        }
    }

    #[test]
    fn letters_are_made_small_and_large_rune_by_rune() {
        assert_eq!(lower("ΑΣ İ Ä"), "ασ i ä");
        assert!(matches!(lower("ab"), Cow::Borrowed(_)));
        assert_eq!(upper("ßﬁǆ ᾳä"), "ßﬁǄ ᾼÄ");
    }
}
