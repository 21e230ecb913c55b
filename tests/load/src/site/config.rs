//! The configuration of a service, with the keys that existing sites have.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::keys::Keys;
use super::{write, write_json};
use crate::cli::Version;
use crate::failure::Failure;

/// One way to run a service.
pub(super) struct Scenario {
    name: &'static str,
    version: Version,
    users: &'static str,
    on_the_network: bool,
}

impl Scenario {
    pub(super) const fn new(name: &'static str, version: Version, users: &'static str) -> Self {
        Self {
            name,
            version,
            users,
            on_the_network: false,
        }
    }

    /// The same, on the Choria network too.
    pub(super) const fn on_the_network(self) -> Self {
        Self {
            on_the_network: true,
            ..self
        }
    }

    /// Writes its directory.
    pub(super) fn write(
        &self,
        site: &Path,
        keys: &Keys,
        port: u16,
        admin: u16,
        broker: u16,
    ) -> Result<(), Failure> {
        let dir = site.join(self.name);
        fs::create_dir_all(&dir).map_err(|error| Failure::while_doing(dir.display(), error))?;
        let choria = dir.join("choria.conf");
        write(&choria, self.choria_config(keys, broker))?;
        let audit = dir.join("audit.log");
        let document = json!({
            "choria_config": choria,
            // Neither says a word for each request, so that both do the same work.
            "loglevel": "error",
            "site": "bench",
            "port": port,
            "monitor_port": admin,
            "tls_certificate": keys.tls.certificate,
            "tls_key": keys.tls.key,
            "authenticator": "userlist",
            "userlist_authenticator": self.authenticator(site, keys),
            // All logins come from one address, many under one name at a time.
            "login_throttle": {"account_attempts": 10_000, "address_attempts": 10_000},
            "authorizer": "opa",
            "auditors": ["logfile"],
            "logfile_auditor": {"logfile": audit},
            "signer": "basicjwt",
            "basicjwt_signer": self.signer(keys),
        });
        let config = dir.join("config.json");
        write_json(&config, &document)?;
        keys.client(&dir, self.version)?;
        let env = self.env(keys, &dir, port, admin);
        let token = quoted(&keys.server_token);
        write(
            &dir.join("env"),
            format!("{env}BROKER=localhost:{broker}\nBROKER_TOKEN={token}\n"),
        )
    }

    /// The Choria configuration: in v1 it names what signs.
    fn choria_config(&self, keys: &Keys, broker: u16) -> String {
        if self.on_the_network {
            let (seed, token, ca) = (&keys.server_seed, &keys.server_token, &keys.ca);
            return format!(
                "identity = aaa.example.net\ncollectives = choria\nmain_collective = choria\n\
                 plugin.choria.middleware_hosts = localhost:{broker}\nplugin.security.provider = choria\n\
                 plugin.security.choria.seed_file = {}\nplugin.security.choria.token_file = {}\nplugin.security.choria.ca = {}\n",
                seed.display(),
                token.display(),
                ca.display(),
            );
        }
        let lines: &[(&str, &PathBuf)] = match self.version {
            Version::V1 => &[
                (
                    "plugin.security.file.certificate",
                    &keys.privileged.certificate,
                ),
                ("plugin.security.file.key", &keys.privileged.key),
                ("plugin.security.file.ca", &keys.ca),
            ],
            Version::V2 => &[
                ("plugin.security.choria.seed_file", &keys.delegator_seed),
                ("plugin.security.choria.token_file", &keys.delegator_token),
            ],
        };
        let provider = match self.version {
            Version::V1 => "file",
            Version::V2 => "choria",
        };
        let mut text =
            format!("identity = aaa.example.net\nplugin.security.provider = {provider}\n");
        for (key, value) in lines {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{key} = {}", value.display());
        }
        text
    }

    fn authenticator(&self, site: &Path, keys: &Keys) -> Value {
        let users = site.join(self.users);
        match self.version {
            Version::V1 => {
                json!({"validity": "1h", "users_file": users, "signing_key": keys.login_rsa})
            }
            Version::V2 => json!({
                "validity": "1h",
                "users_file": users,
                "signing_key": keys.chain_seed,
                "signing_token": keys.chain_token,
            }),
        }
    }

    fn signer(&self, keys: &Keys) -> Value {
        match self.version {
            Version::V1 => {
                json!({"max_validity": "24h", "signing_certificate": keys.login_rsa_public})
            }
            Version::V2 => json!({
                "max_validity": "24h",
                "signing_certificate": keys.issuer_public,
                "signing_token": keys.delegator_token,
                "signing_seed": keys.delegator_seed,
                "choria_service": self.on_the_network,
            }),
        }
    }

    /// What a shell needs to know.
    fn env(&self, keys: &Keys, dir: &Path, port: u16, admin: u16) -> String {
        let (version, trust) = match self.version {
            Version::V1 => ("v1", &keys.ca),
            Version::V2 => ("v2", &keys.issuer_public),
        };
        let file = |name: &str| quoted(&dir.join(name));
        format!(
            "ADDRESS=127.0.0.1:{port}\nADMIN=127.0.0.1:{admin}\nVERSION={version}\nCONFIG={}\nAUDIT={}\nTOKEN={}\nSEED={}\n\
             CA={}\nTRUST={}\n",
            file("config.json"),
            file("audit.log"),
            file("client.jwt"),
            file("client.seed"),
            quoted(&keys.ca),
            quoted(trust),
        )
    }
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/a b")), "'/a b'");
        assert_eq!(quoted(Path::new("/it's")), r"'/it'\''s'");
    }
}
