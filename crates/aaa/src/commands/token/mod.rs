//! `aaa token`.

use std::path::{Path, PathBuf};

use aaa_core::claims::{ClientClaims, Purpose, ServerClaims, Standard};
use aaa_core::key::Ed25519Public;
use aaa_core::token::{TokenError, unverified};

use crate::failure::{Exit, Failure};
use crate::{describe, files, screen};

mod issue;
mod view;
mod words;

/// Make, show and verify tokens
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    #[command(subcommand)]
    Issue(Box<issue::Kind>),
    View(view::ViewArgs),
    Verify(view::VerifyArgs),
}

pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Issue(kind) => issue::run(kind),
        Command::View(args) => view::view(args),
        Command::Verify(args) => view::verify(args),
    }
}

/// A token of either kind.
enum Claims {
    Client(Box<ClientClaims>),
    Server(Box<ServerClaims>),
}

impl Claims {
    /// What the token says, believed or not.
    fn unverified(token: &str) -> Result<Self, Failure> {
        let read = |error: TokenError| Failure::failed(error.to_string());
        let standard: Standard = unverified(token).map_err(read)?;
        match standard.purpose {
            Purpose::Client => Ok(Self::Client(unverified(token).map_err(read)?)),
            Purpose::Server => Ok(Self::Server(unverified(token).map_err(read)?)),
            Purpose::Unknown => Err(Failure::failed(
                "this is neither a client's nor a server's token (by its purpose)",
            )),
        }
    }

    fn standard(&self) -> &Standard {
        match self {
            Self::Client(claims) => &claims.standard,
            Self::Server(claims) => &claims.standard,
        }
    }

    /// Whose it is.
    fn subject(&self) -> String {
        screen::printable(match self {
            Self::Client(claims) => &claims.callerid,
            Self::Server(claims) => &claims.identity,
        })
    }
}

/// The text of a token from a file, or from standard input for `-`.
fn read(file: &Path) -> Result<String, Failure> {
    let text = files::text(files::read_input(file)?, file)?;
    Ok(text.trim().to_owned())
}

/// A key file, or the 64 characters of a public key themselves.
fn key_bytes(given: &str) -> Result<Vec<u8>, Failure> {
    let path = PathBuf::from(given);
    let is_key = given.len() == 64 && given.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_key && !path.exists() {
        return Ok(given.as_bytes().to_vec());
    }
    files::read(&path)
}

/// The public key that the command line names.
pub(crate) fn public(given: &str) -> Result<Ed25519Public, Failure> {
    let content = key_bytes(given)?;
    let text = String::from_utf8_lossy(&content);
    Ed25519Public::from_hex(text.trim()).map_err(|error| bad_key(given, &error))
}

/// What is wrong with a key file that the command line names.
fn bad_key(given: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::usage(format!("{given}: {error}"))
}

/// The end of a token, for a line of its own.
fn valid(standard: &Standard) -> String {
    use aaa_core::clock::{Clock as _, SystemClock};
    describe::expiry(standard, SystemClock.now())
}
