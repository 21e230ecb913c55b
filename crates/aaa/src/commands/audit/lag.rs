//! `aaa audit lag`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use aaa_audit::reading::{Entry, Lag, Line};
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::duration;
use jiff::Timestamp;
use serde_json::json;

use super::select;
use super::source::{Source, SourceArgs};
use crate::failure::{Exit, Failure};
use crate::screen::{self, printable};

/// Show how fresh the records of each site are
///
/// For each site the last record, and how long it took from the decision to where it is read here; for a central stream also
/// what waits in the regions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa audit lag --server nats://hub:4222 --stream AUDIT
  aaa audit lag --since 168h --json /var/log/aaa/audit.log")]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "24h")]
    since: String,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

struct Site {
    last: Timestamp,
    delay: Option<Duration>,
    records: u64,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    let now = SystemClock.now();
    let since = select::time(&args.since, now)?;
    let source = args.source.open().await?;
    let mut sites: BTreeMap<String, Site> = BTreeMap::new();
    let mut each = |line: Line| {
        if let Ok(entry) = Entry::read(&line)
            && entry.time >= since
        {
            let delay = line
                .arrived
                .and_then(|arrived| Duration::try_from(arrived.duration_since(entry.time)).ok());
            let site = sites.entry(entry.site).or_insert(Site {
                last: entry.time,
                delay,
                records: 0,
            });
            site.records += 1;
            if entry.time >= site.last {
                site.last = entry.time;
                site.delay = delay;
            }
        }
    };
    source.read(Some(since), &mut each).await?;
    let sources = match &source {
        Source::Stream(reader) => reader.lags().await.map_err(Failure::failed)?,
        Source::Files(_) => Vec::new(),
    };
    if args.json || !io::stdout().is_terminal() {
        let sites = sites.iter().map(|(name, site)| {
            json!({"site": name, "last_record": site.last.to_string(), "records": site.records,
                   "delay_ms": site.delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))})
        });
        let sources = sources.iter().map(|source| {
            json!({"stream": source.name, "domain": source.domain, "waiting": source.waiting,
                   "heard_ms_ago": source.heard.map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))})
        });
        let document =
            json!({"sites": sites.collect::<Vec<_>>(), "sources": sources.collect::<Vec<_>>()});
        return screen::json(&document).map(|()| Exit::Done);
    }
    screen::data(&table(now, &sites, &sources)).map(|()| Exit::Done)
}

/// The same for people.
fn table(now: Timestamp, sites: &BTreeMap<String, Site>, sources: &[Lag]) -> String {
    let mut text = format!(
        "{:<16}  {:<16}  {:<10}  RECORDS\n",
        "SITE", "LAST RECORD", "DELAY"
    );
    for (name, site) in sites {
        let ago = Duration::try_from(now.duration_since(site.last)).unwrap_or_default();
        let delay = site.delay.map_or_else(|| "–".to_owned(), short);
        let ago = format!("{} ago", short(ago));
        let _infallible = writeln!(
            text,
            "{:<16}  {ago:<16}  {delay:<10}  {}",
            printable(name),
            site.records
        );
    }
    for source in sources {
        let heard = match source.heard {
            None => "never heard of".to_owned(),
            Some(ago) => format!("heard of {} ago", short(ago)),
        };
        let _infallible = writeln!(
            text,
            "from {}: {} waiting, {heard}",
            printable(source.domain.as_ref().unwrap_or(&source.name)),
            source.waiting
        );
    }
    text
}

/// A duration as people say it: milliseconds below a second, seconds above.
fn short(time: Duration) -> String {
    if time < Duration::from_secs(1) {
        format!("{} ms", time.as_millis())
    } else {
        duration::human(Duration::from_secs(time.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_is_late_and_what_is_not_heard_of() {
        let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
        let site = |last: &str, delay| Site {
            last: last.parse().unwrap(),
            delay,
            records: 7,
        };
        let sites = BTreeMap::from([
            (
                "london".to_owned(),
                site("2026-11-25T11:59:59.960Z", Some(Duration::from_millis(40))),
            ),
            (
                "malta\u{1b}[2J".to_owned(),
                site("2026-11-25T11:58:00Z", None),
            ),
        ]);
        let source = |domain: Option<&str>, waiting, heard| Lag {
            name: "AUDIT".to_owned(),
            domain: domain.map(str::to_owned),
            waiting,
            heard,
        };
        let sources = [
            source(Some("london"), 0, Some(Duration::from_secs(1))),
            source(None, 3, None),
        ];
        let text = table(now, &sites, &sources);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "SITE              LAST RECORD       DELAY       RECORDS"
        );
        assert_eq!(
            lines[1],
            "london            40 ms ago         40 ms       7"
        );
        assert!(
            lines[2].ends_with("2 min ago         –           7"),
            "{}",
            lines[2]
        );
        // What comes from elsewhere draws nothing on the terminal.
        assert!(!text.contains('\u{1b}'));
        assert_eq!(
            lines[3..],
            [
                "from london: 0 waiting, heard of 1 s ago",
                "from AUDIT: 3 waiting, never heard of"
            ]
        );
    }
}
