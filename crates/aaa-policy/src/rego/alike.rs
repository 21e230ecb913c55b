//! Functions that the engine has and OPA's decide otherwise: here they give what OPA's give.

use std::sync::{Arc, LazyLock};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use quick_cache::sync::Cache;
use regex::Captures;
use regorus::Value;

use super::addresses;
use super::guard::Refusal;
use crate::go;
use crate::go::pattern::{Bad, Pattern, pattern};

/// The most memory that one compiled pattern takes, in bytes.
const PATTERN_BYTES: usize = 100 << 10;

/// How many compiled patterns are kept.
const PATTERNS: usize = 64;

/// What a call comes to.
pub(super) type Outcome = Result<Value, Refusal>;

/// One of these functions.
pub(super) type Alike = fn(&[Value]) -> Outcome;

/// By name and number of arguments.
pub(super) const ALIKE: &[(&str, u8, Alike)] = &[
    ("regex.match", 2, matches),
    ("regex.is_valid", 1, is_pattern),
    ("regex.find_n", 3, find_n),
    ("regex.find_all_string_submatch_n", 3, submatches),
    ("regex.replace", 3, replace),
    ("regex.split", 2, split),
    ("regex.template_match", 4, template),
    ("upper", 1, upper),
    ("lower", 1, lower),
    ("to_number", 1, to_number),
    ("strings.replace_n", 2, replace_n),
    ("urlquery.encode", 1, escaped),
    ("net.cidr_contains", 2, addresses::contains),
    ("net.cidr_expand", 1, addresses::expand),
    ("net.cidr_is_valid", 1, addresses::is_valid),
];

/// Shared, as each copy of a pattern would have to learn anew.
static COMPILED: LazyLock<Cache<String, Result<Arc<Pattern>, Bad>>> =
    LazyLock::new(|| Cache::new(PATTERNS));

pub(super) fn texts<const N: usize>(arguments: &[Value]) -> Result<[&str; N], Refusal> {
    let mut texts = [""; N];
    for (text, argument) in texts.iter_mut().zip(arguments) {
        let Value::String(argument) = argument else {
            return Err(Refusal::Undefined);
        };
        *text = argument;
    }
    Ok(texts)
}

fn compiled(text: &str) -> Result<Arc<Pattern>, Refusal> {
    if let Some(known) = COMPILED.get(text) {
        return known.map_err(refusal);
    }
    let made = pattern(text, false, PATTERN_BYTES).map(Arc::new);
    COMPILED.insert(text.to_owned(), made.clone());
    made.map_err(refusal)
}

/// Why there is no such pattern, although OPA has it.
pub(super) fn no_pattern(text: &str) -> Option<&'static str> {
    match pattern(text, false, PATTERN_BYTES) {
        Err(Bad::NotHere(why)) => Some(why),
        _ => None,
    }
}

/// What is no pattern to OPA gives no value there.
fn refusal(bad: Bad) -> Refusal {
    match bad {
        Bad::Wrong(_) => Refusal::Undefined,
        Bad::NotHere(why) => Refusal::NotHere(why),
    }
}

fn matches(arguments: &[Value]) -> Outcome {
    let [pattern, text] = texts(arguments)?;
    Ok(Value::from(compiled(pattern)?.is_match(text)))
}

fn is_pattern(arguments: &[Value]) -> Outcome {
    let [pattern] = texts(arguments)?;
    match compiled(pattern) {
        Ok(_) => Ok(Value::from(true)),
        Err(Refusal::Undefined) => Ok(Value::from(false)),
        Err(other) => Err(other),
    }
}

/// How many matches are wanted: all, when it is negative.
fn wanted(arguments: &[Value]) -> Result<usize, Refusal> {
    match arguments.get(2) {
        Some(Value::Number(number)) if number.is_integer() => {
            let number = number.as_i64().ok_or(Refusal::Undefined)?;
            Ok(usize::try_from(number).unwrap_or(usize::MAX))
        }
        _ => Err(Refusal::Undefined),
    }
}

fn find_n(arguments: &[Value]) -> Outcome {
    let [pattern, text] = texts(arguments)?;
    let pattern = compiled(pattern)?;
    let found = pattern.regex().find_iter(text).take(wanted(arguments)?);
    let found: Vec<Value> = found.map(|one| Value::from(one.as_str())).collect();
    Ok(Value::from(found))
}

fn submatches(arguments: &[Value]) -> Outcome {
    let [pattern, text] = texts(arguments)?;
    let pattern = compiled(pattern)?;
    let groups = |found: Captures<'_>| {
        let text =
            |group: Option<regex::Match<'_>>| Value::from(group.map_or("", |one| one.as_str()));
        Value::from(found.iter().map(text).collect::<Vec<_>>())
    };
    let found = pattern.regex().captures_iter(text).take(wanted(arguments)?);
    Ok(Value::from(found.map(groups).collect::<Vec<_>>()))
}

