//! `aaa audit verify`.

use std::fmt::Write as _;
use std::path::PathBuf;

use aaa_audit::chain::ChainKey;
use aaa_audit::reading::{Line, RunReport, Verifier};
use aaa_core::clock::{Clock as _, SystemClock};
use serde_json::json;

use super::select;
use super::source::SourceArgs;
use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::{self, Paint, printable};

/// Verify that records of the format v2 are all there, and as they were written
///
/// Exit code 1 when records are missing, altered, put in or not readable.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa audit verify --key /etc/aaa/audit.key /var/log/aaa/audit.log
  aaa audit verify --key audit.key --since 24h --server nats://hub:4222 --stream AUDIT")]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// A file with the chain key of the services; without one, nobody can say whether a record was altered
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Only what arrived from then on: what a chain has from before is not missed then
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let since = args
        .since
        .as_deref()
        .map(|text| select::time(text, now))
        .transpose()?;
    let mut verifier = Verifier::new(args.keys()?);
    let source = args.source.open().await?;
    let mut each = |line: Line| {
        verifier.add(&line);
    };
    source.read(since, &mut each).await?;
    let unreadable = verifier.unreadable().to_vec();
    let reports = verifier.finish(since.is_none());
    if reports.is_empty() && unreadable.is_empty() {
        // Nothing wrong was found: nothing at all was. Whoever took everything away must not be told that all is well.
        screen::warn("there is no record of the format v2 here");
    }
    let bad = reports.is_empty()
        || !unreadable.is_empty()
        || reports.iter().any(|report| !report.findings.is_empty());
    if args.json {
        document(&reports, &unreadable)?;
    } else {
        show(&reports, &unreadable)?;
    }
    if args.key.is_empty() {
        screen::warn("without --key it cannot be said whether records were altered");
    }
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

impl Args {
    fn keys(&self) -> Result<Vec<ChainKey>, Failure> {
        let keys = self.key.iter().map(|path| {
            let content = files::read_input(path)?;
            let text = String::from_utf8_lossy(&content);
            ChainKey::parse(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
        });
        keys.collect()
    }
}

fn show(reports: &[RunReport], unreadable: &[String]) -> Result<(), Failure> {
    let paint = Paint::stdout();
    let mut text = String::new();
    for report in reports {
        let verdict = match (report.findings.is_empty(), report.checked) {
            (true, true) => paint.good("ok     "),
            (true, false) => "links  ".to_owned(),
            (false, _) => paint.bad("WRONG  "),
        };
        let (first, last) = report.numbers;
        let mut notes = format!("{} records, {first} to {last}", report.records);
        if report.again > 0 {
            let _infallible = write!(notes, ", {} of them more than once", report.again);
        }
        if report.reordered > 0 {
            let _infallible = write!(
                notes,
                ", {} stored later than they were written",
                report.reordered
            );
        }
        for (from, to) in &report.unkept {
            let _infallible = write!(notes, ", {from} to {to} not kept and nothing done");
        }
        let (site, instance) = (printable(&report.site), printable(&report.instance));
        let _infallible = writeln!(
            text,
            "{verdict}{site}  {instance}  run {}  {notes}",
            report.run
        );
        for finding in &report.findings {
            let _infallible = writeln!(
                text,
                "         {}",
                paint.bad(&printable(&finding.to_string()))
            );
        }
    }
    for place in unreadable {
        let _infallible = writeln!(
            text,
            "{}{} is no record of the format v2",
            paint.bad("WRONG  "),
            printable(place)
        );
    }
    screen::data(&text)
}

fn document(reports: &[RunReport], unreadable: &[String]) -> Result<(), Failure> {
    let runs = reports.iter().map(|report| {
        let findings = report.findings.iter().map(ToString::to_string);
        json!({
            "site": report.site, "instance": report.instance, "run": report.run, "records": report.records,
            "first": report.numbers.0, "last": report.numbers.1, "again": report.again, "reordered": report.reordered,
            "checked": report.checked, "unkept": report.unkept, "findings": findings.collect::<Vec<_>>(),
        })
    });
    screen::json(&json!({"runs": runs.collect::<Vec<_>>(), "unreadable": unreadable}))
}
