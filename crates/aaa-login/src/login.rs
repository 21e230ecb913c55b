//! The road of a login: `proof of the key → who it is → token → record → answer`.
//!
//! A token leaves only with a [`Recorded`] for the record of the login, and refusals take the same road. Everything that is the
//! same for all authenticators happens here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aaa_api::error::{ApiError, Cause};
use aaa_api::handler::{Context, LoginHandler, LoginOutcome};
use aaa_api::rest::{LoginRequest, PASSWORD_LIMIT, USERNAME_LIMIT};
use aaa_audit::{Recorded, Trail};
use aaa_core::audit::{Effect, Outcome, Record, Subject};
use aaa_core::caller::CallerId;
use aaa_core::clock::SharedClock;
use aaa_core::decision;
use aaa_core::id;
use aaa_core::token::MintError;
use async_trait::async_trait;

use crate::authenticator::{Attempt, Authenticator, Identity, Reason, Refusal, Verdict};
use crate::meter::{Ending, Meter};
use crate::mint::{Mint, Minted};
use crate::proof::{self, Proof, Unproven};
use crate::throttle::{Attempted, Permit, Throttle};

/// How long a client should wait before it asks again when a login cannot be recorded, or no token be made.
const RETRY: Duration = Duration::from_secs(5);

/// What a person reads who is not let in.
const FAILED: &str = "Login failed";

/// Lets people in.
pub(crate) struct Login {
    /// The authenticators in the order in which they are asked; at least one.
    pub(crate) doors: Vec<Door>,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) clock: SharedClock,
    pub(crate) site: Arc<str>,
    pub(crate) trail: Arc<Trail>,
    pub(crate) meter: Meter,
}

/// One way in: who is asked, and what makes the tokens of those it knows.
pub(crate) struct Door {
    pub(crate) authenticator: Arc<dyn Authenticator>,
    pub(crate) mint: Arc<Mint>,
    /// Whether a name and a password are enough, without a key.
    pub(crate) allow_unsigned: Arc<AtomicBool>,
    /// Whether the next one is asked when this one cannot decide.
    pub(crate) fallback: Arc<AtomicBool>,
}

/// How far a login got.
enum Decided {
    /// There is a token for them.
    Granted {
        by: &'static str,
        caller: CallerId,
        minted: Minted,
    },
    /// They are not let in.
    Refused { by: &'static str, refusal: Refusal },
}

/// Whom an authenticator knows, or what was decided without; or why nothing was.
type Asked<'a> = Result<Result<(&'a Door, Box<Identity>), Decided>, Undecided>;

/// Why nothing was decided.
struct Undecided {
    by: &'static str,
    error: ApiError,
    /// Whether somebody may have been guessing a name or a password all the same.
    guess: bool,
}

impl Login {
    async fn decide(
        &self,
        context: &Context,
        request: &LoginRequest,
    ) -> Result<Decided, Undecided> {
        let now = self.clock.now();
        let proof = match proof::check(request, now, self.any_unsigned()) {
            Ok(proof) => proof,
            Err(Unproven::Refused(refusal)) => {
                let by = self.first();
                return Ok(Decided::Refused { by, refusal });
            }
            Err(Unproven::Malformed(error)) => return Err(self.undecided(error)),
        };
        let (door, identity) = match self.ask(context, request, &proof).await? {
            Ok(known) => known,
            Err(refused) => return Ok(refused),
        };
        let by = door.authenticator.name();
        let caller = identity.caller.clone();
        let key = match proof {
            Proof::Key(key) => Some(key),
            Proof::None => None,
        };
        // Not the time of the request: a token is valid from when it is made.
        let minted = door
            .mint
            .issue(*identity, key, self.clock.now())
            .map_err(|error| Undecided::new(by, no_token(error)))?;
        Ok(Decided::Granted { by, caller, minted })
    }

