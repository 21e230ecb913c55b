//! The signer on the network: a real nats-server that wants TLS and the signer's token, as a Choria broker does.

use std::time::Duration;

use aaa_core::claims::ServerPermissions;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::{Ed25519Key, Ed25519Public};
use aaa_core::token::{Minter, ServerGrant};
use aaa_testing::nats::{self, NatsServer};
use async_nats::{Client, ConnectOptions};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use rcgen::generate_simple_self_signed;
use serde_json::{Value, json};

use crate::site::{Site, lines};

const REPLY: &str = "choria.reply.868a936112914bff2105e739a7566941.1";

/// A site whose signer is on a network.
struct Network {
    site: Site,
    server: NatsServer,
    token: String,
    key: Ed25519Public,
}

impl Site {
    /// The Choria configuration of a signer in version 2, with these lines in the place of the usual.
    fn choria_config(&self, lines: &[(&str, String)]) {
        let path = |name: &str| self.path(name).display().to_string();
        let mut settings = vec![
            ("identity", "aaa.example.net".to_owned()),
            ("collectives", "choria".to_owned()),
            ("plugin.choria.middleware_hosts", "localhost:1".to_owned()),
            ("plugin.security.provider", "choria".to_owned()),
            ("plugin.security.choria.token_file", path("server.jwt")),
            ("plugin.security.choria.seed_file", path("server.seed")),
            ("plugin.security.choria.ca", path("tls.crt")),
        ];
        for (key, value) in lines {
            settings.retain(|(other, _)| other != key);
            settings.push((key, value.clone()));
        }
        let text: Vec<String> = settings
            .iter()
            .map(|(k, v)| format!("{k} = {v}\n"))
            .collect();
        self.write("choria.conf", &text.concat());
    }

    /// A site with everything but a broker.
    fn on_the_network(
        permissions: ServerPermissions,
        validity: Duration,
    ) -> (Self, String, Ed25519Public) {
        let mut site = Self::new();
        let key = Ed25519Key::generate().unwrap();
        let grant = ServerGrant {
            identity: "aaa.example.net".to_owned(),
            collectives: vec!["choria".to_owned()],
            organization: String::new(),
            permissions,
            pub_subjects: Vec::new(),
            public_key: key.public(),
            validity,
        };
        let now = SystemClock.now() - Duration::from_mins(1);
        let token = Minter::organization(site.organization.clone())
            .server(grant, now)
            .unwrap();
        site.secret("server.seed", key.seed_hex().expose());
        site.secret("server.jwt", &token);
        let pair = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        site.write("tls.crt", &pair.cert.pem());
        site.secret("tls.key", &pair.signing_key.serialize_pem());
        site.config["choria_config"] = json!(site.path("choria.conf"));
        site.config["basicjwt_signer"]["choria_service"] = json!(true);
        site.choria_config(&[]);
        (site, token, key.public())
    }
}

fn service_host() -> ServerPermissions {
    ServerPermissions {
        service_host: true,
        ..ServerPermissions::default()
    }
}

