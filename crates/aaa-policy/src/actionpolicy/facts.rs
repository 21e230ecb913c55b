//! Facts and classes: what a node has, what a rule or filter demands of them, and what follows from a filter.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use aaa_core::filter::FactFilter;
use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// The most memory that one compiled pattern takes, in bytes.
const PATTERN_BYTES: usize = 1 << 18;

/// Compiles a pattern; matching is linear in the text. The error is one line for people.
pub(super) fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .size_limit(PATTERN_BYTES)
        .dfa_size_limit(PATTERN_BYTES)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large".to_owned(),
            error => {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                format!("is no pattern: {}", last.trim_start_matches("error: "))
            }
        })
}

/// What a node is: its facts, and the classes that Puppet applied to it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Its facts, an object.
    pub facts: Value,
    /// Its classes.
    pub classes: BTreeSet<String>,
}

/// How a fact is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// `=` or `==`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `=~`.
    Matches,
    /// `<`.
    Less,
    /// `<=`.
    AtMost,
    /// `>`.
    More,
    /// `>=`.
    AtLeast,
}

impl Operator {
    /// As nodes call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Matches => "=~",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        const ALL: [Operator; 7] = [
            Operator::Equal,
            Operator::NotEqual,
            Operator::Matches,
            Operator::Less,
            Operator::AtMost,
            Operator::More,
            Operator::AtLeast,
        ];
        ALL.into_iter().find(|operator| operator.as_str() == text)
    }

    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::More => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Matches => false,
        }
    }
}

/// One demand on a fact.
#[derive(Debug, Clone)]
pub struct FactTest {
    /// Its name; dots lead into structured facts.
    pub fact: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: String,
    /// The compiled pattern of [`Operator::Matches`].
    compiled: Option<Regex>,
}

impl PartialEq for FactTest {
    fn eq(&self, other: &Self) -> bool {
        self.fact == other.fact && self.operator == other.operator && self.value == other.value
    }
}

impl FactTest {
    /// A demand.
    ///
    /// # Errors
    /// When the value is to be a pattern and is none.
    pub fn new(fact: &str, operator: Operator, value: &str) -> Result<Self, String> {
        let compiled = match operator {
            Operator::Matches => Some(pattern(value.trim_matches('/'))?),
            _ => None,
        };
        Ok(Self {
            fact: fact.to_owned(),
            operator,
            value: value.to_owned(),
            compiled,
        })
    }

    /// A demand that a request's filter makes; `None` for what no node understands. It is compared with others, and never
    /// held against a node, so that a pattern of the caller's costs nothing.
    pub(super) fn of_filter(filter: &FactFilter) -> Option<Self> {
        Some(Self {
            fact: filter.fact.clone(),
            operator: Operator::parse(&filter.operator)?,
            value: filter.value.clone(),
            compiled: None,
        })
    }

