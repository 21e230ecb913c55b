//! Rules, and the two forms in which they are written.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

use super::expression::{self, Column, Expression};
use super::facts::pattern;
use crate::problem::{Problem, text};

/// What a rule or a default does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// It lets through.
    Allow,
    /// It refuses.
    #[default]
    Deny,
}

impl Verdict {
    /// The word for it in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }

    /// Reads the word; in small letters only, as nodes do.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "allow" => Some(Self::Allow),
            "deny" => Some(Self::Deny),
            _ => None,
        }
    }
}

/// Who a rule is about.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An id, or the name of a group.
    Named(String),
    /// Ids that match a pattern.
    Pattern(Regex),
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it does.
    pub verdict: Verdict,
    /// Callers; `None` for everybody.
    pub callers: Option<Vec<Caller>>,
    /// Actions; `None` for all.
    pub actions: Option<BTreeSet<String>>,
    /// What it demands of nodes.
    pub nodes: Expression,
    /// Its name for records and people: file and line.
    pub name: String,
}

/// The rules of an agent, or those for all.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The rules; the first that matches decides.
    pub rules: Vec<Rule>,
    /// What holds when none does, if it is said.
    pub default: Option<Verdict>,
    /// Where they come from.
    pub source: String,
}

/// Groups of callers by name.
pub type Groups = BTreeMap<String, BTreeSet<String>>;

/// The columns of a rule as they are written, each with the byte of its line at which it begins.
pub(super) struct Columns<'a> {
    pub(super) verdict: (usize, &'a str),
    pub(super) callers: (usize, &'a str),
    pub(super) actions: (usize, &'a str),
    pub(super) facts: (usize, &'a str),
    pub(super) classes: Option<(usize, &'a str)>,
}

impl Columns<'_> {
    /// Makes the rule; an error says at which byte of the line it is wrong.
    pub(super) fn rule(&self, name: String, commas: bool) -> Result<Rule, (usize, String)> {
        let moved = |start: usize| move |(at, text): (usize, String)| (start + at, text);
        let (at, verdict) = self.verdict;
        let verdict =
            Verdict::parse(verdict).ok_or_else(|| (at, "is neither allow nor deny".to_owned()))?;
        let facts =
            expression::parse(self.facts.1, Column::Facts, commas).map_err(moved(self.facts.0))?;
        let classes = match self.classes {
            Some((start, text)) => {
                expression::parse(text, Column::Classes, commas)
                    .map_err(moved(start))?
                    .expression
            }
            // A compound statement speaks of both.
            None if facts.compound => Expression::All(Vec::new()),
            None => {
                let end = self.facts.0 + self.facts.1.len();
                return Err((end, "the column for classes is missing".to_owned()));
            }
        };
        let mut demands = Vec::new();
        for part in [facts.expression, classes] {
            match part {
                Expression::All(parts) => demands.extend(parts),
                other => demands.push(other),
            }
        }
        let nodes = match (demands.len(), demands.pop()) {
            (1, Some(only)) => only,
            (_, last) => {
                demands.extend(last);
                Expression::All(demands)
            }
        };
        Ok(Rule {
            verdict,
            callers: callers(self.callers.1, commas).map_err(moved(self.callers.0))?,
            actions: actions(self.actions.1, commas).map_err(moved(self.actions.0))?,
            nodes,
            name,
        })
    }
}

/// The words of a list, each with its byte. A pattern may hold commas, and no spaces.
fn words(text: &str, commas: bool) -> Result<Vec<(usize, &str)>, (usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let start = at;
        at += word.len();
        let word = word.trim_end();
        if word.is_empty() {
            continue;
        }
        if !commas {
            if word.contains(',') && !word.starts_with('/') {
                return Err((start, "items are separated by spaces here".to_owned()));
            }
            found.push((start, word));
            continue;
        }
        let mut from = 0;
        let mut in_pattern = word.starts_with('/');
        for (index, c) in word.char_indices() {
            let last = word.get(..index).unwrap_or_default();
            if c == ',' && (!in_pattern || (last.ends_with('/') && index > from + 1)) {
                if index > from {
                    found.push((start + from, word.get(from..index).unwrap_or_default()));
                }
                from = index + 1;
                in_pattern = word.get(from..).unwrap_or_default().starts_with('/');
            }
        }
        if from < word.len() {
            found.push((start + from, word.get(from..).unwrap_or_default()));
        }
    }
    if found.is_empty() {
        return Err((0, "is empty; * stands for all".to_owned()));
    }
    Ok(found)
}

fn callers(text: &str, commas: bool) -> Result<Option<Vec<Caller>>, (usize, String)> {
    if text.trim() == "*" {
        return Ok(None);
    }
    let caller = |(at, word): (usize, &str)| {
        if word == "*" {
            return Err((at, "* stands alone or not at all".to_owned()));
        }
        let Some(rest) = word.strip_prefix('/') else {
            return Ok(Caller::Named(word.to_owned()));
        };
        match rest.strip_suffix('/') {
            Some(inner) if !inner.is_empty() => pattern(inner)
                .map(Caller::Pattern)
                .map_err(|problem| (at, problem)),
            _ => Err((at, "a pattern stands between two slashes".to_owned())),
        }
    };
    let callers: Result<Vec<_>, _> = words(text, commas)?.into_iter().map(caller).collect();
    callers.map(Some)
}

fn actions(text: &str, commas: bool) -> Result<Option<BTreeSet<String>>, (usize, String)> {
    if text.trim() == "*" {
        return Ok(None);
    }
    let action = |(at, word): (usize, &str)| {
        if word.contains(['*', '/']) {
            return Err((
                at,
                "an action is named in full, or all are meant with *".to_owned(),
            ));
        }
        Ok(word.to_owned())
    };
    let actions: Result<BTreeSet<_>, _> = words(text, commas)?.into_iter().map(action).collect();
    actions.map(Some)
}

/// Reads a `.policy` file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn policy_file(file: &str, bytes: &[u8]) -> Result<Policy, Vec<Problem>> {
    let text = text(file, bytes).map_err(|problem| vec![problem])?;
    let mut policy = Policy {
        source: file.to_owned(),
        ..Policy::default()
    };
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let mut bad = |at: usize, text: String| {
            problems.push(Problem::at(file, number, line, at, text));
        };
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let mut words = line.split_whitespace();
        if (words.next(), words.next()) == (Some("policy"), Some("default")) {
            let word = words.next().unwrap_or_default();
            let at = line.rfind(word).filter(|_| !word.is_empty());
            match (Verdict::parse(word), words.next()) {
                (Some(verdict), None) => policy.default = Some(verdict),
                _ => bad(
                    at.unwrap_or(line.len()),
                    "wants policy default allow, or policy default deny".to_owned(),
                ),
            }
            continue;
        }
        let name = format!("{}:{number}", base_name(file));
        match columns(line).and_then(|columns| columns.rule(name, false)) {
            Ok(rule) => policy.rules.push(rule),
            Err((at, text)) => bad(at, text),
        }
    }
    if problems.is_empty() {
        Ok(policy)
    } else {
        Err(problems)
    }
}

