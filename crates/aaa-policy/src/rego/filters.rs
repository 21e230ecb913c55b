//! The four functions that policies have beside Rego's own: they ask what the request's filter demands of nodes.

use std::collections::BTreeSet;

use aaa_core::filter::{FactFilter, Filter};
use regorus::Value;
use regorus::unstable::{Expr, Ref};

use crate::guards::narrows;

/// Their names, and how many arguments each takes.
pub(super) const FUNCTIONS: &[(&str, u8, Kind)] = &[
    ("requires_filter", 0, Kind::Any),
    ("requires_fact_filter", 1, Kind::Fact),
    ("requires_class_filter", 1, Kind::Class),
    ("requires_identity_filter", 1, Kind::Identity),
];

/// What kind of filter a function asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Any that narrows the nodes.
    Any,
    /// A fact.
    Fact,
    /// A Puppet class.
    Class,
    /// A node's name.
    Identity,
}

/// A filter that a policy asked for and the request does not have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Missing(Kind, String);

/// Whether the filter has what is asked; what is missing if not.
///
/// # Errors
/// When the argument is of the wrong kind or not a fact filter.
pub(super) fn ask(
    kind: Kind,
    arguments: &[Value],
    filter: &Filter,
) -> Result<Option<Missing>, String> {
    let wanted = match (kind, arguments) {
        (Kind::Any, _) => "",
        (_, [Value::String(wanted)]) => wanted,
        _ => return Err(format!("{} takes one string", name(kind))),
    };
    let there = match kind {
        Kind::Any => narrows(filter),
        Kind::Class => filter.cf_class.iter().any(|class| class == wanted),
        // A node is selected by facts and classes together, and by any one of the identities.
        Kind::Identity => {
            !filter.identity.is_empty() && filter.identity.iter().all(|identity| identity == wanted)
        }
        Kind::Fact => {
            let fact = parse_fact(wanted).ok_or_else(|| {
                format!(
                    "{:?} is not a fact filter such as country=mt",
                    short(wanted)
                )
            })?;
            filter.fact.contains(&fact)
        }
    };
    Ok((!there).then(|| Missing(kind, short(wanted))))
}

/// What a function asks for that is called with these arguments, if that stands there.
pub(super) fn asked(kind: Kind, arguments: &[Ref<Expr>]) -> Option<Missing> {
    match (kind, arguments.first().map(AsRef::as_ref)) {
        (Kind::Any, _) => Some(Missing(kind, String::new())),
        (_, Some(Expr::String { value, .. } | Expr::RawString { value, .. })) => {
            let wanted = value.as_string().ok()?;
            Some(Missing(kind, short(wanted)))
        }
        _ => None,
    }
}

/// What to add to a request, for a caller whose policy asked in vain, and where each is asked.
pub(super) fn hint(
    missing: &BTreeSet<Missing>,
    place: impl Fn(&Missing) -> String,
) -> Option<String> {
    let wants: Vec<String> = missing
        .iter()
        .map(|asked| {
            let Missing(kind, wanted) = asked;
            let what = match kind {
                Kind::Any => "a filter".to_owned(),
                Kind::Fact => format!("a fact filter such as {wanted}"),
                Kind::Class => format!("a class filter such as {wanted}"),
                Kind::Identity => format!("an identity filter such as {wanted}"),
            };
            format!("{what} ({})", place(asked))
        })
        .collect();
    (!wants.is_empty()).then(|| format!("needs {}", wants.join(", or ")))
}

fn name(kind: Kind) -> &'static str {
    FUNCTIONS
        .iter()
        .find(|(_, _, of)| *of == kind)
        .map_or("", |(name, _, _)| name)
}

/// What is quoted from a policy is cut, and kept on its line.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// Operators as people type them, the longer before the shorter, and what nodes call them.
const OPERATORS: &[(&str, &str)] = &[
    ("<=", "<="),
    (">=", ">="),
    ("=>", ">="),
    ("=<", "<="),
    ("!=", "!="),
    ("=~", "=~"),
    ("==", "=="),
    ("<", "<"),
    (">", ">"),
    ("=", "=="),
];

/// Reads `country=mt` and its like, as Choria's clients do: the rightmost operator counts, and `/…/` is a pattern.
pub(crate) fn parse_fact(text: &str) -> Option<FactFilter> {
    let (at, typed, operator) = operators(text).last()?;
    let fact = text.get(..at)?.trim();
    let value = text.get(at + typed.len()..)?.trim();
    let operator_char = |c: char| matches!(c, '<' | '>' | '=');
    if fact.starts_with(operator_char) || value.ends_with(operator_char) {
        return None;
    }
    if fact.is_empty() || value.is_empty() {
        return None;
    }
    let pattern = value.starts_with('/') && value.ends_with('/');
    Some(FactFilter {
        fact: fact.to_owned(),
        operator: if pattern { "=~" } else { operator }.to_owned(),
        value: value.to_owned(),
    })
}