fn replace(arguments: &[Value]) -> Outcome {
    let [text, pattern, by] = texts(arguments)?;
    let pattern = compiled(pattern)?;
    if !plain_template(by) {
        return Err(Refusal::NotHere(
            "takes $1, ${1}, $name and ${name} of letters from a to z, and $$",
        ));
    }
    Ok(Value::from(pattern.regex().replace_all(text, by).as_ref()))
}

/// Whether each `$` is one that both read alike.
fn plain_template(by: &str) -> bool {
    let name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let mut rest = by;
    while let Some((_, after)) = rest.split_once('$') {
        rest = after;
        if let Some(after) = after.strip_prefix('$') {
            rest = after;
        } else if let Some(braced) = after.strip_prefix('{') {
            let Some((inner, _)) = braced.split_once('}') else {
                return false;
            };
            if inner.is_empty() || !inner.chars().all(name) {
                return false;
            }
        } else {
            // A letter from elsewhere belongs to the name in Go.
            let length = after.find(|c| !name(c)).unwrap_or(after.len());
            let next = after.get(length..).and_then(|rest| rest.chars().next());
            if length == 0 || next.is_some_and(|c| !c.is_ascii()) {
                return false;
            }
        }
    }
    true
}

/// What stands between matches; an empty match at either end of the text divides nothing.
fn split(arguments: &[Value]) -> Outcome {
    let [pattern, text] = texts(arguments)?;
    let compiled = compiled(pattern)?;
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    if !pattern.is_empty() && text.is_empty() {
        return Ok(Value::from(vec![Value::from("")]));
    }
    for found in compiled.regex().find_iter(text) {
        end = found.start();
        if found.end() != 0 {
            parts.push(Value::from(text.get(begin..end).unwrap_or_default()));
        }
        begin = found.end();
    }
    if end != text.len() {
        parts.push(Value::from(text.get(begin..).unwrap_or_default()));
    }
    Ok(Value::from(parts))
}

/// A text in which patterns stand between delimiters.
fn template(arguments: &[Value]) -> Outcome {
    let [template, text, open, close] = texts(arguments)?;
    let (&[open], &[close]) = (open.as_bytes(), close.as_bytes()) else {
        return Err(Refusal::Undefined);
    };
    if open == close || !open.is_ascii() || !close.is_ascii() {
        return Err(Refusal::NotHere("takes two delimiters that differ"));
    }
    let (mut whole, mut level, mut from) = ("^".to_owned(), 0_usize, 0);
    for (at, byte) in template.bytes().enumerate() {
        let part = || template.get(from..at).unwrap_or_default();
        if byte == open {
            if level == 0 {
                whole.push_str(&regex::escape(part()));
                from = at + 1;
            }
            level += 1;
        } else if byte == close {
            level = level.checked_sub(1).ok_or(Refusal::Undefined)?;
            if level == 0 {
                // Each is a pattern by itself.
                compiled(&format!("^{}$", part()))?;
                whole.push('(');
                whole.push_str(part());
                whole.push(')');
                from = at + 1;
            }
        }
    }
    if level > 0 {
        return Err(Refusal::Undefined);
    }
    whole.push_str(&regex::escape(template.get(from..).unwrap_or_default()));
    whole.push('$');
    Ok(Value::from(compiled(&whole)?.is_match(text)))
}

fn upper(arguments: &[Value]) -> Outcome {
    let [text] = texts(arguments)?;
    Ok(Value::from(go::upper(text).as_ref()))
}

fn lower(arguments: &[Value]) -> Outcome {
    let [text] = texts(arguments)?;
    Ok(Value::from(go::lower(text).as_ref()))
}

/// As in JSON; Go knows more ways to write a number.
fn to_number(arguments: &[Value]) -> Outcome {
    let text = match arguments {
        [Value::Null | Value::Bool(false)] => return Ok(Value::from(0_u64)),
        [Value::Bool(true)] => return Ok(Value::from(1_u64)),
        [number @ Value::Number(_)] => return Ok(number.clone()),
        [Value::String(text)] => text.as_ref(),
        _ => return Err(Refusal::Undefined),
    };
    let begins = |c: char| c == '-' || c.is_ascii_digit();
    if text.starts_with(begins)
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text.parse().is_ok_and(f64::is_finite)
        && let Ok(number @ Value::Number(_)) = Value::from_json_str(text)
    {
        return Ok(number);
    }
    let digits = text.trim_start_matches(['+', '-']);
    let hex = digits
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    let decimal = digits.starts_with(|c: char| c == '.' || c.is_ascii_digit())
        && text.replace('_', "").parse().is_ok_and(f64::is_finite);
    if hex || decimal {
        Err(Refusal::NotHere(
            "takes numbers as they are written in JSON",
        ))
    } else {
        Err(Refusal::Undefined)
    }
}

