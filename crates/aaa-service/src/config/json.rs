//! The text of a configuration file to a value: with a line for whatever is wrong, no key twice, and bounds on size and depth.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::Problems;

/// The largest configuration file, in bytes.
pub(crate) const MAX_BYTES: u64 = 1024 * 1024;

/// The deepest nesting; no section has more than five levels.
const MAX_DEPTH: usize = 32;

/// Reads the one object that a configuration file is.
pub(super) fn parse(name: &str, text: &[u8]) -> Result<Map<String, Value>, Problems> {
    let fail = |key: &str, what: String| {
        let mut problems = Problems::new(name);
        problems.push(key, what);
        problems
    };
    if text.len() as u64 > MAX_BYTES {
        return Err(fail("file", too_large()));
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(fail("file", "is empty; wants a JSON object {…}".to_owned()));
    }
    let text = without_comments(text);
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let value = Checked { depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|e| {
            let place = format!("line {}, column {}", e.line(), e.column());
            let text = e.to_string();
            let text = text
                .rsplit_once(" at line ")
                .map_or(&*text, |(text, _)| text);
            fail(&place, text.to_owned())
        })?;
    match value {
        Value::Object(map) => Ok(map),
        other => Err(fail(
            "file",
            format!("is {}; wants a JSON object {{…}}", kind_of(&other)),
        )),
    }
}

/// Blanks out the lines that begin with two slashes. No part of JSON has a line break in it, so nothing else begins like that.
fn without_comments(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    for line in text.split_mut(|&byte| byte == b'\n') {
        if line.trim_ascii_start().starts_with(b"//") {
            line.fill(b' ');
        }
    }
    text
}

/// What is said of a file over [`MAX_BYTES`].
pub(super) fn too_large() -> String {
    "is larger than 1 MiB; put users into users_file".to_owned()
}

/// What a value is, for an error. The value itself may be a secret.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[derive(Clone, Copy)]
struct Checked {
    depth: usize,
}

impl Checked {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            if members.contains_key(&name) {
                let name: String = name.chars().take(64).collect();
                return Err(A::Error::custom(format!("the key {name:?} is given twice")));
            }
            let value = map.next_value_seed(inner)?;
            members.insert(name, value);
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse("a.json", text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn syntax_errors_have_a_place() {
        assert_eq!(
            problem("{\n  \"port\": 1,\n  \"site\" 2\n}"),
            "a.json: 1 problem\n  line 3, column 10   expected `:`"
        );
        assert!(problem("{\"port\": 1").contains("EOF while parsing an object"));
        assert!(problem("{} x").contains("trailing characters"));
    }

    #[test]
    fn lines_of_comment_are_left_out() {
        let text = "// first\n{\n  // \"port\": 1,\r\n  \"site\": \"a//b\"\n}\n//";
        let read = parse("a.json", text.as_bytes()).unwrap();
        assert_eq!(Value::Object(read).to_string(), "{\"site\":\"a//b\"}");
        // What is wrong has the place that it has in the file, and a comment behind something is none.
        assert!(problem("{\n// x\n  \"port\": 1 // y\n}").contains("line 3, column 13"));
        assert!(problem("{\"site\": \"\n//\"}").contains("control character"));
    }

    #[test]
    fn a_key_twice_has_a_place_at_any_depth() {
        assert_eq!(
            problem("{\"a\": [{\"b\": 1,\n \"b\": 2}]}"),
            "a.json: 1 problem\n  line 2, column 4   the key \"b\" is given twice"
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(
            problem(" \n"),
            "a.json: 1 problem\n  file   is empty; wants a JSON object {…}"
        );
        assert_eq!(
            problem("[1]"),
            "a.json: 1 problem\n  file   is a list; wants a JSON object {…}"
        );
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
        assert!(problem(&format!("{{\"a\":{deep}}}")).contains("nested deeper than 32 levels"));
        let large = format!("{{\"a\":\"{}\"}}", "x".repeat(1024 * 1024));
        assert!(problem(&large).contains("larger than 1 MiB"));
    }

    #[test]
    fn a_byte_order_mark_is_no_matter() {
        assert_eq!(parse("a.json", b"\xef\xbb\xbf{\"a\":1}").unwrap().len(), 1);
    }
}
