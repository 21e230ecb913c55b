//! How the signer is on the Choria network: the settings of a Choria configuration, read and checked.

use std::path::Path;
use std::sync::Arc;

use aaa_api::client::{Identity, Trust, client_config};
use aaa_audit::nats::{Connection, Login, Tls, check_server};
use aaa_core::choria_config::ChoriaConfig;
use aaa_core::claims::{Purpose, ServerClaims};
use aaa_core::key::Ed25519Key;
use aaa_core::network::{Bearer, Replier};
use aaa_core::token::unverified;
use aaa_service::config::{Document, FileContent, MAX_FILE_BYTES, Topic};
use jiff::Timestamp;

use crate::choria::get;

/// The collective of those who configure none.
const COLLECTIVE: &str = "mcollective";

/// Where the server token is.
const TOKEN: &str = "plugin.security.choria.token_file";

/// A place on the Choria network.
pub(crate) struct Settings {
    pub(super) collectives: Vec<String>,
    pub(super) servers: Vec<String>,
    pub(super) login: Login,
    pub(super) tls: Tls,
    pub(super) replier: Replier,
    /// When the server token ends, in unix seconds.
    pub(super) expires: Option<i64>,
    any_broker: bool,
}

/// Reads settings of the Choria configuration; what is wrong goes to the document.
struct Reader<'a> {
    document: &'a Document,
    config: &'a ChoriaConfig,
}

/// What a provider of security comes to.
struct Security {
    bearer: Option<Arc<Bearer>>,
    broker: Broker,
    expires: Option<i64>,
}

/// How the broker is reached, and whether it is known to be one.
struct Broker {
    tls: Tls,
    verified: bool,
}

impl Settings {
    /// Whether the broker's certificate is not verified.
    pub(crate) fn trusts_any_broker(&self) -> bool {
        self.any_broker
    }

    /// What of it ends, with its setting.
    pub(super) fn end(&self) -> (String, Option<i64>) {
        (format!("choria_config: {TOKEN}"), self.expires)
    }

    /// How the brokers are reached.
    pub(super) fn connection(&self) -> Connection {
        Connection {
            servers: self.servers.clone(),
            login: self.login.clone(),
            tls: self.tls.clone(),
            name: self.replier.identity.clone(),
            on_state: None,
        }
    }

    /// Reads what the Choria configuration says; `None` when something in it is wrong (the document says what).
    pub(crate) fn read(
        document: &Document,
        config: Option<&ChoriaConfig>,
        now: Timestamp,
    ) -> Option<Self> {
        let Some(config) = config else {
            if !document.top().has("choria_config") {
                let text = "missing; choria_service is on, and it says where the network is";
                document.problem("choria_config", text);
            }
            return None;
        };
        let reader = Reader { document, config };
        let identity = reader.required("identity");
        let servers = reader.servers();
        let collectives = reader.collectives();
        let security = match get(config, "plugin.security.provider") {
            Some("choria") => reader.choria(now),
            Some("file") => reader.file(),
            _ => {
                reader.problem(
                    "plugin.security.provider",
                    "must be choria or file to be on the network",
                );
                None
            }
        };
        let (identity, servers, collectives, security) =
            (identity?, servers?, collectives?, security?);
        let login = security
            .bearer
            .clone()
            .map_or(Login::Anonymous, Login::Choria);
        Some(Self {
            replier: Replier {
                identity,
                server: servers.first().cloned().unwrap_or_default(),
                proof: security.bearer,
            },
            collectives,
            servers,
            login,
            any_broker: !security.broker.verified,
            tls: security.broker.tls,
            expires: security.expires,
        })
    }
}

