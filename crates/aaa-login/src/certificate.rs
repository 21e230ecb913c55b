//! The `certificate` authenticator: the certificate that a client showed in the TLS handshake says who it is.
//!
//! That the certificate is good, the listener has found (`tls_ca`, `tls_crl`); it is asked again at each login, because a
//! connection may have been opened before its certificate was revoked. What is decided here is whose it is, and to what that
//! gives a right.

mod certname;
mod names;
mod settings;

use std::sync::Arc;

use aaa_api::error::ApiError;
use aaa_api::handler::ClientCertificates;
use aaa_core::caller::CallerId;
use aaa_core::clock::SharedClock;
use arc_swap::ArcSwap;
use async_trait::async_trait;

use crate::authenticator::{Attempt, Authenticator, Identity, Reason, Refusal, Verdict};

pub(crate) use settings::Settings;
pub use settings::{CERTIFICATE, RIGHTS, SECTION};

use certname::{Certname, Unnamed};

/// The name of this authenticator.
pub(crate) const NAME: &str = "certificate";
/// What stands in `iss` of its tokens, when they are in no chain.
pub(crate) const ISSUER: &str = "Choria Certificate Authenticator";
/// What stands before the name in its caller ids.
const PROVIDER: &str = "choria";

/// Lets in holders of certificates.
pub(crate) struct Certificate {
    current: ArcSwap<Settings>,
    clock: SharedClock,
}

impl Certificate {
    pub(crate) fn new(settings: Settings, clock: SharedClock) -> Self {
        Self {
            current: ArcSwap::from_pointee(settings),
            clock,
        }
    }

    /// Takes over other settings.
    pub(crate) fn replace(&self, settings: Settings) {
        self.current.store(Arc::new(settings));
    }

    /// Looks whether a policy file has changed. What has a fault changes nothing.
    pub(crate) fn look_at_policies(&self) -> Result<(), String> {
        self.current.load().grants.look_at_policies()
    }

    /// Who it is, or why they are not let in.
    fn identify(&self, shown: &ClientCertificates, username: &str) -> Result<Identity, Refusal> {
        let chain = shown.verified(self.clock.now()).map_err(|error| {
            tracing::debug!(%error, "the certificate of an open connection is no longer good");
            refusal(
                Reason::Certificate,
                "your certificate is no longer accepted: it has ended or was revoked",
                None,
            )
        })?;
        let name = match chain.first().map(|der| Certname::of(der)) {
            Some(Ok(name)) => name,
            Some(Err(Unnamed::Privileged(name))) => {
                let advice = "a privileged certificate speaks for others and does not log in";
                return Err(refusal(Reason::Privileged, advice, Some(name)));
            }
            Some(Err(Unnamed::Unfit(name))) => {
                let advice = "your certificate has no name that can log in: it wants one common name, of lower-case letters, digits, dots, dashes and underscores, that is one of its DNS names too";
                return Err(refusal(Reason::CertificateName, advice, name));
            }
            None => return Err(refusal(Reason::CertificateName, "", None)),
        };
        let current = self.current.load();
        if !current.allowed.matches(name.as_str()) {
            let advice = "the name of your certificate is none that may log in here";
            return Err(refusal(
                Reason::CertificateName,
                advice,
                Some(name.into_string()),
            ));
        }
        if !username.is_empty() && username != name.as_str() {
            let advice = "your certificate is of another name than you gave";
            return Err(refusal(
                Reason::CertificateName,
                advice,
                Some(name.into_string()),
            ));
        }
        let Some(rights) = current.rights(name.as_str()) else {
            let advice = "the name of your certificate has no rights here";
            return Err(refusal(Reason::NoRights, advice, Some(name.into_string())));
        };
        Ok(Identity {
            caller: CallerId::new(format!("{PROVIDER}={}", name.as_str())),
            rights,
        })
    }
}

#[async_trait]
impl Authenticator for Certificate {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Decides about logins that come with a certificate and without a password. Who gives a password wants to be known by it,
    /// whatever their computer shows: the next authenticator is asked.
    async fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Verdict, ApiError> {
        Ok(match &attempt.context.client_certificates {
            Some(shown) if attempt.password.expose().is_empty() => {
                match self.identify(shown, attempt.username) {
                    Ok(identity) => Verdict::Known(Box::new(identity)),
                    Err(refusal) => Verdict::Refused(refusal),
                }
            }
            _ => Verdict::Unknown,
        })
    }

    /// It takes no time to see that there is no certificate.
    async fn pretend(&self, _: &Attempt<'_>) {}

    fn takes_passwords(&self) -> bool {
        false
    }
}

/// Whoever hears this holds the certificate, and may know what is wrong with it.
fn refusal(reason: Reason, advice: &'static str, whose: Option<String>) -> Refusal {
    Refusal {
        reason,
        advice: advice.into(),
        detail: reason.words().into(),
        whose,
    }
}

#[cfg(test)]
mod tests;
