//! Records on their way to a stream, whatever is killed on the way.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use aaa_testing::nats::{self, NatsServer};
use async_nats::jetstream::{self, consumer::pull};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::support::{Home, LOGIN, Services, request_id};

/// A site whose records go to this server, with a spool.
fn site(home: &Home, server: &NatsServer) {
    drop(Services::start(home));
    let mut config: Value = serde_json::from_str(&home.read("site/config.json")).unwrap();
    config["auditors"] = json!(["logfile", "jetstream"]);
    config["jetstream_auditor"] = json!({
        "servers": server.url(), "topic": "audit.home", "stream": {"name": "AUDIT"},
        "spool_dir": home.path("site/spool"), "ack_timeout": "200ms",
    });
    home.write("site/config.json", &config.to_string());
}

/// Has requests signed until it is told to stop: the ids of those that were.
fn load(home: &Home, stop: &AtomicBool) -> Vec<String> {
    let mut ids = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let run = home.sign("site/client.conf", "status");
        // Once the service is gone there is no answer; whether there was a record is its own affair then.
        if run.code == 0 {
            ids.push(request_id(&run.json()));
        }
    }
    ids
}

/// How often each request is in the stream, once it has all of these.
async fn requests(server: &NatsServer, wanted: &[String]) -> HashMap<String, usize> {
    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let stream = jetstream.get_stream("AUDIT").await.unwrap();
    let consumer = stream
        .create_consumer(pull::OrderedConfig::default())
        .await
        .unwrap();
    let mut messages = consumer.messages().await.unwrap();
    let mut times: HashMap<String, usize> = HashMap::new();
    while !wanted.iter().all(|id| times.contains_key(id)) {
        let message = messages.next().await.unwrap().unwrap();
        let record: Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(record["protocol"], "io.choria.signer.v1.signature_audit");
        let request: Value = serde_json::from_str(record["request"].as_str().unwrap()).unwrap();
        *times
            .entry(request["id"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_record_once_though_all_are_killed() {
    let home = Home::new();
    let Some(mut server) = nats::jetstream(&home.path("nats"), "").unwrap() else {
        return;
    };
    site(&home, &server);
    let services = Services::start(&home);
    home.aaa(&LOGIN).ends(0);
    let stop = AtomicBool::new(false);
    let signed = std::thread::scope(|scope| {
        let loads: Vec<_> = (0..4).map(|_| scope.spawn(|| load(&home, &stop))).collect();
        let more = |n: usize| {
            for _ in 0..n {
                home.aaa(&LOGIN).ends(0);
            }
        };
        more(2);
        server.kill().unwrap();
        more(3);
        // kill -9, with records in the spool and in flight.
        drop(services);
        stop.store(true, Ordering::Relaxed);
        let ids = loads.into_iter().flat_map(|load| load.join().unwrap());
        ids.collect::<Vec<_>>()
    });
    assert!(!signed.is_empty());
    server.restart().unwrap();
    let _again = Services::start(&home);
    let times = requests(&server, &signed).await;
    for id in &signed {
        assert_eq!(times[id], 1, "{id}");
    }
}
