//! Which of Rego's functions policies have.
//!
//! Functions that reach the network, the environment or chance are not there, and a policy that names one is refused
//! before it runs. The others are called through [`super::guard`].

use regorus::Value;
use regorus::unstable::{BUILTINS, BuiltinFcn, Expr, Ref, Source, Span};

use super::alike::{ALIKE, Alike};
use super::error::{Place, PolicyError};
use super::filters::{FUNCTIONS, Kind};
use super::guard::{Refusal, admit};
use super::input::value;
use super::otherwise;

/// Functions that the engine has and policies do not: they print, are random, take exponential time, or decide otherwise than OPA's.
const WITHHELD: [&str; 8] = [
    "print",
    "rand.intn",
    "uuid.rfc4122",
    "graph.reachable_paths",
    "json.filter",
    "json.remove",
    "urlquery.decode_object",
    "urlquery.encode_object",
];

/// Functions of OPA 1.17 that policies have not, so that an author who misses one is not told of a slip of the pen. The manual lists
/// them, too.
const OPAS_ONLY: &[&str] = &[
    "array.flatten",
    "cast_array",
    "cast_boolean",
    "cast_null",
    "cast_object",
    "cast_set",
    "cast_string",
    "crypto.hmac.equal",
    "crypto.hmac.md5",
    "crypto.hmac.sha1",
    "crypto.hmac.sha256",
    "crypto.hmac.sha512",
    "crypto.md5",
    "crypto.parse_private_keys",
    "crypto.sha1",
    "crypto.sha256",
    "crypto.x509.parse_and_verify_certificates",
    "crypto.x509.parse_and_verify_certificates_with_options",
    "crypto.x509.parse_certificate_request",
    "crypto.x509.parse_certificates",
    "crypto.x509.parse_keypair",
    "crypto.x509.parse_rsa_private_key",
    "graph.reachable_paths",
    "graphql.is_valid",
    "graphql.parse",
    "graphql.parse_and_verify",
    "graphql.parse_query",
    "graphql.parse_schema",
    "graphql.schema_is_valid",
    "http.send",
    "io.jwt.decode",
    "io.jwt.decode_verify",
    "io.jwt.encode_sign",
    "io.jwt.encode_sign_raw",
    "io.jwt.verify_eddsa",
    "io.jwt.verify_es256",
    "io.jwt.verify_es384",
    "io.jwt.verify_es512",
    "io.jwt.verify_hs256",
    "io.jwt.verify_hs384",
    "io.jwt.verify_hs512",
    "io.jwt.verify_ps256",
    "io.jwt.verify_ps384",
    "io.jwt.verify_ps512",
    "io.jwt.verify_rs256",
    "io.jwt.verify_rs384",
    "io.jwt.verify_rs512",
    "json.filter",
    "json.match_schema",
    "json.patch",
    "json.remove",
    "json.verify_schema",
    "net.cidr_contains_matches",
    "net.cidr_intersects",
    "net.cidr_merge",
    "net.lookup_ip_addr",
    "opa.runtime",
    "print",
    "providers.aws.sign_req",
    "rand.intn",
    "regex.globs_match",
    "rego.metadata.chain",
    "rego.metadata.rule",
    "rego.parse_module",
    "strings.render_template",
    "uri.is_valid",
    "uri.parse",
    "urlquery.decode_object",
    "urlquery.encode_object",
    "uuid.rfc4122",
    "yaml.is_valid",
    "yaml.marshal",
    "yaml.unmarshal",
];

/// A function of our own; `None` is undefined.
type Own = fn(&[Value]) -> Option<Value>;

/// One of Rego's functions, ready to be called.
#[derive(Clone)]
pub(super) struct Builtin {
    name: &'static str,
    work: Work,
    arity: u8,
    span: Span,
    parameters: Vec<Ref<Expr>>,
}

#[derive(Clone, Copy)]
enum Work {
    /// The engine's function.
    Engine(BuiltinFcn),
    /// What v0 had and the engine has not, or what the engine does in a way that does not do here.
    Own(Own),
    /// What the engine has, as OPA has it.
    Alike(Alike),
}

/// Functions of Rego v0 that the engine lacks, and some of the engine's that need care.
const OWN: &[(&str, u8, Own)] = &[
    ("any", 1, any),
    ("all", 1, all),
    ("set_diff", 2, set_diff),
    ("strings.count", 2, count_in),
    ("json.unmarshal", 1, read_json),
    ("json.is_valid", 1, is_json),
    ("urlquery.decode", 1, unescaped),
];

