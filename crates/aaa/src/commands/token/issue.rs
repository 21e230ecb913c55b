//! `aaa token issue`: what `choria jwt client` and `choria jwt server` do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aaa_core::claims::{ClientPermissions, ServerPermissions};
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::{Ed25519Key, SigningKey};
use aaa_core::token::{ChainIssuer, Grant, Minter, ORGANIZATION_ISSUER_PREFIX, ServerGrant};
use aaa_core::{duration, token};
use clap::ArgGroup;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{bad_key, public, valid};
use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};
use crate::{describe, screen};

/// Make a token
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Kind {
    Client(ClientArgs),
    Server(ServerArgs),
    ChainIssuer(ChainIssuerArgs),
    Delegator(DelegatorArgs),
}

/// Make a token for a person or a program that sends requests
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa token issue client up=alice --issuer-seed issuer.seed --public-key alice.public \\
      --agent 'rpcutil.*,puppet.status'
  aaa token issue client up=backup --signing-key login.seed --chain-token login.jwt \\
      --public-key backup.public --validity 8760h --permission service,fleet_management")]
pub(crate) struct ClientArgs {
    /// Who it is for: <provider>=<name>
    caller: String,
    #[command(flatten)]
    issuer: IssuerArgs,
    /// The holder's public key, as a file or 64 hexadecimal characters; without it the token works for whoever has it
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// How long it is valid
    #[arg(long, default_value = "1h", value_parser = duration::parse)]
    validity: Duration,
    /// What the holder may do: *, agent.* or agent.action
    #[arg(long, value_name = "ACTION", value_delimiter = ',')]
    agent: Vec<String>,
    /// A Rego policy (package io.choria.aaasvc) that decides what the holder may do
    #[arg(long, value_name = "FILE")]
    opa_policy: Option<PathBuf>,
    /// A right on the network
    #[arg(long, value_name = "RIGHT", value_delimiter = ',', default_value = "fleet_management", value_parser = client_rights())]
    permission: Vec<String>,
    /// A fact about the holder that policies can read
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    property: Vec<(String, String)>,
    /// A subject that the holder may publish to besides the usual
    #[arg(long, value_name = "SUBJECT")]
    publish: Vec<String>,
    /// A subject that the holder may subscribe to besides the usual
    #[arg(long, value_name = "SUBJECT")]
    subscribe: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Make a token for a node, a broker, or a service that answers requests
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The name of the node
    identity: String,
    #[command(flatten)]
    issuer: IssuerArgs,
    /// The node's public key, as a file or 64 hexadecimal characters
    #[arg(long, value_name = "KEY")]
    public_key: String,
    /// How long it is valid
    #[arg(long, default_value = "8760h", value_parser = duration::parse)]
    validity: Duration,
    /// A collective that the node belongs to
    #[arg(long, value_delimiter = ',', default_value = "choria")]
    collective: Vec<String>,
    /// A right on the network
    #[arg(long, value_name = "RIGHT", value_delimiter = ',', value_parser = ServerPermissions::NAMES.to_vec())]
    permission: Vec<String>,
    /// A subject that the node may publish to besides the usual
    #[arg(long, value_name = "SUBJECT")]
    publish: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Make a token that lets a login service issue tokens in the organization's name
///
/// Only the organization issuer can make it. Its holder can issue tokens for anybody, so give it to login services alone.
#[derive(Debug, clap::Args)]
pub(crate) struct ChainIssuerArgs {
    /// Who it is for: <provider>=<name>
    #[arg(default_value = "choria=aaa-login")]
    caller: String,
    /// The organization issuer's seed file
    #[arg(long, value_name = "FILE")]
    issuer_seed: PathBuf,
    /// The login service's public key, as a file or 64 hexadecimal characters
    #[arg(long, value_name = "KEY")]
    public_key: String,
    /// How long it may issue
    #[arg(long, default_value = "8760h", value_parser = duration::parse)]
    validity: Duration,
    #[command(flatten)]
    common: CommonArgs,
}

/// Make a token that lets a signer sign requests for others
#[derive(Debug, clap::Args)]
pub(crate) struct DelegatorArgs {
    /// Who it is for: <provider>=<name>
    #[arg(default_value = "choria=aaa-signer")]
    caller: String,
    #[command(flatten)]
    issuer: IssuerArgs,
    /// The signer's public key, as a file or 64 hexadecimal characters
    #[arg(long, value_name = "KEY")]
    public_key: String,
    /// How long it is valid
    #[arg(long, default_value = "8760h", value_parser = duration::parse)]
    validity: Duration,
    #[command(flatten)]
    common: CommonArgs,
}

/// Who issues.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("who").required(true).args(["issuer_seed", "signing_key"]))]
struct IssuerArgs {
    /// The organization issuer's seed file
    #[arg(long, value_name = "FILE")]
    issuer_seed: Option<PathBuf>,
    /// The key of an issuer that verifiers know by its key: an RSA private key (PEM) or a seed file
    #[arg(long, value_name = "FILE", conflicts_with = "issuer_seed")]
    signing_key: Option<PathBuf>,
    /// How that issuer calls itself
    #[arg(
        long,
        value_name = "NAME",
        requires = "signing_key",
        default_value = "Choria AAA"
    )]
    issuer_name: String,
    /// The chain issuer token of --signing-key: issue in the organization's name
    #[arg(long, value_name = "FILE", requires = "signing_key", conflicts_with_all = ["issuer_name", "issuer_seed"])]
    chain_token: Option<PathBuf>,
}

