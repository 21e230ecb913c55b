//! `aaa policy lint`.

use std::path::{Path, PathBuf};

use aaa_policy::actionpolicy::{Options, Problem};
use aaa_policy::rego;
use aaa_service::shell::Directory;
use clap::ArgGroup;
use serde_json::{Value, json};

use super::RuleArgs;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::{self, printable};

/// The providers of this project's authenticators, and of Choria's certificates.
const PROVIDERS: [&str; 3] = ["up", "okta", "choria"];

/// The most entries that a directory of policies may have.
const FILES: usize = 1000;

/// Find what is probably not meant in rules and policies
///
/// In Action Policy: rules that another hides, that nobody can match, that allow everything; patterns without ^ and $; callers that no
/// authenticator makes. In Rego: what keeps a policy from deciding, such as functions that are not there and variables without a
/// value; variables and imports that are never used. Exit code 1 when something is found, 64 when the files cannot be read.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("rules").required(true).multiple(true).args(["policies", "hiera", "rego"]))]
#[command(after_help = "\
Examples:
  aaa policy lint --policies /etc/aaa/policies
  aaa policy lint --hiera common.yaml --provider ldap --json
  aaa policy lint --rego /etc/aaa/rego --rego frontend.rego
  aaa policy lint --rego bundle.tar.gz")]
pub(crate) struct Args {
    #[command(flatten)]
    rules: RuleArgs,
    /// A policy in Rego, a directory of .rego files, or a bundle of OPA
    #[arg(long, value_name = "PATH")]
    rego: Vec<PathBuf>,
    /// What else stands before the = of callers, beside up, okta and choria
    #[arg(long, value_name = "NAME")]
    provider: Vec<String>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// Something that was found: as people read it, and as programs do.
type Found = (String, Value);

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut found = Vec::new();
    if !(args.rules.policies.is_empty() && args.rules.hiera.is_empty()) {
        found.extend(in_rules(args)?);
    }
    for path in &args.rego {
        for file in policies(path)? {
            found.extend(in_policy(&file)?);
        }
    }
    if args.json {
        let documents: Vec<_> = found.iter().map(|(_, document)| document).collect();
        screen::json(&documents)?;
    } else {
        for (text, _) in &found {
            let lines: Vec<_> = text.lines().map(printable).collect();
            screen::data(&format!("{}\n", lines.join("\n")))?;
        }
    }
    Ok(if found.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn in_rules(args: &Args) -> Result<Vec<Found>, Failure> {
    let policy = args.rules.load(Options::default())?;
    let more = args.provider.iter().map(String::as_str);
    let providers: Vec<&str> = PROVIDERS.into_iter().chain(more).collect();
    let found = policy.lint(&providers).into_iter().map(|finding| {
        let document = json!({"rule": finding.rule, "kind": finding.kind, "text": finding.text});
        (finding.to_string(), document)
    });
    Ok(found.collect())
}

/// The policies that a path stands for.
fn policies(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let directory = Directory {
        path: path.to_owned(),
        endings: &["rego"],
        names: &[],
        most: FILES,
    };
    let wrong = |error| Failure::usage(format!("{}: {error}", path.display()));
    let files = directory.files().map_err(wrong)?;
    if files.is_empty() {
        let text = format!("{}: holds no .rego file", path.display());
        return Err(Failure::usage(text));
    }
    Ok(files)
}

fn in_policy(file: &Path) -> Result<Vec<Found>, Failure> {
    let bytes = files::read(file).map_err(|failure| failure.with(Exit::Usage))?;
    let unread = |problems: Vec<Problem>| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        Failure::usage(lines.join("\n"))
    };
    let found = rego::lint(&file.display().to_string(), &bytes).map_err(unread)?;
    let found = found.into_iter().map(|rego::Finding { kind, mut problem }| {
        let document = json!({
            "rule": format!("{}:{}", problem.file, problem.line), "file": problem.file, "line": problem.line,
            "column": problem.column, "kind": kind, "text": problem.text});
        problem.text.insert_str(0, &format!("{kind}: "));
        (problem.to_string(), document)
    });
    Ok(found.collect())
}
