//! What a rule demands of nodes: facts and classes, joined by `and`, `or`, `not` and parentheses.

use std::fmt;

use super::facts::{ClassTest, FactTest, Node, Operator};
use crate::rego::parse_fact;

/// How deep parentheses and `not` may be nested.
const DEPTH: usize = 32;

/// A demand on nodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// On a fact.
    Fact(FactTest),
    /// On the classes.
    Class(ClassTest),
    /// None may fail. An empty one demands nothing.
    All(Vec<Expression>),
    /// One must hold.
    Any(Vec<Expression>),
    /// It must not hold.
    Not(Box<Expression>),
}

/// What is certain of the nodes that a filter selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It holds on each of them.
    Always,
    /// It holds on none of them.
    Never,
    /// It may hold on some.
    Maybe,
}

/// What the filter of a request says of every node that it selects.
#[derive(Debug, Default)]
pub struct Guarantee {
    pub(super) facts: Vec<FactTest>,
    /// In the form of [`ClassTest::compared`].
    pub(super) classes: Vec<String>,
}

impl Expression {
    /// Whether a node meets it.
    pub fn holds(&self, node: &Node) -> bool {
        match self {
            Self::Fact(test) => test.holds(node),
            Self::Class(test) => test.holds(node),
            Self::All(parts) => parts.iter().all(|part| part.holds(node)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(node)),
            Self::Not(inner) => !inner.holds(node),
        }
    }

    /// What is certain of it when all that is known of a node is that the filter selected it.
    pub fn certainty(&self, known: &Guarantee) -> Certainty {
        match self {
            Self::Fact(test) => {
                if known.facts.iter().any(|fact| test.follows_from(fact)) {
                    Certainty::Always
                } else if test.ruled_out_by(&known.facts) {
                    Certainty::Never
                } else {
                    Certainty::Maybe
                }
            }
            Self::Class(test) if test.is_among(&known.classes) => Certainty::Always,
            Self::Class(_) => Certainty::Maybe,
            Self::All(parts) => joined(parts, known, Certainty::Never, Certainty::Always),
            Self::Any(parts) => joined(parts, known, Certainty::Always, Certainty::Never),
            Self::Not(inner) => match inner.certainty(known) {
                Certainty::Always => Certainty::Never,
                Certainty::Never => Certainty::Always,
                Certainty::Maybe => Certainty::Maybe,
            },
        }
    }

    /// The first demand that the filter leaves open.
    pub(super) fn open<'a>(&'a self, known: &Guarantee) -> Option<&'a Self> {
        match self {
            Self::Fact(_) | Self::Class(_) => {
                (self.certainty(known) == Certainty::Maybe).then_some(self)
            }
            Self::All(parts) | Self::Any(parts) => parts.iter().find_map(|part| part.open(known)),
            Self::Not(inner) => inner.open(known),
        }
    }

    /// Whether it demands nothing.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::All(parts) if parts.is_empty())
    }
}

/// One part decides alone, or all parts must agree on the other.
fn joined(
    parts: &[Expression],
    known: &Guarantee,
    decisive: Certainty,
    otherwise: Certainty,
) -> Certainty {
    let mut outcome = otherwise;
    for part in parts {
        match part.certainty(known) {
            certainty if certainty == decisive => return decisive,
            Certainty::Maybe => outcome = Certainty::Maybe,
            _ => {}
        }
    }
    outcome
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], word: &str| {
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Self::All(_) | Self::Any(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Fact(test) => {
                let operator = match test.operator {
                    Operator::Equal => "=",
                    other => other.as_str(),
                };
                write!(f, "{}{operator}{}", test.fact, test.value)
            }
            Self::Class(test) => f.write_str(&test.text),
            Self::All(parts) if parts.is_empty() => f.write_str("*"),
            Self::All(parts) => list(f, parts, "and"),
            Self::Any(parts) => list(f, parts, "or"),
            Self::Not(inner) => match **inner {
                Self::Fact(_) | Self::Class(_) => write!(f, "not {inner}"),
                _ => write!(f, "not ({inner})"),
            },
        }
    }
}

