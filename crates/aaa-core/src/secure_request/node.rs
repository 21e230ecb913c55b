//! What a node checks before it obeys: the same checks, in the same order, to show a person whether it would.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::{PROTOCOL_V1, PROTOCOL_V2, V1, V2};
use crate::claims::ClientClaims;
use crate::key::{Ed25519Public, RsaHash, VerifyingKey, certificate_public_key};
use crate::request::{Request, Version};
use crate::token::{TokenError, Verified, Verifier, unverified};

/// What a node trusts.
#[derive(Clone, Default)]
pub struct NodeTrust {
    /// v1: the CA certificates, in DER.
    pub authorities: Vec<CertificateDer<'static>>,
    /// v2: the organization issuer, where there is one whatever organization a token names.
    pub issuer: Option<Ed25519Public>,
    /// v2: the issuers of organizations. With any of them the `ou` of the token that signed chooses.
    pub organizations: BTreeMap<String, Ed25519Public>,
    /// The collectives that it belongs to; empty for any.
    pub collectives: Vec<String>,
}

/// A secure request that a node would obey.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The request inside.
    pub request: Request,
    /// The caller that the node would put on record.
    pub caller: String,
    /// Who vouches for the caller: the name in the certificate, the caller id of the delegator's token, or the caller itself.
    pub signer: String,
}

/// Why a node would not obey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// Not a secure request of v1 or v2.
    #[error("it is no secure request: {0}")]
    Malformed(String),
    /// What to check with was not given.
    #[error("{0}")]
    NothingToCheckWith(&'static str),
    /// The certificate was not issued by the CA, has ended, or is not for clients.
    #[error("the certificate is not one of the CA's")]
    Certificate,
    /// The certificate is fine, but may not set another's name.
    #[error(
        "certificate {0} may not speak for others: no name of it ends in .privileged.mcollective or .privileged.choria"
    )]
    NotPrivileged(String),
    /// The signature does not fit.
    #[error("the signature was not made by the {0}'s key over this request")]
    Signature(&'static str),
    /// A token that the node would not take.
    #[error("the {who}'s token is refused: {why}")]
    Token {
        /// Caller or signer.
        who: &'static str,
        /// Why.
        why: TokenError,
    },
    /// Organizations have issuers of their own, and that of the signing token has none.
    #[error("no issuer is trusted for the organization {0:?}")]
    Organization(String),
    /// As a signer answers it: nobody has put the caller's token into it yet.
    #[error(
        "the signer's token stands in for the caller's; put your own into \"caller\" before it is published, as Choria's clients do"
    )]
    NoCaller,
    /// Signed by its caller, who is to have others sign.
    #[error(
        "the caller's token has signed_fleet_management: a delegator must sign what it asks for"
    )]
    NotDelegated,
    /// Signed by its caller in another's name.
    #[error("it is in the name of {0}, and nobody but the caller has signed it")]
    AnotherName(String),
    /// The token lacks a right.
    #[error("the {0}'s token has no {1} permission")]
    Permission(&'static str, &'static str),
    /// Outside ± ttl of the request's time.
    #[error("it is outside its time to live")]
    Expired,
    /// A collective that the node is not in.
    #[error("it is for collective {0}")]
    Collective(String),
}

impl NodeTrust {
    /// Whether a node that trusts this would obey the secure request now.
    ///
    /// # Errors
    /// The first check that fails, in the order in which a node makes them.
    pub fn check(&self, secure: &[u8], now: Timestamp) -> Result<Accepted, NotAccepted> {
        #[derive(serde::Deserialize)]
        struct Protocol {
            protocol: String,
        }
        let Protocol { protocol } = parse(secure)?;
        let accepted = match protocol.as_str() {
            PROTOCOL_V1 => self.check_v1(&parse(secure)?, now),
            PROTOCOL_V2 => self.check_v2(&parse(secure)?, now),
            _ => Err(NotAccepted::Malformed("its protocol is unknown".to_owned())),
        }?;
        self.check_request(&accepted.request, now)?;
        Ok(accepted)
    }

    fn check_v1(&self, secure: &V1<'_>, now: Timestamp) -> Result<Accepted, NotAccepted> {
        if self.authorities.is_empty() {
            return Err(NotAccepted::NothingToCheckWith(
                "a v1 request needs the CA certificate to check with",
            ));
        }
        let der = CertificateDer::from_pem_slice(secure.pubcert.as_bytes())
            .map_err(|_| NotAccepted::Certificate)?;
        issued_by(&self.authorities, &der, now)?;
        let key = certificate_public_key(&der).map_err(|_| NotAccepted::Certificate)?;
        let signature = from_base64(&secure.signature)?;
        if !key.verify(RsaHash::Sha256, secure.message.as_bytes(), &signature) {
            return Err(NotAccepted::Signature("certificate"));
        }
        let request = request(secure.message.as_bytes(), Version::V1)?;
        let caller = request.claimed_caller().to_owned();
        let signer = may_speak_for(&der, &caller)?;
        Ok(Accepted {
            request,
            caller,
            signer,
        })
    }

