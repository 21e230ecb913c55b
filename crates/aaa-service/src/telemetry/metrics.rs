//! Metrics: one recorder for the process, and the names and labels that a site's dashboards know.

use std::fmt::Write as _;
use std::sync::{LazyLock, OnceLock};

use metrics::{counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only goes up.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution: of seconds when its name ends in `_seconds` (with buckets), else a summary.
    Histogram,
}

/// One metric, as the manual and `/metrics` describe it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its full name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels, in the order of the manual.
    pub labels: &'static [&'static str],
    /// What it counts, and its unit.
    pub help: &'static str,
}

/// `1`, with the version that runs.
pub const BUILD_INFO: &str = "choria_aaa_build_info";
/// Logins that failed.
pub const AUTHENTICATOR_ERRORS: &str = "choria_aaa_authenticator_errors";
/// Seconds that logins took.
pub const AUTHENTICATOR_TIME: &str = "choria_aaa_authenticator_time";
/// Requests that could not be signed.
pub const SIGNER_ERRORS: &str = "choria_aaa_signer_errors";
/// Requests that were signed.
pub const SIGNER_ALLOWED: &str = "choria_aaa_signer_allowed";
/// Requests that were refused.
pub const SIGNER_DENIED: &str = "choria_aaa_signer_denied";
/// Requests with a token that is no good.
pub const SIGNER_INVALID_TOKEN: &str = "choria_aaa_signer_invalid_token";
/// Requests that the authorizer allowed.
pub const AUTHORIZER_ALLOWED: &str = "choria_aaa_authorizer_allowed";
/// Requests that the authorizer refused.
pub const AUTHORIZER_DENIED: &str = "choria_aaa_authorizer_denied";
/// Requests that the authorizer could not decide.
pub const AUTHORIZER_ERRORS: &str = "choria_aaa_authorizer_errors";
/// Records that an auditor could not keep.
pub const AUDITOR_ERRORS: &str = "choria_aaa_auditor_errors";
/// Files and settings that changed and could not be taken.
pub const RELOAD_ERRORS: &str = "choria_aaa_reload_errors";
/// Connections that are open.
pub const CONNECTIONS: &str = "choria_aaa_connections";
/// Connections that ended otherwise than by agreement.
pub const CONNECTION_ERRORS: &str = "choria_aaa_connection_errors";
/// When the certificate of the listener ends.
pub const CERTIFICATE_EXPIRY: &str = "choria_aaa_tls_certificate_expiry_timestamp";
/// Answers over HTTP.
pub const RESPONSES: &str = "choria_aaa_http_responses";

const SITE_SIGNER: &[&str] = &["site", "signer"];
const SITE_AUTHORIZER_ACTION: &[&str] = &["site", "authorizer", "action"];

/// The metrics that existing dashboards know, and those of the shell itself.
#[rustfmt::skip]
pub static METRICS: &[Metric] = &[
    metric(BUILD_INFO, MetricKind::Gauge, &["site", "version"], "Build information about the running instance"),
    metric(AUTHENTICATOR_ERRORS, MetricKind::Counter, &["site", "authenticator"], "Total number of authentication requests that failed"),
    metric(AUTHENTICATOR_TIME, MetricKind::Histogram, &["site", "authenticator"], "Time taken to handle logins, in seconds"),
    metric(SIGNER_ERRORS, MetricKind::Counter, SITE_SIGNER, "Total number of requests that could not be signed"),
    metric(SIGNER_ALLOWED, MetricKind::Counter, SITE_SIGNER, "Total number of requests that were allowed by the authorizer"),
    metric(SIGNER_DENIED, MetricKind::Counter, SITE_SIGNER, "Total number of requests that were denied by the authorizer"),
    metric(SIGNER_INVALID_TOKEN, MetricKind::Counter, SITE_SIGNER, "Total number of requests that contained invalid tokens"),
    metric(AUTHORIZER_ALLOWED, MetricKind::Counter, SITE_AUTHORIZER_ACTION, "Total number of requests that were allowed"),
    metric(AUTHORIZER_DENIED, MetricKind::Counter, SITE_AUTHORIZER_ACTION, "Total number of requests that were denied"),
    metric(AUTHORIZER_ERRORS, MetricKind::Counter, &["site", "authorizer"], "Total number of requests that could not be authorized"),
    metric(AUDITOR_ERRORS, MetricKind::Counter, &["site", "auditor"], "Total number of audit requests that failed"),
    metric(RELOAD_ERRORS, MetricKind::Counter, &["site", "what"], "Total number of changed files or settings that could not be taken, so that the old ones go on"),
    metric(CONNECTIONS, MetricKind::Gauge, &["site"], "Connections of clients that are open"),
    metric(CONNECTION_ERRORS, MetricKind::Counter, &["site", "reason"], "Total number of connections that ended otherwise than by agreement"),
    metric(CERTIFICATE_EXPIRY, MetricKind::Gauge, &["site"], "When the certificate of the listener ends, in seconds of the unix epoch"),
    metric(RESPONSES, MetricKind::Counter, &["site", "status"], "Total number of HTTP answers by status; gRPC has its own status inside"),
];

