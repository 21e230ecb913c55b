//! The promise: a record is kept by every required auditor, or nobody gets a receipt for it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aaa_core::audit::Record;
use futures_util::future::join_all;
use metrics::{Counter, Histogram};

use crate::log::LogSink;
use crate::sink::{Sink, SinkError, Stored};

/// Whether a record must be kept by an auditor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Nothing is answered without it.
    #[default]
    Required,
    /// Its failures are logged and counted, and the answer is given all the same.
    BestEffort,
}

/// An auditor as configured: a sink, and how much its word counts.
pub struct Auditor {
    /// Where it keeps records.
    pub sink: Arc<dyn Sink>,
    /// Whether it must.
    pub delivery: Delivery,
    /// How long it is waited for.
    pub timeout: Duration,
}

/// Where all records of a service go.
pub struct Trail {
    stations: Vec<Station>,
}

/// The receipt for a record that is kept: only [`Trail::record`] gives it, once for each record.
#[derive(Debug)]
pub struct Recorded {
    record: Arc<Record>,
}

/// What auditors failed to do. For the log: a caller is told nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// A record is not kept where it must be.
    #[error("the audit record is not kept: {}", list(.0))]
    NotKept(Vec<Failure>),
    /// What was moved away could not be opened anew, so it is still written to.
    #[error("the audit trail is not reopened: {}", list(.0))]
    NotReopened(Vec<Failure>),
}

/// One auditor that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub auditor: String,
    /// What went wrong.
    pub error: SinkError,
}

impl Trail {
    /// A trail for a site. Without auditors, its records go to the service's own log, and it says so.
    ///
    /// Metrics are those of the recorder that is installed now.
    pub fn new(site: &str, auditors: Vec<Auditor>) -> Self {
        describe();
        let mut auditors = auditors;
        if auditors.is_empty() {
            tracing::warn!(
                "no auditor is configured: what is decided is on record in this log only (setting: auditors)"
            );
            auditors.push(Auditor {
                sink: Arc::new(LogSink),
                delivery: Delivery::Required,
                timeout: Duration::from_secs(1),
            });
        }
        let stations = auditors
            .into_iter()
            .map(|auditor| Station::new(site, auditor))
            .collect();
        Self { stations }
    }

    /// Gives a record to every auditor, all at once, and waits for each no longer than its limit.
    ///
    /// A record that none of them keeps, because none has words for it or all failed and need not have succeeded, goes to the service's log.
    ///
    /// # Errors
    /// When a required auditor has not kept it. The others may have: a record without its deed is harmless.
    pub async fn record(&self, record: Arc<Record>) -> Result<Recorded, AuditError> {
        let outcomes = match self.stations.as_slice() {
            [only] => vec![only.write(&record).await],
            all => join_all(all.iter().map(|station| station.write(&record))).await,
        };
        let kept = outcomes.contains(&Ok(Stored::Kept));
        let failures: Vec<Failure> = self
            .stations
            .iter()
            .zip(outcomes)
            .filter(|(station, _)| station.delivery == Delivery::Required)
            .filter_map(|(station, outcome)| Some(station.failure(outcome.err()?)))
            .collect();
        if !failures.is_empty() {
            return Err(AuditError::NotKept(failures));
        }
        if !kept {
            LogSink::log(&record);
        }
        Ok(Recorded { record })
    }

    /// Has every auditor reopen what it writes to, after a rotation.
    ///
    /// # Errors
    /// Which could not; they go on with what they have.
    pub fn reopen(&self) -> Result<(), AuditError> {
        let failures: Vec<Failure> = self
            .stations
            .iter()
            .filter_map(|station| Some(station.failure(station.sink.reopen().err()?)))
            .collect();
        if failures.is_empty() {
            Ok(())
        } else {
            Err(AuditError::NotReopened(failures))
        }
    }

    /// Has every auditor keep what it still holds, and refuse what comes after.
    pub async fn close(&self) {
        join_all(self.stations.iter().map(|station| station.sink.close())).await;
    }
}

impl Recorded {
    /// What is on record.
    pub fn record(&self) -> &Arc<Record> {
        &self.record
    }
}

/// An auditor at work.
struct Station {
    sink: Arc<dyn Sink>,
    delivery: Delivery,
    timeout: Duration,
    errors: Counter,
    time: Histogram,
    /// Failures since it last worked. The log tells of the first, and of how many there were when it works again.
    failing: AtomicU64,
}

impl Station {
    fn new(site: &str, auditor: Auditor) -> Self {
        let labels = [
            ("site", site.to_owned()),
            ("auditor", auditor.sink.name().to_owned()),
        ];
        Self {
            errors: metrics::counter!(ERRORS, &labels),
            time: metrics::histogram!(TIME, &labels),
            sink: auditor.sink,
            delivery: auditor.delivery,
            timeout: auditor.timeout,
            failing: AtomicU64::new(0),
        }
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        let begin = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, self.sink.write(record))
            .await
            .unwrap_or(Err(SinkError::TimedOut(self.timeout)));
        self.time.record(begin.elapsed().as_secs_f64());
        match &outcome {
            Ok(_) => self.worked(),
            Err(error) => self.failed(error),
        }
        outcome
    }

    fn worked(&self) {
        // Reading first leaves the line that all cores share alone as long as nothing fails.
        if self.failing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let failures = self.failing.swap(0, Ordering::Relaxed);
        if failures > 0 {
            let auditor = self.sink.name();
            tracing::info!(auditor, failures, "the auditor works again");
        }
    }

    fn failed(&self, error: &SinkError) {
        self.errors.increment(1);
        if self.failing.fetch_add(1, Ordering::Relaxed) == 0 {
            let auditor = self.sink.name();
            match self.delivery {
                Delivery::Required => tracing::error!(
                    auditor, %error,
                    "the auditor fails: nothing is signed or let in until it works again"
                ),
                Delivery::BestEffort => tracing::error!(
                    auditor, %error,
                    "the auditor fails: records are missing from it until it works again"
                ),
            }
        }
    }

    fn failure(&self, error: SinkError) -> Failure {
        Failure {
            auditor: self.sink.name().to_owned(),
            error,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "auditor {}: {}", self.auditor, self.error)
    }
}

fn list(failures: &[Failure]) -> String {
    let texts: Vec<String> = failures.iter().map(Failure::to_string).collect();
    texts.join("; ")
}

const ERRORS: &str = "choria_aaa_auditor_errors";
const TIME: &str = "choria_aaa_auditor_time_seconds";

fn describe() {
    metrics::describe_counter!(ERRORS, "Records that an auditor failed to keep");
    metrics::describe_histogram!(
        TIME,
        metrics::Unit::Seconds,
        "Time until an auditor has kept a record, or failed to"
    );
}
