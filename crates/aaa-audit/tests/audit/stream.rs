//! A real nats-server, and what can become of it: everything that was acknowledged is in the stream in the end, once.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aaa_audit::formats::{Format, Formatter};
use aaa_audit::nats::{Connection, Login, State};
use aaa_audit::spool::Spool;
use aaa_audit::stream::{Creation, StreamOptions, StreamSink, Wanted};
use aaa_audit::{Scribe, Sink as _, SinkError, Stored};
use aaa_core::audit::Record;
use aaa_testing::nats::{self, NatsServer};
use aaa_testing::proxy::Proxy;
use async_nats::jetstream::{self, consumer::pull, stream};
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use jiff::SignedDuration;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tempfile::TempDir;

use crate::fixtures::{allowed, install, login, record};

const TOPIC: &str = "audit.london";
pub(crate) const STREAM: &str = "AUDIT";

/// A server with JetStream, in a directory of the test's own; nothing where this machine has none.
fn server(dir: &TempDir) -> Option<NatsServer> {
    server_with(dir, "")
}

fn server_with(dir: &TempDir, more: &str) -> Option<NatsServer> {
    nats::jetstream(&dir.path().join("nats"), more).unwrap()
}

/// What a test says of a sink.
pub(crate) struct Site {
    pub connection: Connection,
    pub topic: String,
    spool: Option<u64>,
    max_bytes: i64,
    format: Format,
}

impl Site {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            connection: Connection {
                servers: vec![url.into()],
                login: Login::Anonymous,
                name: "test".to_owned(),
                ..Connection::default()
            },
            topic: TOPIC.to_owned(),
            spool: Some(64 << 20),
            max_bytes: -1,
            format: Format::SignatureAudit,
        }
    }

    fn without_spool(self) -> Self {
        Self {
            spool: None,
            ..self
        }
    }

    pub(crate) fn sink(&self, dir: &Path) -> StreamSink {
        let spool = self.spool.map(|bytes| spool(dir, bytes));
        let options = StreamOptions {
            site: "london".to_owned(),
            connection: self.connection.clone(),
            stream: Wanted {
                name: Some(STREAM.to_owned()),
                topic: self.topic.clone(),
                create: Some(Creation {
                    replicas: 1,
                    max_age: Duration::ZERO,
                    max_bytes: self.max_bytes,
                }),
            },
            spool,
            ack_timeout: Duration::from_millis(500),
        };
        let formatter = Formatter {
            format: self.format,
            ..Formatter::default()
        };
        StreamSink::new(options, Scribe::new(formatter, None))
    }
}

fn spool(dir: &Path, bytes: u64) -> Spool {
    Spool::open(&dir.join("spool"), bytes).unwrap().0
}

fn numbered(number: usize) -> Arc<Record> {
    let subject = aaa_core::audit::Subject::Sign(install());
    let mut record = record(subject, Some("up=alice"), allowed());
    record.id = format!("record-{number}");
    Arc::new(record)
}

pub(crate) async fn write(sink: &StreamSink, number: usize) -> Result<Stored, SinkError> {
    sink.write(&numbered(number)).await
}

pub(crate) async fn keep(sink: &StreamSink, numbers: std::ops::Range<usize>) {
    let kept = join_all(numbers.map(|number| write(sink, number))).await;
    for outcome in kept {
        assert_eq!(outcome, Ok(Stored::Kept));
    }
}

async fn jetstream(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// The ids of the first so many records of the stream, as they come.
async fn ids(server: &NatsServer, records: usize) -> Vec<String> {
    let stream = jetstream(server).await.get_stream(STREAM).await.unwrap();
    let consumer = stream
        .create_consumer(pull::OrderedConfig::default())
        .await
        .unwrap();
    let mut messages = consumer.messages().await.unwrap().take(records);
    let mut ids = Vec::new();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let id = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Msg-Id"));
        ids.push(id.unwrap().to_string());
    }
    ids
}

