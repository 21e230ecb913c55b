//! Where the keys lie, and how they get from there into [`Keys`]: at start, and again whenever a file changes.

use std::path::PathBuf;
use std::sync::Arc;

use aaa_core::choria_config::ChoriaConfig;
use aaa_core::claims::ClientClaims;
use aaa_core::key::{Ed25519Key, RsaKey, SigningKey, VerifyingKey, certificate_end};
use aaa_core::secure_request::{RequestSigner, privileged_name};
use aaa_core::token::{TokenError, Verifier, unverified};
use aaa_service::config::{FileContent, MAX_FILE_BYTES, Topic};
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::keys::Keys;
use aaa_service::choria::get;

/// The files that a signer's keys are in. Which are there was settled when the configuration was read.
#[derive(Debug, Clone, Default)]
pub struct KeyFiles {
    /// `signing_certificate` and `signing_certificates`, each with the name of its setting.
    pub verifying: Vec<KeyFile>,
    /// `signing_token` and `signing_seed`.
    pub delegator: Option<(KeyFile, KeyFile)>,
    /// The privileged certificate and its key, from the Choria configuration.
    pub certificate: Option<(KeyFile, KeyFile)>,
}

/// One file and the setting that names it.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// The setting, as problems name it.
    pub setting: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// What is wrong with a key file, or worth a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyProblem {
    /// The setting that names the file.
    pub setting: &'static str,
    /// What is wrong and what is wanted.
    pub text: String,
    /// What it is about.
    pub topic: Topic,
}

/// Keys, and what to say about them.
pub struct Loaded {
    /// The keys.
    pub keys: Keys,
    /// What does not keep the service from starting.
    pub warnings: Vec<KeyProblem>,
    /// When the delegator's token ends, in unix seconds.
    pub delegator_expires: Option<i64>,
    /// When the privileged certificate ends, in unix seconds.
    pub certificate_expires: Option<i64>,
    /// What was read, to follow it from there.
    pub contents: Vec<Arc<FileContent>>,
}

/// Reads key files, and keeps what there is to say.
#[derive(Default)]
struct Reader {
    warnings: Vec<KeyProblem>,
    contents: Vec<Arc<FileContent>>,
}

impl Reader {
    fn read(&mut self, file: &KeyFile) -> Result<Arc<FileContent>, KeyProblem> {
        let content = FileContent::read(&file.path, MAX_FILE_BYTES);
        let content = Arc::new(content.map_err(|error| file.problem(error))?);
        self.contents.push(Arc::clone(&content));
        Ok(content)
    }

    /// Reads a file that nobody else should.
    fn read_secret(&mut self, file: &KeyFile) -> Result<Arc<FileContent>, KeyProblem> {
        let content = self.read(file)?;
        if content.world_readable() {
            self.warnings.push(KeyProblem {
                topic: Topic::Exposed,
                ..file.problem("everybody can read it; only this service should (chmod 600)")
            });
        }
        Ok(content)
    }

    fn warn(&mut self, file: &KeyFile, text: impl std::fmt::Display) {
        self.warnings.push(file.problem(text));
    }
}

impl KeyFile {
    fn problem(&self, text: impl std::fmt::Display) -> KeyProblem {
        KeyProblem {
            setting: self.setting,
            text: format!("{}: {text}", self.path.display()),
            topic: Topic::Setting,
        }
    }
}

