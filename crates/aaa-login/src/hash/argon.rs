//! Argon2id (RFC 9106): `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<digest>`.

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use zeroize::Zeroize as _;

use super::{HashError, Kind, random, same, within};

const WHAT: &str = "Argon2id";

/// The most memory that one login may take, in KiB. The pool checks as many at a time as there are cores.
const MAX_MEMORY: u32 = 256 * 1024;
/// The most memory times passes, in KiB: a few seconds.
const MAX_WORK: u32 = 4 * 1024 * 1024;
/// More lanes than this no tool writes.
const MAX_LANES: u32 = 64;

#[derive(Clone)]
pub(super) struct Argon {
    version: Version,
    params: Params,
    salt: Salt,
    digest: Output,
}

impl Argon {
    /// Reads a hash; `None` when it is meant as something else.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, HashError> {
        if !text.starts_with("$argon2id$") {
            return Ok(None);
        }
        let damaged = HashError::Damaged(WHAT);
        let hash = PasswordHash::new(text).map_err(|_| damaged)?;
        let version = match hash.version {
            // Without a version it is the first one, says the reference implementation.
            None => Version::V0x10,
            Some(version) => Version::try_from(version).map_err(|_| damaged)?,
        };
        let params = Params::try_from(&hash).map_err(|_| damaged)?;
        within(WHAT, "m", params.m_cost(), Params::MIN_M_COST, MAX_MEMORY)?;
        within(WHAT, "p", params.p_cost(), 1, MAX_LANES)?;
        within(WHAT, "t", params.t_cost(), 1, MAX_WORK / params.m_cost())?;
        Ok(Some(Self {
            version,
            params,
            salt: hash.salt.ok_or(damaged)?,
            digest: hash.hash.ok_or(damaged)?,
        }))
    }

    /// A new hash, as text. The parameters are the library's default, which is OWASP's second choice: m=19456, t=2, p=1.
    pub(super) fn of(password: &[u8]) -> Result<String, HashError> {
        if password.is_empty() {
            return Err(HashError::Empty);
        }
        let salt: [u8; 16] = random()?;
        let hash = Argon2::default()
            .hash_password_with_salt(password, &salt)
            .map_err(|_| HashError::Resources)?;
        Ok(hash.to_string())
    }

    pub(super) fn decoy(memory: u32, passes: u32, lanes: u32) -> Result<Self, HashError> {
        let digest: [u8; Params::DEFAULT_OUTPUT_LEN] = random()?;
        let salt: [u8; 16] = random()?;
        let damaged = HashError::Damaged(WHAT);
        Ok(Self {
            version: Version::V0x13,
            params: Params::new(memory, passes, lanes, Some(digest.len())).map_err(|_| damaged)?,
            salt: Salt::new(&salt).map_err(|_| damaged)?,
            digest: Output::new(&digest).map_err(|_| damaged)?,
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        let mut buffer = [0; Output::MAX_LENGTH];
        let out = buffer
            .get_mut(..self.digest.len())
            .ok_or(HashError::Damaged(WHAT))?;
        Argon2::new(Algorithm::Argon2id, self.version, self.params.clone())
            .hash_password_into(password, &self.salt, out)
            .map_err(|_| HashError::Resources)?;
        let good = same(out, self.digest.as_bytes());
        buffer.zeroize();
        Ok(good)
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::Argon2id {
            memory: self.params.m_cost(),
            passes: self.params.t_cost(),
            lanes: self.params.p_cost(),
        }
    }
}
