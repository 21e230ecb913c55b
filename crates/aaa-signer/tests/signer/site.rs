//! A signer's files, and the signer that they make.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aaa_api::client::{Client, Settings as ClientSettings, Trust};
use aaa_api::rest::SignRequest;
use aaa_core::claims::ClientPermissions;
use aaa_core::clock::{Clock, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::token::{Grant, Minter};
use aaa_service::config::Document;
use aaa_service::shell::{Options, Program, Running, Shell, StartError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A directory with the files of a signer in it.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    pub(crate) organization: Ed25519Key,
    pub(crate) config: Value,
    /// The policy in bob's token.
    pub(crate) policy: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
            organization: Ed25519Key::generate().unwrap(),
            config: Value::Null,
            policy: String::new(),
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

    pub(crate) fn delegator(&self, key: &Ed25519Key, change: impl FnOnce(&mut Grant)) -> String {
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

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.write(name, content);
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    pub(crate) async fn start(&self) -> Result<Running, StartError> {
        self.start_at(Some("127.0.0.1:0".into())).await
    }

    /// The same, where the configuration has no port either.
    pub(crate) async fn start_without_listener(&self) -> Result<Running, StartError> {
        self.start_at(None).await
    }

    async fn start_at(&self, listen: Option<String>) -> Result<Running, StartError> {
        let text = self.config.to_string();
        let document = Document::parse("signer.json", text.as_bytes()).unwrap();
        let program = Program {
            name: "aaa-signer",
            version: "0",
            about: "",
        };
        let options = Options {
            listen,
            admin_listen: Some("127.0.0.1:0".into()),
            disable_tls: true,
            clock: Arc::new(SystemClock),
            ..Options::default()
        };
        Shell::start(&program, document, options, aaa_signer::build).await
    }

    /// What the operator is told, with the directory left out.
    pub(crate) async fn problems(&self) -> String {
        match self.start().await {
            Ok(_) => panic!("it started"),
            Err(error) => error
                .to_string()
                .replace(&self.directory.path().display().to_string(), "DIR"),
        }
    }

    /// What bob asks for when he is logged in.
    pub(crate) fn asked(&self, action: &str) -> SignRequest {
        let person = Ed25519Key::generate().unwrap();
        let grant = Grant {
            caller: "up=bob".into(),
            agents: vec!["puppet.status".into()],
            opa_policy: self.policy.clone(),
            public_key: Some(person.public()),
            validity: Duration::from_hours(1),
            ..Grant::default()
        };
        let token = Minter::organization(self.organization.clone())
            .client(grant, SystemClock.now())
            .unwrap();
        let request = request(action);
        SignRequest {
            token,
            signature: hex::encode(person.sign(&request)),
            request,
        }
    }

    pub(crate) async fn sign(&self, running: &Running, action: &str) -> Result<Vec<u8>, String> {
        let asked = self.asked(action);
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

pub(crate) fn request(action: &str) -> Vec<u8> {
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

/// How many changes of what is labelled so could not be taken.
pub(crate) async fn reload_errors(running: &Running, labels: &str) -> u64 {
    let admin = running.admin_addr.unwrap();
    let mut connection = TcpStream::connect(admin).await.unwrap();
    let request = b"GET /metrics HTTP/1.0\r\n\r\n";
    connection.write_all(request).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    let name = format!("choria_aaa_reload_errors{{{labels}}} ");
    let count = text.lines().find_map(|line| line.strip_prefix(&name));
    count.map_or(0, |count| count.parse().unwrap())
}

pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
