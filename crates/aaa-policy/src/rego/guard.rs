//! How much Rego's functions may be given.
//!
//! The engine looks at the clock between its steps, and a call of a function is one step. So arguments are looked at
//! first: none is so large, and no two so large together, that the call could run long or fill the memory, and none makes
//! the engine's own code panic.

use regorus::Value;

use super::input::{bits, weight};

/// The most that a function is given, in units of [`weight`].
const MOST_GIVEN: usize = 1 << 20;
/// The most that two arguments whose sizes multiply may make together.
const MOST_TOGETHER: usize = 1 << 24;
/// The most elements that a range or an address block may have.
const MOST_ELEMENTS: i64 = 1 << 16;
/// The longest text that a pattern is matched with, and the longest pattern.
const LONGEST_MATCHED: usize = 64 << 10;
const LONGEST_PATTERN: usize = 4 << 10;
/// The largest numbers that are written out or shifted, in bits, and the most digits that are read.
pub(super) const LARGEST_NUMBER: usize = 16 << 10;
const MOST_DIGITS: usize = 1000;

/// How a call ends when it gives no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// As Rego has it when arguments are of the wrong kind: the result is undefined.
    Undefined,
    /// The arguments are beyond a limit, so the evaluation ends.
    TooMuch,
    /// OPA has a result for the arguments, and the engine another one; so the evaluation ends with this reason.
    NotHere(&'static str),
}

/// Whether a function may be called with these arguments.
///
/// # Errors
/// When it would not end well.
pub(super) fn admit(name: &str, arguments: &[Value]) -> Result<(), Refusal> {
    if name.starts_with("is_") || name == "type_name" || name == "count" {
        return Ok(());
    }
    let mut sizes = [0; 4];
    for (size, argument) in sizes.iter_mut().zip(arguments) {
        *size = weight(argument, MOST_GIVEN).ok_or(Refusal::TooMuch)?;
        if let Value::String(text) = argument {
            *size = text.len();
        }
        within(*size, MOST_GIVEN)?;
        within(bits(argument), LARGEST_NUMBER)?;
    }
    let [first, second, third, _] = sizes;
    match name {
        "indexof" | "indexof_n" if text(arguments, 1)?.is_empty() => Err(Refusal::Undefined),
        "concat"
        | "indexof"
        | "indexof_n"
        | "strings.count"
        | "trim"
        | "trim_left"
        | "trim_right"
        | "strings.any_prefix_match"
        | "strings.any_suffix_match"
        | "json.marshal_with_options"
        | "object.remove"
        | "object.filter" => together(first, second),
        "object.subset" => match arguments {
            [Value::Object(_), Value::Object(_)]
            | [Value::Set(_), Value::Set(_)]
            | [Value::Array(_), Value::Array(_) | Value::Set(_)] => together(first, second),
            _ => Err(Refusal::Undefined),
        },
        "replace" => replaced(arguments),
        "strings.replace_n" => replaced_each(arguments),
        "split" => within(first, MOST_GIVEN / 4),
        "sprintf" => verbs(arguments),
        "walk" => within(
            weight(arguments.first().unwrap_or(&Value::Null), MOST_GIVEN).unwrap_or(MOST_GIVEN),
            1 << 14,
        ),
        "numbers.range" | "numbers.range_step" => range(arguments),
        "bits.lsh" => shift(arguments),
        "product" => within(first, MOST_DIGITS),
        "net.cidr_expand" => addresses(arguments),
        "to_number" | "units.parse" | "units.parse_bytes" => number(arguments),
        "glob.match" if separated_stars(arguments) => {
            Err(Refusal::NotHere("knows `**` with null for delimiters only"))
        }
        _ if name.starts_with("regex.") || name.starts_with("glob.") => {
            matching(name, &[first, second, third])
        }
        _ if name.starts_with("time.") => zone(arguments),
        _ => Ok(()),
    }
}

fn within(size: usize, most: usize) -> Result<(), Refusal> {
    if size > most {
        Err(Refusal::TooMuch)
    } else {
        Ok(())
    }
}

fn together(one: usize, other: usize) -> Result<(), Refusal> {
    within(one.saturating_mul(other), MOST_TOGETHER)
}

fn text(arguments: &[Value], at: usize) -> Result<&str, Refusal> {
    match arguments.get(at) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Refusal::Undefined),
    }
}

fn whole(arguments: &[Value], at: usize) -> Result<i64, Refusal> {
    match arguments.get(at) {
        Some(Value::Number(number)) if number.is_integer() => {
            number.as_i64().ok_or(Refusal::TooMuch)
        }
        _ => Err(Refusal::Undefined),
    }
}

fn replaced(arguments: &[Value]) -> Result<(), Refusal> {
    let (from, old, new) = (
        text(arguments, 0)?,
        text(arguments, 1)?,
        text(arguments, 2)?,
    );
    grown(from.len(), from.matches(old).count(), new.len()).map(|_| ())
}

