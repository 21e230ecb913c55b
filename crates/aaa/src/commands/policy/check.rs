//! `aaa policy check`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use aaa_core::decision::Decision;
use aaa_policy::actionpolicy::{Asked, Node, Options, classes_file, facts_file};
use clap::ArgGroup;
use serde_json::{Value, json};

use super::RuleArgs;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::{self, Paint, printable};

/// Say whether a node would let a caller do something, and which rule decides
///
/// Exit code 0 for yes, 1 for no, 64 when the rules cannot be read.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("rules").required(true).multiple(true).args(["policies", "hiera"]))]
#[command(after_help = "\
Examples:
  aaa policy check --policies /etc/aaa/policies --caller up=bob --agent puppet --action status
  aaa policy check --hiera common.yaml --caller up=bob --agent puppet --action disable --facts facts.yaml")]
pub(crate) struct Args {
    #[command(flatten)]
    rules: RuleArgs,
    /// Let a policy without a default allow
    #[arg(long)]
    allow_unconfigured: bool,
    /// Give agents without a policy the default one
    #[arg(long)]
    enable_default: bool,
    /// The name of the default policy
    #[arg(long, value_name = "NAME", default_value = "default")]
    default_name: String,
    /// Who asks, such as up=bob
    #[arg(long, value_name = "ID")]
    caller: String,
    /// The agent that is to act
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// What it is to do; for Puppet Tasks also the name of the task
    #[arg(long, value_name = "NAME")]
    action: String,
    /// The node's facts, in YAML or JSON; none when absent
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
    /// The node's classes, one a line, or a list in JSON (.json); none when absent
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let policy = args.rules.load(Options {
        allow_unconfigured: args.allow_unconfigured,
        default_policy: args.enable_default.then(|| args.default_name.clone()),
        ..Options::default()
    })?;
    let node = args.node()?;
    let asked = Asked {
        caller: &args.caller,
        agent: &args.agent,
        action: &args.action,
    };
    let decision = policy.at_node(asked, &node);
    report(args, &decision)?;
    if decision.is_allowed() {
        Ok(Exit::Done)
    } else {
        Ok(Exit::Failed)
    }
}

fn report(args: &Args, decision: &Decision) -> Result<(), Failure> {
    let (verdict, rule) = match decision {
        Decision::Allow { rule } => ("allow", rule.as_ref()),
        Decision::Deny { rule, .. } => ("deny", rule.as_ref()),
        Decision::Failed { problem } => ("deny", problem.as_str()),
    };
    if args.json {
        return screen::json(&json!({"verdict": verdict, "rule": rule}));
    }
    let paint = Paint::stdout();
    let shown = if decision.is_allowed() {
        paint.good(verdict)
    } else {
        paint.bad(verdict)
    };
    screen::data(&format!("{shown}  {}\n", printable(rule)))
}

impl Args {
    fn node(&self) -> Result<Node, Failure> {
        let usage = |failure: Failure| failure.with(Exit::Usage);
        let facts = match &self.facts {
            None => Value::Null,
            Some(path) => {
                let bytes = files::read(path).map_err(usage)?;
                facts_file(&path.display().to_string(), &bytes)
                    .map_err(|problem| Failure::usage(problem.to_string()))?
            }
        };
        let classes = match &self.classes {
            None => BTreeSet::new(),
            Some(path) => {
                let bytes = files::read(path).map_err(usage)?;
                classes_file(&path.display().to_string(), &bytes)
                    .map_err(|problem| Failure::usage(problem.to_string()))?
            }
        };
        Ok(Node { facts, classes })
    }
}
