//! The Choria network, as a Choria configuration describes it: where brokers are, and who to be there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_api::client::{Identity, Trust, client_config};
use aaa_audit::nats::{Connection, Login, Tls, check_server};
use aaa_core::choria_config::ChoriaConfig;
use aaa_core::claims::{Purpose, ServerClaims, ServerPermissions};
use aaa_core::key::Ed25519Key;
use aaa_core::network::Bearer;
use aaa_core::token::unverified;
use jiff::Timestamp;
use md5::{Digest as _, Md5};

use crate::config::{Document, FileContent, Kind, MAX_FILE_BYTES, Setting, Table, Topic};

/// The setting that names the server token.
pub const TOKEN: &str = "plugin.security.choria.token_file";

/// What is read of the file that `choria_config` names, and of `plugin.d` beside it. Examples are as they stand there.
pub static CHORIA: &Table = &[
    Setting::new("identity", Kind::Text, "The signer's name on the network.")
        .example("aaa1.example.net"),
    Setting::new(
        "collectives",
        Kind::Words,
        "The collectives to sign in, with commas between them; that of `main_collective` when absent.",
    )
    .example("mcollective,dev"),
    Setting::new("main_collective", Kind::Text, "The collective, where there is one.")
        .default("mcollective")
        .example("choria"),
    Setting::new(
        "plugin.choria.middleware_hosts",
        Kind::Words,
        "The brokers, as `host:port` with commas between them.",
    )
    .example("broker1.example.net:4222,broker2.example.net:4222"),
    Setting::new(
        "plugin.security.provider",
        Kind::OneOf(&["choria", "file"]),
        "Who the signer is: the bearer of a token (`choria`, v2), or of a certificate (`file`, v1). With `file`, the certificate also signs requests, \
         and must be a privileged one.",
    )
    .example("choria"),
    Setting::new(
        "plugin.security.choria.token_file",
        Kind::Path,
        "The server token with the right to host services, for the network.",
    )
    .example("/etc/aaa/server.jwt"),
    Setting::new(
        "plugin.security.choria.seed_file",
        Kind::Path,
        "The seed of the key that this token is bound to.",
    )
    .example("/etc/aaa/server.seed"),
    Setting::new(
        "plugin.security.choria.ca",
        Kind::Path,
        "Who vouches for the broker's certificate, in PEM. Without it that is not verified.",
    )
    .example("/etc/aaa/broker-ca.pem"),
    Setting::new(
        "plugin.security.choria.certificate",
        Kind::Path,
        "A certificate to show to the broker, in PEM, if it wants one beside the token.",
    )
    .example("/etc/aaa/aaa1.pem"),
    Setting::new(
        "plugin.security.choria.key",
        Kind::Path,
        "The key of that certificate, in PEM.",
    )
    .example("/etc/aaa/aaa1.key"),
    Setting::new(
        "plugin.security.file.certificate",
        Kind::Path,
        "The privileged certificate, in PEM.",
    )
    .example("/etc/aaa/aaa.privileged.pem"),
    Setting::new(
        "plugin.security.file.key",
        Kind::Path,
        "Its RSA key, in PEM.",
    )
    .example("/etc/aaa/aaa.privileged.key"),
    Setting::new(
        "plugin.security.file.ca",
        Kind::Path,
        "Who vouches for the broker's certificate, in PEM.",
    )
    .example("/etc/aaa/ca.pem"),
];

/// A setting, if it is there.
pub fn get<'a>(config: &'a ChoriaConfig, key: &str) -> Option<&'a str> {
    debug_assert!(
        CHORIA.iter().any(|setting| setting.key == key),
        "no setting {key} in the table"
    );
    config.get(key)
}

/// How somebody is on the network.
pub struct Network {
    /// Who to be.
    pub identity: String,
    /// Where brokers are, at least one.
    pub servers: Vec<String>,
    /// What a broker wants to see; `None` where a certificate is enough (version 1).
    pub bearer: Option<Arc<Bearer>>,
    tls: Tls,
    /// Whether the broker's certificate is verified.
    pub verified: bool,
    /// When the token ends, in unix seconds.
    pub expires: Option<i64>,
    /// `None`: the usual ones.
    subjects: Option<Subjects>,
}

/// Subjects that a broker keeps for the bearer of a token.
struct Subjects {
    /// Answers come to subjects that begin with this.
    inbox: String,
    /// JetStream listens on subjects that begin with this.
    streams: &'static str,
}

/// What a server token has to permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To answer calls.
    ServiceHost,
    /// To use streams.
    Streams,
}

/// Reads settings of the Choria configuration; what is wrong goes to the document.
struct Reader<'a> {
    document: &'a Document,
    config: &'a ChoriaConfig,
    right: Right,
    now: Timestamp,
}

/// What a provider of security comes to.
struct Security {
    bearer: Option<Arc<Bearer>>,
    broker: Broker,
    expires: Option<i64>,
    subjects: Option<Subjects>,
}