/// What all kinds have.
#[derive(Debug, clap::Args)]
struct CommonArgs {
    /// The organization that it belongs to
    #[arg(long, default_value = "choria")]
    organization: String,
    /// Write the token to this file (0600) instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,
    /// Print a JSON document with the token and its claims
    #[arg(long)]
    json: bool,
}

pub(super) fn run(kind: &Kind) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let (token, common) = match kind {
        Kind::Client(args) => (client(args, now)?, &args.common),
        Kind::Server(args) => (server(args, now)?, &args.common),
        Kind::ChainIssuer(args) => (chain_issuer(args, now)?, &args.common),
        Kind::Delegator(args) => (delegator(args, now)?, &args.common),
    };
    common.hand_over(&token)?;
    Ok(Exit::Done)
}

fn client(args: &ClientArgs, now: Timestamp) -> Result<String, Failure> {
    let mut rights = ClientPermissions::default();
    for name in &args.permission {
        rights.give(name);
    }
    // The stock tools do the same: these two are worth nothing without it.
    rights.fleet_management |= rights.signed_fleet_management || rights.provisioner;
    let opa_policy = match &args.opa_policy {
        Some(file) => files::read_text(file)?,
        None => String::new(),
    };
    let public_key = args.public_key.as_deref().map(public).transpose()?;
    if public_key.is_none() {
        screen::warn(
            "without --public-key the token is bound to no key: it works for whoever has it",
        );
    }
    let grant = Grant {
        caller: args.caller.clone(),
        agents: args.agent.clone(),
        organization: args.common.organization.clone(),
        properties: args.property.iter().cloned().collect::<BTreeMap<_, _>>(),
        opa_policy,
        permissions: Some(rights),
        pub_subjects: args.publish.clone(),
        sub_subjects: args.subscribe.clone(),
        public_key,
        validity: args.validity,
    };
    args.issuer
        .minter(now)?
        .client(grant, now)
        .map_err(|error| refused(&error))
}

fn server(args: &ServerArgs, now: Timestamp) -> Result<String, Failure> {
    let mut permissions = ServerPermissions::default();
    for name in &args.permission {
        permissions.give(name);
    }
    if permissions.governor && !permissions.streams {
        return Err(Failure::usage(
            "the governor permission needs the streams permission too",
        ));
    }
    let grant = ServerGrant {
        identity: args.identity.clone(),
        collectives: args.collective.clone(),
        organization: args.common.organization.clone(),
        permissions,
        pub_subjects: args.publish.clone(),
        public_key: public(&args.public_key)?,
        validity: args.validity,
    };
    args.issuer
        .minter(now)?
        .server(grant, now)
        .map_err(|error| refused(&error))
}

