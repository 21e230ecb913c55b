//! The form of a log line: fields written as JSON, or for people.

use std::fmt::{self, Write as _};

use tracing::Level;
use tracing::field::{Field, Visit};

/// How fields are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Text,
}

/// Writes the fields of an event or a span, each with what separates it from the one before. The message is kept apart.
pub(super) struct Fields<'a> {
    pub(super) style: Style,
    pub(super) out: &'a mut String,
    pub(super) message: Option<&'a mut String>,
    /// Whether fields are left out whose names have a dot: those are for traces.
    pub(super) plain_names: bool,
}

impl Fields<'_> {
    fn field(&mut self, field: &Field, value: &Value<'_>) {
        let name = field.name();
        if name == "message"
            && let Some(message) = self.message.as_deref_mut()
        {
            match value {
                Value::Text(text) => message.push_str(text),
                Value::Bare(args) => _ = message.write_fmt(*args),
            }
            return;
        }
        if self.plain_names && name.contains('.') {
            return;
        }
        match self.style {
            Style::Json => {
                self.out.push(',');
                json_text(self.out, name);
                self.out.push(':');
            }
            Style::Text => {
                self.out.push(' ');
                self.out.push_str(name);
                self.out.push('=');
            }
        }
        match (self.style, value) {
            (_, Value::Bare(args)) => _ = self.out.write_fmt(*args),
            (Style::Json, Value::Text(text)) => json_text(self.out, text),
            (Style::Text, Value::Text(text)) => people_value(self.out, text),
        }
    }
}

enum Value<'a> {
    /// To be quoted.
    Text(&'a str),
    /// A number or a truth value, the same in both styles.
    Bare(fmt::Arguments<'a>),
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, &Value::Text(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, &Value::Bare(format_args!("{value}")));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, &Value::Bare(format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, &Value::Bare(format_args!("{value}")));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.field(field, &Value::Bare(format_args!("{value}")));
        } else {
            self.field(field, &Value::Text(&value.to_string()));
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.field(field, &Value::Text(&text));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, &Value::Text(&format!("{value:?}")));
    }
}

/// A text as JSON has it.
pub(super) fn json_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\' || c == '\u{7f}') {
        let (plain, tail) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = tail.chars();
        match chars.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(other) => _ = write!(out, "\\u{:04x}", u32::from(other)),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// A text for people: quoted where its end would not be seen, and nothing in it that moves a cursor.
fn people_value(out: &mut String, text: &str) {
    let plain = !text.is_empty()
        && text
            .chars()
            .all(|c| !c.is_control() && !c.is_whitespace() && c != '"' && c != '=');
    if plain {
        out.push_str(text);
    } else {
        let _ = write!(out, "{text:?}");
    }
}

/// A message for people: as it is, control characters escaped.
pub(super) fn people_message(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
}

/// A level as both styles name it, five characters wide for people, with its colour.
pub(super) fn level_name(level: Level) -> (&'static str, &'static str, &'static str) {
    match level {
        Level::ERROR => ("error", "ERROR", "\u{1b}[31m"),
        Level::WARN => ("warn", "WARN ", "\u{1b}[33m"),
        Level::INFO => ("info", "INFO ", "\u{1b}[32m"),
        Level::DEBUG => ("debug", "DEBUG", "\u{1b}[34m"),
        Level::TRACE => ("trace", "TRACE", "\u{1b}[35m"),
    }
}