/// How the broker is reached, and whether it is known to be one.
struct Broker {
    tls: Tls,
    verified: bool,
}

/// The Choria configuration that `choria_config` names, with what lies in `plugin.d` beside it.
pub fn config(document: &Document) -> Option<ChoriaConfig> {
    let top = document.top();
    let path = top.path("choria_config")?;
    let content = top.file("choria_config", "a configuration file of Choria")?;
    let Some(text) = content.text() else {
        top.problem("choria_config", "is no text");
        return None;
    };
    let mut config = ChoriaConfig::parse(text);
    let plugins = path.parent().map(|directory| directory.join("plugin.d"));
    let mut files: Vec<PathBuf> = plugins
        .and_then(|directory| std::fs::read_dir(directory).ok())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cfg"))
        .collect();
    files.sort();
    for file in files {
        let content = FileContent::read(&file, MAX_FILE_BYTES);
        let name = file.file_stem().and_then(|stem| stem.to_str());
        match (name, content.as_ref().map(FileContent::text)) {
            (Some(name), Ok(Some(text))) => config.add_plugin(name, text),
            _ => top.warn(
                "choria_config",
                format!("{}: cannot be read", file.display()),
            ),
        }
    }
    Some(config)
}

impl Subjects {
    /// Those of the bearer of a server token, as a Choria broker sets its permissions.
    fn of(claims: &ServerClaims) -> Self {
        let collective = claims.collectives.first().map_or("", String::as_str);
        // It protects nothing: it is the name that brokers give to the place.
        let identity = hex::encode(Md5::digest(&claims.identity));
        Self {
            inbox: format!("{collective}.reply.{identity}"),
            // The organization called choria has the account of Choria itself; others have theirs, into which its streams come.
            streams: if claims.ou == "choria" {
                "$JS.API"
            } else {
                "choria.streams"
            },
        }
    }
}

impl Right {
    fn check(self, permissions: ServerPermissions) -> Result<(), &'static str> {
        match self {
            Self::ServiceHost if !permissions.service_host => {
                Err("has no service_host permission; the broker lets it serve nobody")
            }
            Self::Streams if !permissions.streams => {
                Err("has no streams permission; the broker lets it use no stream")
            }
            _ => Ok(()),
        }
    }
}

impl Network {
    /// Reads what a Choria configuration says; `None` when something in it is wrong (the document says what).
    pub fn read(
        document: &Document,
        config: &ChoriaConfig,
        right: Right,
        now: Timestamp,
    ) -> Option<Self> {
        let reader = Reader {
            document,
            config,
            right,
            now,
        };
        let identity = reader.required("identity");
        let servers = reader.servers();
        let security = match get(config, "plugin.security.provider") {
            Some("choria") => reader.choria(),
            Some("file") => reader.file(),
            _ => {
                reader.problem(
                    "plugin.security.provider",
                    "must be choria or file to be on the network",
                );
                None
            }
        };
        let (identity, servers, security) = (identity?, servers?, security?);
        Some(Self {
            identity,
            servers,
            bearer: security.bearer,
            tls: security.broker.tls,
            verified: security.broker.verified,
            expires: security.expires,
            subjects: security.subjects,
        })
    }

    /// How the brokers are reached, under a name that they list.
    pub fn connection(&self, name: String) -> Connection {
        let bearer = self.bearer.clone();
        let subjects = self.subjects.as_ref();
        Connection {
            servers: self.servers.clone(),
            login: bearer.map_or(Login::Anonymous, Login::Choria),
            tls: self.tls.clone(),
            name,
            on_state: None,
            inbox: subjects.map(|subjects| subjects.inbox.clone()),
            api: subjects.map(|subjects| subjects.streams.to_owned()),
        }
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

    /// Version 2: a server token, and the key that it is bound to.
    fn choria(&self) -> Option<Security> {
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
        if let Err(text) = self.right.check(claims.permissions.unwrap_or_default()) {
            return self.none(TOKEN, text);
        }
        let expires = match claims.standard.expires() {
            Some(expires) if expires > self.now.as_second() => expires,
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
            subjects: Some(Subjects::of(&claims)),
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
            subjects: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_lets_a_server_use_subjects_of_its_own() {
        let claims = |ou: &str| -> ServerClaims {
            let standard = r#""purpose":"choria_server","public_key":"","tcs":"","exp":0,"iat":0,"nbf":0,"iss":"","jti":"""#;
            let text = format!(
                r#"{{"identity":"aaa.example.net","collectives":["choria","other"],"ou":"{ou}",{standard}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let choria = Subjects::of(&claims("choria"));
        // printf aaa.example.net | md5sum
        assert_eq!(
            choria.inbox,
            "choria.reply.569eaf73929e0d229b6a59b35d2fe447"
        );
        assert_eq!(choria.streams, "$JS.API");
        assert_eq!(Subjects::of(&claims("acme")).streams, "choria.streams");
    }
}
