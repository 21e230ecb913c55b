//! `aaa config`.

use std::path::PathBuf;
use std::process::ExitCode;

use aaa_service::shell::{self, ServiceArgs};

use super::serve;

/// Look after the configuration of services
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(CheckArgs),
}

/// Check the configuration of a service, and everything that it names, without starting anything
///
/// All that is wrong is reported at once, each thing with its key. Exit code 64 when something is.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The configuration of aaa-login, of aaa-signer, or of both
    file: PathBuf,
}

pub(crate) fn run(command: &Command) -> ExitCode {
    let Command::Check(args) = command;
    let args = ServiceArgs {
        config: args.file.clone(),
        check_config: true,
        ..ServiceArgs::default()
    };
    shell::run_with(&serve::PROGRAM, &args, serve::build)
}
