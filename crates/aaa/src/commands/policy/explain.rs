//! `aaa policy explain`.

use std::path::PathBuf;

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::request::Request;
use jiff::Timestamp;

use super::road::Road;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::{self, Paint};

/// Say who decides about a request, and why
///
/// Asks whoever a signer would ask, in the same order, with the same code. Neither the token's signature nor the times of token and
/// request are checked, so that those of yesterday can be explained today. Without --config the rules in the token decide: its policy,
/// or else its action list. Exit code 1 when the request would not be signed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa policy explain bob.jwt req.json
  aaa policy explain --token bob.jwt --request req.json --config /etc/aaa/signer.json
  aaa policy explain --json bob.jwt req.json")]
pub(crate) struct Args {
    /// The token's file
    #[arg(value_name = "TOKEN", required_unless_present = "token_option")]
    token: Option<PathBuf>,
    /// The request's file, or - for standard input
    #[arg(value_name = "REQUEST", required_unless_present = "request_option")]
    request: Option<PathBuf>,
    /// The token's file
    #[arg(long = "token", value_name = "FILE", conflicts_with = "token")]
    token_option: Option<PathBuf>,
    /// The request's file, or - for standard input
    #[arg(long = "request", value_name = "FILE", conflicts_with = "request")]
    request_option: Option<PathBuf>,
    /// The configuration of the signer whose rules hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The time of the decision, such as 2026-11-25T12:00:00Z; now when absent
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let token = given(args.token_option.as_ref(), args.token.as_ref(), "token")?;
    let request = given(
        args.request_option.as_ref(),
        args.request.as_ref(),
        "request",
    )?;
    let claims = super::claims(token)?;
    let bytes = files::read_input(request)?;
    let request = Request::parse(bytes.trim_ascii())
        .map_err(|error| Failure::usage(format!("{}: {error}", request.display())))?;
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let site = match &args.config {
        Some(path) => super::site(path, now)?,
        None => super::of_token(&claims),
    };
    let road = Road::of(&site, &claims, request, now);
    if args.json {
        screen::json(&road.document())?;
    } else {
        screen::data(&road.tree(Paint::stdout()))?;
    }
    Ok(if road.is_allowed() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn given<'a>(
    option: Option<&'a PathBuf>,
    place: Option<&'a PathBuf>,
    what: &str,
) -> Result<&'a PathBuf, Failure> {
    option
        .or(place)
        .ok_or_else(|| Failure::usage(format!("no {what}: name its file")))
}
