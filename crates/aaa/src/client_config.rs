//! The configuration of the stock Choria client: where to log in, where the token goes, who signs.
//!
//! Found and layered as the stock client does it, so that `aaa login` and `choria req` speak of the same files: one main file,
//! then `plugin.d` beside it, then `choria.conf` of the project that the person stands in.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aaa_core::choria_config::ChoriaConfig;
use aaa_core::key::Ed25519Public;
use aaa_core::request::Version;
use clap::Args;

use crate::failure::Failure;
use crate::{files, screen};

/// Where a login service is.
pub(crate) const LOGIN_URL: &str = "plugin.login.aaasvc.login.url";
/// Where the signer is.
pub(crate) const SIGNER_URL: &str = "plugin.choria.security.request_signer.url";
const SIGNER_SERVICE: &str = "plugin.choria.security.request_signer.service";
const TOKEN_FILE: &[&str] = &[
    "plugin.security.choria.token_file",
    "plugin.choria.security.request_signer.token_file",
];
const SEED_FILE: &[&str] = &[
    "plugin.security.choria.seed_file",
    "plugin.choria.security.request_signer.seed_file",
];
const AUTHORITIES: &[&str] = &["plugin.security.choria.ca", "plugin.security.file.ca"];
/// The certificate and the key that the client shows, by the provider of its security.
const IDENTITY: &[[&str; 2]] = &[
    [
        "plugin.security.choria.certificate",
        "plugin.security.choria.key",
    ],
    [
        "plugin.security.file.certificate",
        "plugin.security.file.key",
    ],
];
/// Where a token goes when no configuration says it.
const DEFAULT_TOKEN_FILE: &str = ".choria/client.jwt";

/// The option that names a configuration.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration of the Choria client [default: ~/.choriarc, ~/.mcollective, /etc/choria/client.conf, … as choria does]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The settings of a client.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClientConfig {
    /// The main file; none when there is no configuration.
    file: Option<PathBuf>,
    /// What the files say, the one that wins last.
    layers: Vec<ChoriaConfig>,
}

impl ConfigArgs {
    /// Reads the configuration. Without a main file it is empty, which is an error only for who needs something of it.
    pub(crate) fn load(&self) -> Result<ClientConfig, Failure> {
        let file = match &self.config {
            Some(file) => Some(file.clone()),
            None => candidates(files::home().as_deref())
                .into_iter()
                .find(|candidate| candidate.is_file()),
        };
        let mut config = ClientConfig::default();
        if let Some(file) = file {
            config.read_main(&file)?;
        }
        if let Ok(here) = std::env::current_dir() {
            config.read_projects(&here, rustix::process::geteuid().as_raw())?;
        }
        Ok(config)
    }
}

/// Where the stock client looks, in this order.
fn candidates(home: Option<&Path>) -> Vec<PathBuf> {
    let own = [".choriarc", ".mcollective"];
    let machine = [
        "/etc/choria/client.conf",
        "/usr/local/etc/choria/client.conf",
        "/etc/puppetlabs/mcollective/client.cfg",
    ];
    home.into_iter()
        .flat_map(|home| own.map(|name| home.join(name)))
        .chain(machine.map(PathBuf::from))
        .collect()
}

impl ClientConfig {
    fn read_main(&mut self, file: &Path) -> Result<(), Failure> {
        let text = read(file)?;
        let mut settings = ChoriaConfig::parse(&text);
        // A configuration in somebody's home has no plugin.d: there it would belong to something else.
        let at_home = files::home().is_some_and(|home| file.starts_with(home));
        if let Some(directory) = file.parent().filter(|_| !at_home) {
            for (plugin, path) in plugin_files(&directory.join("plugin.d")) {
                settings.add_plugin(&plugin, &read(&path)?);
            }
        }
        self.file = Some(file.to_owned());
        self.layers.push(settings);
        Ok(())
    }

    /// Adds `choria.conf` of this directory and those above it, the nearest last.
    ///
    /// A file that somebody else put there could send the password elsewhere, so it must be this user's or root's.
    fn read_projects(&mut self, here: &Path, user: u32) -> Result<(), Failure> {
        let mut above: Vec<&Path> = here.ancestors().collect();
        above.reverse();
        for file in above
            .into_iter()
            .map(|directory| directory.join("choria.conf"))
        {
            let Ok(metadata) = fs::metadata(&file) else {
                continue;
            };
            let owner = metadata.uid();
            if !metadata.is_file() || self.file.as_deref() == Some(&file) {
                continue;
            }
            if (owner != user && owner != 0) || metadata.mode() & 0o002 != 0 {
                screen::warn(&format!(
                    "{} is passed over: others can write it",
                    file.display()
                ));
                continue;
            }
            self.layers.push(ChoriaConfig::parse(&read(&file)?));
        }
        Ok(())
    }

    /// The main file as messages name it.
    pub(crate) fn name(&self) -> String {
        match &self.file {
            Some(file) => files::short(file),
            None => "the configuration (there is none: see --config)".to_owned(),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.layers.iter().rev().find_map(|layer| layer.get(key))
    }

    fn first(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.get(key))
    }