    /// Asks one authenticator after the other until one knows the user.
    async fn ask<'a>(
        &'a self,
        context: &Context,
        request: &LoginRequest,
        proof: &Proof,
    ) -> Asked<'a> {
        let attempt = Attempt {
            username: &request.username,
            password: &request.password,
            context,
        };
        let open: Vec<&Door> = self
            .doors
            .iter()
            .filter(|door| matches!(proof, Proof::Key(_)) || door.allows_unsigned())
            .collect();
        let mut permit = None;
        let asked = self.ask_each(&open, &attempt, &mut permit).await;
        if let Some(permit) = permit {
            permit.settle(attempted(&asked));
        }
        asked
    }

    async fn ask_each<'a>(
        &'a self,
        open: &[&'a Door],
        attempt: &Attempt<'_>,
        permit: &mut Option<Permit<'a>>,
    ) -> Asked<'a> {
        let mut last = self.first();
        let mut away: Option<Undecided> = None;
        for (place, door) in open.iter().enumerate() {
            let by = door.authenticator.name();
            last = by;
            // Not before: what is malformed is held against nobody, and whoever shows a certificate guesses at nothing.
            if permit.is_none() && door.authenticator.takes_passwords() {
                *permit = Some(
                    self.admit(attempt)
                        .map_err(|error| Undecided::new(by, error))?,
                );
            }
            let (error, guess) = match door.authenticator.authenticate(attempt).await {
                Ok(Verdict::Known(identity)) => return Ok(Ok((door, identity))),
                Ok(Verdict::Refused(refusal)) => {
                    if refusal.reason.is_a_guess() {
                        for later in open.iter().skip(place + 1) {
                            later.authenticator.pretend(attempt).await;
                        }
                        // Said otherwise than of a name that nobody knows, it would tell that this one is known.
                        if let Some(away) = away {
                            return Err(away.guess());
                        }
                    }
                    return Ok(Err(Decided::Refused { by, refusal }));
                }
                Ok(Verdict::Unknown) => continue,
                Ok(Verdict::Wrong(error)) => (error, true),
                Err(error) => (error, false),
            };
            let undecided = Undecided { by, error, guess };
            if !door.falls_back() {
                return Err(undecided);
            }
            undecided.error.report(attempt.context.front);
            tracing::warn!(authenticator = by, "cannot decide; the next one is asked");
            away.get_or_insert(undecided);
        }
        // Nobody knows the user, and one who might was not there to say.
        if let Some(away) = away {
            return Err(away.guess());
        }
        let refusal = Refusal::credentials(Reason::UnknownUser);
        Ok(Err(Decided::Refused { by: last, refusal }))
    }

    fn admit(&self, attempt: &Attempt<'_>) -> Result<Permit<'_>, ApiError> {
        let peer = attempt.context.peer.map(|peer| peer.ip());
        self.throttle.admit(attempt.username, peer)
    }

    fn any_unsigned(&self) -> bool {
        self.doors.iter().any(Door::allows_unsigned)
    }

    /// In whose name it is counted what no authenticator was asked for.
    fn first(&self) -> &'static str {
        self.doors
            .first()
            .map_or("none", |door| door.authenticator.name())
    }

    fn undecided(&self, error: ApiError) -> Undecided {
        Undecided::new(self.first(), error)
    }

    /// Puts on record what was decided.
    async fn record(
        &self,
        context: &Context,
        username: &str,
        caller: Option<CallerId>,
        token: Option<String>,
        outcome: Outcome,
    ) -> Result<Recorded, ApiError> {
        let time = self.clock.now();
        let effect = if outcome.is_allowed() {
            Effect::Issued
        } else {
            Effect::Refused
        };
        let record = Record {
            id: id::at(time),
            time,
            site: Arc::clone(&self.site),
            exchange: context.exchange(),
            latency: context.received.elapsed(),
            caller,
            token,
            subject: Subject::Login {
                username: username.to_owned(),
            },
            action: None,
            outcome,
            effect,
        };
        match self.trail.record(Arc::new(record)).await {
            Ok(recorded) => Ok(recorded),
            Err(error) => {
                tracing::error!(%error, "a login cannot be put on record, and is not answered");
                Err(
                    ApiError::busy("what happens here cannot be recorded now", RETRY)
                        .with_source(error),
                )
            }
        }
    }

    /// Puts on record that nothing was decided, and gives what is to be answered.
    async fn record_undecided(
        &self,
        context: &Context,
        username: &str,
        guess: bool,
        error: ApiError,
    ) -> ApiError {
        let (reason, detail) = match error.cause() {
            Cause::Malformed => (
                decision::Reason::MalformedRequest,
                error.detail().to_owned(),
            ),
            Cause::TooManyRequests => (
                decision::Reason::LoginRefused,
                "too many logins failed under this name or from this address".to_owned(),
            ),
            _ if guess => (
                decision::Reason::LoginRefused,
                "not let in by those who answered, and not all did".to_owned(),
            ),
            cause => (
                decision::Reason::LoginRefused,
                format!("not decided: {}", cause.label()),
            ),
        };
        let outcome = Outcome::Refused { reason, detail };
        match self.record(context, username, None, None, outcome).await {
            Ok(_) => error,
            Err(unrecorded) => unrecorded,
        }
    }

    /// Records, logs and answers.
    async fn conclude(
        &self,
        context: &Context,
        username: &str,
        decided: Decided,
    ) -> Result<(Ending, LoginOutcome), ApiError> {
        let user = printable(username);
        let peer = context.peer.map(|peer| peer.to_string());
        let peer = peer.as_deref();
        match decided {
            Decided::Granted { by, caller, minted } => {
                let outcome = Outcome::Allowed {
                    rule: by.to_owned(),
                };
                let (known, token) = (Some(caller.clone()), Some(minted.id.clone()));
                let receipt = self
                    .record(context, username, known, token, outcome)
                    .await?;
                tracing::info!(
                    user,
                    peer,
                    caller = printable(caller.as_str()),
                    authenticator = by,
                    token = minted.id,
                    expires = minted.expires,
                    "logged in"
                );
                Ok((Ending::Granted, minted.hand_over(&receipt)))
            }
            Decided::Refused { by, refusal } => {
                let reason = refusal.reason;
                let whose = refusal.whose.as_deref().map(printable);
                tracing::warn!(
                    user,
                    peer,
                    whose,
                    authenticator = by,
                    reason = reason.words(),
                    "login refused"
                );
                let detail = match whose {
                    Some(whose) => format!("{}: {whose}", reason.words()),
                    None => reason.words().to_owned(),
                };
                let outcome = Outcome::Refused {
                    reason: decision::Reason::LoginRefused,
                    detail,
                };
                let _receipt = self.record(context, username, None, None, outcome).await?;
                Ok((Ending::Refused(reason.label()), refusal.answer()))
            }
        }
    }
}

