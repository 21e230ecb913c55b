//! Being logged in: a token, and the key that it is bound to, in the files that the stock client reads.

use std::path::PathBuf;

use aaa_core::claims::ClientClaims;
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_core::token;

use crate::client_config::ClientConfig;
use crate::failure::Failure;
use crate::files::{self, Mode};

/// Where a login is kept.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The token.
    pub token_file: PathBuf,
    /// The seed of the key that the token is bound to.
    pub seed_file: PathBuf,
}

/// A token as its bearer sees it: nothing of it has been verified, for only services can.
pub(crate) struct Token {
    /// The token as it goes over the wire.
    pub text: String,
    /// What it says.
    pub claims: ClientClaims,
}

impl Session {
    /// The session of this configuration.
    pub(crate) fn of(config: &ClientConfig) -> Result<Self, Failure> {
        Ok(Self {
            token_file: config.token_file()?,
            seed_file: config.seed_file()?,
        })
    }

    /// The token.
    ///
    /// # Errors
    /// Exit code 4 when there is none.
    pub(crate) fn token(&self) -> Result<Token, Failure> {
        let place = files::short(&self.token_file);
        if !self.token_file.exists() {
            return Err(Failure::login_needed(format!(
                "not logged in: there is no token in {place}; log in with: aaa login"
            )));
        }
        let text = files::read_text(&self.token_file)?.trim().to_owned();
        let claims = token::unverified(&text).map_err(|error| {
            Failure::login_needed(format!(
                "{place} holds no token that can be used: {error}; log in with: aaa login"
            ))
        })?;
        Ok(Token { text, claims })
    }

    /// The key that the token is bound to; `None` when the token is bound to none.
    ///
    /// # Errors
    /// Exit code 4 when the key is not there, or is another one.
    pub(crate) fn key(&self, claims: &ClientClaims) -> Result<Option<Ed25519Key>, Failure> {
        if claims.standard.public_key.is_empty() {
            return Ok(None);
        }
        let place = files::short(&self.seed_file);
        let needed = |what: &str| {
            Failure::login_needed(format!("{place} {what}; log in again with: aaa login"))
        };
        if !self.seed_file.exists() {
            return Err(needed(
                "is missing: it holds the key that the token is bound to",
            ));
        }
        let seed = files::read_secret(&self.seed_file)?;
        let key = Ed25519Key::from_seed_file(seed.expose())
            .map_err(|error| needed(&format!("holds no key: {error}")))?;
        if key.public().to_hex() != claims.standard.public_key {
            return Err(needed("holds another key than the token is bound to"));
        }
        Ok(Some(key))
    }

    /// Keeps a new login. Both files are written before either is moved to its place, the key first: a token never stands beside
    /// a key that is not its own for longer than between two renames.
    pub(crate) fn keep(&self, token: &str, seed: &Secret<String>) -> Result<(), Failure> {
        let seed = files::stage(&self.seed_file, Mode::Private, seed.expose().as_bytes())?;
        let token = files::stage(&self.token_file, Mode::Private, token.as_bytes())?;
        seed.over()?;
        token.over()
    }

    /// Ends the login: the files that were removed.
    pub(crate) fn end(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut removed = Vec::new();
        for file in [&self.token_file, &self.seed_file] {
            if files::remove(file)? {
                removed.push(file.clone());
            }
        }
        Ok(removed)
    }
}