    fn path(&self, keys: &[&str]) -> Option<PathBuf> {
        self.first(keys).map(expand)
    }

    fn list(&self, key: &str) -> Vec<String> {
        let layer = self
            .layers
            .iter()
            .rev()
            .find(|layer| layer.get(key).is_some());
        let items = layer.map(|layer| layer.list(key)).unwrap_or_default();
        items.into_iter().map(str::to_owned).collect()
    }

    /// The login services, to be tried in this order.
    pub(crate) fn login_urls(&self) -> Vec<String> {
        self.list(LOGIN_URL)
    }

    /// The signer.
    ///
    /// # Errors
    /// When there is none that is reached by HTTPS.
    pub(crate) fn signer_url(&self) -> Result<String, Failure> {
        if let Some(url) = self.get(SIGNER_URL) {
            return Ok(url.to_owned());
        }
        let name = self.name();
        let on_the_network = self
            .layers
            .iter()
            .rev()
            .find(|layer| layer.get(SIGNER_SERVICE).is_some())
            .is_some_and(|layer| layer.switch(SIGNER_SERVICE));
        Err(Failure::usage(if on_the_network {
            format!(
                "{name} has requests signed over the Choria network ({SIGNER_SERVICE}), and aaa sign speaks HTTPS only: give --url URL"
            )
        } else {
            format!("no signer is known: set {SIGNER_URL} in {name}, or give --url URL")
        }))
    }

    /// Where the token is kept.
    pub(crate) fn token_file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = self.path(TOKEN_FILE) {
            return Ok(file);
        }
        let home = files::home().ok_or_else(|| {
            Failure::usage(format!(
                "no place for the token: HOME is not set, and neither is {}",
                TOKEN_FILE.join(" or ")
            ))
        })?;
        Ok(home.join(DEFAULT_TOKEN_FILE))
    }

    /// Whether the configuration says where the token is kept, so that the stock client finds it too.
    pub(crate) fn names_token_file(&self) -> bool {
        self.first(TOKEN_FILE).is_some()
    }

    /// Where the seed of the token's key is kept: where the configuration says, or beside the token.
    pub(crate) fn seed_file(&self) -> Result<PathBuf, Failure> {
        let token = self.token_file()?;
        let seed = match self.path(SEED_FILE) {
            Some(seed) => seed,
            None => beside(&token),
        };
        if seed == token {
            return Err(Failure::usage(format!(
                "token and key would both be {}: set {} to another file",
                token.display(),
                SEED_FILE.join(" or ")
            )));
        }
        Ok(seed)
    }

    /// The variable that a shell finds the token in.
    pub(crate) fn token_variable(&self) -> &str {
        self.get("plugin.choria.security.request_signer.token_environment")
            .unwrap_or("CHORIA_TOKEN")
    }

    /// Certificates of the authorities to trust besides the machine's own.
    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        self.path(AUTHORITIES)
    }

    /// The certificate and the key that this client shows, when there are both.
    pub(crate) fn certificate_files(&self) -> Option<[PathBuf; 2]> {
        IDENTITY.iter().find_map(|[certificate, key]| {
            let files = [self.path(&[certificate])?, self.path(&[key])?];
            files.iter().all(|file| file.is_file()).then_some(files)
        })
    }

    /// The protocol that this client speaks: v2 with tokens for everything, v1 with certificates.
    pub(crate) fn version(&self) -> Version {
        match self.get("plugin.security.provider") {
            Some("choria") => Version::V2,
            _ => Version::V1,
        }
    }

    /// The collective that requests are for when nothing else is said.
    pub(crate) fn collective(&self, version: Version) -> String {
        let first = self.list("collectives").into_iter().next();
        let main = self.get("main_collective").map(str::to_owned);
        main.or(first).unwrap_or_else(|| {
            match version {
                Version::V1 => "mcollective",
                Version::V2 => "choria",
            }
            .to_owned()
        })
    }

    /// The name of this host among nodes.
    pub(crate) fn identity(&self) -> String {
        match self.get("identity") {
            Some(identity) => identity.to_owned(),
            None => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// The organization issuers that nodes of this network trust, each with the organization that it is for.
    pub(crate) fn issuers(&self) -> Result<Vec<(String, Ed25519Public)>, Failure> {
        let mut issuers = Vec::new();
        for name in self.list("plugin.security.issuer.names") {
            let key = format!("plugin.security.issuer.{name}.public");
            let Some(public) = self.get(&key) else {
                continue;
            };
            let public = Ed25519Public::from_hex(public)
                .map_err(|error| Failure::usage(format!("{key} in {}: {error}", self.name())))?;
            issuers.push((name, public));
        }
        Ok(issuers)
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    files::read_text(file)
}

/// The files of `plugin.d`, each with the name of its plugin, in the order of their names.
fn plugin_files(directory: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut found: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "cfg"))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect();
    found.sort();
    found
}

/// `~` at the beginning of a path is the home directory.
fn expand(text: &str) -> PathBuf {
    let rest = text
        .strip_prefix('~')
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    match (rest, files::home()) {
        (Some(rest), Some(home)) => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(text),
    }
}

