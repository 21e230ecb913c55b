//! `aaa verify`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::request::Version;
use aaa_core::secure_request::{Accepted, NodeTrust, NotAccepted};
use aaa_core::token::unverified;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Deserialize;
use serde_json::json;

use crate::client_config::ConfigArgs;
use crate::describe::Issuer;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::{self, Paint, printable};

/// Check a secure request as a node would
///
/// Without --issuer and --ca it is checked with what the configuration of the Choria client trusts. Exit code 1 when a node would
/// not obey.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa sign --agent puppet --action status | aaa verify
  aaa verify --issuer issuer.public secure.json
  aaa verify --ca ca.pem --collective mcollective secure.json")]
pub(crate) struct Args {
    /// The secure request's file, or - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
    /// The organization issuer's public key, as a file or 64 hexadecimal characters: what nodes trust in v2
    #[arg(long, value_name = "KEY")]
    issuer: Option<String>,
    /// The certificate authority in PEM: what nodes trust in v1
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A collective that the node belongs to; any when absent
    #[arg(long, short = 'T', value_delimiter = ',')]
    collective: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let secure = files::read_input(&args.file)?;
    let secure = secure.trim_ascii();
    let trust = args.trust()?;
    let now = SystemClock.now();
    let begun = Instant::now();
    let accepted = trust.check(secure, now);
    let took = begun.elapsed();
    match accepted {
        Ok(accepted) => report(args, secure, &accepted, took),
        Err(error) => Err(refused(&error)),
    }
}

fn refused(error: &NotAccepted) -> Failure {
    let text = format!("a node would refuse it: {}", printable(&error.to_string()));
    match error {
        NotAccepted::NothingToCheckWith(_) => Failure::usage(format!(
            "{error}: give --issuer KEY for v2, --ca FILE for v1"
        )),
        _ => Failure::failed(text),
    }
}

impl Args {
    fn trust(&self) -> Result<NodeTrust, Failure> {
        let mut trust = NodeTrust {
            collectives: self.collective.clone(),
            ..NodeTrust::default()
        };
        let mut ca = self.ca.clone();
        if let Some(given) = &self.issuer {
            trust.issuer = Some(super::token::public(given)?);
        } else if self.ca.is_none() {
            let config = self.config.load()?;
            trust.organizations = config.issuers()?.into_iter().collect();
            ca = config.authorities();
        }
        if let Some(file) = ca {
            let pem = files::read(&file)?;
            trust.authorities = CertificateDer::pem_slice_iter(&pem)
                .collect::<Result<_, _>>()
                .map_err(|_| Failure::usage(format!("{}: no PEM", file.display())))?;
            if trust.authorities.is_empty() {
                return Err(Failure::usage(format!(
                    "{}: holds no certificate",
                    file.display()
                )));
            }
        }
        Ok(trust)
    }
}

/// The tokens of a v2 secure request.
#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    caller: String,
    #[serde(default)]
    signer: String,
}

impl Tokens {
    fn of(secure: &[u8]) -> Self {
        serde_json::from_slice(secure).unwrap_or_default()
    }

    /// How the caller's token hangs together with the issuer.
    fn origin(&self) -> &'static str {
        let caller = unverified::<ClientClaims>(&self.caller);
        match caller.map(|claims| Issuer::of(&claims.standard)) {
            Ok(Issuer::Chain { .. }) => "chain",
            _ => "issuer",
        }
    }
}

fn report(
    args: &Args,
    secure: &[u8],
    accepted: &Accepted,
    took: Duration,
) -> Result<Exit, Failure> {
    let request = &accepted.request;
    if args.json {
        screen::json(&json!({
            "accepted": true,
            "protocol": match request.version() { Version::V1 => 1, Version::V2 => 2 },
            "caller": accepted.caller,
            "signer": accepted.signer,
            "agent": request.agent(),
            "action": request.action(),
            "collective": request.collective(),
            "request_id": request.id(),
        }))?;
        return Ok(Exit::Done);
    }
    let ok = Paint::stdout().good("ok");
    let vouched = match request.version() {
        Version::V1 => format!("certificate {ok} · {}", printable(&accepted.signer)),
        Version::V2 => {
            let tokens = Tokens::of(secure);
            let signed = if tokens.signer.is_empty() {
                "signed by the caller".to_owned()
            } else {
                format!("delegator {ok}")
            };
            format!("{} {ok} · {signed}", tokens.origin())
        }
    };
    let millis = took.as_secs_f64() * 1000.0;
    screen::data(&format!(
        "{vouched} · caller {} · {millis:.1} ms\n",
        Paint::stdout().strong(&printable(&accepted.caller))
    ))?;
    Ok(Exit::Done)
}
