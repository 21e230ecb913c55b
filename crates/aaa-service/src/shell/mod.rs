//! The life of a service: built from its configuration, started, reloaded, drained.
//!
//! A program's `main` is [`run`] with a function that builds its [`Handlers`]. While it builds, a service tells the [`Shell`] what
//! it wants to hear of: changed files, reloads, the end. [`start`] does the same within a process, for tests and for
//! development. What a service registers takes effect only when it starts: checking a configuration builds it too.

mod args;
mod examine;
mod prepared;
mod program;
mod reload;
mod running;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aaa_api::handler::Handlers;
use aaa_audit::Trail;
use aaa_core::clock::{SharedClock, SystemClock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use args::ServiceArgs;
pub use examine::{Answer, Dependency, End, Examined, Probe, examine};
pub use program::{Program, command, run, run_with};
pub use running::{Running, StartError};

use crate::config::{Document, FileContent, Problems};
use crate::readiness::Readiness;
use crate::watch::{Follow, digests};

pub use crate::watch::{Directory, Following};
use prepared::Prepared;
pub use reload::Take;
use reload::{ReloadHook, ReopenHook};

/// What a service is told and may ask for while it is built.
pub struct Shell {
    site: String,
    clock: SharedClock,
    checking: bool,
    tls: bool,
    trail: Option<Arc<Trail>>,
    readiness: Readiness,
    draining: CancellationToken,
    tasks: TaskTracker,
    own_front: bool,
    follows: Vec<Follow>,
    reload: Vec<ReloadHook>,
    reopen: Vec<ReopenHook>,
    start: Vec<StartHook>,
    drain: Vec<DrainHook>,
    ends: Vec<End>,
    probes: Vec<Probe>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

struct StartHook {
    name: String,
    run: Box<dyn FnOnce() -> Boxed<Result<(), String>> + Send>,
}

struct DrainHook {
    name: String,
    run: Box<dyn FnOnce() -> Boxed<()> + Send>,
}

/// What the embedder decides instead of the configuration, or beside it.
#[derive(Clone)]
pub struct Options {
    /// Overrides `listen` and `port`.
    pub listen: Option<String>,
    /// Overrides `admin_listen` and `monitor_port`.
    pub admin_listen: Option<String>,
    /// Plain HTTP for clients.
    pub disable_tls: bool,
    /// The time of day.
    pub clock: SharedClock,
    /// Whether the service is built only to see what is wrong, and never started: then nothing is made on disk.
    pub checking: bool,
    /// Whether spans are sent to a collector, and so carry more than a request's name.
    pub traced: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: None,
            admin_listen: None,
            disable_tls: false,
            clock: Arc::new(SystemClock),
            checking: false,
            traced: false,
        }
    }
}

/// Starts a service within this process: no signals, no log of its own.
///
/// # Errors
/// When the configuration is wrong, an address cannot be listened on, or the service itself cannot start.
pub async fn start<B>(
    program: &Program,
    document: Document,
    options: Options,
    build: B,
) -> Result<Running, StartError>
where
    B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
{
    let prepared = Prepared::new(program, document, options, None, build)
        .map_err(StartError::Configuration)?;
    prepared.start().await.map_err(StartError::Runtime)
}

impl Shell {
    fn new(site: String, options: &Options) -> Self {
        Self {
            site,
            clock: Arc::clone(&options.clock),
            checking: options.checking,
            tls: !options.disable_tls,
            trail: None,
            readiness: Readiness::default(),
            draining: CancellationToken::new(),
            tasks: TaskTracker::new(),
            own_front: false,
            follows: Vec::new(),
            reload: Vec::new(),
            reopen: Vec::new(),
            start: Vec::new(),
            drain: Vec::new(),
            ends: Vec::new(),
            probes: Vec::new(),
        }
    }

    /// [`start`], for those who have the type at hand.
    ///
    /// # Errors
    /// See [`start`].
    pub async fn start<B>(
        program: &Program,
        document: Document,
        options: Options,
        build: B,
    ) -> Result<Running, StartError>
    where
        B: FnOnce(&Document, &mut Self) -> Result<Handlers, Problems>,
    {
        start(program, document, options, build).await
    }

    /// The name of this site, for metrics, records and policies.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The time of day.
    pub fn clock(&self) -> SharedClock {
        Arc::clone(&self.clock)
    }

    /// Whether clients are spoken to over TLS, and so can show certificates.
    pub fn speaks_tls(&self) -> bool {
        self.tls
    }