/// The token's path with what follows the last dot of its name replaced by `key`. A name that begins with its only dot is all
/// extension, as Go's `filepath.Ext` has it: the stock client looks there.
fn beside(token: &Path) -> PathBuf {
    let name = token.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.rsplit_once('.').map_or(&*name, |(stem, _)| stem);
    token.with_file_name(format!("{stem}.key"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn config(text: &str) -> ClientConfig {
        ClientConfig {
            file: Some("client.conf".into()),
            layers: vec![ChoriaConfig::parse(text)],
        }
    }

    #[test]
    fn looks_where_the_stock_client_looks() {
        let found = candidates(Some(Path::new("/home/bob")));
        assert_eq!(found.first().unwrap(), Path::new("/home/bob/.choriarc"));
        assert_eq!(found.get(1).unwrap(), Path::new("/home/bob/.mcollective"));
        assert_eq!(found.len(), 5);
        assert_eq!(
            candidates(None).first().unwrap(),
            Path::new("/etc/choria/client.conf")
        );
    }

    #[test]
    fn the_files_of_the_choria_provider_come_first() {
        let both = config(
            "plugin.choria.security.request_signer.token_file = /a/old.jwt\n\
             plugin.choria.security.request_signer.seed_file = /a/old.seed\n\
             plugin.security.choria.token_file = /b/new.jwt\n",
        );
        assert_eq!(both.token_file().unwrap(), Path::new("/b/new.jwt"));
        assert_eq!(both.seed_file().unwrap(), Path::new("/a/old.seed"));
    }

    #[test]
    fn the_key_lies_beside_the_token() {
        for (token, seed) in [
            ("/a/client.jwt", "/a/client.key"),
            ("/a/client", "/a/client.key"),
            ("/a.b/client", "/a.b/client.key"),
            ("/a/.choria_token", "/a/.key"),
        ] {
            assert_eq!(beside(Path::new(token)), Path::new(seed));
        }
        let same = config("plugin.security.choria.token_file = /a/client.key\n");
        let refused = same.seed_file().unwrap_err();
        assert_eq!(refused.exit, crate::failure::Exit::Usage);
    }

    #[test]
    fn plugin_files_and_projects_are_layered() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("etc/client.conf");
        let project = directory.path().join("work/deep");
        fs::create_dir_all(directory.path().join("etc/plugin.d")).unwrap();
        fs::create_dir_all(&project).unwrap();
        fs::write(&main, "plugin.security.provider = file\nidentity = main\n").unwrap();
        fs::write(
            directory.path().join("etc/plugin.d/login.cfg"),
            "aaasvc.login.url = https://a/, https://b/\n",
        )
        .unwrap();
        fs::write(
            directory.path().join("work/choria.conf"),
            "identity = outer\n",
        )
        .unwrap();
        fs::write(
            project.join("choria.conf"),
            "plugin.security.provider = choria\n",
        )
        .unwrap();
        let user = fs::metadata(&main).unwrap().uid();
        let mut config = ClientConfig::default();
        config.read_main(&main).unwrap();
        config.read_projects(&project, user).unwrap();
        assert_eq!(config.login_urls(), ["https://a/", "https://b/"]);
        assert_eq!(config.version(), Version::V2);
        assert_eq!(config.identity(), "outer");
    }

    #[test]
    fn a_project_file_of_somebody_else_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("choria.conf");
        fs::write(&file, "identity = trap\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        let mut config = ClientConfig::default();
        config
            .read_projects(directory.path(), fs::metadata(&file).unwrap().uid())
            .unwrap();
        assert_ne!(config.identity(), "trap");
    }

    #[test]
    fn a_signer_on_the_network_only_is_said() {
        let network = config("plugin.choria.security.request_signer.service = true\n");
        let text = network.signer_url().unwrap_err().to_string();
        assert!(text.contains("over the Choria network"), "{text}");
        let none = config("").signer_url().unwrap_err().to_string();
        assert!(none.contains(SIGNER_URL), "{none}");
    }

    #[test]
    fn collectives_have_a_default_for_each_protocol() {
        assert_eq!(config("").collective(Version::V1), "mcollective");
        assert_eq!(config("").collective(Version::V2), "choria");
        assert_eq!(config("collectives = a, b").collective(Version::V2), "a");
        assert_eq!(
            config("collectives = a\nmain_collective = b").collective(Version::V2),
            "b"
        );
    }

    #[test]
    fn issuers_are_read_and_a_broken_one_is_named() {
        let key = "54dad2ab80b65342117af16b94a67a5b8d62d19b388689a452945072ea08299d";
        let text = format!(
            "plugin.security.issuer.names = choria\nplugin.security.issuer.choria.public = {key}\n"
        );
        let issuers = config(&text).issuers().unwrap();
        assert_eq!(issuers.first().unwrap().0, "choria");
        let broken = config(&text.replace("54d", "5zd")).issuers().unwrap_err();
        assert!(
            broken
                .to_string()
                .contains("plugin.security.issuer.choria.public")
        );
    }
}