impl Network {
    fn new() -> Option<Self> {
        let program = nats::program()?;
        let (site, token, key) = Site::on_the_network(service_host(), Duration::from_hours(1));
        let path = |name: &str| site.path(name).display().to_string();
        let more = format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nauthorization {{ token: \"{token}\" }}\nmax_payload: 8388608\n",
            path("tls.crt"),
            path("tls.key")
        );
        let options = nats::Options {
            more,
            ..nats::Options::default()
        };
        let server = NatsServer::start(&program, &site.path("nats"), options).unwrap();
        let port = server.address().rsplit(':').next().unwrap().to_owned();
        site.choria_config(&[(
            "plugin.choria.middleware_hosts",
            format!("localhost:{port}"),
        )]);
        Some(Self {
            site,
            server,
            token,
            key,
        })
    }

    async fn client(&self) -> Client {
        let port = self.server.address().rsplit(':').next().unwrap().to_owned();
        ConnectOptions::with_token(self.token.clone())
            .add_root_certificates(self.site.path("tls.crt"))
            .require_tls(true)
            .connect(format!("tls://localhost:{port}"))
            .await
            .unwrap()
    }
}

/// A call as a client publishes it.
fn call(action: &str, data: &Value, age: i64, reply: &str) -> Vec<u8> {
    let rpc = json!({"agent": "aaa_signer", "action": action, "data": data}).to_string();
    let nanos = i64::try_from(SystemClock.now().as_nanosecond()).unwrap() - age * 1_000_000_000;
    let request = json!({
        "protocol": "io.choria.protocol.v2.request", "message": STANDARD.encode(rpc), "id": "3MSd3NeVVKOV1DSLSHdzRCtEgTH",
        "sender": "vm", "caller": "up=nobody", "collective": "choria", "agent": "aaa_signer", "ttl": 60, "time": nanos,
        "filter": {}
    });
    let secure = json!({
        "protocol": "io.choria.protocol.v2.secure_request", "request": STANDARD.encode(request.to_string()),
        "signature": STANDARD.encode("insecure")
    });
    let transport = json!({
        "protocol": "io.choria.protocol.v2.transport", "data": STANDARD.encode(secure.to_string()),
        "headers": {"reply": reply, "sender": "vm"}
    });
    transport.to_string().into_bytes()
}

fn inputs(site: &Site, action: &str) -> Value {
    let asked = site.asked(action);
    let request = String::from_utf8(asked.request).unwrap();
    json!({"request": request, "token": asked.token, "signature": asked.signature})
}

/// The RPC reply in a message, whose signature and hash are right.
fn rpc(payload: &[u8], key: &Ed25519Public) -> Value {
    let decoded = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let secure = json(&decoded(&json(payload)["data"]));
    let reply = decoded(&secure["reply"]);
    assert!(key.verify(&reply, &decoded(&secure["signature"])));
    let reply = json(&reply);
    assert_eq!(reply["request"], "3MSd3NeVVKOV1DSLSHdzRCtEgTH");
    assert_eq!(reply["sender"], "aaa.example.net");
    json(&decoded(&reply["message"]))
}

/// Calls, and the status that they are answered with and what its message begins with; none for what is not answered.
fn calls(site: &Site) -> Vec<(Vec<u8>, Option<u8>, &'static str)> {
    let good = inputs(site, "status");
    let bad = |name: &str, value: Value| {
        let mut inputs = good.clone();
        inputs[name] = value;
        inputs
    };
    let late = call("sign", &good, 61, REPLY);
    let astray = call("sign", &good, 0, "choria.node.dev1.x");
    vec![
        // Not answered, so the next one is the first reply that comes.
        (late, None, ""),
        (astray, None, ""),
        (b"\xff{".to_vec(), None, ""),
        (call("sign", &good, 0, REPLY), Some(0), "OK"),
        (
            call("sign", &inputs(site, "disable"), 0, REPLY),
            Some(1),
            "Request Denied: up=bob may not puppet.disable here: not in the action list",
        ),
        (
            call("sign", &bad("token", json!("x.y.z")), 0, REPLY),
            Some(1),
            "Request Denied",
        ),
        (
            call("unsign", &good, 0, REPLY),
            Some(2),
            "the action is unknown; there is: sign",
        ),
        (
            call("sign", &bad("request", json!("")), 0, REPLY),
            Some(3),
            "request is missing",
        ),
        (
            call("sign", &json!({}), 0, REPLY),
            Some(3),
            "request is missing",
        ),
        (
            call("sign", &bad("token", json!(7)), 0, REPLY),
            Some(4),
            "token must be a text",
        ),
        (
            call("sign", &bad("request", json!("{")), 0, REPLY),
            Some(4),
            "Malformed request: ",
        ),
        (
            call("sign", &bad("signature", json!("zz")), 0, REPLY),
            Some(4),
            "signature ",
        ),
    ]
}

const SUBJECT: &str = "choria.broadcast.service.aaa_signer";

#[tokio::test]
async fn calls_are_answered_as_over_http_and_what_is_none_is_not() {
    let Some(mut network) = Network::new() else {
        return;
    };
    // Nobody comes another way.
    network.site.config.as_object_mut().unwrap().remove("port");
    let client = network.client().await;
    let mut events = client.subscribe("choria.lifecycle.event.>").await.unwrap();
    let mut replies = client.subscribe("choria.reply.>").await.unwrap();
    let mut elsewhere = client.subscribe("choria.node.>").await.unwrap();
    client.flush().await.unwrap();
    let running = network.site.start_without_listener().await.unwrap();
    running.readiness().wait().await;
    let startup = events.next().await.unwrap();
    assert_eq!(
        startup.subject.as_str(),
        "choria.lifecycle.event.startup.service_host"
    );

    for (call, code, message) in calls(&network.site) {
        client.publish(SUBJECT, call.into()).await.unwrap();
        let Some(code) = code else { continue };
        let reply = replies.next().await.unwrap();
        assert_eq!(reply.subject.as_str(), REPLY);
        let reply = rpc(&reply.payload, &network.key);
        assert_eq!(reply["statuscode"], code, "{reply}");
        assert!(
            reply["statusmsg"].as_str().unwrap().starts_with(message),
            "{message}: {reply}"
        );
        let signed = reply["data"]["secure_request"].as_str().unwrap();
        assert_eq!(signed.is_empty(), code != 0, "{reply}");
    }
    // As over HTTP: what reached the pipeline, and what could not be read; a call that came too late is nothing at all.
    let records = lines(&network.site.path("audit.log"));
    let count = |action: &str| records.iter().filter(|r| r["action"] == action).count();
    assert_eq!((count("allow"), count("deny"), count("unknown")), (1, 2, 8));
    let records: Vec<_> = records.iter().filter(|r| r["action"] == "allow").collect();
    assert_eq!(records[0]["caller"], "up=bob");

    assert!(running.shutdown().await);
    let shutdown = events.next().await.unwrap();
    assert_eq!(
        shutdown.subject.as_str(),
        "choria.lifecycle.event.shutdown.service_host"
    );
    client.flush().await.unwrap();
    assert!(futures_util::FutureExt::now_or_never(elsewhere.next()).is_none());
}

#[tokio::test]
async fn readiness_follows_the_connection() {
    let Some(mut network) = Network::new() else {
        return;
    };
    let running = network.site.start().await.unwrap();
    running.readiness().wait().await;
    network.server.kill().unwrap();
    while running.readiness().is_ready() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        running.readiness().problems(),
        "network: no connection to a Choria broker\n"
    );
    network.server.restart().unwrap();
    running.readiness().wait().await;
    let client = network.client().await;
    let mut replies = client.subscribe("choria.reply.>").await.unwrap();
    let good = inputs(&network.site, "status");
    // The signer may be back a moment after its connection is.
    let reply = loop {
        client
            .publish(SUBJECT, call("sign", &good, 0, REPLY).into())
            .await
            .unwrap();
        let reply = tokio::time::timeout(Duration::from_secs(1), replies.next()).await;
        if let Ok(reply) = reply {
            break reply.unwrap();
        }
    };
    assert_eq!(rpc(&reply.payload, &network.key)["statuscode"], 0);
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn a_broker_that_is_away_does_not_keep_a_signer_from_stopping() {
    let Some(mut network) = Network::new() else {
        return;
    };
    network.site.config["drain_timeout"] = json!("1h");
    let running = network.site.start().await.unwrap();
    running.readiness().wait().await;
    network.server.kill().unwrap();
    while running.readiness().is_ready() {
        tokio::task::yield_now().await;
    }
    assert!(running.shutdown().await);
}

#[tokio::test]
async fn all_that_is_wrong_with_the_network_is_told_at_once() {
    let (site, ..) = Site::on_the_network(ServerPermissions::default(), Duration::from_hours(1));
    site.choria_config(&[
        ("identity", String::new()),
        ("collectives", "choria, a.b".to_owned()),
        ("plugin.choria.middleware_hosts", String::new()),
        (
            "plugin.security.choria.ca",
            site.path("nowhere").display().to_string(),
        ),
    ]);
    let told = site.problems().await;
    for problem in [
        "choria_config: identity",
        "\"a.b\" is no name of a collective",
        "choria_config: plugin.choria.middleware_hosts",
        "choria_config: plugin.security.choria.token_file",
        "no service_host permission",
    ] {
        assert!(told.contains(problem), "{problem} is not in {told}");
    }
}

#[tokio::test]
async fn a_token_that_no_broker_takes_is_refused_at_start() {
    let (site, ..) = Site::on_the_network(service_host(), Duration::from_secs(30));
    let told = site.problems().await;
    assert!(told.contains("has expired"), "{told}");

    let (site, ..) = Site::on_the_network(service_host(), Duration::from_hours(1));
    site.secret(
        "server.seed",
        Ed25519Key::generate().unwrap().seed_hex().expose(),
    );
    let told = site.problems().await;
    assert!(
        told.contains("is not the seed of the key that the token is bound to"),
        "{told}"
    );

    site.secret(
        "server.jwt",
        &std::fs::read_to_string(site.path("signer.jwt")).unwrap(),
    );
    let told = site.problems().await;
    assert!(told.contains("is no server token"), "{told}");

    let (mut site, ..) = Site::on_the_network(service_host(), Duration::from_hours(1));
    site.config.as_object_mut().unwrap().remove("choria_config");
    let told = site.problems().await;
    assert!(told.contains("choria_config"), "{told}");
}

#[tokio::test]
async fn tokens_alone_are_not_taken_from_a_broker_that_could_be_anybody() {
    let (mut site, ..) = Site::on_the_network(service_host(), Duration::from_hours(1));
    site.config["basicjwt_signer"]["allow_bearer_tokens"] = json!(true);
    // The authority of the other provider is none for this one.
    let other = site.path("tls.crt").display().to_string();
    for more in [vec![], vec![("plugin.security.file.ca", other)]] {
        site.choria_config(&[vec![("plugin.security.choria.ca", String::new())], more].concat());
        let told = site.problems().await;
        assert!(
            told.contains("basicjwt_signer.allow_bearer_tokens"),
            "{told}"
        );
    }
}
