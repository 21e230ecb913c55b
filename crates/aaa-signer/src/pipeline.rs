//! The road of a request, as a chain of types: `Received → Verified → Bound → Authorized → Recorded → signed`.
//!
//! Each step consumes the one before, so what was not authorized cannot be signed, and nothing is signed before the decision
//! is on record: neither compiles. A refusal at any step becomes a [`Denied`], which takes the same road to the record. Every
//! front calls [`Pipeline::sign`], so answers, counters and records cannot differ.

use std::sync::Arc;
use std::time::Instant;

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, SignHandler, SignOutcome};
use aaa_api::rest::SignRequest;
use aaa_audit::{AuditError, Recorded, Trail};
use aaa_core::audit::{Effect, Exchange, Outcome, Record, Subject};
use aaa_core::claims::ClientClaims;
use aaa_core::clock::SharedClock;
use aaa_core::decision::Reason;
use aaa_core::id;
use aaa_core::request::TimeLimits;
use aaa_core::token::Rules;
use aaa_policy::chain::Chain;
use arc_swap::ArcSwap;

use crate::keys::Keys;
use crate::meter::Meter;

mod answer;
mod steps;

#[cfg(test)]
mod tests;

use steps::{Denied, Received, Unreadable, Unsigned};

/// How long a client should wait before it asks again when a decision cannot be recorded.
const RECORDING_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

/// Decides about requests and signs them.
pub struct Pipeline {
    /// The site that decisions are made for.
    pub site: Arc<str>,
    /// What time it is.
    pub clock: SharedClock,
    /// The keys in use.
    pub keys: Arc<ArcSwap<Keys>>,
    /// What is demanded of requests.
    pub demands: Arc<ArcSwap<Demands>>,
    /// Where decisions go on record.
    pub trail: Arc<Trail>,
    /// What is counted.
    pub meter: Meter,
}

/// What is demanded of a request before it is signed; swapped whole when the configuration is reloaded.
pub struct Demands {
    /// Who says whether a caller may.
    pub chain: Chain,
    /// What is demanded of a token's times.
    pub rules: Rules,
    /// What is demanded of a request's own times.
    pub limits: TimeLimits,
    /// Whether a request need not be signed by its token's key.
    pub allow_bearer_tokens: bool,
}

/// Why there is no answer to a request.
enum Unanswered {
    /// It cannot be read.
    Unreadable(Unreadable),
    /// The decision cannot be put on record.
    Unrecorded(AuditError),
    /// It is on record, and the key failed.
    Unsigned(Box<Unsigned>),
}

/// What was decided about a subject, and what comes of it.
struct Decided {
    /// The action, where it is not the request's own.
    action: Option<String>,
    outcome: Outcome,
    effect: Effect,
}

impl Pipeline {
    /// Takes one request down the whole road.
    async fn walk(&self, context: &Context, asked: SignRequest) -> Result<SignOutcome, Unanswered> {
        let received = Received::read(asked, context).map_err(Unanswered::Unreadable)?;
        let keys = self.keys.load_full();
        match self.decide(&keys, received) {
            Ok(authorized) => {
                let recorded = authorized
                    .record(self)
                    .await
                    .map_err(Unanswered::Unrecorded)?;
                let started = Instant::now();
                let signed = recorded.sign(&keys).map_err(Unanswered::Unsigned)?;
                self.meter.signed(started.elapsed());
                Ok(SignOutcome::Signed(signed))
            }
            Err(denied) => {
                let answer = denied.answer();
                self.meter.denied(denied.reason());
                denied.record(self).await.map_err(Unanswered::Unrecorded)?;
                Ok(answer)
            }
        }
    }

    /// All that is decided without waiting for anybody.
    fn decide(&self, keys: &Keys, received: Received) -> Result<steps::Authorized, Denied> {
        let (now, started) = (self.clock.now(), Instant::now());
        let demands = self.demands.load();
        let verified = received.verify(keys, now, demands.rules)?;
        let bound = verified.bind(demands.allow_bearer_tokens)?;
        self.meter.verified(started.elapsed());
        let timely = bound.in_time(keys, now, demands.limits)?;
        timely.authorize(self, &demands.chain, now)
    }
}

#[async_trait::async_trait]
impl SignHandler for Pipeline {
    async fn sign(&self, context: &Context, asked: SignRequest) -> Result<SignOutcome, ApiError> {
        match self.walk(context, asked).await {
            Ok(outcome) => Ok(outcome),
            Err(Unanswered::Unreadable(unreadable)) => {
                let error = unreadable.error();
                Err(self.refuse(unreadable, error).await)
            }
            Err(Unanswered::Unrecorded(error)) => Err(self.unrecorded(&error)),
            Err(Unanswered::Unsigned(unsigned)) => {
                self.meter.failed();
                if let Err(error) = unsigned.record(self).await {
                    self.unrecorded(&error);
                }
                Err(ApiError::internal("the signing key failed"))
            }
        }
    }

    async fn malformed(&self, context: &Context, body: &[u8], error: ApiError) -> ApiError {
        self.refuse(Unreadable::body(body, context), error).await
    }
}

impl Pipeline {
    /// Puts on record what cannot be read, and gives what is to be answered.
    async fn refuse(&self, unreadable: Unreadable, error: ApiError) -> ApiError {
        self.meter.denied(Reason::MalformedRequest);
        match unreadable.record(self).await {
            Ok(()) => error,
            Err(error) => self.unrecorded(&error),
        }
    }

    /// Puts a decision on record.
    async fn record(
        &self,
        exchange: &Arc<Exchange>,
        claims: Option<&ClientClaims>,
        subject: Subject,
        decided: Decided,
    ) -> Result<Recorded, AuditError> {
        let time = self.clock.now();
        let record = Record {
            id: id::at(time),
            time,
            site: Arc::clone(&self.site),
            exchange: Arc::clone(exchange),
            latency: exchange.received.elapsed(),
            caller: claims.map(ClientClaims::caller),
            token: claims.map(|claims| claims.standard.jti.clone()),
            subject,
            action: decided.action,
            outcome: decided.outcome,
            effect: decided.effect,
        };
        self.trail.record(Arc::new(record)).await
    }

    /// What a client is told when the decision cannot be put on record; the log says why.
    fn unrecorded(&self, error: &AuditError) -> ApiError {
        self.meter.failed();
        tracing::error!(%error, "nothing is signed: the decision cannot be put on record");
        ApiError::busy(
            "the decision cannot be put on record, and nothing is signed without one",
            RECORDING_RETRY,
        )
    }
}
