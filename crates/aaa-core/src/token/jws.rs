//! The crypto under JOSE: josekit's signers and verifiers, done by aws-lc-rs.

use josekit::JoseError;
use josekit::jws::{JwsAlgorithm, JwsSigner, JwsVerifier};

use super::TokenError;
use crate::key::{Ed25519Public, RsaHash, RsaPublic, SigningKey};

/// The algorithms that exist for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    EdDsa,
    Rsa(RsaHash),
}

impl Algorithm {
    /// The algorithm that a header names. Only a choice among those that a key has: see [`super::Verifier`].
    pub(super) fn named(name: &str) -> Result<Self, TokenError> {
        Ok(match name {
            "EdDSA" => Self::EdDsa,
            "RS256" => Self::Rsa(RsaHash::Sha256),
            "RS384" => Self::Rsa(RsaHash::Sha384),
            "RS512" => Self::Rsa(RsaHash::Sha512),
            _ => return Err(TokenError::Algorithm),
        })
    }
}

impl JwsAlgorithm for Algorithm {
    fn name(&self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Rsa(RsaHash::Sha256) => "RS256",
            Self::Rsa(RsaHash::Sha384) => "RS384",
            Self::Rsa(RsaHash::Sha512) => "RS512",
        }
    }

    fn box_clone(&self) -> Box<dyn JwsAlgorithm> {
        Box::new(*self)
    }
}

/// A key that verifies with the one algorithm that was chosen for it.
#[derive(Clone)]
pub(super) enum KeyVerifier {
    Ed25519(Ed25519Public),
    Rsa(RsaPublic, RsaHash),
}

impl std::fmt::Debug for KeyVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm().name())
    }
}

impl JwsVerifier for KeyVerifier {
    fn algorithm(&self) -> &dyn JwsAlgorithm {
        match self {
            Self::Ed25519(_) => &Algorithm::EdDsa,
            Self::Rsa(_, RsaHash::Sha256) => &Algorithm::Rsa(RsaHash::Sha256),
            Self::Rsa(_, RsaHash::Sha384) => &Algorithm::Rsa(RsaHash::Sha384),
            Self::Rsa(_, RsaHash::Sha512) => &Algorithm::Rsa(RsaHash::Sha512),
        }
    }

    fn key_id(&self) -> Option<&str> {
        None
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), JoseError> {
        let good = match self {
            Self::Ed25519(key) => key.verify(message, signature),
            Self::Rsa(key, hash) => key.verify(*hash, message, signature),
        };
        if good {
            Ok(())
        } else {
            Err(JoseError::InvalidSignature(
                std::io::Error::other("bad signature").into(),
            ))
        }
    }

    fn box_clone(&self) -> Box<dyn JwsVerifier> {
        Box::new(self.clone())
    }
}

/// A key that signs with the one algorithm that it has.
#[derive(Clone)]
pub(super) struct KeySigner(pub(super) SigningKey);

impl std::fmt::Debug for KeySigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.algorithm().name())
    }
}

impl JwsSigner for KeySigner {
    fn algorithm(&self) -> &dyn JwsAlgorithm {
        match self.0 {
            SigningKey::Ed25519(_) => &Algorithm::EdDsa,
            SigningKey::Rsa(_) => &Algorithm::Rsa(RsaHash::Sha256),
        }
    }

    fn key_id(&self) -> Option<&str> {
        None
    }

    fn signature_len(&self) -> usize {
        match &self.0 {
            SigningKey::Ed25519(_) => 64,
            SigningKey::Rsa(key) => key.signature_len(),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        match &self.0 {
            SigningKey::Ed25519(key) => Ok(key.sign(message).to_vec()),
            SigningKey::Rsa(key) => key
                .sign(message)
                .map_err(|error| JoseError::InvalidSignature(error.into())),
        }
    }

    fn box_clone(&self) -> Box<dyn JwsSigner> {
        Box::new(self.clone())
    }
}
