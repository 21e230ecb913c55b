//! Records kept in a file, each of them waited for, by so many tasks at once; and the time that writing one down takes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros make items without docs, and a benchmark that cannot run has failed"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_audit::file::{FileOptions, FileSink};
use aaa_audit::formats::{Format, Formatter};
use aaa_audit::{Auditor, Delivery, Scribe, Trail};
use aaa_core::audit::{Effect, Exchange, Front, Outcome, Record, Subject};
use aaa_core::caller::CallerId;
use aaa_core::request::Request;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use tokio::runtime::Runtime;

const REQUEST: &str = r#"{"protocol":"choria:request:1","message":"{\"agent\":\"package\",\"action\":\"install\",\"data\":{\"package\":\"zsh\",\"version\":\"1.0\"}}","envelope":{"requestid":"06f6e517b5f340fa99e03fdba053bc11","senderid":"dev1.example.net","callerid":"up=alice@example.net","collective":"mcollective","agent":"package","ttl":60,"time":1795347644,"filter":{"fact":[{"fact":"country","operator":"==","value":"mt"}],"cf_class":["apache"],"agent":["rpcutil"],"identity":["web1.example.net"],"compound":[]}}}"#;

fn record() -> Arc<Record> {
    Arc::new(Record {
        id: "3MScw6FciyQvaNKhi4NTbHiSZTx".to_owned(),
        time: Timestamp::from_second(1_795_347_644).unwrap(),
        site: "london".into(),
        exchange: Arc::new(Exchange {
            id: "3MScvvbVlkVSGTGWYtjHDRXMyrR".to_owned(),
            front: Front::Rest,
            trace: None,
            received: Instant::now(),
        }),
        latency: Duration::from_micros(734),
        caller: Some(CallerId::new("up=alice@example.net")),
        token: None,
        subject: Subject::Sign(Request::parse(REQUEST.as_bytes()).unwrap().into()),
        action: None,
        outcome: Outcome::Allowed {
            rule: "package.*".to_owned(),
        },
        effect: Effect::Signed,
    })
}

fn formats(c: &mut Criterion) {
    let mut group = c.benchmark_group("format");
    let record = record();
    for name in Format::NAMES {
        let formatter = Formatter {
            format: Format::parse(name).unwrap(),
            ..Formatter::default()
        };
        let scribe = Scribe::new(formatter, None);
        group.bench_function(*name, |b| b.iter(|| scribe.line(&record)));
    }
    group.finish();
}

/// The time that `records` take when so many tasks share them, each waiting for one before it gives the next.
async fn kept_by(trail: Arc<Trail>, tasks: u64, records: u64) -> Duration {
    let record = record();
    let begin = Instant::now();
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (trail, record) = (Arc::clone(&trail), Arc::clone(&record));
            tokio::spawn(async move {
                for _ in (task..records).step_by(usize::try_from(tasks).unwrap()) {
                    trail.record(Arc::clone(&record)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    begin.elapsed()
}

fn file(c: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    for (name, sync) in [("file", false), ("file_sync", true)] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(1));
        for tasks in [1, 16, 64] {
            let dir = tempfile::tempdir().unwrap();
            let options = FileOptions {
                path: dir.path().join("audit.log"),
                sync,
                ..FileOptions::default()
            };
            let auditor = Auditor::new(
                Arc::new(FileSink::open(options, Scribe::default()).unwrap()),
                Delivery::Required,
                Duration::from_secs(10),
            );
            let trail = Arc::new(Trail::new("london", vec![auditor]));
            group.bench_with_input(BenchmarkId::from_parameter(tasks), &tasks, |b, tasks| {
                b.to_async(&runtime)
                    .iter_custom(|records| kept_by(Arc::clone(&trail), *tasks, records));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, formats, file);
criterion_main!(benches);