/// Other names of functions that the engine has.
const ALSO_CALLED: &[(&str, &str)] = &[
    ("re_match", "regex.match"),
    ("net.cidr_overlap", "net.cidr_contains"),
];

/// Whether a policy can call a function of that name that is not its own.
pub(super) fn exists(name: &str) -> bool {
    FUNCTIONS.iter().any(|(own, _, _)| *own == name) || lookup(name).is_some()
}

/// Refuses functions that are not there.
pub(super) fn check<'a>(
    functions: impl IntoIterator<Item = (&'a String, &'a Place)>,
) -> Result<(), PolicyError> {
    for (name, place) in functions {
        if !exists(name) {
            let missing = format!("there is no function `{name}` for policies");
            let problem = if OPAS_ONLY.contains(&name.as_str()) {
                format!("{missing}: OPA has it, this service does not")
            } else {
                missing
            };
            return Err(PolicyError::at(*place, problem));
        }
    }
    Ok(())
}

/// One of the functions that ask for filters, by name.
pub(super) fn filter_function(name: &str) -> Option<(u8, Kind)> {
    FUNCTIONS
        .iter()
        .find(|(own, _, _)| *own == name)
        .map(|(_, arity, kind)| (*arity, *kind))
}

fn lookup(name: &str) -> Option<(&'static str, Work, u8)> {
    if WITHHELD.contains(&name) || name.starts_with("__") {
        return None;
    }
    let name = ALSO_CALLED
        .iter()
        .find(|(other, _)| *other == name)
        .map_or(name, |(_, engines)| engines);
    if let Some((alike, arity, work)) = ALIKE.iter().find(|(alike, _, _)| *alike == name) {
        return Some((alike, Work::Alike(*work), *arity));
    }
    if let Some((own, arity, work)) = OWN.iter().find(|(own, _, _)| *own == name) {
        return Some((own, Work::Own(*work), *arity));
    }
    let (engines, function) = BUILTINS.get_key_value(name)?;
    Some((engines, Work::Engine(*function), function.1))
}

impl Builtin {
    /// The function of that name; `None` when there is none.
    pub(super) fn find(name: &str) -> Option<Self> {
        let (name, work, arity) = lookup(name)?;
        // The engine's functions point at these when they complain, and nobody sees that.
        let source = Source::from_contents(String::new(), String::new()).ok()?;
        let span = Span {
            source,
            line: 1,
            col: 1,
            start: 0,
            end: 0,
        };
        let parameter = Ref::new(Expr::Null {
            span: span.clone(),
            value: Value::Null,
            eidx: 0,
        });
        Some(Self {
            name,
            work,
            arity,
            span,
            parameters: vec![parameter; usize::from(arity)],
        })
    }

    /// How many arguments it takes.
    pub(super) fn arity(&self) -> u8 {
        self.arity
    }

    /// Whether it asks for the time, which is not the engine's to know.
    pub(super) fn is_clock(&self) -> bool {
        self.name == "time.now_ns"
    }

    /// Calls it, with arguments that it can bear.
    pub(super) fn call(&self, arguments: &[Value]) -> Result<Value, Refusal> {
        if arguments.len() != self.parameters.len() {
            return Err(Refusal::Undefined);
        }
        if self.name.ends_with("is_valid") && !matches!(arguments.first(), Some(Value::String(_))) {
            return Ok(Value::from(false));
        }
        admit(self.name, arguments)?;
        otherwise::check(self.name, arguments)?;
        let result = match self.work {
            Work::Alike(work) => return work(arguments),
            Work::Own(work) => work(arguments),
            Work::Engine((work, _)) => work(&self.span, &self.parameters, arguments, false).ok(),
        };
        match result {
            None | Some(Value::Undefined) => Err(Refusal::Undefined),
            Some(value) => otherwise::finish(self.name, value),
        }
    }
}

fn elements(value: Option<&Value>) -> Option<Vec<&Value>> {
    match value? {
        Value::Array(items) => Some(items.iter().collect()),
        Value::Set(items) => Some(items.iter().collect()),
        _ => None,
    }
}

fn any(arguments: &[Value]) -> Option<Value> {
    let items = elements(arguments.first())?;
    Some(Value::from(items.contains(&&Value::Bool(true))))
}

fn all(arguments: &[Value]) -> Option<Value> {
    let items = elements(arguments.first())?;
    Some(Value::from(
        items.iter().all(|item| **item == Value::Bool(true)),
    ))
}

fn set_diff(arguments: &[Value]) -> Option<Value> {
    match arguments {
        [Value::Set(one), Value::Set(other)] => Some(Value::from(one.difference(other))),
        _ => None,
    }
}

