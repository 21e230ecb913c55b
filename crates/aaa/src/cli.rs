//! The command line as a whole.

use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};

use crate::commands::{
    audit, completions, config, crypt, demo, doctor, health, keys, login, logout, man, policy,
    serve, sign, token, verify, whoami,
};
use crate::failure::Failure;

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   failed, or the answer is no
  2   cancelled at a prompt
  4   login needed
  64  wrong command line or configuration";

/// Authentication, authorization and auditing for Choria: log in, have requests signed, run and look after the services.
#[derive(Debug, Parser)]
#[command(
    name = "aaa",
    version = version(),
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = EXIT_CODES
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The commands, in the order in which people meet them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Login(login::Args),
    Whoami(whoami::Args),
    Logout(logout::Args),
    Sign(sign::Args),
    Verify(verify::Args),
    Serve(serve::Args),
    Demo(demo::Args),
    Health(health::Args),
    #[command(subcommand)]
    Audit(audit::Command),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Config(config::Command),
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(subcommand)]
    Token(token::Command),
    #[command(subcommand)]
    Keys(keys::Command),
    Crypt(crypt::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Command {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let exit = match self {
            Self::Login(args) => login::run(&args),
            Self::Whoami(args) => whoami::run(&args),
            Self::Logout(args) => logout::run(&args),
            Self::Sign(args) => sign::run(&args),
            Self::Verify(args) => verify::run(&args),
            // A service says itself how it ended.
            Self::Serve(args) => return serve::run(&args),
            Self::Demo(args) => demo::run(&args),
            Self::Health(args) => health::run(&args),
            Self::Audit(command) => audit::run(&command),
            Self::Doctor(args) => doctor::run(&args),
            Self::Config(command) => return config::run(&command),
            Self::Policy(command) => policy::run(&command),
            Self::Token(command) => token::run(&command),
            Self::Keys(command) => keys::run(&command),
            Self::Crypt(args) => crypt::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
        };
        exit.map(ExitCode::from)
    }
}

/// The version with the commit.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| serve::PROGRAM.long_version())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
