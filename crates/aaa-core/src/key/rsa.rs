//! RSA with PKCS#1 v1.5 (RFC 8017), 2048 bits and more.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, PublicKey};
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
};

use super::KeyError;

/// The hash under an RSA signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaHash {
    /// RS256.
    Sha256,
    /// RS384.
    Sha384,
    /// RS512.
    Sha512,
}

/// A private key. Cloning shares it.
#[derive(Clone)]
pub struct RsaKey(Arc<KeyPair>);

impl RsaKey {
    /// A key from PKCS#1 or PKCS#8 in DER.
    pub(super) fn from_der(der: &[u8], pkcs8: bool) -> Result<Self, KeyError> {
        let pair = if pkcs8 {
            KeyPair::from_pkcs8(der)
        } else {
            KeyPair::from_der(der)
        };
        let damaged = "it is damaged, or shorter than 2048 bits";
        let pair = pair.map_err(|_| KeyError::Undecodable("RSA private key", damaged))?;
        Ok(Self(Arc::new(pair)))
    }

    /// The public half.
    pub fn public(&self) -> Result<RsaPublic, KeyError> {
        RsaPublic::from_der(self.0.public_key().as_ref())
    }

    /// Signs a message with SHA-256: as long as the modulus.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let mut signature = vec![0; self.signature_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| KeyError::Signing)?;
        Ok(signature)
    }

    /// Bytes in a signature.
    pub fn signature_len(&self) -> usize {
        self.0.public_modulus_len()
    }
}

/// A public key, decoded once for each hash that it verifies with.
#[derive(Clone)]
pub struct RsaPublic(Arc<Parsed>);

struct Parsed {
    bits: usize,
    sha256: ParsedPublicKey,
    sha384: ParsedPublicKey,
    sha512: ParsedPublicKey,
}

impl RsaPublic {
    /// A key from PKCS#1 (`RSAPublicKey`) or X.509 (`SubjectPublicKeyInfo`) in DER.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let damaged = KeyError::Undecodable("RSA public key", "it is damaged, or no RSA key");
        let parse = |algorithm| ParsedPublicKey::new(algorithm, der).map_err(|_| damaged.clone());
        let key = PublicKey::from_der(der).map_err(|_| damaged.clone())?;
        Ok(Self(Arc::new(Parsed {
            bits: key.modulus_len() * 8,
            sha256: parse(&RSA_PKCS1_2048_8192_SHA256)?,
            sha384: parse(&RSA_PKCS1_2048_8192_SHA384)?,
            sha512: parse(&RSA_PKCS1_2048_8192_SHA512)?,
        })))
    }

    /// Whether the signature over the message was made by the private half. Keys under 2048 bits verify nothing.
    #[must_use]
    pub fn verify(&self, hash: RsaHash, message: &[u8], signature: &[u8]) -> bool {
        let key = match hash {
            RsaHash::Sha256 => &self.0.sha256,
            RsaHash::Sha384 => &self.0.sha384,
            RsaHash::Sha512 => &self.0.sha512,
        };
        key.verify_sig(message, signature).is_ok()
    }

    /// The size of the modulus in bits.
    pub fn bits(&self) -> usize {
        self.0.bits
    }
}

impl PartialEq for RsaPublic {
    /// Whether it is the same key, from whichever form of DER it was read.
    fn eq(&self, other: &Self) -> bool {
        let der = |key: &Self| -> Result<PublicKeyX509Der<'static>, _> { key.0.sha256.as_der() };
        matches!((der(self), der(other)), (Ok(one), Ok(other)) if one.as_ref() == other.as_ref())
    }
}

impl Eq for RsaPublic {}
