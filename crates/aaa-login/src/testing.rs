//! What tests of this crate share.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aaa_audit::{Auditor, Delivery, Sink, SinkError, Stored, Trail};
use aaa_core::audit::Record;

use aaa_core::claims::ClientPermissions;
use aaa_core::clock::{ManualClock, SharedClock};
use aaa_core::key::Ed25519Key;
use aaa_core::token::{Grant, Minter};
use aaa_service::config::FileContent;
use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use crate::authenticator::Authenticator;
use crate::login::{Door, Login};
use crate::meter::Meter;
use crate::mint::{Files, Mint};
use crate::pool::HashPool;
use crate::throttle::{Rules, Throttle};
use crate::userlist::{ISSUER, Source, Userlist};
use crate::users::Reader;

/// When the logins of the vectors were made.
pub(crate) const NOW: i64 = 1_795_346_537;

/// bcrypt of `secret`, as cheap as bcrypt gets.
pub(crate) const SECRET: &str = "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu";

/// A new RSA key in PEM (PKCS#8).
pub(crate) fn rsa_key() -> String {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
    let body = STANDARD.encode(der.as_ref());
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

pub(crate) fn read(path: &Path) -> FileContent {
    FileContent::read(path, 1 << 30).unwrap()
}

/// The organization issuer, and a login service that it lets issue.
pub(crate) struct Issuers {
    pub(crate) organization: Ed25519Key,
    pub(crate) login: Ed25519Key,
    pub(crate) token: String,
}

impl Issuers {
    /// New ones, whose right ends so many seconds after [`NOW`]; `login.seed` and `login.jwt` are written.
    pub(crate) fn write(dir: &Path, seconds: i64) -> Self {
        let organization = Ed25519Key::generate().unwrap();
        let login = Ed25519Key::generate().unwrap();
        let grant = Grant {
            caller: "up=aaa_login".to_owned(),
            permissions: Some(ClientPermissions::default()),
            public_key: Some(login.public()),
            validity: Duration::from_secs(seconds.unsigned_abs()),
            ..Grant::default()
        };
        let token = Minter::organization(organization.clone())
            .client(grant, at(NOW))
            .unwrap();
        std::fs::write(dir.join("login.seed"), login.seed_hex().expose()).unwrap();
        std::fs::write(dir.join("login.jwt"), &token).unwrap();
        Self {
            organization,
            login,
            token,
        }
    }
}

/// A userlist with these users.
pub(crate) fn userlist(users: Value, pool: Arc<HashPool>) -> Arc<Userlist> {
    let Value::Array(inline) = users else {
        panic!("no list");
    };
    let mut reader = Reader::default();
    reader.inline(&inline);
    let users = reader
        .finish()
        .users
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    let source = Source {
        inline,
        users_file: None,
    };
    Arc::new(Userlist::new(
        source,
        users,
        pool,
        Meter::new("test".into()),
    ))
}

/// A login service whose clock stands at [`NOW`].
pub(crate) struct Site {
    pub(crate) login: Login,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) issuers: Issuers,
    pub(crate) records: Arc<Memory>,
    pub(crate) dir: tempfile::TempDir,
}

impl Site {
    /// In a chain of trust, with this authenticator.
    pub(crate) fn with(authenticator: Arc<dyn Authenticator>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issuers = Issuers::write(dir.path(), 86_400);
        let clock = ManualClock::at(NOW);
        let records = Arc::new(Memory::default());
        let login = Login {
            doors: vec![door(authenticator, mint(dir.path(), true))],
            throttle: throttle(clock.clone()),
            clock: clock.clone(),
            site: "test".into(),
            trail: trail(records.clone()),
            meter: Meter::new("test".into()),
        };
        Self {
            login,
            clock,
            issuers,
            records,
            dir,
        }
    }

    /// With these users.
    pub(crate) fn new(users: Value) -> Self {
        Self::with(userlist(users, Arc::new(HashPool::start(1).unwrap())))
    }

    /// The same, admitting names and passwords alone, and so in no chain.
    pub(crate) fn unsigned(users: Value) -> Self {
        let mut site = Self::new(users);
        for door in &mut site.login.doors {
            door.mint = mint(site.dir.path(), false);
            door.allow_unsigned = Arc::new(AtomicBool::new(true));
        }
        site
    }
}

/// The throttle of a configuration that does not speak of it.
pub(crate) fn throttle(clock: SharedClock) -> Arc<Throttle> {
    let meter = Meter::new("test".into());
    Arc::new(Throttle::new(Rules::default(), clock, meter))
}

pub(crate) fn door(authenticator: Arc<dyn Authenticator>, mint: Arc<Mint>) -> Door {
    Door {
        authenticator,
        mint,
        allow_unsigned: Arc::new(AtomicBool::new(false)),
        fallback: Arc::new(AtomicBool::new(false)),
    }
}

pub(crate) fn mint(dir: &Path, chain: bool) -> Arc<Mint> {
    let files = Files {
        signing_key: dir.join("login.seed"),
        signing_token: chain.then(|| dir.join("login.jwt")),
        issuer: ISSUER,
    };
    let contents: Vec<_> = files.paths().into_iter().map(read).collect();
    let minter = files
        .minter(&contents, at(NOW))
        .unwrap_or_else(|unfit| panic!("{unfit:?}"));
    Arc::new(Mint::new(files, minter, Duration::from_hours(1)))
}

pub(crate) fn trail(sink: Arc<dyn Sink>) -> Arc<Trail> {
    let auditor = Auditor::new(sink, Delivery::Required, Duration::from_secs(5));
    Arc::new(Trail::new("test", vec![auditor]))
}

/// Keeps records in memory, until told to fail.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) records: Mutex<Vec<Arc<Record>>>,
    pub(crate) broken: AtomicBool,
}

#[async_trait]
impl Sink for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        if self.broken.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(SinkError::failed("the disk is full"));
        }
        self.records.lock().unwrap().push(record.clone());
        Ok(Stored::Kept)
    }
}
