//! Records read back: of every format, each once; and chains that somebody meddled with.

use std::ops::ControlFlow;
use std::sync::Arc;

use aaa_audit::chain::ChainKey;
use aaa_audit::formats::{Format, Formatter};
use aaa_audit::reading::{
    Entry, Field, Finding, Line, Next, Pattern, RunReport, Selection, Verifier,
};
use aaa_audit::{Scribe, Sink as _};
use aaa_core::audit::Subject;
use aaa_core::decision::Reason;

use crate::fixtures::{self, allowed, install, numbered, record, refused};

fn line(bytes: impl Into<Vec<u8>>) -> Line {
    Line {
        bytes: bytes.into().trim_ascii_end().to_vec(),
        place: "audit.log:1".to_owned(),
        id: None,
        arrived: None,
    }
}

fn key(byte: &str) -> ChainKey {
    ChainKey::parse(&byte.repeat(32)).unwrap()
}

fn scribe(key: Option<ChainKey>) -> Scribe {
    let formatter = Formatter {
        format: Format::V2,
        instance: "signer-1".into(),
        ..Formatter::default()
    };
    Scribe::new(formatter, key)
}

/// So many records of one run.
fn run(key: Option<ChainKey>, records: usize) -> Vec<Line> {
    let scribe = scribe(key);
    (0..records)
        .map(|number| line(scribe.line(&numbered(number)).unwrap()))
        .collect()
}

fn verify(keys: Vec<ChainKey>, lines: &[Line]) -> Vec<RunReport> {
    let mut verifier = Verifier::new(keys);
    for line in lines {
        verifier.add(line);
    }
    assert_eq!(verifier.unreadable(), [] as [String; 0]);
    verifier.finish(true)
}

/// What is found in the one run.
fn found(lines: &[Line]) -> Vec<Finding> {
    let mut reports = verify(vec![key("5a")], lines);
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0).findings
}

#[test]
fn every_format_but_the_native_one_is_read_back() {
    for format in ["v2", "aaasvc", "signature_audit", "choria"] {
        let scribe = fixtures::scribe(Format::parse(format).unwrap());
        for (name, record) in fixtures::all() {
            let Some(written) = scribe.line(&record) else {
                assert_eq!(format, "signature_audit");
                continue;
            };
            let entry =
                Entry::read(&line(written)).unwrap_or_else(|e| panic!("{format} {name}: {e}"));
            let caller = record
                .caller
                .as_ref()
                .map(aaa_core::caller::CallerId::as_str);
            assert_eq!(entry.caller.as_deref(), caller, "{format} {name}");
            assert_eq!(
                entry.time.as_second(),
                record.time.as_second(),
                "{format} {name}"
            );
            if let Subject::Sign(request) = &record.subject {
                assert_eq!(entry.agent, request.agent(), "{format} {name}");
                assert_eq!(entry.action, request.action(), "{format} {name}");
                let decision = if record.outcome.is_allowed() {
                    "allow"
                } else {
                    "deny"
                };
                assert_eq!(entry.decision, decision, "{format} {name}");
            }
            let login = matches!(record.subject, Subject::Login { .. });
            assert_eq!(entry.kind == "login", login, "{format} {name}");
        }
    }
}

#[test]
fn what_is_no_record_is_told() {
    for text in [
        "",
        "{",
        "7",
        "{}",
        r#"{"protocol":"io.choria.other"}"#,
        r#"{"auditor":"logfile"}"#,
    ] {
        Entry::read(&line(text)).unwrap_err();
    }
}

