//! Whose certificate is it? As a node of Choria sees it: by its DNS names, of which one is the common name too.

use std::sync::LazyLock;

use regex::Regex;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Names of certificates that may speak for others. Dots stand for anything and case for nothing, so that no spelling which
/// somebody else reads as such a name is taken for another.
static PRIVILEGED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?i).privileged.(mcollective|choria)\.?$").ok());

/// The longest name, in bytes: that of DNS.
const LIMIT: usize = 253;

/// The name of whoever holds a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certname(String);

/// Why a certificate has none, with what it has instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// It may speak for others.
    Privileged(String),
    /// No single common name, one that is none of its DNS names, or one that cannot be a certname.
    Unfit(Option<String>),
}

impl Certname {
    /// Reads it from a certificate (DER).
    pub(super) fn of(der: &[u8]) -> Result<Self, Unnamed> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Unnamed::Unfit(None))?;
        let common: Vec<&str> = certificate
            .subject()
            .iter_common_name()
            .map(|name| name.as_str().unwrap_or_default())
            .collect();
        let alternative = certificate.subject_alternative_name();
        let alternative = alternative.map_err(|_| Unnamed::Unfit(None))?;
        let dns: Vec<&str> = alternative
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(*name),
                _ => None,
            })
            .collect();
        if let Some(name) = common.iter().chain(&dns).find(|name| is_privileged(name)) {
            return Err(Unnamed::Privileged((*name).to_owned()));
        }
        match common.as_slice() {
            [name] if dns.contains(name) && is_certname(name) => Ok(Self((*name).to_owned())),
            names => Err(Unnamed::Unfit(names.first().map(|&name| name.to_owned()))),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

fn is_privileged(name: &str) -> bool {
    // Without the pattern nobody is let in.
    PRIVILEGED
        .as_ref()
        .is_none_or(|pattern| pattern.is_match(name))
}

/// Whether this can be the name of a certificate, and stand in a caller id, a subject and a file name.
pub(super) fn is_certname(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c);
    !name.is_empty()
        && name.len() <= LIMIT
        && name.bytes().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
        && !name.contains("..")
}
