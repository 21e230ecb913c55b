//! Start, readiness, reload, drain.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aaa_api::handler::Handlers;
use aaa_service::config::{FileContent, Problems};
use aaa_service::shell::{self, StartError};
use aaa_service::telemetry::{Settings, Telemetry};
use tokio::net::TcpStream;

use crate::support::{PROGRAM, Signer, admin, connect, document, options, sign, start, text};

#[tokio::test]
async fn ready_is_what_all_conditions_say() {
    let (signer, _) = Signer::new();
    let mut handle = None;
    let running = start("{}", &signer, |shell| {
        handle = Some(shell.readiness().register("users"));
    })
    .await;
    assert_eq!(
        admin(&running, "/healthz/live").await,
        (200, "alive\n".to_owned())
    );
    assert_eq!(
        admin(&running, "/healthz/ready").await,
        (503, "users: starting\n".to_owned())
    );
    handle.unwrap().ready();
    running.readiness().wait().await;
    assert_eq!(
        admin(&running, "/healthz/ready").await,
        (200, "ready\n".to_owned())
    );
    let (_, metrics) = admin(&running, "/metrics").await;
    let line = "choria_aaa_build_info{site=\"default\",version=\"1.2.3\"} 1";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
}

#[tokio::test]
async fn draining_finishes_what_is_in_flight_and_then_flushes() {
    let (signer, mut entries) = Signer::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let running = start("{}", &signer, |shell| {
        let draining = shell.draining();
        for name in ["first", "second"] {
            let log = Arc::clone(&log);
            shell.on_drain(name, move || async move { log.lock().unwrap().push(name) });
        }
        let log = Arc::clone(&log);
        shell.tasks().spawn(async move {
            draining.cancelled().await;
            log.lock().unwrap().push("task");
        });
    })
    .await;
    let address = running.addr.unwrap();
    let readiness = running.readiness().clone();
    let mut connection = connect(address).await;
    let held = tokio::spawn(connection.send_request(sign("hold")));
    assert_eq!(entries.recv().await.unwrap(), "hold");

    let stopping = tokio::spawn(running.shutdown());
    while readiness.is_ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(readiness.problems(), "service: stopping\n");
    // The listener is gone once its task has run.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    assert!(!log.lock().unwrap().contains(&"first"));
    signer.leave.notify_one();
    let response = held.await.unwrap().unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await.0, 200);
    assert!(stopping.await.unwrap());
    assert_eq!(*log.lock().unwrap(), ["task", "first", "second"]);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off() {
    let (signer, mut entries) = Signer::new();
    let flushed = Arc::new(Mutex::new(false));
    let running = start("{\"drain_timeout\": \"20ms\"}", &signer, |shell| {
        let flushed = Arc::clone(&flushed);
        shell.on_drain(
            "audit",
            move || async move { *flushed.lock().unwrap() = true },
        );
    })
    .await;
    let mut connection = connect(running.addr.unwrap()).await;
    let held = tokio::spawn(connection.send_request(sign("hold")));
    assert_eq!(entries.recv().await.unwrap(), "hold");
    assert!(!running.shutdown().await);
    assert!(held.await.unwrap().is_err());
    assert!(*flushed.lock().unwrap());
}

