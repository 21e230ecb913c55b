//! A whole site to run services on: keys, certificates, tokens, users, and a configuration for each scenario.
//!
//! Every scenario is a directory with `config.json`, the client's `client.jwt` and `client.seed`, and `env`, which a shell reads to
//! know where things are. Ours and the reference get the same settings, and only their ports and audit files differ.

mod config;
mod keys;
mod users;

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde::Serialize;

use crate::cli::{SiteOptions, Version};
use crate::failure::Failure;
use config::Scenario;
use keys::Keys;

pub(crate) use users::{password, username};

/// Users of a site whose passwords are all hashed with a salt of their own.
pub(crate) const FEW_USERS: u64 = 32;
/// Users of the large site.
pub(crate) const MANY_USERS: u64 = 100_000;
/// The cost of their hashes.
pub(crate) const BCRYPT_COST: u32 = 10;
/// Who has requests signed.
pub(crate) const CALLER: &str = "up=bench";

/// Written as published policies are. The rule that the requests of a run meet first is neither the first nor the last.
pub(crate) const POLICY: &str = r#"package io.choria.aaasvc

default allow = false

# Puppet may be stopped in one country at a time, and not without a word about it
allow {
	input.agent == "puppet"
	input.action == "disable"
	input.data.message
	requires_fact_filter("country=mt")
}

# its state is nobody's secret
allow {
	input.agent == "puppet"
	input.action == "status"
}

# administrators look after packages, but nowhere without a filter
allow {
	input.agent == "package"
	input.claims.user_properties.group == "admins"
	requires_filter()
}
"#;

/// `aaa-load site`.
pub(crate) fn run(options: &SiteOptions) -> Result<(), Failure> {
    make(&options.dir, options.users, BCRYPT_COST)?;
    writeln!(std::io::stdout(), "{}", options.dir.display())
        .map_err(|error| Failure::while_doing("standard output", error))
}

/// Writes a site into a directory, its large scenario with so many users, its passwords hashed at this cost.
pub(crate) fn make(dir: &Path, many: u64, cost: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::while_doing(dir.display(), error);
    fs::create_dir_all(dir).map_err(failed)?;
    fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)?;
    // Configurations name their files, whatever the directory of who reads them.
    let dir = &dir.canonicalize().map_err(failed)?;
    let keys = Keys::new(dir)?;
    let hashes = users::hashes(cost)?;
    users::write(&dir.join("users.json"), FEW_USERS, &hashes)?;
    users::write(&dir.join("many-users.json"), many, &hashes)?;
    let scenarios = [
        Scenario::new("v2", Version::V2, "users.json"),
        Scenario::new("v2-reference", Version::V2, "users.json"),
        Scenario::new("v1", Version::V1, "users.json"),
        Scenario::new("v1-reference", Version::V1, "users.json"),
        Scenario::new("users", Version::V2, "many-users.json"),
        Scenario::new("network", Version::V2, "users.json").on_the_network(),
        Scenario::new("network-reference", Version::V2, "users.json").on_the_network(),
    ];
    let mut ports = free_ports(scenarios.len() * 2 + 1)?.into_iter();
    let Some(broker) = ports.next() else {
        return Err(Failure::new("no free ports"));
    };
    write(&dir.join("nats.conf"), keys.broker(broker)?)?;
    for scenario in scenarios {
        let (Some(port), Some(admin)) = (ports.next(), ports.next()) else {
            return Err(Failure::new("no free ports"));
        };
        scenario.write(dir, &keys, port, admin, broker)?;
    }
    Ok(())
}

/// Ports that nobody listens on now. All are held until the last is found, so that they differ.
fn free_ports(count: usize) -> Result<Vec<u16>, Failure> {
    let held: Result<Vec<_>, _> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    held.and_then(|held| {
        let ports = held
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()));
        ports.collect()
    })
    .map_err(|error| Failure::while_doing("a free port", error))
}

/// Writes a file that only its owner reads.
fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), Failure> {
    create(path)?
        .write_all(content.as_ref())
        .map_err(|error| Failure::while_doing(path.display(), error))
}

fn write_json(path: &Path, content: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(content)
        .map_err(|error| Failure::while_doing(path.display(), error))?;
    write(path, text)
}

fn create(path: &Path) -> Result<File, Failure> {
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Failure::while_doing(path.display(), error))
}