    fn check_v2(&self, secure: &V2<'_>, now: Timestamp) -> Result<Accepted, NotAccepted> {
        let bytes = from_base64(&secure.request)?;
        let delegated = !secure.signer.is_empty();
        let (who, token) = if delegated {
            ("signer", &secure.signer)
        } else {
            ("caller", &secure.caller)
        };
        let verifier = self.verifier_of(token, who)?;
        let signer = bearer(&verifier, token, who, now)?;
        if delegated {
            if !signer.permissions().authentication_delegator {
                return Err(NotAccepted::Permission(who, "authentication_delegator"));
            }
            let caller = bearer(&verifier, &secure.caller, "caller", now)?;
            let rights = caller.permissions();
            if !rights.fleet_management && !rights.signed_fleet_management {
                return Err(if secure.caller == secure.signer {
                    NotAccepted::NoCaller
                } else {
                    NotAccepted::Permission("caller", "fleet_management")
                });
            }
        } else {
            let rights = signer.permissions();
            if rights.signed_fleet_management {
                return Err(NotAccepted::NotDelegated);
            }
            if !rights.fleet_management {
                return Err(NotAccepted::Permission(who, "fleet_management"));
            }
        }
        let signature = from_base64(&secure.signature)?;
        let key = Ed25519Public::from_hex(&signer.standard.public_key)
            .map_err(|_| NotAccepted::Signature(who))?;
        if !key.verify(&bytes, &signature) {
            return Err(NotAccepted::Signature(who));
        }
        let request = request(&bytes, Version::V2)?;
        let caller = request.claimed_caller().to_owned();
        // A delegator vouches for whom it names; anybody else only for themselves.
        if !delegated && caller != signer.callerid {
            return Err(NotAccepted::AnotherName(caller));
        }
        Ok(Accepted {
            request,
            caller,
            signer: signer.callerid.clone(),
        })
    }

    /// What verifies this token, and every other of the same request.
    fn verifier_of(&self, token: &str, who: &'static str) -> Result<Verifier, NotAccepted> {
        let issuer = if self.organizations.is_empty() {
            self.issuer.as_ref().ok_or(NotAccepted::NothingToCheckWith(
                "a v2 request needs the organization issuer's public key to check with",
            ))?
        } else {
            let claims: ClientClaims =
                unverified(token.trim()).map_err(|why| NotAccepted::Token { who, why })?;
            let issuer = self.organizations.get(&claims.ou);
            issuer.ok_or(NotAccepted::Organization(claims.ou))?
        };
        Ok(Verifier::new(vec![VerifyingKey::Ed25519(issuer.clone())]))
    }

    fn check_request(&self, request: &Request, now: Timestamp) -> Result<(), NotAccepted> {
        let apart = now.duration_since(request.time()).abs().as_secs();
        if apart > request.ttl() {
            return Err(NotAccepted::Expired);
        }
        let here = |collective: &String| collective == request.collective();
        if !self.collectives.is_empty() && !self.collectives.iter().any(here) {
            return Err(NotAccepted::Collective(request.collective().to_owned()));
        }
        Ok(())
    }
}

/// The claims of a token that is good now.
fn bearer(
    verifier: &Verifier,
    token: &str,
    who: &'static str,
    now: Timestamp,
) -> Result<Verified<ClientClaims>, NotAccepted> {
    let authentic = verifier.authenticate(token.trim());
    authentic
        .and_then(|authentic| authentic.valid_at(now, None))
        .map_err(|why| NotAccepted::Token { who, why })
}

fn parse<'a, T: serde::Deserialize<'a>>(secure: &'a [u8]) -> Result<T, NotAccepted> {
    serde_json::from_slice(secure).map_err(|error| NotAccepted::Malformed(error.to_string()))
}

fn from_base64(text: &str) -> Result<Vec<u8>, NotAccepted> {
    STANDARD
        .decode(text)
        .map_err(|_| NotAccepted::Malformed("a part of it is not base64".to_owned()))
}

fn request(bytes: &[u8], version: Version) -> Result<Request, NotAccepted> {
    let request =
        Request::parse(bytes).map_err(|error| NotAccepted::Malformed(error.to_string()))?;
    if request.version() != version {
        return Err(NotAccepted::Malformed(
            "it wraps a request of another version".to_owned(),
        ));
    }
    Ok(request)
}

/// Whether one of the CAs issued the certificate, and it is valid now and for clients.
fn issued_by(
    authorities: &[CertificateDer<'static>],
    der: &CertificateDer<'_>,
    now: Timestamp,
) -> Result<(), NotAccepted> {
    let anchors: Vec<_> = authorities
        .iter()
        .filter_map(|der| webpki::anchor_from_trusted_cert(der).ok())
        .collect();
    let certificate = webpki::EndEntityCert::try_from(der).map_err(|_| NotAccepted::Certificate)?;
    let since = std::time::Duration::from_secs(now.as_second().max(0).unsigned_abs());
    certificate
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            UnixTime::since_unix_epoch(since),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        )
        .map(|_| ())
        .map_err(|_| NotAccepted::Certificate)
}

/// The name under which the certificate may set this caller: a privileged one any, another only its own.
fn may_speak_for(der: &CertificateDer<'_>, caller: &str) -> Result<String, NotAccepted> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NotAccepted::Certificate)?;
    let common_name = certificate
        .subject()
        .iter_common_name()
        .find_map(|name| name.as_str().ok())
        .unwrap_or_default();
    if let Some(name) = privileged_name(der) {
        return Ok(name);
    }
    let own = [".mcollective", ".choria"]
        .iter()
        .any(|end| common_name.ends_with(end));
    if own && caller == format!("choria={common_name}") {
        return Ok(common_name.to_owned());
    }
    Err(NotAccepted::NotPrivileged(common_name.to_owned()))
}

/// The DNS name in a certificate (DER) that lets it speak for any caller, if it has one.
pub fn privileged_name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let names = certificate.subject_alternative_name().ok()??;
    names
        .value
        .general_names
        .iter()
        .find_map(|name| match name {
            GeneralName::DNSName(name)
                if name.ends_with(".privileged.mcollective")
                    || name.ends_with(".privileged.choria") =>
            {
                Some((*name).to_owned())
            }
            _ => None,
        })
}
