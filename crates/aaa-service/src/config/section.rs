//! Reading one section of a configuration through its table: typed, to the end, each problem with its full key.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aaa_core::duration;
use aaa_core::secret::Secret;
use serde_json::{Map, Value};

use super::file::{FileContent, MAX_FILE_BYTES};
use super::json::kind_of;
use super::setting::nearest;
use super::{Document, Kind, Setting, Table, Topic};

/// One object of the file, and the settings that may stand in it.
///
/// The getters never fail: what is wrong goes to the document's problems, and the answer is `None`. An absent setting (also `null`
/// and an empty text) has the default of its table.
#[derive(Clone)]
pub struct Section<'a> {
    document: &'a Document,
    path: Place,
    map: &'a Map<String, Value>,
    table: &'static Table,
}

/// Where a section stands: its dotted key (empty at the top), and its place if that holds a list.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) key: Arc<str>,
    pub(super) index: Option<usize>,
}

impl<'a> Section<'a> {
    /// Opens an object and says which of its keys mean nothing.
    pub(super) fn open(
        document: &'a Document,
        path: Place,
        map: &'a Map<String, Value>,
        table: &'static Table,
    ) -> Self {
        let section = Self {
            document,
            path,
            map,
            table,
        };
        section.check_keys();
        section
    }

    /// The full key of a setting here, as problems name it: `basicjwt_signer.max_validity`, `userlist_authenticator.users[3].password`.
    pub fn key(&self, key: &str) -> String {
        match (&*self.path.key, self.path.index) {
            ("", _) => key.to_owned(),
            (parent, Some(index)) => format!("{parent}[{index}].{key}"),
            (parent, None) => format!("{parent}.{key}"),
        }
    }

    /// The settings that may stand here.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// Says that a setting is wrong: what, and what is wanted.
    pub fn problem(&self, key: &str, text: impl Into<String>) {
        self.document.problem(self.key(key), text);
    }

    /// Says a word about a setting that does not keep the service from starting.
    pub fn warn(&self, key: &str, text: impl Into<String>) {
        self.warn_of(Topic::Setting, key, text);
    }

    /// The same, about this.
    pub fn warn_of(&self, topic: Topic, key: &str, text: impl Into<String>) {
        self.document.warn_of(topic, self.key(key), text);
    }

    /// Whether the file itself says something for this key.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// Whether there is such a setting here at all.
    pub fn knows(&self, key: &str) -> bool {
        self.table.iter().any(|setting| setting.key == key)
    }

    /// A text.
    pub fn string(&self, key: &str) -> Option<String> {
        let setting = self.setting(key);
        match self.value(key) {
            None => setting?.default.map(str::to_owned),
            Some(Value::String(text)) => self.allowed_word(key, text).then(|| text.clone()),
            Some(other) => self.wrong(key, other),
        }
    }

    /// A text that must be there.
    pub fn required_string(&self, key: &str) -> Option<String> {
        self.require(key);
        self.string(key)
    }

    /// A text that nobody may see.
    pub fn secret(&self, key: &str) -> Option<Secret<String>> {
        self.string(key).map(Secret::new)
    }