/// That the stream has just these, each once.
async fn has_each_once(server: &NatsServer, numbers: std::ops::Range<usize>) {
    let mut times: HashMap<String, usize> = HashMap::new();
    for id in ids(server, numbers.len()).await {
        *times.entry(id).or_default() += 1;
    }
    for number in numbers.clone() {
        assert_eq!(times.get(&format!("record-{number}")), Some(&1), "{number}");
    }
    let mut stream = jetstream(server).await.get_stream(STREAM).await.unwrap();
    assert_eq!(
        stream.info().await.unwrap().state.messages,
        numbers.len() as u64
    );
}

#[tokio::test]
async fn records_arrive_in_their_order_in_a_stream_that_keeps_them() {
    let dir = TempDir::new().unwrap();
    let Some(server) = server(&dir) else { return };
    let sink = Site::new(server.url()).sink(dir.path());
    sink.start().await.unwrap();
    for number in 0..20 {
        assert_eq!(write(&sink, number).await, Ok(Stored::Kept));
    }
    let expected: Vec<String> = (0..20).map(|number| format!("record-{number}")).collect();
    assert_eq!(ids(&server, 20).await, expected);
    let mut stream = jetstream(&server).await.get_stream(STREAM).await.unwrap();
    let config = stream.info().await.unwrap().config.clone();
    assert_eq!(config.subjects, [TOPIC]);
    assert_eq!(config.retention, stream::RetentionPolicy::Limits);
    assert_eq!(config.discard, stream::DiscardPolicy::New);
    assert_eq!(config.storage, stream::StorageType::File);
    // A record is one line, without its end.
    let message = stream.direct_get(1).await;
    if let Ok(message) = message {
        assert!(!message.payload.ends_with(b"\n"));
    }
    sink.close().await;
    assert_eq!(write(&sink, 20).await, Err(SinkError::Closed));
}

#[tokio::test]
async fn a_format_without_words_for_logins_says_so() {
    let dir = TempDir::new().unwrap();
    let Some(server) = server(&dir) else { return };
    let sink = Site::new(server.url()).sink(dir.path());
    sink.start().await.unwrap();
    let login = Arc::new(login(allowed(), Some("up=bob")));
    assert_eq!(sink.write(&login).await, Ok(Stored::NotCarried));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_gets_all_of_it_in_the_end() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    let sink = Site::new(server.url()).sink(dir.path());
    sink.start().await.unwrap();
    keep(&sink, 0..50).await;
    let (outcome, killed) = tokio::join!(keep(&sink, 50..400), async {
        tokio::task::yield_now().await;
        server.kill()
    });
    let ((), ()) = (outcome, killed.unwrap());
    keep(&sink, 400..450).await;
    server.restart().unwrap();
    keep(&sink, 450..500).await;
    has_each_once(&server, 0..500).await;
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_made_again_and_gets_what_came_since() {
    let dir = TempDir::new().unwrap();
    let Some(server) = server(&dir) else { return };
    let sink = Site::new(server.url()).sink(dir.path());
    sink.start().await.unwrap();
    keep(&sink, 0..10).await;
    let jetstream = jetstream(&server).await;
    jetstream.delete_stream(STREAM).await.unwrap();
    keep(&sink, 10..20).await;
    // The task that delivers makes it; waiting for that is asking for it.
    while jetstream.get_stream(STREAM).await.is_err() {}
    has_each_once(&server, 10..20).await;
}

#[tokio::test]
async fn a_full_stream_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let Some(server) = server(&dir) else { return };
    let mut site = Site::new(server.url());
    site.max_bytes = 20_000;
    let sink = site.sink(dir.path());
    sink.start().await.unwrap();
    keep(&sink, 0..50).await;
    assert_eq!(sink.works().await, Ok(()));
    let jetstream = jetstream(&server).await;
    let mut stream = jetstream.get_stream(STREAM).await.unwrap();
    let mut config = stream.info().await.unwrap().config.clone();
    assert!(stream.cached_info().state.messages < 50);
    config.max_bytes = -1;
    jetstream.update_stream(config).await.unwrap();
    has_each_once(&server, 0..50).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_never_comes_is_not_waited_for_for_ever() {
    let dir = TempDir::new().unwrap();
    let Some(server) = server(&dir) else { return };
    let proxy = Proxy::start(&server.address()).unwrap();
    let sink = Site::new(proxy.url()).sink(dir.path());
    sink.start().await.unwrap();
    keep(&sink, 0..5).await;
    proxy.hold();
    keep(&sink, 5..15).await;
    proxy.release();
    keep(&sink, 15..20).await;
    has_each_once(&server, 0..20).await;
}

#[tokio::test]
async fn what_waits_in_the_spool_is_delivered_after_the_next_start() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    let site = Site::new(server.url());
    server.kill().unwrap();
    let sink = site.sink(dir.path());
    // No connection is waited for, as there is a spool.
    tokio::time::pause();
    sink.start().await.unwrap();
    tokio::time::resume();
    keep(&sink, 0..30).await;
    sink.close().await;
    drop(sink);
    server.restart().unwrap();
    let sink = site.sink(dir.path());
    sink.start().await.unwrap();
    has_each_once(&server, 0..30).await;
    keep(&sink, 30..31).await;
    has_each_once(&server, 0..31).await;
}

