//! Tokens in words: whose, from whom, until when, for what.

use std::time::Duration;

use aaa_core::claims::{ClientClaims, Standard};
use aaa_core::duration;
use aaa_core::token::{CHAIN_ISSUER_PREFIX, ORGANIZATION_ISSUER_PREFIX};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::screen::printable;

/// Who issued a token, by its own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Issuer {
    /// A login service that the organization issuer lets issue.
    Chain {
        /// The id of the login service's own token.
        id: String,
        /// Its public key.
        public_key: String,
    },
    /// The organization issuer itself.
    Organization {
        /// Its public key.
        public_key: String,
    },
    /// One whom signers know by its key.
    Authenticator {
        /// How it calls itself.
        name: String,
    },
}

impl Issuer {
    /// Who issued this token.
    pub(crate) fn of(standard: &Standard) -> Self {
        let iss = printable(&standard.iss);
        if let Some(rest) = iss.strip_prefix(CHAIN_ISSUER_PREFIX)
            && let Some((id, key)) = rest.split_once('.')
        {
            return Self::Chain {
                id: id.to_owned(),
                public_key: key.to_owned(),
            };
        }
        match iss.strip_prefix(ORGANIZATION_ISSUER_PREFIX) {
            Some(key) => Self::Organization {
                public_key: key.to_owned(),
            },
            None => Self::Authenticator { name: iss },
        }
    }

    /// The issuer in a few words.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Chain { id, .. } => format!("login chain {}…", head(id)),
            Self::Organization { public_key } => {
                format!("organization issuer {}…", head(public_key))
            }
            Self::Authenticator { name } if name.is_empty() => "nobody named".to_owned(),
            Self::Authenticator { name } => name.clone(),
        }
    }
}

/// The beginning of an id, enough to tell it from others.
fn head(id: &str) -> String {
    id.chars().take(9).collect()
}

/// How long a token is still valid: `expires in 58 min`, `expired 2 h 5 min ago`, `never expires`.
pub(crate) fn expiry(standard: &Standard, now: Timestamp) -> String {
    let Some(end) = standard.expires() else {
        return "never expires".to_owned();
    };
    let left = end.saturating_sub(now.as_second());
    if left > 0 {
        format!("expires in {}", roughly(left))
    } else {
        format!("expired {} ago", roughly(-left))
    }
}

/// A number of seconds as people say it; from a minute on without seconds.
pub(crate) fn roughly(seconds: i64) -> String {
    let seconds = seconds.max(0).unsigned_abs();
    let shown = if seconds < 60 {
        seconds
    } else {
        seconds - seconds % 60
    };
    match shown {
        0 => "0 s".to_owned(),
        _ => duration::human(Duration::from_secs(shown)),
    }
}

/// A second of the unix epoch on the clock of the reader: the hour when it is within a day, else the date too.
pub(crate) fn clock(second: i64, now: Timestamp) -> String {
    let Ok(time) = Timestamp::from_second(second) else {
        return format!("second {second}");
    };
    let near = second.saturating_sub(now.as_second()).abs() < 86_400;
    let zoned = time.to_zoned(TimeZone::system());
    zoned
        .strftime(if near { "%H:%M" } else { "%Y-%m-%d %H:%M" })
        .to_string()
}

/// A second of the unix epoch in RFC 3339, for programs.
pub(crate) fn rfc3339(second: i64) -> Option<String> {
    Timestamp::from_second(second)
        .ok()
        .map(|time| time.to_string())
}

/// What the bearer may ask for: the action list, and the policy.
pub(crate) fn may(claims: &ClientClaims) -> String {
    let mut parts = Vec::new();
    if !claims.agents.is_empty() {
        parts.push(printable(&claims.agents.join(", ")));
    }
    if !claims.opa_policy.is_empty() {
        parts.push(policy(&claims.opa_policy));
    }
    if parts.is_empty() {
        "nothing: no action list and no policy".to_owned()
    } else {
        parts.join("; ")
    }
}

/// A policy in a few words; a comment on its first line is its name.
fn policy(text: &str) -> String {
    let lines = text.lines().count();
    let noun = if lines == 1 { "line" } else { "lines" };
    let name = text
        .trim_start()
        .strip_prefix('#')
        .and_then(|rest| rest.lines().next())
        .map(|name| printable(name.trim()))
        .filter(|name| !name.is_empty());
    match name {
        Some(name) => format!("policy \"{name}\" (opa, {lines} {noun})"),
        None => format!("policy (opa, {lines} {noun})"),
    }
}

/// The rights on the network.
pub(crate) fn broker(claims: &ClientClaims) -> String {
    let given = claims.permissions().given();
    if given.is_empty() {
        "none".to_owned()
    } else {
        given.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standard(iss: &str, exp: Option<i64>) -> Standard {
        Standard {
            iss: iss.to_owned(),
            exp,
            ..Standard::default()
        }
    }

    #[test]
    fn issuers_in_words() {
        let words = |iss: &str| Issuer::of(&standard(iss, None)).words();
        assert_eq!(words("C-3MSaLwgbPQ8x.abcdef"), "login chain 3MSaLwgbP…");
        assert_eq!(words("I-54dad2ab80b6"), "organization issuer 54dad2ab8…");
        assert_eq!(
            words("Choria Userlist Authenticator"),
            "Choria Userlist Authenticator"
        );
        assert_eq!(words("C-nodot"), "C-nodot");
        assert_eq!(words("a\x1b[2J"), "a [2J");
        assert_eq!(words(""), "nobody named");
    }

    #[test]
    fn expiries_in_words() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let words = |end| expiry(&standard("", end), now);
        assert_eq!(words(Some(1_000_000 + 3_541)), "expires in 59 min");
        assert_eq!(words(Some(1_000_000 + 3_600)), "expires in 1 h");
        assert_eq!(words(Some(1_000_000 + 12)), "expires in 12 s");
        assert_eq!(words(Some(1_000_000)), "expired 0 s ago");
        assert_eq!(words(Some(1_000_000 - 90)), "expired 1 min ago");
        assert_eq!(words(None), "never expires");
    }

    #[test]
    fn policies_in_words() {
        assert_eq!(
            policy("# frontend\npackage x\n"),
            "policy \"frontend\" (opa, 2 lines)"
        );
        assert_eq!(policy("package x"), "policy (opa, 1 line)");
        let claims = ClientClaims {
            agents: vec!["puppet.status".into(), "puppet.enable".into()],
            opa_policy: "package x".into(),
            ..ClientClaims::default()
        };
        assert_eq!(
            may(&claims),
            "puppet.status, puppet.enable; policy (opa, 1 line)"
        );
        assert_eq!(
            may(&ClientClaims::default()),
            "nothing: no action list and no policy"
        );
    }
}
