//! `aaa policy lint`.

use std::path::PathBuf;

use aaa_signer::action_policy::Files;

use super::check;
use crate::failure::{Exit, Failure};
use crate::screen::{self, printable};

/// The providers of this project's authenticators, and of Choria's certificates.
const PROVIDERS: [&str; 3] = ["up", "okta", "choria"];

/// Find what is probably not meant in Action Policy rules
///
/// Rules that another hides, that nobody can match, that allow everything; patterns without ^ and $; callers that no authenticator
/// makes. Exit code 1 when something is found, 64 when the rules cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa policy lint --policies /etc/aaa/policies
  aaa policy lint --hiera common.yaml --provider ldap --json")]
pub(crate) struct Args {
    /// A directory of .policy files, or one such file
    #[arg(long, value_name = "DIR", required_unless_present = "hiera")]
    policies: Vec<PathBuf>,
    /// A Hiera file with rules, in YAML
    #[arg(long, value_name = "FILE")]
    hiera: Vec<PathBuf>,
    /// The file of groups; without it the file groups in the directory of policies
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// What else stands before the = of callers, beside up, okta and choria
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let files = Files {
        policies: args.policies.clone(),
        hiera: args.hiera.clone(),
        groups: args.groups.clone(),
        ..Files::default()
    };
    let policy = check::load(&files)?;
    let more = args.provider.iter().map(String::as_str);
    let providers: Vec<&str> = PROVIDERS.into_iter().chain(more).collect();
    let found = policy.lint(&providers);
    if args.json {
        let found: Vec<_> = found
            .iter()
            .map(|finding| {
                serde_json::json!({"rule": finding.rule, "kind": finding.kind, "text": finding.text})
            })
            .collect();
        screen::json(&found)?;
    } else {
        for finding in &found {
            screen::data(&format!("{}\n", printable(&finding.to_string())))?;
        }
    }
    if found.is_empty() {
        Ok(Exit::Done)
    } else {
        Ok(Exit::Failed)
    }
}
