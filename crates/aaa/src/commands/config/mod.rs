//! `aaa config`.

use std::path::PathBuf;
use std::process::ExitCode;

use aaa_service::shell::{self, ServiceArgs};

use super::serve;
use crate::failure::Failure;

mod reference;

/// Look after the configuration of services
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(CheckArgs),
    Reference(reference::Args),
}

/// Check the configuration of a service, and everything that it names, without starting anything
///
/// All that is wrong is reported at once, each thing with its key. Exit code 64 when something is.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration of aaa-login, of aaa-signer, or of both
    file: PathBuf,
}

pub(crate) fn run(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => {
            let args = ServiceArgs {
                config: args.file.clone(),
                check_config: true,
                ..ServiceArgs::default()
            };
            Ok(shell::run_with(&serve::PROGRAM, &args, serve::build))
        }
        Command::Reference(args) => reference::run(args).map(ExitCode::from),
    }
}
