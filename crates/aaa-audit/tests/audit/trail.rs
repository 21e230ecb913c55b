//! A receipt is given when the required auditors have kept a record, and only then.

use std::fmt::Write as _;
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aaa_audit::file::{FileOptions, FileSink};
use aaa_audit::formats::Format;
use aaa_audit::log::LogSink;
use aaa_audit::{AuditError, Auditor, Delivery, Scribe, Sink, SinkError, Stored, Trail};
use aaa_core::audit::Record;
use async_trait::async_trait;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tempfile::TempDir;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::span;

use crate::fixtures::{self, allowed, numbered, refused};

const LIMIT: Duration = Duration::from_secs(5);

/// A sink that never answers.
struct Hangs;

#[async_trait]
impl Sink for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }

    async fn write(&self, _: &Arc<Record>) -> Result<Stored, SinkError> {
        pending().await
    }
}

/// A sink that keeps records in memory while it works.
#[derive(Default)]
struct Memory {
    broken: AtomicBool,
    kept: Mutex<Vec<Arc<Record>>>,
}

#[async_trait]
impl Sink for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        self.works().await?;
        self.kept.lock().unwrap().push(Arc::clone(record));
        Ok(Stored::Kept)
    }

    async fn works(&self) -> Result<(), SinkError> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(SinkError::failed("it is broken"));
        }
        Ok(())
    }

    fn reopen(&self) -> Result<(), SinkError> {
        Err(SinkError::failed("nothing there"))
    }
}

fn auditor(sink: Arc<dyn Sink>, delivery: Delivery) -> Auditor {
    Auditor::new(sink, delivery, LIMIT)
}

fn broken() -> Arc<Memory> {
    let sink = Memory::default();
    sink.broken.store(true, Ordering::Relaxed);
    Arc::new(sink)
}

#[tokio::test]
async fn a_receipt_is_for_a_record_that_all_have_kept() {
    let (one, two) = (Arc::new(Memory::default()), Arc::new(Memory::default()));
    let auditors = vec![
        auditor(one.clone(), Delivery::Required),
        auditor(two.clone(), Delivery::BestEffort),
    ];
    let record = numbered(1);
    let receipt = Trail::new("london", auditors)
        .record(Arc::clone(&record))
        .await
        .unwrap();
    assert!(Arc::ptr_eq(receipt.record(), &record));
    for sink in [one, two] {
        assert!(Arc::ptr_eq(&sink.kept.lock().unwrap()[0], &record));
    }
}

#[tokio::test(start_paused = true)]
async fn a_required_auditor_that_hangs_has_its_limit() {
    let kept = Arc::new(Memory::default());
    let auditors = vec![
        auditor(Arc::new(Hangs), Delivery::Required),
        auditor(kept.clone(), Delivery::Required),
    ];
    let begin = Instant::now();
    let error = Trail::new("london", auditors)
        .record(numbered(1))
        .await
        .unwrap_err();
    assert_eq!(begin.elapsed(), LIMIT);
    assert_eq!(
        error.to_string(),
        "the audit record is not kept: auditor hangs: no answer within 5 s"
    );
    assert_eq!(kept.kept.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_need_not_is_waited_for_no_longer_than_its_limit() {
    let auditors = vec![
        auditor(Arc::new(Memory::default()), Delivery::Required),
        auditor(Arc::new(Hangs), Delivery::BestEffort),
    ];
    let begin = Instant::now();
    let receipt = Trail::new("london", auditors).record(numbered(1)).await;
    assert!(receipt.is_ok());
    assert_eq!(begin.elapsed(), LIMIT);
}

#[tokio::test]
async fn every_required_failure_is_named() {
    let auditors = vec![
        auditor(broken(), Delivery::Required),
        auditor(broken(), Delivery::BestEffort),
        auditor(broken(), Delivery::Required),
    ];
    let error = Trail::new("london", auditors)
        .record(numbered(1))
        .await
        .unwrap_err();
    let AuditError::NotKept(failures) = error else {
        panic!("{error}");
    };
    let named: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["auditor memory: it is broken"; 2]);
}

#[tokio::test]
async fn a_failed_reopening_names_who_failed() {
    let dir = TempDir::new().unwrap();
    let file = FileOptions {
        path: dir.path().join("audit.log"),
        ..FileOptions::default()
    };
    let auditors = vec![
        auditor(
            Arc::new(FileSink::open(file, Scribe::default()).unwrap()),
            Delivery::Required,
        ),
        auditor(broken(), Delivery::BestEffort),
    ];
    let trail = Trail::new("london", auditors);
    assert_eq!(
        trail.reopen().unwrap_err().to_string(),
        "the audit trail is not reopened: auditor memory: nothing there"
    );
    trail.close().await;
    assert!(trail.record(numbered(1)).await.is_err());
}

#[tokio::test]
async fn failures_are_counted_and_time_is_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let sink = broken();
    let trail = metrics::with_local_recorder(&recorder, || {
        Trail::new("london", vec![auditor(sink.clone(), Delivery::BestEffort)])
    });
    for number in 0..3 {
        trail.record(numbered(number)).await.unwrap();
    }
    sink.broken.store(false, Ordering::Relaxed);
    trail.record(numbered(3)).await.unwrap();
    let measured: Vec<String> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let key = key.key();
            let labels: Vec<_> = key.labels().map(|l| (l.key(), l.value())).collect();
            assert_eq!(labels, [("site", "london"), ("auditor", "memory")]);
            match value {
                DebugValue::Counter(n) => format!("{} {n}", key.name()),
                DebugValue::Histogram(times) => format!("{} of {}", key.name(), times.len()),
                DebugValue::Gauge(_) => panic!("no gauge is expected"),
            }
        })
        .collect();
    assert_eq!(
        measured,
        [
            "choria_aaa_auditor_errors 3",
            "choria_aaa_auditor_time_seconds of 4"
        ]
    );
}

