//! Whom a client believes, and who it says it is.

use std::fmt::Display;
use std::sync::Arc;

use aaa_core::secret::Secret;
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::ClientError;

/// Whom a client believes that they are the service it wants.
#[derive(Debug, Clone, Default)]
pub enum Trust {
    /// Holders of certificates by the authorities that this machine trusts.
    #[default]
    System,
    /// Those, and holders of certificates by these authorities (PEM).
    SystemAnd(Vec<u8>),
    /// Only holders of certificates by these authorities (PEM).
    Authorities(Vec<u8>),
    /// Anybody at all: the connection is encrypted, but to whom is not known. Whoever stands in between reads what is sent.
    InsecureAnybody,
}

/// The certificate that a client shows when it is asked for one.
#[derive(Clone)]
pub struct Identity {
    /// The chain, the client's own certificate first (PEM).
    pub certificates: Vec<u8>,
    /// The private key of the first certificate (PEM).
    pub key: Secret<Vec<u8>>,
}

/// The TLS configuration for both, for whatever client speaks over it.
///
/// # Errors
/// When the certificates or the key are none.
pub fn client_config(
    trust: Trust,
    identity: Option<Identity>,
) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match trust {
        Trust::InsecureAnybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody::new(&provider))),
        Trust::System => builder.with_root_certificates(system()?),
        Trust::SystemAnd(more) => {
            let mut roots = RootCertStore::empty();
            // The machine's own are a help here, and not needed.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            add(&mut roots, &more)?;
            builder.with_root_certificates(roots)
        }
        Trust::Authorities(only) => {
            let mut roots = RootCertStore::empty();
            add(&mut roots, &only)?;
            builder.with_root_certificates(roots)
        }
    };
    identify(builder, identity)
}

fn system() -> Result<RootCertStore, ClientError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(ClientError::Trust(
            "this machine has no trusted certificate authorities: install ca-certificates, or name an authority".to_owned(),
        ));
    }
    Ok(roots)
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), ClientError> {
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| {
            ClientError::Trust(format!(
                "an authority's certificate cannot be used: {error}"
            ))
        })?;
    }
    Ok(())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| {
            ClientError::Trust("no certificates found: PEM certificates are wanted".to_owned())
        })
}

fn identify(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<Identity>,
) -> Result<ClientConfig, ClientError> {
    let Some(identity) = identity else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&identity.certificates)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.expose())
        .map_err(|_| ClientError::Trust("no private key found: a PEM key is wanted".to_owned()))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                ClientError::Trust("the private key does not belong to the certificate".to_owned())
            }
            error => unusable(error),
        })
}

fn unusable(error: impl Display) -> ClientError {
    ClientError::Trust(format!("TLS cannot be set up: {error}"))
}

/// Believes everybody, and checks no more than that the other end holds the key of the certificate it shows.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl Anybody {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
