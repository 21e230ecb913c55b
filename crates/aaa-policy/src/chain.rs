//! The road of a decision: the guards, then every authorizer, for each action that a request needs leave for.
//!
//! Signing and explaining both go this way, so that what is explained is what is done.

use aaa_core::claims::ClientClaims;
use aaa_core::decision::Decision;
use aaa_core::request::Request;
use jiff::Timestamp;

use crate::tasks::{self, Actions};
use crate::{Authorizer, Look, Question};

/// Who must allow a request, in the order in which they are asked.
#[derive(Default)]
pub struct Chain {
    /// Rules of the site that must hold before anybody else is asked. They give no leave of their own.
    pub guards: Vec<Box<dyn Authorizer>>,
    /// Who says whether a caller may: all of them must.
    pub authorizers: Vec<Box<dyn Authorizer>>,
}

/// A request that leave is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The request as the client sent it.
    pub request: &'a Request,
    /// The claims of its token.
    pub claims: &'a ClientClaims,
    /// The name of the site whose signer was asked.
    pub site: &'a str,
    /// The time of the decision.
    pub now: Timestamp,
}

/// Leave for one action, and the rule that gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// The action, where it is not the request's own.
    pub action: Option<String>,
    /// The rule, as the last authorizer that was asked names it.
    pub rule: String,
}

/// Leave for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// For its own action.
    pub own: Leave,
    /// For the task that it runs, if it runs one.
    pub task: Option<Leave>,
}

/// What an action is refused for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The action, where it is not the request's own.
    pub action: Option<String>,
    /// The name of the guard, or of the authorizer where there are several.
    pub by: Option<&'static str>,
    /// What was said.
    pub decision: Decision,
}

/// A request that there is no leave for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was refused first: the answer.
    pub first: Refusal,
    /// What was decided about the other action, where the request needs leave for two.
    pub other: Option<Result<Leave, Refusal>>,
}

/// What there is to see while a request is decided.
#[derive(Clone, Copy)]
pub enum Seen<'a> {
    /// A rule that was looked at; the answer follows.
    Rule(&'a Look<'a>),
    /// An answer.
    Answer(&'a Decision),
}

impl Chain {
    /// May the caller make this request? Everybody must say so of its own action, and of the task that it runs, if it runs one: both are
    /// decided, whatever comes of either. What there is to see is shown to `seen`, with the action asked about and the name of who is asked.
    ///
    /// # Errors
    /// What is refused, by the first answer that is no leave; nobody is asked about an action after it.
    pub fn decide(
        &self,
        asked: &Asked<'_>,
        mut seen: impl FnMut(&str, &'static str, Seen<'_>),
    ) -> Result<Granted, Box<Refused>> {
        let Actions { own, task } = tasks::actions(asked.request).map_err(|why| {
            let first = Refusal {
                action: None,
                by: None,
                decision: Decision::deny(why),
            };
            Box::new(Refused { first, other: None })
        })?;
        let mut ask = |action, named| match self.ask(asked, action, &mut seen) {
            Ok(rule) => Ok(Leave {
                action: named,
                rule,
            }),
            Err((by, decision)) => Err(Refusal {
                action: named,
                by,
                decision,
            }),
        };
        let own = ask(own, None);
        let task = task.map(|task| ask(task, Some(task.to_owned())));
        let (first, other) = match (own, task) {
            (Ok(own), None) => return Ok(Granted { own, task: None }),
            (Ok(own), Some(Ok(task))) => {
                let task = Some(task);
                return Ok(Granted { own, task });
            }
            (Ok(own), Some(Err(task))) => (task, Some(Ok(own))),
            (Err(own), task) => (own, task),
        };
        Err(Box::new(Refused { first, other }))
    }

    /// Asks the guards and then one authorizer after the other; the first that does not allow ends it. Guards alone give no leave.
    fn ask(
        &self,
        asked: &Asked<'_>,
        action: &str,
        seen: &mut impl FnMut(&str, &'static str, Seen<'_>),
    ) -> Result<String, (Option<&'static str>, Decision)> {
        let question = Question {
            request: asked.request,
            action,
            claims: asked.claims,
            site: asked.site,
            now: asked.now,
        };
        let mut ask = |authorizer: &dyn Authorizer| {
            let by = authorizer.name();
            let decision =
                authorizer.explain(&question, &mut |look| seen(action, by, Seen::Rule(look)));
            seen(action, by, Seen::Answer(&decision));
            decision
        };
        for guard in &self.guards {
            let decision = ask(guard.as_ref());
            if !decision.is_allowed() {
                return Err((Some(guard.name()), decision));
            }
        }
        let mut last = Decision::failed("no authorizer is configured");
        for authorizer in &self.authorizers {
            last = ask(authorizer.as_ref());
            if !last.is_allowed() {
                let by = (self.authorizers.len() > 1).then(|| authorizer.name());
                return Err((by, last));
            }
        }
        match last {
            Decision::Allow { rule } => Ok(rule.into_owned()),
            decision => Err((None, decision)),
        }
    }
}
