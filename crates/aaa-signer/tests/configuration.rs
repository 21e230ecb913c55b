//! What an operator sees of a signer's configuration: what starts, what does not, and why.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop"
)]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aaa_api::client::{Client, Settings as ClientSettings, Trust};
use aaa_api::rest::SignRequest;
use aaa_core::claims::ClientPermissions;
use aaa_core::clock::{Clock, SystemClock};
use aaa_core::key::{Ed25519Key, SigningKey};
use aaa_core::token::{Grant, Minter};
use aaa_service::config::Document;
use aaa_service::shell::{Options, Program, Running, Shell, StartError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A directory with the files of a signer in it.
struct Site {
    directory: TempDir,
    organization: Ed25519Key,
    config: Value,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
            organization: Ed25519Key::generate().unwrap(),
            config: Value::Null,
        };
        let seed = Ed25519Key::generate().unwrap();
        site.secret("signer.seed", seed.seed_hex().expose());
        site.secret("signer.jwt", &site.delegator(&seed, |_| ()));
        site.write("issuer.public", &site.organization.public().to_hex());
        let config = json!({
            "site": "london", "port": "1", "signer": "basicjwt", "authorizer": "actionlist", "auditors": ["logfile"],
            "logfile_auditor": {"logfile": site.path("audit.log")},
            "basicjwt_signer": {
                "signing_certificate": site.path("issuer.public"), "max_validity": "2h",
                "signing_token": site.path("signer.jwt"), "signing_seed": site.path("signer.seed")
            }
        });
        Self { config, ..site }
    }

    fn delegator(&self, key: &Ed25519Key, change: impl FnOnce(&mut Grant)) -> String {
        let mut grant = Grant {
            caller: "aaa=signer".into(),
            permissions: Some(ClientPermissions {
                authentication_delegator: true,
                ..Default::default()
            }),
            public_key: Some(key.public()),
            validity: Duration::from_hours(24 * 365),
            ..Grant::default()
        };
        change(&mut grant);
        Minter::organization(self.organization.clone())
            .client(grant, SystemClock.now())
            .unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.write(name, content);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    async fn start(&self) -> Result<Running, StartError> {
        let text = self.config.to_string();
        let document = Document::parse("signer.json", text.as_bytes()).unwrap();
        let program = Program {
            name: "aaa-signer",
            version: "0",
            about: "",
        };
        let options = Options {
            listen: Some("127.0.0.1:0".into()),
            admin_listen: Some("127.0.0.1:0".into()),
            disable_tls: true,
            clock: Arc::new(SystemClock),
            ..Options::default()
        };
        Shell::start(&program, document, options, aaa_signer::build).await
    }

    /// What the operator is told, with the directory left out.
    async fn problems(&self) -> String {
        match self.start().await {
            Ok(_) => panic!("it started"),
            Err(error) => error
                .to_string()
                .replace(&self.directory.path().display().to_string(), "DIR"),
        }
    }

    async fn sign(&self, running: &Running, action: &str) -> Result<Vec<u8>, String> {
        let person = Ed25519Key::generate().unwrap();
        let grant = Grant {
            caller: "up=bob".into(),
            agents: vec!["puppet.status".into()],
            public_key: Some(person.public()),
            validity: Duration::from_hours(1),
            ..Grant::default()
        };
        let token = Minter::organization(self.organization.clone())
            .client(grant, SystemClock.now())
            .unwrap();
        let request = request(action);
        let asked = SignRequest {
            token,
            signature: hex::encode(person.sign(&request)),
            request,
        };
        let client = Client::new(ClientSettings {
            trust: Trust::InsecureAnybody,
            ..ClientSettings::default()
        })
        .unwrap();
        let url = format!("http://{}/choria/v1/sign", running.addr.unwrap());
        client
            .sign(&url, &asked)
            .await
            .map_err(|error| error.to_string())
    }
}

fn request(action: &str) -> Vec<u8> {
    let message =
        STANDARD.encode(json!({"agent": "puppet", "action": action, "data": {}}).to_string());
    let nanos = i64::try_from(SystemClock.now().as_nanosecond()).unwrap();
    json!({
        "protocol": "io.choria.protocol.v2.request", "message": message, "id": "1", "sender": "dev1", "caller": "up=x",
        "collective": "choria", "agent": "puppet", "ttl": 60, "time": nanos, "filter": {}
    })
    .to_string()
    .into_bytes()
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_signer_starts_signs_and_keeps_the_record() {
    let site = Site::new();
    let running = site.start().await.unwrap();
    site.sign(&running, "status").await.unwrap();
    let refused = site.sign(&running, "disable").await.unwrap_err();
    assert!(
        refused.contains("up=bob may not puppet.disable"),
        "{refused}"
    );
    // What was answered is in the file already.
    let records = lines(&site.path("audit.log"));
    let actions: Vec<_> = records
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["allow", "deny"]);
    assert!(
        records
            .iter()
            .all(|record| record["caller"] == "up=bob" && record["site"] == "london")
    );
    running.shutdown().await;
}

