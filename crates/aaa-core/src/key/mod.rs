//! Keys that sign and verify, and the files they come in.
//!
//! The key decides which algorithms are possible, never the message: an RSA key knows RS256, RS384 and RS512, an Ed25519 key
//! knows EdDSA, and there is nothing else.

mod ed25519;
mod pem;
mod rsa;

pub use ed25519::{Ed25519Key, Ed25519Public};
pub use pem::{certificate_end, certificate_public_key};
pub use rsa::{RsaHash, RsaKey, RsaPublic};

/// Why a key cannot be had from what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A seed or public file of the wrong length.
    #[error("{found} characters; {what} is 64 hexadecimal characters")]
    Length {
        /// A seed, or a public key.
        what: &'static str,
        /// How many characters there are.
        found: usize,
    },
    /// 64 characters, but not hexadecimal.
    #[error("not hexadecimal; {0} is 64 hexadecimal characters")]
    Hex(&'static str),
    /// PEM of another kind than what is wanted.
    #[error("holds a {found}; {wanted} is wanted")]
    Kind {
        /// What the file holds.
        found: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The right kind, but it does not decode.
    #[error("the {0} in it cannot be read: {1}")]
    Undecodable(&'static str, &'static str),
    /// A signature could not be made; only memory or the random generator can be the reason.
    #[error("the key could not sign")]
    Signing,
}

/// A key that verifies.
#[derive(Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// Verifies `EdDSA`, and chains of trust.
    Ed25519(Ed25519Public),
    /// Verifies RS256, RS384 and RS512.
    Rsa(RsaPublic),
}

impl VerifyingKey {
    /// Reads what `signing_certificate` may name: an RSA public key or an X.509 certificate in PEM, or a public file of 64
    /// hexadecimal characters.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        if pem::looks_like_pem(file) {
            return pem::public_key(file);
        }
        let text = pem::one_line(file, "a public key")?;
        Ed25519Public::from_hex(text).map(Self::Ed25519)
    }

    /// What the key is, for people: its kind and the first characters of its fingerprint.
    pub fn describe(&self) -> String {
        match self {
            Self::Ed25519(key) => format!("Ed25519 {}…", key.to_hex().get(..8).unwrap_or_default()),
            Self::Rsa(key) => format!("RSA {}", key.bits()),
        }
    }
}

/// A key that signs tokens.
#[derive(Clone)]
pub enum SigningKey {
    /// Signs `EdDSA`; the only one that can issue in a chain.
    Ed25519(Ed25519Key),
    /// Signs RS256.
    Rsa(RsaKey),
}

impl SigningKey {
    /// Reads what `signing_key` may name: an RSA private key in PEM (PKCS#1 or PKCS#8), or a seed file of 64 hexadecimal
    /// characters.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        if pem::looks_like_pem(file) {
            return pem::private_key(file).map(Self::Rsa);
        }
        Ed25519Key::from_seed_file(file).map(Self::Ed25519)
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> Result<VerifyingKey, KeyError> {
        Ok(match self {
            Self::Ed25519(key) => VerifyingKey::Ed25519(key.public()),
            Self::Rsa(key) => VerifyingKey::Rsa(key.public()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(file: &[u8]) -> String {
        SigningKey::parse(file).err().unwrap().to_string()
    }

    #[test]
    fn a_seed_file_may_end_with_a_newline() {
        let key = Ed25519Key::generate().unwrap();
        let seed = key.seed_hex();
        for text in [
            seed.expose().clone(),
            format!("{}\n", seed.expose()),
            format!(" {}\r\n", seed.expose()),
        ] {
            let Ok(SigningKey::Ed25519(read)) = SigningKey::parse(text.as_bytes()) else {
                panic!("not read: {text:?}");
            };
            assert_eq!(read.public(), key.public());
        }
    }

    #[test]
    fn errors_say_what_is_wanted() {
        assert_eq!(
            error("a".repeat(65).as_bytes()),
            "65 characters; a seed is 64 hexadecimal characters"
        );
        assert_eq!(
            error("g".repeat(64).as_bytes()),
            "not hexadecimal; a seed is 64 hexadecimal characters"
        );
        assert_eq!(
            error(b""),
            "0 characters; a seed is 64 hexadecimal characters"
        );
        assert_eq!(
            error(b"\xff\xfe"),
            "not hexadecimal; a seed is 64 hexadecimal characters"
        );
        assert_eq!(
            error(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "holds a CERTIFICATE; an RSA private key (PKCS#1 or PKCS#8) or a seed is wanted"
        );
        assert_eq!(
            error(b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n"),
            "the RSA private key in it cannot be read: it is damaged, or shorter than 2048 bits"
        );
    }
}