    /// Where what happens goes on record, as the configuration says. Every service of this process has the same one; it is
    /// reopened and closed with them. What is wrong with its settings goes to the document.
    pub fn trail(&mut self, document: &Document) -> Arc<Trail> {
        if let Some(trail) = &self.trail {
            return Arc::clone(trail);
        }
        let given = crate::audit::Given {
            document,
            now: self.clock.now(),
            site: &self.site,
            checking: self.checking,
            condition: &|name| self.readiness.register(name),
        };
        let crate::audit::Made {
            trail,
            starts,
            probes,
        } = crate::audit::trail(&given);
        self.probes.extend(probes);
        let trail = Arc::new(trail);
        self.trail = Some(Arc::clone(&trail));
        for start in starts {
            self.on_start("auditors", move || start.run());
        }
        let (reopened, closed) = (Arc::clone(&trail), Arc::clone(&trail));
        self.on_reopen("auditors", move || {
            reopened.reopen().map_err(|error| error.to_string())
        });
        self.on_drain("auditors", move || async move { closed.close().await });
        trail
    }

    /// Says when something ends that the service lives on, in unix seconds: for those who [`examine`] it.
    pub fn ends(&mut self, setting: impl Into<String>, at: Option<i64>) {
        let setting = setting.into();
        self.ends.extend(at.map(|at| End { setting, at }));
    }

    /// Says who should answer the service: for those who [`examine`] it.
    pub fn probe(&mut self, probe: Probe) {
        self.probes.push(probe);
    }

    /// Where to say that something keeps the service from serving.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Says that the service is reached in a way of its own, so that it may run without a listener.
    pub fn has_own_front(&mut self) {
        self.own_front = true;
    }

    /// Cancelled when the service is told to stop: from then on nothing new is to be taken on.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Runs in the background tasks that the service spawns with it; draining waits for them. They end when
    /// [`Shell::draining`] is cancelled, once they have finished what they had.
    pub fn tasks(&self) -> TaskTracker {
        self.tasks.clone()
    }

    /// Follows a file from the state in which it was read. `changed` gets each new content, on a thread where it may block;
    /// an error keeps the old one, is logged and counted. `what` names it there: a setting's full key.
    pub fn follow(
        &mut self,
        what: impl Into<String>,
        file: &FileContent,
        limit: u64,
        mut changed: impl FnMut(&FileContent) -> Result<(), String> + Send + 'static,
    ) -> Following {
        let changed = move |files: &[FileContent]| files.iter().try_for_each(&mut changed);
        self.follow_all(what, &[file], limit, changed)
    }

    /// Follows several files that belong together; `changed` gets all of them when one has changed.
    pub fn follow_all(
        &mut self,
        what: impl Into<String>,
        files: &[&FileContent],
        limit: u64,
        changed: impl FnMut(&[FileContent]) -> Result<(), String> + Send + 'static,
    ) -> Following {
        self.follow_directories(what, files, Vec::new(), limit, changed)
    }

    /// The same for files of which some are all that directories hold: also what is added to them or removed is a change.
    pub fn follow_directories(
        &mut self,
        what: impl Into<String>,
        files: &[&FileContent],
        directories: Vec<Directory>,
        limit: u64,
        changed: impl FnMut(&[FileContent]) -> Result<(), String> + Send + 'static,
    ) -> Following {
        let follow = Follow::new(what, digests(files), directories, limit, changed);
        let following = follow.following();
        self.follows.push(follow);
        following
    }

    /// Hears of a reload (SIGHUP), with the configuration as it is now. It reads and checks, and hands on how what it read is taken;
    /// what is wrong is for the document. Everything is taken together, when nothing is wrong anywhere. It may block.
    ///
    /// `takes` are the settings that it takes, by their full keys, each with all that stands below it. Whatever else has changed is
    /// said to need a restart.
    pub fn on_reload(
        &mut self,
        name: impl Into<String>,
        takes: &'static [&'static str],
        hook: impl Fn(&Document) -> Option<Take> + Send + Sync + 'static,
    ) {
        self.reload.push(ReloadHook {
            name: name.into(),
            takes,
            read: Box::new(hook),
        });
    }

    /// Opens files anew that were moved away (SIGHUP), whether or not the configuration reads. It may block.
    pub fn on_reopen(
        &mut self,
        name: impl Into<String>,
        hook: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.reopen.push(ReopenHook {
            name: name.into(),
            run: Box::new(hook),
        });
    }

    /// Runs when the service starts, before it listens. An error keeps it from starting.
    pub fn on_start<F>(
        &mut self,
        name: impl Into<String>,
        hook: impl FnOnce() -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.start.push(StartHook {
            name: name.into(),
            run: Box::new(move || Box::pin(hook())),
        });
    }

    /// Runs when the service stops, after the last request: to flush and to close. In the order of registration.
    pub fn on_drain<F>(
        &mut self,
        name: impl Into<String>,
        hook: impl FnOnce() -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.drain.push(DrainHook {
            name: name.into(),
            run: Box::new(move || Box::pin(hook())),
        });
    }
}
