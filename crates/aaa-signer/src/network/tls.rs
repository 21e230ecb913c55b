//! TLS to a Choria broker.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Why there is no TLS.
pub(super) struct Problem {
    /// The setting, behind its prefix.
    pub(super) setting: &'static str,
    pub(super) text: String,
}

/// A client that shows this certificate, and takes brokers whose certificate this authority issued. Without an authority it takes any,
/// as Choria does: in version 2 the broker lets in who holds a token's key, and what is sent is signed or of no use to others.
pub(super) fn client(
    ca: Option<&Path>,
    certificate: Option<(&Path, &Path)>,
) -> Result<ClientConfig, Problem> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| problem("ca", error))?;
    let builder = match ca {
        Some(ca) => builder.with_root_certificates(roots(ca)?),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyBroker(provider))),
    };
    match certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates("certificate", certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|_| {
                problem(
                    "key",
                    format!("{} holds no private key in PEM", key.display()),
                )
            })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| problem("key", error))
        }
    }
}

fn problem(setting: &'static str, text: impl std::fmt::Display) -> Problem {
    Problem {
        setting,
        text: text.to_string(),
    }
}

fn certificates(
    setting: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let wrong = || {
        problem(
            setting,
            format!("{} holds no certificate in PEM", path.display()),
        )
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|_| wrong())?
        .collect();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(wrong)
}

fn roots(ca: &Path) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", ca)? {
        roots
            .add(certificate)
            .map_err(|error| problem("ca", error))?;
    }
    Ok(roots)
}

/// Takes any certificate. Whoever shows it must still hold its key.
#[derive(Debug)]
struct AnyBroker(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyBroker {
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
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
