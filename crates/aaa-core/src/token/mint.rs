//! Making tokens.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use josekit::jws::JwsHeader;
use josekit::jwt::{self, JwtPayload};
use serde::Serialize;

use super::jws::KeySigner;
use super::verify::{Verifier, unverified};
use super::{CHAIN_ISSUER_PREFIX, ORGANIZATION_ISSUER_PREFIX, TokenError};
use crate::claims::{
    ClientClaims, ClientPermissions, DEFAULT_ORGANIZATION, Purpose, ServerClaims,
    ServerPermissions, Standard,
};
use crate::id;
use crate::key::{Ed25519Key, Ed25519Public, SigningKey, VerifyingKey};

/// Why a token cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The token of a chain issuer is not one that may issue.
    #[error("{0}")]
    NotAnIssuer(String),
    /// The chain issuer's own token has ended.
    #[error("the token of this issuer has expired; it can issue nothing until it gets a new one")]
    IssuerExpired,
    /// A chain needs every token bound to a key.
    #[error("tokens in a chain of trust are bound to a key, and no public key was given")]
    Unbound,
    /// The caller id is empty or has no provider.
    #[error("a caller is written <provider>=<name>")]
    Caller,
    /// The key could not sign.
    #[error("the key could not sign")]
    Signing,
}

/// Makes tokens with one key.
#[derive(Clone)]
pub struct Minter {
    issuer: Issuer,
}

#[derive(Clone)]
enum Issuer {
    /// An authenticator by itself, by its name.
    Named { key: SigningKey, name: String },
    /// The organization issuer.
    Organization(Ed25519Key),
    /// One that the organization issuer lets issue.
    Chain(Box<ChainIssuer>),
}

/// A login service in a chain of trust: a key, and the organization issuer's token that lets it issue.
#[derive(Clone)]
pub struct ChainIssuer {
    key: Ed25519Key,
    id: String,
    tcs: String,
    expires: i64,
}

/// What a client token grants.
#[derive(Debug, Clone, Default)]
pub struct Grant {
    /// Who the bearer is, `<provider>=<name>`.
    pub caller: String,
    /// Action list.
    pub agents: Vec<String>,
    /// Organization; empty for the default.
    pub organization: String,
    /// Free-form facts about the bearer.
    pub properties: BTreeMap<String, String>,
    /// Rego policy; empty for none.
    pub opa_policy: String,
    /// Rights on the network.
    pub permissions: Option<ClientPermissions>,
    /// More subjects to publish to.
    pub pub_subjects: Vec<String>,
    /// More subjects to subscribe to.
    pub sub_subjects: Vec<String>,
    /// The key that the bearer holds; `None` makes a token that works for whoever has it.
    pub public_key: Option<Ed25519Public>,
    /// How long it is valid. In a chain it ends no later than its issuer's own token.
    pub validity: Duration,
}

/// What a server token grants.
#[derive(Debug, Clone)]
pub struct ServerGrant {
    /// The name of the node.
    pub identity: String,
    /// Its collectives.
    pub collectives: Vec<String>,
    /// Organization; empty for the default.
    pub organization: String,
    /// Its rights.
    pub permissions: ServerPermissions,
    /// More subjects to publish to.
    pub pub_subjects: Vec<String>,
    /// The key that it holds.
    pub public_key: Ed25519Public,
    /// How long it is valid.
    pub validity: Duration,
}

impl ChainIssuer {
    /// Checks that the token lets the holder of the key issue.
    ///
    /// # Errors
    /// When the token is not the organization issuer's, is for another key, or has ended; the text says which.
    pub fn new(key: Ed25519Key, token: &str, now: Timestamp) -> Result<Self, MintError> {
        let not = |why: &str| MintError::NotAnIssuer(why.to_owned());
        let claims: ClientClaims =
            unverified(token.trim()).map_err(|error| MintError::NotAnIssuer(error.to_string()))?;
        let organization = claims
            .standard
            .iss
            .strip_prefix(ORGANIZATION_ISSUER_PREFIX)
            .ok_or_else(|| not("may not issue: it was not made by an organization issuer"))?;
        let organization = Ed25519Public::from_hex(organization)
            .map_err(|_| not("may not issue: its issuer is no organization issuer"))?;
        // Anybody can name an issuer; the signatures show that this one made it.
        let verifier = Verifier::new(vec![VerifyingKey::Ed25519(organization)]);
        let authentic = verifier
            .authenticate(token.trim())
            .map_err(|error| MintError::NotAnIssuer(format!("may not issue: {error}")))?;
        if claims.standard.tcs.is_empty() {
            return Err(not("may not issue: it has no trust chain signature"));
        }
        if claims.standard.public_key != key.public().to_hex() {
            return Err(not("belongs to another key than signing_key"));
        }
        match authentic.valid_at(now, None) {
            Ok(_) => Ok(()),
            Err(TokenError::Expired) => Err(MintError::IssuerExpired),
            Err(error) => Err(MintError::NotAnIssuer(format!("may not issue: {error}"))),
        }?;
        Ok(Self {
            key,
            id: claims.standard.jti.clone(),
            tcs: claims.standard.tcs.clone(),
            expires: claims.standard.expires().unwrap_or_default(),
        })
    }

    /// When it can issue no more, in unix seconds.
    pub fn expires(&self) -> i64 {
        self.expires
    }
}

