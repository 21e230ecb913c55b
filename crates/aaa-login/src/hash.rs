//! Password hashes: reading those that sites have, verifying passwords against them, making new ones.
//!
//! Two kinds exist for us: bcrypt (`$2a$`, `$2b$`, `$2y$`) and Argon2id (RFC 9106, in the PHC string format). No error here
//! quotes what it was given: what stands where a hash should be may be somebody's password.

mod argon;
mod bcrypt;

use std::fmt;

use aws_lc_rs::constant_time;
use aws_lc_rs::rand;

use argon::Argon;
use bcrypt::Bcrypt;

/// The bcrypt cost of new hashes.
pub const BCRYPT_COST: u8 = 12;
/// bcrypt reads no more of a password than this, in bytes.
pub const BCRYPT_LIMIT: usize = 72;

/// Why a hash cannot be read, made or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Not a hash at all; perhaps a password in plain text.
    #[error(
        "is not a password hash; wants bcrypt ($2a$, $2b$, $2y$) or Argon2id ($argon2id$): make one with aaa crypt"
    )]
    NotAHash,
    /// A hash, of a kind that we do not check.
    #[error(
        "is a hash of the kind {0}; wants bcrypt ($2a$, $2b$, $2y$) or Argon2id ($argon2id$): make one with aaa crypt"
    )]
    Kind(&'static str),
    /// The beginning is right, the rest is not.
    #[error("is a damaged {0} hash: make a new one with aaa crypt")]
    Damaged(&'static str),
    /// So cheap that it is no hash, or so dear that one login would take minutes.
    #[error("is a hash of {what} with {parameter} {found}; wants {min} to {max}")]
    Bounds {
        /// The kind.
        what: &'static str,
        /// Its parameter.
        parameter: &'static str,
        /// What the hash says.
        found: u32,
        /// The least that is accepted.
        min: u32,
        /// The most that is accepted.
        max: u32,
    },
    /// Nobody logs in with an empty password.
    #[error("the password is empty")]
    Empty,
    /// bcrypt would ignore the rest of it.
    #[error("bcrypt reads 72 bytes of a password and this one is longer; use argon2id")]
    TooLong,
    /// bcrypt repeats a password with a NUL between, so that one with NULs can equal another.
    #[error(
        "the password holds a NUL character, which bcrypt cannot tell from its end; use argon2id"
    )]
    Nul,
    /// No memory, or no random numbers.
    #[error("the system has no memory or no random numbers to give")]
    Resources,
}

/// A password hash, decoded once when it is read, so that a login cannot find it broken.
#[derive(Clone)]
pub struct PasswordHash(Form);

#[derive(Clone)]
enum Form {
    Bcrypt(Bcrypt),
    // Several times the size of the other, and rarer.
    Argon2id(Box<Argon>),
}

/// What a hash costs: all hashes of one kind take the same time to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// bcrypt.
    Bcrypt {
        /// The logarithm of the rounds.
        cost: u8,
    },
    /// Argon2id.
    Argon2id {
        /// Memory, in KiB.
        memory: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes, which we compute one after the other.
        lanes: u32,
    },
}

impl Kind {
    /// Of new hashes, and of those that nobody has when there are no users.
    pub const DEFAULT: Self = Self::Bcrypt { cost: BCRYPT_COST };

    /// Whether a stolen hash of this kind is found out too fast: bcrypt under a cost of 10, Argon2id under the least of
    /// OWASP's parameters (7 MiB).
    pub fn is_weak(self) -> bool {
        match self {
            Self::Bcrypt { cost } => cost < 10,
            Self::Argon2id { memory, .. } => memory < 7 * 1024,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bcrypt { cost } => write!(f, "bcrypt cost {cost}"),
            Self::Argon2id {
                memory,
                passes,
                lanes,
            } => write!(f, "Argon2id m={memory},t={passes},p={lanes}"),
        }
    }
}

impl PasswordHash {
    /// Reads a hash from its text.
    pub fn parse(text: &str) -> Result<Self, HashError> {
        if let Some(bcrypt) = Bcrypt::parse(text)? {
            return Ok(Self(Form::Bcrypt(bcrypt)));
        }
        if let Some(argon) = Argon::parse(text)? {
            return Ok(Self(Form::Argon2id(Box::new(argon))));
        }
        Err(foreign(text))
    }

    /// Whether this is the password. Takes as long for a wrong one as for the right one; see [`Self::kind`] for how long.
    ///
    /// bcrypt is done as Go does it for the existing services: of a longer password 72 bytes count, and NULs are bytes like
    /// others.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn verify(&self, password: &[u8]) -> Result<bool, HashError> {
        match &self.0 {
            Form::Bcrypt(bcrypt) => Ok(bcrypt.verify(password)),
            Form::Argon2id(argon) => argon.verify(password),
        }
    }

    /// What it costs to check.
    pub fn kind(&self) -> Kind {
        match &self.0 {
            Form::Bcrypt(bcrypt) => bcrypt.kind(),
            Form::Argon2id(argon) => argon.kind(),
        }
    }

    /// A hash of this kind that no password fits: salt and digest are random.
    pub fn decoy(kind: Kind) -> Result<Self, HashError> {
        Ok(Self(match kind {
            Kind::Bcrypt { cost } => Form::Bcrypt(Bcrypt::decoy(cost)?),
            Kind::Argon2id {
                memory,
                passes,
                lanes,
            } => Form::Argon2id(Box::new(Argon::decoy(memory, passes, lanes)?)),
        }))
    }
}

/// A new bcrypt hash (`$2b$`, [`BCRYPT_COST`]) of a password of at most [`BCRYPT_LIMIT`] bytes.
pub fn bcrypt(password: &[u8]) -> Result<String, HashError> {
    Bcrypt::of(password, BCRYPT_COST).map(|hash| hash.to_text())
}

/// A new Argon2id hash with parameters of OWASP's password storage cheat sheet: 19 MiB, two passes, one lane.
pub fn argon2id(password: &[u8]) -> Result<String, HashError> {
    Argon::of(password)
}

/// Says of what is none of our hashes what it is, as far as its beginning tells.
fn foreign(text: &str) -> HashError {
    const KINDS: &[(&str, &str)] = &[
        ("$2x$", "$2x$ (bcrypt with a known fault)"),
        ("$argon2i$", "$argon2i$"),
        ("$argon2d$", "$argon2d$"),
        ("$1$", "$1$ (MD5)"),
        ("$apr1$", "$apr1$ (MD5)"),
        ("$5$", "$5$ (SHA-256)"),
        ("$6$", "$6$ (SHA-512)"),
        ("$y$", "$y$ (yescrypt)"),
        ("$7$", "$7$ (scrypt)"),
        ("$scrypt$", "$scrypt$"),
        ("$pbkdf2", "$pbkdf2$"),
        ("{SSHA", "{SSHA}"),
        ("{SHA", "{SHA}"),
    ];
    KINDS
        .iter()
        .find(|(prefix, _)| text.starts_with(prefix))
        .map_or(HashError::NotAHash, |(_, kind)| HashError::Kind(kind))
}

fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn random<const N: usize>() -> Result<[u8; N], HashError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| HashError::Resources)?;
    Ok(bytes)
}

/// Whether a parameter of a hash is one that we accept.
fn within(
    what: &'static str,
    parameter: &'static str,
    found: u32,
    min: u32,
    max: u32,
) -> Result<(), HashError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(HashError::Bounds {
        what,
        parameter,
        found,
        min,
        max,
    })
}

#[cfg(test)]
mod tests;