    /// The pattern that it is compared with, if it is one.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.compiled.as_ref().map(Regex::as_str)
    }

    /// Whether a node meets it. A fact that is not there, or is no single value, meets nothing.
    pub fn holds(&self, node: &Node) -> bool {
        match find(&node.facts, &self.fact) {
            Some(Value::String(text)) => match &self.compiled {
                Some(pattern) => pattern.is_match(text),
                None => self.operator.holds(text.as_str().cmp(self.value.as_str())),
            },
            Some(Value::Number(number)) => self.number(number),
            Some(Value::Bool(is)) => self.boolean(*is),
            _ => false,
        }
    }

    /// As nodes do it: with a dot in the value as fractions, without one as whole numbers.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a node cuts fractions off too"
    )]
    fn number(&self, fact: &serde_json::Number) -> bool {
        let float = fact.as_f64().unwrap_or_default();
        let whole = fact.as_i64().unwrap_or(float as i64);
        let fraction = self.value.contains('.');
        if let Some(pattern) = &self.compiled {
            return if fraction {
                pattern.is_match(&format!("{float:.4}"))
            } else {
                pattern.is_match(&whole.to_string())
            };
        }
        if fraction {
            let value: Result<f64, _> = self.value.parse();
            let ordering = value.ok().and_then(|value| float.partial_cmp(&value));
            // Nodes take `>` for `>=` here.
            let operator = match self.operator {
                Operator::More => Operator::AtLeast,
                other => other,
            };
            return ordering.is_some_and(|ordering| operator.holds(ordering));
        }
        match self.operator {
            Operator::Equal => whole.to_string() == self.value,
            Operator::NotEqual => whole.to_string() != self.value,
            _ => {
                let value: Result<i64, _> = self.value.parse();
                value.is_ok_and(|value| self.operator.holds(whole.cmp(&value)))
            }
        }
    }

    /// As nodes do it: what does not read as true is false.
    fn boolean(&self, fact: bool) -> bool {
        match self.operator {
            Operator::Equal => truthy(&self.value) == fact,
            Operator::Matches => truthy(&self.value.to_lowercase()) == fact,
            Operator::NotEqual => !truthy(&self.value.to_lowercase()),
            _ => false,
        }
    }

    /// Whether it holds on every node where the other does, by what is certain whatever kind of value the fact has.
    pub(super) fn follows_from(&self, other: &Self) -> bool {
        if self == other {
            return true;
        }
        if self.fact != other.fact || !both_whole(&self.value, &other.value) {
            return false;
        }
        // Nodes compare texts as texts and numbers as numbers, so the bounds must be in order both ways. Ordered
        // comparisons hold of no true and no false, so those need no look.
        let Some(ordering) = agreed(&other.value, &self.value) else {
            return false;
        };
        match (other.operator, self.operator) {
            (Operator::More, Operator::More | Operator::AtLeast | Operator::NotEqual)
            | (Operator::AtLeast, Operator::AtLeast) => ordering.is_ge(),
            (Operator::AtLeast, Operator::More | Operator::NotEqual) => ordering.is_gt(),
            (Operator::Less, Operator::Less | Operator::AtMost | Operator::NotEqual)
            | (Operator::AtMost, Operator::AtMost) => ordering.is_le(),
            (Operator::AtMost, Operator::Less | Operator::NotEqual) => ordering.is_lt(),
            _ => false,
        }
    }

    /// Whether it holds on no node where all of the others do.
    pub(super) fn ruled_out_by(&self, others: &[Self]) -> bool {
        let mut about = others.iter().filter(|other| other.fact == self.fact);
        // A node whose fact is false meets `country=mt` and `country=de` and `country!=de` at once. Where something ordered
        // is demanded too, the fact is a text or a number.
        let ordered = |operator| {
            !matches!(
                operator,
                Operator::Equal | Operator::NotEqual | Operator::Matches
            )
        };
        let no_boolean = ordered(self.operator)
            || others
                .iter()
                .any(|other| other.fact == self.fact && ordered(other.operator));
        about.any(|other| {
            if no_boolean && complementary(self, other) {
                return true;
            }
            match (other.operator, self.operator) {
                (Operator::Equal, Operator::Equal) => {
                    other.value != self.value
                        && !self.value.contains('.')
                        && !other.value.contains('.')
                        && (no_boolean || truthy(&self.value) != truthy(&other.value))
                }
                (
                    Operator::More | Operator::AtLeast,
                    Operator::Less | Operator::AtMost | Operator::Equal,
                ) => apart(other, self, Ordering::Greater),
                (
                    Operator::Less | Operator::AtMost,
                    Operator::More | Operator::AtLeast | Operator::Equal,
                ) => apart(other, self, Ordering::Less),
                _ => false,
            }
        })
    }
}

/// Whether one of two comparisons of a text or a number fails where the other holds: the same value, and opposite operators.
fn complementary(one: &FactTest, other: &FactTest) -> bool {
    let opposite = match one.operator {
        Operator::Equal => Operator::NotEqual,
        Operator::NotEqual => Operator::Equal,
        Operator::Less => Operator::AtLeast,
        Operator::AtLeast => Operator::Less,
        Operator::More => Operator::AtMost,
        Operator::AtMost => Operator::More,
        Operator::Matches => return false,
    };
    let more = one.operator == Operator::More || other.operator == Operator::More;
    other.operator == opposite && one.value == other.value && !(more && one.value.contains('.'))
}

/// Whether two bounds leave nothing between them.
fn apart(bound: &FactTest, test: &FactTest, side: Ordering) -> bool {
    if !both_whole(&bound.value, &test.value) {
        return false;
    }
    agreed(&bound.value, &test.value) == Some(side)
}

fn both_whole(one: &str, other: &str) -> bool {
    one.parse::<i64>().is_ok() && other.parse::<i64>().is_ok()
}

/// How two whole numbers compare, if they do so alike as numbers and as texts.
fn agreed(one: &str, other: &str) -> Option<Ordering> {
    let numbers = one.parse::<i64>().ok()?.cmp(&other.parse::<i64>().ok()?);
    (numbers == one.cmp(other)).then_some(numbers)
}

/// What Go's `ParseBool` takes for true.
fn truthy(value: &str) -> bool {
    ["1", "t", "T", "TRUE", "true", "True"].contains(&value)
}

/// A fact by its name; dots lead into objects and lists.
fn find<'a>(facts: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = facts;
    for part in path.split('.') {
        at = match at {
            Value::Object(members) => members.get(part)?,
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(at)
}

/// One demand on the classes of a node.
#[derive(Debug, Clone)]
pub struct ClassTest {
    /// A name, or `/pattern/`.
    pub text: String,
    compiled: Option<Regex>,
}

impl PartialEq for ClassTest {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl ClassTest {
    /// A demand.
    ///
    /// # Errors
    /// When it stands between slashes and is no pattern.
    pub fn new(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('/').and_then(|t| t.strip_suffix('/'));
        Ok(Self {
            text: text.to_owned(),
            compiled: inner.map(pattern).transpose()?,
        })
    }

    /// The pattern between its slashes, if it is one.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.compiled.as_ref().map(Regex::as_str)
    }

    /// Whether a node meets it. Names are compared without regard to case, as nodes do.
    pub fn holds(&self, node: &Node) -> bool {
        let folded = self.text.to_lowercase();
        node.classes.iter().any(|class| match &self.compiled {
            Some(pattern) => pattern.is_match(class),
            None => class.to_lowercase() == folded,
        })
    }
}