fn chain_issuer(args: &ChainIssuerArgs, now: Timestamp) -> Result<String, Failure> {
    let grant = Grant {
        caller: args.caller.clone(),
        organization: args.common.organization.clone(),
        permissions: Some(ClientPermissions::default()),
        public_key: Some(public(&args.public_key)?),
        validity: args.validity,
        ..Grant::default()
    };
    Minter::organization(seed(&args.issuer_seed)?)
        .client(grant, now)
        .map_err(|error| refused(&error))
}

fn delegator(args: &DelegatorArgs, now: Timestamp) -> Result<String, Failure> {
    let grant = Grant {
        caller: args.caller.clone(),
        organization: args.common.organization.clone(),
        permissions: Some(ClientPermissions {
            authentication_delegator: true,
            ..ClientPermissions::default()
        }),
        public_key: Some(public(&args.public_key)?),
        validity: args.validity,
        ..Grant::default()
    };
    args.issuer
        .minter(now)?
        .client(grant, now)
        .map_err(|error| refused(&error))
}

impl IssuerArgs {
    fn minter(&self, now: Timestamp) -> Result<Minter, Failure> {
        if let Some(file) = &self.issuer_seed {
            let key = seed(file)?;
            let name = format!("{ORGANIZATION_ISSUER_PREFIX}{}", key.public().to_hex());
            // The organization issuer's signature over an id and a key (`tcs`) is what lets the holder of that key issue tokens
            // for anybody, so only chain issuers get one.
            return Ok(Minter::named(SigningKey::Ed25519(key), name));
        }
        let file = self.signing_key.as_ref().ok_or_else(|| {
            Failure::usage("who issues? give --issuer-seed FILE or --signing-key FILE")
        })?;
        let name = file.display().to_string();
        let content = files::read_secret(file)?;
        let key = SigningKey::parse(content.expose()).map_err(|error| bad_key(&name, &error))?;
        let Some(chain) = &self.chain_token else {
            return Ok(Minter::named(key, self.issuer_name.clone()));
        };
        let SigningKey::Ed25519(key) = key else {
            return Err(bad_key(
                &name,
                &"chains of trust need an Ed25519 seed, and this is RSA",
            ));
        };
        let token = files::read_text(chain)?;
        let issuer = ChainIssuer::new(key, &token, now)
            .map_err(|error| bad_key(&chain.display().to_string(), &error))?;
        Ok(Minter::chain(issuer))
    }
}

impl CommonArgs {
    fn hand_over(&self, token: &str) -> Result<(), Failure> {
        if let Some(file) = &self.output {
            let write = if self.force {
                files::write
            } else {
                files::write_new
            };
            write(file, Mode::Private, token.as_bytes())?;
            let claims = super::Claims::unverified(token)?;
            screen::say(&format!(
                "token of {} written to {}, {}",
                claims.subject(),
                files::short(file),
                valid(claims.standard())
            ));
        }
        if self.json {
            let claims: Value = token::unverified(token).unwrap_or_default();
            let end = claims.get("exp").and_then(Value::as_i64);
            return screen::json(&json!({
                "token": token,
                "expires": end.and_then(describe::rfc3339),
                "claims": claims,
            }));
        }
        match self.output {
            Some(_) => Ok(()),
            None => screen::data(&format!("{token}\n")),
        }
    }
}

fn seed(file: &Path) -> Result<Ed25519Key, Failure> {
    let content = files::read_secret(file)?;
    Ed25519Key::from_seed_file(content.expose())
        .map_err(|error| bad_key(&file.display().to_string(), &error))
}

fn refused(error: &token::MintError) -> Failure {
    Failure::usage(format!("no token was made: {error}"))
}

/// The rights of a client, and none of them.
fn client_rights() -> Vec<&'static str> {
    let mut names = ClientPermissions::NAMES.to_vec();
    names.push("none");
    names
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
