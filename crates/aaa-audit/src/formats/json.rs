//! JSON text that is one line and safe to look at.
//!
//! Like Go's encoder, which wrote these records before, `<`, `>` and `&` are escaped too. So lines are the same byte for
//! byte, and do no harm in a page.

use std::fmt::Write as _;

use super::is_plain;

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => Some("\\\""),
            '\\' => Some("\\\\"),
            _ => escape(c),
        };
        if let Some(escape) = escape {
            out.push_str(text.get(plain_from..at).unwrap_or_default());
            plain_from = at + c.len_utf8();
            push_escape(out, c, escape);
        }
    }
    out.push_str(text.get(plain_from..).unwrap_or_default());
    out.push('"');
}

/// Appends JSON as it is, without the space between its parts, and with the characters inside its strings escaped.
///
/// `json` must be JSON: outside of strings it has nothing but ASCII, and inside of them no raw control characters below space.
pub(super) fn compact(out: &mut String, json: &str) {
    let mut in_string = false;
    let mut after_backslash = false;
    for c in json.chars() {
        if !in_string && matches!(c, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        if c == '"' && !after_backslash {
            in_string = !in_string;
        }
        after_backslash = c == '\\' && !after_backslash;
        match escape(c) {
            None => out.push(c),
            Some(escape) => push_escape(out, c, escape),
        }
    }
}

/// How a character is written that cannot stand in a JSON string as it is; `\u` when by its number.
/// Quotes and backslashes, which mean something in JSON text, are left to the caller.
fn escape(c: char) -> Option<&'static str> {
    match c {
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{c}' => Some("\\f"),
        '<' | '>' | '&' => Some("\\u"),
        c if c.is_ascii_graphic() || c == ' ' => None,
        c if is_plain(c) => None,
        _ => Some("\\u"),
    }
}

fn push_escape(out: &mut String, c: char, escape: &str) {
    out.push_str(escape);
    if escape == "\\u" {
        // None of these is beyond the basic plane, so four digits do.
        let _infallible = write!(out, "{:04x}", u32::from(c));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        let mut out = String::new();
        string(&mut out, text);
        out
    }

    #[test]
    fn strings_are_as_go_writes_them() {
        // Printed by encoding/json of Go 1.24, except for DEL, which it leaves.
        assert_eq!(
            quoted("a\"b\\c/<>&\n\r\t\u{8}\u{c}\u{1}\u{1b}\u{7f}é\u{2028}😀"),
            r#""a\"b\\c/\u003c\u003e\u0026\n\r\t\b\f\u0001\u001b\u007fé\u2028😀""#
        );
        assert_eq!(quoted(""), r#""""#);
        assert_eq!(quoted("\u{202e}\u{9b}"), r#""\u202e\u009b""#);
    }

    #[test]
    fn compacted_json_says_the_same() {
        let json =
            "{\r\n \"a b\" :\t[1.50, \"x\\\" y\\\\\", \"\\\\\" ] , \"c\":\"<\u{7f}\u{202e}\" }";
        let mut out = String::new();
        compact(&mut out, json);
        assert_eq!(
            out,
            r#"{"a b":[1.50,"x\" y\\","\\"],"c":"\u003c\u007f\u202e"}"#
        );
        let before: serde_json::Value = serde_json::from_str(json).unwrap();
        let after: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(before, after);
    }
}
