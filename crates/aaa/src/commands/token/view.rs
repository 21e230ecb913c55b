//! `aaa token view` and `aaa token verify`.

use std::path::PathBuf;

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::VerifyingKey;
use aaa_core::token::{TokenError, Verifier, unverified};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Claims, bad_key, key_bytes, read, words};
use crate::failure::{Exit, Failure};
use crate::screen::{self, Paint};

/// Show what a token says, without verifying it
#[derive(Debug, clap::Args)]
pub(crate) struct ViewArgs {
    /// The token's file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Print a JSON document: header, claims, and that nothing is verified
    #[arg(long)]
    json: bool,
}

/// Verify a token with the keys of those who may issue tokens
///
/// Checked are the signature, for a chain both links to the organization issuer, and the times. Exit code 1 when it is not good.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa token verify --issuer issuer.public ~/.choria/client.jwt
  aaa token verify --issuer old.pem --issuer new.pem alice.jwt")]
pub(crate) struct VerifyArgs {
    /// The token's file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// A key to trust, as a file or 64 hexadecimal characters: the organization issuer's public key, or an RSA public key or certificate
    #[arg(long, required = true, value_name = "KEY")]
    issuer: Vec<String>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn view(args: &ViewArgs) -> Result<Exit, Failure> {
    let token = read(&args.file)?;
    if args.json {
        screen::json(&document(&token, false)?)?;
        return Ok(Exit::Done);
    }
    let claims = Claims::unverified(&token)?;
    let paint = Paint::stdout();
    let head = paint.bad("not verified");
    screen::data(&format!(
        "{head}  anybody can write such a token; check it with: aaa token verify --issuer KEY\n{}",
        words::lines(&claims, SystemClock.now())
    ))?;
    Ok(Exit::Done)
}

pub(super) fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let mut keys = Vec::new();
    for given in &args.issuer {
        let key = VerifyingKey::parse(&key_bytes(given)?).map_err(|e| bad_key(given, &e))?;
        keys.push(key);
    }
    let token = read(&args.file)?;
    let claims = Claims::unverified(&token)?;
    let now = SystemClock.now();
    check(&claims, &token, &Verifier::new(keys.clone()), now)
        .map_err(|error| Failure::failed(format!("the token is refused: {error}")))?;
    if args.json {
        screen::json(&document(&token, true)?)?;
        return Ok(Exit::Done);
    }
    let by = args.issuer.iter().zip(keys).find_map(|(given, key)| {
        let good = check(&claims, &token, &Verifier::new(vec![key]), now).is_ok();
        good.then(|| given.clone())
    });
    let head = Paint::stdout().good("verified");
    screen::data(&format!(
        "{head}      with {}\n{}",
        by.unwrap_or_default(),
        words::lines(&claims, now)
    ))?;
    Ok(Exit::Done)
}

/// Whether the token is good and valid now.
fn check(
    claims: &Claims,
    token: &str,
    verifier: &Verifier,
    now: Timestamp,
) -> Result<(), TokenError> {
    match claims {
        Claims::Client(_) => {
            verifier.authenticate(token)?.valid_at(now, None)?;
        }
        Claims::Server(_) => {
            verifier.authenticate_server(token)?.valid_at(now, None)?;
        }
    }
    Ok(())
}

/// The token's own JSON.
fn document(token: &str, verified: bool) -> Result<Value, Failure> {
    let claims: Value =
        unverified(token).map_err(|error: TokenError| Failure::failed(error.to_string()))?;
    let header = token.split('.').next().unwrap_or_default();
    let header: Value = URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    Ok(json!({"verified": verified, "header": header, "claims": claims}))
}
