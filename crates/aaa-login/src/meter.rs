//! What is counted about logins.

use std::sync::Arc;
use std::time::Duration;

use aaa_service::telemetry::metrics::{
    AUTHENTICATOR_ERRORS, AUTHENTICATOR_TIME, Metric, MetricKind, describe,
};
use metrics::{counter, gauge, histogram};

/// Logins by what came of them.
pub const LOGINS: &str = "choria_aaa_logins";
/// Seconds that logins took, in buckets.
pub const LOGIN_SECONDS: &str = "choria_aaa_login_seconds";
/// Logins that had to wait, by what for: `account` or `address`.
pub const LOGIN_THROTTLED: &str = "choria_aaa_login_throttled";
/// Calls to an Okta tenant.
pub const OKTA_CALLS: &str = "choria_aaa_okta_calls";
/// Seconds that they took.
pub const OKTA_SECONDS: &str = "choria_aaa_okta_seconds";
/// Seconds until the right to issue tokens ends.
pub const SIGNING_TOKEN_EXPIRY: &str = "choria_aaa_signing_token_expiry_seconds";
/// Users who can log in.
pub const USERS: &str = "choria_aaa_users";

/// The metrics of logins beyond those that existing dashboards know.
pub static METRICS: &[Metric] = &[
    Metric {
        name: LOGINS,
        kind: MetricKind::Counter,
        labels: &["site", "authenticator", "outcome", "reason"],
        help: "Total number of logins: granted, refused, or failed for a reason of the service's own",
    },
    Metric {
        name: LOGIN_SECONDS,
        kind: MetricKind::Histogram,
        labels: &["site", "authenticator", "outcome"],
        help: "Time that logins took, the wait for their turn included, in seconds",
    },
    Metric {
        name: LOGIN_THROTTLED,
        kind: MetricKind::Counter,
        labels: &["site", "by"],
        help: "Total number of logins that were turned away after failures under the same name (account) or from the same address",
    },
    Metric {
        name: OKTA_CALLS,
        kind: MetricKind::Counter,
        labels: &["site", "call", "outcome"],
        help: "Total number of calls to the Okta tenant: answered, or why not (timeout, unreachable, rate_limited, credentials, setup, failed, unexpected)",
    },
    Metric {
        name: OKTA_SECONDS,
        kind: MetricKind::Histogram,
        labels: &["site", "call"],
        help: "Time that calls to the Okta tenant took, a second try included, in seconds",
    },
    Metric {
        name: SIGNING_TOKEN_EXPIRY,
        kind: MetricKind::Gauge,
        labels: &["site"],
        help: "Seconds until signing_token ends, and with it all logins",
    },
    Metric {
        name: USERS,
        kind: MetricKind::Gauge,
        labels: &["site", "authenticator"],
        help: "Users who can log in",
    },
];

/// Counts the logins of one site.
#[derive(Clone)]
pub(crate) struct Meter {
    site: Arc<str>,
}

/// What came of a login, as labels: `outcome` and `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A token was given.
    Granted,
    /// Somebody was not let in.
    Refused(&'static str),
    /// It was not decided.
    Failed(&'static str),
}

impl Meter {
    pub(crate) fn new(site: Arc<str>) -> Self {
        describe(METRICS);
        Self { site }
    }

    /// Counts a login that ended, and the time it took.
    pub(crate) fn login(&self, authenticator: &'static str, ending: Ending, took: Duration) {
        let (outcome, reason) = match ending {
            Ending::Granted => ("granted", ""),
            Ending::Refused(reason) => ("refused", reason),
            Ending::Failed(reason) => ("failed", reason),
        };
        let site = || self.site.to_string();
        if ending != Ending::Granted {
            counter!(AUTHENTICATOR_ERRORS, "site" => site(), "authenticator" => authenticator)
                .increment(1);
        }
        counter!(LOGINS, "site" => site(), "authenticator" => authenticator, "outcome" => outcome, "reason" => reason)
            .increment(1);
        histogram!(AUTHENTICATOR_TIME, "site" => site(), "authenticator" => authenticator)
            .record(took);
        histogram!(LOGIN_SECONDS, "site" => site(), "authenticator" => authenticator, "outcome" => outcome)
            .record(took);
    }

    /// Counts a login that was turned away before anybody was asked.
    pub(crate) fn throttled(&self, by: &'static str) {
        counter!(LOGIN_THROTTLED, "site" => self.site.to_string(), "by" => by).increment(1);
    }

    /// Counts a call to an Okta tenant, and the time it took.
    pub(crate) fn okta(&self, call: &'static str, outcome: &'static str, took: Duration) {
        counter!(OKTA_CALLS, "site" => self.site.to_string(), "call" => call, "outcome" => outcome)
            .increment(1);
        histogram!(OKTA_SECONDS, "site" => self.site.to_string(), "call" => call).record(took);
    }

    /// Says how long tokens can still be issued.
    pub(crate) fn signing_token(&self, seconds_left: i64) {
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds until a date are far below 2^52"
        )]
        gauge!(SIGNING_TOKEN_EXPIRY, "site" => self.site.to_string()).set(seconds_left as f64);
    }

    /// Says how many users there are.
    pub(crate) fn users(&self, authenticator: &'static str, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        gauge!(USERS, "site" => self.site.to_string(), "authenticator" => authenticator).set(count);
    }
}