#[tokio::test]
async fn a_reload_reopens_and_rereads_and_keeps_what_it_cannot_replace() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("aaa.json");
    let users = dir.path().join("users");
    std::fs::write(&users, "one").unwrap();
    let (signer, _) = Signer::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let running = start("{\"site\": \"reloading\"}", &signer, |shell| {
        let (reopened, followed) = (Arc::clone(&log), Arc::clone(&log));
        shell.on_reopen("audit", move || {
            reopened.lock().unwrap().push("reopened".to_owned());
            Ok(())
        });
        // Both read before one takes; what is wrong for the second, the first does not take either.
        for (name, takes) in [("login", &["authenticator"]), ("signer", &["signer"])] {
            let reread = Arc::clone(&log);
            shell.on_reload(name, takes, move |document| {
                let value = document.top().string(takes[0])?;
                reread.lock().unwrap().push(format!("{name} read {value}"));
                if value == "bad" {
                    document.problem(takes[0], "bad");
                }
                let taken = Arc::clone(&reread);
                Some(Box::new(move || {
                    taken.lock().unwrap().push(format!("{name} took {value}"));
                }))
            });
        }
        let read = FileContent::read(&users, 100).unwrap();
        shell.follow("users_file", &read, 100, move |file| {
            followed
                .lock()
                .unwrap()
                .push(format!("users {}", file.text().unwrap()));
            Ok(())
        });
    })
    .await;
    let seen = || std::mem::take(&mut *log.lock().unwrap());
    let reload = async |authenticator: &str, signer: &str| {
        let text = serde_json::json!({"site": "reloading", "authenticator": authenticator, "signer": signer});
        std::fs::write(&config, text.to_string()).unwrap();
        running.reload(Some(&config)).await
    };

    assert!(reload("a", "b").await);
    let all = [
        "reopened",
        "login read a",
        "signer read b",
        "login took a",
        "signer took b",
    ];
    assert_eq!(seen(), all);

    std::fs::write(&users, "two").unwrap();
    assert!(running.reload(None).await);
    assert_eq!(seen(), ["reopened", "users two"]);

    assert!(!reload("c", "bad").await);
    assert_eq!(seen(), ["reopened", "login read c", "signer read bad"]);
    assert!(!reload("bad", "d").await);
    assert_eq!(seen(), ["reopened", "login read bad", "signer read d"]);

    std::fs::write(&config, "{\"sitee\": \"worse\", \"signer\": \"e\"}").unwrap();
    assert!(!running.reload(Some(&config)).await);
    std::fs::write(&config, "{").unwrap();
    assert!(!running.reload(Some(&config)).await);
    assert_eq!(seen(), ["reopened", "signer read e", "reopened"]);

    let (_, metrics) = admin(&running, "/metrics").await;
    for line in [
        "choria_aaa_reload_errors{site=\"reloading\",what=\"login\"} 1",
        "choria_aaa_reload_errors{site=\"reloading\",what=\"signer\"} 1",
        "choria_aaa_reload_errors{site=\"reloading\",what=\"configuration\"} 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("aaa.json");
    let choria = dir.path().join("client.conf");
    std::fs::write(&choria, "collectives = a\n").unwrap();
    let text = |auditors: &str, key: &str, rest: &str| {
        format!(
            "{{\"site\": \"restarting\", \"choria_config\": {choria:?}, \"auditors\": [\"{auditors}\"], \
             \"basicjwt_signer\": {{\"max_validity\": \"{key}\", \"choria_service\": false}}{rest}}}"
        )
    };
    let (signer, _) = Signer::new();
    let taken = Arc::new(Mutex::new(0));
    let running = start(&text("logfile", "1h", ""), &signer, |shell| {
        let taken = Arc::clone(&taken);
        shell.on_reload("signer", &["basicjwt_signer.max_validity"], move |_| {
            let taken = Arc::clone(&taken);
            Some(Box::new(move || *taken.lock().unwrap() += 1))
        });
    })
    .await;
    let reload = async |text: String| {
        std::fs::write(&config, text).unwrap();
        running.reload(Some(&config)).await
    };
    // Each key in which the old and the new differ is looked at, also one that is gone or new, and the file that one names.
    assert!(reload(text("logfile", "2h", ", \"loglevel\": \"warn\"")).await);
    std::fs::write(&choria, "collectives = b\n").unwrap();
    let changed = text(
        "jetstream",
        "2h",
        ", \"logfile_auditor\": {\"logfile\": \"/x\"}, \"port\": 1",
    );
    assert!(!reload(changed.replace(", \"choria_service\": false", "")).await);
    assert_eq!(*taken.lock().unwrap(), 2);
    let (_, metrics) = admin(&running, "/metrics").await;
    let counted: Vec<_> = metrics
        .lines()
        .filter_map(|line| {
            line.strip_prefix("choria_aaa_reload_errors{site=\"restarting\",what=\"")
        })
        .collect();
    for key in [
        "auditors",
        "basicjwt_signer.choria_service",
        "choria_config (the file)",
        "logfile_auditor.logfile",
        "port",
    ] {
        assert!(
            counted.contains(&format!("{key}\"}} 1").as_str()),
            "{key}: {counted:?}"
        );
    }
    assert_eq!(counted.len(), 5);
}

