//! `aaa health`.

use std::time::Duration;

use aaa_api::client::{Client, Settings};

use super::login::runtime;
use crate::failure::{Exit, Failure};
use crate::reach::explain;
use crate::screen;

/// How long to wait for the answer. A service that takes longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ask a service on its admin port whether it is ready
///
/// Prints what the service says. Exit code 0 when it is ready, 1 when it is not, or does not answer within five seconds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa health
  aaa health 127.0.0.1:9090")]
pub(crate) struct Args {
    /// The service's admin port
    #[arg(value_name = "HOST:PORT", default_value = "127.0.0.1:8081")]
    address: String,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let settings = Settings {
        connect_timeout: PATIENCE,
        timeout: PATIENCE,
        ..Settings::default()
    };
    let url = format!("http://{}/healthz/ready", args.address);
    let client = Client::new(settings).map_err(|error| explain(&error))?;
    let said = runtime()?
        .block_on(client.text(&url))
        .map_err(|error| explain(&error))?;
    screen::data(&format!("{said}\n"))?;
    Ok(Exit::Done)
}
