//! `aaa policy export`.

use std::path::PathBuf;

use aaa_policy::actionpolicy::Options;
use aaa_signer::action_policy::Files;

use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};
use crate::screen;

/// Write Action Policy rules in the other form, without loss
///
/// From Hiera to .policy files in a directory, where default.policy holds the rules of the site; or from .policy files to Hiera, on
/// standard output. What the other form cannot say is an error.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa policy export --hiera common.yaml --to policies
  aaa policy export --policies /etc/aaa/policies > common.yaml")]
pub(crate) struct Args {
    /// A directory of .policy files, or one such file
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "hiera",
        conflicts_with = "hiera"
    )]
    policies: Vec<PathBuf>,
    /// A Hiera file with rules, in YAML
    #[arg(long, value_name = "FILE", requires = "to")]
    hiera: Vec<PathBuf>,
    /// The directory to write .policy files to; it may hold none
    #[arg(long, value_name = "DIR", requires = "hiera")]
    to: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let policy = super::load(&Files {
        policies: args.policies.clone(),
        hiera: args.hiera.clone(),
        groups: None,
        options: Options {
            default_policy: Some("default".to_owned()),
            ..Options::default()
        },
    })?;
    let Some(directory) = &args.to else {
        let hiera = policy.hiera().map_err(Failure::failed)?;
        screen::data(&hiera)?;
        return Ok(Exit::Done);
    };
    let mut staged = Vec::new();
    for (agent, text) in policy.policy_files() {
        let unfit = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if agent.is_empty() || agent.contains(unfit) {
            return Err(Failure::failed(format!(
                "{agent:?} is no name of an agent, so no file is called like it"
            )));
        }
        let path = directory.join(format!("{agent}.policy"));
        if path.exists() {
            return Err(Failure::usage(format!(
                "{} exists already; name a directory without policies",
                path.display()
            )));
        }
        staged.push(files::stage(&path, Mode::Public, text.as_bytes())?);
    }
    // Nothing is in its place before everything is written.
    staged.into_iter().try_for_each(files::Staged::over)?;
    Ok(Exit::Done)
}
