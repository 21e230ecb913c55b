//! One record as one line of text, in the formats that tools already read.
//!
//! Much of a record is in the words of whoever sent the request, signed for or not. So every format writes exactly one line
//! for a record, escapes every control character (also DEL, the C1 set, line separators and the characters that reverse the
//! direction of text), and keeps the words of an attacker apart from ours.
//!
//! | | [`Aaasvc`](Format::Aaasvc) | [`SignatureAudit`](Format::SignatureAudit) | [`Choria`](Format::Choria) | [`Mcollective`](Format::Mcollective) |
//! |---|---|---|---|---|
//! | caller | `caller` | `callerid` | `caller` | `caller=…@<sender>` |
//! | decision | `action` | `action` | `decision`, `reason` | `decision=… reason=…` in front of refusals |
//! | request | `msg`, as text | `request`, as text or object | `data`, the inputs | `data=`, the inputs |
//! | login | `msg` is `{"login":{"username":…}}` | not carried | `kind` is `login` | `kind=login` in front |
//! | unreadable | `msg` is `{"length":…,"sha256":…}` | the same in `request` | the same in `data` | the same in `data=` |
//!
//! [`V2`](Format::V2) has all of these, each in a member of its own: see [`v2`].
//!
//! The caller is the one of the verified token, as the token has it, and [`UNVERIFIED`] when there is none: the caller that
//! a request claims never stands in its place. A request is written with the verified caller in it, as a node would see
//! it; without a verified caller, as it came.

mod aaasvc;
mod choria;
mod json;
mod mcollective;
mod redaction;
mod ruby;
mod signature_audit;
pub mod v2;

use std::borrow::Cow;
use std::sync::Arc;

use aaa_core::audit::{Effect, Outcome, Record, Subject};
use aaa_core::request::Request;

pub use redaction::{Redaction, RuleError};

/// What stands in a caller's place when nobody was verified. No caller is called this: theirs all have a provider and a `=`.
pub const UNVERIFIED: &str = "unknown";

/// How records are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The lines of `aaasvc`'s file auditor.
    #[default]
    Aaasvc,
    /// `io.choria.signer.v1.signature_audit`, the published schema. It knows no logins.
    SignatureAudit,
    /// The JSON lines that a Choria node's own audit writes, with `kind`, `decision` and `reason` after them.
    Choria,
    /// The lines of `MCollective`'s native audit log.
    Mcollective,
    /// `io.choria.aaa.v2.audit`: everything that is known, in a chain.
    V2,
}

/// How `signature_audit` holds a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RequestEncoding {
    /// As its JSON in a string, as the schema says.
    #[default]
    String,
    /// As a JSON object, as `aaasvc` sends it.
    Object,
}

/// A word in the configuration that means none of what is possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is not one of {}", known.join(", "))]
pub struct Unknown {
    given: String,
    known: &'static [&'static str],
}

impl Format {
    /// The names that [`parse`](Self::parse) takes.
    pub const NAMES: &'static [&'static str] =
        &["aaasvc", "signature_audit", "choria", "mcollective", "v2"];

    /// Reads the setting `format`.
    ///
    /// # Errors
    /// When it is none of [`NAMES`](Self::NAMES).
    pub fn parse(name: &str) -> Result<Self, Unknown> {
        match name {
            "aaasvc" => Ok(Self::Aaasvc),
            "signature_audit" => Ok(Self::SignatureAudit),
            "choria" => Ok(Self::Choria),
            "mcollective" => Ok(Self::Mcollective),
            "v2" => Ok(Self::V2),
            _ => Err(Unknown {
                given: name.to_owned(),
                known: Self::NAMES,
            }),
        }
    }
}

impl RequestEncoding {
    /// The names that [`parse`](Self::parse) takes.
    pub const NAMES: &'static [&'static str] = &["string", "object"];

    /// Reads the setting `request_encoding`.
    ///
    /// # Errors
    /// When it is none of [`NAMES`](Self::NAMES).
    pub fn parse(name: &str) -> Result<Self, Unknown> {
        match name {
            "string" => Ok(Self::String),
            "object" => Ok(Self::Object),
            _ => Err(Unknown {
                given: name.to_owned(),
                known: Self::NAMES,
            }),
        }
    }
}