impl Minter {
    /// An authenticator that verifiers know by its key; `name` goes into `iss`.
    pub fn named(key: SigningKey, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            issuer: Issuer::Named { key, name },
        }
    }

    /// The organization issuer.
    pub fn organization(key: Ed25519Key) -> Self {
        Self {
            issuer: Issuer::Organization(key),
        }
    }

    /// A login service in a chain of trust.
    pub fn chain(issuer: ChainIssuer) -> Self {
        Self {
            issuer: Issuer::Chain(Box::new(issuer)),
        }
    }

    /// When this issuer can issue no more, in unix seconds; `None` for one whose right does not end.
    pub fn expires(&self) -> Option<i64> {
        match &self.issuer {
            Issuer::Chain(chain) => Some(chain.expires),
            _ => None,
        }
    }

    /// A token for a person or a program.
    pub fn client(&self, grant: Grant, now: Timestamp) -> Result<String, MintError> {
        match grant.caller.split_once('=') {
            Some((provider, name)) if !provider.is_empty() && !name.is_empty() => {}
            _ => return Err(MintError::Caller),
        }
        let standard = self.standard(
            Purpose::Client,
            grant.public_key.as_ref(),
            grant.validity,
            now,
        )?;
        self.sign(&ClientClaims {
            callerid: grant.caller,
            agents: grant.agents,
            ou: or_default(grant.organization),
            user_properties: grant.properties,
            opa_policy: grant.opa_policy,
            permissions: grant.permissions,
            pub_subjects: grant.pub_subjects,
            sub_subjects: grant.sub_subjects,
            standard,
        })
    }

    /// A token for a node, a broker or a service.
    pub fn server(&self, grant: ServerGrant, now: Timestamp) -> Result<String, MintError> {
        let mut standard = self.standard(
            Purpose::Server,
            Some(&grant.public_key),
            grant.validity,
            now,
        )?;
        // A broker takes a server token with `tcs` for one in a chain, and refuses it for the `issexp` that only those have.
        if matches!(self.issuer, Issuer::Organization(_)) {
            standard.tcs.clear();
        }
        self.sign(&ServerClaims {
            identity: grant.identity,
            collectives: grant.collectives,
            permissions: Some(grant.permissions),
            ou: or_default(grant.organization),
            pub_subjects: grant.pub_subjects,
            standard,
        })
    }

    /// The claims that say who made the token, for how long, and for whose key.
    fn standard(
        &self,
        purpose: Purpose,
        public_key: Option<&Ed25519Public>,
        validity: Duration,
        now: Timestamp,
    ) -> Result<Standard, MintError> {
        let issued = now.as_second();
        let ends = issued.saturating_add(i64::try_from(validity.as_secs()).unwrap_or(i64::MAX));
        let mut standard = Standard {
            purpose,
            public_key: public_key.map(Ed25519Public::to_hex).unwrap_or_default(),
            exp: Some(ends),
            nbf: Some(issued),
            iat: Some(issued),
            jti: id::at(now),
            ..Standard::default()
        };
        match &self.issuer {
            Issuer::Named { name, .. } => standard.iss.clone_from(name),
            Issuer::Organization(key) => {
                if standard.public_key.is_empty() {
                    return Err(MintError::Unbound);
                }
                let data = format!("{}.{}", standard.jti, standard.public_key);
                standard.iss = format!("{ORGANIZATION_ISSUER_PREFIX}{}", key.public().to_hex());
                standard.tcs = hex::encode(key.sign(data.as_bytes()));
            }
            Issuer::Chain(chain) => chain.link(&mut standard, issued)?,
        }
        Ok(standard)
    }

    fn sign<C: Serialize>(&self, claims: &C) -> Result<String, MintError> {
        let key = match &self.issuer {
            Issuer::Named { key, .. } => key.clone(),
            Issuer::Organization(key) => SigningKey::Ed25519(key.clone()),
            Issuer::Chain(chain) => SigningKey::Ed25519(chain.key.clone()),
        };
        let Ok(serde_json::Value::Object(claims)) = serde_json::to_value(claims) else {
            return Err(MintError::Signing);
        };
        let payload = JwtPayload::from_map(claims).map_err(|_| MintError::Signing)?;
        let mut header = JwsHeader::new();
        header.set_token_type("JWT");
        jwt::encode_with_signer(&payload, &header, &KeySigner(key)).map_err(|_| MintError::Signing)
    }
}

impl ChainIssuer {
    /// Makes the claims those of a token of this issuer.
    fn link(&self, standard: &mut Standard, now: i64) -> Result<(), MintError> {
        if standard.public_key.is_empty() {
            return Err(MintError::Unbound);
        }
        if self.expires <= now {
            return Err(MintError::IssuerExpired);
        }
        let data = format!("{}.{}", standard.jti, self.tcs);
        standard.iss = format!(
            "{CHAIN_ISSUER_PREFIX}{}.{}",
            self.id,
            self.key.public().to_hex()
        );
        standard.tcs = format!(
            "{}.{}",
            self.tcs,
            hex::encode(self.key.sign(data.as_bytes()))
        );
        standard.issexp = Some(self.expires);
        standard.exp = standard.exp.map(|exp| exp.min(self.expires));
        Ok(())
    }
}

fn or_default(organization: String) -> String {
    if organization.is_empty() {
        DEFAULT_ORGANIZATION.to_owned()
    } else {
        organization
    }
}
