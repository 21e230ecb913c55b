//! What policies see of a request: the document `input`.

use regorus::Value;
use regorus::value::Object;

use aaa_core::claims::{ClientClaims, ClientPermissions, Standard};
use aaa_core::filter::Filter;
use aaa_core::request::{Body, Request, Version};

use super::visible::Visible;
use crate::Question;

/// How many values one number of [`weight`] stands for at least, so that long strings count too.
const BYTES_PER_UNIT: usize = 32;

/// The members of `input`, in the order of their names, as the engine keeps them.
pub(super) const INPUT: [&str; 10] = [
    "action",
    "agent",
    "claims",
    "collective",
    "data",
    "request",
    "sender",
    "site",
    "time",
    "ttl",
];

/// The members of `input.request`, in the order of their names: the envelope as it came.
const REQUEST: [&str; 9] = [
    "agent",
    "claimed_caller",
    "collective",
    "filter",
    "id",
    "protocol",
    "sender",
    "time",
    "ttl",
];

/// The members of `input.request.filter`, which are those on the wire.
const FILTER: [&str; 5] = ["agent", "cf_class", "compound", "fact", "identity"];

/// The members of a fact in it.
const FACT: [&str; 3] = ["fact", "operator", "value"];

/// The claims by their names on the wire, in the order of these.
pub(super) const CLAIMS: [&str; 19] = [
    "agents",
    "aud",
    "callerid",
    "exp",
    "iat",
    "iss",
    "issexp",
    "jti",
    "nbf",
    "opa_policy",
    "ou",
    "permissions",
    "pub_subjects",
    "public_key",
    "purpose",
    "sub",
    "sub_subjects",
    "tcs",
    "user_properties",
];

thread_local! {
    /// The names as the engine has them, once per thread: made anew each time, they would be half of all allocations,
    /// and shared by all threads, their reference counts would be fought over.
    static NAMES: Names = Names {
        input: INPUT.map(Value::from),
        claims: CLAIMS.map(Value::from),
        request: REQUEST.map(Value::from),
        filter: FILTER.map(Value::from),
        fact: FACT.map(Value::from),
    };
}

struct Names {
    input: [Value; 10],
    claims: [Value; 19],
    request: [Value; 9],
    filter: [Value; 5],
    fact: [Value; 3],
}

/// `input`: from the envelope, never from the body's copies of it, and the claims. What is not visible is not made.
pub(super) fn document(question: &Question<'_>, visible: Visible) -> Value {
    let request = question.request;
    NAMES.with(|names| {
        let when =
            |place: usize, make: &dyn Fn() -> Value| (visible.input & (1 << place) != 0).then(make);
        let members = [
            when(0, &|| Value::from(question.action)),
            when(1, &|| Value::from(request.agent())),
            when(2, &|| {
                named(&names.claims, claims(question.claims, visible.claims))
            }),
            when(3, &|| Value::from(request.collective())),
            when(4, &|| match request.body() {
                Body::Rpc { data, .. } => value(data),
                Body::Plain => Value::Null,
            }),
            when(5, &|| envelope(names, request)),
            when(6, &|| Value::from(request.sender())),
            when(7, &|| Value::from(question.site)),
            when(8, &|| Value::from(request.time().to_string())),
            when(9, &|| Value::from(request.ttl())),
        ];
        named(&names.input, members)
    })
}

/// `input.request`. The caller in it is called what it is: the client's own words, which prove nothing.
fn envelope(names: &Names, request: &Request) -> Value {
    let protocol = match request.version() {
        Version::V1 => 1_i64,
        Version::V2 => 2,
    };
    let members = [
        Value::from(request.agent()),
        Value::from(request.claimed_caller()),
        Value::from(request.collective()),
        filter(names, request.filter()),
        Value::from(request.id()),
        Value::from(protocol),
        Value::from(request.sender()),
        Value::from(request.time().to_string()),
        Value::from(request.ttl()),
    ];
    named(&names.request, members.map(Some))
}

/// `input.request.filter`: every part is there, if only as an empty list.
fn filter(names: &Names, filter: &Filter) -> Value {
    let list = |items: &[String]| {
        let texts = items.iter().map(|text| Value::from(text.as_str()));
        Value::from(texts.collect::<Vec<_>>())
    };
    let facts = filter.fact.iter().map(|fact| {
        let members = [&fact.fact, &fact.operator, &fact.value];
        named(
            &names.fact,
            members.map(|text| Some(Value::from(text.as_str()))),
        )
    });
    let compound = filter.compound.iter().map(|parts| {
        let parts = parts.iter().map(|part| {
            let members = part.iter();
            object(members.map(|(name, text)| (name.as_str(), Value::from(text.as_str()))))
        });
        Value::from(parts.collect::<Vec<_>>())
    });
    let members = [
        list(&filter.agent),
        list(&filter.cf_class),
        Value::from(compound.collect::<Vec<_>>()),
        Value::from(facts.collect::<Vec<_>>()),
        list(&filter.identity),
    ];
    named(&names.filter, members.map(Some))
}

