//! Reading JSON so that we and the node read the same thing.
//!
//! Choria nodes are written in Go, whose decoder matches member names without regard to case and takes the last of several.
//! A request that carries `callerid` and `CallerID` would say one thing to us and another to the node. So whatever we read
//! from a request's own structure must have each member once, under every spelling that Go would take for it, and spelled as
//! the protocol spells it. Values that we do not interpret are left as they came, byte for byte.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Why a text is not an object that everybody reads alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, not UTF-8, or not an object.
    #[error("not a JSON object: {0}")]
    Malformed(String),
    /// A member stands there twice, or is spelled otherwise than the protocol spells it.
    #[error(
        "member {0:?} is ambiguous: it is there twice, or differs from another one only in case"
    )]
    Ambiguous(String),
    /// A member that must be there is not.
    #[error("member {0:?} is missing")]
    Missing(&'static str),
    /// A member is of the wrong kind.
    #[error("member {name:?} is wrong: {problem}")]
    Wrong {
        /// The member.
        name: &'static str,
        /// What is wanted, without the value that was sent.
        problem: String,
    },
}

/// An object whose members are read one by one, in the order they came, each value as its own piece of text.
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Splits an object into its members. `known` are the names that its reader interprets.
    ///
    /// # Errors
    /// When the text is no JSON object, a member is there twice, or one spells a known name in another case.
    pub fn parse(text: &'a [u8], known: &[&str]) -> Result<Self, JsonError> {
        // serde_json checks the UTF-8 of each string, but reads a raw value without looking into it.
        let text = std::str::from_utf8(text).map_err(|e| JsonError::Malformed(e.to_string()))?;
        let object: Self =
            serde_json::from_str(text).map_err(|e| JsonError::Malformed(position_only(&e)))?;
        object.check_spelling(known)?;
        Ok(object)
    }

    fn check_spelling(&self, known: &[&str]) -> Result<(), JsonError> {
        for (at, (name, _)) in self.members.iter().enumerate() {
            let twice = self
                .members
                .iter()
                .take(at)
                .any(|(earlier, _)| folds_alike(earlier, name));
            let misspelled = known
                .iter()
                .any(|known| known != name && folds_alike(known, name));
            if twice || misspelled {
                return Err(JsonError::Ambiguous(name.chars().take(64).collect()));
            }
        }
        Ok(())
    }

    /// The text of a member, if it is there.
    pub fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.members
            .iter()
            .find(|(member, _)| member == name)
            .map(|(_, value)| *value)
    }

    /// A member that must be there, as a `T`.
    pub fn required<T: Deserialize<'a>>(&self, name: &'static str) -> Result<T, JsonError> {
        let value = self.raw(name).ok_or(JsonError::Missing(name))?;
        decode(name, value)
    }

    /// A member that may be absent or `null`, both of which a node reads as empty.
    pub fn optional<T: Deserialize<'a> + Default>(
        &self,
        name: &'static str,
    ) -> Result<T, JsonError> {
        match self.raw(name) {
            None => Ok(T::default()),
            Some(value) if value.get() == "null" => Ok(T::default()),
            Some(value) => decode(name, value),
        }
    }

    /// A member that is an object of its own.
    pub fn object(&self, name: &'static str, known: &[&str]) -> Result<Object<'a>, JsonError> {
        let value = self.raw(name).ok_or(JsonError::Missing(name))?;
        Object::parse(value.get().as_bytes(), known)
    }
}

/// Reads one value, refusing repeated members at any depth of it.
pub fn decode<'a, T: Deserialize<'a>>(
    name: &'static str,
    value: &'a RawValue,
) -> Result<T, JsonError> {
    serde_json::from_str(value.get()).map_err(|e| JsonError::Wrong {
        name,
        problem: position_only(&e),
    })
}

