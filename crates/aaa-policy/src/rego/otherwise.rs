//! Arguments of which OPA's functions make something else than the engine's: an evaluation ends there, with a reason.

use std::fmt::Write as _;

use regorus::Value;

use super::guard::Refusal;

/// Whether the engine decides as OPA does.
///
/// # Errors
/// When it does not.
pub(super) fn check(name: &str, arguments: &[Value]) -> Result<(), Refusal> {
    let not_here = |alike: bool, why| {
        if alike {
            Ok(())
        } else {
            Err(Refusal::NotHere(why))
        }
    };
    match name {
        "json.marshal" | "json.marshal_with_options" | "sprintf" => not_here(
            arguments.iter().all(|argument| all(argument, shown_alike)),
            "takes numbers that are written without an exponent",
        ),
        "sort" | "max" | "min" => not_here(
            !(inside(arguments, is_object) && inside(arguments, is_set)),
            "orders no objects beside sets",
        ),
        "semver.is_valid" | "semver.compare" => not_here(
            arguments.iter().all(version_alike),
            "takes versions as semver.org has them, without v and leading zeros",
        ),
        "base64.decode" | "base64.is_valid" | "base64url.decode" => not_here(
            arguments.iter().all(decoded_alike),
            "takes no line breaks, and no bits behind the last byte",
        ),
        "glob.match" => not_here(
            glob_alike(arguments),
            "takes *, [abc], [a-c] and {a,b}, not nested, or ? without * and {a,b}, and with ? and [ only ASCII",
        ),
        _ => Ok(()),
    }
}

/// What came out, as OPA has it.
///
/// # Errors
/// When it may be something else there: a text may hold bytes that are none.
pub(super) fn finish(name: &str, result: Value) -> Result<Value, Refusal> {
    let Value::String(text) = &result else {
        return Ok(result);
    };
    let decodes = matches!(name, "base64.decode" | "base64url.decode" | "hex.decode");
    if decodes && text.contains(char::REPLACEMENT_CHARACTER) {
        return Err(Refusal::NotHere("gives UTF-8 only"));
    }
    let odd = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    if !name.starts_with("json.marshal") || !text.contains(odd) {
        return Ok(result);
    }
    // Go writes JSON that may stand in a page.
    let mut safe = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if odd.contains(&c) {
            let _infallible = write!(safe, "\\u{:04x}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    Ok(Value::from(safe))
}

fn all(value: &Value, good: fn(&Value) -> bool) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| all(item, good)),
        Value::Set(items) => items.iter().all(|item| all(item, good)),
        Value::Object(pairs) => pairs
            .iter()
            .all(|(key, value)| all(key, good) && all(value, good)),
        other => good(other),
    }
}

/// Whether a number is shown without an exponent, whoever shows it.
fn shown_alike(value: &Value) -> bool {
    let Value::Number(number) = value else {
        return true;
    };
    let size = number.as_f64().map_or(f64::INFINITY, f64::abs);
    size < 1e21 && (number.is_integer() || size >= 1e-4)
}

fn is_object(value: &Value) -> bool {
    matches!(value, Value::Object(_))
}

fn is_set(value: &Value) -> bool {
    matches!(value, Value::Set(_))
}

/// Whether there is such a value in one of these collections, or in what they hold.
fn inside(collections: &[Value], such: fn(&Value) -> bool) -> bool {
    let or_inside = |value: &Value| such(value) || inside(std::slice::from_ref(value), such);
    collections.iter().any(|collection| match collection {
        Value::Array(items) => items.iter().any(or_inside),
        Value::Set(items) => items.iter().any(or_inside),
        Value::Object(pairs) => {
            let mut pairs = pairs.iter();
            pairs.any(|(key, value)| or_inside(key) || or_inside(value))
        }
        _ => false,
    })
}

/// Whether both take a version, or neither does.
fn version_alike(value: &Value) -> bool {
    let Value::String(text) = value else {
        return true;
    };
    let identifiers = |text: &str| {
        let good = |c: char| c == '-' || c.is_ascii_alphanumeric();
        text.split('.')
            .all(|part| !part.is_empty() && part.chars().all(good))
    };
    let cut = |text, at| -> (&str, Option<&str>) {
        str::split_once(text, at).map_or((text, None), |(before, after)| (before, Some(after)))
    };
    let plain = text.strip_prefix('v').unwrap_or(text);
    let (core, build) = cut(plain, '+');
    let (core, before) = cut(core, '-');
    let numbers: Vec<&str> = core.split('.').collect();
    let taken = [build, before]
        .into_iter()
        .flatten()
        .all(|part| part.is_empty() || identifiers(part))
        && numbers.len() == 3
        && numbers.iter().all(|number| number.parse::<i64>().is_ok());
    if !taken {
        // The engine takes larger numbers.
        return !numbers.iter().any(|number| number.len() > 18);
    }
    let canonical = |number: &str| {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        !digits || number == "0" || !number.starts_with('0')
    };
    plain == text.as_ref()
        && numbers.iter().all(|number| canonical(number))
        && [build, before]
            .into_iter()
            .flatten()
            .all(|part| !part.is_empty())
        && before.is_none_or(|before| before.split('.').all(canonical))
}

fn decoded_alike(value: &Value) -> bool {
    let Value::String(text) = value else {
        return true;
    };
    let body = text.trim_end_matches('=');
    let place = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        _ => 63,
    };
    let last = body.bytes().last().map_or(0, place);
    let left = match body.len() % 4 {
        2 => last % 16,
        3 => last % 4,
        _ => 0,
    };
    left == 0 && !text.contains(['\r', '\n'])
}