/// An object of members in the order of their names, without those that are absent.
fn named<const N: usize>(names: &[Value; N], members: [Option<Value>; N]) -> Value {
    let members = names.iter().zip(members);
    Value::from(
        members
            .filter_map(|(name, member)| Some((name.clone(), member?)))
            .collect::<Object>(),
    )
}

/// The claims in the order of [`CLAIMS`], those that are absent on the wire or not visible left out.
fn claims(claims: &ClientClaims, visible: u32) -> [Option<Value>; 19] {
    let ClientClaims {
        callerid,
        agents,
        ou,
        user_properties,
        opa_policy,
        permissions,
        pub_subjects,
        sub_subjects,
        standard:
            Standard {
                purpose,
                tcs,
                public_key,
                issexp,
                iss,
                sub,
                aud,
                exp,
                nbf,
                iat,
                jti,
            },
    } = claims;
    let properties = user_properties
        .iter()
        .map(|(name, text)| (name.as_str(), Value::from(text.as_str())));
    let given = |permissions: ClientPermissions| {
        let rights = permissions.given().into_iter();
        object(rights.map(|right| (right, Value::from(true))))
    };
    let when = |place: usize, make: &dyn Fn() -> Option<Value>| {
        (visible & (1 << place) != 0).then(make).flatten()
    };
    [
        when(0, &|| texts(agents)),
        when(1, &|| aud.as_ref().map(value)),
        when(2, &|| Some(Value::from(callerid.as_str()))),
        when(3, &|| exp.map(Value::from)),
        when(4, &|| iat.map(Value::from)),
        when(5, &|| text(iss)),
        when(6, &|| issexp.map(Value::from)),
        when(7, &|| text(jti)),
        when(8, &|| nbf.map(Value::from)),
        when(9, &|| text(opa_policy)),
        when(10, &|| text(ou)),
        when(11, &|| permissions.map(given)),
        when(12, &|| texts(pub_subjects)),
        when(13, &|| text(public_key)),
        when(14, &|| {
            let purpose = serde_json::to_value(purpose).ok();
            purpose.map(|purpose| value(&purpose))
        }),
        when(15, &|| text(sub)),
        when(16, &|| texts(sub_subjects)),
        when(17, &|| text(tcs)),
        when(18, &|| {
            (!user_properties.is_empty()).then(|| object(properties.clone()))
        }),
    ]
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let members = members.into_iter();
    Value::from(
        members
            .map(|(name, member)| (Value::from(name), member))
            .collect::<Object>(),
    )
}

fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| Value::from(text))
}

fn texts(texts: &[String]) -> Option<Value> {
    let values = || {
        texts
            .iter()
            .map(|text| Value::from(text.as_str()))
            .collect::<Vec<_>>()
    };
    (!texts.is_empty()).then(|| Value::from(values()))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn as_input(of: &ClientClaims) -> Value {
        NAMES.with(|names| named(&names.claims, claims(of, u32::MAX)))
    }

    #[test]
    fn claims_have_their_names_on_the_wire() {
        let full = json!({
            "callerid": "up=alice", "agents": ["a.*", "b.c"], "ou": "choria", "user_properties": {"team": "ops"},
            "opa_policy": "package x", "permissions": {"fleet_management": true, "service": true},
            "pub_subjects": ["p"], "sub_subjects": ["s"], "purpose": "choria_client_id", "tcs": "ab",
            "public_key": "cd", "issexp": 5, "iss": "I-1", "sub": "x", "aud": ["y"], "exp": 4, "nbf": 3, "iat": 2, "jti": "j"
        });
        let read: ClientClaims = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(as_input(&read), value(&full));
        for some in [
            ClientClaims::default(),
            ClientClaims {
                permissions: Some(ClientPermissions::default()),
                ..read
            },
        ] {
            assert_eq!(
                as_input(&some),
                value(&serde_json::to_value(&some).unwrap())
            );
        }
    }

    #[test]
    fn each_claim_is_left_out_when_it_is_not_visible() {
        let full = ClientClaims {
            callerid: "up=alice".to_owned(),
            ou: "choria".to_owned(),
            ..ClientClaims::default()
        };
        for (place, name) in CLAIMS.iter().enumerate() {
            let made = claims(&full, 1 << place);
            let whole = claims(&full, u32::MAX);
            for (other, value) in made.iter().enumerate() {
                assert_eq!(
                    value,
                    if other == place { &whole[place] } else { &None },
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn json_stays_what_it_is() {
        let json = json!({"a": [null, true, -1, u64::MAX, 1.5, "x", {"$serde_json::private::Number": "1"}]});
        let read: serde_json::Value =
            serde_json::from_str(&value(&json).to_json_str().unwrap()).unwrap();
        assert_eq!(read, json);
    }

    #[test]
    fn weight_counts_what_is_shared_as_often_as_it_stands_there() {
        let one = value(&json!(["a", "b"]));
        assert_eq!(weight(&one, 100), Some(3));
        let twice = Value::from(vec![one.clone(), one]);
        assert_eq!(weight(&twice, 100), Some(7));
        assert_eq!(weight(&twice, 6), None);
        assert_eq!(weight(&Value::from("x".repeat(320)), 100), Some(11));
    }
}
