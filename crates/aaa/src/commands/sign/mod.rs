//! `aaa sign`.

use std::path::PathBuf;

use aaa_api::rest::SignRequest;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::request::Request;
use aaa_core::secure_request::published_by;

use super::login::runtime;
use super::whoami::expired;
use crate::client_config::{ClientConfig, ConfigArgs};
use crate::failure::{Exit, Failure};
use crate::reach::{ReachArgs, explain};
use crate::session::{Session, Token};
use crate::{files, screen};

pub(super) mod build;

/// Have a request signed, and print the secure request that nodes obey
///
/// The request is read from a file or standard input, or made from --agent and --action. It is signed with the key of the login,
/// and the signer of the configuration is asked. Exit code 1 when it refuses.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa sign --agent puppet --action status -F country=mt
  aaa sign --agent package --action install --data package=zsh --data retries:=3 -C apache
  aaa sign request.json | aaa verify --issuer issuer.public")]
pub(crate) struct Args {
    /// A file with the JSON of a request, or - for standard input
    #[arg(conflicts_with = "agent", required_unless_present = "agent")]
    request: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask the signer at this URL instead of that of the configuration
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Use the token in this file instead of that of the login
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    /// The seed of the key that the token is bound to
    #[arg(long, value_name = "FILE", requires = "token")]
    seed: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
    // Last, for its options have a heading of their own.
    #[command(flatten)]
    build: build::RequestArgs,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = args.config.load()?;
    let url = match &args.url {
        Some(url) => url.clone(),
        None => config.signer_url()?,
    };
    args.reach.check(&url)?;
    let now = SystemClock.now();
    let session = args.session(&config)?;
    let token = session.token()?;
    expired(&token, now)?;
    let key = session.key(&token.claims)?;
    let bytes = match &args.request {
        Some(file) => files::read_input(file)?.trim_ascii().to_vec(),
        None => args.build.request(&config, &token.claims, now)?,
    };
    Request::parse(&bytes).map_err(|error| {
        Failure::usage(format!("this is no request that can be signed: {error}"))
    })?;
    let client = args.reach.client(&config)?;
    let question = question(&token, key.as_ref(), bytes);
    let secure = runtime()?
        .block_on(client.sign(&url, &question))
        .map_err(|error| explain(&error))?;
    let secure = published_by(secure, &token.text);
    screen::data(&format!("{}\n", String::from_utf8_lossy(&secure)))?;
    Ok(Exit::Done)
}

impl Args {
    fn session(&self, config: &ClientConfig) -> Result<Session, Failure> {
        let Some(token) = &self.token else {
            return Session::of(config);
        };
        let seed = self.seed.clone();
        Ok(Session {
            token_file: token.clone(),
            seed_file: seed.unwrap_or_else(|| token.with_extension("key")),
        })
    }
}

fn question(token: &Token, key: Option<&Ed25519Key>, request: Vec<u8>) -> SignRequest {
    let signature = key.map(|key| hex::encode(key.sign(&request)));
    SignRequest {
        token: token.text.clone(),
        request,
        signature: signature.unwrap_or_default(),
    }
}