/// How long a text becomes when so many places in it are replaced by so much.
fn grown(length: usize, places: usize, by: usize) -> Result<usize, Refusal> {
    let length = places.saturating_mul(by).saturating_add(length);
    within(length, MOST_GIVEN).map(|()| length)
}

/// One replacement after the other, each on what the one before left.
fn replaced_each(arguments: &[Value]) -> Result<(), Refusal> {
    let Some(Value::Object(pairs)) = arguments.first() else {
        return Err(Refusal::Undefined);
    };
    let mut length = text(arguments, 1)?.len();
    for (_, new) in pairs.iter() {
        let Value::String(new) = new else {
            return Err(Refusal::Undefined);
        };
        // At worst there is a place before and after every byte.
        length = if new.len() <= 1 {
            length
        } else {
            grown(0, length + 1, new.len())?
        };
    }
    Ok(())
}

/// The verbs that the engine writes as OPA does, each with an argument that it suits.
fn verbs(arguments: &[Value]) -> Result<(), Refusal> {
    const WRONG: Refusal = Refusal::NotHere(
        "takes %s for all but numbers, %d for whole ones, %v and %%, without widths, and an argument for each",
    );
    let Some(Value::Array(given)) = arguments.get(1) else {
        return Err(Refusal::Undefined);
    };
    let (mut given, mut rest) = (given.iter(), text(arguments, 0)?.chars());
    while let Some(c) = rest.next() {
        if c != '%' {
            continue;
        }
        let fits = match rest.next() {
            Some('%') => true,
            Some('s') => given
                .next()
                .is_some_and(|of| !matches!(of, Value::Number(_))),
            Some('d') => given
                .next()
                .is_some_and(|of| matches!(of, Value::Number(number) if number.is_integer())),
            Some('v') => given.next().is_some(),
            _ => false,
        };
        if !fits {
            return Err(WRONG);
        }
    }
    if given.next().is_some() {
        Err(WRONG)
    } else {
        Ok(())
    }
}

/// `**` goes beyond delimiters, in OPA wherever it stands and in the engine only between two of them.
fn separated_stars(arguments: &[Value]) -> bool {
    let separated = !matches!(arguments.get(1), Some(Value::Null));
    separated && text(arguments, 0).is_ok_and(|pattern| pattern.contains("**"))
}

fn range(arguments: &[Value]) -> Result<(), Refusal> {
    let (from, to) = (whole(arguments, 0)?, whole(arguments, 1)?);
    let step = if arguments.len() > 2 {
        whole(arguments, 2)?
    } else {
        1
    };
    if step < 1 {
        return Err(Refusal::Undefined);
    }
    let length = to
        .checked_sub(from)
        .and_then(i64::checked_abs)
        .ok_or(Refusal::TooMuch)?;
    if length / step > MOST_ELEMENTS {
        Err(Refusal::TooMuch)
    } else {
        Ok(())
    }
}

fn shift(arguments: &[Value]) -> Result<(), Refusal> {
    let by = usize::try_from(whole(arguments, 1)?).map_err(|_| Refusal::Undefined)?;
    within(by, LARGEST_NUMBER)
}

fn addresses(arguments: &[Value]) -> Result<(), Refusal> {
    let block = text(arguments, 0)?;
    let (address, prefix) = block.split_once('/').ok_or(Refusal::Undefined)?;
    let prefix: u32 = prefix.parse().map_err(|_| Refusal::Undefined)?;
    let whole: u32 = if address.contains(':') { 128 } else { 32 };
    let free = whole.checked_sub(prefix).ok_or(Refusal::Undefined)?;
    if free > 16 {
        Err(Refusal::TooMuch)
    } else {
        Ok(())
    }
}

/// Of numbers as text, the engine works out every digit that they stand for.
fn number(arguments: &[Value]) -> Result<(), Refusal> {
    let Some(Value::String(text)) = arguments.first() else {
        return Ok(());
    };
    within(text.len(), MOST_DIGITS)?;
    let exponent = text.split(['e', 'E']).nth(1).unwrap_or_default();
    let digits = exponent.chars().filter(char::is_ascii_digit).count();
    within(digits, 3)
}

fn matching(name: &str, sizes: &[usize; 3]) -> Result<(), Refusal> {
    let [first, second, third] = *sizes;
    let (pattern, matched, by) = match name {
        "regex.replace" => (second, first, third),
        "glob.match" => (first, third, second),
        _ => (first, second, 0),
    };
    within(pattern, LONGEST_PATTERN)?;
    within(by, LONGEST_PATTERN)?;
    within(matched, LONGEST_MATCHED)?;
    together(matched, by)
}

