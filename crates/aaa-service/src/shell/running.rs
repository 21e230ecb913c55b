//! A service that runs, and its end: no new requests, those in flight finished, hooks run.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::DrainHook;
use super::reload::Reloader;
use crate::config::Problems;
use crate::readiness::Readiness;

/// The least time that hooks have to flush, however short `drain_timeout` is.
const HOOKS: Duration = Duration::from_secs(2);

/// Why a service does not run.
#[derive(Debug)]
pub enum StartError {
    /// Its configuration is wrong: all that is.
    Configuration(Problems),
    /// The machine, or another service, does not let it.
    Runtime(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => problems.fmt(f),
            Self::Runtime(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for StartError {}

/// A service that runs until [`Running::shutdown`].
pub struct Running {
    /// Where clients connect, with the port that was taken; `None` without a listener.
    pub addr: Option<SocketAddr>,
    /// Where metrics and health are; `None` without an admin port.
    pub admin_addr: Option<SocketAddr>,
    parts: Parts,
    reloader: Arc<Reloader>,
}

pub(super) struct Parts {
    pub(super) addr: Option<SocketAddr>,
    pub(super) admin_addr: Option<SocketAddr>,
    pub(super) readiness: Readiness,
    pub(super) draining: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) connections: TaskTracker,
    pub(super) kill: CancellationToken,
    pub(super) stop: CancellationToken,
    pub(super) drain_timeout: Duration,
    pub(super) hooks: Vec<DrainHook>,
}

impl Running {
    pub(super) fn new(parts: Parts, reloader: Reloader) -> Self {
        Self {
            addr: parts.addr,
            admin_addr: parts.admin_addr,
            parts,
            reloader: Arc::new(reloader),
        }
    }

    /// Whether the service is ready, and waiting for it.
    pub fn readiness(&self) -> &Readiness {
        &self.parts.readiness
    }

    /// Reloads as on SIGHUP: opens files anew, reads `config` anew if there is one, looks at all followed files.
    /// `true` when all of it could be taken.
    pub async fn reload(&self, config: Option<&Path>) -> bool {
        self.reload_as(config.map(Path::to_owned), false).await
    }

    pub(super) async fn reload_as(&self, config: Option<PathBuf>, debug: bool) -> bool {
        let reloader = Arc::clone(&self.reloader);
        // It reads files, and so do the hooks.
        tokio::task::spawn_blocking(move || reloader.reload(config.as_deref(), debug))
            .await
            .unwrap_or(false)
    }

    /// Stops: not ready, no new connections or requests; those in flight have `drain_timeout` to finish; then the hooks run.
    /// `true` when everything finished in time.
    pub async fn shutdown(self) -> bool {
        let parts = self.parts;
        let began = Instant::now();
        parts.readiness.drain();
        parts.draining.cancel();
        parts.connections.close();
        parts.tasks.close();
        let all = async {
            parts.connections.wait().await;
            parts.tasks.wait().await;
        };
        let finished = timeout(parts.drain_timeout, all).await.is_ok();
        if !finished {
            tracing::warn!(
                connections = parts.connections.len(),
                tasks = parts.tasks.len(),
                "drain_timeout is over; what is still in flight is cut off"
            );
            parts.kill.cancel();
            parts.connections.wait().await;
        }
        let hooks = hooks(parts.hooks, parts.drain_timeout.max(HOOKS)).await;
        parts.stop.cancel();
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(ms, "stopped");
        finished && hooks
    }
}

/// Runs what is to be done last, one after the other, in this time altogether. `true` when all of it was.
async fn hooks(hooks: Vec<DrainHook>, limit: Duration) -> bool {
    let end = tokio::time::Instant::now() + limit;
    let mut all = true;
    for hook in hooks {
        if tokio::time::timeout_at(end, (hook.run)()).await.is_err() {
            tracing::error!(what = hook.name, "did not finish in time");
            all = false;
        }
    }
    all
}

/// When the start began, to tell how long it took.
pub(super) struct StartTime(Instant);

impl StartTime {
    pub(super) fn now() -> Self {
        Self(Instant::now())
    }

    pub(super) fn milliseconds(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
