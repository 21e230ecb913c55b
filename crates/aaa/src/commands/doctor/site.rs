//! What can be said of a site by holding its settings side by side.

use std::path::Path;
use std::time::Duration;

use aaa_core::duration;
use aaa_core::key::{SigningKey, VerifyingKey, certificate_end};
use aaa_core::token::Verifier;
use aaa_service::audit::JETSTREAM_AUDITOR;
use aaa_service::config::{Document, FileContent, Kind, MAX_FILE_BYTES, Problems, Section};
use aaa_service::shell::End;
use aaa_signer::settings::BASICJWT_SIGNER;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::report::{Check, Finding, Status};

/// Tokens that last longer are for a thief to use at leisure.
const LONG: Duration = Duration::from_hours(24);

/// What the file is for.
pub(super) fn configuration(document: &Document, problems: &Problems) -> Finding {
    let top = document.top();
    let services: Vec<&str> = [("authenticator", "login"), ("signer", "signer")]
        .into_iter()
        .filter_map(|(key, name)| top.has(key).then_some(name))
        .collect();
    let mode = if chained(document) {
        "organization issuer mode"
    } else {
        "CA mode"
    };
    let services = services.join(" + ");
    let (status, text) = match problems.errors().len() {
        0 => (Status::Ok, format!("reads as {services}, {mode}")),
        1 => (
            Status::Fail,
            "1 problem; no service starts with it".to_owned(),
        ),
        count => (
            Status::Fail,
            format!("{count} problems; no service starts with it"),
        ),
    };
    Finding::new(Check::Configuration, status, "configuration", text)
}

/// Whether the organization issuer vouches for whoever issues and signs here.
pub(super) fn chained(document: &Document) -> bool {
    let signer = document.section("basicjwt_signer", BASICJWT_SIGNER);
    logins(document)
        .iter()
        .chain(&signer)
        .any(|section| section.has("signing_token"))
}

/// What the settings say together.
pub(super) fn findings(document: &Document, path: &Path) -> Vec<Finding> {
    let logins = logins(document);
    let signer = document.section("basicjwt_signer", BASICJWT_SIGNER);
    let signer = signer.filter(|_| document.top().has("signer"));
    let mut findings = Vec::new();
    findings.extend(exposed(document, &logins, path));
    findings.extend(lifetimes(&logins, signer.as_ref()));
    findings.extend(unbound(&logins, signer.as_ref()));
    if let Some(signer) = &signer {
        findings.extend(issuers(&logins, signer));
    }
    findings
}

/// When the certificates end that auditors show to their servers.
pub(super) fn auditors_end(document: &Document) -> Vec<End> {
    let auditors = document.top().list("auditors");
    let end = |name: &String| {
        let section = document.section(&format!("{name}_auditor"), JETSTREAM_AUDITOR)?;
        let content = FileContent::read(&section.path("tls_certificate")?, MAX_FILE_BYTES).ok()?;
        let certificate = CertificateDer::from_pem_slice(content.bytes()).ok()?;
        Some(End {
            setting: section.key("tls_certificate"),
            at: certificate_end(&certificate)?,
        })
    };
    let over_nats = |name: &&String| matches!(name.as_str(), "jetstream" | "natsstream");
    auditors.iter().filter(over_nats).filter_map(end).collect()
}

/// The sections of the authenticators that are asked.
fn logins(document: &Document) -> Vec<Section<'_>> {
    let names = document.top().list("authenticator");
    names
        .iter()
        .filter_map(|name| {
            let key = format!("{name}_authenticator");
            let (_, table) = aaa_login::settings::SECTIONS
                .iter()
                .find(|(path, _)| *path == key)?;
            document.section(&key, table)
        })
        .collect()
}

