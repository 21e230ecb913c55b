//! `aaa doctor`.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use aaa_core::key::Ed25519Key;
use aaa_testing::nats::{self, NatsServer};
use aaa_testing::okta::{self, Okta};
use async_nats::jetstream;
use serde_json::{Value, json};

use super::support::{Home, Run, Services};

const CONFIG: &str = "site/config.json";
/// A password hashed with bcrypt at cost 5.
const CHEAP: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// A home with a site that was run once.
fn site() -> Home {
    let home = Home::new();
    drop(Services::start(&home));
    home
}

fn config(home: &Home) -> Value {
    serde_json::from_str(&home.read(CONFIG)).unwrap()
}

fn change(home: &Home, change: impl FnOnce(&mut Value)) {
    let mut config = config(home);
    change(&mut config);
    fs::write(home.path(CONFIG), config.to_string()).unwrap();
}

/// The public key of a seed.
fn public(home: &Home, seed: &str) -> String {
    let key = Ed25519Key::from_seed_file(home.read(seed).as_bytes()).unwrap();
    key.public().to_hex()
}

fn expose(home: &Home, name: &str) {
    fs::set_permissions(home.path(name), fs::Permissions::from_mode(0o644)).unwrap();
}

/// What it says of a check and a subject: status and text of each.
fn said(run: &Run, check: &str, subject: &str) -> Vec<(String, String)> {
    let report = run.json();
    let findings = report["findings"].as_array().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    findings
        .iter()
        .filter(|finding| finding["check"] == check && finding["subject"] == subject)
        .map(|finding| (text(finding, "status"), text(finding, "text")))
        .collect()
}

#[track_caller]
fn says(run: &Run, check: &str, subject: &str, status: &str, part: &str) {
    let said = said(run, check, subject);
    assert!(
        said.iter()
            .any(|(s, text)| s == status && text.contains(part)),
        "{check} {subject}: {said:?} in {run:#?}"
    );
}

fn offline(home: &Home) -> Run {
    home.aaa(&["doctor", "--offline", "--json", CONFIG])
}

#[test]
fn a_good_site_is_told_what_works() {
    let home = site();
    let before = snapshot(&home);
    let run = home.aaa(&["doctor", CONFIG]).ends(0);
    assert_eq!(run.stderr, "");
    // A second may have gone by since the tokens were made.
    insta::assert_snapshot!(run.stdout.replace("364 d", "365 d"));
    assert_eq!(snapshot(&home), before, "it changes nothing");
}

/// Every file with its content.
fn snapshot(home: &Home) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(home.path("site")).unwrap();
    files
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn what_is_unsafe_is_said_and_no_secret_with_it() {
    let home = site();
    let users: Value = serde_json::from_str(&home.read("site/users.json")).unwrap();
    let bob = json!({"username": "bob", "password": CHEAP, "acls": ["*"]});
    home.write("site/users.json", &json!([users[0], bob]).to_string());
    for name in ["site/users.json", "site/login.seed", "site/tls.key"] {
        expose(&home, name);
    }
    // The login service's own key, with which it could vouch for itself.
    let seed = home.read("site/login.seed");
    home.write("site/login.public", &public(&home, "site/login.seed"));
    change(&home, |config| {
        config["userlist_authenticator"]["validity"] = json!("48h");
        config["basicjwt_signer"]["max_validity"] = json!("8760h");
        config["basicjwt_signer"]["allow_bearer_tokens"] = json!(true);
        config["basicjwt_signer"]["signing_certificate"] = json!(home.path("site/login.public"));
    });
    let run = offline(&home).ends(1);
    says(
        &run,
        "passwords",
        "userlist_authenticator.users_file",
        "warn",
        "1 of 2 passwords",
    );
    says(
        &run,
        "permissions",
        "userlist_authenticator.users_file",
        "fail",
        "mode 0644",
    );
    says(
        &run,
        "permissions",
        "userlist_authenticator.signing_key",
        "fail",
        "mode 0644",
    );
    says(&run, "permissions", "tls_key", "fail", "mode 0644");
    says(
        &run,
        "lifetime",
        "userlist_authenticator.validity",
        "warn",
        "tokens last 2 d",
    );
    says(
        &run,
        "lifetime",
        "basicjwt_signer.max_validity",
        "warn",
        "365 d",
    );
    let bearer = "basicjwt_signer.allow_bearer_tokens";
    says(
        &run,
        "binding",
        bearer,
        "warn",
        "whoever finds one can use it",
    );
    says(
        &run,
        "issuer",
        "basicjwt_signer.signing_certificate",
        "fail",
        "verifies with the authenticator's key; anybody could then mint chains: use the organization issuer's public key",
    );
    says(
        &run,
        "issuer",
        "basicjwt_signer.signing_token",
        "fail",
        "cannot be verified",
    );
    let text = home.aaa(&["doctor", "--offline", CONFIG]).ends(1).stdout;
    let token = home.read("site/login.jwt");
    for secret in [
        seed.trim(),
        CHEAP,
        token.trim(),
        &home.read("site/signer.seed"),
    ] {
        assert!(!text.contains(secret) && !run.stdout.contains(secret));
    }
}

