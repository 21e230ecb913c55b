//! bcrypt: `$2b$<cost>$<22 characters of salt><31 characters of digest>`.

use base64::Engine as _;
use base64::alphabet::BCRYPT;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::{BCRYPT_LIMIT, HashError, Kind, random, same, within};

const WHAT: &str = "bcrypt";

/// The characters of a salt hold four bits more than the salt, and some programs leave them set. Go does not mind either.
const ALPHABET: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Go's least, and the most with which a login takes seconds rather than minutes.
const COSTS: (u8, u8) = (4, 18);

#[derive(Clone)]
pub(super) struct Bcrypt {
    cost: u8,
    salt: [u8; 16],
    digest: [u8; 23],
}

impl Bcrypt {
    /// Reads a hash; `None` when it is meant as something else.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, HashError> {
        let Some(rest) = ["$2a$", "$2b$", "$2y$"]
            .iter()
            .find_map(|prefix| text.strip_prefix(prefix))
        else {
            return Ok(None);
        };
        let damaged = HashError::Damaged(WHAT);
        let (cost, rest) = rest.split_once('$').ok_or(damaged)?;
        if cost.len() != 2 || rest.len() != 53 || !cost.bytes().all(|b| b.is_ascii_digit()) {
            return Err(damaged);
        }
        let cost: u8 = cost.parse().map_err(|_| damaged)?;
        within(WHAT, "cost", cost.into(), COSTS.0.into(), COSTS.1.into())?;
        let (salt, digest) = rest.split_at_checked(22).ok_or(damaged)?;
        Ok(Some(Self {
            cost,
            salt: decode(salt)?,
            digest: decode(digest)?,
        }))
    }

    pub(super) fn of(password: &[u8], cost: u8) -> Result<Self, HashError> {
        if password.is_empty() {
            return Err(HashError::Empty);
        }
        if password.len() > BCRYPT_LIMIT {
            return Err(HashError::TooLong);
        }
        if password.contains(&0) {
            return Err(HashError::Nul);
        }
        let salt = random()?;
        Ok(Self {
            cost,
            salt,
            digest: digest(cost, salt, password),
        })
    }

    pub(super) fn decoy(cost: u8) -> Result<Self, HashError> {
        Ok(Self {
            cost,
            salt: random()?,
            digest: random()?,
        })
    }

    pub(super) fn verify(&self, password: &[u8]) -> bool {
        same(&digest(self.cost, self.salt, password), &self.digest)
    }

    pub(super) fn kind(&self) -> Kind {
        Kind::Bcrypt { cost: self.cost }
    }

    pub(super) fn to_text(&self) -> String {
        let (salt, digest) = (ALPHABET.encode(self.salt), ALPHABET.encode(self.digest));
        format!("$2b${:02}${salt}{digest}", self.cost)
    }
}

fn decode<const N: usize>(text: &str) -> Result<[u8; N], HashError> {
    let bytes = ALPHABET
        .decode(text)
        .map_err(|_| HashError::Damaged(WHAT))?;
    <[u8; N]>::try_from(bytes).map_err(|_| HashError::Damaged(WHAT))
}

/// The first 23 bytes of bcrypt's output, which are all that hashes hold.
fn digest(cost: u8, salt: [u8; 16], password: &[u8]) -> [u8; 23] {
    // The password and a NUL, as far as 72 bytes go.
    let mut key = Zeroizing::new([0_u8; BCRYPT_LIMIT]);
    for (to, from) in key.iter_mut().zip(password) {
        *to = *from;
    }
    let used = (password.len() + 1).min(BCRYPT_LIMIT);
    let output = bcrypt::bcrypt(cost.into(), salt, key.get(..used).unwrap_or_default());
    let mut digest = [0; 23];
    for (to, from) in digest.iter_mut().zip(output) {
        *to = from;
    }
    digest
}