/// A log that can be read back.
#[derive(Clone, Default)]
struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    /// Whether it cannot be written.
    full: Arc<AtomicBool>,
}

fn log_alone() -> Auditor {
    auditor(Arc::new(LogSink), Delivery::Required)
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, " {field}={value:?}").unwrap();
            }
        }
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
        event.record(&mut line);
        if self.full.load(Ordering::Relaxed) {
            return aaa_audit::log::lost();
        }
        self.lines.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Log {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_log_has_the_records() {
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    let trail = Trail::new("london", vec![log_alone()]);
    for (_, record) in fixtures::all() {
        trail.record(Arc::new(record)).await.unwrap();
    }
    insta::assert_snapshot!(log.lines().join("\n"));
}

#[tokio::test]
async fn a_record_that_no_auditor_keeps_is_in_the_log() {
    let dir = TempDir::new().unwrap();
    let file = FileOptions {
        path: dir.path().join("audit.log"),
        ..FileOptions::default()
    };
    let file = Arc::new(FileSink::open(file, fixtures::scribe(Format::SignatureAudit)).unwrap());
    let trail = Trail::new(
        "london",
        vec![
            auditor(file, Delivery::Required),
            auditor(broken(), Delivery::BestEffort),
        ],
    );
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    let login = fixtures::login(refused(aaa_core::decision::Reason::LoginRefused), None);
    trail.record(Arc::new(login)).await.unwrap();
    trail.record(numbered(1)).await.unwrap();
    let audited: Vec<String> = log
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("INFO audit "))
        .collect();
    assert_eq!(audited.len(), 1, "{audited:?}");
    assert!(audited[0].contains(r#"kind="login" decision="deny""#));
}

#[tokio::test]
async fn a_record_that_not_even_the_log_keeps_gives_no_receipt() {
    let log = Log::default();
    log.full.store(true, Ordering::Relaxed);
    let _here = tracing::subscriber::set_default(log.clone());
    for auditors in [log_alone(), auditor(broken(), Delivery::BestEffort)] {
        let trail = Trail::new("london", vec![auditors]);
        let error = trail.record(numbered(1)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the audit record is not kept: auditor log: the service's log cannot be written"
        );
    }
    // It is about its own line that a record is told, not about one before.
    log.full.store(false, Ordering::Relaxed);
    let trail = Trail::new("london", vec![log_alone()]);
    trail.record(numbered(1)).await.unwrap();
}

/// What an auditor's health was said to be, in turn.
type Heard = Arc<Mutex<Vec<Option<String>>>>;

fn heard(sink: Arc<dyn Sink>, delivery: Delivery) -> (Trail, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let auditor = auditor(sink, delivery).heard_by(Arc::new(move |problem| {
        let problem = problem.map(ToString::to_string);
        told.lock().unwrap().push(problem);
    }));
    (Trail::new("london", vec![auditor]), heard)
}

#[tokio::test(start_paused = true)]
async fn what_keeps_no_records_is_known_to_be_ill_until_it_works_though_nobody_uses_it() {
    let sink = broken();
    let (trail, heard) = heard(sink.clone(), Delivery::Required);
    for number in 0..3 {
        trail.record(numbered(number)).await.unwrap_err();
    }
    let ill = Some("it is broken".to_owned());
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(*heard.lock().unwrap(), std::slice::from_ref(&ill));
    sink.broken.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(*heard.lock().unwrap(), [ill.clone(), None]);
    // And once more.
    sink.broken.store(true, Ordering::Relaxed);
    trail.record(numbered(4)).await.unwrap_err();
    sink.broken.store(false, Ordering::Relaxed);
    trail.record(numbered(5)).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [ill.clone(), None, ill, None]);
}

#[tokio::test]
async fn of_one_that_need_not_keep_records_nothing_is_heard() {
    let (trail, heard) = heard(broken(), Delivery::BestEffort);
    trail.record(numbered(1)).await.unwrap();
    assert!(heard.lock().unwrap().is_empty());
}

/// Who sends what cannot be kept keeps nobody else out.
#[tokio::test]
async fn a_record_that_can_never_be_kept_is_refused_and_says_nothing_of_the_auditor() {
    struct Picky;
    #[async_trait]
    impl Sink for Picky {
        fn name(&self) -> &'static str {
            "picky"
        }

        async fn write(&self, _: &Arc<Record>) -> Result<Stored, SinkError> {
            Err(SinkError::unfit("it is too long"))
        }
    }
    let (trail, heard) = heard(Arc::new(Picky), Delivery::Required);
    let error = trail.record(numbered(1)).await.unwrap_err();
    assert!(error.to_string().contains("it is too long"));
    assert!(heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_log_tells_of_the_first_failure_and_of_the_end_of_them() {
    let sink = broken();
    let required = vec![auditor(sink.clone(), Delivery::Required)];
    let trail = Trail::new("london", required);
    let log = Log::default();
    let _here = tracing::subscriber::set_default(log.clone());
    for number in 0..50 {
        assert!(trail.record(numbered(number)).await.is_err());
    }
    sink.broken.store(false, Ordering::Relaxed);
    trail
        .record(Arc::new(fixtures::login(allowed(), None)))
        .await
        .unwrap();
    trail.record(numbered(1)).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("it is broken"));
    assert!(lines[1].contains("failures=50"));
}
