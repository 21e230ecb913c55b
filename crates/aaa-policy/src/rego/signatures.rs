//! What Rego's functions take and give, as OPA 1.17 declares it (`v1/ast/builtins.go`).

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;
use std::sync::LazyLock;

use super::types::Type;

/// What a function takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    pub(super) takes: Vec<Type>,
    pub(super) gives: Type,
}

/// Functions by what they take and give: `n` is a number, `s` a text, `b` a boolean, `0` null, `*` anything, `[s]` an array of texts, `(n,s)` an
/// array of a number and a text, `{s}` a set, `{s:*}` an object, and `|` stands between alternatives.
const SIGNATURES: &[(&str, &[&str])] = &[
    ("-> n", &["time.now_ns"]),
    ("* -> ([*],*)", &["walk"]),
    (
        "* -> b",
        &[
            "is_array",
            "is_boolean",
            "is_null",
            "is_number",
            "is_object",
            "is_set",
            "is_string",
            "semver.is_valid",
        ],
    ),
    ("* -> s", &["json.marshal", "type_name"]),
    ("* {s:*} -> s", &["json.marshal_with_options"]),
    ("0|b|n|s -> n", &["to_number"]),
    ("[*] -> [*]", &["array.reverse"]),
    ("[*] [*] -> [*]", &["array.concat"]),
    ("[*] n n -> [*]", &["array.slice"]),
    ("[*]|{*:*}|{*} [*]|{*:*}|{*} -> *", &["object.subset"]),
    ("[*]|{*} -> *", &["max", "min"]),
    ("[*]|{*} -> [*]", &["sort"]),
    ("[*]|{*} -> b", &["all", "any"]),
    ("[n]|{n} -> n", &["product", "sum"]),
    ("[{*:*}] -> *", &["object.union_n"]),
    ("n -> n", &["abs", "bits.negate", "ceil", "floor", "round"]),
    ("n n -> [n]", &["numbers.range"]),
    (
        "n n -> n",
        &["bits.and", "bits.lsh", "bits.or", "bits.rsh", "bits.xor"],
    ),
    ("n n -> s", &["format_int"]),
    ("n n n -> [n]", &["numbers.range_step"]),
    ("n n n n -> n", &["time.add_date"]),
    ("n|(n,s) -> (n,n,n)", &["time.clock", "time.date"]),
    ("n|(n,s) -> s", &["time.weekday"]),
    ("n|(n,s) n|(n,s) -> (n,n,n,n,n,n)", &["time.diff"]),
    ("n|(n,s)|(n,s,s) -> s", &["time.format"]),
    ("s -> *", &["json.unmarshal"]),
    (
        "s -> b",
        &[
            "base64.is_valid",
            "json.is_valid",
            "net.cidr_is_valid",
            "regex.is_valid",
            "trace",
        ],
    ),
    (
        "s -> n",
        &[
            "time.parse_duration_ns",
            "time.parse_rfc3339_ns",
            "units.parse",
            "units.parse_bytes",
        ],
    ),
    (
        "s -> s",
        &[
            "base64.decode",
            "base64.encode",
            "base64url.decode",
            "base64url.encode",
            "base64url.encode_no_pad",
            "glob.quote_meta",
            "hex.decode",
            "hex.encode",
            "lower",
            "strings.reverse",
            "trim_space",
            "upper",
            "urlquery.decode",
            "urlquery.encode",
        ],
    ),
    ("s -> {s:*}", &["uuid.parse"]),
    ("s -> {s}", &["net.cidr_expand"]),
    ("s 0|[s] s -> b", &["glob.match"]),
    ("s [*] -> s", &["sprintf"]),
    ("s [s]|{s} -> s", &["concat"]),
    ("s n n -> s", &["substring"]),
    ("s s -> [n]", &["indexof_n"]),
    ("s s -> [s]", &["regex.split", "split"]),
    (
        "s s -> b",
        &[
            "contains",
            "endswith",
            "net.cidr_contains",
            "net.cidr_overlap",
            "re_match",
            "regex.match",
            "startswith",
        ],
    ),
    (
        "s s -> n",
        &[
            "indexof",
            "semver.compare",
            "strings.count",
            "time.parse_ns",
        ],
    ),
    (
        "s s -> s",
        &[
            "trim",
            "trim_left",
            "trim_prefix",
            "trim_right",
            "trim_suffix",
        ],
    ),
    ("s s n -> [[s]]", &["regex.find_all_string_submatch_n"]),
    ("s s n -> [s]", &["regex.find_n"]),
    ("s s s -> s", &["regex.replace", "replace"]),
    ("s s s s -> b", &["regex.template_match"]),
    ("s|[*]|{*:*}|{*} -> n", &["count"]),
    (
        "s|[s]|{s} s|[s]|{s} -> b",
        &["strings.any_prefix_match", "strings.any_suffix_match"],
    ),
    ("{*:*} * * -> *", &["object.get"]),
    ("{*:*} -> {*}", &["object.keys"]),
    (
        "{*:*} [*]|{*:*}|{*} -> *",
        &["object.filter", "object.remove"],
    ),
    ("{*:*} {*:*} -> *", &["object.union"]),
    ("{*:[*]|{*}} [*]|{*} -> {*}", &["graph.reachable"]),
    ("{*} {*} -> {*}", &["set_diff"]),
    ("{s:s} s -> s", &["strings.replace_n"]),
    ("{{*}} -> {*}", &["intersection", "union"]),
    // The functions about filters are Choria's.
    ("-> b", &["requires_filter"]),
    (
        "s -> b",
        &[
            "requires_fact_filter",
            "requires_class_filter",
            "requires_identity_filter",
        ],
    ),
    // Operators.
    ("n n -> n", &["+", "*", "/", "%"]),
    ("n|{*} n|{*} -> n|{*}", &["-"]),
    ("{*} {*} -> {*}", &["&", "|"]),
];

