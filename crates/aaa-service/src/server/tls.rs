//! TLS: certificate and key from files, checked to belong together, and taken anew when the files change.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::aws_lc_rs::digest;
use aaa_api::handler::VerifyClient;
use arc_swap::ArcSwap;
use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::clients::{ClientFiles, Clients};
use crate::config::{Digest, Document, FileContent, MAX_FILE_BYTES, Problems, Topic};

const CERTIFICATE: &str = "tls_certificate";
const KEY: &str = "tls_key";

const WANTS_CERTIFICATE: &str = "wants a certificate in PEM, with its chain";
const WANTS_KEY: &str = "wants the private key of tls_certificate in PEM";

/// The files that the configuration names.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    clients: Option<ClientFiles>,
}

impl TlsFiles {
    /// Reads which they are; what is missing goes to the document's problems.
    pub(crate) fn read(document: &Document) -> Option<Self> {
        let top = document.top();
        let (certificate, key) = (top.path(CERTIFICATE), top.path(KEY));
        for (setting, value) in [(CERTIFICATE, &certificate), (KEY, &key)] {
            if value.is_none() {
                top.problem(
                    setting,
                    "required; or say --disable-tls behind a proxy that does TLS",
                );
            }
        }
        let clients = ClientFiles::read(&top);
        Some(Self {
            certificate: certificate?,
            key: key?,
            clients,
        })
    }

    /// Reads and checks them. `found` gets what is wrong, and warnings.
    fn load(&self, found: &mut Problems) -> Option<Loaded> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain_file = read(&self.certificate, CERTIFICATE, WANTS_CERTIFICATE, found);
        let key_file = read(&self.key, KEY, WANTS_KEY, found);
        let clients = match &self.clients {
            Some(files) => Some(files.load(&provider, found)?),
            None => None,
        };
        let (chain_file, key_file) = (chain_file?, key_file?);
        let chain = certificates(&chain_file, CERTIFICATE, WANTS_CERTIFICATE, found);
        let key = private_key(&key_file, found);
        let (chain, key) = (chain?, key?);
        let not_after = not_after(&chain);
        let pair = pair(chain, key, &provider, found)?;
        let verifier = clients
            .as_ref()
            .map(|clients| Arc::clone(&clients.verifier));
        match server_config(&provider, verifier, pair) {
            Ok(config) => Some(Loaded {
                config: Arc::new(config),
                clients: clients.map(Arc::new),
                not_after,
                files: [digest_of(&chain_file), digest_of(&key_file)],
            }),
            Err(error) => {
                found.push(CERTIFICATE, error.to_string());
                None
            }
        }
    }
}

/// Certificate, key and who decides about clients, as they were read.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// Who decides about the certificates of clients, if they show any.
    pub(super) clients: Option<Arc<Clients>>,
    /// When the certificate ends, in seconds of the unix epoch.
    not_after: Option<i64>,
    /// The files of certificate and key.
    files: [(PathBuf, Digest); 2],
}

/// What connections are accepted with.
pub(crate) struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

impl Tls {
    /// Reads the files. What is wrong goes to `found`, and what is worth a word.
    pub(crate) fn load(files: TlsFiles, found: &mut Problems) -> Option<Self> {
        let loaded = files.load(found)?;
        Some(Self {
            files,
            current: ArcSwap::from_pointee(loaded),
        })
    }

    /// The files as they were when they were last read, to be followed from there.
    pub(crate) fn read(&self) -> Vec<(PathBuf, Digest)> {
        let current = self.current.load();
        let clients = current.clients.iter().flat_map(|clients| &clients.files);
        current.files.iter().chain(clients).cloned().collect()
    }

    /// Takes the files as they are now, for new connections. If anything is wrong the old ones stay. Where others decide about clients
    /// now, the connections of those who showed a certificate end, and they have to show it anew.
    pub(crate) fn reload(&self) -> Result<(), Problems> {
        let mut found = Problems::default();
        match self.files.load(&mut found) {
            Some(mut loaded) if found.is_empty() => {
                for warning in found.warnings() {
                    tracing::warn!(setting = warning.key, "{}", warning.text);
                }
                let before = self.current.load_full();
                let same = match (&before.clients, &loaded.clients) {
                    (Some(before), Some(now)) => before.files == now.files,
                    _ => false,
                };
                if same {
                    loaded.clients.clone_from(&before.clients);
                }
                self.current.store(Arc::new(loaded));
                if let Some(before) = before.clients.as_ref().filter(|_| !same) {
                    before.replaced.cancel();
                }
                Ok(())
            }
            _ => Err(found),
        }
    }

    pub(super) fn current(&self) -> Arc<Loaded> {
        self.current.load_full()
    }

    /// When the certificate ends, in seconds of the unix epoch.
    pub(crate) fn not_after(&self) -> Option<i64> {
        self.current.load().not_after
    }

    /// When the first list of revoked certificates ends, in seconds of the unix epoch.
    pub(crate) fn lists_end(&self) -> Option<i64> {
        self.current.load().clients.as_ref()?.lists_end
    }
}

