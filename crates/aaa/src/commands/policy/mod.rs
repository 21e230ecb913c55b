//! `aaa policy`.

use std::path::PathBuf;

use aaa_policy::actionpolicy::{ActionPolicy, Options};
use aaa_signer::action_policy::Files;

use crate::failure::{Exit, Failure};
use crate::screen::printable;

mod check;
mod explain;
mod export;
mod lint;
mod road;

/// Find out what the rules of a site allow, and why
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Explain(explain::Args),
    Export(export::Args),
    Lint(lint::Args),
}

/// Where Action Policy rules are
#[derive(Debug, clap::Args)]
struct RuleArgs {
    /// A directory of .policy files, or one such file
    #[arg(long, value_name = "DIR", required_unless_present = "hiera")]
    policies: Vec<PathBuf>,
    /// A Hiera file with rules, in YAML
    #[arg(long, value_name = "FILE")]
    hiera: Vec<PathBuf>,
    /// The file of groups; without it the file groups in the directory of policies
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
}

impl RuleArgs {
    fn load(&self, options: Options) -> Result<ActionPolicy, Failure> {
        load(&Files {
            policies: self.policies.clone(),
            hiera: self.hiera.clone(),
            groups: self.groups.clone(),
            options,
        })
    }
}

/// Reads rules; all that is wrong with them is a matter of the command line.
fn load(files: &Files) -> Result<ActionPolicy, Failure> {
    match files.load() {
        Ok(loaded) => Ok(loaded.policy),
        Err(problems) => {
            let lines = problems.iter().flat_map(|problem| problem.text.lines());
            let lines: Vec<_> = lines.map(printable).collect();
            Err(Failure::usage(lines.join("\n")))
        }
    }
}

pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Export(args) => export::run(args),
        Command::Lint(args) => lint::run(args),
    }
}
