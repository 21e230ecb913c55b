//! The steps of the road. Each is made only by the one before it; none can be made elsewhere.

use std::sync::Arc;
use std::time::Instant;

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, SignOutcome};
use aaa_api::rest::SignRequest;
use aaa_audit::AuditError;
use aaa_core::audit::{Effect, Exchange, Outcome, Subject};
use aaa_core::claims::ClientClaims;
use aaa_core::decision::{Decision, Reason};
use aaa_core::key::Ed25519Public;
use aaa_core::request::{Request, TimeLimits, Version};
use aaa_core::token::{self, Rules};
use aaa_policy::chain::{Asked, Chain, Granted, Leave, Refusal, Seen};
use jiff::Timestamp;

use super::answer;
use super::{Decided, Pipeline};
use crate::keys::Keys;

/// The longest request that goes on record word for word though nobody proved to have made it: strangers could fill disks with longer
/// ones, as what a record escapes is six times as long.
const UNPROVEN_LIMIT: usize = 16 << 10;

/// A request that can be read, and what came with it. Nothing about it is believed yet.
pub(super) struct Received {
    exchange: Arc<Exchange>,
    request: Arc<Request>,
    token: String,
    signature: String,
}

/// A request whose token is good.
pub(super) struct Verified {
    known: Known,
    signature: String,
    key: Option<Ed25519Public>,
}

/// A request that the token's bearer made: signed by the key in the token, or admitted without by the operator's choice.
pub(super) struct Bound(Known);

/// A request at a time at which it may be signed.
pub(super) struct Timely(Known);

/// A request that policy allows, in everything that it needs leave for.
pub(super) struct Authorized {
    known: Known,
    granted: Granted,
}

/// A request whose decision is on record: the one thing that a key signs.
pub(super) struct Recorded {
    known: Known,
    rule: String,
    _receipt: aaa_audit::Recorded,
}

/// A request that is on record as signed, and is not: the key failed.
pub(super) struct Unsigned {
    known: Known,
    rule: String,
}

/// What is known about a request once its caller is.
struct Known {
    exchange: Arc<Exchange>,
    request: Arc<Request>,
    claims: token::Verified<ClientClaims>,
}

/// A request that is not signed, and how far it got.
pub(super) struct Denied {
    exchange: Arc<Exchange>,
    request: Arc<Request>,
    /// Whose token it came with, if that is known.
    claims: Option<token::Verified<ClientClaims>>,
    /// What was decided about the other action that it needs leave for; boxed, as only tasks have it.
    other: Option<Box<Decided>>,
    /// The action that was refused, where it is not the request's own.
    action: Option<String>,
    reason: Reason,
    /// Why, for the record and for those who may know.
    why: String,
    /// Whether the caller proved to be in good standing, and so may know why.
    tell: bool,
}

/// What is no request.
pub(super) struct Unreadable {
    exchange: Arc<Exchange>,
    subject: Subject,
    why: String,
}

impl Received {
    pub(super) fn read(asked: SignRequest, context: &Context) -> Result<Self, Unreadable> {
        let SignRequest {
            token,
            request,
            signature,
        } = asked;
        let request = Request::parse(&request).map_err(|error| Unreadable {
            exchange: context.exchange(),
            subject: Subject::unreadable(&request),
            why: format!("request cannot be signed: {error}"),
        })?;
        Ok(Self {
            exchange: context.exchange(),
            request: Arc::new(request),
            token,
            signature,
        })
    }

    /// Is the token one of a trusted issuer, and valid now?
    pub(super) fn verify(
        self,
        keys: &Keys,
        now: Timestamp,
        rules: Rules,
    ) -> Result<Verified, Denied> {
        let Self {
            exchange,
            request,
            token,
            signature,
        } = self;
        // The stock client sends what is in its token file, newline included.
        let good = keys.authenticate(token.trim()).and_then(|bearer| {
            let claims = bearer.valid_at(now, rules)?;
            Ok((bearer, claims))
        });
        match good {
            Ok((bearer, claims)) => Ok(Verified {
                known: Known {
                    exchange,
                    request,
                    claims,
                },
                signature,
                key: bearer.key.clone(),
            }),
            Err(error) => Err(Denied {
                exchange,
                request,
                claims: None,
                other: None,
                action: None,
                reason: Reason::InvalidToken,
                why: format!("the token is refused: {error}"),
                tell: false,
            }),
        }
    }
}

