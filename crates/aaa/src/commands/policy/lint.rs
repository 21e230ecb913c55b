//! `aaa policy lint`.

use aaa_policy::actionpolicy::Options;

use super::RuleArgs;
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
    #[command(flatten)]
    rules: RuleArgs,
    /// What else stands before the = of callers, beside up, okta and choria
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let policy = args.rules.load(Options::default())?;
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