#[test]
fn tokens_that_the_signer_will_not_take_are_found_beforehand() {
    let home = site();
    change(&home, |config| {
        config["userlist_authenticator"]["validity"] = json!("3h");
    });
    let run = offline(&home).ends(1);
    let key = "userlist_authenticator.validity";
    says(
        &run,
        "lifetime",
        key,
        "fail",
        "3 h is more than max_validity (2 h)",
    );

    change(&home, |config| {
        config["userlist_authenticator"]["validity"] = json!("1h");
        config["userlist_authenticator"]
            .as_object_mut()
            .unwrap()
            .remove("signing_token");
    });
    let run = offline(&home).ends(1);
    let key = "basicjwt_signer.signing_certificate";
    says(
        &run,
        "issuer",
        key,
        "fail",
        "is not the public key of userlist_authenticator.signing_key",
    );
}

#[test]
fn every_problem_of_a_start_is_named() {
    let home = site();
    change(&home, |config| {
        config["basicjwt_signer"]["max_validty"] = json!("2h");
        config["basicjwt_signer"]["max_validity"] = json!("soon");
        config["userlist_authenticator"]["users_file"] = json!("/nowhere");
        config["port"] = json!("many");
        config["tls_key"] = json!(home.path("site/login.seed"));
        config["logfile"] = json!("/nowhere/aaa.log");
    });
    let check = home.aaa(&["config", "check", CONFIG]).ends(64);
    let problems: Vec<&str> = check
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split("   ").next())
        .collect();
    assert!(problems.len() >= 5, "{check:#?}");
    let run = offline(&home).ends(1);
    for key in problems {
        assert!(
            said(&run, "setting", key)
                .iter()
                .any(|(status, _)| status == "fail"),
            "{key} is not in {run:#?}"
        );
    }
    says(
        &run,
        "configuration",
        "configuration",
        "fail",
        "no service starts with it",
    );
}

#[test]
fn what_cannot_be_read_is_no_configuration() {
    let home = Home::new();
    home.write("bad.json", "{\"port\": 1,}");
    home.aaa(&["doctor", "bad.json"])
        .ends(64)
        .without_data()
        .says("line 1");
    home.aaa(&["doctor", "--json", "nowhere.json"])
        .ends(64)
        .without_data()
        .says("no such file");
}

#[test]
fn a_site_that_comes_from_aaasvc_is_told_what_changes() {
    let home = site();
    change(&home, |config| {
        config["auditors"] = json!(["logfile", "natsstream"]);
        config["natsstream_auditor"] =
            json!({"servers": "nats://127.0.0.1:1", "topic": "audit", "cluster_id": "c"});
    });
    let run = offline(&home).ends(0);
    says(
        &run,
        "setting",
        "auditors",
        "warn",
        "NATS Streaming no longer exists",
    );
    says(
        &run,
        "setting",
        "natsstream_auditor.cluster_id",
        "warn",
        "ignored",
    );
    says(
        &run,
        "change",
        "natsstream_auditor.delivery",
        "note",
        "aaasvc went on without",
    );
    says(
        &run,
        "change",
        "natsstream_auditor.request_encoding",
        "note",
        "aaasvc sent an object",
    );
    says(&run, "change", "login_throttle", "note", "hold back");
    says(
        &run,
        "change",
        "basicjwt_signer",
        "note",
        "organization issuer",
    );
    assert!(
        said(&run, "stream", "stream audit").is_empty(),
        "nobody was asked"
    );
}

/// A port that nobody listens on.
fn closed() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stream_is_asked_and_not_made() {
    let home = site();
    let port = closed();
    change(&home, |config| {
        config["auditors"] = json!(["jetstream"]);
        config["jetstream_auditor"] = json!({
            "servers": format!("nats://127.0.0.1:{port}"), "topic": "audit.home", "stream": {"name": "AUDIT"},
            "spool_dir": home.path("site/spool"),
        });
    });
    let doctor = || home.aaa(&["doctor", "--json", CONFIG]);
    let stream = "stream AUDIT";
    let run = doctor().ends(1);
    says(
        &run,
        "stream",
        stream,
        "fail",
        &format!("no server lets this client in at nats://127.0.0.1:{port}"),
    );

    let Some(server) = nats::jetstream(&home.path("nats"), "").unwrap() else {
        return;
    };
    change(&home, |config| {
        config["jetstream_auditor"]["servers"] = json!(server.url());
    });
    let run = doctor().ends(0);
    says(
        &run,
        "stream",
        stream,
        "warn",
        "is not there; the service makes it when it starts",
    );
    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    assert!(jetstream.get_stream("AUDIT").await.is_err());
    assert!(!home.path("site/spool").exists());

    let mut wanted = jetstream::stream::Config {
        name: "AUDIT".to_owned(),
        subjects: vec!["audit.*".to_owned()],
        ..jetstream::stream::Config::default()
    };
    jetstream.create_stream(wanted.clone()).await.unwrap();
    let run = doctor().ends(0);
    says(&run, "stream", stream, "ok", "keeps audit.home");
    says(&run, "stream", stream, "warn", "one replica");
    says(&run, "stream", stream, "warn", "set discard to new");
    wanted.subjects = vec!["other".to_owned()];
    jetstream.update_stream(wanted).await.unwrap();
    says(
        &doctor().ends(1),
        "stream",
        stream,
        "fail",
        "has the subjects other, not audit.home",
    );
}

