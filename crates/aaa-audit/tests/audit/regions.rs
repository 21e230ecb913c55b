//! Real servers of NATS in regions and at a centre, as `deploy/nats` has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aaa_audit::Stored;
use aaa_audit::nats::{Connection, Login, Tls};
use aaa_audit::reading::{Next, StreamReader};
use aaa_audit::stream::{Creation, Layout, Plan, StreamSink, Unusable};
use aaa_testing::nats::NatsServer;
use aaa_testing::regions::{CENTRE, Regions, cluster};
use async_nats::jetstream::{self, stream};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tempfile::TempDir;

use crate::stream::{STREAM, Site, keep, write};

const PATIENCE: Duration = Duration::from_secs(10);

/// How somebody reaches a server.
fn connection(server: &NatsServer, authority: &Path, user: &str) -> Connection {
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(authority).unwrap();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Connection {
        servers: vec![server.url()],
        login: Login::Password(user.to_owned(), user.to_owned().into()),
        tls: Tls::Given(Box::new(config)),
        name: "test".to_owned(),
        ..Connection::default()
    }
}

fn layout(regions: &[&str]) -> Layout {
    let creation = Creation {
        replicas: 1,
        max_age: Duration::ZERO,
        max_bytes: -1,
    };
    Layout {
        stream: STREAM.to_owned(),
        topic: "audit".to_owned(),
        regions: regions.iter().map(|&region| region.to_owned()).collect(),
        centre: Some(CENTRE.to_owned()),
        region: creation,
        central: creation,
    }
}

/// A centre and two regions that are connected.
struct Network {
    servers: Regions,
    operator: async_nats::Client,
}

impl Network {
    async fn start(dir: &TempDir) -> Option<Self> {
        let servers = Regions::start(dir.path(), &["london", "malta"]).unwrap()?;
        let operator = connection(&servers.centre, &servers.authority(), "operator");
        let operator = operator.connect_now(PATIENCE).await.unwrap();
        let network = Self { servers, operator };
        // Leafnodes connect by themselves; waiting for that is asking for it.
        while network
            .plan(&["london", "malta"])
            .await
            .iter()
            .any(Result::is_err)
        {}
        Some(network)
    }

    async fn plan(&self, regions: &[&str]) -> Vec<Result<Plan, Unusable>> {
        layout(regions).plan(&self.operator).await
    }

    async fn set_up(&self) {
        for plan in self.plan(&["london", "malta"]).await {
            plan.unwrap().apply().await.unwrap();
        }
    }

    fn domain(&self, name: &str) -> jetstream::Context {
        jetstream::with_domain(self.operator.clone(), name)
    }

    /// Puts on record in a region.
    async fn sink(&self, dir: &TempDir, region: usize) -> StreamSink {
        let server = &self.servers.regions[region];
        let mut site = Site::new(server.url());
        site.connection = connection(server, &self.servers.authority(), "service");
        let name = ["london", "malta"][region];
        site.topic = format!("audit.{name}");
        let home = dir.path().join(format!("{name}-service"));
        let sink = site.sink(&home);
        sink.start().await.unwrap();
        sink
    }

    async fn reader(&self) -> StreamReader {
        let reader = connection(&self.servers.centre, &self.servers.authority(), "reader");
        StreamReader::open(&reader, Some(STREAM), "").await.unwrap()
    }