#[async_trait]
impl LoginHandler for Login {
    async fn login(
        &self,
        context: &Context,
        request: LoginRequest,
    ) -> Result<LoginOutcome, ApiError> {
        let started = Instant::now();
        let decided = match bounded(&request) {
            Ok(()) => self.decide(context, &request).await,
            Err(error) => Err(self.undecided(error)),
        };
        let (by, concluded) = match decided {
            Ok(decided) => {
                let by = decided.by();
                (by, self.conclude(context, &request.username, decided).await)
            }
            Err(Undecided { by, error, guess }) => {
                let user = printable(&request.username);
                let peer = context.peer.map(|peer| peer.to_string());
                let reason = error.cause().label();
                tracing::warn!(user, peer, authenticator = by, reason, "login not decided");
                let named = bounded(&request).map_or("", |()| &request.username);
                let answered = self.record_undecided(context, named, guess, error).await;
                (by, Err(answered))
            }
        };
        let ending = match &concluded {
            Ok((ending, _)) => *ending,
            Err(error) => failed(error),
        };
        self.meter.login(by, ending, started.elapsed());
        concluded.map(|(_, outcome)| outcome)
    }

    async fn malformed(&self, context: &Context, _: &[u8], error: ApiError) -> ApiError {
        // The body may hold a password, so nothing of it is kept, its digest neither.
        let peer = context.peer.map(|peer| peer.to_string());
        tracing::warn!(peer, reason = error.detail(), "login cannot be read");
        self.meter
            .login(self.first(), failed(&error), Duration::ZERO);
        self.record_undecided(context, "", false, error).await
    }
}

