//! What services need to be tried out, made from nothing: keys, tokens, a certificate, a user, a policy, both configurations.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aaa_core::claims::ClientPermissions;
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_core::token::{Grant, Minter, ORGANIZATION_ISSUER_PREFIX};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use crate::client_config::{LOGIN_URL, SIGNER_URL};
use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};

/// The user that can log in.
pub(super) const USER: &str = "alice";

/// What alice may do.
const POLICY: &str = include_str!("policy.rego");

/// How long tokens and certificate of a new directory are good.
const YEAR: Duration = Duration::from_hours(365 * 24);

/// A directory with all that the services need.
pub(super) struct Site {
    directory: PathBuf,
    /// Whether it was made just now.
    pub new: bool,
}

impl Site {
    /// The site in this directory, made if there is none.
    pub(super) fn open(directory: &Path, now: Timestamp) -> Result<Self, Failure> {
        let failed = |error| Failure::file("make the directory", directory, &error);
        let config = directory.join("config.json");
        let new = !config.exists();
        if new && fs::read_dir(directory).is_ok_and(|mut files| files.next().is_some()) {
            return Err(Failure::usage(format!(
                "{} holds other files and no config.json: choose another directory with --dir",
                directory.display()
            )));
        }
        fs::create_dir_all(directory).map_err(failed)?;
        let site = Self {
            directory: fs::canonicalize(directory).map_err(failed)?,
            new,
        };
        if new {
            site.make(now)?;
        }
        Ok(site)
    }

    /// A file of it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn make(&self, now: Timestamp) -> Result<(), Failure> {
        let keys = Keys::generate()?;
        self.private("issuer.seed", keys.issuer.seed_hex().expose())?;
        self.public("issuer.public", &keys.issuer.public().to_hex())?;
        self.private("login.seed", keys.login.seed_hex().expose())?;
        self.private("login.jwt", &keys.login_token(now)?)?;
        self.private("signer.seed", keys.signer.seed_hex().expose())?;
        self.private("signer.jwt", &keys.signer_token(now)?)?;
        let tls = TlsFiles::generate(now)?;
        self.public("ca.pem", &tls.authority)?;
        self.public("tls.pem", &tls.certificate)?;
        self.private("tls.key", tls.key.expose())?;
        self.public("policy.rego", POLICY)?;
        let password = password()?;
        self.private(&format!("{USER}.password"), password.expose())?;
        self.json("users.json", &self.users(&password)?)?;
        // The last one: a directory without it is not taken for one of ours.
        self.json("config.json", &self.configuration())
    }

    fn users(&self, password: &Secret<String>) -> Result<Value, Failure> {
        let hash = aaa_login::hash::argon2id(password.expose().as_bytes())
            .map_err(|error| Failure::failed(error.to_string()))?;
        Ok(json!([{
            "username": USER,
            "password": hash,
            "opa_policy_file": self.file("policy.rego"),
            "broker_permissions": {"fleet_management": true, "signed_fleet_management": true},
        }]))
    }

    fn configuration(&self) -> Value {
        json!({
            "site": "development",
            "listen": super::dev::ADDRESS,
            "tls_certificate": self.file("tls.pem"),
            "tls_key": self.file("tls.key"),
            "authenticator": "userlist",
            "userlist_authenticator": {
                "signing_key": self.file("login.seed"),
                "signing_token": self.file("login.jwt"),
                "validity": "1h",
                "users_file": self.file("users.json"),
            },
            "signer": "basicjwt",
            "basicjwt_signer": {
                "signing_certificate": self.file("issuer.public"),
                "max_validity": "2h",
                "signing_token": self.file("signer.jwt"),
                "signing_seed": self.file("signer.seed"),
            },
            "authorizer": "opa",
            "auditors": ["logfile"],
            "logfile_auditor": {"logfile": self.file("audit.log"), "format": "choria"},
        })
    }

    /// Writes the configuration of a client of the services at this address; one that is there keeps everything but the address.
    pub(super) fn point_client_at(&self, address: SocketAddr) -> Result<PathBuf, Failure> {
        let path = self.file("client.conf");
        let urls = [
            (LOGIN_URL, format!("https://{address}/choria/v1/login")),
            (SIGNER_URL, format!("https://{address}/choria/v1/sign")),
        ];
        let there = path.exists();
        let old = if there {
            files::read_text(&path)?
        } else {
            self.client_configuration()?
        };
        let line = |line: &str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            match urls.iter().find(|(url, _)| *url == key) {
                Some((key, url)) => format!("{key} = {url}\n"),
                None => format!("{line}\n"),
            }
        };
        let text: String = old.lines().map(line).collect();
        if !there || text != old {
            files::write(&path, Mode::Public, text.as_bytes())?;
        }
        Ok(path)
    }

    fn client_configuration(&self) -> Result<String, Failure> {
        let issuer = files::read_text(&self.file("issuer.public"))?;
        let file = |name: &str| self.file(name).display().to_string();
        Ok(format!(
            "# A client of the services that aaa serve --dev runs, for choria and aaa\n\
             plugin.security.provider = choria\n\
             collectives = choria\n\
             {LOGIN_URL} =\n\
             {SIGNER_URL} =\n\
             plugin.security.choria.token_file = {}\n\
             plugin.security.choria.seed_file = {}\n\
             plugin.security.choria.ca = {}\n\
             plugin.security.issuer.names = choria\n\
             plugin.security.issuer.choria.public = {}\n",
            file(&format!("{USER}.jwt")),
            file(&format!("{USER}.key")),
            file("ca.pem"),
            issuer.trim(),
        ))
    }

    fn private(&self, name: &str, content: &str) -> Result<(), Failure> {
        files::write(&self.file(name), Mode::Private, content.as_bytes())
    }

    fn public(&self, name: &str, content: &str) -> Result<(), Failure> {
        files::write(&self.file(name), Mode::Public, content.as_bytes())
    }

    fn json(&self, name: &str, value: &Value) -> Result<(), Failure> {
        self.private(name, &format!("{value:#}\n"))
    }
}

