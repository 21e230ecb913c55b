//! `aaa policy explain`.

use std::path::PathBuf;

use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::decision::Decision;
use aaa_core::request::Request;
use aaa_core::token::unverified;
use aaa_policy::actionlist::ActionList;
use aaa_policy::chain::{Asked, Chain, Refusal};
use aaa_policy::rego::Opa;
use aaa_service::config::Document;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen::{self, Paint, printable};

/// Say who decides about a request, and why
///
/// Asks whoever a signer would ask, in the same order, with the same code. Neither the token's signature nor the times of token and
/// request are checked, so that those of yesterday can be explained today. Without --config the rules in the token decide: its policy,
/// or else its action list. Exit code 1 when the request would not be signed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa policy explain bob.jwt req.json
  aaa policy explain --token bob.jwt --request req.json --config /etc/aaa/signer.json
  aaa policy explain --json bob.jwt req.json")]
pub(crate) struct Args {
    /// The token's file
    #[arg(value_name = "TOKEN", required_unless_present = "token_option")]
    token: Option<PathBuf>,
    /// The request's file, or - for standard input
    #[arg(value_name = "REQUEST", required_unless_present = "request_option")]
    request: Option<PathBuf>,
    /// The token's file
    #[arg(long = "token", value_name = "FILE", conflicts_with = "token")]
    token_option: Option<PathBuf>,
    /// The request's file, or - for standard input
    #[arg(long = "request", value_name = "FILE", conflicts_with = "request")]
    request_option: Option<PathBuf>,
    /// The configuration of the signer whose rules hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The time of the decision, such as 2026-11-25T12:00:00Z; now when absent
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

/// One answer on the road.
struct Step {
    action: String,
    by: &'static str,
    decision: Decision,
}

/// What came of it.
struct Outcome {
    caller: String,
    request: Request,
    site: String,
    now: Timestamp,
    steps: Vec<Step>,
    /// What there is no leave for, and why; `None` when the request would be signed.
    refused: Option<Why>,
}

/// The action that is refused, who refused it, and why.
struct Why {
    action: String,
    by: Option<&'static str>,
    decision: Decision,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let token = given(args.token_option.as_ref(), args.token.as_ref(), "token")?;
    let request = given(
        args.request_option.as_ref(),
        args.request.as_ref(),
        "request",
    )?;
    let text = files::read_text(token)?;
    let claims: ClientClaims = unverified(text.trim())
        .map_err(|error| Failure::usage(format!("{}: {error}", token.display())))?;
    let bytes = files::read_input(request)?;
    let request = Request::parse(bytes.trim_ascii())
        .map_err(|error| Failure::usage(format!("{}: {error}", request.display())))?;
    let now = args.at.unwrap_or_else(|| SystemClock.now());
    let (site, chain) = match &args.config {
        Some(path) => {
            let document = Document::load(path).map_err(|problems| wrong(&problems))?;
            aaa_signer::rules(&document, now).map_err(|problems| wrong(&problems))?
        }
        None => ("default".to_owned(), of_token(&claims)),
    };
    let outcome = decide(&chain, &claims, request, site, now);
    if args.json {
        screen::json(&outcome.document())?;
    } else {
        screen::data(&outcome.tree(Paint::stdout()))?;
    }
    Ok(match outcome.refused {
        None => Exit::Done,
        Some(_) => Exit::Failed,
    })
}

fn given<'a>(
    option: Option<&'a PathBuf>,
    place: Option<&'a PathBuf>,
    what: &str,
) -> Result<&'a PathBuf, Failure> {
    option
        .or(place)
        .ok_or_else(|| Failure::usage(format!("no {what}: name its file")))
}

fn wrong(problems: &aaa_service::config::Problems) -> Failure {
    Failure::usage(problems.to_string())
}

/// What decides where no configuration says so.
fn of_token(claims: &ClientClaims) -> Chain {
    let authorizer: Box<dyn aaa_policy::Authorizer> = if claims.opa_policy.is_empty() {
        Box::new(ActionList)
    } else {
        Box::new(Opa::default())
    };
    Chain {
        guards: Vec::new(),
        authorizers: vec![authorizer],
    }
}