impl Verified {
    /// Did the bearer of the token make the request? Only the holder of the token's key can have signed it.
    pub(super) fn bind(self, allow_bearer_tokens: bool) -> Result<Bound, Denied> {
        if self.signature.is_empty() {
            return if allow_bearer_tokens {
                Ok(Bound(self.known))
            } else {
                Err(self.denied(Reason::MissingSignature, "the request is not signed"))
            };
        }
        let Some(key) = &self.key else {
            return Err(self.denied(Reason::InvalidSignature, "the token is bound to no key"));
        };
        let good = hex::decode(&self.signature)
            .is_ok_and(|signature| key.verify(self.known.request.bytes(), &signature));
        if good {
            Ok(Bound(self.known))
        } else {
            let why = "the request was not signed by the key of its token";
            Err(self.denied(Reason::InvalidSignature, why))
        }
    }

    /// A stolen token is no proof of who sends it: the sender is told nothing.
    fn denied(self, reason: Reason, why: &str) -> Denied {
        Denied {
            tell: false,
            ..self.known.denied(reason, why)
        }
    }
}

impl Bound {
    /// Is it a request of a version and a time that this signer signs?
    pub(super) fn in_time(
        self,
        keys: &Keys,
        now: Timestamp,
        limits: TimeLimits,
    ) -> Result<Timely, Denied> {
        let Self(known) = self;
        let version = known.request.version();
        if keys.signer(version).is_none() {
            return Err(known.denied(Reason::UnsupportedVersion, unsupported(version)));
        }
        match known.request.check_time(now, limits) {
            Ok(()) => Ok(Timely(known)),
            Err(untimely) => Err(known.denied(Reason::Untimely, untimely.to_string())),
        }
    }
}

fn unsupported(version: Version) -> &'static str {
    match version {
        Version::V1 => "this signer has no privileged certificate, so it signs no v1 requests",
        Version::V2 => "this signer has no delegator token, so it signs no v2 requests",
    }
}

impl Timely {
    /// May the caller make this request? Every authorizer must say so, and of the task that it runs, if it runs one, too.
    pub(super) fn authorize(
        self,
        pipeline: &Pipeline,
        chain: &Chain,
        now: Timestamp,
    ) -> Result<Authorized, Denied> {
        let Self(known) = self;
        let started = Instant::now();
        let asked = Asked {
            request: &known.request,
            claims: &known.claims,
            site: &pipeline.site,
            now,
        };
        let outcome = chain.decide(&asked, |action, by, seen| {
            if let Seen::Answer(decision) = seen {
                let label = answer::named(&known.request, action);
                pipeline.meter.decided(by, &label, decision);
            }
        });
        pipeline.meter.authorized(started.elapsed());
        match outcome {
            Ok(granted) => Ok(Authorized { known, granted }),
            Err(refused) => {
                let other = refused.other.map(|other| {
                    Box::new(match other {
                        Ok(leave) => Decided::allowed(leave, Effect::Refused),
                        Err(refusal) => {
                            let (reason, why) = known.refused(&refusal);
                            Decided::refused(refusal.action, reason, why)
                        }
                    })
                });
                let (reason, why) = known.refused(&refused.first);
                Err(Denied {
                    action: refused.first.action,
                    other,
                    ..known.denied(reason, why)
                })
            }
        }
    }
}

impl Authorized {
    /// Puts the decision on record, durably.
    ///
    /// # Errors
    /// When it cannot be, so that nothing may be signed.
    pub(super) async fn record(self, pipeline: &Pipeline) -> Result<Recorded, AuditError> {
        let Self { known, granted } = self;
        // The record tells of it; the log does only to those who look closely.
        tracing::debug!(
            caller = known.claims.callerid,
            action = answer::printable(&known.request.agent_action()),
            request = answer::printable(known.request.id()),
            "allowed"
        );
        let Granted { own, task } = granted;
        let rule = own.rule.clone();
        let record = |leave| {
            let subject = Subject::Sign(Arc::clone(&known.request));
            let decided = Decided::allowed(leave, Effect::Signed);
            pipeline.record(&known.exchange, Some(&known.claims), subject, decided)
        };
        let receipt = record(own).await?;
        if let Some(task) = task {
            let _receipt: aaa_audit::Recorded = record(task).await?;
        }
        Ok(Recorded {
            known,
            rule,
            _receipt: receipt,
        })
    }
}

impl Recorded {
    /// Signs the request, in the name of the caller that its token names.
    pub(super) fn sign(self, keys: &Keys) -> Result<Vec<u8>, Box<Unsigned>> {
        let Self { known, rule, .. } = self;
        let request = known.request.with_caller(&known.claims.caller());
        let signed = keys
            .signer(known.request.version())
            .and_then(|signer| signer.sign(&request).ok());
        signed.ok_or_else(|| Box::new(Unsigned { known, rule }))
    }
}

