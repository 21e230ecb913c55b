//! From the text of a token to claims that can be believed.
//!
//! Two steps, because only the first may be remembered: [`Verifier::authenticate`] checks what never changes (signatures,
//! chain, purpose), [`Authentic::valid_at`] what does (the time). Only the result of the second can be used to decide.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use josekit::jwt;
use serde::Deserialize;

use super::jws::{Algorithm, KeyVerifier};
use super::{CHAIN_ISSUER_PREFIX, ORGANIZATION_ISSUER_PREFIX, TokenError};
use crate::claims::{ClientClaims, Purpose, ServerClaims, Standard};
use crate::id;
use crate::key::{Ed25519Public, VerifyingKey};

/// A longer token is refused unread. Tokens carry a whole policy, so they are not small.
const MAX_TOKEN_LEN: usize = 256 * 1024;

/// Verifies tokens with the keys that `signing_certificate` names.
///
/// For a chain the keys are organization issuers' keys, never the chain issuer's own.
#[derive(Clone)]
pub struct Verifier {
    keys: Vec<VerifyingKey>,
}

/// Claims whose signature and chain are good, at some time or other.
#[derive(Debug, Clone)]
pub struct Authentic<C>(Arc<C>);

/// Claims of a token that is good and valid now.
#[derive(Debug, Clone)]
pub struct Verified<C>(Arc<C>);

impl<C> std::ops::Deref for Verified<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

/// What a signer demands of a token's times, beyond that it is valid.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// The furthest that an expiry may be away, except for tokens of programs (`permissions.service`).
    pub max_validity: Duration,
}

impl Verifier {
    /// A verifier that trusts any of the keys.
    pub fn new(keys: Vec<VerifyingKey>) -> Self {
        Self { keys }
    }

    /// Checks everything of a client token that does not change with time.
    pub fn authenticate(&self, token: &str) -> Result<Authentic<ClientClaims>, TokenError> {
        let claims: ClientClaims = self.claims(token)?;
        if claims.standard.purpose != Purpose::Client {
            return Err(TokenError::Purpose("client"));
        }
        if claims.callerid.is_empty() {
            return Err(TokenError::Anonymous);
        }
        Ok(Authentic(Arc::new(claims)))
    }

    /// Checks everything of a server token that does not change with time.
    pub fn authenticate_server(&self, token: &str) -> Result<Authentic<ServerClaims>, TokenError> {
        let claims: ServerClaims = self.claims(token)?;
        if claims.standard.purpose != Purpose::Server {
            return Err(TokenError::Purpose("server"));
        }
        if claims.identity.is_empty() {
            return Err(TokenError::Anonymous);
        }
        Ok(Authentic(Arc::new(claims)))
    }

    /// The claims of a token that one of the keys vouches for.
    fn claims<C: for<'de> Deserialize<'de>>(&self, token: &str) -> Result<C, TokenError> {
        let (header, standard) = peek(token)?;
        let algorithm = Algorithm::named(&header.alg)?;
        if !header.typ.is_empty() && !header.typ.eq_ignore_ascii_case("JWT") {
            return Err(TokenError::Malformed("its header is not that of a JWT"));
        }
        let mut problem = TokenError::Algorithm;
        for key in &self.keys {
            match trusted_by(key, algorithm, &standard) {
                Ok(verifier) => match decode(token, &verifier) {
                    Ok(claims) => return Ok(claims),
                    Err(error) => problem = error,
                },
                // A key of another kind says nothing about the token.
                Err(TokenError::Algorithm) => {}
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }
}

/// What has to be known before a key can be chosen. Nothing of it is believed.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
}

/// Reads header and claims of a token without verifying anything.
fn peek(token: &str) -> Result<(Header, Standard), TokenError> {
    if token.len() > MAX_TOKEN_LEN {
        return Err(TokenError::Malformed("it is too long"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed("it does not have three parts"));
    };
    Ok((decode_part(header)?, decode_part(payload)?))
}

fn decode_part<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed("a part of it is not base64"))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| TokenError::Malformed("a part of it is not the JSON that a token has"))
}

/// What verifies the token's signature when `key` is trusted: the key itself, or the chain issuer that it vouches for.
fn trusted_by(
    key: &VerifyingKey,
    algorithm: Algorithm,
    standard: &Standard,
) -> Result<KeyVerifier, TokenError> {
    let chain = standard.iss.strip_prefix(CHAIN_ISSUER_PREFIX);
    let organization = standard.iss.strip_prefix(ORGANIZATION_ISSUER_PREFIX);
    match (key, algorithm) {
        (VerifyingKey::Rsa(key), Algorithm::Rsa(hash)) => {
            if chain.is_some() || organization.is_some() {
                return Err(TokenError::Chain("chains are signed with Ed25519"));
            }
            Ok(KeyVerifier::Rsa(key.clone(), hash))
        }
        (VerifyingKey::Ed25519(key), Algorithm::EdDsa) => match (chain, organization) {
            (Some(issuer), _) => chain_issuer(key, issuer, standard).map(KeyVerifier::Ed25519),
            (None, Some(issuer)) => {
                issued_by_organization(key, issuer, standard)?;
                Ok(KeyVerifier::Ed25519(key.clone()))
            }
            (None, None) => Ok(KeyVerifier::Ed25519(key.clone())),
        },
        _ => Err(TokenError::Algorithm),
    }
}

