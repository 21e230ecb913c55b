//! The keys of a site, and the tokens and certificates on them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aaa_core::claims::{ClientPermissions, ServerPermissions};
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::{Ed25519Key, SigningKey};
use aaa_core::token::{ChainIssuer, Grant, Minter, ServerGrant};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize,
};

use super::{CALLER, POLICY, write};
use crate::cli::Version;
use crate::failure::Failure;

/// The certificate that signs v1 requests.
const PRIVILEGED: &str = "aaa.privileged.mcollective";
/// How long tokens of services are good.
const SERVICE: Duration = Duration::from_hours(30 * 24);
/// How long tokens of clients are good.
const CLIENT: Duration = Duration::from_hours(12);

/// The files of the keys that services are configured with, and what mints client tokens.
pub(super) struct Keys {
    pub(super) ca: PathBuf,
    pub(super) tls: Pair,
    /// v1.
    pub(super) privileged: Pair,
    pub(super) login_rsa: PathBuf,
    pub(super) login_rsa_public: PathBuf,
    /// v2.
    pub(super) issuer_public: PathBuf,
    pub(super) chain_seed: PathBuf,
    pub(super) chain_token: PathBuf,
    pub(super) delegator_seed: PathBuf,
    pub(super) delegator_token: PathBuf,
    /// Who services are on the network.
    pub(super) server_seed: PathBuf,
    pub(super) server_token: PathBuf,
    rsa: Minter,
    chain: Minter,
}

/// A certificate and its key.
pub(super) struct Pair {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Keys {
    pub(super) fn new(dir: &Path) -> Result<Self, Failure> {
        let now = SystemClock.now();
        let ca = Ca::new(dir)?;
        let (login_rsa, login_rsa_public, rsa) = login_key(dir)?;
        let issuer = Ed25519Key::generate().map_err(|error| failed(&error))?;
        let organization = Minter::organization(issuer.clone());
        let issuer_public = dir.join("issuer.public");
        write(&issuer_public, issuer.public().to_hex())?;

        let (chain_key, chain_seed) = seed(dir, "login")?;
        let chain_token = dir.join("login.jwt");
        let token = service_token(&organization, &chain_key, ClientPermissions::default(), now)?;
        write(&chain_token, &token)?;
        let chain = ChainIssuer::new(chain_key, &token, now).map_err(|error| failed(&error))?;

        let (delegator, delegator_seed) = seed(dir, "signer")?;
        let delegator_token = dir.join("signer.jwt");
        let permissions = ClientPermissions {
            authentication_delegator: true,
            ..ClientPermissions::default()
        };
        let token = service_token(&organization, &delegator, permissions, now)?;
        write(&delegator_token, token)?;

        let (server, server_seed) = seed(dir, "server")?;
        let server_token = dir.join("server.jwt");
        let grant = ServerGrant {
            identity: "aaa.example.net".to_owned(),
            collectives: vec!["choria".to_owned()],
            organization: "choria".to_owned(),
            permissions: ServerPermissions {
                service_host: true,
                ..ServerPermissions::default()
            },
            pub_subjects: Vec::new(),
            public_key: server.public(),
            validity: SERVICE,
        };
        let token = organization
            .server(grant, now)
            .map_err(|error| failed(&error))?;
        write(&server_token, token)?;
        Ok(Self {
            server_seed,
            server_token,
            tls: ca.issue(dir, "localhost", KeyPair::generate())?,
            privileged: ca.issue(dir, PRIVILEGED, rsa_key())?,
            ca: ca.file,
            login_rsa,
            login_rsa_public,
            issuer_public,
            chain_seed,
            chain_token,
            delegator_seed,
            delegator_token,
            rsa,
            chain: Minter::chain(chain),
        })
    }