/// Whether the file has secrets in it, and everybody can read it.
fn exposed(document: &Document, logins: &[Section<'_>], path: &Path) -> Option<Finding> {
    let secret = logins.iter().any(|section| {
        section.has("users")
            || section
                .table()
                .iter()
                .any(|setting| setting.kind == Kind::Secret && section.has(setting.key))
    });
    let content = FileContent::read(path, MAX_FILE_BYTES).ok()?;
    (secret && content.world_readable()).then(|| {
        Finding::new(
            Check::Permissions,
            Status::Fail,
            &document.name(),
            "has secrets in it and can be read by everybody; make it 0640, with the group of the service",
        )
    })
}

/// What lets tokens be used by whoever finds them.
fn unbound(logins: &[Section<'_>], signer: Option<&Section<'_>>) -> Vec<Finding> {
    let login = logins
        .iter()
        .map(|section| (section, "allow_unsigned_logins"));
    login
        .chain(signer.map(|section| (section, "allow_bearer_tokens")))
        .filter(|(section, key)| section.has(key) && section.boolean(key))
        .map(|(section, key)| {
            let text = "tokens are bound to no key: whoever finds one can use it";
            Finding::new(Check::Binding, Status::Warn, &section.key(key), text)
        })
        .collect()
}

/// How long tokens last, and whether the signer takes them for that long.
fn lifetimes(logins: &[Section<'_>], signer: Option<&Section<'_>>) -> Vec<Finding> {
    let max = signer.and_then(|section| section.duration("max_validity"));
    let mut findings = Vec::new();
    let mut find = |status, subject: String, text: String| {
        findings.push(Finding::new(Check::Lifetime, status, &subject, text));
    };
    for section in logins {
        let Some(validity) = section.duration("validity") else {
            continue;
        };
        let shown = duration::human(validity);
        let key = section.key("validity");
        match max {
            Some(max) if validity > max => find(
                Status::Fail,
                key,
                format!(
                    "{shown} is more than max_validity ({}), so the signer refuses every token",
                    duration::human(max)
                ),
            ),
            _ if validity > LONG => find(
                Status::Warn,
                key,
                format!("tokens last {shown}, and cannot be taken back; an hour is usual"),
            ),
            _ => find(Status::Ok, key, format!("tokens last {shown}")),
        }
    }
    if let (Some(max), Some(section)) = (max.filter(|max| *max > LONG), signer) {
        let text = format!(
            "tokens that last {} are taken; no more than the logins' validity is needed",
            duration::human(max)
        );
        find(Status::Warn, section.key("max_validity"), text);
    }
    findings
}

/// Whether what verifies tokens is the key of who vouches for them. What cannot be read is told elsewhere.
fn issuers(logins: &[Section<'_>], signer: &Section<'_>) -> Vec<Finding> {
    let keys = verifying_keys(signer);
    if keys.is_empty() {
        return Vec::new();
    }
    let subject = signer.key("signing_certificate");
    let find = |status, text: String| Finding::new(Check::Issuer, status, &subject, text);
    logins
        .iter()
        .filter_map(|login| {
            let name = login.key("signing_token");
            let own = key_of(login)?;
            let Some(token) = text(login, "signing_token") else {
                let verifies = keys.contains(&own);
                let login = login.key("signing_key");
                return Some(if verifies {
                    find(Status::Ok, format!("is the public key of {login}"))
                } else {
                    find(
                        Status::Fail,
                        format!("is not the public key of {login}; what logs in here is refused"),
                    )
                });
            };
            Some(if keys.contains(&own) {
                find(
                    Status::Fail,
                    "verifies with the authenticator's key; anybody could then mint chains: use the organization issuer's public key"
                        .to_owned(),
                )
            } else if let Err(error) = Verifier::new(keys.clone()).authenticate(token.trim()) {
                find(Status::Fail, format!("did not issue {name}: {error}"))
            } else {
                find(Status::Ok, format!("is the issuer of {name}"))
            })
        })
        .collect()
}

fn verifying_keys(signer: &Section<'_>) -> Vec<VerifyingKey> {
    let one = signer.string("signing_certificate").into_iter();
    one.chain(signer.list("signing_certificates"))
        .filter_map(|path| FileContent::read(Path::new(&path), MAX_FILE_BYTES).ok())
        .filter_map(|content| VerifyingKey::parse(content.bytes()).ok())
        .collect()
}

/// The key that verifies what an authenticator's own key signs.
fn key_of(login: &Section<'_>) -> Option<VerifyingKey> {
    let content = FileContent::read(&login.path("signing_key")?, MAX_FILE_BYTES).ok()?;
    SigningKey::parse(content.bytes()).ok()?.public().ok()
}

fn text(section: &Section<'_>, key: &str) -> Option<String> {
    let content = FileContent::read(&section.path(key)?, MAX_FILE_BYTES).ok()?;
    content.text().map(str::to_owned)
}