/// The key of the chain issuer, once both links hold: the organization issuer signed the chain issuer's id and key, and the
/// chain issuer signed this token's id with that signature.
fn chain_issuer(
    organization: &Ed25519Public,
    issuer: &str,
    standard: &Standard,
) -> Result<Ed25519Public, TokenError> {
    let (id, key_hex) =
        split_once_only(issuer).ok_or(TokenError::Chain("its issuer is not an id and a key"))?;
    let (first, second) = split_once_only(&standard.tcs)
        .ok_or(TokenError::Chain("it does not have two signatures"))?;
    let key = Ed25519Public::from_hex(key_hex)
        .map_err(|_| TokenError::Chain("the issuer's key is not one"))?;
    if !signed_by(organization, &format!("{id}.{}", key.to_hex()), first) {
        return Err(TokenError::Chain(
            "the organization issuer does not vouch for the issuer",
        ));
    }
    if !signed_by(&key, &format!("{}.{first}", standard.jti), second) {
        return Err(TokenError::Chain("the issuer does not vouch for the token"));
    }
    if standard.issexp.is_none() {
        return Err(TokenError::Chain(
            "it does not say how long its issuer may issue",
        ));
    }
    if standard.public_key.is_empty() {
        return Err(TokenError::Chain("it is not bound to a key"));
    }
    id_agrees_with_time(standard)?;
    Ok(key)
}

/// A token that names the organization issuer as its own must be that of the key that verifies it.
fn issued_by_organization(
    key: &Ed25519Public,
    issuer: &str,
    standard: &Standard,
) -> Result<(), TokenError> {
    if issuer != key.to_hex() {
        return Err(TokenError::Chain("it names another organization issuer"));
    }
    let data = format!("{}.{}", standard.jti, standard.public_key);
    if !standard.tcs.is_empty() && !signed_by(key, &data, &standard.tcs) {
        return Err(TokenError::Chain(
            "the organization issuer does not vouch for it",
        ));
    }
    Ok(())
}

/// The id of a token in a chain is made from the second in which the token was.
fn id_agrees_with_time(standard: &Standard) -> Result<(), TokenError> {
    match (id::made_in(&standard.jti), standard.iat) {
        (Some(made), Some(issued)) if made == issued => Ok(()),
        _ => Err(TokenError::Chain("its id was not made when it was issued")),
    }
}

/// Two parts with one dot between them, neither empty.
fn split_once_only(text: &str) -> Option<(&str, &str)> {
    let (first, second) = text.split_once('.')?;
    (!first.is_empty() && !second.is_empty() && !second.contains('.')).then_some((first, second))
}

fn signed_by(key: &Ed25519Public, data: &str, signature_hex: &str) -> bool {
    let mut signature = [0_u8; 64];
    hex::decode_to_slice(signature_hex, &mut signature).is_ok()
        && key.verify(data.as_bytes(), &signature)
}

/// Verifies the signature and reads the claims under it.
fn decode<C: for<'de> Deserialize<'de>>(
    token: &str,
    verifier: &KeyVerifier,
) -> Result<C, TokenError> {
    let (payload, _) =
        jwt::decode_with_verifier(token, verifier).map_err(|_| TokenError::Signature)?;
    let claims = serde_json::Value::Object(payload.into());
    serde_json::from_value(claims)
        .map_err(|_| TokenError::Malformed("its claims are not those of Choria"))
}

impl<C: Claims> Authentic<C> {
    /// The key that the token is bound to, in hexadecimal; empty when it is bound to none. The one claim that may be read
    /// before the time is checked: it only says whose signature to expect.
    pub fn public_key(&self) -> &str {
        &self.0.standard().public_key
    }

    /// The claims, if the token is valid now.
    ///
    /// # Errors
    /// Without expiry, expired, not valid yet, or valid for longer than the rules say.
    pub fn valid_at(
        &self,
        now: Timestamp,
        rules: Option<Rules>,
    ) -> Result<Verified<C>, TokenError> {
        let standard = self.0.standard();
        let now = now.as_second();
        let expires = standard.expires().ok_or(TokenError::Endless)?;
        if expires <= now {
            return Err(TokenError::Expired);
        }
        let future = |date: Option<i64>| date.is_some_and(|date| date > now);
        if future(standard.nbf) || future(standard.iat) {
            return Err(TokenError::NotYet);
        }
        if let Some(rules) = rules {
            let away = u64::try_from(expires.saturating_sub(now)).unwrap_or(u64::MAX);
            if !self.0.may_live_long() && away > rules.max_validity.as_secs() {
                return Err(TokenError::TooLong);
            }
        }
        Ok(Verified(Arc::clone(&self.0)))
    }
}

/// What the time rules need to know of claims.
pub trait Claims {
    /// The standard claims.
    fn standard(&self) -> &Standard;
    /// Whether the token belongs to a program, which `max_validity` does not bind.
    fn may_live_long(&self) -> bool;
}

impl Claims for ClientClaims {
    fn standard(&self) -> &Standard {
        &self.standard
    }

    fn may_live_long(&self) -> bool {
        self.permissions().service
    }
}

impl Claims for ServerClaims {
    fn standard(&self) -> &Standard {
        &self.standard
    }

    fn may_live_long(&self) -> bool {
        true
    }
}

/// Reads the claims of a token without verifying anything: for its own bearer, to show what it says. Never decide by it.
pub fn unverified<C: for<'de> Deserialize<'de>>(token: &str) -> Result<C, TokenError> {
    peek(token)?;
    decode_part(token.split('.').nth(1).unwrap_or_default())
}