    /// The configuration of a broker: a server of NATS that lets in who has the services' token.
    pub(super) fn broker(&self, port: u16) -> Result<String, Failure> {
        let token = crate::failure::read_text(&self.server_token)?;
        let (certificate, key) = (self.tls.certificate.display(), self.tls.key.display());
        Ok(format!(
            "listen: \"127.0.0.1:{port}\"\nmax_payload: 8MB\ntls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n\
             authorization {{ token: \"{token}\" }}\n"
        ))
    }

    /// Makes the files of a client, as a login would: its seed, and a token that is bound to it.
    pub(super) fn client(&self, dir: &Path, version: Version) -> Result<(), Failure> {
        let (key, _) = seed(dir, "client")?;
        let minter = match version {
            Version::V1 => &self.rsa,
            Version::V2 => &self.chain,
        };
        let grant = Grant {
            caller: CALLER.to_owned(),
            agents: vec!["puppet.*".to_owned(), "package.*".to_owned()],
            properties: [("group".to_owned(), "admins".to_owned())].into(),
            opa_policy: POLICY.to_owned(),
            permissions: Some(ClientPermissions {
                fleet_management: true,
                ..ClientPermissions::default()
            }),
            public_key: Some(key.public()),
            validity: CLIENT,
            ..Grant::default()
        };
        let token = minter.client(grant, SystemClock.now());
        write(
            &dir.join("client.jwt"),
            token.map_err(|error| failed(&error))?,
        )
    }
}

/// The token of a service, by the organization issuer.
fn service_token(
    organization: &Minter,
    key: &Ed25519Key,
    permissions: ClientPermissions,
    now: Timestamp,
) -> Result<String, Failure> {
    let grant = Grant {
        caller: "choria=service".to_owned(),
        permissions: Some(permissions),
        public_key: Some(key.public()),
        validity: SERVICE,
        ..Grant::default()
    };
    organization
        .client(grant, now)
        .map_err(|error| failed(&error))
}

fn seed(dir: &Path, name: &str) -> Result<(Ed25519Key, PathBuf), Failure> {
    let key = Ed25519Key::generate().map_err(|error| failed(&error))?;
    let file = dir.join(format!("{name}.seed"));
    write(&file, key.seed_hex().expose())?;
    Ok((key, file))
}

/// What mints tokens in v1: the key, its public half, and the minter.
fn login_key(dir: &Path) -> Result<(PathBuf, PathBuf, Minter), Failure> {
    let pair = rsa_key().map_err(|error| failed(&error))?;
    let pem = pair.serialize_pem();
    let (private, public) = (dir.join("login-rsa.key"), dir.join("login-rsa.pem"));
    write(&private, &pem)?;
    write(&public, pair.public_key_pem())?;
    let key = SigningKey::parse(pem.as_bytes()).map_err(|error| failed(&error))?;
    Ok((
        private,
        public,
        Minter::named(key, "Choria Userlist Authenticator"),
    ))
}

fn rsa_key() -> Result<KeyPair, rcgen::Error> {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
}

/// Who issues all certificates of the site.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: PathBuf,
}

impl Ca {
    fn new(dir: &Path) -> Result<Self, Failure> {
        let issuer = Self::certified().map_err(|error| failed(&error))?;
        let file = dir.join("ca.pem");
        write(&file, issuer.pem())?;
        Ok(Self { issuer, file })
    }

    fn certified() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
        let mut params = CertificateParams::new(vec![])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "Load CA");
        CertifiedIssuer::self_signed(params, rsa_key()?)
    }

    /// A certificate for this name, and for loopback.
    fn issue(
        &self,
        dir: &Path,
        name: &str,
        key: Result<KeyPair, rcgen::Error>,
    ) -> Result<Pair, Failure> {
        let key = key.map_err(|error| failed(&error))?;
        let names = vec![name.to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).map_err(|error| failed(&error))?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(|error| failed(&error))?;
        let pair = Pair {
            certificate: dir.join(format!("{name}.pem")),
            key: dir.join(format!("{name}.key")),
        };
        write(&pair.certificate, certificate.pem())?;
        write(&pair.key, key.serialize_pem())?;
        Ok(pair)
    }
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::while_doing("keys", error)
}