/// The operators in a text from left to right, none overlapping: where each stands, as typed, as meant.
fn operators(text: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
            if let Some((typed, meant)) =
                OPERATORS.iter().find(|(typed, _)| rest.starts_with(typed))
            {
                let at = from;
                from += typed.len();
                return Some((at, *typed, *meant));
            }
            from += rest.chars().next().map_or(1, char::len_utf8);
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter() -> Filter {
        Filter {
            fact: vec![parse_fact("country=mt").unwrap()],
            cf_class: vec!["apache".to_owned()],
            identity: vec!["web1".to_owned()],
            ..Filter::default()
        }
    }

    fn has(kind: Kind, wanted: &str) -> bool {
        ask(kind, &[Value::from(wanted)], &filter())
            .unwrap()
            .is_none()
    }

    #[test]
    fn facts_are_read_as_clients_read_them() {
        let read = |text: &str| parse_fact(text).map(|f| (f.fact, f.operator, f.value));
        let fact = |f: &str, o: &str, v: &str| Some((f.to_owned(), o.to_owned(), v.to_owned()));
        assert_eq!(read("country=mt"), fact("country", "==", "mt"));
        assert_eq!(read(" country == mt "), fact("country", "==", "mt"));
        assert_eq!(read("n=<1"), fact("n", "<=", "1"));
        assert_eq!(read("n=>1"), fact("n", ">=", "1"));
        assert_eq!(read("n<1"), fact("n", "<", "1"));
        assert_eq!(read("n>=1"), fact("n", ">=", "1"));
        assert_eq!(read("n!=1"), fact("n", "!=", "1"));
        assert_eq!(read("os=~^Deb"), fact("os", "=~", "^Deb"));
        assert_eq!(read("os=/deb/"), fact("os", "=~", "/deb/"));
        assert_eq!(read("a=b=c"), fact("a=b", "==", "c"));
        for bad in ["", "country", "=mt", "country=", "<=", "a=b=", "=a=b"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn each_function_asks_for_its_kind() {
        assert!(has(Kind::Fact, "country==mt") && has(Kind::Fact, "country=mt"));
        assert!(!has(Kind::Fact, "country=de") && !has(Kind::Fact, "country!=mt"));
        assert!(has(Kind::Class, "apache") && !has(Kind::Class, "web1"));
        assert!(has(Kind::Identity, "web1") && !has(Kind::Identity, "apache"));
        assert!(ask(Kind::Any, &[], &filter()).unwrap().is_none());
    }

    #[test]
    fn no_other_node_can_be_meant_beside_the_wanted() {
        let asks = |identities: &[&str]| {
            let filter = Filter {
                identity: identities.iter().map(|one| (*one).to_owned()).collect(),
                ..Filter::default()
            };
            let missing = ask(Kind::Identity, &[Value::from("web1")], &filter).unwrap();
            missing.is_none()
        };
        assert!(asks(&["web1"]) && asks(&["web1", "web1"]));
        for others in [&[][..], &["web1", "/./"], &["web2", "web1"], &["/web1/"]] {
            assert!(!asks(others), "{others:?}");
        }
    }

    #[test]
    fn the_agent_alone_narrows_nothing_and_a_compound_does() {
        let mut only = Filter {
            agent: vec!["rpcutil".to_owned()],
            ..Filter::default()
        };
        assert!(ask(Kind::Any, &[], &only).unwrap().is_some());
        only.compound = vec![vec![]];
        assert!(ask(Kind::Any, &[], &only).unwrap().is_some());
        let expr = ("expr".to_owned(), "apache".to_owned());
        only.compound = vec![vec![[expr].into()]];
        assert!(ask(Kind::Any, &[], &only).unwrap().is_none());
    }

    #[test]
    fn wrong_arguments_are_errors() {
        let error = ask(Kind::Class, &[Value::from(1_u64)], &filter()).unwrap_err();
        assert_eq!(error, "requires_class_filter takes one string");
        let error = ask(Kind::Fact, &[Value::from("country")], &filter()).unwrap_err();
        assert_eq!(
            error,
            r#""country" is not a fact filter such as country=mt"#
        );
    }

    #[test]
    fn a_hint_says_what_to_add() {
        let missing = |kind, wanted: &str| {
            ask(kind, &[Value::from(wanted)], &Filter::default())
                .unwrap()
                .unwrap()
        };
        let all = BTreeSet::from([
            missing(Kind::Identity, "some.node"),
            missing(Kind::Fact, "country=mt"),
        ]);
        let place = |Missing(_, wanted): &Missing| format!("line of {wanted}");
        assert_eq!(
            hint(&all, place).unwrap(),
            "needs a fact filter such as country=mt (line of country=mt), or an identity filter such as some.node (line of some.node)"
        );
        let any = ask(Kind::Any, &[], &Filter::default()).unwrap().unwrap();
        let any = hint(&BTreeSet::from([any]), |_| "here".to_owned());
        assert_eq!(any.unwrap(), "needs a filter (here)");
        assert_eq!(hint(&BTreeSet::new(), place), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*", operators in "[=<>!~/ a]{0,12}") {
            for text in [text, operators] {
                if let Some(fact) = parse_fact(&text) {
                    prop_assert!(!fact.fact.is_empty() && !fact.value.is_empty());
                    prop_assert!(["==", "=~", "<=", ">=", "<", ">", "!="].contains(&fact.operator.as_str()));
                    prop_assert!(ask(Kind::Fact, &[Value::from(text.as_str())], &filter()).is_ok());
                }
            }
        }
    }
}
