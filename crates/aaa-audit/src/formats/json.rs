//! JSON text that is one line and safe to look at.
//!
//! Like Go's encoder, which wrote these records before, `<`, `>` and `&` are escaped too. So lines are the same byte for
//! byte, and do no harm in a page.

use std::fmt::Write as _;

use super::is_plain;

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Nearly all of a request is ASCII that can stand as it is, so that is looked for byte by byte.
    while let Some(at) = rest.bytes().position(|byte| !stands(byte)) {
        let (plain, other) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = other.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some(c) => push(out, c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends a member that is not the first of its object, and a text. The name needs no escape.
pub(super) fn member(out: &mut String, name: &str, value: &str) {
    let _infallible = write!(out, ",\"{name}\":");
    string(out, value);
}

/// Whether a byte of UTF-8 is a whole character that needs no escape in a JSON string.
fn stands(byte: u8) -> bool {
    // Printable ASCII but for `"`, `&`, `<`, `>` and `\`.
    matches!(byte, b' ' | b'!' | b'#'..=b'%' | b'\''..=b';' | b'=' | b'?'..=b'[' | b']'..=b'~')
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
        push(out, c);
    }
}

/// Appends a character as it can stand in a JSON string. Quotes and backslashes mean something there, and are left as they are.
fn push(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        c if is_plain(c) && !matches!(c, '<' | '>' | '&') => out.push(c),
        // None of the others is beyond the basic plane, so four digits do.
        c => {
            let _infallible = write!(out, "\\u{:04x}", u32::from(c));
        }
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