/// `Local` would be the zone of this host.
fn zone(arguments: &[Value]) -> Result<(), Refusal> {
    let local = arguments.iter().any(|argument| match argument {
        Value::Array(parts) => parts.iter().any(|part| *part == Value::from("Local")),
        _ => false,
    });
    if local {
        Err(Refusal::Undefined)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::builtins::Builtin;
    use super::*;

    fn call(name: &str, arguments: &[Value]) -> Result<Value, Refusal> {
        Builtin::find(name).unwrap().call(arguments)
    }

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    #[test]
    fn what_would_be_endless_or_huge_is_refused() {
        let n = |n: i64| Value::from(n);
        let long = text(&"a".repeat(100_000));
        let cases = [
            ("numbers.range", vec![n(0), n(i64::MAX)]),
            ("numbers.range", vec![n(i64::MIN), n(i64::MAX)]),
            ("numbers.range", vec![n(0), n(1_000_000_000_000_000)]),
            ("numbers.range_step", vec![n(0), n(1 << 40), n(2)]),
            ("bits.lsh", vec![n(1), n(1 << 40)]),
            ("replace", vec![long.clone(), text("a"), long.clone()]),
            (
                "strings.replace_n",
                vec![
                    Value::from_json_str(r#"{"a":"bbbb","b":"cccc","c":"aaaa"}"#).unwrap(),
                    long.clone(),
                ],
            ),
            (
                "concat",
                vec![long.clone(), Value::from(vec![text("a"); 1000])],
            ),
            ("indexof", vec![long.clone(), text(&"a".repeat(50_000))]),
            ("net.cidr_expand", vec![text("::/0")]),
            ("net.cidr_expand", vec![text("10.0.0.0/8")]),
            ("to_number", vec![text(&"9".repeat(100_000))]),
            ("to_number", vec![text("1e999999999")]),
            ("units.parse_bytes", vec![text("1e99999999G")]),
            ("regex.match", vec![text("(a|b)*c"), long.clone()]),
            ("regex.match", vec![text(&"(a|b)*".repeat(1000)), text("a")]),
            ("product", vec![Value::from(vec![n(i64::MAX); 100_000])]),
            ("walk", vec![Value::from(vec![n(1); 100_000])]),
            (
                "array.concat",
                vec![Value::from(vec![long; 400]), Value::new_array()],
            ),
        ];
        for (name, arguments) in cases {
            assert_eq!(call(name, &arguments), Err(Refusal::TooMuch), "{name}");
        }
    }

    #[test]
    fn what_shares_its_parts_counts_as_what_it_stands_for() {
        let mut shared = Value::from(vec![Value::from(1_u64)]);
        for _ in 0..40 {
            shared = Value::from(vec![shared.clone(), shared]);
        }
        assert_eq!(call("json.marshal", &[shared]), Err(Refusal::TooMuch));
        let mut deep = Value::from(1_u64);
        for _ in 0..1000 {
            deep = Value::from(vec![deep]);
        }
        assert_eq!(call("json.marshal", &[deep]), Err(Refusal::TooMuch));
    }

    #[test]
    fn what_the_engine_writes_as_opa_does_is_written() {
        let written = |format: &str, given: &[Value]| {
            call("sprintf", &[text(format), Value::from(given.to_vec())])
        };
        let one = [Value::from(1_u64)];
        assert_eq!(written("100%% %d", &one), Ok(text("100% 1")));
        assert_eq!(
            written("%v%s", &[one[0].clone(), text("a")]),
            Ok(text("1a"))
        );
        for (format, given) in [
            ("%²d", one.as_slice()),
            ("%99999999999d", &one),
            ("%04d", &one),
            ("%s", &one),
            ("%x", &one),
            ("%", &one),
            ("%d", &[text("a")]),
            ("%d", &[Value::from(1.5)]),
            ("%d %d", &one),
            ("no verb", &one),
        ] {
            let refused = matches!(written(format, given), Err(Refusal::NotHere(_)));
            assert!(refused, "{format}");
        }
    }

    #[test]
    fn what_opa_decides_otherwise_is_not_decided() {
        let glob =
            |pattern, delimiters| call("glob.match", &[text(pattern), delimiters, text("a.b")]);
        let dots = Value::from(vec![text(".")]);
        assert!(matches!(
            glob("a**", dots.clone()),
            Err(Refusal::NotHere(_))
        ));
        assert_eq!(glob("a**", Value::Null), Ok(Value::from(true)));
        assert_eq!(glob("a.*", dots), Ok(Value::from(true)));
        for name in ["indexof", "indexof_n"] {
            assert_eq!(
                call(name, &[text("abc"), text("")]),
                Err(Refusal::Undefined)
            );
        }
    }

    #[test]
    fn what_makes_the_engine_panic_is_undefined() {
        assert_eq!(
            call("strings.count", &[text("abc"), text("")]),
            Ok(Value::from(4_usize))
        );
        let range = |step: i64| {
            call(
                "numbers.range_step",
                &[Value::from(1_i64), Value::from(5_i64), Value::from(step)],
            )
        };
        assert_eq!(range(0), Err(Refusal::Undefined));
        assert_eq!(range(-1), Err(Refusal::Undefined));
        assert!(range(2).is_ok());
    }

    #[test]
    fn the_zone_of_the_host_is_not_to_be_had() {
        let at = |zone: &str| Value::from(vec![Value::from(0_i64), text(zone)]);
        assert_eq!(call("time.clock", &[at("Local")]), Err(Refusal::Undefined));
        assert!(call("time.clock", &[at("Europe/Malta")]).is_ok());
    }
}
