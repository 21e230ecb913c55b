//! May this caller do this? Authorizers that answer for one request, from the claims of a verified token.
//!
//! Everything here is pure: no I/O, no clock of its own, no async. An [`Authorizer`] sees a [`Question`] and gives a
//! [`Decision`]; counting, recording and telling the caller is for those who ask.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

use std::fmt;

use aaa_core::claims::ClientClaims;
use aaa_core::decision::Decision;
use aaa_core::request::{DISCOVERY, Request};
use jiff::Timestamp;

pub mod actionlist;
pub mod actionpolicy;
pub mod chain;
mod go;
pub mod guards;
pub mod pattern;
mod problem;
pub mod rego;
pub mod task_rules;
pub mod tasks;

/// What is asked: may the bearer of these claims send this request, now, through this site?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The request as the client sent it.
    pub request: &'a Request,
    /// The action that is asked for: the request's own, or the name of the task that it runs (see [`tasks`]).
    pub action: &'a str,
    /// The claims of its token, verified.
    pub claims: &'a ClientClaims,
    /// The name of the site whose signer was asked.
    pub site: &'a str,
    /// The time of the decision.
    pub now: Timestamp,
}

/// A rule that an authorizer looked at on the way to its decision.
#[derive(Clone, Copy)]
pub struct Look<'a> {
    /// Its name among the rules of the authorizer.
    pub rule: &'a str,
    /// How it reads; empty where the name says it all. Written only when somebody wants to know.
    pub text: &'a dyn fmt::Display,
    /// Whether it decided. Where none does, what holds without a rule decided.
    pub decided: bool,
    /// What was found, for people: whether it is met, and what by.
    pub found: &'a dyn fmt::Display,
}

/// A line of a program that decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its program and number: `freeze.rego:4`.
    pub name: String,
    /// What stands there.
    pub text: String,
    /// Whether it ran.
    pub ran: bool,
}

/// One way to decide. Signers ask [`Authorizer::explain`]; kinds of authorizers implement [`Authorizer::authorize`].
pub trait Authorizer: Send + Sync {
    /// The name in configuration, records and metrics.
    fn name(&self) -> &'static str;

    /// The rules of this authorizer, applied to a request of any agent but discovery. Each that is looked at is shown to `seen`.
    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision;

    /// The decision, and on the way to it the rules. Everybody may discover nodes, whatever their rules say.
    fn explain(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        if question.request.agent() == DISCOVERY {
            return Decision::allow("discovery");
        }
        self.authorize(question, seen)
    }

    /// The decision alone.
    fn decide(&self, question: &Question<'_>) -> Decision {
        self.explain(question, &mut |_| {})
    }

    /// Where programs decide: the lines of those that are asked, and which of them run for the answer. They run once more for
    /// this. None where rules decide, which [`Authorizer::explain`] shows.
    fn lines(&self, _: &Question<'_>) -> Vec<Line> {
        Vec::new()
    }
}