/// What a column is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Facts.
    Facts,
    /// Classes.
    Classes,
}

/// What is wrong in a column, and at which byte of it.
pub(super) type Wrong = (usize, String);

/// A column as it was understood.
pub(super) struct Parsed {
    pub(super) expression: Expression,
    /// Whether it uses `and`, `or`, `not` or parentheses, and so may speak of facts and classes alike.
    pub(super) compound: bool,
}

/// Reads a column: `*`, a list in which all must hold, or a compound statement.
pub(super) fn parse(text: &str, column: Column, commas: bool) -> Result<Parsed, Wrong> {
    let tokens = tokens(text, commas)?;
    if let [(_, Token::Word(word))] = tokens.as_slice()
        && word == "*"
    {
        return Ok(Parsed {
            expression: Expression::All(Vec::new()),
            compound: false,
        });
    }
    let compound = tokens
        .iter()
        .any(|(_, token)| !matches!(token, Token::Word(_)));
    if !compound {
        let parts = tokens
            .iter()
            .map(|(at, token)| match token {
                Token::Word(word) => plain(*at, word, column),
                _ => Err((*at, "a fact or a class is wanted".to_owned())),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if parts.is_empty() {
            return Err((0, "is empty; * stands for all nodes".to_owned()));
        }
        return Ok(Parsed {
            expression: one_or(parts, Expression::All),
            compound,
        });
    }
    let mut parser = Parser {
        tokens: &tokens,
        end: text.len(),
        depth: 0,
    };
    let expression = parser.any()?;
    match parser.tokens.first() {
        None => Ok(Parsed {
            expression,
            compound,
        }),
        Some((at, Token::Close)) => Err((*at, "closes nothing".to_owned())),
        Some((at, _)) => Err((*at, "and or or is missing before this".to_owned())),
    }
}

/// A list of one is its item.
fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, Some(last)) => {
            parts.push(last);
            many(parts)
        }
        (_, None) => many(parts),
    }
}

fn plain(at: usize, word: &str, column: Column) -> Result<Expression, Wrong> {
    match (atom(at, word)?, column) {
        (Expression::Class(_), Column::Facts) => Err((
            at,
            "is no fact such as country=mt; classes have a column of their own".to_owned(),
        )),
        (Expression::Fact(_), Column::Classes) => Err((
            at,
            "is a fact; facts have a column of their own, before this one".to_owned(),
        )),
        // Nodes refuse every request at that.
        (Expression::Class(_), Column::Classes) if word.contains(['=', '<', '>']) => Err((
            at,
            "looks like a fact to nodes; a pattern for classes has no =, < or >".to_owned(),
        )),
        (good, _) => Ok(good),
    }
}

/// One demand: a fact if there is an operator in it, else a class.
fn atom(at: usize, word: &str) -> Result<Expression, Wrong> {
    let wrong = |text: String| (at, text);
    if word == "*" {
        return Err(wrong("* stands alone or not at all".to_owned()));
    }
    if word.starts_with('/') {
        if word.len() < 3 || !word.ends_with('/') {
            return Err(wrong("a pattern stands between two slashes".to_owned()));
        }
        return ClassTest::new(word).map(Expression::Class).map_err(wrong);
    }
    if !word.contains(['=', '<', '>']) {
        return ClassTest::new(word).map(Expression::Class).map_err(wrong);
    }
    let fact = parse_fact(word)
        .ok_or_else(|| wrong("is no fact such as country=mt or cpus>=4".to_owned()))?;
    if !is_plain(&fact.fact) {
        return Err(wrong(
            "is no fact: in its name nodes read more than dots".to_owned(),
        ));
    }
    let operator = Operator::parse(&fact.operator)
        .ok_or_else(|| wrong("is no comparison that nodes know".to_owned()))?;
    FactTest::new(&fact.fact, operator, &fact.value)
        .map(Expression::Fact)
        .map_err(wrong)
}

