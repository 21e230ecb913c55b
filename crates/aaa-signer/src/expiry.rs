//! The end of a token that the signer lives on: counted down in a metric, warned of, and once it is there, not ready any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aaa_core::clock::SharedClock;
use aaa_core::duration;
use aaa_service::readiness::ReadyHandle;
use aaa_service::shell::Shell;
use metrics::Gauge;

/// A token that is watched, in the words of operators.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    /// The condition of the service's readiness.
    condition: &'static str,
    metric: &'static str,
    /// Why the service is not ready once it has ended.
    ended: &'static str,
    /// What to do before.
    near: &'static str,
}

/// The token that makes the signer a delegator.
pub(crate) const DELEGATOR: Watched = Watched {
    condition: "delegator",
    metric: "choria_aaa_delegator_expiry_seconds",
    ended: "signing_token has expired; nodes refuse what it signs",
    near: "signing_token ends soon; give the signer a new one",
};

/// The token with which the signer is on the Choria network.
pub(crate) const NETWORK: Watched = Watched {
    condition: "network token",
    metric: "choria_aaa_network_token_expiry_seconds",
    ended: "the server token of choria_config has expired; the broker lets nobody in with it",
    near: "the server token of choria_config ends soon; give the signer a new one and restart it",
};

/// No token, so no end.
const NEVER: i64 = i64::MAX;
/// How often the time left is looked at.
const EVERY: Duration = Duration::from_mins(1);
/// How long before the end it is warned of, in seconds.
const WARNING: i64 = 14 * 24 * 3600;

/// When a token ends. Shared by those who reload it and the one who watches.
#[derive(Clone)]
pub(crate) struct Expiry(Arc<AtomicI64>);

struct Watch {
    watched: Watched,
    expiry: Expiry,
    clock: SharedClock,
    site: String,
    /// There once there was a token.
    left: Option<Gauge>,
    ready: ReadyHandle,
    warned: bool,
}

impl Expiry {
    /// Watches from the service's start to its end.
    pub(crate) fn watch(shell: &mut Shell, watched: Watched, expires: Option<i64>) -> Self {
        let expiry = Self(Arc::new(AtomicI64::new(NEVER)));
        expiry.set(expires);
        let mut watch = Watch {
            watched,
            expiry: expiry.clone(),
            clock: shell.clock(),
            site: shell.site().to_owned(),
            left: None,
            ready: shell.readiness().register(watched.condition),
            warned: false,
        };
        let (tasks, draining) = (shell.tasks(), shell.draining());
        shell.on_start(watched.condition, move || async move {
            watch.look();
            tasks.spawn(async move {
                while draining
                    .run_until_cancelled(tokio::time::sleep(EVERY))
                    .await
                    .is_some()
                {
                    watch.look();
                }
            });
            Ok(())
        });
        expiry
    }

    /// The token was replaced.
    pub(crate) fn set(&self, expires: Option<i64>) {
        self.0.store(expires.unwrap_or(NEVER), Ordering::Relaxed);
    }
}

impl Watch {
    fn look(&mut self) {
        let expires = self.expiry.0.load(Ordering::Relaxed);
        let left = expires.saturating_sub(self.clock.now().as_second());
        if expires != NEVER {
            self.left.get_or_insert_with(
                || metrics::gauge!(self.watched.metric, "site" => self.site.clone()),
            );
        }
        if let Some(gauge) = &self.left {
            #[expect(clippy::cast_precision_loss, reason = "seconds of a lifetime fit")]
            gauge.set(if expires == NEVER {
                f64::INFINITY
            } else {
                left as f64
            });
        }
        if left <= 0 {
            self.ready.not_ready(self.watched.ended);
        } else {
            self.ready.ready();
        }
        let near = left < WARNING;
        if near && !self.warned {
            let left = Duration::from_secs(left.max(0).unsigned_abs());
            tracing::warn!(left = duration::human(left), "{}", self.watched.near);
        }
        self.warned = near;
    }
}
