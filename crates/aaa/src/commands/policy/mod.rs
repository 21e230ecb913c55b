//! `aaa policy`.

use crate::failure::{Exit, Failure};

mod check;
mod explain;
mod export;
mod lint;

/// Find out what the rules of a site allow, and why
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Explain(explain::Args),
    Export(export::Args),
    Lint(lint::Args),
}

pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Export(args) => export::run(args),
        Command::Lint(args) => lint::run(args),
    }
}
