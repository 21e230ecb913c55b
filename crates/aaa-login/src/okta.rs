//! The `okta` authenticator: an Okta tenant says whose password it is and which groups they are in.
//!
//! Three calls, one after the other: the password grant at the tenant's `default` authorization server, the user's record, and
//! all pages of their groups. The record must be of the user whom the tokens of the grant name, so that no spelling of a name
//! gives somebody another one's groups. Nothing is cached: who leaves a group has its rights until their token ends, no longer.
//!
//! Reference: <https://developer.okta.com/docs/reference/api/oidc/>, <https://developer.okta.com/docs/reference/core-okta-api/>.

mod connections;
mod settings;
mod tenant;
mod wire;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aaa_api::error::ApiError;
use aaa_core::caller::CallerId;
use aaa_core::clock::SharedClock;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_lc_rs::rand;
use tokio::sync::Semaphore;

use crate::authenticator::{Attempt, Authenticator, Identity, Reason, Refusal, Verdict};
use crate::grants::Grants;
use crate::meter::Meter;

pub(crate) use settings::Settings;
pub use settings::{GROUP, OKTA, SECTION};

use tenant::{Fault, Grant, Session, Tenant};
use wire::PathSegment;

/// The name of this authenticator.
pub(crate) const NAME: &str = "okta";
/// What stands in `iss` of its tokens, when they are in no chain.
pub(crate) const ISSUER: &str = "Choria Okta Authenticator";
/// What stands before the name in its caller ids.
const PROVIDER: &str = "okta";

/// Whom a tenant is asked for to see whether it answers.
const NOBODY: &str = "aaa-doctor@nobody.invalid";
/// Logins that ask the tenant at the same time. More are turned away.
const IN_FLIGHT: usize = 1024;
/// How long those have to wait.
const LATER: Duration = Duration::from_secs(2);
/// How many of the last refusals it is remembered of how long they took.
const SAMPLES: usize = 16;

/// Asks an Okta tenant.
pub(crate) struct Okta {
    current: ArcSwap<Current>,
    in_flight: Semaphore,
    /// How long it took lately to find that somebody is not let in.
    took: Mutex<VecDeque<Duration>>,
    clock: SharedClock,
    meter: Meter,
}

struct Current {
    tenant: Tenant,
    groups: Groups,
}

/// Which groups let in, and to what.
pub(crate) struct Groups {
    grants: Grants,
    /// The places among the grants, by the group's name.
    places: HashMap<String, Vec<usize>>,
}

/// What came of asking the tenant.
enum Asked {
    Known(Identity),
    Refused(Reason),
    Unknown,
}

impl Okta {
    pub(crate) fn new(settings: Settings, clock: SharedClock, meter: Meter) -> Self {
        meter.begin_okta(&tenant::CALLS, &tenant::OUTCOMES);
        Self {
            current: ArcSwap::from_pointee(settings.into()),
            in_flight: Semaphore::new(IN_FLIGHT),
            took: Mutex::default(),
            clock,
            meter,
        }
    }

    /// Takes over other settings. Logins that are under way end with the old ones.
    pub(crate) fn replace(&self, settings: Settings) {
        self.current.store(Arc::new(settings.into()));
    }

    /// Looks whether a policy file has changed. What has a fault changes nothing.
    pub(crate) fn look_at_policies(&self) -> Result<(), String> {
        self.current.load().groups.grants.look_at_policies()
    }

    /// Where the tenant is.
    pub(crate) fn endpoint(&self) -> String {
        self.current.load().tenant.endpoint().to_owned()
    }

    /// Whether the tenant answers, and takes the API token. It is asked for somebody whom it does not know: a password would count
    /// as an attempt to log in there, so whether the client's secret is right only a login shows.
    pub(crate) async fn answers(&self) -> Result<(), String> {
        let current = self.current.load_full();
        let nobody = PathSegment::of(NOBODY).ok_or("nobody has no name")?;
        let session = current.tenant.session(&self.clock, &self.meter);
        match session.user(&nobody).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(fault.to_string()),
        }
    }

    async fn ask(
        &self,
        current: &Current,
        attempt: &Attempt<'_>,
        name: &PathSegment,
        wrong_password: &mut bool,
    ) -> Result<Asked, Fault> {
        let session = current.tenant.session(&self.clock, &self.meter);
        let grant = session.grant(attempt.username, attempt.password).await?;
        let subject = match grant {
            Grant::Right { subject } => subject,
            Grant::SecondFactor => return Ok(Asked::Refused(Reason::SecondFactor)),
            Grant::Policy => return Ok(Asked::Refused(Reason::NotAllowed)),
            Grant::Wrong => {
                *wrong_password = true;
                return wrong(&session, attempt.username, name).await;
            }
        };
        // The tenant has let them in a moment ago.
        let Some(user) = session.user(name).await? else {
            return Err(Fault::Unexpected("it has no record of the user"));
        };
        if !user.is(attempt.username, subject.as_deref()) {
            return Err(Fault::Unexpected("its record is of another user"));
        }
        if !user.is_active() {
            return Ok(Asked::Refused(Reason::Inactive));
        }
        let id = user.id().ok_or(Fault::Unexpected(
            "its record of the user has an id that is none",
        ))?;
        let places = &current.groups.places;
        let mut held = Vec::new();
        session
            .groups(&id, |group| {
                held.extend(places.get(group).into_iter().flatten());
            })
            .await?;
        let Some(rights) = current.groups.grants.union(held) else {
            return Ok(Asked::Refused(Reason::NoGroup));
        };
        Ok(Asked::Known(Identity {
            caller: CallerId::new(format!("{PROVIDER}={}", user.login())),
            rights,
        }))
    }

    fn took(&self, took: Duration) {
        let mut samples = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(took);
    }

    /// How long one of the last refusals took.
    fn sample(&self) -> Option<Duration> {
        let mut random = [0];
        rand::fill(&mut random).ok()?;
        let [random] = random;
        let samples = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::from(random).checked_rem(samples.len())?;
        samples.get(place).copied()
    }
}