    /// The path of a file or directory, which is not looked at.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.string(key).map(PathBuf::from)
    }

    /// `true` or `false`; `false` when it is absent without a default, or wrong.
    pub fn boolean(&self, key: &str) -> bool {
        match self.value(key) {
            None => self.default(key) == Some("true"),
            Some(Value::Bool(value)) => *value,
            Some(other) => self.wrong(key, other).unwrap_or_default(),
        }
    }

    /// A whole number within the bounds of its kind.
    pub fn integer(&self, key: &str) -> Option<i64> {
        let Some(value) = self.value(key) else {
            return self.default(key)?.parse().ok();
        };
        let (min, max) = match self.setting(key)?.kind {
            Kind::Integer { min, max } => (min, max),
            _ => (i64::MIN, i64::MAX),
        };
        match value {
            Value::Number(number) => match number.as_i64() {
                Some(number) if (min..=max).contains(&number) => Some(number),
                _ => self.unfit(key, &number.to_string()),
            },
            other => self.wrong(key, other),
        }
    }

    /// A number from 0 to 1.
    pub fn ratio(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            None => self.default(key)?.parse().ok(),
            Some(Value::Number(number)) => match number.as_f64() {
                Some(ratio) if (0.0..=1.0).contains(&ratio) => Some(ratio),
                _ => self.unfit(key, &number.to_string()),
            },
            Some(other) => self.wrong(key, other),
        }
    }

    /// A port, written as a number or as a text. Port 0 is no port, as in files where it switches a listener off.
    pub fn port(&self, key: &str) -> Option<u16> {
        let written = match self.value(key) {
            None => self.default(key)?.to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => return self.wrong(key, other),
        };
        let digits = !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit());
        match written.parse::<u16>() {
            Ok(port) if digits => (port != 0).then_some(port),
            _ => self.unfit(key, &shortened(&written)),
        }
    }

    /// A duration in Go's notation.
    pub fn duration(&self, key: &str) -> Option<Duration> {
        let text = match self.value(key) {
            None => self.default(key)?,
            Some(Value::String(text)) => text,
            Some(other) => return self.wrong(key, other),
        };
        match duration::parse(text) {
            Ok(duration) => Some(duration),
            Err(problem) => {
                self.problem(key, problem.to_string());
                None
            }
        }
    }

    /// A duration that must be there.
    pub fn required_duration(&self, key: &str) -> Option<Duration> {
        self.require(key);
        self.duration(key)
    }

    /// A list of texts; for [`Kind::Words`] also one text with commas or spaces. Empty when it is absent without a default, or wrong.
    pub fn list(&self, key: &str) -> Vec<String> {
        let separated = self.setting(key).is_some_and(|s| s.kind == Kind::Words);
        match self.value(key) {
            None => self.default(key).map(words).unwrap_or_default(),
            Some(Value::String(text)) if separated => words(text),
            Some(Value::Array(items)) => {
                let texts: Vec<String> = items
                    .iter()
                    .filter_map(|item| item.as_str().map(str::to_owned))
                    .collect();
                if texts.len() < items.len() {
                    let other = items.iter().find(|item| !item.is_string());
                    let other = other.map_or("something else", kind_of);
                    let wants = self.wants(key);
                    self.problem(key, format!("wants {wants}; one item is {other}"));
                }
                texts
            }
            Some(other) => self.wrong(key, other).unwrap_or_default(),
        }
    }

    /// An object whose members are all texts, in the order of the file. Empty when it is absent, or wrong.
    pub fn map(&self, key: &str) -> Vec<(String, String)> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Object(map)) => map
                .iter()
                .filter_map(|(name, value)| match value {
                    Value::String(text) => Some((name.clone(), text.clone())),
                    other => {
                        let full = format!("{key}.{name}");
                        self.problem(&full, format!("wants a text; this is {}", kind_of(other)));
                        None
                    }
                })
                .collect(),
            Some(other) => self.wrong(key, other).unwrap_or_default(),
        }
    }

    /// A member as it came, for a kind that no getter here knows.
    pub fn raw(&self, key: &str) -> Option<&'a Value> {
        self.value(key)
    }

    /// A section within this one, read through its own table. Sections that nobody opens are not looked into.
    pub fn section(&self, key: &str, table: &'static Table) -> Option<Section<'a>> {
        match self.value(key)? {
            Value::Object(map) => {
                let place = Place {
                    key: self.key(key).into(),
                    index: None,
                };
                Some(Section::open(self.document, place, map, table))
            }
            other => self.wrong(key, other),
        }
    }

    /// A list of sections, each read through the same table.
    pub fn sections(&self, key: &str, table: &'static Table) -> Vec<Section<'a>> {
        let items = match self.value(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(other) => return self.wrong(key, other).unwrap_or_default(),
        };
        let place: Arc<str> = self.key(key).into();
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            if let Value::Object(map) = item {
                let place = Place {
                    key: place.clone(),
                    index: Some(index),
                };
                sections.push(Section::open(self.document, place, map, table));
            } else {
                let text = format!("wants an object {{…}}; this is {}", kind_of(item));
                self.problem(&format!("{key}[{index}]"), text);
            }
        }
        sections
    }

    /// Reads the file that a setting names, of at most 1 MiB. `what` says what is wanted: "an RSA private key in PEM, or a seed".
    pub fn file(&self, key: &str, what: &str) -> Option<FileContent> {
        self.file_up_to(key, what, MAX_FILE_BYTES)
    }

    /// The same for a file that nobody else should read: a word of warning when everybody can.
    pub fn secret_file(&self, key: &str, what: &str) -> Option<FileContent> {
        self.secret_file_up_to(key, what, MAX_FILE_BYTES)
    }

    /// The same with another limit, in bytes.
    pub fn secret_file_up_to(&self, key: &str, what: &str, limit: u64) -> Option<FileContent> {
        let content = self.file_up_to(key, what, limit)?;
        if content.world_readable() {
            let (path, mode) = (content.path().display(), content.mode());
            self.warn_of(
                Topic::Exposed,
                key,
                format!("{path} can be read by everybody (mode {mode:04o}); make it 0600"),
            );
        }
        Some(content)
    }

    /// The same with another limit, in bytes.
    pub fn file_up_to(&self, key: &str, what: &str, limit: u64) -> Option<FileContent> {
        let path = self.path(key)?;
        match FileContent::read(&path, limit) {
            Ok(content) => Some(content),
            Err(error) => {
                let path = path.display();
                self.problem(key, format!("{path}: {error}; wants {what}"));
                None
            }
        }
    }

    /// Says that a setting is missing, when it is.
    pub fn require(&self, key: &str) {
        if self.has(key) || self.default(key).is_some() || self.is_misspelt(key) {
            return;
        }
        let example = self.setting(key).map_or("", |setting| setting.example);
        if example.is_empty() {
            self.problem(key, "required");
        } else {
            self.problem(key, format!("required, for example {example}"));
        }
    }

    /// Whether it was said of another key that this one may be meant.
    fn is_misspelt(&self, key: &str) -> bool {
        let mut unknown = self.map.keys().filter(|name| !self.is_known(name));
        unknown.any(|name| self.nearest(name) == Some(key))
    }

    fn is_known(&self, name: &str) -> bool {
        let mut known = self.table.iter();
        known.any(|setting| setting.key.eq_ignore_ascii_case(name))
    }

    fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.table.iter().map(|setting| setting.key))
    }

    fn check_keys(&self) {
        for (name, value) in self.map {
            let known = self
                .table
                .iter()
                .find(|setting| setting.key.eq_ignore_ascii_case(name));
            match known {
                None => {
                    let text = self.nearest(name).map_or_else(
                        || "unknown".to_owned(),
                        |near| format!("unknown; did you mean {near}?"),
                    );
                    self.problem(&shortened(name), text);
                }
                Some(setting) if setting.key != name && self.map.contains_key(setting.key) => {
                    self.problem(name, format!("given twice: also as {}", setting.key));
                }
                Some(setting) if setting.key != name => {
                    self.warn(name, format!("read as {}; write it like that", setting.key));
                }
                Some(Setting {
                    kind: Kind::Obsolete(why),
                    ..
                }) if !value.is_null() => self.warn(name, format!("ignored: {why}")),
                Some(_) => {}
            }
        }
    }

    /// What the file says for a key. Files of the reference may spell keys in any case, because Go reads them so.
    fn value(&self, key: &str) -> Option<&'a Value> {
        let value = self.map.get(key).or_else(|| {
            let mut members = self.map.iter();
            let (_, value) = members.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
            Some(value)
        })?;
        let empty = value.is_null() || value.as_str().is_some_and(str::is_empty);
        (!empty).then_some(value)
    }

    fn setting(&self, key: &str) -> Option<&'static Setting> {
        let setting = self.table.iter().find(|setting| setting.key == key);
        debug_assert!(
            setting.is_some(),
            "no setting {key} in the table of {}",
            self.path.key
        );
        setting
    }

    fn default(&self, key: &str) -> Option<&'static str> {
        self.setting(key)?.default
    }

    fn wants(&self, key: &str) -> String {
        self.setting(key)
            .map(|s| s.kind.wants())
            .unwrap_or_default()
    }

    /// Of the wrong kind. The value is not quoted: it may be a secret.
    fn wrong<T>(&self, key: &str, value: &Value) -> Option<T> {
        let wants = self.wants(key);
        self.problem(key, format!("wants {wants}; this is {}", kind_of(value)));
        None
    }

    /// Of the right kind, but out of bounds.
    fn unfit<T>(&self, key: &str, written: &str) -> Option<T> {
        let wants = self.wants(key);
        self.problem(key, format!("{written}: wants {wants}"));
        None
    }

    fn allowed_word(&self, key: &str, text: &str) -> bool {
        let Some(Kind::OneOf(words)) = self.setting(key).map(|setting| setting.kind) else {
            return true;
        };
        if words.contains(&text) {
            return true;
        }
        let hint = nearest(text, words.iter().copied())
            .map(|near| format!("; did you mean {near}?"))
            .unwrap_or_default();
        let wants = self.wants(key);
        self.problem(key, format!("{:?}: wants {wants}{hint}", shortened(text)));
        false
    }
}

/// The items of a text with commas or spaces between them.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// A value from the file, no longer than a line can take.
fn shortened(text: &str) -> String {
    if text.chars().count() > 64 {
        text.chars().take(63).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
#[path = "section_tests.rs"]
mod tests;
