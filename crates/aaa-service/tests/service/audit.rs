//! Where records go, as configured.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_audit::Trail;
use aaa_core::audit::{Effect, Exchange, Front, Outcome, Record, Subject};
use aaa_core::clock::{Clock as _, ManualClock};
use aaa_core::decision::Reason;
use aaa_service::config::Document;
use aaa_service::shell::{self, StartError};
use aaa_testing::nats;
use tempfile::TempDir;

use crate::support::{PROGRAM, Signer, admin, document, options};

/// Starts a service whose trail is what this configuration says.
async fn start(document: Document) -> Result<shell::Running, StartError> {
    start_with(document, |_| ()).await
}

async fn start_with(
    document: Document,
    take: impl FnOnce(Arc<Trail>) + Send + 'static,
) -> Result<shell::Running, StartError> {
    let (signer, _) = Signer::new();
    shell::start(&PROGRAM, document, options(true), |document, shell| {
        take(shell.trail(document));
        document.finish()?;
        Ok(signer.handlers())
    })
    .await
}

/// `/dev/full` takes nothing, as a full disk does; made a file that takes something while nobody asks, all is well again.
#[tokio::test]
async fn a_service_whose_required_file_is_full_is_not_ready_until_it_is_not() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let settings = format!(r#""logfile": "{}""#, path.display());
    let (give, taken) = std::sync::mpsc::channel();
    let running = start_with(configuration("logfile", &settings), move |trail| {
        give.send(trail).unwrap();
    });
    let running = running.await.unwrap();
    let trail = taken.recv().unwrap();
    assert!(running.readiness().is_ready());
    trail.record(Arc::new(record())).await.unwrap_err();
    assert!(!running.readiness().is_ready());
    let problems = running.readiness().problems();
    assert!(
        problems.starts_with("logfile_auditor: ") && problems.contains("No space"),
        "{problems}"
    );
    let alarm = r#"choria_aaa_audit_alarm{site="london",auditor="logfile"} 1"#;
    let (_, metrics) = admin(&running, "/metrics").await;
    assert!(metrics.contains(alarm), "{metrics}");
    std::fs::remove_file(&path).unwrap();
    trail.reopen().unwrap();
    running.readiness().wait().await;
    let (_, metrics) = admin(&running, "/metrics").await;
    assert!(!metrics.contains(alarm), "{metrics}");
}

#[tokio::test]
async fn without_an_auditor_the_log_is_required() {
    let running = start(document(r#"{"site": "london"}"#)).await.unwrap();
    assert!(running.readiness().is_ready());
    let (_, metrics) = admin(&running, "/metrics").await;
    let alarm = r#"choria_aaa_audit_alarm{site="london",auditor="log"} 0"#;
    assert!(metrics.contains(alarm), "{metrics}");
}

fn record() -> Record {
    let clock = ManualClock::at(1_795_000_000);
    Record {
        id: "3MScw6FciyQvaNKhi4NTbHiSZTx".to_owned(),
        time: clock.now(),
        site: "london".into(),
        exchange: Arc::new(Exchange {
            id: "3MScvvbVlkVSGTGWYtjHDRXMyrR".to_owned(),
            front: Front::Rest,
            trace: None,
            received: Instant::now(),
        }),
        latency: Duration::ZERO,
        caller: None,
        token: None,
        action: None,
        effect: Effect::Refused,
        outcome: Outcome::Refused {
            reason: Reason::LoginRefused,
            detail: "wrong".to_owned(),
        },
        subject: Subject::Login {
            username: "bob".to_owned(),
        },
    }
}

fn configuration(auditor: &str, settings: &str) -> Document {
    document(&format!(
        r#"{{"site": "london", "auditors": ["{auditor}"], "{auditor}_auditor": {{{settings}}}}}"#
    ))
}

#[tokio::test]
async fn all_that_is_wrong_with_a_stream_is_told_at_once() {
    let document = configuration(
        "jetstream",
        r#""servers": "nats://bob:secret@a:4222", "user": "aaa", "token_file": "/no/token", "tls_key": "/no/key",
           "ack_timeout": "9s", "stream": {"replicas": 9}, "spool_dir": "/dev/null/spool", "spool_dirr": 1"#,
    );
    let Err(StartError::Configuration(problems)) = start(document).await else {
        panic!("must not start");
    };
    let told = problems.to_string();
    for key in [
        "jetstream_auditor.servers",
        "jetstream_auditor.topic",
        "jetstream_auditor.token_file",
        "jetstream_auditor.tls_key",
        "jetstream_auditor.tls_certificate",
        "jetstream_auditor.ack_timeout",
        "jetstream_auditor.stream.replicas",
        "jetstream_auditor.stream.name",
        "jetstream_auditor.spool_dir",
        "did you mean spool_dir",
    ] {
        assert!(told.contains(key), "{key} is not in {told}");
    }
    assert!(!told.contains("secret@"), "{told}");
}

/// A port where nobody listens.
const NOWHERE: &str = r#""servers": "nats://127.0.0.1:1", "topic": "audit""#;

#[tokio::test(start_paused = true)]
async fn without_a_spool_a_required_stream_must_be_there() {
    let Err(StartError::Runtime(problem)) = start(configuration("jetstream", NOWHERE)).await else {
        panic!("must not start");
    };
    assert!(problem.contains("nats://127.0.0.1:1"), "{problem}");
    let wanted = format!(r#"{NOWHERE}, "delivery": "best_effort""#);
    start(configuration("jetstream", &wanted)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn with_a_spool_the_stream_may_come_later() {
    let dir = TempDir::new().unwrap();
    let spool = format!(
        r#"{NOWHERE}, "spool_dir": "{}/spool""#,
        dir.path().display()
    );
    let running = start(configuration("jetstream", &spool)).await.unwrap();
    assert!(running.readiness().is_ready());
}

#[tokio::test]
async fn an_old_site_with_nats_streaming_goes_on_with_jetstream() {
    let dir = TempDir::new().unwrap();
    let Some(server) = nats::jetstream(dir.path(), "").unwrap() else {
        return;
    };
    let settings = format!(
        r#""servers": "{}", "topic": "audit", "cluster_id": "old", "stream": {{"name": "AUDIT"}}"#,
        server.url()
    );
    let document = configuration("natsstream", &settings);
    let running = start(document).await.unwrap();
    assert!(running.readiness().is_ready());
    let (_, metrics) = admin(&running, "/metrics").await;
    let up = r#"choria_aaa_audit_stream_up{site="london",auditor="jetstream"} 1"#;
    assert!(metrics.contains(up), "{metrics}");
}

#[tokio::test]
async fn what_v2_has_is_wrong_elsewhere_and_told() {
    let dir = TempDir::new().unwrap();
    let key = dir.path().join("short.key");
    std::fs::write(&key, "5a5a\n").unwrap();
    for (settings, told) in [
        (
            r#""redact": {"*.*.password": "drop"}"#.to_owned(),
            "logfile_auditor.redact",
        ),
        (
            r#""format": "v2", "redact": {"*.*.password": "hmac"}"#.to_owned(),
            "hmac needs chain_key",
        ),
        (
            r#""format": "v2", "redact": {"password": "drop"}"#.to_owned(),
            "agent.action.input",
        ),
        (
            format!(r#""format": "v2", "chain_key": "{}""#, key.display()),
            "64 hexadecimal characters",
        ),
    ] {
        let Err(StartError::Configuration(problems)) =
            start(configuration("logfile", &settings)).await
        else {
            panic!("must not start: {settings}");
        };
        let problems = problems.to_string();
        assert!(problems.contains(told), "{told} is not in {problems}");
    }
}
