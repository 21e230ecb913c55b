//! `aaa serve`: both services in one process, on one port.

use std::path::PathBuf;
use std::process::ExitCode;

use aaa_api::handler::Handlers;
use aaa_service::config::{Document, Problems};
use aaa_service::shell::{self, Program, ServiceArgs, Shell};

use crate::failure::Failure;

mod dev;
mod site;

/// Both services as one program.
pub(crate) const PROGRAM: Program = Program {
    name: "aaa",
    version: env!("CARGO_PKG_VERSION"),
    about: "Authentication, authorization and auditing for Choria",
};

/// Run login service and signer in one process, on one port
///
/// The configuration says which: with an authenticator it is a login service, with a signer a signer. With --dev keys,
/// certificate, a user and a policy are made in a directory, and what to type next is printed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa serve --config /etc/aaasvc/config.json
  aaa serve --config config.json --check-config
  aaa serve --dev --dir demo")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
pub(crate) struct Args {
    /// The configuration
    #[arg(long, value_name = "FILE", required_unless_present = "dev")]
    config: Option<PathBuf>,
    /// Run services to try things with, on this machine only; what they need is made once, and used again
    #[arg(long, conflicts_with_all = ["config", "disable_tls", "check_config", "pid_file"])]
    dev: bool,
    /// Where the files of --dev are
    #[arg(long, value_name = "DIR", requires = "dev", default_value = "aaa-dev")]
    dir: PathBuf,
    /// Listen for clients on this address (HOST:PORT or :PORT) instead of the configured port
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Serve metrics and health on this address instead of the configured one
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<String>,
    /// Speak plain HTTP to clients: for use behind a proxy that does TLS
    #[arg(long)]
    disable_tls: bool,
    /// Check the configuration and all that it names, and start nothing
    #[arg(long)]
    check_config: bool,
    /// Write the process id to this file while running
    #[arg(long = "pid", value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Log at level debug whatever the configuration says
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some(config) = &args.config else {
        return dev::run(args).map(ExitCode::from);
    };
    let args = ServiceArgs {
        config: config.clone(),
        listen: args.listen.clone(),
        admin_listen: args.admin_listen.clone(),
        disable_tls: args.disable_tls,
        check_config: args.check_config,
        pid_file: args.pid_file.clone(),
        debug: args.debug,
    };
    Ok(shell::run_with(&PROGRAM, &args, build))
}

/// Builds what the configuration asks for: a login service, a signer, or both.
pub(crate) fn build(document: &Document, shell: &mut Shell) -> Result<Handlers, Problems> {
    let top = document.top();
    let (logs_in, signs) = (top.has("authenticator"), top.has("signer"));
    if !logs_in && !signs {
        top.problem(
            "authenticator",
            "missing, and so is signer: set authenticator for a login service, signer for a signer, or both",
        );
    }
    let login = if logs_in {
        aaa_login::build(document, shell, aaa_login::Options { alone: !signs })
    } else {
        None
    };
    let sign = aaa_signer::build(document, shell)?.sign;
    document.finish()?;
    Ok(Handlers { login, sign })
}