const fn metric(
    name: &'static str,
    kind: MetricKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// From a signature's time to a login's.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// The recorder of this process, put in place by the first call.
///
/// Every service in the process shares it; their `site` labels and their names keep them apart.
pub fn install() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is in place; /metrics will be empty");
        }
        describe(METRICS);
        handle
    })
}

fn builder() -> PrometheusBuilder {
    let builder = PrometheusBuilder::new();
    let seconds = Matcher::Suffix("_seconds".to_owned());
    // Neither list is empty, which is all that can be wrong with one.
    match builder
        .set_quantiles(&[0.5, 0.9, 0.99])
        .and_then(|builder| builder.set_buckets_for_metric(seconds, SECONDS))
    {
        Ok(builder) => builder,
        Err(_) => PrometheusBuilder::new(),
    }
}

/// Gives metrics their help texts.
pub fn describe(metrics: &'static [Metric]) {
    for metric in metrics {
        match metric.kind {
            MetricKind::Counter => metrics::describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
            MetricKind::Histogram => metrics::describe_histogram!(metric.name, metric.help),
        }
    }
}

/// Says which version runs.
pub(crate) fn build_info(site: &str, version: &str) {
    gauge!(BUILD_INFO, "site" => site.to_owned(), "version" => version.to_owned()).set(1.0);
}

/// Says when the listener's certificate ends, in seconds of the unix epoch.
pub(crate) fn certificate_expiry(site: &str, not_after: i64) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of the epoch are far below 2^52"
    )]
    gauge!(CERTIFICATE_EXPIRY, "site" => site.to_owned()).set(not_after as f64);
}

/// Counts something that changed and could not be taken. `what` is a setting's key or a hook's name.
pub fn reload_error(site: &str, what: &str) {
    counter!(RELOAD_ERRORS, "site" => site.to_owned(), "what" => what.to_owned()).increment(1);
}

/// All metrics in Prometheus' text format.
pub(crate) fn render() -> String {
    let mut text = install().render();
    process(&mut text);
    text
}

/// What Prometheus' own client libraries tell of a process, so that common dashboards work.
fn process(text: &mut String) {
    static OWN: LazyLock<bool> =
        LazyLock::new(|| std::path::Path::new("/proc/self/status").exists());
    if !*OWN {
        return;
    }
    if let Some(kilobytes) = resident_kilobytes() {
        let _ = write!(
            text,
            "# HELP process_resident_memory_bytes Resident memory size in bytes.\n\
             # TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes {}\n\n",
            kilobytes.saturating_mul(1024)
        );
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        let _ = write!(
            text,
            "# HELP process_open_fds Number of open file descriptors.\n\
             # TYPE process_open_fds gauge\nprocess_open_fds {}\n",
            open.count()
        );
    }
}

fn resident_kilobytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use metrics::histogram;

    use super::*;

    #[test]
    fn names_and_labels_are_those_of_existing_dashboards() {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe(METRICS);
            build_info("london", "0.1.0");
            histogram!(AUTHENTICATOR_TIME, "site" => "london", "authenticator" => "userlist")
                .record(0.25);
            histogram!("choria_aaa_sign_seconds", "site" => "london").record(0.000_07);
            for metric in METRICS
                .iter()
                .filter(|metric| metric.kind == MetricKind::Counter)
            {
                let labels: Vec<_> = metric.labels.iter().map(|label| (*label, "x")).collect();
                counter!(metric.name, &labels).increment(2);
            }
        });
        let text = handle.render();
        for line in [
            "# TYPE choria_aaa_build_info gauge",
            "choria_aaa_build_info{site=\"london\",version=\"0.1.0\"} 1",
            "# HELP choria_aaa_authenticator_time Time taken to handle logins, in seconds",
            "# TYPE choria_aaa_authenticator_time summary",
            "choria_aaa_authenticator_time_sum{site=\"london\",authenticator=\"userlist\"} 0.25",
            "choria_aaa_authenticator_time_count{site=\"london\",authenticator=\"userlist\"} 1",
            "choria_aaa_authenticator_errors{site=\"x\",authenticator=\"x\"} 2",
            "choria_aaa_signer_errors{site=\"x\",signer=\"x\"} 2",
            "choria_aaa_signer_allowed{site=\"x\",signer=\"x\"} 2",
            "choria_aaa_signer_denied{site=\"x\",signer=\"x\"} 2",
            "choria_aaa_signer_invalid_token{site=\"x\",signer=\"x\"} 2",
            "choria_aaa_authorizer_allowed{site=\"x\",authorizer=\"x\",action=\"x\"} 2",
            "choria_aaa_authorizer_denied{site=\"x\",authorizer=\"x\",action=\"x\"} 2",
            "choria_aaa_authorizer_errors{site=\"x\",authorizer=\"x\"} 2",
            "choria_aaa_auditor_errors{site=\"x\",auditor=\"x\"} 2",
            "# TYPE choria_aaa_sign_seconds histogram",
            "choria_aaa_sign_seconds_bucket{site=\"london\",le=\"0.0001\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("authenticator_time_bucket"));
    }

    #[test]
    fn the_process_tells_its_memory() {
        let mut text = String::new();
        process(&mut text);
        assert!(text.contains("\nprocess_resident_memory_bytes "));
        assert!(text.contains("\nprocess_open_fds "));
    }
}