impl KeyFiles {
    /// Reads all of them.
    ///
    /// # Errors
    /// Every problem there is; none of the keys is to be used then.
    pub fn load(&self, now: Timestamp) -> Result<Loaded, Vec<KeyProblem>> {
        let mut problems = Vec::new();
        let mut reader = Reader::default();
        let mut verifying = Vec::new();
        for file in &self.verifying {
            match verifying_key(file, &mut reader) {
                Ok(key) => verifying.push(key),
                Err(problem) => problems.push(problem),
            }
        }
        let mut signers = Vec::new();
        let (mut delegator_expires, mut certificate_expires) = (None, None);
        if let Some((token, seed)) = &self.delegator {
            match delegator(token, seed, &verifying, now, &mut reader) {
                Ok((signer, expires)) => {
                    signers.push(signer);
                    delegator_expires = Some(expires);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if let Some((certificate, key)) = &self.certificate {
            match privileged(certificate, key, &mut reader) {
                Ok((signer, expires)) => {
                    signers.push(signer);
                    certificate_expires = expires;
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() {
            let keys = Keys::new(verifying, signers);
            let Reader { warnings, contents } = reader;
            Ok(Loaded {
                keys,
                warnings,
                delegator_expires,
                certificate_expires,
                contents,
            })
        } else {
            Err(problems)
        }
    }
}

fn verifying_key(file: &KeyFile, reader: &mut Reader) -> Result<VerifyingKey, KeyProblem> {
    VerifyingKey::parse(reader.read(file)?.bytes()).map_err(|error| file.problem(error))
}

/// A delegator: nodes take what its key signs because its token says so, so anything less is refused at start.
fn delegator(
    token_file: &KeyFile,
    seed_file: &KeyFile,
    verifying: &[VerifyingKey],
    now: Timestamp,
    reader: &mut Reader,
) -> Result<(RequestSigner, i64), KeyProblem> {
    let content = reader.read(token_file)?;
    let token = content
        .text()
        .map(str::trim)
        .ok_or_else(|| token_file.problem("is no text; a token is wanted"))?;
    let claims: ClientClaims = unverified(token).map_err(|error| token_file.problem(error))?;
    if !claims.permissions().authentication_delegator {
        return Err(token_file.problem(
            "has no authentication_delegator permission; nodes refuse what it signs \
             (make one: aaa token issue delegator)",
        ));
    }
    let seed = reader.read_secret(seed_file)?;
    let key = Ed25519Key::from_seed_file(seed.bytes())
        .map_err(|error| seed_file.problem(format!("{error} (make one: aaa keys generate)")))?;
    if claims.standard.public_key != key.public().to_hex() {
        return Err(seed_file.problem("is not the seed of the key that signing_token is bound to"));
    }
    let expires = match claims.standard.expires() {
        Some(expires) if expires > now.as_second() => expires,
        Some(_) => return Err(token_file.problem("has expired; nodes refuse what it signs")),
        None => return Err(token_file.problem(TokenError::Endless)),
    };
    // Where tokens are verified with the login service's key, the delegator's has another issuer, and only nodes can tell.
    if let Err(error) = Verifier::new(verifying.to_vec()).authenticate(token) {
        let text = format!(
            "cannot be verified with signing_certificate ({error}); nodes need it to be their issuer's"
        );
        reader.warnings.push(KeyProblem {
            topic: Topic::Issuer,
            ..token_file.problem(text)
        });
    }
    Ok((
        RequestSigner::Delegator {
            key,
            token: token.to_owned(),
        },
        expires,
    ))
}

/// A privileged certificate and its key.
fn privileged(
    certificate_file: &KeyFile,
    key_file: &KeyFile,
    reader: &mut Reader,
) -> Result<(RequestSigner, Option<i64>), KeyProblem> {
    let content = reader.read(certificate_file)?;
    let wanted = "holds no certificate in PEM";
    let pem = content
        .text()
        .ok_or_else(|| certificate_file.problem(wanted))?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| certificate_file.problem(wanted))?;
    let key = rsa_key(key_file, reader)?;
    if !belong_together(&key, &der) {
        return Err(key_file.problem(format!(
            "does not belong to the certificate {}",
            certificate_file.path.display()
        )));
    }
    if privileged_name(&der).is_none() {
        reader.warn(
            certificate_file,
            "has no DNS name ending in .privileged.mcollective or .privileged.choria; nodes refuse what it signs for others",
        );
    }
    let signer = RequestSigner::Certificate {
        key,
        pem: pem.to_owned(),
    };
    Ok((signer, certificate_end(&der)))
}

fn rsa_key(file: &KeyFile, reader: &mut Reader) -> Result<RsaKey, KeyProblem> {
    let content = reader.read_secret(file)?;
    match SigningKey::parse(content.bytes()) {
        Ok(SigningKey::Rsa(key)) => Ok(key),
        Ok(SigningKey::Ed25519(_)) => {
            Err(file.problem("holds a seed; an RSA private key is wanted"))
        }
        Err(error) => Err(file.problem(error)),
    }
}

/// Whether the key is the certificate's: what it signs, the certificate's key verifies.
fn belong_together(key: &RsaKey, certificate: &CertificateDer<'_>) -> bool {
    const PROBE: &[u8] = b"does this key belong to this certificate?";
    let public = aaa_core::key::certificate_public_key(certificate);
    let (Ok(public), Ok(signature)) = (public, key.sign(PROBE)) else {
        return false;
    };
    public.verify(aaa_core::key::RsaHash::Sha256, PROBE, &signature)
}

/// The privileged certificate that a Choria configuration names; `None` when its provider is another.
pub fn certificate_of(config: &ChoriaConfig) -> Option<(KeyFile, KeyFile)> {
    const CERTIFICATE: &str = "plugin.security.file.certificate";
    const KEY: &str = "plugin.security.file.key";
    if get(config, "plugin.security.provider") != Some("file") {
        return None;
    }
    let file = |setting| {
        get(config, setting).map(|path| KeyFile {
            setting,
            path: path.into(),
        })
    };
    file(CERTIFICATE).zip(file(KEY))
}
