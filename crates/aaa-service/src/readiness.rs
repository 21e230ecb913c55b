//! Whether the service could serve now: named conditions, each with a reason while it does not hold.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aaa_api::server::{Condition, ConditionReceiver};
use tokio::sync::watch;

/// All conditions. The service is ready when every one holds, and it is not draining. Clones share them.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    condition: watch::Sender<Condition>,
}

#[derive(Default)]
struct State {
    conditions: Vec<Named>,
    draining: bool,
}

struct Named {
    name: String,
    /// Why it does not hold.
    reason: Option<String>,
}

/// One condition. It does not hold until somebody says so; clones speak of the same.
#[derive(Clone)]
pub struct ReadyHandle {
    readiness: Readiness,
    index: usize,
}

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            condition: watch::Sender::new(Condition::Ready),
        }))
    }
}

impl Readiness {
    /// A new condition, not ready because it is "starting".
    pub fn register(&self, name: impl Into<String>) -> ReadyHandle {
        let mut state = self.lock();
        let index = state.conditions.len();
        state.conditions.push(Named {
            name: name.into(),
            reason: Some("starting".to_owned()),
        });
        self.publish(&state);
        ReadyHandle {
            readiness: self.clone(),
            index,
        }
    }

    /// Whether all conditions hold.
    pub fn is_ready(&self) -> bool {
        *self.0.condition.borrow() == Condition::Ready
    }

    /// Waits until all conditions hold.
    pub async fn wait(&self) {
        let mut condition = self.subscribe();
        // The sender lives as long as this does.
        let _ = condition.wait_for(|now| *now == Condition::Ready).await;
    }

    /// What does not hold, a line each: `name: reason`. Empty when all do.
    pub fn problems(&self) -> String {
        let state = self.lock();
        let mut text = String::new();
        if state.draining {
            text.push_str("service: stopping\n");
        }
        for named in &state.conditions {
            if let Some(reason) = &named.reason {
                let _ = writeln!(text, "{}: {reason}", named.name);
            }
        }
        text
    }

    /// Follows it.
    pub(crate) fn subscribe(&self) -> ConditionReceiver {
        self.0.condition.subscribe()
    }

    /// From now on the service takes on nothing more.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        self.publish(&state);
    }

    fn set(&self, index: usize, reason: Option<String>) {
        let mut state = self.lock();
        if let Some(named) = state.conditions.get_mut(index) {
            named.reason = reason;
        }
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        let condition = if state.draining {
            Condition::Draining
        } else if state.conditions.iter().all(|named| named.reason.is_none()) {
            Condition::Ready
        } else {
            Condition::NotReady
        };
        self.0.condition.send_if_modified(|now| {
            let changed = *now != condition;
            *now = condition;
            changed
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadyHandle {
    /// It holds.
    pub fn ready(&self) {
        self.readiness.set(self.index, None);
    }

    /// It does not, and this is why, in a few words for whoever asks the admin port.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.readiness.set(self.index, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_when_all_conditions_hold() {
        let readiness = Readiness::default();
        let (users, audit) = (readiness.register("users"), readiness.register("audit"));
        assert!(!readiness.is_ready());
        assert_eq!(readiness.problems(), "users: starting\naudit: starting\n");

        users.ready();
        audit.not_ready("stream unreachable");
        assert_eq!(readiness.problems(), "audit: stream unreachable\n");

        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.wait().await }
        });
        audit.ready();
        waiting.await.unwrap();
        assert!(readiness.is_ready());
        assert_eq!(readiness.problems(), "");

        readiness.drain();
        users.not_ready("x");
        users.ready();
        assert_eq!(*readiness.subscribe().borrow(), Condition::Draining);
        assert_eq!(readiness.problems(), "service: stopping\n");
    }
}
