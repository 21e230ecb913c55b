//! Tokens: JWTs (RFC 7519) in the compact form of JWS (RFC 7515), signed with RS256, RS384, RS512 or `EdDSA`.
//!
//! Three kinds of issuers make them:
//!
//! * an authenticator by itself, whose key the verifier knows;
//! * the organization issuer: `iss` is `I-<its key>`, `tcs` its signature over `<jti>.<public_key>`;
//! * a chain issuer, whom the organization issuer has given a token that may issue: `iss` is
//!   `C-<id of that token>.<its public key>`, and `tcs` joins that token's `tcs` with the chain issuer's signature over
//!   `<jti>.<that tcs>`.
//!
//! A verifier of a chain knows the organization issuer's key only, and checks every link.

mod jws;
mod mint;
mod verify;

pub use mint::{ChainIssuer, Grant, MintError, Minter, ServerGrant};
pub use verify::{Authentic, Claims, Rules, Verified, Verifier, unverified};

/// What precedes the organization issuer's key in `iss`.
pub const ORGANIZATION_ISSUER_PREFIX: &str = "I-";
/// What precedes a chain issuer's id and key in `iss`.
pub const CHAIN_ISSUER_PREFIX: &str = "C-";

/// Why a token is not valid. The texts are for logs and for those who look at their own token; what a stranger is told is
/// decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not three parts of base64 with JSON in them.
    #[error("it is no token: {0}")]
    Malformed(&'static str),
    /// An algorithm that the keys at hand do not have.
    #[error(
        "its algorithm is not one that the configured keys verify (RS256, RS384, RS512 for RSA keys, EdDSA for Ed25519 keys)"
    )]
    Algorithm,
    /// No key verifies the signature.
    #[error("its signature was not made by a trusted issuer")]
    Signature,
    /// A chain with a broken link.
    #[error("its chain of trust is broken: {0}")]
    Chain(&'static str),
    /// A token for something else.
    #[error("it is not a {0} token")]
    Purpose(&'static str),
    /// No caller id, or no identity.
    #[error("it does not say whose it is")]
    Anonymous,
    /// No `exp`.
    #[error("it has no expiry")]
    Endless,
    /// Past its end, or its issuer's.
    #[error("it has expired")]
    Expired,
    /// `nbf` or `iat` in the future.
    #[error("it is not valid yet; check the clocks of this host and of the login service")]
    NotYet,
    /// `exp` further away than `max_validity`.
    #[error("it is valid for longer than this service accepts (max_validity)")]
    TooLong,
}
