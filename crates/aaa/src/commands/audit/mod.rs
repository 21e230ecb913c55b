//! `aaa audit`.

mod lag;
mod query;
mod select;
mod server;
mod setup;
mod source;
mod tail;
mod verify;

use crate::failure::{Exit, Failure};

/// Read what is on record: follow it, count it, verify it, bring it together
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Tail(tail::Args),
    Query(query::Args),
    Verify(verify::Args),
    Lag(lag::Args),
    Setup(setup::Args),
}

pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    let runtime = super::login::runtime()?;
    runtime.block_on(async {
        match command {
            Command::Tail(args) => tail::run(args).await,
            Command::Query(args) => query::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Lag(args) => lag::run(args).await,
            Command::Setup(args) => setup::run(args).await,
        }
    })
}
