//! YAML with lines: no anchors, no key twice, nothing nested without end.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use crate::problem::{Problem, text};

/// How deep lists and maps may be nested.
const DEPTH: usize = 64;

/// A value and the line on which it begins.
#[derive(Debug, Clone)]
pub struct Yaml {
    /// The line, from 1.
    pub line: usize,
    /// The value.
    pub kind: Kind,
}

/// A value.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A text, and whether it stands without quotes.
    Scalar(String, bool),
    /// Its items in their order.
    List(Vec<Yaml>),
    /// Members in their order.
    Map(Vec<(Yaml, Yaml)>),
}

impl Yaml {
    /// A text as it stands.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing stands there.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, true) if text.is_empty() || text == "~" || text == "null")
    }

    /// The first text without quotes that YAML 1.1 takes for something else than YAML 1.2 does.
    fn doubtful(&self) -> Option<(usize, &str)> {
        match &self.kind {
            Kind::Scalar(text, true) => two_ways(text).then_some((self.line, text)),
            Kind::Scalar(_, false) => None,
            Kind::List(items) => items.iter().find_map(Self::doubtful),
            Kind::Map(members) => members
                .iter()
                .find_map(|(key, value)| key.doubtful().or_else(|| value.doubtful())),
        }
    }

    /// The same as JSON: texts without quotes are numbers, true, false and null where they read so.
    pub fn json(self) -> Value {
        match self.kind {
            Kind::Scalar(text, false) => Value::String(text),
            Kind::Scalar(text, true) => match text.as_str() {
                "" | "~" | "null" | "Null" | "NULL" => Value::Null,
                "true" | "True" | "TRUE" => Value::Bool(true),
                "false" | "False" | "FALSE" => Value::Bool(false),
                _ => number(&text).map_or(Value::String(text), Value::Number),
            },
            Kind::List(items) => items.into_iter().map(Self::json).collect(),
            Kind::Map(members) => {
                let members = members
                    .into_iter()
                    .map(|(key, value)| (key.text().unwrap_or_default().to_owned(), value.json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E');
    let float = text.chars().all(numeric).then(|| text.parse::<f64>().ok());
    float.flatten().and_then(Number::from_f64)
}

fn two_ways(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let base = digits.len() > 1
        && digits.starts_with('0')
        && digits.chars().all(|c| c.is_ascii_alphanumeric());
    let words = ["y", "n", "yes", "no", "on", "off"];
    base || words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// Reads a document that holds a map; an empty one has no members.
///
/// # Errors
/// What is wrong with it, and where.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Vec<(Yaml, Yaml)>, Problem> {
    let text = text(file, bytes)?;
    let document = Builder {
        file,
        text,
        open: Vec::new(),
        done: None,
        place: None,
    }
    .build()?;
    match document {
        None => Ok(Vec::new()),
        Some(document) if document.is_null() => Ok(Vec::new()),
        Some(Yaml {
            kind: Kind::Map(members),
            ..
        }) => Ok(members),
        Some(other) => Err(at_line(
            file,
            text,
            other.line,
            0,
            "a map of keys is wanted",
        )),
    }
}

/// The same as JSON, for facts.
pub(super) fn json(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let members = parse(file, bytes)?;
    Ok(Yaml {
        line: 0,
        kind: Kind::Map(members),
    }
    .json())
}

/// The same for data of which some readers of YAML would make something else: what they call true, or a number of another base, is an error.
pub(super) fn plain_json(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let members = parse(file, bytes)?;
    let document = Yaml {
        line: 0,
        kind: Kind::Map(members),
    };
    if let Some((line, word)) = document.doubtful() {
        let says = format!(
            "`{word}` is read in two ways: put it in quotes, or write true, false or a decimal number"
        );
        return Err(at_line(file, text(file, bytes)?, line, 0, &says));
    }
    Ok(document.json())
}

/// About a place in a text, counted in characters.
fn at_line(file: &str, text: &str, line: usize, column: usize, says: &str) -> Problem {
    let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let blank = source.chars().take_while(|c| c.is_whitespace()).count();
    let byte = source
        .char_indices()
        .nth(column.max(blank))
        .map(|(at, _)| at);
    Problem::at(
        file,
        line.max(1),
        source,
        byte.unwrap_or(source.len()),
        says,
    )
}

/// A list or a map that is not closed yet; of a map also the key that waits for its value.
enum Open {
    List(usize, Vec<Yaml>),
    Map(usize, Vec<(Yaml, Yaml)>, Option<Yaml>),
}

struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    open: Vec<Open>,
    done: Option<Yaml>,
    /// The line of a problem, where it is not that of the event.
    place: Option<usize>,
}

impl Builder<'_> {
    fn build(mut self) -> Result<Option<Yaml>, Problem> {
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| {
                let mark = error.marker();
                let says = format!("is no YAML: {}", error.info());
                at_line(self.file, self.text, mark.line(), mark.col(), &says)
            })?;
            let (line, column) = (span.start.line(), span.start.col());
            if let Err(says) = self.take(event, line) {
                let (line, column) = self.place.map_or((line, column), |line| (line, 0));
                return Err(at_line(self.file, self.text, line, column, &says));
            }
        }
        Ok(self.done)
    }

    fn take(&mut self, event: Event<'_>, line: usize) -> Result<(), String> {
        const ANCHORS: &str = "anchors and aliases are not taken; write the value where it belongs";
        match event {
            Event::Alias(_) => return Err(ANCHORS.to_owned()),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                return Err(ANCHORS.to_owned());
            }
            Event::Scalar(text, style, _, _) => {
                let kind = Kind::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.add(Yaml { line, kind })?;
            }
            Event::SequenceStart(..) => self.begin(Open::List(line, Vec::new()))?,
            Event::MappingStart(..) => self.begin(Open::Map(line, Vec::new(), None))?,
            Event::SequenceEnd | Event::MappingEnd => {
                let (line, kind) = match self.open.pop() {
                    Some(Open::List(line, items)) => (line, Kind::List(items)),
                    Some(Open::Map(line, members, _)) => {
                        if let Some(key) = twice(&members) {
                            let name = key.text().unwrap_or_default();
                            self.place = Some(key.line);
                            return Err(format!("the key {name:?} stands twice in this map"));
                        }
                        (line, Kind::Map(members))
                    }
                    None => return Err("closes nothing".to_owned()),
                };
                self.add(Yaml { line, kind })?;
            }
            Event::DocumentStart(_) if self.done.is_some() => {
                return Err("a second document begins; one is wanted".to_owned());
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, open: Open) -> Result<(), String> {
        if self.open.len() >= DEPTH {
            return Err(format!("is nested deeper than {DEPTH}"));
        }
        self.open.push(open);
        Ok(())
    }

    fn add(&mut self, value: Yaml) -> Result<(), String> {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some(Open::List(_, items)) => items.push(value),
            Some(Open::Map(_, members, waiting)) => {
                if let Some(key) = waiting.take() {
                    members.push((key, value));
                } else if matches!(&value.kind, Kind::Scalar(text, true) if text == "<<") {
                    return Err("keys are not merged here; write them where they belong".to_owned());
                } else if value.text().is_some() {
                    *waiting = Some(value);
                } else {
                    return Err("a key is a text".to_owned());
                }
            }
        }
        Ok(())
    }
}

/// The first key that stands twice in a map.
fn twice(members: &[(Yaml, Yaml)]) -> Option<&Yaml> {
    let mut seen = std::collections::HashSet::new();
    members
        .iter()
        .map(|(key, _)| key)
        .find(|key| !seen.insert(key.text().unwrap_or_default()))
}
