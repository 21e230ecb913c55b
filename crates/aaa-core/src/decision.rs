//! What was decided, and why: by policy, and by the road of a request as a whole.

use std::borrow::Cow;

/// What one authorizer says about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow {
        /// The rule that allows it, such as `rpcutil.*` or `opa_policy allow`.
        rule: Cow<'static, str>,
    },
    /// It may not.
    Deny {
        /// The rule that decided, or that none allows it.
        rule: Cow<'static, str>,
        /// What is missing, for a caller in good standing: `needs a fact filter such as country=mt`.
        hint: Option<String>,
    },
    /// The rules cannot be applied, so it may not.
    Failed {
        /// What is wrong with them, for a caller in good standing and for the log.
        problem: String,
    },
}

impl Decision {
    /// A decision to allow.
    pub fn allow(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Allow { rule: rule.into() }
    }

    /// A decision to deny, without more to say.
    pub fn deny(rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Deny {
            rule: rule.into(),
            hint: None,
        }
    }

    /// Rules that cannot be applied.
    pub fn failed(problem: impl Into<String>) -> Self {
        Self::Failed {
            problem: problem.into(),
        }
    }

    /// Whether it may. The only reading of a decision that lets anything through.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// What a caller in good standing is told after `up=bob may not puppet.disable`: the hint, or the rule.
    pub fn explanation(&self) -> Option<&str> {
        match self {
            Self::Allow { .. } => None,
            Self::Deny {
                hint: Some(hint), ..
            } => Some(hint),
            Self::Deny { rule, hint: None } => Some(rule),
            Self::Failed { problem } => Some(problem),
        }
    }
}

/// Why a request was refused, as a code for records and metrics. The set is closed: nothing from outside gets into a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Not a request that can be read one way only.
    MalformedRequest,
    /// No token, or one that no trusted issuer made, or not valid now.
    InvalidToken,
    /// No signature where one is needed.
    MissingSignature,
    /// The request was not signed by the token's key.
    InvalidSignature,
    /// Too far ahead, past its ttl, or with a ttl too long.
    Untimely,
    /// A version of the protocol that this signer has no key for.
    UnsupportedVersion,
    /// Policy says no.
    NotAuthorized,
    /// Policy cannot be applied.
    PolicyFailed,
    /// Wrong name or password, or a login that does not prove its key.
    LoginRefused,
    /// Something of ours broke.
    Internal,
}

impl Reason {
    /// The code, in records and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed_request",
            Self::InvalidToken => "invalid_token",
            Self::MissingSignature => "missing_signature",
            Self::InvalidSignature => "invalid_signature",
            Self::Untimely => "untimely",
            Self::UnsupportedVersion => "unsupported_version",
            Self::NotAuthorized => "not_authorized",
            Self::PolicyFailed => "policy_failed",
            Self::LoginRefused => "login_refused",
            Self::Internal => "internal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allow_allows() {
        assert!(Decision::allow("*").is_allowed());
        assert!(!Decision::deny("default").is_allowed());
        assert!(!Decision::failed("broken").is_allowed());
    }

    #[test]
    fn a_denial_says_what_is_missing_before_which_rule() {
        let hint = Some("needs a filter".to_owned());
        let denial = Decision::Deny {
            rule: "allow".into(),
            hint,
        };
        assert_eq!(denial.explanation(), Some("needs a filter"));
        assert_eq!(
            Decision::deny("not in the list").explanation(),
            Some("not in the list")
        );
        assert_eq!(Decision::allow("*").explanation(), None);
    }
}
