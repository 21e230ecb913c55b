//! The keys of a signer: those that it verifies tokens with, and those that it signs requests with.

use std::sync::Arc;

use aaa_core::claims::ClientClaims;
use aaa_core::key::{Ed25519Public, VerifyingKey};
use aaa_core::request::Version;
use aaa_core::secure_request::RequestSigner;
use aaa_core::token::{Authentic, Rules, TokenError, Verified, Verifier};
use jiff::Timestamp;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Tokens that are remembered at most, however short they are.
const REMEMBERED_TOKENS: usize = 10_000;
/// Bytes of tokens that are remembered at most.
const REMEMBERED_BYTES: u64 = 8 * 1024 * 1024;

/// One set of keys, swapped whole when any of their files changes. What was verified with the old ones is forgotten with them.
pub struct Keys {
    verifier: Verifier,
    signers: Vec<RequestSigner>,
    remembered: Cache<Digest, Arc<Bearer>, ByLength>,
}

type Digest = [u8; 32];

/// A token whose signature and chain are good, with what is worked out of it once.
pub struct Bearer {
    authentic: Authentic<ClientClaims>,
    /// The key that the bearer must have signed the request with; `None` when the token is bound to none.
    pub key: Option<Ed25519Public>,
    length: usize,
}

#[derive(Clone)]
struct ByLength;

impl Weighter<Digest, Arc<Bearer>> for ByLength {
    fn weight(&self, _: &Digest, bearer: &Arc<Bearer>) -> u64 {
        // The claims take about as much as the text, and the entry a little on top.
        (bearer.length as u64).saturating_mul(2).saturating_add(512)
    }
}

impl Bearer {
    /// The claims, if the token is valid now.
    pub fn valid_at(
        &self,
        now: Timestamp,
        rules: Rules,
    ) -> Result<Verified<ClientClaims>, TokenError> {
        self.authentic.valid_at(now, Some(rules))
    }
}

impl Keys {
    /// Keys to verify tokens with, any of them, and keys to sign with, at most one for each version.
    pub fn new(verifying: Vec<VerifyingKey>, signers: Vec<RequestSigner>) -> Self {
        Self {
            verifier: Verifier::new(verifying),
            signers,
            remembered: Cache::with_weighter(REMEMBERED_TOKENS, REMEMBERED_BYTES, ByLength),
        }
    }

    /// Whether a trusted issuer made the token. Remembered by digest: signatures do not change, and nothing else is.
    ///
    /// # Errors
    /// Why it is not to be trusted. Refusals are not remembered, so a flood of bad tokens pushes no good one out.
    pub fn authenticate(&self, token: &str) -> Result<Arc<Bearer>, TokenError> {
        let digest = digest(token);
        if let Some(bearer) = self.remembered.get(&digest) {
            return Ok(bearer);
        }
        let authentic = self.verifier.authenticate(token)?;
        let key = match authentic.public_key() {
            "" => None,
            hex => Some(
                Ed25519Public::from_hex(hex)
                    .map_err(|_| TokenError::Malformed("its public key is not one"))?,
            ),
        };
        let bearer = Arc::new(Bearer {
            authentic,
            key,
            length: token.len(),
        });
        self.remembered.insert(digest, Arc::clone(&bearer));
        Ok(bearer)
    }

    /// What signs requests of this version, if this signer has it.
    pub fn signer(&self, version: Version) -> Option<&RequestSigner> {
        self.signers
            .iter()
            .find(|signer| signer.version() == version)
    }
}

fn digest(token: &str) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    let mut bytes = Digest::default();
    for (to, from) in bytes.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    bytes
}