static BY_NAME: LazyLock<BTreeMap<&str, Signature>> = LazyLock::new(|| {
    let named = |(written, names): &'static (&str, &[&str])| {
        let signature = read(written);
        names.iter().map(move |name| (*name, signature.clone()))
    };
    SIGNATURES.iter().flat_map(named).collect()
});

/// What the function or operator of that name takes and gives.
pub(super) fn of(name: &str) -> Option<&'static Signature> {
    BY_NAME.get(name)
}

fn read(written: &str) -> Signature {
    let (takes, gives) = written.split_once("-> ").unwrap_or(("", written));
    let one = |written: &str| alternatives(&mut written.chars().peekable());
    Signature {
        takes: takes.split_whitespace().map(one).collect(),
        gives: one(gives),
    }
}

fn alternatives(rest: &mut Peekable<Chars<'_>>) -> Type {
    let mut all = one(rest);
    while rest.next_if_eq(&'|').is_some() {
        all = all.or(one(rest));
    }
    all
}

fn one(rest: &mut Peekable<Chars<'_>>) -> Type {
    match rest.next() {
        Some('n') => Type::Number,
        Some('s') => Type::Text,
        Some('b') => Type::Boolean,
        Some('0') => Type::Null,
        Some('[') => Type::array_of(parts(rest).remove(0)),
        Some('(') => Type::Array(parts(rest), None),
        Some('{') => {
            let mut parts = parts(rest);
            let of = parts.remove(0);
            match parts.pop() {
                Some(value) => Type::object_of(of, value),
                None => Type::Set(Box::new(of)),
            }
        }
        _ => Type::Any,
    }
}

/// What stands in brackets, up to the one that closes them; never nothing.
fn parts(rest: &mut Peekable<Chars<'_>>) -> Vec<Type> {
    let mut all = vec![alternatives(rest)];
    while matches!(rest.next(), Some(',' | ':')) {
        all.push(alternatives(rest));
    }
    all
}

#[cfg(test)]
mod tests {
    use regorus::unstable::BUILTINS;

    use super::super::builtins::{self, Builtin};
    use super::*;

    #[test]
    fn every_function_says_what_it_takes() {
        let engines = BUILTINS.keys().copied();
        let named = SIGNATURES
            .iter()
            .flat_map(|(_, names)| names.iter().copied());
        let mut seen = 0;
        for name in engines.chain(named).filter(|name| builtins::exists(name)) {
            let signature = of(name).unwrap_or_else(|| panic!("{name}"));
            let takes = match builtins::filter_function(name) {
                Some((arity, _)) => arity,
                None => Builtin::find(name).unwrap().arity(),
            };
            assert_eq!(signature.takes.len(), usize::from(takes), "{name}");
            seen += 1;
        }
        assert!(seen > 100, "{seen}");
    }

    #[test]
    fn signatures_are_read() {
        for (written, takes, gives) in [
            (
                "s 0|[s] s -> b",
                "a text; null or an array of texts; a text",
                "a boolean",
            ),
            (
                "n|(n,s) -> {s}",
                "a number or an array of a number, a text",
                "a set of texts",
            ),
            (
                "{{*}} {s:n} -> *",
                "a set of sets; an object of numbers",
                "anything",
            ),
            ("-> n", "", "a number"),
        ] {
            let signature = read(written);
            let said: Vec<String> = signature.takes.iter().map(ToString::to_string).collect();
            assert_eq!(
                (
                    said.join("; ").as_str(),
                    signature.gives.to_string().as_str()
                ),
                (takes, gives)
            );
        }
    }
}
