//! What policies see of a request: the document `input`.

use regorus::Value;
use regorus::value::Object;

use aaa_core::request::Body;

use crate::Question;

/// How many values one number of [`weight`] stands for at least, so that long strings count too.
const BYTES_PER_UNIT: usize = 32;

/// `input`: from the envelope, never from the body's copies of it, and the claims by their names on the wire.
pub(super) fn document(question: &Question<'_>) -> Value {
    let request = question.request;
    let data = match request.body() {
        Body::Rpc { data, .. } => value(data),
        Body::Plain => Value::Null,
    };
    object([
        ("agent", Value::from(request.agent())),
        ("action", Value::from(request.action())),
        ("data", data),
        ("sender", Value::from(request.sender())),
        ("collective", Value::from(request.collective())),
        ("ttl", Value::from(request.ttl())),
        ("time", Value::from(request.time().to_string())),
        ("site", Value::from(question.site)),
        // Claims are strings, lists and flags, which always have a JSON form.
        (
            "claims",
            serde_json::to_value(question.claims).map_or(Value::Undefined, |claims| value(&claims)),
        ),
    ])
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let members = members
        .into_iter()
        .map(|(name, member)| (Value::from(name), member));
    Value::from(members.collect::<Object>())
}

/// JSON as the engine has it. Not through serde: there, an object with a certain private key would turn into a number,
/// and a policy would see another thing than the node.
pub(super) fn value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::from(*flag),
        serde_json::Value::Number(number) => number_value(number),
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::from(items.iter().map(value).collect::<Vec<_>>()),
        serde_json::Value::Object(members) => object(
            members
                .iter()
                .map(|(name, member)| (name.as_str(), value(member))),
        ),
    }
}

fn number_value(number: &serde_json::Number) -> Value {
    if let Some(whole) = number.as_i64() {
        Value::from(whole)
    } else if let Some(whole) = number.as_u64() {
        Value::from(whole)
    } else {
        number.as_f64().map_or(Value::Null, Value::from)
    }
}

/// Roughly how much there is to look at in a value, whole shared parts counted each time they stand there, up to
/// `limit`; `None` above that, or when it nests deeper than anything from outside can.
pub(super) fn weight(value: &Value, limit: usize) -> Option<usize> {
    let mut left = limit;
    weigh(value, &mut left, 0).then(|| limit - left)
}

/// The deepest nesting that is looked at. JSON from outside nests 128 levels at most.
const DEEPEST: usize = 200;

fn weigh(value: &Value, left: &mut usize, depth: usize) -> bool {
    let own = match value {
        Value::String(text) => 1 + text.len() / BYTES_PER_UNIT,
        Value::Number(_) => 1 + bits(value) / (8 * BYTES_PER_UNIT),
        _ => 1,
    };
    let Some(rest) = left.checked_sub(own) else {
        return false;
    };
    *left = rest;
    if depth > DEEPEST {
        return false;
    }
    match value {
        Value::Array(items) => items.iter().all(|item| weigh(item, left, depth + 1)),
        Value::Set(items) => items.iter().all(|item| weigh(item, left, depth + 1)),
        Value::Object(members) => members
            .iter()
            .all(|(name, member)| weigh(name, left, depth + 1) && weigh(member, left, depth + 1)),
        _ => true,
    }
}

/// The size of a number beyond the usual ones; zero for those, and for all that is no number.
pub(super) fn bits(value: &Value) -> usize {
    let Value::Number(number) = value else {
        return 0;
    };
    if number.as_i64().is_some() || number.as_u64().is_some() {
        return 0;
    }
    number
        .as_big()
        .map_or(0, |big| usize::try_from(big.bits()).unwrap_or(usize::MAX))
}
