//! The keys that sign tokens, and the right to: read from files, followed, and watched until they end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use aaa_core::claims::ClientClaims;
use aaa_core::duration;
use aaa_core::key::{Ed25519Public, SigningKey};
use aaa_core::token::{ChainIssuer, Grant, MintError, Minter, unverified};
use aaa_service::config::FileContent;
use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::authenticator::Identity;

/// What `signing_key` names.
pub(crate) const KEY_WANTED: &str =
    "an RSA private key in PEM, or an Ed25519 seed of 64 hexadecimal characters";
/// What `signing_token` names.
pub(crate) const TOKEN_WANTED: &str =
    "the token of a chain issuer, signed by the organization issuer";

const KEY: &str = "signing_key";
const TOKEN: &str = "signing_token";

/// Where the key and the right to sign come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) signing_key: PathBuf,
    pub(crate) signing_token: Option<PathBuf>,
    /// What goes into `iss` when there is no chain.
    pub(crate) issuer: &'static str,
}

/// Something wrong with one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The setting.
    pub(crate) key: &'static str,
    pub(crate) text: String,
}

/// Makes tokens for those who were let in.
pub(crate) struct Mint {
    current: ArcSwap<Current>,
    told: Told,
}

struct Current {
    files: Files,
    minter: Minter,
    validity: Duration,
}

/// A token, and what a record says of it.
pub(crate) struct Minted {
    pub(crate) token: String,
    pub(crate) id: String,
    /// When it ends, in unix seconds.
    pub(crate) expires: i64,
}

impl Files {
    /// Reads what stands in the files: `signing_key` first, then `signing_token` if there is one.
    pub(crate) fn minter(&self, contents: &[FileContent], now: Timestamp) -> Result<Minter, Unfit> {
        let mut contents = contents.iter();
        let key = contents
            .next()
            .ok_or_else(|| self.unfit(KEY, "cannot be read"))?;
        let key =
            SigningKey::parse(key.bytes()).map_err(|error| self.unfit(KEY, &error.to_string()))?;
        if self.signing_token.is_none() {
            return Ok(Minter::named(key, self.issuer));
        }
        let SigningKey::Ed25519(key) = key else {
            let text = "is an RSA key; with signing_token it must be the Ed25519 seed that the token is bound to";
            return Err(self.unfit(KEY, text));
        };
        let token = contents
            .next()
            .and_then(FileContent::text)
            .ok_or_else(|| self.unfit(TOKEN, "is no token"))?;
        ChainIssuer::new(key, token, now)
            .map(Minter::chain)
            .map_err(|error| self.unfit(TOKEN, &error.to_string()))
    }

    /// The files in the order in which [`Self::minter`] wants them.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let token = self.signing_token.as_deref();
        std::iter::once(self.signing_key.as_path())
            .chain(token)
            .collect()
    }

    fn unfit(&self, key: &'static str, text: &str) -> Unfit {
        let path = match (key, &self.signing_token) {
            (TOKEN, Some(path)) => path,
            _ => &self.signing_key,
        };
        Unfit {
            key,
            text: format!("{}: {text}", path.display()),
        }
    }
}

impl Mint {
    pub(crate) fn new(files: Files, minter: Minter, validity: Duration) -> Self {
        Self {
            current: ArcSwap::from_pointee(Current {
                files,
                minter,
                validity,
            }),
            told: Told::default(),
        }
    }

    /// Takes over other settings, that were read already.
    pub(crate) fn replace(&self, files: Files, minter: Minter, validity: Duration) {
        self.current.store(Arc::new(Current {
            files,
            minter,
            validity,
        }));
        self.told.forget();
    }

    /// Takes over changed files. What cannot be used changes nothing.
    pub(crate) fn files_changed(
        &self,
        contents: &[FileContent],
        now: Timestamp,
    ) -> Result<(), String> {
        let current = self.current.load_full();
        let read: Vec<&Path> = contents.iter().map(FileContent::path).collect();
        if read != current.files.paths() {
            // Other files are configured meanwhile.
            return Ok(());
        }
        let minter = current
            .files
            .minter(contents, now)
            .map_err(|unfit| format!("{}: {}", unfit.key, unfit.text))?;
        self.replace(current.files.clone(), minter, current.validity);
        Ok(())
    }

    /// A token for somebody, bound to their key if they have shown one.
    pub(crate) fn issue(
        &self,
        identity: Identity,
        key: Option<Ed25519Public>,
        now: Timestamp,
    ) -> Result<Minted, MintError> {
        let current = self.current.load();
        let rights = identity.rights;
        let grant = Grant {
            caller: identity.caller.as_str().to_owned(),
            agents: rights.agents,
            organization: rights.organization,
            properties: rights.properties.into_iter().collect(),
            opa_policy: rights.policy.as_deref().unwrap_or_default().to_owned(),
            permissions: rights.permissions,
            public_key: key,
            validity: current.validity,
            ..Grant::default()
        };
        let token = current.minter.client(grant, now)?;
        let claims: ClientClaims = unverified(&token).map_err(|_| MintError::Signing)?;
        Ok(Minted {
            expires: claims.standard.expires().unwrap_or_default(),
            id: claims.standard.jti,
            token,
        })
    }

    /// Seconds until it can issue no more; `None` when its right does not end.
    pub(crate) fn seconds_left(&self, now: Timestamp) -> Option<i64> {
        Some(self.expires()?.saturating_sub(now.as_second()))
    }

    /// When its right ends, in unix seconds; `None` when it does not.
    pub(crate) fn expires(&self) -> Option<i64> {
        self.current.load().minter.expires()
    }

    /// What is to be said about the end of its right, once for each stage on the way there.
    pub(crate) fn warning(&self, now: Timestamp) -> Option<String> {
        let left = self.seconds_left(now)?;
        let stage = self.told.next(left)?;
        let current = self.current.load();
        let path = current
            .files
            .signing_token
            .as_deref()
            .unwrap_or(Path::new(""));
        let path = path.display();
        let left = Duration::from_secs(u64::try_from(left).unwrap_or(0));
        Some(if stage == LAST {
            format!("{path}: has expired; nobody can log in until there is a new signing_token")
        } else {
            let left = duration::human(left);
            format!(
                "{path}: expires in {left}; tokens end with it, and then nobody can log in: get a new signing_token"
            )
        })
    }
}

const DAY: i64 = 86_400;
/// The stages on the way to the end, in seconds left.
const STAGES: [i64; 4] = [30 * DAY, 7 * DAY, DAY, 0];
const LAST: u8 = 4;

/// The last stage that was told.
#[derive(Default)]
struct Told(AtomicU8);

impl Told {
    /// The stage that has come, if it was not told yet.
    fn next(&self, left: i64) -> Option<u8> {
        let reached = STAGES.iter().filter(|stage| left <= **stage).count();
        let reached = u8::try_from(reached).unwrap_or(LAST);
        let told = self.0.fetch_max(reached, Ordering::Relaxed);
        (reached > told).then_some(reached)
    }

    fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