/// Who is it whose password is wrong? The tenant answers the same for a wrong password, a locked user and nobody at all.
async fn wrong(session: &Session<'_>, username: &str, name: &PathSegment) -> Result<Asked, Fault> {
    let user = session.user(name).await?;
    Ok(match user.filter(|user| user.is_called(username)) {
        None => Asked::Unknown,
        Some(user) if user.is_locked() => Asked::Refused(Reason::Locked),
        Some(_) => Asked::Refused(Reason::WrongPassword),
    })
}

#[async_trait]
impl Authenticator for Okta {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Verdict, ApiError> {
        if attempt.username.is_empty() || attempt.password.expose().is_empty() {
            return Ok(Verdict::Refused(Refusal::no_credentials()));
        }
        // What can stand in no path is the name of nobody there.
        let Some(name) = PathSegment::of(attempt.username) else {
            return Ok(Verdict::Unknown);
        };
        let Ok(_slot) = self.in_flight.try_acquire() else {
            return Err(ApiError::busy(
                "too many logins at once; try again in a moment",
                LATER,
            ));
        };
        let current = self.current.load_full();
        let started = Instant::now();
        let limit = current.tenant.login_limit();
        let mut wrong_password = false;
        let asked = self.ask(&current, attempt, &name, &mut wrong_password);
        let asked = tokio::time::timeout(limit, asked)
            .await
            .unwrap_or(Err(Fault::TimedOut(limit)));
        match asked {
            Ok(Asked::Known(identity)) => Ok(Verdict::Known(Box::new(identity))),
            Ok(Asked::Refused(reason)) => {
                if reason.is_a_guess() {
                    self.took(started.elapsed());
                }
                Ok(Verdict::Refused(refusal(reason)))
            }
            Ok(Asked::Unknown) => {
                self.took(started.elapsed());
                Ok(Verdict::Unknown)
            }
            Err(fault) if wrong_password => Ok(Verdict::Wrong(undecided(fault))),
            Err(fault) => Err(undecided(fault)),
        }
    }

    async fn pretend(&self, attempt: &Attempt<'_>) {
        if PathSegment::of(attempt.username).is_some()
            && let Some(took) = self.sample()
        {
            tokio::time::sleep(took).await;
        }
    }
}

/// What the person is told. Only those whose password was right hear more than that something is wrong.
fn refusal(reason: Reason) -> Refusal {
    let (advice, detail) = match reason {
        Reason::SecondFactor => (
            "your account needs a second factor, which cannot be asked for here; ask for a sign-on policy that lets this service in with a password",
            "the directory demands a second factor",
        ),
        Reason::NotAllowed => (
            "the sign-on policy of your directory does not let this service log you in",
            "denied by policy of the directory",
        ),
        Reason::Inactive => (
            "your account is not active: set a new password in the directory, or have it activated",
            "the account is not active",
        ),
        Reason::NoGroup => (
            "your account is in none of the groups that may log in here",
            "no group with rights",
        ),
        other => return Refusal::credentials(other),
    };
    Refusal {
        reason,
        advice: advice.into(),
        detail: detail.into(),
        whose: None,
    }
}

/// What a person hears of a tenant that cannot be asked. The log has the rest.
fn undecided(fault: Fault) -> ApiError {
    match fault {
        Fault::RateLimited(wait) => ApiError::busy(
            "the directory takes no more logins at the moment; try again later",
            wait,
        )
        .with_source(fault),
        Fault::Credentials(_) | Fault::Setup(_) => ApiError::internal(fault),
        fault => ApiError::busy(
            "the directory does not answer as it should; try again later",
            LATER,
        )
        .with_source(fault),
    }
}

impl From<Settings> for Current {
    fn from(settings: Settings) -> Self {
        Self {
            tenant: settings.tenant,
            groups: settings.groups,
        }
    }
}

#[cfg(test)]
mod tests;