/// A parser's complaint without quoting the input.
fn position_only(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Io | serde_json::error::Category::Eof => {
            "it ends before it is complete"
        }
        serde_json::error::Category::Syntax => "the syntax is wrong",
        serde_json::error::Category::Data => "a value is of the wrong kind",
    };
    format!("{kind} (line {}, column {})", error.line(), error.column())
}

/// Whether Go's decoder takes the two names for the same member (`encoding/json`, `foldName`).
pub fn folds_alike(a: &str, b: &str) -> bool {
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// One character under Go's folding, as far as it can meet an ASCII name: besides case, the long s and the Kelvin sign.
fn fold(c: char) -> char {
    match c {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(Name(name)) = map.next_key()? {
                    // No structure of the protocol has more than a dozen; the check for repeats is quadratic.
                    if members.len() == 64 {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Object { members })
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A member name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;
        impl<'de> Visitor<'de> for Borrow {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }

            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(v)))
            }

            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrow)
    }
}

/// A JSON value without repeated members at any depth.
///
/// Member names inside are data, compared as they stand: Go reads them into maps, where case matters.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Strict(pub serde_json::Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = serde_json::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Self::Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(serde_json::Value::Null)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = serde_json::Map::new();
        while let Some((name, Strict(value))) = map.next_entry::<String, Strict>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["callerid", "ask"];

    fn error(text: &str) -> JsonError {
        match Object::parse(text.as_bytes(), KNOWN) {
            Ok(_) => panic!("accepted {text}"),
            Err(error) => error,
        }
    }

    #[test]
    fn members_keep_their_text() {
        let object = Object::parse(
            br#"{"callerid": "up=bob", "n": 1.50, "new": {"a":[ 1 ]}}"#,
            KNOWN,
        )
        .unwrap();
        assert_eq!(object.required::<String>("callerid").unwrap(), "up=bob");
        assert_eq!(object.raw("n").unwrap().get(), "1.50");
        assert_eq!(object.raw("new").unwrap().get(), r#"{"a":[ 1 ]}"#);
        assert_eq!(object.optional::<String>("absent").unwrap(), "");
        assert_eq!(
            object.required::<i64>("ttl").unwrap_err(),
            JsonError::Missing("ttl")
        );
    }

    #[test]
    fn what_a_go_node_would_read_otherwise_is_refused() {
        for text in [
            r#"{"callerid":"up=bob","callerid":"up=root"}"#,
            r#"{"callerid":"up=bob","CallerID":"up=root"}"#,
            r#"{"CALLERID":"up=root"}"#,
            "{\"a\u{17f}k\":1}",
            "{\"as\u{212a}\":1}",
            r#"{"caller\u0069d":1,"callerid":2}"#,
            r#"{"x":1,"X":2}"#,
        ] {
            assert!(matches!(error(text), JsonError::Ambiguous(_)), "{text}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused_without_quoting_it() {
        for text in ["", "null", "[]", "{", r#"{"a":1}x"#, r#"{"a" 1}"#, "\"s\""] {
            assert!(matches!(error(text), JsonError::Malformed(_)), "{text}");
        }
        let secret = r#"{"a":1, "hunter2"#;
        assert!(!error(secret).to_string().contains("hunter2"));
        assert!(matches!(
            Object::parse(b"{\"a\":\"\xff\"}", KNOWN),
            Err(JsonError::Malformed(_))
        ));
    }

    #[test]
    fn a_flood_of_members_is_refused() {
        let many: Vec<String> = (0..65).map(|n| format!("\"m{n}\":0")).collect();
        assert!(matches!(
            error(&format!("{{{}}}", many.join(","))),
            JsonError::Malformed(_)
        ));
    }

    #[test]
    fn strict_values_refuse_repeats_at_depth() {
        assert!(serde_json::from_str::<Strict>(r#"{"a":[{"b":1,"b":2}]}"#).is_err());
        let value: Strict = serde_json::from_str(r#"{"a":[{"b":1,"B":2.5,"c":null}]}"#).unwrap();
        assert_eq!(value.0, serde_json::json!({"a":[{"b":1,"B":2.5,"c":null}]}));
    }
}