#[tokio::test]
async fn without_a_spool_there_is_no_start_without_a_stream_and_no_answer_while_it_is_away() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    let site = Site::new(server.url()).without_spool();
    let sink = site.sink(dir.path());
    sink.start().await.unwrap();
    keep(&sink, 0..3).await;
    server.kill().unwrap();
    write(&sink, 3).await.unwrap_err();
    sink.works().await.unwrap_err();
    write(&sink, 4).await.unwrap_err();
    server.restart().unwrap();
    while sink.works().await.is_err() {
        tokio::task::yield_now().await;
    }
    keep(&sink, 5..6).await;
    server.kill().unwrap();
    tokio::time::pause();
    let problem = site.sink(dir.path()).start().await.unwrap_err();
    assert!(problem.contains(&server.url()), "{problem}");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_at_start() {
    let dir = TempDir::new().unwrap();
    let more = "authorization { users: [ { user: \"aaa\", password: \"secret\" } ] }\n";
    let Some(server) = server_with(&dir, more) else {
        return;
    };
    let mut site = Site::new(server.url()).without_spool();
    let password = |word: &str| Login::Password("aaa".to_owned(), word.to_owned().into());
    site.connection.login = password("wrong");
    site.sink(dir.path()).start().await.unwrap_err();
    site.connection.login = password("secret");
    let sink = site.sink(dir.path());
    sink.start().await.unwrap();
    keep(&sink, 0..3).await;
}

#[tokio::test]
async fn a_full_spool_refuses_and_says_so_until_there_is_room() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    let mut site = Site::new(server.url());
    site.spool = Some(200 << 10);
    let sink = site.sink(dir.path());
    sink.start().await.unwrap();
    server.kill().unwrap();
    let mut kept = 0;
    let error = loop {
        match write(&sink, kept).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("spool_max_bytes"), "{error}");
    sink.works().await.unwrap_err();
    server.restart().unwrap();
    while sink.works().await.is_err() {
        tokio::task::yield_now().await;
    }
    has_each_once(&server, 0..kept).await;
}

fn long(length: usize) -> Arc<Record> {
    let caller = format!("up={}", "x".repeat(length));
    let subject = aaa_core::audit::Subject::Sign(install());
    Arc::new(Record {
        id: "long".to_owned(),
        ..record(subject, Some(&caller), allowed())
    })
}

#[tokio::test]
async fn a_record_that_no_message_can_hold_does_not_wait_for_one() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    server.kill().unwrap();
    let sink = Site::new(server.url()).sink(dir.path());
    // No connection is waited for, as there is a spool; so no server has said what it takes.
    tokio::time::pause();
    sink.start().await.unwrap();
    tokio::time::resume();
    let error = sink.write(&long(1 << 20)).await.unwrap_err();
    assert!(error.to_string().contains("max_payload"), "{error}");
}

