//! The certificates of clients: who may issue them, which are revoked, and whether a client must show one.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use super::tls::{certificates, digest_of, pem_problem, read};
use crate::config::{Digest, FileContent, Problems, Section};

const CA: &str = "tls_ca";
const CRL: &str = "tls_crl";
const SHOWN: &str = "tls_client_certificate";

const WANTS_CA: &str = "wants certificates in PEM, of those who issue clients' certificates";
const WANTS_CRL: &str = "wants lists of revoked certificates (CRL) in PEM";

/// What the configuration says of clients.
#[derive(Debug, Clone)]
pub(super) struct ClientFiles {
    ca: PathBuf,
    crl: Vec<PathBuf>,
    optional: bool,
}

/// Who decides about clients, and the files that this was read from.
pub(super) struct Clients {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) files: Vec<(PathBuf, Digest)>,
    /// Cancelled when others decide.
    pub(super) replaced: CancellationToken,
}

impl ClientFiles {
    /// Reads what there is; `None` when clients show no certificates.
    pub(super) fn read(top: &Section<'_>) -> Option<Self> {
        let crl: Vec<PathBuf> = top.list(CRL).into_iter().map(PathBuf::from).collect();
        let optional = top.string(SHOWN).as_deref() == Some("optional");
        let Some(ca) = top.path(CA) else {
            for (key, given) in [(CRL, !crl.is_empty()), (SHOWN, optional)] {
                if given {
                    top.problem(
                        key,
                        format!("needs {CA}: nobody's certificate is asked for"),
                    );
                }
            }
            return None;
        };
        Some(Self { ca, crl, optional })
    }

    /// Reads and checks the files. `found` gets what is wrong, and warnings.
    pub(super) fn load(
        &self,
        provider: &Arc<CryptoProvider>,
        found: &mut Problems,
    ) -> Option<Clients> {
        let ca_file = read(&self.ca, CA, WANTS_CA, found);
        let crl_files: Vec<_> = self
            .crl
            .iter()
            .map(|path| read(path, CRL, WANTS_CRL, found))
            .collect();
        let ca_file = ca_file?;
        let crl_files = crl_files.into_iter().collect::<Option<Vec<_>>>()?;
        let ca = certificates(&ca_file, CA, WANTS_CA, found)?;
        let mut lists = Vec::new();
        for file in &crl_files {
            lists.extend(revocations(file, found)?);
        }
        if !crl_files.is_empty() {
            warn_of_gaps(&ca, &lists, found);
        }
        let mut files = vec![digest_of(&ca_file)];
        files.extend(crl_files.iter().map(digest_of));
        Some(Clients {
            verifier: self.verifier(ca, lists, provider, found)?,
            files,
            replaced: CancellationToken::new(),
        })
    }

    fn verifier(
        &self,
        ca: Vec<CertificateDer<'static>>,
        lists: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
        found: &mut Problems,
    ) -> Option<Arc<dyn ClientCertVerifier>> {
        let roots = Arc::new(roots(ca, found)?);
        // With lists, a certificate that none of them speaks for is refused, and so is one whose list has ended.
        let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
            .with_crls(lists)
            .enforce_revocation_expiration();
        let builder = if self.optional {
            builder.allow_unauthenticated()
        } else {
            builder
        };
        match builder.build() {
            Ok(verifier) => Some(verifier),
            Err(error) => {
                found.push(CRL, format!("cannot be used ({error}); {WANTS_CRL}"));
                None
            }
        }
    }
}

fn roots(ca: Vec<CertificateDer<'static>>, found: &mut Problems) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in ca {
        if let Err(error) = roots.add(certificate) {
            found.push(
                CA,
                format!("holds a certificate that cannot be used ({error}); {WANTS_CA}"),
            );
            return None;
        }
    }
    Some(roots)
}

/// The lists in a file.
fn revocations(
    file: &FileContent,
    found: &mut Problems,
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let parsed: Result<Vec<_>, pem::Error> =
        CertificateRevocationListDer::pem_slice_iter(file.bytes()).collect();
    let problem = match parsed {
        Ok(lists) if lists.is_empty() => "holds no list".to_owned(),
        Ok(lists) => match lists
            .iter()
            .position(|der| CertificateRevocationList::from_der(der).is_err())
        {
            None => return Some(lists),
            Some(place) => format!("list {} of it is malformed", place + 1),
        },
        Err(error) => pem_problem(&error),
    };
    found.push(
        CRL,
        format!("{}: {problem}; {WANTS_CRL}", file.path().display()),
    );
    None
}

/// Says which authorities have no list: nobody can come in with their certificates.
fn warn_of_gaps(
    ca: &[CertificateDer<'_>],
    lists: &[CertificateRevocationListDer<'_>],
    found: &mut Problems,
) {
    let listed: Vec<_> = lists
        .iter()
        .filter_map(|der| CertificateRevocationList::from_der(der).ok())
        .map(|(_, list)| list.issuer().as_raw().to_vec())
        .collect();
    for der in ca {
        let Ok((_, authority)) = X509Certificate::from_der(der) else {
            continue;
        };
        let name = authority.subject();
        if !listed.iter().any(|issuer| issuer == name.as_raw()) {
            found.warn(
                CRL,
                format!("holds no list of \"{name}\" in {CA}; clients with certificates of it are refused"),
            );
        }
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