/// Replaces in one pass: what was put in is not looked at again. At each place the first key that stands there counts.
fn replace_n(arguments: &[Value]) -> Outcome {
    let [Value::Object(pairs), Value::String(text)] = arguments else {
        return Err(Refusal::Undefined);
    };
    let mut ordered = Vec::with_capacity(pairs.len());
    for pair in pairs.iter() {
        let (Value::String(from), Value::String(to)) = pair else {
            return Err(Refusal::Undefined);
        };
        ordered.push((from.as_ref(), to.as_ref()));
    }
    ordered.sort_unstable();
    if ordered.first().is_some_and(|(from, _)| from.is_empty()) {
        return Err(Refusal::NotHere("takes no empty text to replace"));
    }
    let (mut made, mut rest) = (String::with_capacity(text.len()), text.as_ref());
    while let Some(c) = rest.chars().next() {
        let here = ordered.iter().find(|(from, _)| rest.starts_with(from));
        let taken = if let Some((from, to)) = here {
            made.push_str(to);
            from.len()
        } else {
            made.push(c);
            c.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    Ok(Value::from(made))
}

/// What Go escapes in a part of a query string.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn escaped(arguments: &[Value]) -> Outcome {
    let [text] = texts(arguments)?;
    let made = utf8_percent_encode(text, ESCAPED).to_string();
    Ok(Value::from(made.replace("%20", "+")))
}

#[cfg(test)]
mod tests {
    use super::super::builtins::Builtin;
    use super::*;

    fn call(name: &str, arguments: &[&str]) -> Outcome {
        let arguments: Vec<Value> = arguments.iter().map(|text| Value::from(*text)).collect();
        Builtin::find(name).unwrap().call(&arguments)
    }

    fn is(name: &str, arguments: &[&str], wanted: &str) {
        let value = call(name, arguments).unwrap();
        assert_eq!(value.to_string(), wanted, "{name} {arguments:?}");
    }

    #[test]
    fn patterns_mean_what_they_mean_to_opa() {
        for (pattern, text, wanted) in [
            (r"^\w+$", "ünï", "false"),
            (r"^\d+$", "١٢٣", "false"),
            (r"^a\b", "aü", "true"),
            (r"\Qrm\E", "rm", "true"),
            ("[a&&b]", "a", "true"),
            ("x{,3}", "x{,3}", "true"),
            ("{rm}", "{rm}", "true"),
            (r"^[\w-.]+$", "a-b.c", "true"),
        ] {
            is("regex.match", &[pattern, text], wanted);
            is("re_match", &[pattern, text], wanted);
        }
        is("regex.split", &[r"\W", "aüb"], r#"["a","b"]"#);
        is("regex.split", &["", "ab"], r#"["a","b"]"#);
        is("regex.split", &["a*", "baab"], r#"["b","b"]"#);
        is("regex.split", &["x", ""], r#"[""]"#);
        is("regex.replace", &["aüb", r"\w", "<$0>"], r#""<a>ü<b>""#);
        is(
            "regex.template_match",
            &["a{[0-9]+}.c", "a12.c", "{", "}"],
            "true",
        );
        is(
            "regex.template_match",
            &["a{[0-9]{2}}.c", "a123.c", "{", "}"],
            "false",
        );
    }

    #[test]
    fn what_is_no_pattern_has_no_value_and_what_cannot_be_said_ends_the_evaluation() {
        for wrong in ["[", "a++", r"\1", "(?x)a"] {
            assert_eq!(call("regex.match", &[wrong, "a"]), Err(Refusal::Undefined));
            is("regex.is_valid", &[wrong], "false");
        }
        for other in [r"\p{IsGreek}", r"(\pL{100}){10}"] {
            for result in [
                call("regex.match", &[other, "a"]),
                call("regex.is_valid", &[other]),
            ] {
                assert!(matches!(result, Err(Refusal::NotHere(_))), "{other}");
            }
        }
        for by in ["${a-b}", "$é", "${", "$", "$1é"] {
            let result = call("regex.replace", &["a", "a", by]);
            assert!(matches!(result, Err(Refusal::NotHere(_))), "{by}");
        }
        is(
            "regex.replace",
            &["ab", "(?P<x>a)(b)", "${x}-$2-$$"],
            r#""a-b-$""#,
        );
    }

    #[test]
    fn numbers_are_read_as_in_json_or_not_at_all() {
        is("to_number", &["-1.5e2"], "-150");
        for other in ["+1", "1.", ".5", "01", "1_0", "0x1p1"] {
            let result = call("to_number", &[other]);
            assert!(matches!(result, Err(Refusal::NotHere(_))), "{other}");
        }
        for none in [" 1", "1 ", "", "a", "inf", "-nan", "10.1.2.3", "1e999"] {
            assert_eq!(
                call("to_number", &[none]),
                Err(Refusal::Undefined),
                "{none}"
            );
        }
    }

    #[test]
    fn texts_become_what_they_become_with_opa() {
        is("upper", &["ßﬁä"], "\"ßﬁÄ\"");
        is("lower", &["ΑΣİ"], "\"ασi\"");
        is(
            "urlquery.encode",
            &["~*'() é/%20"],
            r#""~%2A%27%28%29+%C3%A9%2F%2520""#,
        );
        let pairs = Value::from_json_str(r#"{"a": "b", "b": "c", "bb": "x"}"#).unwrap();
        let replaced = Builtin::find("strings.replace_n").unwrap();
        assert_eq!(
            replaced.call(&[pairs, Value::from("abbü")]),
            Ok(Value::from("bccü"))
        );
    }
}
