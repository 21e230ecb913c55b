//! What the doctor found, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::screen::{Paint, printable};

/// What was looked at. The names are a promise to programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Check {
    /// The file as a whole.
    Configuration,
    /// What a setting says, or the file that it names.
    Setting,
    /// Who can read secrets.
    Permissions,
    /// How passwords are hashed.
    Passwords,
    /// How long tokens last.
    Lifetime,
    /// Whether tokens are of use to whoever finds them.
    Binding,
    /// Whether tokens are verified with the key of who vouches for them.
    Issuer,
    /// What ends.
    Expiry,
    /// What is otherwise than with `aaasvc`.
    Change,
    /// A broker of the Choria network.
    Broker,
    /// The stream of audit records.
    Stream,
    /// An Okta tenant.
    Tenant,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// As it should be.
    Ok,
    /// Good to know for who comes from `aaasvc`.
    Note,
    /// It works, and should be otherwise.
    Warn,
    /// It does not work, or is not safe.
    Fail,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) status: Status,
    /// The setting, the file or the server that it is about.
    pub(super) subject: String,
    pub(super) text: String,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    file: String,
    /// Whether no server was asked.
    offline: bool,
    findings: Vec<Finding>,
}

impl Finding {
    pub(super) fn new(check: Check, status: Status, subject: &str, text: impl AsRef<str>) -> Self {
        let lines: Vec<String> = text.as_ref().lines().map(printable).collect();
        Self {
            check,
            status,
            subject: printable(subject),
            text: lines.join("\n"),
        }
    }
}

impl Report {
    pub(super) fn new(file: &Path, offline: bool, findings: Vec<Finding>) -> Self {
        Self {
            file: file.display().to_string(),
            offline,
            findings,
        }
    }

    /// Whether anything does not work, or is not safe.
    pub(super) fn failed(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.status == Status::Fail)
    }

    /// A line for each, in three columns.
    pub(super) fn text(&self, paint: Paint) -> String {
        let width = self
            .findings
            .iter()
            .map(|finding| finding.subject.chars().count())
            .max()
            .unwrap_or_default();
        let mut text = String::new();
        for finding in &self.findings {
            let status = match finding.status {
                Status::Ok => paint.good(" ok  "),
                Status::Note => paint.faint(" note"),
                Status::Warn => paint.strong(" warn"),
                Status::Fail => paint.bad(" FAIL"),
            };
            let mut lines = finding.text.lines();
            let first = lines.next().unwrap_or_default();
            let _infallible = writeln!(text, "{status}  {:<width$}  {first}", finding.subject);
            for line in lines {
                let _infallible = writeln!(text, "       {:<width$}  {line}", "");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_programs_read_names_that_stay() {
        let findings = vec![
            Finding::new(Check::Configuration, Status::Ok, "configuration", "reads"),
            Finding::new(Check::Permissions, Status::Fail, "tls_key", "a\nb\u{1b}[2J"),
            Finding::new(Check::Passwords, Status::Warn, "users", "weak"),
            Finding::new(Check::Change, Status::Note, "delivery", "stricter"),
        ];
        let report = Report::new(Path::new("c.json"), true, findings);
        assert!(report.failed());
        assert_eq!(
            report.text(Paint::none()),
            " ok    configuration  reads\n \
             FAIL  tls_key        a\n                      b [2J\n \
             warn  users          weak\n \
             note  delivery       stricter\n"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["offline"], true);
        assert_eq!(
            json["findings"][1],
            serde_json::json!({"check": "permissions", "status": "fail", "subject": "tls_key", "text": "a\nb [2J"})
        );
    }
}