/// Whether a pattern has nothing in it that the two read otherwise.
fn glob_alike(arguments: &[Value]) -> bool {
    let [Value::String(pattern), delimiters, Value::String(text)] = arguments else {
        return true;
    };
    let is_delimiter = |c: char| match delimiters {
        Value::Array(given) if given.is_empty() => c == '.',
        Value::Array(given) => given
            .iter()
            .any(|one| matches!(one, Value::String(one) if one.contains(c))),
        _ => false,
    };
    let mut rest = pattern.as_ref();
    let mut in_braces = false;
    let mut before = ',';
    let mut single = false;
    while let Some(c) = rest.chars().next() {
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '\\' | ']' => return false,
            '[' => {
                let Some((class, after)) = rest.split_once(']') else {
                    return false;
                };
                let range = matches!(class.as_bytes(), [low, b'-', high] if low <= high);
                let list = !class.is_empty() && !class.contains('-');
                let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (range && c == '-');
                if !(range || list) || !class.chars().all(good) || class.contains(is_delimiter) {
                    return false;
                }
                single = true;
                rest = after;
            }
            '{' if in_braces => return false,
            '{' => in_braces = true,
            '}' if !in_braces || matches!(before, ',' | '{') => return false,
            '}' => in_braces = false,
            ',' if in_braces && matches!(before, ',' | '{') => return false,
            '?' => single = true,
            _ => {}
        }
        before = c;
    }
    // The engine counts bytes; to OPA `?` may be nothing where what is around it has no length.
    let loose = pattern.contains('?') && (text.is_empty() || pattern.contains(['*', '{']));
    !in_braces && !loose && (!single || text.is_ascii())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::builtins::Builtin;
    use super::*;

    /// Whether the call is refused with a reason.
    fn refused(name: &str, arguments: &str) -> bool {
        let Value::Array(arguments) = Value::from_json_str(arguments).unwrap() else {
            panic!("{arguments}");
        };
        let arguments: Vec<Value> = arguments.iter().cloned().collect();
        let result = Builtin::find(name).unwrap().call(&arguments);
        matches!(result, Err(Refusal::NotHere(_)))
    }

    #[test]
    fn what_opa_makes_otherwise_ends_the_evaluation() {
        for (name, arguments) in [
            ("json.marshal", "[[{\"a\": 1e21}]]"),
            ("json.marshal", "[0.00001]"),
            ("sprintf", "[\"%v\", [1e21]]"),
            ("sprintf", "[\"%v\", [0.00001]]"),
            ("semver.is_valid", "[\"v1.0.0\"]"),
            ("semver.is_valid", "[\"01.0.0\"]"),
            ("semver.is_valid", "[\"1.0.0-\"]"),
            ("semver.is_valid", "[\"1.0.0-01\"]"),
            ("semver.is_valid", "[\"9999999999999999999.0.0\"]"),
            ("semver.compare", "[\"1.0.0\", \"v1.0.0\"]"),
            ("base64.decode", "[\"YQ=\\n=\"]"),
            ("base64.is_valid", "[\"YR==\"]"),
            ("base64.decode", "[\"/w==\"]"),
            ("hex.decode", "[\"ff\"]"),
            ("glob.match", "[\"{a,b\", [], \"a\"]"),
            ("glob.match", "[\"a}\", [], \"a\"]"),
            ("glob.match", "[\"[^a-c]\", [], \"d\"]"),
            ("glob.match", "[\"[a\", [], \"d\"]"),
            ("glob.match", "[\"?\", [\".\"], \"ü\"]"),
            ("glob.match", "[\"?\", [], \"\"]"),
            ("glob.match", "[\"*.?\", [], \"a.\"]"),
            ("glob.match", "[\"{a,{b,c}}\", [], \"a\"]"),
            ("glob.match", "[\"{,a}\", [], \"a\"]"),
            ("glob.match", "[\"\\\\*\", [], \"*\"]"),
        ] {
            assert!(refused(name, arguments), "{name} {arguments}");
        }
    }

    #[test]
    fn objects_are_not_ordered_beside_sets() {
        let set = Value::from(BTreeSet::from([Value::from(1_u64)]));
        let object = Value::new_object();
        let max = |items: Vec<Value>| Builtin::find("max").unwrap().call(&[Value::from(items)]);
        let nested = Value::from(vec![set.clone()]);
        for items in [vec![set.clone(), object.clone()], vec![nested, object]] {
            assert!(matches!(max(items), Err(Refusal::NotHere(_))));
        }
        assert_eq!(max(vec![Value::from(1_u64), set.clone()]), Ok(set));
    }

    #[test]
    fn json_may_stand_in_a_page() {
        let made = Builtin::find("json.marshal")
            .unwrap()
            .call(&[Value::from("<&>é")]);
        assert_eq!(made, Ok(Value::from(r#""\u003c\u0026\u003eé""#)));
    }

    #[test]
    fn what_both_make_alike_is_made() {
        for (name, arguments) in [
            ("json.marshal", "[[1, -2.5, \"1.0\", null]]"),
            ("sprintf", "[\"%v %v\", [10, [1, 1.5, 0]]]"),
            ("sort", "[[[1], \"a\", null, 2.5]]"),
            ("max", "[[1, 2]]"),
            ("max", "[[{\"a\": 1}, {}]]"),
            ("semver.is_valid", "[\"1.2.3-rc.1+b.01\"]"),
            ("semver.is_valid", "[\"1.2\"]"),
            ("semver.is_valid", "[1]"),
            ("base64.decode", "[\"YQ==\"]"),
            ("hex.decode", "[\"61\"]"),
            ("glob.match", "[\"{a,b}*.[a-c][xy]\", [\".\"], \"ab.bz\"]"),
            ("glob.match", "[\"a?[xy]\", [\".\"], \"abz\"]"),
        ] {
            assert!(!refused(name, arguments), "{name} {arguments}");
        }
    }
}
