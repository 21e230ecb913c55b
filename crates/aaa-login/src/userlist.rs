//! The `userlist` authenticator: users and password hashes in the configuration, in a file, or in both.
//!
//! A name that stands in both is an error: which of the two passwords is right must not depend on the order of reading.

use std::hash::RandomState;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use aaa_api::error::ApiError;
use aaa_core::caller::CallerId;
use aaa_service::config::FileContent;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use serde_json::Value;

use crate::authenticator::{Attempt, Authenticator, Identity, Reason, Refusal, Verdict};
use crate::hash::HashError;
use crate::meter::Meter;
use crate::pool::{HashPool, PoolError};
use crate::users::{FileText, Reader, Stamps, USERS_FILE_LIMIT, Users, stamp};

/// The name of this authenticator.
pub(crate) const NAME: &str = "userlist";
/// What stands in `iss` of its tokens, when they are in no chain.
pub(crate) const ISSUER: &str = "Choria Userlist Authenticator";
/// What stands before the name in its caller ids.
const PROVIDER: &str = "up";

/// Checks names and passwords against a list.
pub(crate) struct Userlist {
    users: ArcSwap<Users>,
    source: Mutex<Followed>,
    pool: Arc<HashPool>,
    /// Which decoy a name that nobody has is checked against stays the same while the service runs.
    seed: RandomState,
    meter: Meter,
}

/// Where users come from.
#[derive(Clone, PartialEq)]
pub(crate) struct Source {
    /// Those in the configuration itself.
    pub(crate) inline: Vec<Value>,
    pub(crate) users_file: Option<PathBuf>,
}

/// Where users came from, and what their policy files looked like then.
struct Followed {
    source: Source,
    policies: Stamps,
}

impl Userlist {
    pub(crate) fn new(source: Source, users: Users, pool: Arc<HashPool>, meter: Meter) -> Self {
        meter.users(NAME, users.len());
        Self {
            source: Mutex::new(Followed {
                policies: users.policy_files().clone(),
                source,
            }),
            users: ArcSwap::from_pointee(users),
            pool,
            seed: RandomState::new(),
            meter,
        }
    }

    /// Takes over other users, that were read already.
    pub(crate) fn replace(&self, source: Source, users: Users) {
        let mut followed = self.lock();
        followed.source = source;
        self.put(&mut followed, users);
    }

    /// Takes over a changed users file, and reads the policy files again. What has a fault changes nothing.
    pub(crate) fn file_changed(&self, content: &FileContent) -> Result<(), String> {
        let mut followed = self.lock();
        if followed.source.users_file.as_deref() != Some(content.path()) {
            // Another file is configured meanwhile.
            return Ok(());
        }
        self.read(&mut followed, Some(content))
    }

    /// Looks whether a policy file has changed, and if so reads all users again. `Ok(false)` when none has.
    pub(crate) fn look_at_policies(&self) -> Result<bool, String> {
        let mut followed = self.lock();
        let now: Stamps = followed
            .policies
            .keys()
            .map(|path| (path.clone(), stamp(path)))
            .collect();
        if now == followed.policies {
            return Ok(false);
        }
        // Whatever comes of it, this change is dealt with.
        followed.policies = now;
        let content = match followed.source.users_file.as_deref() {
            None => None,
            Some(path) => Some(
                FileContent::read(path, USERS_FILE_LIMIT)
                    .map_err(|error| format!("{}: {error}", path.display()))?,
            ),
        };
        self.read(&mut followed, content.as_ref()).map(|()| true)
    }

    fn read(&self, followed: &mut Followed, content: Option<&FileContent>) -> Result<(), String> {
        let mut reader = Reader::default();
        reader.inline(&followed.source.inline);
        if let Some(content) = content {
            let text = content
                .text()
                .ok_or_else(|| format!("{}: is not UTF-8", content.path().display()))?;
            reader.file(FileText(text));
        }
        let outcome = reader.finish();
        let file = content.map(FileContent::path);
        for warning in outcome.warnings.lines(file) {
            tracing::warn!("{warning}");
        }
        match outcome.users {
            Ok(users) => {
                if let Some(weakness) = users.weakness() {
                    tracing::warn!("{weakness}");
                }
                self.put(followed, users);
                Ok(())
            }
            Err(faults) => {
                // A policy that was missing may be there soon.
                followed.policies.extend(outcome.policy_files);
                Err(faults.lines(file).join("; "))
            }
        }
    }

    fn put(&self, followed: &mut Followed, users: Users) {
        followed.policies = users.policy_files().clone();
        self.meter.users(NAME, users.len());
        tracing::info!(users = users.len(), "users read");
        self.users.store(Arc::new(users));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Followed> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Userlist {
    /// Whether it is the password of this name; takes the same time for a name that nobody has.
    async fn check(&self, users: &Users, attempt: &Attempt<'_>) -> Result<bool, ApiError> {
        let hash = users.hash_for(attempt.username, &self.seed).clone();
        let password = attempt.password.clone();
        self.pool
            .run(move || hash.verify(password.expose().as_bytes()))
            .await
            .map_err(overloaded)?
            .map_err(|error: HashError| ApiError::internal(error))
    }
}

#[async_trait]
impl Authenticator for Userlist {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Verdict, ApiError> {
        if attempt.username.is_empty() || attempt.password.expose().is_empty() {
            return Ok(Verdict::Refused(Refusal::no_credentials()));
        }
        let users = self.users.load_full();
        let good = self.check(&users, attempt).await?;
        Ok(match (users.get(attempt.username), good) {
            (Some(user), true) => Verdict::Known(Box::new(Identity {
                caller: CallerId::new(format!("{PROVIDER}={}", attempt.username)),
                rights: user.rights.clone(),
            })),
            (Some(_), false) => Verdict::Refused(Refusal::credentials(Reason::WrongPassword)),
            (None, _) => Verdict::Unknown,
        })
    }

    async fn pretend(&self, attempt: &Attempt<'_>) {
        let users = self.users.load_full();
        // When it is overloaded, names that nobody has are turned away as early.
        let _ = self.check(&users, attempt).await;
    }
}

fn overloaded(error: PoolError) -> ApiError {
    match error {
        PoolError::Full(wait) => {
            ApiError::busy("too many logins at once; try again in a moment", wait)
        }
        PoolError::Broken => ApiError::internal(error),
    }
}

#[cfg(test)]
mod tests;
