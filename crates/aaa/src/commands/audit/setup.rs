//! `aaa audit setup`.

use std::collections::BTreeSet;
use std::time::Duration;

use aaa_audit::stream::{Creation, Layout, Plan, Unusable};
use aaa_core::duration;

use super::server::ServerArgs;
use crate::failure::{Exit, Failure};
use crate::screen;

/// How long a server may take to let this client in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Make the streams of regions and of the centre that takes from them, or look whether they are right
///
/// Regions and the centre are JetStream domains, which leafnodes connect; deploy/nats has configurations. Each place has the stream with
/// the subject TOPIC.PLACE for the records of its own services, and the centre's takes from those of all regions besides. What is
/// there already is made better where it is not right, and nothing is taken away: run it as often as you like.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa audit setup --server nats://hub:4222 --region london --region malta --central centre --dry-run
  aaa audit setup --server nats://hub:4222 --region london --replicas 3 --max-age 8760h")]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// A region: the name of its JetStream domain; several times for several
    #[arg(long = "region", value_name = "PLACE", value_parser = name, required_unless_present = "central")]
    regions: Vec<String>,
    /// The centre: the name of its JetStream domain
    #[arg(long, value_name = "PLACE", value_parser = name)]
    central: Option<String>,
    /// The name of the stream, everywhere
    #[arg(long, value_name = "NAME", value_parser = name, default_value = "AUDIT")]
    stream: String,
    /// What the subjects of records begin with
    #[arg(long, value_parser = name, default_value = "audit")]
    topic: String,
    /// How many servers keep a copy
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=5), default_value = "1")]
    replicas: u8,
    /// How many do at the centre, when it is not as many
    #[arg(long, value_name = "REPLICAS", value_parser = clap::value_parser!(u8).range(1..=5))]
    central_replicas: Option<u8>,
    /// How long a new stream keeps records; for ever when absent
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    max_age: Option<Duration>,
    /// How much a new stream holds, in bytes; without limit when absent. A full one takes no more: it never drops what it has
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(i64).range(1 << 20..))]
    max_bytes: Option<i64>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args) -> Result<Exit, Failure> {
    if args.server.server.is_none() {
        return Err(Failure::usage("which server? Give --server URL"));
    }
    let layout = layout(args)?;
    let connection = args.server.connection(&args.stream)?;
    let client = connection.connect_now(PATIENCE).await;
    let client = client.map_err(Failure::failed)?;
    let mut exit = Exit::Done;
    for plan in layout.plan(&client).await {
        let done = match plan {
            Ok(plan) if args.dry_run => Ok(plan),
            Ok(plan) => plan.apply().await.map(|()| plan),
            Err(unusable) => Err(unusable),
        };
        match done {
            Ok(plan) => tell(&plan, args)?,
            Err(Unusable { place, why }) => {
                screen::warn(&format!("{place}: {why}"));
                exit = Exit::Failed;
            }
        }
    }
    Ok(exit)
}

fn layout(args: &Args) -> Result<Layout, Failure> {
    let mut places = BTreeSet::new();
    for place in args.regions.iter().chain(&args.central) {
        if !places.insert(place) {
            return Err(Failure::usage(format!("{place} is named twice")));
        }
    }
    let creation = |replicas: u8| Creation {
        replicas: replicas.into(),
        max_age: args.max_age.unwrap_or_default(),
        max_bytes: args.max_bytes.unwrap_or(-1),
    };
    Ok(Layout {
        stream: args.stream.clone(),
        topic: args.topic.clone(),
        regions: args.regions.clone(),
        centre: args.central.clone(),
        region: creation(args.replicas),
        central: creation(args.central_replicas.unwrap_or(args.replicas)),
    })
}

fn tell(plan: &Plan, args: &Args) -> Result<(), Failure> {
    let what = match (plan.changes.is_empty(), plan.exists(), args.dry_run) {
        (true, _, _) => "is right".to_owned(),
        (false, exists, dry) => {
            let verb = match (exists, dry) {
                (true, true) => "would be changed",
                (true, false) => "changed",
                (false, true) => "would be made",
                (false, false) => "made",
            };
            format!("{verb}: {}", plan.changes.join(", "))
        }
    };
    screen::data(&format!("{:<16}  {}  {what}\n", plan.place, args.stream))?;
    for warning in &plan.warnings {
        screen::warn(&format!("{}: stream {} {warning}", plan.place, args.stream));
    }
    Ok(())
}

/// What can be one word of a subject, and the name of a stream.
fn name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if text.is_empty() || text.len() > 32 || !text.chars().all(legal) {
        return Err("a name is up to 32 letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_subject() {
        for good in ["london", "eu-west_1", "AUDIT"] {
            name(good).unwrap();
        }
        let long = "x".repeat(33);
        for bad in ["", "a.b", "*", ">", "a b", "a\n", "ä", long.as_str()] {
            name(bad).unwrap_err();
        }
    }
}
