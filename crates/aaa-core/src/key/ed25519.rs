//! Ed25519 (RFC 8032), in the forms that Choria keeps it: seeds and public keys of 64 hexadecimal characters.

use std::sync::Arc;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, ParsedPublicKey};
use zeroize::Zeroize as _;

use super::{KeyError, pem};
use crate::secret::Secret;

/// A private key. Cloning shares it.
#[derive(Clone)]
pub struct Ed25519Key {
    pair: Arc<Ed25519KeyPair>,
    public: Ed25519Public,
}

impl Ed25519Key {
    /// A new random key.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_pair(Ed25519KeyPair::generate().map_err(|_| KeyError::Signing)?)
    }

    /// A key from its seed of 64 hexadecimal characters.
    pub fn from_seed_hex(text: &str) -> Result<Self, KeyError> {
        let mut seed = [0_u8; 32];
        decode_hex(text, "a seed", &mut seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        seed.zeroize();
        Self::from_pair(pair.map_err(|_| KeyError::Hex("a seed"))?)
    }

    /// A key from the content of a seed file: the seed, and white space around it.
    pub fn from_seed_file(file: &[u8]) -> Result<Self, KeyError> {
        if let Some(found) = pem::label(file) {
            return Err(KeyError::Kind {
                found,
                wanted: "a seed of 64 hexadecimal characters",
            });
        }
        Self::from_seed_hex(pem::one_line(file, "a seed")?)
    }

    fn from_pair(pair: Ed25519KeyPair) -> Result<Self, KeyError> {
        let public = Ed25519Public::from_bytes(pair.public_key().as_ref())?;
        Ok(Self {
            pair: Arc::new(pair),
            public,
        })
    }

    /// The public half.
    pub fn public(&self) -> Ed25519Public {
        self.public.clone()
    }

    /// The seed as a seed file holds it.
    pub fn seed_hex(&self) -> Secret<String> {
        let seed = self.pair.seed().and_then(|seed| seed.as_be_bytes());
        Secret::new(
            seed.map(|seed| hex::encode(seed.as_ref()))
                .unwrap_or_default(),
        )
    }

    /// Signs a message; 64 bytes.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0_u8; 64];
        let signature = self.pair.sign(message);
        for (to, from) in bytes.iter_mut().zip(signature.as_ref()) {
            *to = *from;
        }
        bytes
    }
}

/// A public key, decoded once.
#[derive(Clone)]
pub struct Ed25519Public {
    bytes: [u8; 32],
    parsed: Arc<ParsedPublicKey>,
}

impl Ed25519Public {
    /// A key from 64 hexadecimal characters.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0_u8; 32];
        decode_hex(text, "a public key", &mut bytes)?;
        Self::from_bytes(&bytes)
    }

    /// A key from its 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let undecodable = KeyError::Undecodable("Ed25519 public key", "it is not 32 bytes");
        let fixed = <[u8; 32]>::try_from(bytes).map_err(|_| undecodable.clone())?;
        let parsed = ParsedPublicKey::new(&ED25519, fixed).map_err(|_| undecodable)?;
        Ok(Self {
            bytes: fixed,
            parsed: Arc::new(parsed),
        })
    }

    /// The key as a public file holds it.
    pub fn to_hex(&self) -> String {
        hex::encode(self.bytes)
    }

    /// Whether the signature (64 bytes; another length is never good) over the message was made by the private half.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl PartialEq for Ed25519Public {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Ed25519Public {}

impl std::fmt::Debug for Ed25519Public {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// 64 hexadecimal characters into 32 bytes.
fn decode_hex(text: &str, what: &'static str, into: &mut [u8; 32]) -> Result<(), KeyError> {
    let found = text.chars().count();
    if found != 64 {
        return Err(KeyError::Length { what, found });
    }
    hex::decode_to_slice(text, into).map_err(|_| KeyError::Hex(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_vector_of_rfc_8032() {
        let key = Ed25519Key::from_seed_hex(
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        )
        .unwrap();
        assert_eq!(
            key.public().to_hex(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert!(hex::encode(key.sign(b"")).starts_with("e5564300c360ac729086e2cc806e828a"));
        assert_eq!(
            key.seed_hex().expose(),
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
        );
    }

    #[test]
    fn only_the_right_key_message_and_length_verify() {
        let key = Ed25519Key::generate().unwrap();
        let signature = key.sign(b"message");
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"massage", &signature));
        assert!(!key.public().verify(b"message", &signature[..63]));
        assert!(!key.public().verify(b"message", b""));
        let other = Ed25519Key::generate().unwrap();
        assert!(!other.public().verify(b"message", &signature));
    }
}
