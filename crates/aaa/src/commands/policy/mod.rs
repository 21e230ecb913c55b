//! `aaa policy`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::claims::ClientClaims;
use aaa_core::token::unverified;
use aaa_policy::Authorizer;
use aaa_policy::actionlist::ActionList;
use aaa_policy::actionpolicy::{ActionPolicy, Options};
use aaa_policy::chain::Chain;
use aaa_policy::rego::Opa;
use aaa_service::config::{Document, Problems};
use aaa_signer::Site;
use aaa_signer::action_policy::Files;
use jiff::Timestamp;

use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::printable;

mod check;
mod explain;
mod export;
mod lint;
mod road;
mod test;

/// Find out what the rules of a site allow, and why
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Explain(explain::Args),
    Export(export::Args),
    Lint(lint::Args),
    Test(test::Args),
}

/// Where Action Policy rules are
#[derive(Debug, clap::Args)]
struct RuleArgs {
    /// A directory of .policy files, or one such file
    #[arg(long, value_name = "DIR")]
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
        Ok(loaded) => Ok(Arc::unwrap_or_clone(loaded.rules)),
        Err(problems) => {
            let lines = problems.iter().flat_map(|problem| problem.text.lines());
            let lines: Vec<_> = lines.map(printable).collect();
            Err(Failure::usage(lines.join("\n")))
        }
    }
}

/// The rules of the signer that a configuration file describes.
fn site(path: &Path, now: Timestamp) -> Result<Site, Failure> {
    let wrong = |problems: Problems| Failure::usage(problems.to_string());
    let document = Document::load(path).map_err(wrong)?;
    aaa_signer::rules(&document, now).map_err(wrong)
}

/// What decides where no configuration says so: the policy in the token, or else its action list.
fn of_token(claims: &ClientClaims) -> Site {
    let authorizer: Box<dyn Authorizer> = if claims.opa_policy.is_empty() {
        Box::new(ActionList)
    } else {
        Box::new(Opa::default())
    };
    by(authorizer)
}

/// A site in which one alone decides.
fn by(authorizer: Box<dyn Authorizer>) -> Site {
    Site {
        name: "default".to_owned(),
        chain: Chain {
            guards: Vec::new(),
            authorizers: vec![authorizer],
        },
        action_policy: None,
    }
}

/// What stands in a token, whoever signed it.
fn claims(token: &Path) -> Result<ClientClaims, Failure> {
    let text = files::read_text(token)?;
    unverified(text.trim()).map_err(|error| Failure::usage(format!("{}: {error}", token.display())))
}

pub(crate) fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Export(args) => export::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Test(args) => test::run(args),
    }
}
