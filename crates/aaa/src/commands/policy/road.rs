//! The road of a decision: who was asked, which rules were looked at, and what came of it.

use std::fmt::Write as _;

use aaa_core::claims::ClientClaims;
use aaa_core::decision::Decision;
use aaa_core::request::Request;
use aaa_policy::chain::{Asked, Seen};
use aaa_policy::{Line, Look, Question};
use aaa_signer::Site;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::screen::{Paint, printable};

/// What stands beside whatever decided.
const HERE: &str = "  ← decided here";

/// The widest that a column of rules is made, in characters; what is longer pushes the next one.
const COLUMN: usize = 48;

/// The road, and where it led.
pub(super) struct Road {
    caller: String,
    request: Request,
    site: String,
    now: Timestamp,
    pub(super) steps: Vec<Step>,
    /// What there is no leave for, and why; `None` when the request would be signed.
    refused: Option<Why>,
}

/// One answer on the road.
pub(super) struct Step {
    /// The action that was asked about.
    pub(super) action: String,
    /// Who was asked.
    pub(super) by: &'static str,
    /// The rules that were looked at.
    pub(super) rules: Vec<Looked>,
    /// Of a program that decides, the lines.
    pub(super) lines: Vec<Line>,
    /// The answer.
    pub(super) decision: Decision,
}

/// A rule that was looked at.
pub(super) struct Looked {
    pub(super) rule: String,
    pub(super) text: String,
    pub(super) decided: bool,
    found: String,
}

/// The action that is refused, who refused it, and why.
struct Why {
    action: String,
    by: Option<&'static str>,
    decision: Decision,
}

impl From<&Look<'_>> for Looked {
    fn from(look: &Look<'_>) -> Self {
        Self {
            rule: look.rule.to_owned(),
            text: look.text.to_string(),
            decided: look.decided,
            found: look.found.to_string(),
        }
    }
}

impl Road {
    /// Goes it, as the signer does.
    pub(super) fn of(site: &Site, claims: &ClientClaims, request: Request, now: Timestamp) -> Self {
        let (mut steps, mut rules) = (Vec::new(), Vec::new());
        let asked = Asked {
            request: &request,
            claims,
            site: &site.name,
            now,
        };
        let decided = site.chain.decide(&asked, |action, by, seen| match seen {
            Seen::Rule(look) => rules.push(Looked::from(look)),
            Seen::Answer(decision) => steps.push(Step {
                action: action.to_owned(),
                by,
                rules: std::mem::take(&mut rules),
                lines: Vec::new(),
                decision: decision.clone(),
            }),
        });
        for step in &mut steps {
            let mut authorizers = site.chain.authorizers.iter();
            if let Some(authorizer) = authorizers.find(|one| one.name() == step.by) {
                step.lines = authorizer.lines(&Question {
                    request: &request,
                    action: &step.action,
                    claims,
                    site: &site.name,
                    now,
                });
            }
        }
        let refused = decided.err().map(|refused| {
            let first = refused.first;
            let action = first.action.unwrap_or_else(|| request.action().to_owned());
            let mut of_action = steps.iter().filter(|step| step.action == action);
            let by = of_action.find(|step| !step.decision.is_allowed());
            Why {
                by: by.map(|step| step.by),
                action,
                decision: first.decision,
            }
        });
        Self {
            caller: claims.callerid.clone(),
            request,
            site: site.name.clone(),
            now,
            steps,
            refused,
        }
    }

    /// Whether the request would be signed.
    pub(super) fn is_allowed(&self) -> bool {
        self.refused.is_none()
    }

