//! Inputs that may not stand in a record: left out, or replaced by a code that is the same for the same value.

use std::fmt;

use aaa_core::json::folds_alike;
use aws_lc_rs::hmac;
use serde_json::Value;

use crate::chain::ChainKey;

/// What to do with which inputs. The first rule that fits decides.
#[derive(Clone, Default)]
pub struct Redaction {
    rules: Vec<Rule>,
    key: Option<hmac::Key>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    agent: Option<String>,
    action: Option<String>,
    input: Option<String>,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Drop,
    Code,
}

/// What stands in an input's place.
pub(super) enum Redacted {
    Dropped,
    /// HMAC-SHA-256 over the value as compact JSON, in hexadecimal.
    Code(String),
}

/// A rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not three parts.
    #[error("{0:?} is no agent.action.input, such as \"shell.run.command\" or \"*.*.password\"")]
    Pattern(String),
    /// Not a way to redact.
    #[error("{0:?} is not one of drop, hmac")]
    How(String),
    /// A code without a key is as good as the value, for whoever can guess it.
    #[error("hmac needs chain_key, which the codes are made with")]
    NoKey,
}

impl Redaction {
    /// Reads rules: `agent.action.input`, each of which may be `*`, and `drop` or `hmac`.
    ///
    /// # Errors
    /// The first rule that cannot be used.
    pub fn parse<'a>(
        rules: impl IntoIterator<Item = (&'a str, &'a str)>,
        key: Option<&ChainKey>,
    ) -> Result<Self, RuleError> {
        let rules: Vec<Rule> = rules
            .into_iter()
            .map(|(pattern, how)| Rule::parse(pattern, how))
            .collect::<Result<_, _>>()?;
        if key.is_none() && rules.iter().any(|rule| rule.how == How::Code) {
            return Err(RuleError::NoKey);
        }
        Ok(Self {
            rules,
            key: key.map(ChainKey::redaction),
        })
    }

    /// What stands in the place of an input; `None` when it may be seen.
    pub(super) fn of(
        &self,
        agent: &str,
        action: &str,
        input: &str,
        value: &Value,
    ) -> Option<Redacted> {
        let rule = self
            .rules
            .iter()
            .find(|rule| rule.fits(agent, action, input))?;
        Some(match (rule.how, &self.key) {
            (How::Code, Some(key)) => {
                let code = hmac::sign(key, value.to_string().as_bytes());
                Redacted::Code(hex::encode(code.as_ref()))
            }
            _ => Redacted::Dropped,
        })
    }
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redaction").field(&self.rules).finish()
    }
}

impl Rule {
    fn parse(pattern: &str, how: &str) -> Result<Self, RuleError> {
        let parts: Vec<&str> = pattern.split('.').collect();
        let [agent, action, input] = parts.as_slice() else {
            return Err(RuleError::Pattern(pattern.to_owned()));
        };
        if parts.iter().any(|part| part.is_empty()) {
            return Err(RuleError::Pattern(pattern.to_owned()));
        }
        let part = |text: &str| (text != "*").then(|| text.to_owned());
        Ok(Self {
            agent: part(agent),
            action: part(action),
            input: part(input),
            how: match how {
                "drop" => How::Drop,
                "hmac" => How::Code,
                _ => return Err(RuleError::How(how.to_owned())),
            },
        })
    }

    /// An agent written in Go takes an input in any case, so a secret is one in any case too.
    fn fits(&self, agent: &str, action: &str, input: &str) -> bool {
        let fits = |rule: &Option<String>, name: &str| {
            rule.as_ref().is_none_or(|rule| folds_alike(rule, name))
        };
        fits(&self.agent, agent) && fits(&self.action, action) && fits(&self.input, input)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> ChainKey {
        ChainKey::parse(&"01".repeat(32)).unwrap()
    }

    fn shown(redaction: &Redaction, agent: &str, input: &str) -> String {
        match redaction.of(agent, "run", input, &json!("hunter2")) {
            None => "seen".to_owned(),
            Some(Redacted::Dropped) => "dropped".to_owned(),
            Some(Redacted::Code(code)) => code,
        }
    }

    #[test]
    fn the_first_rule_that_fits_decides_in_any_case() {
        let rules = [("shell.*.password", "hmac"), ("*.*.password", "drop")];
        let redaction = Redaction::parse(rules, Some(&key())).unwrap();
        assert_eq!(shown(&redaction, "package", "password"), "dropped");
        assert_eq!(shown(&redaction, "package", "PassWord"), "dropped");
        assert_eq!(shown(&redaction, "package", "pa\u{17f}sword"), "dropped");
        assert_eq!(shown(&redaction, "package", "user"), "seen");
        let code = shown(&redaction, "shell", "password");
        assert_eq!(code.len(), 64);
        assert_eq!(code, shown(&redaction, "shell", "password"));
        let other = ChainKey::parse(&"02".repeat(32)).unwrap();
        let other = Redaction::parse(rules, Some(&other)).unwrap();
        assert_ne!(code, shown(&other, "shell", "password"));
    }

    #[test]
    fn rules_that_cannot_be_used_are_told() {
        for pattern in ["password", "a.b", "a.b.c.d", "a..c", ""] {
            let error = Redaction::parse([(pattern, "drop")], None).unwrap_err();
            assert_eq!(error, RuleError::Pattern(pattern.to_owned()));
        }
        let error = Redaction::parse([("*.*.a", "hide")], None).unwrap_err();
        assert_eq!(error.to_string(), r#""hide" is not one of drop, hmac"#);
        let error = Redaction::parse([("*.*.a", "hmac")], None).unwrap_err();
        assert_eq!(error, RuleError::NoKey);
    }
}
