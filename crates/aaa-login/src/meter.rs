//! What is counted about logins.

use std::sync::Arc;
use std::time::Duration;

use aaa_api::error::Cause;
use aaa_service::telemetry::metrics::{
    AUTHENTICATOR_ERRORS, AUTHENTICATOR_TIME, Metric, MetricKind, describe,
};
use metrics::{counter, gauge, histogram};

use crate::authenticator::Reason;

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
        help: "Total number of logins: granted, refused, throttled, or failed for a reason of the service's own",
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
    /// Somebody who had guessed was turned away before anybody was asked.
    Throttled,
    /// It was not decided.
    Failed(&'static str),
}

impl Ending {
    const fn labels(self) -> (&'static str, &'static str) {
        match self {
            Self::Granted => ("granted", ""),
            Self::Refused(reason) => ("refused", reason),
            Self::Throttled => ("throttled", Cause::TooManyRequests.label()),
            Self::Failed(reason) => ("failed", reason),
        }
    }

    /// All that there are.
    fn all() -> impl Iterator<Item = Self> {
        let refused = Reason::ALL.map(Reason::label);
        let refused = refused.into_iter().chain([Cause::Malformed.label()]);
        let failed = [Cause::Busy, Cause::Internal].map(Cause::label);
        [Self::Granted, Self::Throttled]
            .into_iter()
            .chain(refused.map(Self::Refused))
            .chain(failed.map(Self::Failed))
    }
}

impl Meter {
    pub(crate) fn new(site: Arc<str>) -> Self {
        describe(METRICS);
        Self { site }
    }

    /// Begins the counters of an authenticator at zero, so that their first count is seen as one.
    pub(crate) fn begin(&self, authenticator: &'static str) {
        let site = || self.site.to_string();
        counter!(AUTHENTICATOR_ERRORS, "site" => site(), "authenticator" => authenticator)
            .increment(0);
        for (outcome, reason) in Ending::all().map(Ending::labels) {
            counter!(LOGINS, "site" => site(), "authenticator" => authenticator, "outcome" => outcome, "reason" => reason)
                .increment(0);
        }
    }

    /// The same for what is held back.
    pub(crate) fn begin_throttle(&self, by: impl IntoIterator<Item = &'static str>) {
        for by in by {
            counter!(LOGIN_THROTTLED, "site" => self.site.to_string(), "by" => by).increment(0);
        }
    }

    /// The same for the calls to an Okta tenant.
    pub(crate) fn begin_okta(&self, calls: &[&'static str], outcomes: &[&'static str]) {
        for (call, outcome) in calls
            .iter()
            .flat_map(|call| outcomes.iter().map(move |outcome| (*call, *outcome)))
        {
            counter!(OKTA_CALLS, "site" => self.site.to_string(), "call" => call, "outcome" => outcome)
                .increment(0);
        }
    }

    /// Counts a login that ended, and the time it took.
    pub(crate) fn login(&self, authenticator: &'static str, ending: Ending, took: Duration) {
        let (outcome, reason) = ending.labels();
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

#[cfg(test)]
mod tests {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    #[test]
    fn all_that_can_come_of_a_login_is_there_from_the_start() {
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || Meter::new("test".into()).begin("userlist"));
        let mut seen: Vec<String> = recorder
            .snapshotter()
            .snapshot()
            .into_vec()
            .into_iter()
            .filter(|(key, ..)| key.key().name() == LOGINS)
            .map(|(key, _, _, value)| {
                assert_eq!(value, DebugValue::Counter(0));
                let labels = key.key().labels().skip(2);
                labels
                    .map(metrics::Label::value)
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        seen.sort();
        let refused = Reason::ALL.map(|reason| format!("refused {}", reason.label()));
        let mut expected = refused.to_vec();
        let others = [
            "failed busy",
            "failed internal",
            "granted ",
            "refused malformed",
            "throttled too_many_requests",
        ];
        expected.extend(others.map(str::to_owned));
        expected.sort();
        assert_eq!(seen, expected);
    }
}