/// Writes records in one format.
#[derive(Debug, Clone, Default)]
pub struct Formatter {
    /// The format.
    pub format: Format,
    /// How `signature_audit` holds a request; the other formats have one way only.
    pub request_encoding: RequestEncoding,
    /// The service that `v2` names.
    pub instance: Arc<str>,
    /// The inputs that `v2` does not show.
    pub redaction: Arc<Redaction>,
}

impl Formatter {
    /// The record as one line without its line end, and of `v2` without its place in a chain and the last brace; `None` when the format
    /// has no words for this kind of record.
    pub(crate) fn open(&self, record: &Record) -> Option<String> {
        if record.effect == Effect::Failed && self.format != Format::V2 {
            // To the other formats what is allowed is done.
            return None;
        }
        let mut line = String::with_capacity(1536);
        match self.format {
            Format::Aaasvc => aaasvc::write(&mut line, record),
            Format::SignatureAudit => {
                signature_audit::write(&mut line, record, self.request_encoding)?;
            }
            Format::Choria => choria::write(&mut line, record),
            Format::Mcollective => mcollective::write(&mut line, record),
            Format::V2 => v2::write(&mut line, record, &self.instance, &self.redaction),
        }
        Some(line)
    }
}

/// The caller as verified.
fn caller(record: &Record) -> &str {
    record
        .caller
        .as_ref()
        .map_or(UNVERIFIED, |caller| caller.as_str())
}

/// `allow` or `deny`, and `unknown` where it cannot be said what was refused.
fn action(record: &Record) -> &'static str {
    match (&record.subject, &record.outcome) {
        (Subject::Unreadable { .. }, _) => "unknown",
        (_, Outcome::Allowed { .. }) => "allow",
        (_, Outcome::Refused { .. }) => "deny",
    }
}

/// The code of a refusal.
fn reason(record: &Record) -> Option<&'static str> {
    match &record.outcome {
        Outcome::Allowed { .. } => None,
        Outcome::Refused { reason, .. } => Some(reason.as_str()),
    }
}

/// The request with its verified caller, or as it came where nobody was verified.
fn request_text<'a>(record: &Record, request: &'a Request) -> Cow<'a, str> {
    match &record.caller {
        // Requests are UTF-8 when they parse; nothing is replaced here.
        Some(caller) => String::from_utf8_lossy(&request.with_caller(caller))
            .into_owned()
            .into(),
        None => String::from_utf8_lossy(request.bytes()),
    }
}

/// What is said of bytes that are no request, as JSON.
fn unreadable(length: usize, digest: &str) -> String {
    let mut text = format!("{{\"length\":{length},\"sha256\":");
    json::string(&mut text, digest);
    text.push('}');
    text
}

/// A name from a login form, cut to what a name can be: the form takes anything up to the size of a body.
fn username(given: &str) -> Cow<'_, str> {
    const LONGEST: usize = 256;
    match given.char_indices().nth(LONGEST) {
        None => given.into(),
        Some((end, _)) => format!("{}…", given.get(..end).unwrap_or_default()).into(),
    }
}

/// Whether a character may stand in a line as it is. Others move the cursor, end the line, or turn what is read around.
fn is_plain(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_others_are_told_which_there_are() {
        let formats: Result<Vec<_>, _> = Format::NAMES.iter().map(|n| Format::parse(n)).collect();
        assert_eq!(
            formats.unwrap(),
            [
                Format::Aaasvc,
                Format::SignatureAudit,
                Format::Choria,
                Format::Mcollective,
                Format::V2
            ]
        );
        assert_eq!(
            Format::parse("json").unwrap_err().to_string(),
            r#""json" is not one of aaasvc, signature_audit, choria, mcollective, v2"#
        );
        assert_eq!(
            RequestEncoding::parse("object"),
            Ok(RequestEncoding::Object)
        );
        assert_eq!(
            RequestEncoding::parse("string"),
            Ok(RequestEncoding::String)
        );
        assert_eq!(
            RequestEncoding::parse("raw").unwrap_err().to_string(),
            r#""raw" is not one of string, object"#
        );
    }

    #[test]
    fn names_from_outside_are_cut() {
        assert_eq!(username("bob"), "bob");
        assert_eq!(username(&"é".repeat(256)), "é".repeat(256));
        assert_eq!(username(&"é".repeat(300)), format!("{}…", "é".repeat(256)));
    }
}
