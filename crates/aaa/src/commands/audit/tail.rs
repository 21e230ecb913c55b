//! `aaa audit tail`.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;

use aaa_audit::formats::UNVERIFIED;
use aaa_audit::reading::{Entry, Line, Next, Once};
use aaa_core::clock::{Clock as _, SystemClock};

use super::select::SelectArgs;
use super::source::{self, SourceArgs};
use crate::failure::{Exit, Failure};
use crate::screen::{self, Paint, printable};

/// Show the last records, and those to come
///
/// A table on a terminal, and otherwise the records themselves, one a line. Exit code 1 when there are lines that are no record.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa audit tail --decision deny --since 1h --config /etc/aaa/signer.json
  aaa audit tail --follow --caller 'up=*' --agent puppet /var/log/aaa/audit.log
  aaa audit tail --server nats://hub:4222 --stream AUDIT --json | jq .caller")]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    select: SelectArgs,
    /// Wait for more
    #[arg(long, short = 'f')]
    follow: bool,
    /// How many of those that are there; all of them with --since
    #[arg(
        long,
        short = 'n',
        value_name = "NUMBER",
        default_value_t = 20,
        conflicts_with = "since"
    )]
    lines: usize,
    /// The records themselves, one a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let selection = args.select.selection(SystemClock.now())?;
    let source = args.source.open().await?;
    let mut shown = Shown {
        table: !args.json && io::stdout().is_terminal(),
        paint: Paint::stdout(),
        waiting: VecDeque::new(),
        most: match selection.since {
            Some(_) => None,
            None => Some(args.lines),
        },
        outcome: Ok(()),
    };
    let (mut once, mut exit) = (Once::default(), Exit::Done);
    let mut each = |next| match next {
        Next::CaughtUp => shown.caught_up(),
        Next::Line(line) => match Entry::read(&line) {
            Err(error) => {
                source::warn(&line, &error);
                exit = Exit::Failed;
                ControlFlow::Continue(())
            }
            Ok(entry) if selection.has(&entry) && once.is_first(entry.id.as_deref()) => {
                shown.take(&line, &entry)
            }
            Ok(_) => ControlFlow::Continue(()),
        },
    };
    source.walk(selection.since, args.follow, &mut each).await?;
    shown.outcome.map(|()| exit)
}

/// What is shown, and what waits to be.
struct Shown {
    table: bool,
    paint: Paint,
    waiting: VecDeque<String>,
    /// How many may be shown of those that are there, while it is not known which are the last.
    most: Option<usize>,
    outcome: Result<(), Failure>,
}

impl Shown {
    fn take(&mut self, line: &Line, entry: &Entry) -> ControlFlow<()> {
        let text = if self.table {
            row(entry, self.paint)
        } else {
            String::from_utf8_lossy(&line.bytes).into_owned()
        };
        let Some(most) = self.most else {
            return self.print(&text);
        };
        self.waiting.push_back(text);
        if self.waiting.len() > most {
            self.waiting.pop_front();
        }
        ControlFlow::Continue(())
    }

    /// What waits is the last of what was there; what comes now is new.
    fn caught_up(&mut self) -> ControlFlow<()> {
        self.most = None;
        let waiting = std::mem::take(&mut self.waiting);
        waiting.iter().try_for_each(|line| self.print(line))
    }

    fn print(&mut self, text: &str) -> ControlFlow<()> {
        self.outcome = screen::data(&format!("{text}\n"));
        match self.outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// One record in one line for people.
fn row(entry: &Entry, paint: Paint) -> String {
    let what = match entry.kind.as_str() {
        "login" => "login".to_owned(),
        _ if entry.agent.is_empty() => "unreadable".to_owned(),
        _ => format!("{}.{}", entry.agent, entry.action),
    };
    let caller = entry.caller.as_deref().unwrap_or(UNVERIFIED);
    let decision = format!("{:<7}", entry.decision);
    let decision = match entry.decision.as_str() {
        "allow" if entry.outcome != "failed" => paint.good(&decision),
        _ => paint.bad(&decision),
    };
    let why = match (entry.outcome.as_str(), entry.decision.as_str()) {
        ("failed", _) => "the signing key failed".to_owned(),
        (_, "allow") => String::new(),
        _ => entry.why.clone(),
    };
    let id = entry.id.as_deref().unwrap_or(&entry.request);
    format!(
        "{}  {:<8}  {decision} {:<24}  {:<28}  {}  {}",
        entry.time.strftime("%Y-%m-%d %H:%M:%S"),
        printable(&entry.site),
        printable(caller),
        printable(&what),
        printable(&why),
        paint.faint(&printable(id))
    )
    .trim_end()
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(change: (&str, &str)) -> String {
        let record = r#"{"protocol":"io.choria.aaa.v2.audit","id":"3MhBR2","time":"2026-11-27T15:21:47.877904Z","site":"malta","instance":"vm",
            "front":"rest","kind":"sign","exchange":"1-1","caller":"up=bob","claimed":"up=bob","token":"3Mh","request":{"id":"3Mb",
            "version":2,"sender":"vm","collective":"choria","agent":"puppet","action":"disable","time":"2026-11-27T15:21:47Z","ttl":60,
            "filter":{},"inputs":{}},"decision":"deny","reason":"not_authorized","detail":"needs a filter","outcome":"refused","latency_us":1}"#;
        let bytes = record
            .replace('\n', "")
            .replace(change.0, change.1)
            .into_bytes();
        let line = Line {
            bytes,
            place: String::new(),
            id: None,
            arrived: None,
        };
        row(&Entry::read(&line).unwrap(), Paint::none())
    }

    #[test]
    fn a_record_is_one_line_that_draws_nothing() {
        assert_eq!(
            shown(("", "")),
            "2026-11-27 15:21:47  malta     deny    up=bob                    puppet.disable                needs a filter  3MhBR2"
        );
        let forged = shown(("needs a filter", "x\\u001b[2J\\nallow"));
        assert!(
            !forged.contains('\u{1b}') && !forged.contains('\n'),
            "{forged:?}"
        );
        let failed = shown((
            r#""deny","reason":"not_authorized","detail":"needs a filter","outcome":"refused""#,
            r#""allow","outcome":"failed""#,
        ));
        assert!(failed.contains("the signing key failed"), "{failed}");
    }
}