#[tokio::test]
async fn key_files_that_cannot_be_used_are_named_with_what_is_wanted() {
    let mut site = Site::new();
    site.write("long.seed", &"a".repeat(65));
    let foreign = Ed25519Key::generate().unwrap();
    site.secret("foreign.seed", foreign.seed_hex().expose());
    let plain = site.delegator(&foreign, |grant| grant.permissions = None);
    site.secret("plain.jwt", &plain);
    std::fs::create_dir(site.path("directory")).unwrap();
    for (setting, file, says) in [
        ("signing_seed", "absent", "DIR/absent: no such file"),
        (
            "signing_seed",
            "long.seed",
            "DIR/long.seed: 65 characters; a seed is 64 hexadecimal characters",
        ),
        (
            "signing_seed",
            "foreign.seed",
            "DIR/foreign.seed: is not the seed of the key that signing_token is bound to",
        ),
        ("signing_seed", "directory", "DIR/directory: is a directory"),
        (
            "signing_token",
            "plain.jwt",
            "DIR/plain.jwt: has no authentication_delegator permission",
        ),
        (
            "signing_token",
            "issuer.public",
            "DIR/issuer.public: it is no token: it does not have three parts",
        ),
        (
            "signing_certificate",
            "signer.jwt",
            "a public key is 64 hexadecimal characters",
        ),
        ("signing_certificate", "absent", "DIR/absent: no such file"),
    ] {
        let good = site.config["basicjwt_signer"][setting].clone();
        site.config["basicjwt_signer"][setting] = json!(site.path(file));
        let problems = site.problems().await;
        let line = problems
            .lines()
            .find(|line| line.contains(&format!("basicjwt_signer.{setting}")));
        assert!(
            line.unwrap_or_else(|| panic!("{problems}")).contains(says),
            "{problems}"
        );
        assert!(
            !problems.contains(foreign.seed_hex().expose()),
            "{problems}"
        );
        site.config["basicjwt_signer"][setting] = good;
    }
}

#[tokio::test]
async fn everything_wrong_is_said_at_once() {
    let mut site = Site::new();
    site.config["authorizer"] = json!("opaa");
    site.config["auditors"] = json!(["logfile", "syslog"]);
    site.config["logfile_auditor"]["mode"] = json!("rw");
    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.remove("max_validity");
    signer.insert("max_validty".into(), json!("2h"));
    signer.insert("max_request_ttl".into(), json!("1ms"));
    let problems = site.problems().await;
    for key in [
        "authorizer ",
        "auditors ",
        "logfile_auditor.mode ",
        "basicjwt_signer.max_validity ",
        "basicjwt_signer.max_validty ",
        "basicjwt_signer.max_request_ttl ",
    ] {
        assert!(problems.contains(key), "{key} is not in:\n{problems}");
    }
    assert!(
        problems.contains("did you mean max_validity?"),
        "{problems}"
    );
}

#[tokio::test]
async fn a_signer_needs_something_to_sign_with() {
    let mut site = Site::new();
    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.remove("signing_token");
    signer.remove("signing_seed");
    let problems = site.problems().await;
    assert!(
        problems.contains("plugin.security.provider is file"),
        "{problems}"
    );

    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.insert("signing_token".into(), json!("x"));
    assert!(
        site.problems()
            .await
            .contains("basicjwt_signer.signing_seed")
    );
}

#[tokio::test]
async fn an_expired_delegator_does_not_start() {
    let mut site = Site::new();
    let key = Ed25519Key::generate().unwrap();
    let token = site.delegator(&key, |grant| grant.validity = Duration::ZERO);
    site.secret("old.seed", key.seed_hex().expose());
    site.secret("old.jwt", &token);
    site.config["basicjwt_signer"]["signing_seed"] = json!(site.path("old.seed"));
    site.config["basicjwt_signer"]["signing_token"] = json!(site.path("old.jwt"));
    assert!(
        site.problems()
            .await
            .contains("has expired; nodes refuse what it signs")
    );
}

#[tokio::test]
async fn an_audit_file_that_cannot_be_written_does_not_start() {
    let mut site = Site::new();
    site.config["logfile_auditor"]["logfile"] = json!(site.path("absent/audit.log"));
    let problems = site.problems().await;
    assert!(
        problems.contains("logfile_auditor.logfile") && problems.contains("DIR/absent/audit.log"),
        "{problems}"
    );
}

#[tokio::test]
async fn in_ca_mode_the_certificate_comes_from_the_choria_configuration() {
    let vectors = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/secure_requests.json"
    );
    let vectors: Value = serde_json::from_slice(&std::fs::read(vectors).unwrap()).unwrap();
    let mut site = Site::new();
    let certificate = site.write("aaa.pem", vectors["privileged_cert_pem"].as_str().unwrap());
    let key = site.secret("aaa.key", vectors["privileged_key_pem"].as_str().unwrap());
    let choria = format!(
        "plugin.security.provider = file\nplugin.security.file.certificate = {}\nplugin.security.file.key = {}\n",
        certificate.display(),
        key.display()
    );
    site.config["choria_config"] = json!(site.write("choria.cfg", &choria));
    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.remove("signing_token");
    signer.remove("signing_seed");
    let running = site.start().await.unwrap();
    let refused = site.sign(&running, "status").await.unwrap_err();
    assert!(refused.contains("signs no v2 requests"), "{refused}");
    running.shutdown().await;

    let other = site.secret(
        "other.key",
        Ed25519Key::generate().unwrap().seed_hex().expose(),
    );
    site.write(
        "choria.cfg",
        &choria.replace(&key.display().to_string(), &other.display().to_string()),
    );
    let problems = site.problems().await;
    assert!(
        problems.contains("plugin.security.file.key")
            && problems.contains("an RSA private key is wanted"),
        "{problems}"
    );
    assert!(matches!(
        SigningKey::parse(&std::fs::read(key).unwrap()),
        Ok(SigningKey::Rsa(_))
    ));
}