#[test]
fn records_are_selected_by_field_and_time() {
    let refused = record(
        Subject::Sign(install()),
        Some("up=bob"),
        refused(Reason::NotAuthorized),
    );
    let entry = Entry::read(&line(scribe(None).line(&refused).unwrap())).unwrap();
    let selects = |field, pattern: &str| {
        let fields = vec![(field, vec![Pattern::new(pattern)])];
        Selection {
            fields,
            ..Selection::default()
        }
        .has(&entry)
    };
    assert!(selects(Field::Caller, "up=*") && !selects(Field::Caller, "okta=*"));
    assert!(selects(Field::Agent, "package") && selects(Field::Decision, "deny"));
    assert!(selects(Field::Day, "2026-11-22") && selects(Field::Hour, "2026-11-22T11"));
    let since = |since| Selection {
        since: Some(since),
        ..Selection::default()
    };
    assert!(since(entry.time).has(&entry));
    let until = Selection {
        until: Some(entry.time),
        ..Selection::default()
    };
    assert!(!until.has(&entry));
}

#[test]
fn an_untouched_chain_is_good_in_whatever_order_it_is_stored() {
    let mut lines = run(Some(key("5a")), 50);
    lines.swap(10, 20);
    lines.push(lines[5].clone());
    let report = verify(vec![key("11"), key("5a")], &lines).remove(0);
    assert_eq!(report.findings, []);
    assert!(report.checked);
    assert_eq!(
        (report.records, report.again, report.numbers),
        (50, 1, (1, 50))
    );
    assert!(report.reordered > 0);
}

#[test]
fn what_is_taken_out_is_missed() {
    let mut lines = run(Some(key("5a")), 10);
    lines.drain(3..5);
    lines.remove(0);
    assert_eq!(
        found(&lines),
        [Finding::Missing(1, 1), Finding::Missing(4, 5)]
    );
}

#[test]
fn what_is_altered_is_seen_even_by_who_knows_the_format() {
    let mut lines = run(Some(key("5a")), 5);
    let text = String::from_utf8(lines[2].bytes.clone()).unwrap();
    lines[2] = line(text.replace("up=alice", "up=mallo"));
    assert_eq!(found(&lines), [Finding::Altered(3)]);
    // With the code of another record, or one of their own.
    let other = String::from_utf8(lines[3].bytes.clone()).unwrap();
    let code = |text: &str| text.rsplit_once("\"code\":\"").unwrap().1.to_owned();
    lines[2] = line(
        text.replace("up=alice", "up=mallo")
            .replace(&code(&text), &code(&other)),
    );
    assert_eq!(found(&lines), [Finding::Altered(3)]);
}

#[test]
fn what_is_put_in_is_seen() {
    let mut lines = run(Some(key("5a")), 3);
    let forged = run(Some(key("11")), 1).remove(0);
    let run_of = |line: &Line| {
        let value: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
        value["chain"]["run"].as_str().unwrap().to_owned()
    };
    let (ours, theirs) = (run_of(&lines[0]), run_of(&forged));
    let text = String::from_utf8(forged.bytes)
        .unwrap()
        .replace(&theirs, &ours);
    lines.push(line(text));
    let name = key("11").name().to_owned();
    assert_eq!(found(&lines), [Finding::ForeignKey(1, name)]);
    // Whoever has no key can still write records without one.
    let keyless = run(None, 1);
    assert_eq!(found(&keyless), [Finding::Keyless(1),]);
}

#[test]
fn without_keys_gaps_show_and_nothing_is_called_checked() {
    let mut lines = run(Some(key("5a")), 4);
    lines.remove(1);
    let report = verify(Vec::new(), &lines).remove(0);
    assert_eq!(report.findings, [Finding::Missing(2, 2)]);
    assert!(!report.checked);
    assert!(!verify(Vec::new(), &run(None, 2)).remove(0).checked);
}

#[test]
fn a_part_of_a_chain_is_not_missed_from_before() {
    let lines = run(Some(key("5a")), 10).split_off(6);
    let mut verifier = Verifier::new(vec![key("5a")]);
    for line in &lines {
        verifier.add(line);
    }
    assert_eq!(verifier.finish(false).remove(0).findings, []);
    assert_eq!(found(&lines), [Finding::Missing(1, 6)]);
}