fn decide(
    chain: &Chain,
    claims: &ClientClaims,
    request: Request,
    site: String,
    now: Timestamp,
) -> Outcome {
    let mut steps = Vec::new();
    let asked = Asked {
        request: &request,
        claims,
        site: &site,
        now,
    };
    let decided = chain.decide(&asked, |action, by, decision| {
        steps.push(Step {
            action: action.to_owned(),
            by,
            decision: decision.clone(),
        });
    });
    let refused = decided.err().map(|refused| {
        let Refusal {
            action, decision, ..
        } = refused.first;
        let action = action.unwrap_or_else(|| request.action().to_owned());
        let mut of_action = steps.iter().filter(|step| step.action == action);
        let by = of_action.find(|step| !step.decision.is_allowed());
        Why {
            by: by.map(|step| step.by),
            action,
            decision,
        }
    });
    Outcome {
        caller: claims.callerid.clone(),
        request,
        site,
        now,
        steps,
        refused,
    }
}

impl Outcome {
    fn verdict(&self) -> &'static str {
        match self.refused {
            None => "allow",
            Some(_) => "deny",
        }
    }

    /// `puppet.disable`; only the agent where there is no action.
    fn named(&self, action: &str) -> String {
        match action {
            "" => self.request.agent().to_owned(),
            action => format!("{}.{action}", self.request.agent()),
        }
    }

    fn document(&self) -> Value {
        let step = |step: &Step| answer(&self.named(&step.action), Some(step.by), &step.decision);
        let refused = self.refused.as_ref();
        let refused = refused.map(|why| answer(&self.named(&why.action), why.by, &why.decision));
        json!({
            "decision": self.verdict(),
            "caller": self.caller,
            "site": self.site,
            "time": self.now.to_string(),
            "request": self.request.agent_action(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
            "refused": refused,
        })
    }

    /// The steps of each action below it, the one that decided last.
    fn tree(&self, paint: Paint) -> String {
        let verdict = match self.refused {
            None => paint.good("allow"),
            Some(_) => paint.bad("deny"),
        };
        let what = self.request.agent_action();
        let mut lines = vec![format!(
            "{verdict}  {} {}",
            printable(&self.caller),
            printable(&what)
        )];
        let mut actions: Vec<&str> = self.steps.iter().map(|step| step.action.as_str()).collect();
        actions.dedup();
        for (index, action) in actions.iter().enumerate() {
            let last = index + 1 == actions.len();
            let (branch, stem) = if last {
                ("└ ", "  ")
            } else {
                ("├ ", "│ ")
            };
            lines.push(format!("{branch}{}", printable(&self.named(action))));
            self.answers(action, stem, paint, &mut lines);
        }
        // Refused before anybody was asked.
        if let Some(why) = self.refused.as_ref().filter(|_| self.steps.is_empty()) {
            lines.push(format!("└ {}", said(&why.decision)));
        }
        lines.join("\n") + "\n"
    }

    fn answers(&self, action: &str, stem: &str, paint: Paint, lines: &mut Vec<String>) {
        let steps: Vec<&Step> = self
            .steps
            .iter()
            .filter(|step| step.action == action)
            .collect();
        for (index, step) in steps.iter().enumerate() {
            let branch = if index + 1 == steps.len() {
                "└"
            } else {
                "├"
            };
            let here = if step.decision.is_allowed() {
                String::new()
            } else {
                paint.strong("  ← decided here")
            };
            let (by, said) = (step.by, said(&step.decision));
            lines.push(format!("{stem}{branch} {by:<11} {said}{here}"));
        }
    }
}

/// An answer as people read it.
fn said(decision: &Decision) -> String {
    match decision {
        Decision::Allow { rule } => format!("allow  {}", printable(rule)),
        Decision::Deny { rule, hint: None } => format!("deny   {}", printable(rule)),
        Decision::Deny {
            rule,
            hint: Some(hint),
        } => format!("deny   {}: {}", printable(rule), printable(hint)),
        Decision::Failed { problem } => format!("failed {}", printable(problem)),
    }
}

/// An answer as programs read it.
fn answer(action: &str, by: Option<&str>, decision: &Decision) -> Value {
    match decision {
        Decision::Allow { rule } => {
            json!({"action": action, "by": by, "decision": "allow", "rule": rule})
        }
        Decision::Deny { rule, hint } => {
            json!({"action": action, "by": by, "decision": "deny", "rule": rule, "hint": hint})
        }
        Decision::Failed { problem } => {
            json!({"action": action, "by": by, "decision": "failed", "problem": problem})
        }
    }
}
