//! The authenticators that a configuration asks for: read, opened, followed, and taken over when it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aaa_service::config::{Document, FileContent, MAX_FILE_BYTES};
use aaa_service::shell::{Answer, Dependency, Following, Probe, Shell};
use jiff::Timestamp;

use crate::authenticator::Authenticator;
use crate::certificate::{self, Certificate};
use crate::login::Door;
use crate::meter::Meter;
use crate::mint::Mint;
use crate::okta::{self, Okta};
use crate::pool::HashPool;
use crate::settings::{self, Issue, LoadedUsers};
use crate::throttle::Rules;
use crate::userlist::{self, Userlist};
use crate::users::USERS_FILE_LIMIT;

/// An authenticator that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Certificate,
    Userlist,
    Okta,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Certificate, Self::Userlist, Self::Okta];

    /// Its name in `authenticator`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Certificate => certificate::NAME,
            Self::Userlist => userlist::NAME,
            Self::Okta => okta::NAME,
        }
    }

    /// The section with its settings.
    pub(crate) const fn section(self) -> &'static str {
        match self {
            Self::Certificate => certificate::SECTION,
            Self::Userlist => settings::SECTION,
            Self::Okta => okta::SECTION,
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The authenticators of the configuration, in the order in which they are asked. What is none goes to the document.
pub(crate) fn chosen(document: &Document) -> Vec<Kind> {
    let top = document.top();
    let mut chosen = Vec::new();
    for name in top.list("authenticator") {
        match Kind::named(&name) {
            Some(kind) if chosen.contains(&kind) => {
                top.problem("authenticator", format!("{name} is there twice"));
            }
            Some(Kind::Certificate) if !chosen.is_empty() => {
                let text = "certificate must be the first: the others refuse whoever gives no name and no password";
                top.problem("authenticator", text);
            }
            Some(kind) => chosen.push(kind),
            None => {
                let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                let text = format!("unknown; those that there are: {}", known.join(", "));
                top.problem("authenticator", text);
            }
        }
    }
    chosen
}

/// Everything that logins are configured with.
pub(crate) struct Loaded {
    pub(crate) doors: Vec<LoadedDoor>,
    pub(crate) throttle: Rules,
}

/// One authenticator's settings.
pub(crate) struct LoadedDoor {
    kind: Kind,
    issue: Issue,
    own: Own,
}

/// What only this kind of authenticator has.
enum Own {
    Certificate(Box<certificate::Settings>),
    Userlist(Box<LoadedUsers>),
    Okta(Box<okta::Settings>),
}

/// Reads all sections. `None` when something is wrong: the document knows what.
pub(crate) fn load(document: &Document, kinds: &[Kind], now: Timestamp) -> Option<Loaded> {
    let before = document.problems().errors().len();
    let throttle = Rules::read(document);
    let doors: Vec<_> = kinds
        .iter()
        .filter_map(|kind| kind.load(document, now))
        .collect();
    let good = document.problems().errors().len() == before && doors.len() == kinds.len();
    good.then_some(Loaded { doors, throttle })
}

impl Kind {
    fn load(self, document: &Document, now: Timestamp) -> Option<LoadedDoor> {
        let (issue, own) = match self {
            Self::Certificate => {
                let table = certificate::CERTIFICATE;
                let section = settings::section(document, self.section(), self.name(), table)?;
                let issue = settings::issue(&section, certificate::ISSUER, now);
                let own = certificate::Settings::read(&section);
                if !document.top().has("tls_ca") {
                    let text = "required with authenticator certificate: clients show none where none is asked for";
                    document.problem("tls_ca", text);
                }
                (issue, Some(Own::Certificate(Box::new(own))))
            }
            Self::Userlist => {
                let section =
                    settings::section(document, self.section(), self.name(), settings::USERLIST)?;
                let issue = settings::issue(&section, userlist::ISSUER, now);
                (
                    issue,
                    settings::users(&section).map(|own| Own::Userlist(Box::new(own))),
                )
            }
            Self::Okta => {
                let section = settings::section(document, self.section(), self.name(), okta::OKTA)?;
                let issue = settings::issue(&section, okta::ISSUER, now);
                (
                    issue,
                    okta::Settings::read(&section).map(|own| Own::Okta(Box::new(own))),
                )
            }
        };
        Some(LoadedDoor {
            kind: self,
            issue: issue?,
            own: own?,
        })
    }
}

/// What authenticators are made with.
pub(crate) struct Parts {
    pub(crate) pool: Arc<HashPool>,
    pub(crate) meter: Meter,
}

/// One authenticator that runs.
#[derive(Clone)]
pub(crate) struct Opened {
    kind: Kind,
    authenticator: Running,
    pub(crate) mint: Arc<Mint>,
    key_files: Following,
    allow_unsigned: Arc<AtomicBool>,
    fallback: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Running {
    Certificate(Arc<Certificate>),
    Userlist(Arc<Userlist>, Following),
    Okta(Arc<Okta>),
}

impl LoadedDoor {
    /// Makes the authenticator, and follows the files that it was made from. `look` is called after its keys have changed.
    pub(crate) fn open(
        self,
        shell: &mut Shell,
        parts: &Parts,
        look: impl Fn() + Send + 'static,
    ) -> Opened {
        let issue = self.issue;
        let authenticator = match self.own {
            Own::Certificate(own) => {
                Running::Certificate(Arc::new(Certificate::new(*own, shell.clock())))
            }
            Own::Userlist(own) => Running::userlist(shell, parts, *own),
            Own::Okta(own) => Running::okta(shell, parts, *own),
        };
        let mint = Arc::new(Mint::new(issue.files, issue.minter, issue.validity));
        let keys: Vec<&FileContent> = issue.key_files.iter().collect();
        let (changed, clock) = (Arc::clone(&mint), shell.clock());
        let key_files = shell.follow_all("signing_key", &keys, MAX_FILE_BYTES, move |contents| {
            let outcome = changed.files_changed(contents, clock.now());
            look();
            outcome
        });
        Opened {
            kind: self.kind,
            authenticator,
            mint,
            key_files,
            allow_unsigned: Arc::new(AtomicBool::new(issue.allow_unsigned)),
            fallback: Arc::new(AtomicBool::new(issue.fallback)),
        }
    }
}

impl Running {
    fn okta(shell: &mut Shell, parts: &Parts, own: okta::Settings) -> Self {
        let okta = Arc::new(Okta::new(own, shell.clock(), parts.meter.clone()));
        let asked = Arc::clone(&okta);
        let name = okta.endpoint();
        shell.probe(Probe::new(Dependency::Tenant, name, move || async move {
            asked.answers().await?;
            Ok(Answer {
                good: "accepts the API token".to_owned(),
                ..Answer::default()
            })
        }));
        Self::Okta(okta)
    }

    fn userlist(shell: &mut Shell, parts: &Parts, own: LoadedUsers) -> Self {
        let (pool, meter) = (Arc::clone(&parts.pool), parts.meter.clone());
        let userlist = Arc::new(Userlist::new(own.source, own.users, pool, meter));
        let (changed, file) = (
            Arc::clone(&userlist),
            own.users_file.iter().collect::<Vec<_>>(),
        );
        let following = shell.follow_all("users_file", &file, USERS_FILE_LIMIT, move |contents| {
            contents
                .iter()
                .try_for_each(|content| changed.file_changed(content))
        });
        Self::Userlist(userlist, following)
    }
}

impl Opened {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn door(&self) -> Door {
        let authenticator: Arc<dyn Authenticator> = match &self.authenticator {
            Running::Certificate(certificate) => Arc::clone(certificate) as _,
            Running::Userlist(userlist, _) => Arc::clone(userlist) as _,
            Running::Okta(okta) => Arc::clone(okta) as _,
        };
        Door {
            authenticator,
            mint: Arc::clone(&self.mint),
            allow_unsigned: Arc::clone(&self.allow_unsigned),
            fallback: Arc::clone(&self.fallback),
        }
    }

    /// Takes over other settings of the same kind, that were read already.
    pub(crate) fn replace(&self, loaded: LoadedDoor) {
        match (&self.authenticator, loaded.own) {
            (Running::Userlist(userlist, following), Own::Userlist(own)) => {
                following.point_to(&own.users_file.iter().collect::<Vec<_>>(), Vec::new());
                userlist.replace(own.source, own.users);
            }
            (Running::Okta(okta), Own::Okta(own)) => okta.replace(*own),
            (Running::Certificate(certificate), Own::Certificate(own)) => {
                certificate.replace(*own);
            }
            // Whoever calls this has compared the kinds.
            _ => return,
        }
        let issue = loaded.issue;
        self.key_files
            .point_to(&issue.key_files.iter().collect::<Vec<_>>(), Vec::new());
        self.mint.replace(issue.files, issue.minter, issue.validity);
        self.allow_unsigned
            .store(issue.allow_unsigned, Ordering::Relaxed);
        self.fallback.store(issue.fallback, Ordering::Relaxed);
    }

    /// Looks at the policy files, which nobody tells of. An error says why a changed one cannot be taken.
    pub(crate) fn look_at_policies(&self) -> Result<(), String> {
        match &self.authenticator {
            Running::Certificate(certificate) => certificate.look_at_policies(),
            Running::Userlist(userlist, _) => userlist.look_at_policies().map(drop),
            Running::Okta(okta) => okta.look_at_policies(),
        }
    }
}
