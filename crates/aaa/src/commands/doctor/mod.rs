//! `aaa doctor`.

use std::path::PathBuf;
use std::time::Duration;

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_service::config::{Document, Problem, Topic};
use aaa_service::shell::{self, Dependency, End, Examined, Options, Probe};
use jiff::Timestamp;

use super::serve;
use crate::describe;
use crate::failure::{Exit, Failure};
use crate::screen::{self, Paint};

mod changes;
mod report;
mod site;

use report::{Check, Finding, Report, Status};

/// How long one server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long before its end something is warned of, in seconds.
const SOON: i64 = 30 * 24 * 3600;
/// The same of lists of revoked certificates, of which there is a new one every few days.
const SOON_LIST: i64 = 24 * 3600;

/// Say what works, what changes and what is unsafe in the configuration of a service
///
/// Reads the file as the services do, and everything that it names, and asks brokers, stream and tenant whether they answer. Nothing
/// is started, nothing is changed, and no secret is shown. Exit code 1 when something FAILs, 64 when the file cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa doctor /etc/aaasvc/config.json
  aaa doctor --offline --json config.json | jq '.findings[] | select(.status == \"fail\")'")]
pub(crate) struct Args {
    /// The configuration of aaa-login, of aaa-signer, of both, or of aaasvc
    config: PathBuf,
    /// Ask no server
    #[arg(long)]
    offline: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let document =
        Document::load(&args.config).map_err(|problems| Failure::usage(problems.to_string()))?;
    let now = SystemClock.now();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let findings = runtime.block_on(async {
        let options = Options::default();
        let examined = shell::examine(&serve::PROGRAM, document, options, serve::build);
        findings(examined, args, now).await
    });
    let report = Report::new(&args.config, args.offline, findings);
    if args.json {
        screen::json(&report)?;
    } else {
        screen::data(&report.text(Paint::stdout()))?;
    }
    Ok(if report.failed() {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Everything that there is to say, in the order in which it is told.
async fn findings(examined: Examined, args: &Args, now: Timestamp) -> Vec<Finding> {
    let Examined {
        document,
        problems,
        ends,
        probes,
    } = examined;
    let mut findings = vec![site::configuration(&document, &problems)];
    findings.extend(
        problems
            .errors()
            .iter()
            .map(|problem| told(problem, Status::Fail)),
    );
    // What ends is told below, of everything that does.
    let warnings = problems.warnings().iter().filter(|problem| {
        problem.topic != Topic::Ending || !ends.iter().any(|end| end.setting == problem.key)
    });
    findings.extend(warnings.map(|problem| told(problem, Status::Warn)));
    findings.extend(site::findings(&document, &args.config));
    let auditors = site::auditors_end(&document);
    findings.extend(ends.iter().chain(&auditors).map(|end| ending(end, now)));
    findings.extend(changes::findings(&document, site::chained(&document)));
    if !args.offline {
        let asked: Vec<_> = probes
            .into_iter()
            .map(|probe| tokio::spawn(answer(probe)))
            .collect();
        for answers in asked {
            findings.extend(answers.await.unwrap_or_default());
        }
    }
    findings
}

/// What the services themselves say of a setting.
fn told(problem: &Problem, otherwise: Status) -> Finding {
    let (check, status) = match problem.topic {
        Topic::Setting => (Check::Setting, otherwise),
        Topic::Exposed => (Check::Permissions, Status::Fail),
        Topic::Issuer => (Check::Issuer, Status::Fail),
        Topic::Hashes => (Check::Passwords, otherwise),
        Topic::Ending => (Check::Expiry, otherwise),
    };
    Finding::new(check, status, &problem.key, &problem.text)
}

/// How long something still lasts.
fn ending(end: &End, now: Timestamp) -> Finding {
    let left = end.at.saturating_sub(now.as_second());
    let soon = if end.setting == "tls_crl" {
        SOON_LIST
    } else {
        SOON
    };
    let (status, text) = if left <= 0 {
        let ago = days(left.saturating_neg());
        (Status::Fail, format!("ended {ago} ago; replace it"))
    } else if left < soon {
        let left = days(left);
        (Status::Warn, format!("ends in {left}; replace it before"))
    } else {
        (Status::Ok, format!("is good for {}", days(left)))
    };
    Finding::new(Check::Expiry, status, &end.setting, text)
}

/// A number of seconds, in days when they are several.
fn days(seconds: i64) -> String {
    const DAY: i64 = 24 * 3600;
    if seconds < 2 * DAY {
        describe::roughly(seconds)
    } else {
        format!("{} d", seconds / DAY)
    }
}

/// Asks a server.
async fn answer(probe: Probe) -> Vec<Finding> {
    let (check, kind) = match probe.dependency {
        Dependency::Broker => (Check::Broker, "broker"),
        Dependency::Stream => (Check::Stream, "stream"),
        Dependency::Tenant => (Check::Tenant, "tenant"),
    };
    let subject = format!("{kind} {}", probe.name);
    let finding = |status, text: &str| Finding::new(check, status, &subject, text);
    match tokio::time::timeout(PATIENCE, probe.ask()).await {
        Err(_) => {
            let text = format!("no answer within {}", aaa_core::duration::human(PATIENCE));
            vec![finding(Status::Fail, &text)]
        }
        Ok(Err(problem)) => vec![finding(Status::Fail, &problem)],
        Ok(Ok(answer)) => std::iter::once(finding(Status::Ok, &answer.good))
            .chain(
                answer
                    .warnings
                    .iter()
                    .map(|text| finding(Status::Warn, text)),
            )
            .collect(),
    }
}
