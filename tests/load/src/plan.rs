//! How much is still to be asked, for all connections together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Hands out the numbers of requests until there are no more, or the time is up.
pub(crate) struct Plan {
    next: AtomicU64,
    count: u64,
    deadline: Option<Instant>,
}

impl Plan {
    /// So many requests, and for no longer than this from now.
    pub(crate) fn new(count: u64, duration: Option<Duration>) -> Self {
        Self {
            next: AtomicU64::new(0),
            count,
            deadline: duration.and_then(|duration| Instant::now().checked_add(duration)),
        }
    }

    /// The next number; `None` when the plan is done.
    pub(crate) fn take(&self) -> Option<u64> {
        if self
            .deadline
            .is_some_and(|deadline| deadline <= Instant::now())
        {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.count).then_some(number)
    }

    /// Whether the requests ran out, before the time was up if there was one.
    pub(crate) fn used_up(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_given_once() {
        let plan = Plan::new(3, None);
        assert!(!plan.used_up());
        let taken: Vec<_> = std::iter::from_fn(|| plan.take()).collect();
        assert_eq!(taken, [0, 1, 2]);
        assert!(plan.used_up());
    }

    #[test]
    fn nothing_is_given_when_the_time_is_up() {
        let plan = Plan::new(3, Some(Duration::ZERO));
        assert_eq!(plan.take(), None);
        assert!(!plan.used_up());
    }
}
