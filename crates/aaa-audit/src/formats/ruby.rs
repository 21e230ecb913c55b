//! Values as Ruby (up to 3.3) shows them with `inspect`, which is how `MCollective` wrote them down.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// The inputs of an action. The names of the outermost hash are symbols there, and those further in are strings.
pub(super) fn inspect_inputs(out: &mut String, data: &Value) {
    match data {
        Value::Object(members) => hash(out, members, symbol),
        other => inspect(out, other),
    }
}

/// A character by its number: `\u202E`, `\u{1F600}`.
pub(super) fn by_number(out: &mut String, c: char) {
    let _infallible = match u32::from(c) {
        0x7F => write!(out, "\\x7F"),
        n @ ..=0xFFFF => write!(out, "\\u{n:04X}"),
        n => write!(out, "\\u{{{n:X}}}"),
    };
}

fn inspect(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("nil"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(n) => number(out, n),
        Value::String(text) => string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                inspect(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => hash(out, members, string),
    }
}

fn hash(out: &mut String, members: &serde_json::Map<String, Value>, name: fn(&mut String, &str)) {
    out.push('{');
    for (at, (key, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        name(out, key);
        out.push_str("=>");
        inspect(out, value);
    }
    out.push('}');
}

/// `:name`, or `:"any name"`.
fn symbol(out: &mut String, name: &str) {
    out.push(':');
    let mut chars = name.chars();
    let starts = chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if starts && chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        out.push_str(name);
    } else {
        string(out, name);
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            // These would be replaced by what they name if the text were ever read as Ruby.
            '#' if matches!(chars.peek(), Some('{' | '$' | '@')) => out.push_str("\\#"),
            c if super::is_plain(c) => out.push(c),
            c => by_number(out, c),
        }
    }
    out.push('"');
}

/// As JSON has it, but for powers of ten: `1.0e+20`, `1.5e-07`.
fn number(out: &mut String, n: &Number) {
    let text = n.to_string();
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        out.push_str(&text);
        return;
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent.trim_start_matches('+')),
    };
    let point = if mantissa.contains('.') { "" } else { ".0" };
    let _infallible = write!(out, "{mantissa}{point}e{sign}{digits:0>2}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        let mut out = String::new();
        inspect_inputs(&mut out, &serde_json::from_str(json).unwrap());
        out
    }

    #[test]
    fn inputs_are_shown_as_ruby_shows_them() {
        assert_eq!(
            shown(r#"{"process_results":true}"#),
            "{:process_results=>true}"
        );
        assert_eq!(shown("{}"), "{}");
        assert_eq!(shown("null"), "nil");
        assert_eq!(
            shown(r#"{"a":[1,-2,1.5,null],"b":{"c":false,"d":{}},"two words":"x","9":"","":0}"#),
            r#"{:a=>[1, -2, 1.5, nil], :b=>{"c"=>false, "d"=>{}}, :"two words"=>"x", :"9"=>"", :""=>0}"#
        );
        assert_eq!(
            shown(r#"{"n":[1e20,1.5e-7,1.0,100000]}"#),
            "{:n=>[1.0e+20, 1.5e-07, 1.0, 100000]}"
        );
    }

    #[test]
    fn strings_stay_on_their_line_and_run_nothing() {
        assert_eq!(
            shown(
                r##"["a\"b\\c\n\r\t\u0007\b\u000b\f\u001b\u0001\u007f\u2028\u202eé😀","#{`id`} #$x #@y # #a"]"##
            ),
            r#"["a\"b\\c\n\r\t\a\b\v\f\e\u0001\x7F\u2028\u202Eé😀", "\#{`id`} \#$x \#@y # #a"]"#
        );
    }
}