impl Unsigned {
    /// Puts on record that nothing came of what is on record before.
    pub(super) async fn record(self, pipeline: &Pipeline) -> Result<(), AuditError> {
        let Self { known, rule } = self;
        let decided = Decided {
            action: None,
            outcome: Outcome::Allowed { rule },
            effect: Effect::Failed,
        };
        let subject = Subject::Sign(known.request);
        let claims = Some(&*known.claims);
        pipeline
            .record(&known.exchange, claims, subject, decided)
            .await
            .map(|_| ())
    }
}

impl Known {
    /// Why an action is refused, for the record and for the caller.
    fn refused(&self, refusal: &Refusal) -> (Reason, String) {
        let reason = match refusal.decision {
            Decision::Failed { .. } => Reason::PolicyFailed,
            Decision::Allow { .. } | Decision::Deny { .. } => Reason::NotAuthorized,
        };
        let action = refusal.action.as_deref();
        let why = answer::may_not(
            &self.claims.callerid,
            &self.request,
            action.unwrap_or_else(|| self.request.action()),
            refusal.by,
            &refusal.decision,
        );
        (reason, why)
    }

    fn denied(self, reason: Reason, why: impl Into<String>) -> Denied {
        Denied {
            exchange: self.exchange,
            request: self.request,
            claims: Some(self.claims),
            other: None,
            action: None,
            reason,
            why: why.into(),
            tell: true,
        }
    }
}

impl Denied {
    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// What the client is told: the reason, to those who proved who they are; to anybody else nothing.
    pub(super) fn answer(&self) -> SignOutcome {
        if self.tell {
            answer::denied(&self.why)
        } else {
            answer::denied_without_reason()
        }
    }

    /// What goes on record: the request, or that there was one where a stranger made it long.
    fn subject(&self) -> Subject {
        let bytes = self.request.bytes();
        if !self.tell && bytes.len() > UNPROVEN_LIMIT {
            return Subject::unreadable(bytes);
        }
        Subject::Sign(Arc::clone(&self.request))
    }

    pub(super) async fn record(self, pipeline: &Pipeline) -> Result<(), AuditError> {
        let caller = self
            .claims
            .as_ref()
            .map_or("unverified", |claims| &claims.callerid);
        tracing::warn!(
            caller,
            claimed = answer::printable(self.request.claimed_caller()),
            action = answer::printable(&answer::named(
                &self.request,
                self.action
                    .as_deref()
                    .unwrap_or_else(|| self.request.action())
            )),
            request = answer::printable(self.request.id()),
            reason = self.reason.as_str(),
            why = answer::printable(&self.why),
            "denied"
        );
        let subject = self.subject();
        let first = Decided::refused(self.action, self.reason, self.why);
        let mut decided = vec![first];
        decided.extend(self.other.map(|other| *other));
        // The request's own action first, whichever of the two was refused.
        decided.sort_by_key(|decided| decided.action.is_some());
        for decided in decided {
            let _receipt: aaa_audit::Recorded = pipeline
                .record(
                    &self.exchange,
                    self.claims.as_deref(),
                    subject.clone(),
                    decided,
                )
                .await?;
        }
        Ok(())
    }
}

impl Decided {
    fn allowed(leave: Leave, effect: Effect) -> Self {
        Self {
            action: leave.action,
            outcome: Outcome::Allowed { rule: leave.rule },
            effect,
        }
    }

    fn refused(action: Option<String>, reason: Reason, detail: String) -> Self {
        Self {
            action,
            outcome: Outcome::Refused { reason, detail },
            effect: Effect::Refused,
        }
    }
}

impl Unreadable {
    /// A whole body that is no request to sign.
    pub(super) fn body(body: &[u8], context: &Context) -> Self {
        Self {
            exchange: context.exchange(),
            subject: Subject::unreadable(body),
            why: "the body is no request to sign".to_owned(),
        }
    }

    pub(super) fn error(&self) -> ApiError {
        ApiError::malformed(self.why.clone())
    }

    pub(super) async fn record(self, pipeline: &Pipeline) -> Result<(), AuditError> {
        tracing::warn!(why = answer::printable(&self.why), "unreadable request");
        let decided = Decided::refused(None, Reason::MalformedRequest, self.why);
        pipeline
            .record(&self.exchange, None, self.subject, decided)
            .await
            .map(|_| ())
    }
}
