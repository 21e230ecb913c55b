//! Where policies run: at once on the thread that asks, or, when they could take long in one step or need much stack,
//! on a thread of their own that nobody waits for longer than the limit.
//!
//! A thread cannot be stopped from outside. One that goes on after its time is left to itself, and when there are several
//! of those, nothing that needs a thread is run until one has ended.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

/// Address space for the stack of such a thread; memory is used only as far as the stack grows.
const STACK: usize = 256 << 20;

/// How many may be running on after their time.
const MOST_RUNAWAYS: usize = 2;

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It goes on, and nobody waits for it any more.
    TimeIsUp,
    /// It was not started, as others still go on.
    Busy,
    /// It came to an end without a result, which is a fault of the engine.
    Broken,
}

/// Runs a piece of work here. A panic in it is no result.
pub(super) fn here<T>(work: impl FnOnce() -> T) -> Result<T, Stopped> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Stopped::Broken)
}

/// Starts threads for work that may take long.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// How many go on after their time.
    runaways: Arc<AtomicUsize>,
}

impl Lane {
    /// Runs a piece of work on a thread with a large stack, for a limited time.
    ///
    /// # Errors
    /// When it takes longer, or comes to no result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        if self.runaways.load(Ordering::Acquire) >= MOST_RUNAWAYS {
            return Err(Stopped::Busy);
        }
        let (give, take) = sync_channel(1);
        let state = Arc::new(AtomicUsize::new(WAITED_FOR));
        let (its_state, runaways) = (Arc::clone(&state), Arc::clone(&self.runaways));
        let started = thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let result = here(work);
                // Nobody may be there to take it.
                drop(give.send(result));
                if its_state.swap(ENDED, Ordering::AcqRel) == LEFT {
                    runaways.fetch_sub(1, Ordering::AcqRel);
                }
            });
        if started.is_err() {
            return Err(Stopped::Busy);
        }
        match take.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(Stopped::Broken),
            Err(RecvTimeoutError::Timeout) => {
                self.runaways.fetch_add(1, Ordering::AcqRel);
                if state.swap(LEFT, Ordering::AcqRel) == ENDED {
                    self.runaways.fetch_sub(1, Ordering::AcqRel);
                }
                Err(Stopped::TimeIsUp)
            }
        }
    }
}

/// What is known of a thread: somebody waits for it, it ended, or it was left to itself.
const WAITED_FOR: usize = 0;
const ENDED: usize = 1;
const LEFT: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn results_come_back() {
        assert_eq!(here(|| 1), Ok(1));
        assert_eq!(Lane::default().run(LONG, || 1), Ok(1));
    }

    #[test]
    fn a_panic_is_no_result() {
        assert_eq!(here(|| panic!("on purpose")), Err::<(), _>(Stopped::Broken));
        assert_eq!(
            Lane::default().run(LONG, || panic!("on purpose")),
            Err::<(), _>(Stopped::Broken)
        );
    }

    #[test]
    fn there_is_room_for_deep_recursion() {
        fn deep(n: u64) -> u64 {
            if n == 0 {
                0
            } else {
                std::hint::black_box(deep(n - 1) + 1)
            }
        }
        assert_eq!(Lane::default().run(LONG, || deep(200_000)), Ok(200_000));
    }

    #[test]
    fn those_that_go_on_are_left_and_few_at_a_time() {
        let lane = Lane::default();
        let held: Vec<_> = (0..MOST_RUNAWAYS)
            .map(|_| {
                let (end, until) = channel::<()>();
                let outcome = lane.run(Duration::from_millis(1), move || until.recv().is_ok());
                assert_eq!(outcome, Err(Stopped::TimeIsUp));
                end
            })
            .collect();
        assert_eq!(lane.run(LONG, || 1), Err(Stopped::Busy));
        drop(held);
        // They end now; as soon as they have, there is room again.
        while lane.run(LONG, || 1) == Err(Stopped::Busy) {
            thread::yield_now();
        }
    }
}