/// Whether nodes look up a fact by its name alone: to them it is a path of `gjson`, with wildcards, queries and modifiers.
fn is_plain(name: &str) -> bool {
    name.split('.').all(|part| {
        !part.is_empty()
            && !part.starts_with(['@', '!', '{', '[', '('])
            && !part.contains(['*', '?', '|', '#', '\\'])
    })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    And,
    Or,
    Not,
    Open,
    Close,
}

/// Cuts a column up, each token with its byte.
fn tokens(text: &str, commas: bool) -> Result<Vec<(usize, Token)>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let token = match first {
            c if c.is_whitespace() || (commas && c == ',') => {
                at += c.len_utf8();
                continue;
            }
            '(' => Token::Open,
            ')' => Token::Close,
            '!' => Token::Not,
            _ => {
                let length = word_length(text.get(at..).unwrap_or_default(), commas);
                let word = text.get(at..at + length).unwrap_or_default();
                let token = match word.to_ascii_lowercase().as_str() {
                    "and" => Token::And,
                    "or" => Token::Or,
                    "not" => Token::Not,
                    _ if !commas && !word.contains('/') && word.contains(',') => {
                        return Err((at, "items are separated by spaces here".to_owned()));
                    }
                    _ => Token::Word(word.to_owned()),
                };
                found.push((at, token));
                at += length;
                continue;
            }
        };
        found.push((at, token));
        at += 1;
    }
    Ok(found)
}

/// How long the word is that a text begins with, in bytes. Within slashes nothing but a space ends it.
fn word_length(text: &str, commas: bool) -> usize {
    let mut pattern = false;
    let mut before = '=';
    for (at, c) in text.char_indices() {
        let rest = text.get(at + c.len_utf8()..).unwrap_or_default();
        let ends = c.is_whitespace() || (!pattern && (c == ')' || (commas && c == ',')));
        if ends {
            return at;
        }
        if c == '/' && !pattern && matches!(before, '=' | '~') {
            // Without another slash it begins no pattern.
            let word = rest.split(char::is_whitespace).next().unwrap_or_default();
            pattern = word.contains('/');
        } else if c == '/' && pattern {
            let next = rest.chars().next();
            pattern = next.is_some_and(|c| !(c.is_whitespace() || c == ')' || c == ','));
        }
        before = c;
    }
    text.len()
}

/// `or` binds less than `and`, `and` less than `not`.
struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    end: usize,
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, wanted: &Token) -> bool {
        match self.tokens.split_first() {
            Some(((_, token), rest)) if token == wanted => {
                self.tokens = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self) -> Result<Expression, Wrong> {
        let mut parts = vec![self.all()?];
        while self.take(&Token::Or) {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, Wrong> {
        let mut parts = vec![self.one()?];
        while self.take(&Token::And) {
            parts.push(self.one()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    fn one(&mut self) -> Result<Expression, Wrong> {
        let Some(((at, token), rest)) = self.tokens.split_first() else {
            return Err((
                self.end,
                "ends where a fact or a class is wanted".to_owned(),
            ));
        };
        self.tokens = rest;
        match token {
            Token::Word(word) => atom(*at, word),
            Token::Not | Token::Open if self.depth >= DEPTH => {
                Err((*at, format!("is nested deeper than {DEPTH}")))
            }
            Token::Not => {
                self.depth += 1;
                let inner = self.one()?;
                self.depth -= 1;
                Ok(Expression::Not(Box::new(inner)))
            }
            Token::Open => {
                self.depth += 1;
                let inner = self.any()?;
                self.depth -= 1;
                if self.take(&Token::Close) {
                    Ok(inner)
                } else {
                    Err((*at, "is never closed".to_owned()))
                }
            }
            Token::And | Token::Or | Token::Close => {
                Err((*at, "stands where a fact or a class is wanted".to_owned()))
            }
        }
    }
}