    pub(super) fn verdict(&self) -> &'static str {
        if self.is_allowed() { "allow" } else { "deny" }
    }

    /// `puppet.disable`; only the agent where there is no action.
    fn named(&self, action: &str) -> String {
        match action {
            "" => self.request.agent().to_owned(),
            action => format!("{}.{action}", self.request.agent()),
        }
    }

    /// Who settled it, and how: the one that refused first, or all that allowed.
    pub(super) fn answers(&self) -> Vec<(&'static str, &Decision)> {
        if let Some(why) = &self.refused {
            return vec![(why.by.unwrap_or_default(), &why.decision)];
        }
        let steps = self.steps.iter();
        steps.map(|step| (step.by, &step.decision)).collect()
    }

    /// For programs.
    pub(super) fn document(&self) -> Value {
        let step = |step: &Step| {
            let mut said = answer(&self.named(&step.action), Some(step.by), &step.decision);
            let rules = step.rules.iter().map(|looked| {
                let Looked {
                    rule,
                    text,
                    decided,
                    found,
                } = looked;
                json!({"rule": rule, "text": text, "found": found, "decided": decided})
            });
            let lines = step.lines.iter();
            let lines = lines.map(
                |Line { name, text, ran }| json!({"line": name, "text": text, "reached": ran}),
            );
            if let Some(members) = said.as_object_mut() {
                members.insert("rules".to_owned(), rules.collect());
                members.insert("lines".to_owned(), lines.collect());
            }
            said
        };
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

    /// For people: the answers about each action below it, and below each the rules.
    pub(super) fn tree(&self, paint: Paint) -> String {
        let verdict = if self.is_allowed() {
            paint.good(self.verdict())
        } else {
            paint.bad(self.verdict())
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
            self.below(action, stem, paint, &mut lines);
        }
        // Refused before anybody was asked.
        if let Some(why) = self.refused.as_ref().filter(|_| self.steps.is_empty()) {
            lines.push(format!("└ {}", said(&why.decision)));
        }
        lines.join("\n") + "\n"
    }

    fn below(&self, action: &str, stem: &str, paint: Paint, lines: &mut Vec<String>) {
        let steps: Vec<&Step> = self
            .steps
            .iter()
            .filter(|step| step.action == action)
            .collect();
        for (index, step) in steps.iter().enumerate() {
            let (branch, below) = if index + 1 == steps.len() {
                ("└", "  ")
            } else {
                ("├", "│ ")
            };
            let by_rule = step.rules.iter().any(|looked| looked.decided);
            let here = if step.decision.is_allowed() || by_rule {
                String::new()
            } else {
                paint.strong(HERE)
            };
            let (by, said) = (step.by, said(&step.decision));
            lines.push(format!("{stem}{branch} {by:<12} {said}{here}"));
            rules(step, &format!("{stem}{below}"), paint, lines);
        }
    }
}

/// Rules one below the other, and lines: name, text and what was found.
fn rules(step: &Step, margin: &str, paint: Paint, lines: &mut Vec<String>) {
    let rules = step.rules.iter().map(|looked| {
        let (rule, text, found) = (&looked.rule, &looked.text, &looked.found);
        (rule.as_str(), text.as_str(), found.as_str(), looked.decided)
    });
    let of_program = step.lines.iter().map(|Line { name, text, ran }| {
        let found = if *ran { "reached" } else { "not reached" };
        (name.as_str(), text.as_str(), found, false)
    });
    let shown: Vec<_> = rules.chain(of_program).collect();
    let widest =
        |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or_default().min(COLUMN);
    let names = widest(&mut shown.iter().map(|(name, ..)| name.chars().count()));
    let texts = widest(&mut shown.iter().map(|(_, text, ..)| text.chars().count()));
    for (index, (name, text, found, decided)) in shown.iter().enumerate() {
        let branch = if index + 1 == shown.len() {
            "└"
        } else {
            "├"
        };
        let mut line = format!("{:<names$}", printable(name));
        if texts > 0 {
            let _infallible = write!(line, "  {:<texts$}", printable(text));
        }
        let _infallible = write!(line, "  {}", printable(found));
        let mut line = format!("{margin}{branch} {}", line.trim_end());
        if *decided {
            line.push_str(&paint.strong(HERE));
        }
        lines.push(line);
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