/// A server that takes less than the one before it.
#[tokio::test]
async fn a_record_in_the_spool_that_no_message_can_hold_is_kept_aside_and_holds_up_no_other() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    let recorder = DebuggingRecorder::new();
    let sink = metrics::with_local_recorder(&recorder, || Site::new(server.url()).sink(dir.path()));
    sink.start().await.unwrap();
    server.kill().unwrap();
    keep(&sink, 0..2).await;
    assert_eq!(sink.write(&long(5000)).await, Ok(Stored::Kept));
    keep(&sink, 2..4).await;
    server.restart_with("max_payload: 4096\n").unwrap();
    has_each_once(&server, 0..4).await;
    sink.close().await;
    let aside: Vec<String> = std::fs::read_dir(dir.path().join("spool"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|kind| kind == "aside"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    assert_eq!(aside.len(), 1);
    assert!(aside[0].contains(&"x".repeat(5000)), "{aside:?}");
    // Nothing waits any more, and the metrics know.
    let measured: HashMap<String, DebugValue> = recorder
        .snapshotter()
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| (key.key().name().to_owned(), value))
        .collect();
    assert_eq!(
        measured["choria_aaa_audit_spool_aside"],
        DebugValue::Counter(1)
    );
    for gauge in [
        "choria_aaa_audit_spool_records",
        "choria_aaa_audit_spool_bytes",
    ] {
        assert_eq!(measured[gauge], DebugValue::Gauge(0.0.into()), "{gauge}");
    }
}

#[tokio::test]
async fn a_record_that_no_message_can_hold_is_refused_and_harms_no_other() {
    let dir = TempDir::new().unwrap();
    let Some(server) = server_with(&dir, "max_payload: 4096\n") else {
        return;
    };
    let sink = Site::new(server.url()).sink(dir.path());
    sink.start().await.unwrap();
    let error = sink.write(&long(5000)).await.unwrap_err();
    assert!(error.to_string().contains("max_payload"), "{error}");
    keep(&sink, 0..3).await;
    has_each_once(&server, 0..3).await;
}

#[tokio::test]
async fn who_may_not_listen_hears_of_it() {
    let dir = TempDir::new().unwrap();
    let more = "authorization { users: [ { user: \"aaa\", password: \"secret\", permissions: { subscribe: \"_INBOX.>\" } } ] }\n";
    let Some(server) = server_with(&dir, more) else {
        return;
    };
    let (sender, mut states) = tokio::sync::mpsc::unbounded_channel();
    let connection = Connection {
        servers: vec![server.url()],
        login: Login::Password("aaa".to_owned(), "secret".to_owned().into()),
        on_state: Some(Arc::new(move |state| drop(sender.send(state)))),
        ..Connection::default()
    };
    let client = connection.connect().await.unwrap();
    let _calls = client
        .subscribe("choria.broadcast.service.aaa_signer")
        .await
        .unwrap();
    assert_eq!(states.recv().await, Some(State::Connected));
    let Some(State::Deaf(said)) = states.recv().await else {
        panic!("the server let it listen");
    };
    assert!(
        said.contains("choria.broadcast.service.aaa_signer"),
        "{said}"
    );
}

#[tokio::test]
async fn a_clock_that_jumps_loses_nothing_and_changes_no_order() {
    let dir = TempDir::new().unwrap();
    let Some(mut server) = server(&dir) else {
        return;
    };
    let sink = Site::new(server.url()).sink(dir.path());
    sink.start().await.unwrap();
    let day = SignedDuration::from_hours(24);
    let jumps = [SignedDuration::ZERO, day * 400, -day * 400, day, -day];
    for number in 0..60 {
        // While records go straight, while they wait in the spool, and while it is delivered.
        match number {
            20 => server.kill().unwrap(),
            40 => server.restart().unwrap(),
            _ => {}
        }
        let mut record = Arc::unwrap_or_clone(numbered(number));
        record.time += jumps[number % jumps.len()];
        assert_eq!(sink.write(&Arc::new(record)).await, Ok(Stored::Kept));
    }
    let expected: Vec<String> = (0..60).map(|number| format!("record-{number}")).collect();
    assert_eq!(ids(&server, 60).await, expected);
}