/// Why a service does not start.
async fn refusal(config: &str, more: impl FnOnce(&mut Problems)) -> String {
    let built = shell::start(&PROGRAM, document(config), options(false), |_, shell| {
        assert_eq!(shell.site(), "default");
        let mut problems = Problems::new("aaa.json");
        more(&mut problems);
        Err(problems)
    });
    match built.await {
        Err(StartError::Configuration(problems)) => problems.to_string(),
        Err(StartError::Runtime(problem)) => panic!("{problem}"),
        Ok(_) => panic!("it started"),
    }
}

#[tokio::test]
async fn all_problems_of_service_and_shell_are_reported_at_once() {
    let config = r#"{
        "max_connections": 0, "listen": "nowhere", "tls_certificate": "/none/tls.crt", "tls_key": "/none/tls.key", "flavour": 1
    }"#;
    let text = refusal(config, |problems| {
        problems.push(
            "basicjwt_signer.max_validty",
            "unknown; did you mean max_validity?",
        );
    })
    .await;
    assert_eq!(
        text,
        "aaa.json: 5 problems\n  \
         flavour                       unknown\n  \
         max_connections               0: wants a whole number from 1 to 1000000\n  \
         tls_certificate               /none/tls.crt: no such file; wants a certificate in PEM, with its chain\n  \
         tls_key                       /none/tls.key: no such file; wants the private key of tls_certificate in PEM\n  \
         basicjwt_signer.max_validty   unknown; did you mean max_validity?"
    );
    assert_eq!(
        refusal("{}", |problems| problems.push("x", "y")).await,
        "aaa.json: 3 problems\n  \
         tls_certificate   required; or say --disable-tls behind a proxy that does TLS\n  \
         tls_key           required; or say --disable-tls behind a proxy that does TLS\n  \
         x                 y"
    );
}

#[tokio::test]
async fn without_a_port_there_must_be_another_way_in() {
    let build = |own: bool| {
        let options = shell::Options {
            listen: None,
            ..options(true)
        };
        shell::start(&PROGRAM, document("{}"), options, move |_, shell| {
            if own {
                shell.has_own_front();
            }
            Ok(Handlers::default())
        })
    };
    match build(false).await {
        Err(error) => assert_eq!(
            error.to_string(),
            "aaa.json: 1 problem\n  port   required, for example 8443"
        ),
        Ok(_) => panic!("it started"),
    }
    let running = build(true).await.unwrap();
    assert_eq!(running.addr, None);
    assert_eq!(admin(&running, "/healthz/ready").await.0, 200);
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn a_service_that_cannot_start_says_which_part() {
    let (signer, _) = Signer::new();
    let started = shell::start(&PROGRAM, document("{}"), options(true), |_, shell| {
        shell.on_start("audit", || async { Err("the disk is full".to_owned()) });
        Ok(signer.handlers())
    });
    match started.await {
        Err(StartError::Runtime(problem)) => assert_eq!(problem, "audit: the disk is full"),
        _ => panic!("it started"),
    }
}

#[tokio::test]
async fn every_line_of_a_request_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("aaa.log");
    let config = format!("{{\"logfile\": {path:?}, \"log_format\": \"json\"}}");
    let settings = Settings::read(&document(&config), "aaa-test", false);
    let telemetry = Telemetry::open(&settings, options(true).clock).unwrap();
    let _log = tracing::dispatcher::set_default(telemetry.dispatch());
    let (signer, _) = Signer::new();
    let running = start(&config, &signer, |_| ()).await;
    let mut connection = connect(running.addr.unwrap()).await;
    let mut request = sign("logged");
    request
        .headers_mut()
        .insert("x-request-id", "name-of-it".parse().unwrap());
    text(connection.send_request(request).await.unwrap()).await;
    let log = std::fs::read_to_string(&path).unwrap();
    let line = log
        .lines()
        .find(|line| line.contains("\"signing\""))
        .unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line["request_id"], "name-of-it");
    assert_eq!(line["token"], "logged");
    assert_eq!(line["level"], "info");
}
