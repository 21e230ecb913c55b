//! `aaa policy test`.

use std::path::{Path, PathBuf};

use aaa_core::clock::{Clock as _, SystemClock};

use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};
use crate::screen::{self, Paint};

mod case;
mod coverage;
mod find;
mod report;
mod run;
mod suite;

use coverage::Coverage;
use run::{Done, Outcome};
use suite::Suite;

/// Ask the rules of a site what they should allow and refuse, and compare
///
/// Each case of a suite is decided with the code that the signer runs. A PATH is a file in YAML, or a directory, which stands for all
/// files in and below it whose names end with _test.yaml. Exit code 1 when a case is decided otherwise than expected, 64 when
/// suites or rules cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa policy test policies
  aaa policy test --config /etc/aaa/signer.json policies/puppet_test.yaml
  aaa policy test --junit report.xml --json policies")]
pub(crate) struct Args {
    /// Suites, and directories of them
    #[arg(value_name = "PATH", default_value = ".")]
    paths: Vec<PathBuf>,
    /// The configuration of the signer whose rules hold, whatever the suites name
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
    /// Write a report for continuous integration too, in the XML that most of it reads
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let suites = read(args)?;
    let mut coverage = Coverage::default();
    let done: Vec<Done> = suites
        .into_iter()
        .map(|suite| Done::of(suite, &mut coverage))
        .collect();
    if let Some(path) = &args.junit {
        let report = report::junit(&done)?;
        files::write(path, Mode::Public, report.as_bytes())?;
    }
    if args.json {
        screen::json(&report::document(&done, &coverage))?;
    } else {
        screen::data(&report::text(&done, &coverage, Paint::stdout()))?;
    }
    let mut outcomes = done.iter().flat_map(|done| &done.outcomes);
    Ok(if outcomes.all(Outcome::is_expected) {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Every suite; all that is wrong with any is said at once, and nothing is decided.
fn read(args: &Args) -> Result<Vec<Suite>, Failure> {
    let (config, now) = (args.config.as_deref(), SystemClock.now());
    let mut suites = Vec::new();
    let mut wrong = Vec::new();
    for path in find::suites(&args.paths)? {
        match Suite::read(&path, config, now) {
            Ok(suite) => suites.push(suite),
            Err(problems) => wrong.extend(problems),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::usage(wrong.join("\n")));
    }
    if suites.is_empty() {
        let paths = args.paths.iter().map(|path| path.display().to_string());
        let (paths, ending) = (paths.collect::<Vec<_>>().join(", "), find::ENDING);
        let text = format!("no suites in {paths}: their names end with {ending}");
        return Err(Failure::usage(text));
    }
    Ok(suites)
}

/// A path in a suite, which counts from the suite's directory.
fn beside(suite: &Path, path: &Path) -> PathBuf {
    suite.parent().unwrap_or(Path::new("")).join(path)
}