#[tokio::test]
async fn what_was_not_kept_is_told_of_by_the_next_record() {
    use aaa_audit::file::{FileOptions, FileSink};
    // Nothing can be written there, as on a full disk, until the file is a real one.
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let options = FileOptions {
        path: path.clone(),
        ..FileOptions::default()
    };
    let sink = FileSink::open(options, scribe(Some(key("5a")))).unwrap();
    sink.write(&numbered(1)).await.unwrap_err();
    std::fs::remove_file(&path).unwrap();
    sink.reopen().unwrap();
    for number in 2..5 {
        sink.write(&numbered(number)).await.unwrap();
    }
    sink.close().await;
    let lines: Vec<Line> = std::fs::read(&path)
        .unwrap()
        .split(|byte| *byte == b'\n')
        .filter(|bytes| !bytes.is_empty())
        .map(line)
        .collect();
    let report = verify(vec![key("5a")], &lines).remove(0);
    assert_eq!(report.findings, []);
    assert_eq!(report.unkept, [(1, 1)]);
    assert_eq!((report.records, report.numbers), (3, (2, 4)));
}

mod of_a_stream {
    use std::time::Duration;

    use aaa_audit::nats::{Connection, Login, Tls};
    use aaa_audit::reading::StreamReader;
    use aaa_audit::stream::{Creation, StreamOptions, StreamSink, Wanted};
    use aaa_testing::nats::{self, NatsServer};
    use tempfile::TempDir;

    use super::*;

    fn connection(server: &NatsServer) -> Connection {
        Connection {
            servers: vec![server.url()],
            login: Login::Anonymous,
            tls: Tls::Usual,
            name: "test".to_owned(),
            ..Connection::default()
        }
    }

    #[tokio::test]
    async fn records_come_in_order_and_whole_and_verify() {
        let dir = TempDir::new().unwrap();
        let Some(server) = nats::jetstream(dir.path(), "").unwrap() else {
            return;
        };
        let stream = Wanted {
            name: Some("AUDIT".to_owned()),
            topic: "audit.london".to_owned(),
            create: Some(Creation {
                replicas: 1,
                max_age: Duration::ZERO,
                max_bytes: -1,
            }),
        };
        let options = StreamOptions {
            site: "london".to_owned(),
            connection: connection(&server),
            stream,
            spool: None,
            ack_timeout: Duration::from_secs(2),
        };
        let sink = StreamSink::new(options, scribe(Some(key("5a"))));
        sink.start().await.unwrap();
        let reader = StreamReader::open(&connection(&server), None, "audit.london")
            .await
            .unwrap();
        let read = async |since| {
            let (mut lines, mut caught_up) = (Vec::new(), 0);
            let each = |next| {
                match next {
                    Next::Line(line) => lines.push(line),
                    Next::CaughtUp => caught_up += 1,
                }
                ControlFlow::Continue(())
            };
            reader.read(since, false, each).await.unwrap();
            assert_eq!(caught_up, 1);
            lines
        };
        assert_eq!(read(None).await, []);
        for number in 0..300 {
            let mut record = record(Subject::Sign(install()), Some("up=alice"), allowed());
            record.id = format!("record-{number}");
            sink.write(&Arc::new(record)).await.unwrap();
        }
        let lines = read(None).await;
        assert_eq!(lines.len(), 300);
        assert_eq!(lines[17].id.as_deref(), Some("record-17"));
        assert_eq!(lines[17].place, "AUDIT:18");
        assert_eq!(found(&lines), []);
        let later = lines[299].arrived.unwrap() + Duration::from_hours(1);
        assert_eq!(read(Some(later)).await, []);
        assert_eq!(reader.lags().await.unwrap(), []);
        let missing = StreamReader::open(&connection(&server), Some("OTHER"), "").await;
        assert!(missing.err().unwrap().contains("OTHER"));
        sink.close().await;
    }
}
