//! Reads a flat JSON object of strings from bytes that nobody vouches for.
//!
//! Stricter than serde's derive, and with messages that name the member and never repeat what was sent: no duplicate members,
//! no unknown ones, nothing but strings, UTF-8 throughout. Values are handed over in place: nothing is built that is thrown
//! away, and nesting is refused at its first bracket.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, MapAccess, Visitor};
use serde_json::error::Category;

use crate::error::ApiError;

/// Reads `body` as an object with the members `names`, each optional, and hands each value over with its name's index.
///
/// An error of `set` ends the reading and is returned.
pub(crate) fn read_object(
    body: &[u8],
    names: &'static [&'static str],
    set: impl FnMut(usize, &str) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    if body.is_empty() {
        return Err(ApiError::malformed(format!(
            "the body is empty; send a JSON object with {}",
            names.join(", ")
        )));
    }
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        ApiError::malformed(format!("the body is not UTF-8 (byte {at})"))
    })?;

    let mut progress = Progress::default();
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json
        .deserialize_map(Object {
            names,
            set,
            progress: &mut progress,
        })
        .and_then(|()| json.end());
    read.map_err(|error| explain(&error, progress, names))
}

/// What serde's errors cannot carry: how far we came, and what stopped us.
#[derive(Default)]
struct Progress {
    member: Option<usize>,
    fault: Option<ApiError>,
}

fn explain(
    error: &serde_json::Error,
    progress: Progress,
    names: &'static [&'static str],
) -> ApiError {
    if let Some(fault) = progress.fault {
        return fault;
    }
    let detail: Cow<'static, str> = match (error.classify(), progress.member) {
        (Category::Data | Category::Io, Some(member)) => {
            let name = names.get(member).copied().unwrap_or_default();
            format!("{name} must be a string").into()
        }
        (Category::Data | Category::Io, None) => "the body must be a JSON object".into(),
        // The messages of serde_json for these are fixed sentences and a position.
        (Category::Syntax | Category::Eof, _) => format!("the body is not JSON: {error}").into(),
    };
    ApiError::malformed(detail)
}

struct Object<'p, F> {
    names: &'static [&'static str],
    set: F,
    progress: &'p mut Progress,
}

impl<'de, F> Visitor<'de> for Object<'_, F>
where
    F: FnMut(usize, &str) -> Result<(), ApiError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = 0_u32;
        while let Some(key) = map.next_key_seed(Key { names: self.names })? {
            let member = match key {
                Name::Known(member) if seen & (1 << member) == 0 => member,
                Name::Known(member) => {
                    let name = self.names.get(member).copied().unwrap_or_default();
                    return Err(self.stop(format!("{name} is there more than once")));
                }
                Name::Unknown(name) => {
                    let known = self.names.join(", ");
                    return Err(self.stop(format!(
                        "unknown member \"{name}\"; this call takes {known}"
                    )));
                }
            };
            seen |= 1 << member;
            self.progress.member = Some(member);
            map.next_value_seed(Value {
                member,
                set: &mut self.set,
                fault: &mut self.progress.fault,
            })?;
            self.progress.member = None;
        }
        Ok(())
    }
}

impl<F> Object<'_, F> {
    fn stop<E: serde::de::Error>(&mut self, detail: String) -> E {
        self.progress.fault = Some(ApiError::malformed(detail));
        E::custom("refused")
    }
}

struct Key {
    names: &'static [&'static str],
}

enum Name {
    Known(usize),
    Unknown(String),
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Name;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        let known = self.names.iter().position(|known| *known == name);
        Ok(known.map_or_else(|| Name::Unknown(presentable(name)), Name::Known))
    }
}

struct Value<'v, F> {
    member: usize,
    set: &'v mut F,
    fault: &'v mut Option<ApiError>,
}

impl<'de, F> DeserializeSeed<'de> for Value<'_, F>
where
    F: FnMut(usize, &str) -> Result<(), ApiError>,
{
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<F> Visitor<'_> for Value<'_, F>
where
    F: FnMut(usize, &str) -> Result<(), ApiError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        (self.set)(self.member, text).map_err(|error| {
            *self.fault = Some(error);
            E::custom("refused")
        })
    }
}

/// A name that came from outside, fit to be repeated: printable ASCII without quotes, 64 characters of it at most.
fn presentable(name: &str) -> String {
    const LONGEST: usize = 64;
    name.chars()
        .take(LONGEST)
        .map(|c| match c {
            '"' | '\\' => '?',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["token", "request"];

    fn read(body: &[u8]) -> Result<[String; 2], String> {
        let mut values = [String::new(), String::new()];
        read_object(body, NAMES, |member, text| {
            text.clone_into(&mut values[member]);
            Ok(())
        })
        .map(|()| values)
        .map_err(|error| error.detail().to_owned())
    }

    #[test]
    fn members_are_handed_over_escapes_resolved() {
        let [token, request] = read(br#" {"request":"a\/b\u00e9","t\u006fken":"x"} "#).unwrap();
        assert_eq!((token.as_str(), request.as_str()), ("x", "a/bé"));
        assert_eq!(read(b"{}").unwrap(), ["", ""]);
    }

    #[test]
    fn each_fault_is_named_and_no_value_repeated() {
        let deep = "[".repeat(100_000);
        let deep_value = format!("{{\"token\":{deep}");
        let cases: [(&[u8], &str); 16] = [
            (
                b"",
                "the body is empty; send a JSON object with token, request",
            ),
            (
                b" ",
                "the body is not JSON: EOF while parsing a value at line 1 column 1",
            ),
            (
                b"hunter2",
                "the body is not JSON: expected value at line 1 column 1",
            ),
            (
                b"{\"token\":\"hunter2",
                "the body is not JSON: EOF while parsing a string at line 1 column 17",
            ),
            (
                b"{} {}",
                "the body is not JSON: trailing characters at line 1 column 4",
            ),
            (b"\"hunter2\"", "the body must be a JSON object"),
            (b"[\"hunter2\"]", "the body must be a JSON object"),
            (b"null", "the body must be a JSON object"),
            (deep.as_bytes(), "the body must be a JSON object"),
            (deep_value.as_bytes(), "token must be a string"),
            (b"{\"token\":12345}", "token must be a string"),
            (b"{\"request\":null}", "request must be a string"),
            (
                b"{\"token\":{\"token\":\"hunter2\"}}",
                "token must be a string",
            ),
            (
                b"{\"token\":\"a\",\"token\":\"hunter2\"}",
                "token is there more than once",
            ),
            (
                b"{\"Token\":\"hunter2\"}",
                "unknown member \"Token\"; this call takes token, request",
            ),
            (b"{\"token\":\"\xff\"}", "the body is not UTF-8 (byte 10)"),
        ];
        for (body, detail) in cases {
            assert_eq!(read(body).unwrap_err(), detail);
        }
    }

    #[test]
    fn an_unknown_name_is_cut_and_cleaned() {
        let name = format!("<\\u0000\\n\\\"\\\\ü>{}", "x".repeat(100_000));
        let error = read(format!("{{\"{name}\":1}}").as_bytes()).unwrap_err();
        let shown = format!("<?????>{}", "x".repeat(57));
        assert_eq!(
            error,
            format!("unknown member \"{shown}\"; this call takes token, request")
        );
    }

    #[test]
    fn an_error_of_the_taker_is_passed_on() {
        let error = read_object(b"{\"token\":\"x\"}", NAMES, |_, _| {
            Err(ApiError::malformed("no"))
        });
        assert_eq!(error.unwrap_err().detail(), "no");
    }
}
