//! JSON as users are written in: cheap to read 100,000 of, and with repeated keys still in it, to be told of.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value. Numbers mean nothing in a user, so none is kept.
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number,
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Members<'a>),
}

/// The members of an object as they came.
pub(super) type Members<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

impl Json<'_> {
    /// What it is. The value itself may be a secret.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// A name that several members have.
pub(super) fn repeated<'a>(members: &'a Members<'_>) -> Option<&'a str> {
    if members.len() < 2 {
        return None;
    }
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| match pair {
        [a, b] if a == b => Some(*a),
        _ => None,
    })
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Json::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Json::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Json::Number)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Json::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(8);
        // A key is a text, and borrowed like one.
        while let Some((name, value)) = map.next_entry::<Json<'de>, Json<'de>>()? {
            if let Json::Text(name) = name {
                members.push((name, value));
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_and_nothing_is_copied_that_need_not_be() {
        let text = r#"{"a": [null, true, -1, 2, 0.5], "a": {"\u0062": "plain", "c": "es\ncaped"}}"#;
        let Json::Object(members) = serde_json::from_str(text).unwrap() else {
            panic!("no object");
        };
        assert_eq!(repeated(&members), Some("a"));
        let [(_, Json::List(list)), (_, Json::Object(inner))] = members.as_slice() else {
            panic!("other kinds");
        };
        let kinds: Vec<_> = list.iter().map(Json::kind).collect();
        assert_eq!(
            kinds,
            ["null", "true or false", "a number", "a number", "a number"]
        );
        assert_eq!(repeated(inner), None);
        let [(b, Json::Text(plain)), (c, Json::Text(escaped))] = inner.as_slice() else {
            panic!("other kinds");
        };
        assert_eq!(
            (&**b, &**plain, &**c, &**escaped),
            ("b", "plain", "c", "es\ncaped")
        );
        assert!(matches!(plain, Cow::Borrowed(_)) && matches!(c, Cow::Borrowed(_)));
    }

    #[test]
    fn values_that_are_read_already_are_borrowed() {
        let value = serde_json::json!({"a": "text"});
        let Ok(Json::Object(members)) = Json::deserialize(&value) else {
            panic!("no object");
        };
        assert!(matches!(
            &members[0],
            (Cow::Borrowed("a"), Json::Text(Cow::Borrowed("text")))
        ));
    }
}