/// The keys of an organization: its issuer, a login service, a signer.
struct Keys {
    issuer: Ed25519Key,
    login: Ed25519Key,
    signer: Ed25519Key,
}

impl Keys {
    fn generate() -> Result<Self, Failure> {
        let key = || Ed25519Key::generate().map_err(|_| no_randomness());
        Ok(Self {
            issuer: key()?,
            login: key()?,
            signer: key()?,
        })
    }

    /// The token that lets the login service issue tokens.
    fn login_token(&self, now: Timestamp) -> Result<String, Failure> {
        let grant = Grant {
            caller: "choria=aaa-login".to_owned(),
            permissions: Some(ClientPermissions::default()),
            public_key: Some(self.login.public()),
            validity: YEAR,
            ..Grant::default()
        };
        let minter = Minter::organization(self.issuer.clone());
        minter.client(grant, now).map_err(|e| not_made(&e))
    }

    /// The token that lets the signer sign for others. It has no `tcs`, so that its holder can issue none.
    fn signer_token(&self, now: Timestamp) -> Result<String, Failure> {
        let grant = Grant {
            caller: "choria=aaa-signer".to_owned(),
            permissions: Some(ClientPermissions {
                authentication_delegator: true,
                ..ClientPermissions::default()
            }),
            public_key: Some(self.signer.public()),
            validity: YEAR,
            ..Grant::default()
        };
        let name = format!(
            "{ORGANIZATION_ISSUER_PREFIX}{}",
            self.issuer.public().to_hex()
        );
        let minter = Minter::named(
            aaa_core::key::SigningKey::Ed25519(self.issuer.clone()),
            name,
        );
        minter.client(grant, now).map_err(|e| not_made(&e))
    }
}

/// A certificate for this machine, by an authority whose key is forgotten as soon as it has signed.
struct TlsFiles {
    authority: String,
    certificate: String,
    key: Secret<String>,
}

impl TlsFiles {
    fn generate(now: Timestamp) -> Result<Self, Failure> {
        let failed =
            |error: rcgen::Error| Failure::failed(format!("cannot make a certificate: {error}"));
        let (authority_key, key) = (
            KeyPair::generate().map_err(failed)?,
            KeyPair::generate().map_err(failed)?,
        );
        let mut params = parameters(&[], "aaa development authority", now).map_err(failed)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = params.self_signed(&authority_key).map_err(failed)?;
        let issuer = Issuer::from_params(&params, &authority_key);
        let names = ["localhost", "127.0.0.1", "::1"];
        let certificate = parameters(&names, "aaa development", now)
            .and_then(|params| params.signed_by(&key, &issuer))
            .map_err(failed)?;
        Ok(Self {
            authority: authority.pem(),
            certificate: certificate.pem(),
            key: Secret::new(key.serialize_pem()),
        })
    }
}

fn parameters(
    names: &[&str],
    common_name: &str,
    now: Timestamp,
) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let today = now.to_zoned(TimeZone::UTC).date();
    // A day before, for clocks that differ; a day after the tokens, which are the ones to notice first.
    let (year, month, day) = parts(today.saturating_sub(1.day()));
    params.not_before = rcgen::date_time_ymd(year, month, day);
    let (year, month, day) = parts(today.saturating_add(366.days()));
    params.not_after = rcgen::date_time_ymd(year, month, day);
    Ok(params)
}

fn parts(date: jiff::civil::Date) -> (i32, u8, u8) {
    let part = |number: i8| number.unsigned_abs();
    (date.year().into(), part(date.month()), part(date.day()))
}

/// 16 characters that nobody can guess.
fn password() -> Result<Secret<String>, Failure> {
    let mut bytes = zeroize::Zeroizing::new([0_u8; 12]);
    rand::fill(&mut *bytes).map_err(|_| no_randomness())?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

fn no_randomness() -> Failure {
    Failure::failed("the system gave no random numbers to make keys from")
}

fn not_made(error: &aaa_core::token::MintError) -> Failure {
    Failure::failed(format!("cannot make the services' tokens: {error}")).with(Exit::Failed)
}
