//! What key files hold: PEM (RFC 7468) of several kinds, or one line of hexadecimal characters.

use rustls_pki_types::pem::{PemObject as _, SectionKind};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{KeyError, RsaKey, RsaPublic, VerifyingKey};

/// Whether a file is meant as PEM.
pub(super) fn looks_like_pem(file: &[u8]) -> bool {
    file.windows(11).any(|window| window == b"-----BEGIN ")
}

/// The label of the first PEM section, for messages.
pub(super) fn label(file: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(file);
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, _) = rest.split_once("-----")?;
    Some(label.chars().filter(|c| !c.is_control()).take(40).collect())
}

/// The text of a file that holds one value, without the white space that editors leave around it.
pub(super) fn one_line<'a>(file: &'a [u8], what: &'static str) -> Result<&'a str, KeyError> {
    std::str::from_utf8(file)
        .map(str::trim)
        .map_err(|_| KeyError::Hex(what))
}

/// The first section of a file that is of one of the kinds.
fn section(file: &[u8], kinds: &[SectionKind]) -> Option<(SectionKind, Vec<u8>)> {
    <(SectionKind, Vec<u8>)>::pem_slice_iter(file)
        .flatten()
        .find(|(kind, _)| kinds.contains(kind))
}

/// The RSA private key in a file.
pub(super) fn private_key(file: &[u8]) -> Result<RsaKey, KeyError> {
    match section(file, &[SectionKind::RsaPrivateKey, SectionKind::PrivateKey]) {
        Some((kind, der)) => RsaKey::from_der(&der, kind == SectionKind::PrivateKey),
        None => Err(KeyError::Kind {
            found: label(file).unwrap_or_else(|| "damaged PEM".to_owned()),
            wanted: "an RSA private key (PKCS#1 or PKCS#8) or a seed",
        }),
    }
}

/// The RSA public key in a file, bare or in a certificate.
pub(super) fn public_key(file: &[u8]) -> Result<VerifyingKey, KeyError> {
    if let Some((_, der)) = section(file, &[SectionKind::Certificate]) {
        return certificate_public_key(&der).map(VerifyingKey::Rsa);
    }
    // PKCS#1 public keys have a label of their own that the section kinds do not know.
    let pkcs1 = String::from_utf8_lossy(file).replace("RSA PUBLIC KEY", "PUBLIC KEY");
    match section(pkcs1.as_bytes(), &[SectionKind::PublicKey]) {
        Some((_, der)) => RsaPublic::from_der(&der).map(VerifyingKey::Rsa),
        None => Err(KeyError::Kind {
            found: label(file).unwrap_or_else(|| "damaged PEM".to_owned()),
            wanted: "an RSA public key, a certificate, or a public key of 64 hexadecimal characters",
        }),
    }
}

/// When a certificate in DER ends, in unix seconds; `None` when it is damaged.
pub fn certificate_end(der: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
}

/// The RSA public key of a certificate in DER.
pub fn certificate_public_key(der: &[u8]) -> Result<RsaPublic, KeyError> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|_| KeyError::Undecodable("certificate", "it is damaged"))?;
    RsaPublic::from_der(certificate.public_key().raw)
}
