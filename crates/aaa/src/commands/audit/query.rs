//! `aaa audit query`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use aaa_audit::reading::{Entry, Field, Line, Once};
use aaa_core::clock::{Clock as _, SystemClock};
use serde_json::{Map, Value, json};

use super::select::SelectArgs;
use super::source::{self, SourceArgs};
use crate::failure::{Exit, Failure};
use crate::screen::{self, printable};

/// Count records, by any of their fields
///
/// Exit code 1 when there are lines that are no record.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa audit query --by decision,site --since 24h --config /etc/aaa/signer.json
  aaa audit query --by caller,action --decision deny audit.log
  aaa audit query --by day --since 720h --server nats://hub:4222 --stream AUDIT")]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// Count for each value of these
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(Field::NAMES))]
    by: Vec<String>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let selection = args.select.selection(SystemClock.now())?;
    let fields: Vec<Field> = args
        .by
        .iter()
        .filter_map(|name| Field::parse(name))
        .collect();
    let source = args.source.open().await?;
    let mut once = Once::default();
    let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    let mut exit = Exit::Done;
    let mut each = |line: Line| match Entry::read(&line) {
        Err(error) => {
            source::warn(&line, &error);
            exit = Exit::Failed;
        }
        Ok(entry) if selection.has(&entry) && once.is_first(entry.id.as_deref()) => {
            let values = fields.iter().map(|field| entry.field(*field).into_owned());
            *counts.entry(values.collect()).or_default() += 1;
        }
        Ok(_) => {}
    };
    source.read(selection.since, &mut each).await?;
    let mut counts: Vec<(Vec<String>, u64)> = counts.into_iter().collect();
    // Times in their order, everything else by how much there is.
    let times = fields
        .iter()
        .any(|field| matches!(field, Field::Hour | Field::Day));
    if !times {
        counts.sort_by(|(a, n), (b, m)| m.cmp(n).then_with(|| a.cmp(b)));
    }
    if args.json || !io::stdout().is_terminal() {
        return document(args, &counts).map(|()| exit);
    }
    table(args, &counts).map(|()| exit)
}

fn document(args: &Args, counts: &[(Vec<String>, u64)]) -> Result<(), Failure> {
    let rows = counts.iter().map(|(values, count)| {
        let mut row: Map<String, Value> = args
            .by
            .iter()
            .cloned()
            .zip(values.iter().map(|value| json!(value)))
            .collect();
        row.insert("count".to_owned(), json!(count));
        Value::Object(row)
    });
    screen::json(&rows.collect::<Vec<_>>())
}

fn table(args: &Args, counts: &[(Vec<String>, u64)]) -> Result<(), Failure> {
    let mut rows = vec![
        args.by
            .iter()
            .map(|name| name.to_uppercase())
            .collect::<Vec<_>>(),
    ];
    rows.extend(
        counts
            .iter()
            .map(|(values, _)| values.iter().map(|v| printable(v)).collect()),
    );
    let widths: Vec<usize> = (0..args.by.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let counted =
        std::iter::once("COUNT".to_owned()).chain(counts.iter().map(|(_, n)| n.to_string()));
    let mut text = String::new();
    for (row, count) in rows.iter().zip(counted) {
        let _infallible = write!(text, "{count:>9}");
        for (cell, width) in row.iter().zip(&widths) {
            let _infallible = write!(text, "  {cell:<width$}");
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    screen::data(&text)
}
