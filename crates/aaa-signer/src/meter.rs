//! What a signer counts, by the names that existing dashboards read, and times beside them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aaa_core::decision::{Decision, Reason};
use metrics::{Counter, Histogram, counter, histogram};

/// The signer's name in labels: the reference has only this one.
pub const SIGNER: &str = "basicjwt";

/// Distinct `agent.action` labels at most. They come from callers, and each is a series for ever.
const ACTION_LABELS: usize = 1_000;
/// The label of the rest.
const OTHER: &str = "other";

/// Counters and histograms of one signer; handles are made once.
pub struct Meter {
    site: Arc<str>,
    allowed: Counter,
    denied: Counter,
    errors: Counter,
    invalid_token: Counter,
    verification: Histogram,
    policy: Histogram,
    signing: Histogram,
    actions: Mutex<HashSet<String>>,
}

impl Meter {
    /// Counters for a site, on the recorder in place.
    pub fn new(site: &Arc<str>) -> Self {
        let one =
            |name: &'static str| counter!(name, "site" => site.to_string(), "signer" => SIGNER);
        let time = |name: &'static str| histogram!(name, "site" => site.to_string());
        Self {
            allowed: one("choria_aaa_signer_allowed"),
            denied: one("choria_aaa_signer_denied"),
            errors: one("choria_aaa_signer_errors"),
            invalid_token: one("choria_aaa_signer_invalid_token"),
            verification: time("choria_aaa_verification_seconds"),
            policy: time("choria_aaa_policy_seconds"),
            signing: time("choria_aaa_signing_seconds"),
            site: Arc::clone(site),
            actions: Mutex::default(),
        }
    }

    /// A token and a request's signature were verified.
    pub fn verified(&self, took: Duration) {
        self.verification.record(took);
    }

    /// Policy was asked.
    pub fn authorized(&self, took: Duration) {
        self.policy.record(took);
    }

    /// A request was signed.
    pub fn signed(&self, took: Duration) {
        self.allowed.increment(1);
        self.signing.record(took);
    }

    /// A request was refused. The reference counts every refusal as an error too.
    pub fn denied(&self, reason: Reason) {
        self.denied.increment(1);
        self.errors.increment(1);
        if reason == Reason::InvalidToken {
            self.invalid_token.increment(1);
        }
        counter!("choria_aaa_signer_refusals", "site" => self.site.to_string(), "reason" => reason.as_str())
            .increment(1);
    }

    /// Something of ours kept a request from being signed.
    pub fn failed(&self) {
        self.errors.increment(1);
    }

    /// An authorizer decided about an action.
    pub fn decided(&self, authorizer: &'static str, action: &str, decision: &Decision) {
        let site = self.site.to_string();
        let name = if decision.is_allowed() {
            "choria_aaa_authorizer_allowed"
        } else {
            "choria_aaa_authorizer_denied"
        };
        let action = self.action_label(action);
        counter!(name, "site" => site.clone(), "authorizer" => authorizer, "action" => action)
            .increment(1);
        if matches!(decision, Decision::Failed { .. }) {
            counter!("choria_aaa_authorizer_errors", "site" => site, "authorizer" => authorizer)
                .increment(1);
        }
    }

    /// The action as a label, for as many as there is room.
    fn action_label(&self, action: &str) -> String {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        if !actions.contains(action) {
            let plain = action.bytes().all(|b| b.is_ascii_graphic());
            if !plain || action.len() > 128 || actions.len() >= ACTION_LABELS {
                return OTHER.to_owned();
            }
            actions.insert(action.to_owned());
        }
        action.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_cannot_make_series_without_end() {
        let meter = Meter::new(&Arc::from("london"));
        assert_eq!(meter.action_label("puppet.status"), "puppet.status");
        assert_eq!(meter.action_label("a\nb"), OTHER);
        assert_eq!(meter.action_label(&"x".repeat(129)), OTHER);
        for n in 0..ACTION_LABELS {
            meter.action_label(&format!("agent.action{n}"));
        }
        assert_eq!(meter.action_label("one.more"), OTHER);
        assert_eq!(meter.action_label("puppet.status"), "puppet.status");
    }
}
