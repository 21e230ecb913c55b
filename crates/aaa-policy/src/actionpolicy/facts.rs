//! Facts and classes: what a node has, what a rule or filter demands of them, and what follows from a filter.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use aaa_core::filter::FactFilter;
use serde_json::Value;

use crate::go::pattern::{Bad, Pattern};
use crate::go::{self, folded, lower};

/// The most memory that one compiled pattern takes, in bytes.
const PATTERN_BYTES: usize = 1 << 18;

/// Compiles a pattern as nodes read it; matching is linear in the text. The error is one line for people.
pub(super) fn pattern(text: &str, case: Case) -> Result<Pattern, String> {
    go::pattern::pattern(text, case == Case::Any, PATTERN_BYTES).map_err(|bad| match bad {
        Bad::Wrong(why) => format!("is no pattern: {why}"),
        Bad::NotHere(why) => format!("the pattern {why}"),
    })
}

/// Whether the case of letters matters to a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    /// It does, as of callers.
    Same,
    /// It does not, as of facts and classes.
    Any,
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

    /// The operator that is written so; `None` when there is none.
    pub fn parse(text: &str) -> Option<Self> {
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

    /// A text in the form in which nodes compare it by this operator.
    fn compared(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Equal | Self::NotEqual => folded(text),
            Self::Matches => Cow::Borrowed(text),
            Self::Less | Self::AtMost | Self::More | Self::AtLeast => lower(text),
        }
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

/// One demand on a fact. Texts are compared without regard to case, as nodes do.
#[derive(Debug, Clone)]
pub struct FactTest {
    /// Its name; dots lead into structured facts.
    pub fact: String,
    /// How it is compared.
    pub operator: Operator,
    /// What it is compared with.
    pub value: String,
    /// The value as the operator compares texts with it.
    compared: String,
    /// The compiled pattern of [`Operator::Matches`].
    compiled: Option<Pattern>,
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
    /// When the value is to be a pattern and is none, or is a number that nodes read otherwise.
    pub fn new(fact: &str, operator: Operator, value: &str) -> Result<Self, String> {
        if operator != Operator::Matches && is_of_go(value) {
            return Err("compares with a number that nodes read; write it in decimal".to_owned());
        }
        let compiled = match operator {
            Operator::Matches => Some(pattern(value.trim_matches('/'), Case::Any)?),
            _ => None,
        };
        Ok(Self {
            fact: fact.to_owned(),
            operator,
            value: value.to_owned(),
            compared: operator.compared(value).into_owned(),
            compiled,
        })
    }

    /// A demand that a request's filter makes; `None` for what no node understands. It is compared with others, and never
    /// held against a node, so that a pattern of the caller's costs nothing.
    pub(super) fn of_filter(filter: &FactFilter) -> Option<Self> {
        let operator = Operator::parse(&filter.operator)?;
        Some(Self {
            fact: filter.fact.clone(),
            operator,
            value: filter.value.clone(),
            compared: operator.compared(&filter.value).into_owned(),
            compiled: None,
        })
    }

    /// The pattern that it is compared with, if it is one.
    pub(super) fn pattern(&self) -> Option<&Pattern> {
        self.compiled.as_ref()
    }

    /// Whether a node meets it. A fact that is not there, or is no single value, meets nothing.
    pub fn holds(&self, node: &Node) -> bool {
        match find(&node.facts, &self.fact) {
            Some(Value::String(text)) => self.text(text),
            Some(Value::Number(number)) => self.number(number),
            Some(Value::Bool(is)) => self.boolean(*is),
            _ => false,
        }
    }

    fn text(&self, fact: &str) -> bool {
        self.compiled.as_ref().map_or_else(
            || {
                let fact = self.operator.compared(fact);
                self.operator.holds(fact.as_ref().cmp(&self.compared))
            },
            |pattern| pattern.is_match(fact),
        )
    }

    /// As nodes do it: with a dot in the value as fractions, without one as whole numbers.
    fn number(&self, fact: &serde_json::Number) -> bool {
        let float = fact.as_f64().unwrap_or_default();
        let whole = whole(float);
        let fraction = self.value.contains('.');
        if let Some(pattern) = &self.compiled {
            return if fraction {
                pattern.is_match(&format!("{float:.4}"))
            } else {
                pattern.is_match(&whole.to_string())
            };
        }
        if fraction {
            let value: Option<f64> = self.value.parse().ok();
            let value = value.filter(|value| value.is_finite());
            let ordering = value.and_then(|value| float.partial_cmp(&value));
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

    /// Whether it is the same demand, spelled with other letters perhaps.
    fn demands_what(&self, other: &Self) -> bool {
        // Of facts that are true or false some spellings of `true` count, and not all.
        let booleans =
            self.operator != Operator::Equal || truthy(&self.value) == truthy(&other.value);
        self.fact == other.fact
            && self.operator == other.operator
            && self.compared == other.compared
            && booleans
    }

    /// Whether it holds on every node where the other does, by what is certain whatever kind of value the fact has.
    pub(super) fn follows_from(&self, other: &Self) -> bool {
        if self.demands_what(other) {
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
                    other.compared != self.compared
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
    other.operator == opposite
        && one.compared == other.compared
        && !(more && one.value.contains('.'))
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

/// Whether Go reads a fraction where others do not: `0x1.8p1`, `1_000.5`.
fn is_of_go(value: &str) -> bool {
    let digits = value.trim_start_matches(['+', '-']);
    let hex = digits.starts_with("0x") || digits.starts_with("0X");
    value.contains('.')
        && (hex || value.contains('_'))
        && digits.starts_with(|c: char| c.is_ascii_digit())
}

/// A number without its fraction. A node reads facts as floating point and writes them down in as few digits as say which
/// number it is, before it cuts the fraction off, so of large numbers the last digits are not theirs.
#[allow(
    clippy::cast_possible_truncation,
    reason = "a node cuts fractions off too"
)]
fn whole(fact: f64) -> i64 {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if fact.abs() < EXACT {
        return fact as i64;
    }
    let digits = fact.to_string();
    digits.parse().unwrap_or(fact as i64)
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
            Value::Array(items) if part.bytes().all(|byte| byte.is_ascii_digit()) => {
                items.get(part.parse::<usize>().ok()?)?
            }
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
    /// What the class of a node is to be.
    compared: String,
    compiled: Option<Pattern>,
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
        let compiled = inner(text)
            .map(|text| pattern(text, Case::Any))
            .transpose()?;
        Ok(Self {
            text: text.to_owned(),
            compared: Self::compared(text),
            compiled,
        })
    }

    /// The pattern between its slashes, if it is one.
    pub(super) fn pattern(&self) -> Option<&Pattern> {
        self.compiled.as_ref()
    }

    /// A demand as it is compared: nodes put a name into small letters, and take their own classes as they stand.
    pub(super) fn compared(text: &str) -> String {
        match inner(text) {
            Some(_) => text.to_owned(),
            None => lower(text).into_owned(),
        }
    }

    /// Whether a node meets it.
    pub fn holds(&self, node: &Node) -> bool {
        match &self.compiled {
            Some(pattern) => node.classes.iter().any(|class| pattern.is_match(class)),
            None => node.classes.contains(&self.compared),
        }
    }

    /// Whether it is among the demands of a filter, in the form of [`ClassTest::compared`].
    pub(super) fn is_among(&self, demands: &[String]) -> bool {
        demands.contains(&self.compared)
    }
}

/// What stands between the slashes of a pattern.
fn inner(text: &str) -> Option<&str> {
    text.strip_prefix('/')?.strip_suffix('/')
}
