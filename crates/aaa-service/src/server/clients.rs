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
    /// When the first of the lists ends, in seconds of the unix epoch: all clients of its authority are refused then.
    pub(super) lists_end: Option<i64>,
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
            are_signed(&ca, &lists, provider, found)?;
        }
        let ends = parsed(&lists).filter_map(|list| list.next_update());
        let lists_end = ends.map(|end| end.timestamp()).min();
        let mut files = vec![digest_of(&ca_file)];
        files.extend(crl_files.iter().map(digest_of));
        Some(Clients {
            verifier: self.verifier(ca, lists, provider, found)?,
            files,
            lists_end,
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
    let listed: Vec<_> = parsed(lists)
        .map(|list| list.issuer().as_raw().to_vec())
        .collect();
    for authority in authorities(ca) {
        let name = authority.subject();
        if !listed.iter().any(|issuer| issuer == name.as_raw()) {
            found.warn(
                CRL,
                format!("holds no list of \"{name}\" in {CA}; clients with certificates of it are refused"),
            );
        }
    }
}

/// Whether each list in the name of an authority has the signature of one of that name. With another's, nobody comes in.
fn are_signed(
    ca: &[CertificateDer<'_>],
    lists: &[CertificateRevocationListDer<'_>],
    provider: &CryptoProvider,
    found: &mut Problems,
) -> Option<()> {
    let algorithms = provider.signature_verification_algorithms.all;
    let signed = |list: &CertificateRevocationList<'_>, by: &X509Certificate<'_>| {
        let key = &by.public_key().subject_public_key.data;
        let (list, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
        algorithms
            .iter()
            .any(|one| one.verify_signature(key, list, signature).is_ok())
    };
    for list in parsed(lists) {
        let issuer = list.issuer().as_raw();
        let mut named = authorities(ca)
            .filter(|authority| authority.subject().as_raw() == issuer)
            .peekable();
        if named.peek().is_some() && !named.any(|authority| signed(&list, &authority)) {
            let text = format!(
                "the list of \"{}\" is not signed by its key in {CA}; {WANTS_CRL} by those who issued the certificates",
                list.issuer()
            );
            found.push(CRL, text);
            return None;
        }
    }
    Some(())
}

fn parsed<'a>(
    lists: &'a [CertificateRevocationListDer<'_>],
) -> impl Iterator<Item = CertificateRevocationList<'a>> {
    let parse =
        |der: &'a CertificateRevocationListDer<'_>| CertificateRevocationList::from_der(der);
    lists.iter().filter_map(move |der| Some(parse(der).ok()?.1))
}

fn authorities<'a>(ca: &'a [CertificateDer<'_>]) -> impl Iterator<Item = X509Certificate<'a>> {
    let parse = |der: &'a CertificateDer<'_>| X509Certificate::from_der(der);
    ca.iter().filter_map(move |der| Some(parse(der).ok()?.1))
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