/// A broker that wants TLS and the token of `site/server.jwt`.
fn broker(home: &Home) -> Option<NatsServer> {
    let program = nats::program()?;
    let path = |name: &str| home.path(name).display().to_string();
    let seed = Ed25519Key::generate().unwrap().seed_hex();
    home.write("site/server.seed", seed.expose());
    fs::set_permissions(
        home.path("site/server.seed"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    let key = public(home, "site/server.seed");
    home.aaa(&[
        "token",
        "issue",
        "server",
        "aaa.example.net",
        "--issuer-seed",
        "site/issuer.seed",
        "--public-key",
        &key,
        "--permission",
        "service_host",
        "--validity",
        "250h",
        "-o",
        "site/server.jwt",
    ])
    .ends(0);
    let token = home.read("site/server.jwt");
    let more = format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\" }}\nauthorization {{ token: \"{}\" }}\nmax_payload: 8388608\n",
        path("site/tls.pem"),
        path("site/tls.key"),
        token.trim(),
    );
    let options = nats::Options {
        more,
        ..nats::Options::default()
    };
    Some(NatsServer::start(&program, &home.path("nats"), options).unwrap())
}

#[test]
fn each_broker_is_asked() {
    let home = site();
    let Some(server) = broker(&home) else { return };
    let port = server.address().rsplit(':').next().unwrap().to_owned();
    let path = |name: &str| home.path(name).display().to_string();
    let (open, shut) = (
        format!("localhost:{port}"),
        format!("localhost:{}", closed()),
    );
    home.write(
        "site/choria.conf",
        &format!(
            "identity = aaa.example.net\nplugin.choria.middleware_hosts = {open},{shut}\nplugin.security.provider = choria\n\
             plugin.security.choria.token_file = {}\nplugin.security.choria.seed_file = {}\nplugin.security.choria.ca = {}\n",
            path("site/server.jwt"),
            path("site/server.seed"),
            path("site/ca.pem"),
        ),
    );
    change(&home, |config| {
        config["choria_config"] = json!(path("site/choria.conf"));
        config["basicjwt_signer"]["choria_service"] = json!(true);
        // Broken elsewhere: the brokers are asked all the same.
        config["tls_key"] = json!("/nowhere");
    });
    let run = home.aaa(&["doctor", "--json", CONFIG]).ends(1);
    says(
        &run,
        "broker",
        &format!("broker {open}"),
        "ok",
        "accepts the server token",
    );
    says(
        &run,
        "broker",
        &format!("broker {shut}"),
        "fail",
        "no server lets this client in",
    );
    let token = "choria_config: plugin.security.choria.token_file";
    says(&run, "expiry", token, "warn", "ends in 10 d");
    let offline = offline(&home);
    assert!(said(&offline, "broker", &format!("broker {open}")).is_empty());
    assert_eq!(offline.json()["offline"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_is_asked_without_a_login() {
    let home = site();
    let tenant = Okta::start(Vec::new()).await.unwrap();
    change(&home, |config| {
        config["authenticator"] = json!("okta");
        config["okta_authenticator"] = json!({
            "endpoint": tenant.endpoint(), "client_id": okta::CLIENT_ID, "client_secret": okta::CLIENT_SECRET,
            "api_token": okta::API_TOKEN, "acls": {"Operations": ["puppet.*"]}, "validity": "1h",
            "signing_key": home.path("site/login.seed"), "signing_token": home.path("site/login.jwt"),
        });
    });
    expose(&home, CONFIG);
    let doctor = || home.aaa(&["doctor", "--json", CONFIG]);
    let subject = format!("tenant {}", tenant.endpoint());
    let run = doctor().ends(1);
    says(&run, "tenant", &subject, "ok", "accepts the API token");
    says(&run, "permissions", CONFIG, "fail", "has secrets in it");
    assert!(!run.stdout.contains(okta::CLIENT_SECRET) && !run.stdout.contains(okta::API_TOKEN));
    assert!(
        tenant
            .calls()
            .iter()
            .all(|(call, _)| *call == okta::Call::User)
    );
    assert_eq!(tenant.complaints(), Vec::<String>::new());

    fs::set_permissions(home.path(CONFIG), fs::Permissions::from_mode(0o600)).unwrap();
    change(&home, |config| {
        config["okta_authenticator"]["api_token"] = json!("old");
    });
    says(
        &doctor().ends(1),
        "tenant",
        &subject,
        "fail",
        "does not accept api_token",
    );
    tenant.fail(okta::Call::User, okta::Fault::Disconnect);
    says(
        &doctor().ends(1),
        "tenant",
        &subject,
        "fail",
        "cannot be reached",
    );
}

mod ends;