impl VerifyClient for Tls {
    fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), Error> {
        match &self.current.load().clients {
            Some(clients) => clients.verifier.verify(chain, now),
            None => Err(Error::NoCertificatesPresented),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    pair: CertifiedKey,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?;
    let mutual = clients.is_some();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(verifier),
    };
    let mut config =
        builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if mutual {
        // A resumed session would go on with a certificate that has ended, was revoked, or whose issuer is trusted no more.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    }
    Ok(config)
}

/// The largest file that is read here, in bytes: lists of revoked certificates of large sites.
pub(crate) const TLS_FILE_BYTES: u64 = 16 * MAX_FILE_BYTES;

pub(super) fn read(
    path: &Path,
    key: &str,
    wants: &str,
    found: &mut Problems,
) -> Option<FileContent> {
    match FileContent::read(path, TLS_FILE_BYTES) {
        Ok(content) => Some(content),
        Err(error) => {
            found.push(key, format!("{}: {error}; {wants}", path.display()));
            None
        }
    }
}

/// A file, and what it looked like.
pub(super) fn digest_of(file: &FileContent) -> (PathBuf, Digest) {
    (file.path().to_owned(), file.digest())
}

pub(super) fn certificates(
    file: &FileContent,
    key: &str,
    wants: &str,
    found: &mut Problems,
) -> Option<Vec<CertificateDer<'static>>> {
    let parsed: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(file.bytes()).collect();
    let problem = match parsed {
        Ok(chain) if chain.is_empty() => "holds no certificate".to_owned(),
        Ok(chain) => match chain
            .iter()
            .position(|der| X509Certificate::from_der(der).is_err())
        {
            None => return Some(chain),
            Some(place) => format!("certificate {} of it is malformed", place + 1),
        },
        Err(error) => pem_problem(&error),
    };
    found.push(
        key,
        format!("{}: {problem}; {wants}", file.path().display()),
    );
    None
}

fn private_key(file: &FileContent, found: &mut Problems) -> Option<PrivateKeyDer<'static>> {
    let shown = file.path().display();
    if file.world_readable() {
        let mode = file.mode();
        found.warn_of(
            Topic::Exposed,
            KEY,
            format!("{shown} can be read by everybody (mode {mode:04o}); make it 0600"),
        );
    }
    let encrypted = file.text().is_some_and(|text| text.contains("ENCRYPTED"));
    let problem = match PrivateKeyDer::from_pem_slice(file.bytes()) {
        Ok(key) => return Some(key),
        Err(_) if encrypted => "is encrypted; wants a key without a passphrase".to_owned(),
        Err(pem::Error::NoItemsFound) => format!("holds no private key; {WANTS_KEY}"),
        Err(error) => format!("{}; {WANTS_KEY}", pem_problem(&error)),
    };
    found.push(KEY, format!("{shown}: {problem}"));
    None
}

/// What a PEM reader found, without the text around it, which may be a key's.
pub(super) fn pem_problem(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "ends before its END line".to_owned(),
        pem::Error::NoItemsFound => "holds nothing of the kind".to_owned(),
        _ => "is no PEM".to_owned(),
    }
}

/// Key and certificate as a pair, if they are one.
fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
    found: &mut Problems,
) -> Option<CertifiedKey> {
    let key = match provider.key_provider.load_private_key(key) {
        Ok(key) => key,
        Err(error) => {
            found.push(
                KEY,
                format!("no key that TLS can use ({error}); {WANTS_KEY}"),
            );
            return None;
        }
    };
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Some(pair),
        Err(Error::InconsistentKeys(_)) => {
            let certificate = pair.cert.first().map(|der| certificate_key(der));
            let key = pair.key.public_key();
            let text = format!(
                "does not belong to {CERTIFICATE} (certificate: {}, key: {})",
                certificate.flatten().as_deref().unwrap_or("unknown"),
                key.map_or_else(|| "unknown".to_owned(), |spki| described(&spki)),
            );
            found.push(KEY, text);
            None
        }
        Err(error) => {
            found.push(
                CERTIFICATE,
                format!("cannot be used ({error}); {WANTS_CERTIFICATE}"),
            );
            None
        }
    }
}

fn certificate_key(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let spki = certificate.tbs_certificate.subject_pki.raw;
    Some(described(&SubjectPublicKeyInfoDer::from(spki)))
}

/// A public key for people: its kind, its size, and the end of the SHA-256 of its `SubjectPublicKeyInfo`.
fn described(spki: &SubjectPublicKeyInfoDer<'_>) -> String {
    let kind = SubjectPublicKeyInfo::from_der(spki)
        .ok()
        .map_or_else(|| "unknown".to_owned(), |(_, spki)| kind_of(&spki));
    let digest = digest::digest(&digest::SHA256, spki);
    let mut end = String::new();
    for byte in digest.as_ref().iter().skip(30) {
        let _ = write!(end, "{byte:02x}");
    }
    format!("{kind} …{end}")
}

fn kind_of(spki: &SubjectPublicKeyInfo<'_>) -> String {
    // RFC 8410 section 3.
    const ED25519: &str = "1.3.101.112";
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC {}", point.key_size()),
        _ if spki.algorithm.algorithm.to_id_string() == ED25519 => "Ed25519".to_owned(),
        _ => "unknown".to_owned(),
    }
}

fn not_after(chain: &[CertificateDer<'_>]) -> Option<i64> {
    aaa_core::key::certificate_end(chain.first()?)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