    /// How often each record is at the centre, once there are so many.
    async fn records(&self, wanted: usize) -> BTreeMap<String, usize> {
        let reader = self.reader().await;
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        let each = |next| {
            if let Next::Line(line) = next {
                *times.entry(line.id.unwrap()).or_default() += 1;
            }
            if times.len() < wanted {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        reader.read(None, true, each).await.unwrap();
        times
    }
}

fn changes(plans: &[Result<Plan, Unusable>]) -> Vec<String> {
    let one = |plan: &Result<Plan, Unusable>| match plan {
        Ok(plan) => format!("{}: {}", plan.place, plan.changes.join(", ")),
        Err(unusable) => format!("{}! {}", unusable.place, unusable.why),
    };
    plans.iter().map(one).collect()
}

fn names(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("record-{number}")).collect()
}

#[tokio::test]
async fn streams_are_made_once_and_then_are_right() {
    let dir = TempDir::new().unwrap();
    let Some(network) = Network::start(&dir).await else {
        return;
    };
    let plans = network.plan(&["london", "malta"]).await;
    assert_eq!(
        changes(&plans),
        [
            "london: takes the subject audit.london",
            "malta: takes the subject audit.malta",
            "centre: takes the subject audit.centre, takes from london, takes from malta",
        ]
    );
    // To plan is to look.
    let before = network.domain("london").get_stream(STREAM).await;
    before.unwrap_err();
    network.set_up().await;
    let plans = network.plan(&["london", "malta"]).await;
    assert_eq!(changes(&plans), ["london: ", "malta: ", "centre: "]);
    // A region that is not named is left as it is.
    assert_eq!(changes(&network.plan(&[]).await), ["centre: "]);
}

#[tokio::test]
async fn what_is_there_is_made_better_and_keeps_what_it_has() {
    let dir = TempDir::new().unwrap();
    let Some(network) = Network::start(&dir).await else {
        return;
    };
    let (london, malta) = (network.domain("london"), network.domain("malta"));
    let other = |subject: &str, retention| stream::Config {
        name: STREAM.to_owned(),
        subjects: vec![subject.to_owned()],
        retention,
        ..stream::Config::default()
    };
    let limits = stream::RetentionPolicy::Limits;
    london.create_stream(other("other", limits)).await.unwrap();
    let forgets = stream::RetentionPolicy::WorkQueue;
    malta
        .create_stream(other("audit.*", forgets))
        .await
        .unwrap();
    let plans = network.plan(&["london", "malta", "atlantis"]).await;
    assert_eq!(
        changes(&plans),
        [
            "london: takes the subject audit.london, refuses records when it is full, instead of dropping the oldest",
            "malta! stream AUDIT drops records when somebody has read them (its retention is not Limits)",
            "atlantis! no JetStream domain atlantis answers: is it the domain of a server there, and is its leafnode connected?",
            "centre: takes the subject audit.centre, takes from london",
        ]
    );
    plans[0].as_ref().unwrap().apply().await.unwrap();
    let config = london
        .get_stream(STREAM)
        .await
        .unwrap()
        .cached_info()
        .config
        .clone();
    assert_eq!(config.subjects, ["other", "audit.london"]);
    assert_eq!(config.discard, stream::DiscardPolicy::New);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_of_the_regions_is_at_the_centre_in_the_end() {
    let dir = TempDir::new().unwrap();
    let Some(mut network) = Network::start(&dir).await else {
        return;
    };
    network.set_up().await;
    let london = network.sink(&dir, 0).await;
    let malta = network.sink(&dir, 1).await;
    tokio::join!(keep(&london, 0..50), keep(&malta, 50..100));
    network.servers.centre.kill().unwrap();
    tokio::join!(keep(&london, 100..150), keep(&malta, 150..200));
    // A region that loses its server too has its records in the spool.
    network.servers.regions[0].kill().unwrap();
    keep(&london, 200..220).await;
    network.servers.centre.restart().unwrap();
    network.servers.regions[0].restart().unwrap();
    keep(&malta, 220..240).await;
    let times = network.records(240).await;
    for name in names(0..240) {
        assert_eq!(times.get(&name), Some(&1), "{name}");
    }
    let lags = network.reader().await.lags().await.unwrap();
    let mut domains: Vec<_> = lags
        .into_iter()
        .map(|lag| (lag.domain.unwrap(), lag.waiting))
        .collect();
    domains.sort();
    assert_eq!(domains, [("london".to_owned(), 0), ("malta".to_owned(), 0)]);
}

#[tokio::test]
async fn nobody_can_do_more_than_put_on_record() {
    let dir = TempDir::new().unwrap();
    let Some(network) = Network::start(&dir).await else {
        return;
    };
    network.set_up().await;
    let london = network.sink(&dir, 0).await;
    keep(&london, 0..3).await;
    assert_eq!(network.records(3).await.len(), 3);

    let connect = async |server: &NatsServer, user: &str| {
        let connection = connection(server, &network.servers.authority(), user);
        connection.connect_now(PATIENCE).await.unwrap()
    };
    let region = &network.servers.regions[0];
    // The operator of a region reaches no stream of the centre, and nobody of a region puts on record for the centre.
    let operator = connect(region, "operator").await;
    let centre = jetstream::with_domain(operator.clone(), CENTRE);
    assert!(centre.delete_stream(STREAM).await.is_err());
    centre.get_stream(STREAM).await.unwrap_err();
    operator
        .publish("audit.centre", "forged".into())
        .await
        .unwrap();
    operator.flush().await.unwrap();
    // The services of a place cannot take away or read what is on record there.
    let mut service = jetstream::new(connect(region, "service").await);
    service.set_timeout(Duration::from_millis(300));
    let stream = service.get_stream(STREAM).await.unwrap();
    stream.purge().await.unwrap_err();
    assert!(service.delete_stream(STREAM).await.is_err());
    stream.get_raw_message(1).await.unwrap_err();
    let consumer = jetstream::consumer::pull::OrderedConfig::default();
    stream.create_consumer(consumer).await.unwrap_err();
    // Readers read.
    let mut reader = jetstream::new(connect(region, "reader").await);
    reader.set_timeout(Duration::from_millis(300));
    assert!(reader.delete_stream(STREAM).await.is_err());
    assert_eq!(write(&london, 3).await, Ok(Stored::Kept));
    assert_eq!(
        network.records(4).await.into_keys().collect::<Vec<_>>(),
        names(0..4)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_goes_on_with_two() {
    let dir = TempDir::new().unwrap();
    let Some(mut servers) = cluster(dir.path()).unwrap() else {
        return;
    };
    let authority = dir.path().join("tls.crt");
    let operator = connection(&servers[0], &authority, "operator");
    let operator = operator.connect_now(PATIENCE).await.unwrap();
    let mut wanted = layout(&[]);
    wanted.central.replicas = 3;
    // They find each other, and a leader; waiting for that is asking for it.
    loop {
        if let Ok(plan) = wanted.plan(&operator).await.remove(0)
            && plan.apply().await.is_ok()
        {
            break;
        }
    }
    let plan = wanted.plan(&operator).await.remove(0).unwrap();
    assert_eq!((plan.changes, plan.warnings), (vec![], vec![]));

    let mut site = Site::new("");
    site.connection = connection(&servers[0], &authority, "service");
    site.connection.servers = servers.iter().map(NatsServer::url).collect();
    site.topic = "audit.centre".to_owned();
    let sink = site.sink(&dir.path().join("signer"));
    sink.start().await.unwrap();
    keep(&sink, 0..50).await;
    let (outcome, killed) = tokio::join!(keep(&sink, 50..200), async {
        tokio::task::yield_now().await;
        servers[1].kill()
    });
    let ((), ()) = (outcome, killed.unwrap());
    keep(&sink, 200..250).await;
    let mut left = connection(&servers[0], &authority, "reader");
    left.servers = vec![servers[0].url(), servers[2].url()];
    let mut ids = BTreeSet::new();
    // The two have to choose a leader; waiting for that is asking for it.
    while ids.len() < 250 {
        let each = |next| {
            if let Next::Line(line) = next {
                ids.insert(line.id.unwrap());
            }
            ControlFlow::Continue(())
        };
        if let Ok(reader) = StreamReader::open(&left, Some(STREAM), "").await {
            let _ = reader.read(None, false, each).await;
        }
    }
    assert_eq!(ids, names(0..250).into_iter().collect());
}
