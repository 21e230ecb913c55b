//! The end of the delegator's token: counted down in a metric, warned of, and once it is there, not ready any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use aaa_core::clock::SharedClock;
use aaa_core::duration;
use aaa_service::readiness::ReadyHandle;
use aaa_service::shell::Shell;
use metrics::Gauge;

/// No delegator, so no end.
const NEVER: i64 = i64::MAX;
/// How often the time left is looked at.
const EVERY: Duration = Duration::from_mins(1);
/// How long before the end it is warned of, in seconds.
const WARNING: i64 = 14 * 24 * 3600;

/// When the delegator's token ends. Shared by those who reload it and the one who watches.
#[derive(Clone)]
pub(crate) struct Expiry(Arc<AtomicI64>);

struct Watch {
    expiry: Expiry,
    clock: SharedClock,
    left: Gauge,
    ready: ReadyHandle,
    warned: bool,
}

impl Expiry {
    /// Watches from the service's start to its end.
    pub(crate) fn watch(shell: &mut Shell, expires: Option<i64>) -> Self {
        let expiry = Self(Arc::new(AtomicI64::new(NEVER)));
        expiry.set(expires);
        if expires.is_some() {
            let mut watch = Watch {
                expiry: expiry.clone(),
                clock: shell.clock(),
                left: metrics::gauge!("choria_aaa_delegator_expiry_seconds", "site" => shell.site().to_owned()),
                ready: shell.readiness().register("delegator"),
                warned: false,
            };
            let (tasks, draining) = (shell.tasks(), shell.draining());
            shell.on_start("delegator", move || async move {
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
        }
        expiry
    }

    /// The token was replaced.
    pub(crate) fn set(&self, expires: Option<i64>) {
        self.0.store(expires.unwrap_or(NEVER), Ordering::Relaxed);
    }
}

impl Watch {
    fn look(&mut self) {
        let left = self
            .expiry
            .0
            .load(Ordering::Relaxed)
            .saturating_sub(self.clock.now().as_second());
        #[expect(clippy::cast_precision_loss, reason = "seconds of a lifetime fit")]
        self.left.set(left as f64);
        if left <= 0 {
            self.ready
                .not_ready("signing_token has expired; nodes refuse what it signs");
        } else {
            self.ready.ready();
        }
        let near = left < WARNING;
        if near && !self.warned {
            let left = Duration::from_secs(left.max(0).unsigned_abs());
            tracing::warn!(
                left = duration::human(left),
                "signing_token ends soon; give the signer a new one"
            );
        }
        self.warned = near;
    }
}