impl Door {
    fn allows_unsigned(&self) -> bool {
        self.allow_unsigned.load(Ordering::Relaxed)
    }

    fn falls_back(&self) -> bool {
        self.fallback.load(Ordering::Relaxed)
    }
}

impl Undecided {
    fn new(by: &'static str, error: ApiError) -> Self {
        let guess = false;
        Self { by, error, guess }
    }

    /// The same, of somebody who may have guessed.
    fn guess(self) -> Self {
        Self {
            guess: true,
            ..self
        }
    }
}

impl Decided {
    fn by(&self) -> &'static str {
        match self {
            Self::Granted { by, .. } | Self::Refused { by, .. } => by,
        }
    }
}

impl Minted {
    /// The one way for a token to leave.
    fn hand_over(self, _: &Recorded) -> LoginOutcome {
        LoginOutcome::Token(self.token)
    }
}

impl Refusal {
    /// What the person is told. The stock client shows `error` alone, so the advice stands in it.
    fn answer(&self) -> LoginOutcome {
        let error = if self.advice.is_empty() {
            FAILED.to_owned()
        } else {
            format!("{FAILED}: {}", self.advice)
        };
        LoginOutcome::Refused {
            error,
            detail: self.detail.to_string(),
        }
    }
}

/// What an attempt was, for the throttle.
fn attempted(asked: &Result<Result<(&Door, Box<Identity>), Decided>, Undecided>) -> Attempted {
    match asked {
        Ok(Ok((door, _))) if door.authenticator.takes_passwords() => Attempted::Right,
        Ok(Err(Decided::Refused { refusal, .. })) if refusal.reason.is_a_guess() => {
            Attempted::Wrong
        }
        Err(undecided) if undecided.guess => Attempted::Wrong,
        Ok(_) | Err(_) => Attempted::Neither,
    }
}

/// The bounds that the fronts keep, kept here too: nothing larger is hashed.
fn bounded(request: &LoginRequest) -> Result<(), ApiError> {
    if request.username.len() > USERNAME_LIMIT {
        return Err(ApiError::malformed("username is too long"));
    }
    if request.password.expose().len() > PASSWORD_LIMIT {
        return Err(ApiError::malformed("password is too long"));
    }
    Ok(())
}

fn failed(error: &ApiError) -> Ending {
    match error.cause() {
        Cause::Malformed => Ending::Refused(error.cause().label()),
        Cause::TooManyRequests => Ending::Throttled,
        cause => Ending::Failed(cause.label()),
    }
}

/// The password was right, and there is no token to give.
fn no_token(error: MintError) -> ApiError {
    match error {
        MintError::IssuerExpired => ApiError::busy(
            "this service may issue no tokens until its operator gives it a new signing_token",
            RETRY,
        )
        .with_source(error),
        other => ApiError::internal(other),
    }
}

/// A name that somebody sent, fit for a log: no control characters, nothing that turns text around, and not endless.
fn printable(name: &str) -> String {
    name.chars()
        .take(USERNAME_LIMIT)
        .map(|c| {
            if c.is_control() || turns(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// Whether a character is not seen, or turns others around.
pub(crate) fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
