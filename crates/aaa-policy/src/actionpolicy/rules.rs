//! Rules, and the two forms in which they are written.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{self, Column, Expression, Wrong};
use super::facts::{Case, pattern};
use crate::go::pattern::Pattern;
use crate::problem::{Problem, marked_text};

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
    Pattern(Pattern),
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
    pub(super) fn rule(&self, name: String, commas: bool) -> Result<Rule, Wrong> {
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
fn words(text: &str, commas: bool) -> Result<Vec<(usize, &str)>, Wrong> {
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

fn callers(text: &str, commas: bool) -> Result<Option<Vec<Caller>>, Wrong> {
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
            Some(inner) if !inner.is_empty() => pattern(inner, Case::Same)
                .map(Caller::Pattern)
                .map_err(|problem| (at, problem)),
            _ => Err((at, "a pattern stands between two slashes".to_owned())),
        }
    };
    let callers: Result<Vec<_>, _> = words(text, commas)?.into_iter().map(caller).collect();
    callers.map(Some)
}

fn actions(text: &str, commas: bool) -> Result<Option<BTreeSet<String>>, Wrong> {
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
    let text = marked_text(file, bytes).map_err(|problem| vec![problem])?;
    let mut policy = Policy {
        source: file.to_owned(),
        ..Policy::default()
    };
    let mut problems = Vec::new();
    for (number, line) in lines(text) {
        let name = format!("{}:{number}", base_name(file));
        let read = readable(line).and_then(|()| {
            if let Some(verdict) = default(line)? {
                policy.default = Some(verdict);
            } else {
                policy.rules.push(columns(line)?.rule(name, false)?);
            }
            Ok(())
        });
        if let Err((at, text)) = read {
            problems.push(Problem::at(file, number, line, at, text));
        }
    }
    if problems.is_empty() {
        Ok(policy)
    } else {
        Err(problems)
    }
}

/// The longest line that nodes read, in bytes.
const LONGEST: usize = 65_000;

/// The lines that say something, each with its number.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.split('\n').enumerate();
    lines
        .map(|(index, line)| (index + 1, line.strip_suffix('\r').unwrap_or(line)))
        .filter(|(_, line)| {
            let content = line.trim_start_matches('\u{feff}').trim();
            !content.is_empty() && !content.starts_with('#')
        })
}

/// Refuses what nodes skip, or read as a part of what stands beside it.
fn readable(line: &str) -> Result<(), Wrong> {
    let wrong = |at, text: &str| Err((at, text.to_owned()));
    let odd = |c: char| !matches!(c, ' ' | '\t') && (c.is_whitespace() || c.is_control());
    if line.len() > LONGEST {
        wrong(LONGEST, "the line is longer than nodes read")
    } else if line.starts_with('\u{feff}') {
        wrong(
            0,
            "a byte order mark stands before it, and nodes skip the line; save the file without one",
        )
    } else if let Some(at) = line.find(odd) {
        wrong(
            at,
            "is neither a space nor a tab, and nodes do not take it for one",
        )
    } else if line.starts_with([' ', '\t']) {
        wrong(0, "begins with white space, and nodes skip such a line")
    } else {
        Ok(())
    }
}

/// Refuses spaces that nodes read as a part of a word, or as a word that is empty. `what` is the column or line, `start` its byte.
fn single_spaces(what: &str, start: usize) -> Result<(), Wrong> {
    let wrong = |at: usize, text: &str| Err((start + at, text.to_owned()));
    if what.starts_with(' ') {
        wrong(0, "begins with a space, which nodes do not leave out")
    } else if let Some(at) = what.find("  ") {
        wrong(
            at + 1,
            "is a second space, and nodes read an empty word between the two",
        )
    } else if let Some(content) = what.strip_suffix(' ') {
        wrong(
            content.len(),
            "ends with a space, which nodes do not leave out",
        )
    } else {
        Ok(())
    }
}

/// What holds when no rule does, if the line says so.
fn default(line: &str) -> Result<Option<Verdict>, Wrong> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    if (words.next(), words.next()) != (Some("policy"), Some("default")) {
        return Ok(None);
    }
    let word = words.next().unwrap_or_default();
    if let (Some(verdict), None) = (Verdict::parse(word), words.next()) {
        return Ok(Some(verdict));
    }
    let at = line.rfind(word).filter(|_| !word.is_empty());
    let text = "wants policy default allow, or policy default deny";
    Err((at.unwrap_or(line.len()), text.to_owned()))
}

/// The name of a file without its directories.
pub(super) fn base_name(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Cuts a line at its tabs.
fn columns(line: &str) -> Result<Columns<'_>, Wrong> {
    let mut found = Vec::new();
    let mut at = 0;
    for column in line.split('\t') {
        if !column.is_empty() {
            found.push((at, column));
        }
        at += column.len() + 1;
    }
    if let Some(content) = line.strip_suffix('\t') {
        let text = "ends with a tab, which nodes read as a part of the column before it";
        return Err((content.len(), text.to_owned()));
    }
    let [verdict, rest @ ..] = found.as_slice() else {
        return Err((0, "is no rule".to_owned()));
    };
    let (verdict, rest) = (*verdict, rest);
    let word = verdict.1.split(' ').next().unwrap_or_default();
    if Verdict::parse(word).is_none() {
        return Err((
            verdict.0,
            "begins no rule; a line is a rule (allow or deny), policy default, or a comment with #"
                .to_owned(),
        ));
    }
    if word != verdict.1 {
        let text = "columns are separated by tabs; here is a space";
        return Err((verdict.0 + word.len(), text.to_owned()));
    }
    for (start, column) in rest {
        single_spaces(column, *start)?;
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
    let text = marked_text(file, bytes).map_err(|problem| vec![problem])?;
    let mut groups = Groups::new();
    let mut problems = Vec::new();
    let mut named = Vec::new();
    for (number, line) in lines(text) {
        match group(line) {
            Ok((name, _)) if groups.contains_key(name) => {
                let text = "is there already; a group stands on one line";
                problems.push(Problem::at(file, number, line, 0, text));
            }
            Ok((name, members)) => {
                groups.insert(name.to_owned(), members);
                named.push((number, line, name));
            }
            Err((at, text)) => problems.push(Problem::at(file, number, line, at, text)),
        }
    }
    for (number, line, name) in named {
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

/// The name of a group, and the ids of its members.
fn group(line: &str) -> Result<(&str, BTreeSet<String>), Wrong> {
    readable(line)?;
    if let Some(at) = line.find('\t') {
        let text = "is a tab; what stands in a line of groups is separated by one space each";
        return Err((at, text.to_owned()));
    }
    single_spaces(line, 0)?;
    let (name, members) = line.split_once(' ').unwrap_or((line, ""));
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.chars().all(good) {
        let text = "is no name for a group: letters from a to z, digits, _ . -";
        return Err((0, text.to_owned()));
    }
    if members.is_empty() {
        let text = "has no members; they follow on the same line";
        return Err((0, text.to_owned()));
    }
    let mut at = name.len() + 1;
    let mut ids = BTreeSet::new();
    for member in members.split(' ') {
        if member.starts_with('/') || member == "*" {
            let text = "is no caller id; patterns stand in rules";
            return Err((at, text.to_owned()));
        }
        at += member.len() + 1;
        ids.insert(member.to_owned());
    }
    Ok((name, ids))
}