/// How often a text stands in another, places that overlap counted once; the engine's own would panic on an empty one.
fn count_in(arguments: &[Value]) -> Option<Value> {
    match arguments {
        [Value::String(text), Value::String(part)] => {
            Some(Value::from(text.matches(part.as_ref()).count()))
        }
        _ => None,
    }
}

/// JSON as a request's own is read; the engine would take an object with a certain key for a number.
fn read_json(arguments: &[Value]) -> Option<Value> {
    match arguments {
        [Value::String(text)] => serde_json::from_str(text).ok().map(|json| value(&json)),
        _ => None,
    }
}

fn is_json(arguments: &[Value]) -> Option<Value> {
    match arguments {
        [Value::String(_)] => Some(Value::from(read_json(arguments).is_some())),
        _ => None,
    }
}

/// A part of a query string; the engine's own gives up on spaces.
fn unescaped(arguments: &[Value]) -> Option<Value> {
    let [Value::String(text)] = arguments else {
        return None;
    };
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: &[Value]) -> Result<Value, Refusal> {
        Builtin::find(name).unwrap().call(arguments)
    }

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    #[test]
    fn what_reaches_out_is_not_there() {
        for name in [
            "http.send",
            "opa.runtime",
            "net.lookup_ip_addr",
            "rand.intn",
            "uuid.rfc4122",
            "print",
            "io.jwt.decode_verify",
            "graph.reachable_paths",
            "__builtin_host_await",
            "yaml.unmarshal",
        ] {
            assert!(!exists(name), "{name}");
        }
        for name in [
            "requires_filter",
            "re_match",
            "startswith",
            "time.now_ns",
            "regex.match",
            "json.unmarshal",
        ] {
            assert!(exists(name), "{name}");
        }
        let place = Place { line: 7, column: 1 };
        let error = check([(&"http.send".to_owned(), &place)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 7: there is no function `http.send` for policies: OPA has it, this service does not"
        );
        let error = check([(&"htpp.send".to_owned(), &place)]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 7: there is no function `htpp.send` for policies"
        );
    }

    #[test]
    fn the_manual_lists_what_is_missing() {
        let manual = include_str!("../../../../docs/policy.md");
        for name in OPAS_ONLY {
            assert!(!exists(name), "{name} is there");
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn functions_of_v0_are_there() {
        let yes = Ok(Value::from(true));
        assert_eq!(call("re_match", &[text("^a"), text("abc")]), yes);
        assert_eq!(
            call(
                "any",
                &[Value::from(vec![Value::from(false), Value::from(true)])]
            ),
            yes
        );
        assert_eq!(call("all", &[Value::from(vec![Value::from(true)])]), yes);
        assert_eq!(call("all", &[text("x")]), Err(Refusal::Undefined));
        assert_eq!(
            call("strings.count", &[text("abab"), text("ab")]),
            Ok(Value::from(2_usize))
        );
        let set = |items: &[&str]| {
            Value::from(
                items
                    .iter()
                    .map(|i| text(i))
                    .collect::<std::collections::BTreeSet<_>>(),
            )
        };
        assert_eq!(
            call("set_diff", &[set(&["a", "b"]), set(&["b"])]),
            Ok(set(&["a"]))
        );
    }

    #[test]
    fn queries_are_unescaped() {
        let read = |query| call("urlquery.decode", &[text(query)]);
        assert_eq!(read(" a+b%C3%A9%25"), Ok(text(" a bé%")));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(read(bad), Err(Refusal::Undefined), "{bad}");
        }
    }

    #[test]
    fn what_is_no_text_is_not_valid() {
        for name in ["json.is_valid", "base64.is_valid", "regex.is_valid"] {
            assert_eq!(call(name, &[Value::Null]), Ok(Value::from(false)), "{name}");
        }
    }

    #[test]
    fn json_is_what_it_says() {
        let hidden = text(r#"{"$serde_json::private::Number": "1e999999999"}"#);
        let read = call("json.unmarshal", std::slice::from_ref(&hidden)).unwrap();
        assert!(matches!(read, Value::Object(_)), "{read}");
        assert_eq!(call("json.is_valid", &[hidden]), Ok(Value::from(true)));
        assert_eq!(call("json.is_valid", &[text("{")]), Ok(Value::from(false)));
        assert_eq!(
            call("json.unmarshal", &[text("{")]),
            Err(Refusal::Undefined)
        );
        assert_eq!(
            call("json.unmarshal", &[text("[1, 2.5]")])
                .unwrap()
                .to_string(),
            "[1,2.5]"
        );
    }
}