impl Reader<'_> {
    fn problem(&self, setting: &str, text: impl std::fmt::Display) {
        self.document
            .problem(format!("choria_config: {setting}"), text.to_string());
    }

    fn required(&self, setting: &str) -> Option<String> {
        let value = get(self.config, setting);
        if value.is_none() {
            self.problem(setting, "missing");
        }
        value.map(str::to_owned)
    }

    fn servers(&self) -> Option<Vec<String>> {
        const HOSTS: &str = "plugin.choria.middleware_hosts";
        let servers: Vec<String> = self
            .config
            .list(HOSTS)
            .into_iter()
            .map(|host| {
                if host.contains("://") {
                    host.to_owned()
                } else {
                    format!("nats://{host}")
                }
            })
            .collect();
        if servers.is_empty() {
            self.problem(
                HOSTS,
                "missing; brokers are named here, as host:port and with commas between them",
            );
            return None;
        }
        let problems: Vec<String> = servers
            .iter()
            .filter_map(|s| check_server(s).err())
            .collect();
        for problem in &problems {
            self.problem(HOSTS, problem);
        }
        problems.is_empty().then_some(servers)
    }

    fn collectives(&self) -> Option<Vec<String>> {
        let mut collectives: Vec<String> = self
            .config
            .list("collectives")
            .into_iter()
            .map(str::to_owned)
            .collect();
        if collectives.is_empty() {
            collectives.push(
                get(self.config, "main_collective")
                    .unwrap_or(COLLECTIVE)
                    .to_owned(),
            );
        }
        let strange = |name: &&String| {
            !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        if let Some(name) = collectives.iter().find(strange) {
            self.problem(
                "collectives",
                format!("{name:?} is no name of a collective"),
            );
            return None;
        }
        collectives.sort();
        collectives.dedup();
        Some(collectives)
    }

    /// Version 2: a server token, and the key that it is bound to.
    fn choria(&self, now: Timestamp) -> Option<Security> {
        const SEED: &str = "plugin.security.choria.seed_file";
        let (token, seed) = (self.content(TOKEN, false), self.content(SEED, true));
        let broker = self.broker("plugin.security.choria");
        let (token, seed) = (token?, seed?);
        let token = token.text().unwrap_or_default().trim();
        let claims: ServerClaims = match unverified(token) {
            Ok(claims) => claims,
            Err(error) => return self.none(TOKEN, error),
        };
        if claims.standard.purpose != Purpose::Server {
            return self.none(
                TOKEN,
                "is no server token (make one: aaa token issue server)",
            );
        }
        if !claims
            .permissions
            .is_some_and(|permissions| permissions.service_host)
        {
            return self.none(
                TOKEN,
                "has no service_host permission; the broker lets it serve nobody",
            );
        }
        let expires = match claims.standard.expires() {
            Some(expires) if expires > now.as_second() => expires,
            Some(_) => return self.none(TOKEN, "has expired; the broker lets nobody in with it"),
            None => return self.none(TOKEN, "never expires; the broker lets nobody in with it"),
        };
        let key = match Ed25519Key::from_seed_file(seed.bytes()) {
            Ok(key) => key,
            Err(error) => return self.none(SEED, error),
        };
        if claims.standard.public_key != key.public().to_hex() {
            return self.none(
                SEED,
                "is not the seed of the key that the token is bound to",
            );
        }
        let bearer = Bearer {
            token: token.to_owned().into(),
            key,
        };
        Some(Security {
            bearer: Some(Arc::new(bearer)),
            broker: broker?,
            expires: Some(expires),
        })
    }

    /// Version 1: mutual TLS.
    fn file(&self) -> Option<Security> {
        let prefix = "plugin.security.file";
        for name in ["certificate", "key", "ca"] {
            self.required(&format!("{prefix}.{name}"));
        }
        Some(Security {
            bearer: None,
            broker: self.broker(prefix)?,
            expires: None,
        })
    }

    /// TLS by the files under a prefix, those that are configured. Without an authority any broker will do, as with Choria itself: in
    /// version 2 a broker lets in who holds a token's key, and what is sent is signed, or of no use without that key.
    fn broker(&self, prefix: &str) -> Option<Broker> {
        let file = |name: &str, secret| {
            let setting = format!("{prefix}.{name}");
            match get(self.config, &setting) {
                None => Ok(None),
                Some(_) => self.content(&setting, secret).map(Some).ok_or(()),
            }
        };
        let ca = file("ca", false);
        let (certificate, key) = (file("certificate", false), file("key", true));
        let (Ok(ca), Ok(certificate), Ok(key)) = (ca, certificate, key) else {
            return None;
        };
        let verified = ca.is_some();
        if !verified {
            self.document.warn(
                format!("choria_config: {prefix}.ca"),
                "missing: the broker's certificate is not verified, as Choria itself does it then",
            );
        }
        let trust = ca.map_or(Trust::InsecureAnybody, |ca| {
            Trust::Authorities(ca.bytes().to_vec())
        });
        let identity = certificate.zip(key).map(|(certificate, key)| Identity {
            certificates: certificate.bytes().to_vec(),
            key: key.bytes().to_vec().into(),
        });
        match client_config(trust, identity) {
            Ok(config) => Some(Broker {
                tls: Tls::Given(Box::new(config)),
                verified,
            }),
            Err(error) => self.none(prefix, error),
        }
    }

    fn content(&self, setting: &str, secret: bool) -> Option<FileContent> {
        let path = self.required(setting)?;
        match FileContent::read(Path::new(&path), MAX_FILE_BYTES) {
            Ok(content) => {
                if secret && content.world_readable() {
                    let text = format!("{path} can be read by everybody; make it 0600");
                    let key = format!("choria_config: {setting}");
                    self.document.warn_of(Topic::Exposed, key, text);
                }
                Some(content)
            }
            Err(error) => self.none(setting, format!("{path}: {error}")),
        }
    }

    fn none<T>(&self, setting: &str, text: impl std::fmt::Display) -> Option<T> {
        self.problem(setting, text);
        None
    }
}
