//! The promise: a record is kept by every required auditor, or nobody gets a receipt for it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aaa_core::audit::Record;
use futures_util::future::join_all;
use metrics::{Counter, Gauge, Histogram};

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
    on_health: Health,
}

impl Auditor {
    /// An auditor whose health nobody asks for.
    pub fn new(sink: Arc<dyn Sink>, delivery: Delivery, timeout: Duration) -> Self {
        Self {
            sink,
            delivery,
            timeout,
            on_health: Arc::new(|_| ()),
        }
    }

    /// The same; if it is required, this hears what is wrong when it keeps no records, and `None` when it does again.
    #[must_use]
    pub fn heard_by(self, on_health: Health) -> Self {
        Self { on_health, ..self }
    }
}

/// Hears what is wrong, or that nothing is.
pub type Health = Arc<dyn Fn(Option<&SinkError>) + Send + Sync>;

/// How long after a failure an auditor is asked whether it works, and how often again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Where all records of a service go.
pub struct Trail {
    stations: Vec<Arc<Station>>,
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
    /// A trail for a site.
    ///
    /// Metrics are those of the recorder that is installed now.
    pub fn new(site: &str, auditors: Vec<Auditor>) -> Self {
        describe();
        let stations = auditors
            .into_iter()
            .map(|auditor| Arc::new(Station::new(site, auditor)))
            .collect();
        Self { stations }
    }

    /// Gives a record to every auditor, all at once, and waits for each no longer than its limit.
    ///
    /// A record that none of them keeps, because none has words for it or all failed and need not have succeeded, goes to the service's log.
    ///
    /// # Errors
    /// When a required auditor has not kept it, or the log not what no auditor kept. The others may have: a record without its deed is harmless.
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
            LogSink::log(&record).map_err(|error| {
                let auditor = LogSink::NAME.to_owned();
                AuditError::NotKept(vec![Failure { auditor, error }])
            })?;
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
    /// Of a required auditor: whether it keeps no records.
    alarm: Option<Gauge>,
    on_health: Health,
    /// Failures since it last worked. The log tells of the first, and of how many there were when it works again.
    failing: AtomicU64,
    /// Whoever tells of that has this, so that the last word is the true one.
    telling: Mutex<()>,
    /// Whether somebody asks whether it works again.
    watched: AtomicBool,
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
            alarm: (auditor.delivery == Delivery::Required)
                .then(|| metrics::gauge!(ALARM, &labels)),
            on_health: auditor.on_health,
            failing: AtomicU64::new(0),
            telling: Mutex::new(()),
            watched: AtomicBool::new(false),
        }
    }

    async fn write(self: &Arc<Self>, record: &Arc<Record>) -> Result<Stored, SinkError> {
        let begin = Instant::now();
        let outcome = tokio::time::timeout(self.timeout, self.sink.write(record))
            .await
            .unwrap_or(Err(SinkError::TimedOut(self.timeout)));
        self.time.record(begin.elapsed().as_secs_f64());
        match &outcome {
            Ok(_) => self.worked(),
            // Who sent it may send more of them: that keeps nobody else out.
            Err(error @ SinkError::Unfit(_)) => {
                self.errors.increment(1);
                tracing::error!(auditor = self.sink.name(), %error, "a record cannot be kept");
            }
            Err(error) => self.failed(error),
        }
        outcome
    }

    fn worked(&self) {
        // Reading first leaves the line that all cores share alone as long as nothing fails.
        if self.failing.load(Ordering::Relaxed) == 0 {
            return;
        }
        let _telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = self.failing.swap(0, Ordering::Relaxed);
        if failures == 0 {
            return;
        }
        let auditor = self.sink.name();
        tracing::info!(auditor, failures, "the auditor works again");
        if let Some(alarm) = &self.alarm {
            alarm.set(0.0);
            (self.on_health)(None);
        }
    }

    fn failed(self: &Arc<Self>, error: &SinkError) {
        self.errors.increment(1);
        let telling = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.failing.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let auditor = self.sink.name();
        let Some(alarm) = &self.alarm else {
            tracing::error!(
                auditor, %error,
                "the auditor fails: records are missing from it until it works again"
            );
            return;
        };
        tracing::error!(
            auditor, %error,
            "the auditor fails: nothing is signed or let in until it works again"
        );
        alarm.set(1.0);
        (self.on_health)(Some(error));
        drop(telling);
        if !self.watched.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(self).watch());
        }
    }

    /// A service that can keep no record is sent no requests, so that none would show that it can again: it is asked.
    async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ASK_AGAIN).await;
            if self.failing.load(Ordering::Relaxed) > 0 {
                let asked = tokio::time::timeout(self.timeout, self.sink.works()).await;
                if !matches!(asked, Ok(Ok(()))) {
                    continue;
                }
                self.worked();
            }
            self.watched.store(false, Ordering::Relaxed);
            // One that failed before that has left the asking to this.
            if self.failing.load(Ordering::Relaxed) == 0
                || self.watched.swap(true, Ordering::Relaxed)
            {
                return;
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
const ALARM: &str = "choria_aaa_audit_alarm";

fn describe() {
    metrics::describe_counter!(ERRORS, "Records that an auditor failed to keep");
    metrics::describe_gauge!(
        ALARM,
        "Whether a required auditor keeps no records (1): nothing is signed or let in then"
    );
    metrics::describe_histogram!(
        TIME,
        metrics::Unit::Seconds,
        "Time until an auditor has kept a record, or failed to"
    );
}