/// The name of a file without its directories.
pub(super) fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Cuts a line at its tabs.
fn columns(line: &str) -> Result<Columns<'_>, (usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    for column in line.split('\t') {
        let start = at + (column.len() - column.trim_start().len());
        at += column.len() + 1;
        let column = column.trim();
        if !column.is_empty() {
            found.push((start, column));
        }
    }
    let [verdict, rest @ ..] = found.as_slice() else {
        return Err((0, "is no rule".to_owned()));
    };
    let (verdict, rest) = (*verdict, rest);
    let (word, more) = verdict.1.split_once(' ').unwrap_or((verdict.1, ""));
    if Verdict::parse(word).is_none() {
        return Err((
            verdict.0,
            "begins no rule; a line is a rule (allow or deny), policy default, or a comment with #"
                .to_owned(),
        ));
    }
    if !more.is_empty() {
        let at = verdict.0 + word.len();
        return Err((
            at,
            "columns are separated by tabs; here is a space".to_owned(),
        ));
    }
    match rest {
        [callers, actions, facts, classes @ ..] if classes.len() < 2 => Ok(Columns {
            verdict,
            callers: *callers,
            actions: *actions,
            facts: *facts,
            classes: classes.first().copied(),
        }),
        [_, _, _, _, extra, ..] => Err((
            extra.0,
            "is one column too many: verdict, callers, actions, facts, classes".to_owned(),
        )),
        _ => Err((
            line.trim_end().len(),
            "a column is missing: verdict, callers, actions, facts, classes, with tabs between them"
                .to_owned(),
        )),
    }
}

/// Reads a `groups` file: on each line a name, and the ids of its members.
///
/// # Errors
/// Everything that is wrong with it.
pub fn groups_file(file: &str, bytes: &[u8]) -> Result<Groups, Vec<Problem>> {
    let text = text(file, bytes).map_err(|problem| vec![problem])?;
    let mut groups = Groups::new();
    let mut problems = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let number = index + 1;
        let mut bad = |word: &str, text: &str| {
            let at = line.find(word).unwrap_or(0);
            problems.push(Problem::at(file, number, line, at, text));
        };
        let mut words = content.split_whitespace();
        let name = words.next().unwrap_or_default();
        let members: BTreeSet<String> = words.map(str::to_owned).collect();
        let good = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !name.chars().all(good) {
            bad(name, "is no name for a group: letters, digits, _ . -");
        } else if members.is_empty() {
            bad(name, "has no members; they follow on the same line");
        } else if let Some(member) = members.iter().find(|m| m.starts_with('/') || *m == "*") {
            bad(member, "is no caller id; patterns stand in rules");
        } else if groups.insert(name.to_owned(), members).is_some() {
            bad(name, "is there already; a group stands on one line");
        } else {
            lines.push((number, line, name));
        }
    }
    for (number, line, name) in lines {
        let nested = groups
            .get(name)
            .and_then(|members| members.iter().find(|member| groups.contains_key(*member)));
        if let Some(member) = nested {
            let at = line.rfind(member.as_str()).unwrap_or(0);
            let text = "is a group, and a group holds caller ids only";
            problems.push(Problem::at(file, number, line, at, text));
        }
    }
    if problems.is_empty() {
        Ok(groups)
    } else {
        Err(problems)
    }
}
