//! Which records are wanted.

use std::time::Duration;

use aaa_audit::reading::{Field, Pattern, Selection};
use aaa_core::duration;
use jiff::Timestamp;

use crate::failure::Failure;

/// Which records
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "Which records (values may have * in them, and be several with commas)"
)]
pub(super) struct SelectArgs {
    /// The verified caller; unknown for nobody
    #[arg(long, value_name = "CALLER", value_delimiter = ',')]
    caller: Vec<String>,
    /// The agent
    #[arg(long, value_delimiter = ',')]
    agent: Vec<String>,
    /// The action, or the task
    #[arg(long, value_delimiter = ',')]
    action: Vec<String>,
    /// allow, deny or unknown
    #[arg(long, value_delimiter = ',', value_parser = |text: &str| one_of(&["allow", "deny", "unknown"], text))]
    decision: Vec<String>,
    /// The site that decided
    #[arg(long, value_delimiter = ',')]
    site: Vec<String>,
    /// login or sign
    #[arg(long, value_delimiter = ',', value_parser = |text: &str| one_of(&["login", "sign"], text))]
    kind: Vec<String>,
    /// From then on: 1h for an hour ago, or 2026-11-25T19:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

impl SelectArgs {
    pub(super) fn selection(&self, now: Timestamp) -> Result<Selection, Failure> {
        let fields = [
            (Field::Caller, &self.caller),
            (Field::Agent, &self.agent),
            (Field::Action, &self.action),
            (Field::Decision, &self.decision),
            (Field::Site, &self.site),
            (Field::Kind, &self.kind),
        ];
        let fields = fields
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(field, values)| (field, values.iter().map(Pattern::new).collect()));
        Ok(Selection {
            fields: fields.collect(),
            since: self
                .since
                .as_deref()
                .map(|text| time(text, now))
                .transpose()?,
            until: self
                .until
                .as_deref()
                .map(|text| time(text, now))
                .transpose()?,
        })
    }
}

/// One of few values, or a pattern that may match one: nobody is to take a typing mistake for "there is none".
fn one_of(values: &[&str], text: &str) -> Result<String, String> {
    if text.contains('*') || values.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("there are {}", values.join(", ")))
}

/// A time, or how long ago.
pub(super) fn time(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let ago = duration::parse(text)
        .ok()
        .filter(|ago| *ago < Duration::from_hours(24 * 36_500));
    ago.and_then(|ago| now.checked_sub(ago).ok())
        .or_else(|| text.parse().ok())
        .ok_or_else(|| {
            Failure::usage(format!(
                "{text:?} is no time: give how long ago (90m, 24h), or a time (2026-11-25T19:00:00Z)"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ago_or_given() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let at = |text: &str| time(text, now).map(|time| time.to_string()).ok();
        assert_eq!(at("1h"), Some("2026-11-25T11:00:00Z".to_owned()));
        assert_eq!(
            at("2026-11-24T00:00:00Z"),
            Some("2026-11-24T00:00:00Z".to_owned())
        );
        assert_eq!(at("yesterday"), None);
        assert_eq!(at("9999999999h"), None);
    }
}
