//! Where policies run: at once on the thread that asks, or, when they take long or need much stack, on a thread of their own, behind
//! everything else in priority, that nobody waits for longer than the limit.
//!
//! Of such threads few run at a time, and of one policy one. A thread cannot be stopped from outside: one that goes on after its time
//! is left to itself, and when there are several of those, nothing that needs a thread is run until one has ended.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Address space for the stack of such a thread; memory is used only as far as the stack grows.
const STACK: usize = 256 << 20;

/// How far behind the rest of the process such a thread stands.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How many may be running on after their time.
const MOST_RUNAWAYS: usize = 2;

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It goes on, and nobody waits for it any more.
    TimeIsUp,
    /// It was not started, as there is no room while others go on.
    Busy,
    /// It came to an end without a result, which is a fault of the engine.
    Broken,
}

/// Runs a piece of work here. A panic in it is no result.
pub(super) fn here<T>(work: impl FnOnce() -> T) -> Result<T, Stopped> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Stopped::Broken)
}

/// Does a piece of work that waits for another thread, in a way that keeps nobody else waiting. An asynchronous runtime has one of its own.
pub type Aside = fn(&mut dyn FnMut());

/// Where nobody else is kept waiting anyway.
fn simply(work: &mut dyn FnMut()) {
    work();
}

/// Room for a number of pieces of work at a time.
#[derive(Debug)]
pub(super) struct Room {
    left: Mutex<usize>,
    freed: Condvar,
}

/// A place in a room, until it is dropped.
struct Place<'a>(&'a Room);

impl Room {
    /// For as many.
    pub(super) fn of(places: usize) -> Self {
        Self {
            left: Mutex::new(places),
            freed: Condvar::new(),
        }
    }

    fn enter(&self, within: Duration) -> Option<Place<'_>> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut left, _) = self
            .freed
            .wait_timeout_while(left, within, |left| *left == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *left = left.checked_sub(1)?;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// Starts threads for work that may take long.
pub(super) struct Lane {
    room: Room,
    /// How many go on after their time.
    runaways: Arc<AtomicUsize>,
    aside: Aside,
}

impl Default for Lane {
    fn default() -> Self {
        Self::new(simply)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").finish_non_exhaustive()
    }
}

impl Lane {
    /// Waits in that way.
    pub(super) fn new(aside: Aside) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            room: Room::of(cores.saturating_sub(1).max(1)),
            runaways: Arc::default(),
            aside,
        }
    }

    /// Runs a piece of work on a thread with a large stack, for a limited time, once there is a place for it in its own room, too.
    ///
    /// # Errors
    /// When it takes longer, has no place within the limit, or comes to no result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        own: &Room,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (mut work, mut result) = (Some(work), Err(Stopped::Busy));
        (self.aside)(&mut || {
            let Some(work) = work.take() else { return };
            let own = own.enter(limit);
            let place = own.as_ref().and_then(|_| self.room.enter(limit));
            if place.is_some() {
                result = self.start(limit, work);
            }
        });
        result
    }

    fn start<T: Send + 'static>(
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
                step_back();
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

/// Puts the calling thread behind the others of the process. On Linux, `nice` values belong to threads. Where it may not,
/// it runs beside the others.
#[cfg(target_os = "linux")]
fn step_back() {
    use rustix::process::{getpriority_process, setpriority_process};
    let behind = getpriority_process(None).map_or(NICENESS, |nice| (nice + NICENESS).min(19));
    let _beside_the_others = setpriority_process(None, behind);
}

/// Elsewhere `nice` values belong to the process.
#[cfg(not(target_os = "linux"))]
fn step_back() {}

/// What is known of a thread: somebody waits for it, it ended, or it was left to itself.
const WAITED_FOR: usize = 0;
const ENDED: usize = 1;
const LEFT: usize = 2;

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn run<T: Send + 'static>(
        lane: &Lane,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        lane.run(&Room::of(1), limit, work)
    }

    #[test]
    fn a_full_room_is_left_as_it_was() {
        let room = Room::of(1);
        let place = room.enter(LONG).unwrap();
        assert!(room.enter(Duration::ZERO).is_none());
        assert_eq!(
            Lane::default().run(&room, Duration::ZERO, || 1),
            Err(Stopped::Busy)
        );
        drop(place);
        assert_eq!(Lane::default().run(&room, LONG, || 1), Ok(1));
        assert!(room.enter(Duration::ZERO).is_some());
    }

    #[test]
    fn whoever_waits_for_a_place_gets_the_one_that_is_freed() {
        let room = Room::of(1);
        let place = room.enter(LONG).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| room.enter(LONG).is_some());
            drop(place);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn waiting_is_done_aside() {
        fn count(work: &mut dyn FnMut()) {
            ASIDE.fetch_add(1, Ordering::AcqRel);
            work();
        }
        static ASIDE: AtomicUsize = AtomicUsize::new(0);
        assert_eq!(run(&Lane::new(count), LONG, || 1), Ok(1));
        assert_eq!(ASIDE.load(Ordering::Acquire), 1);
    }

    #[test]
    fn results_come_back() {
        assert_eq!(here(|| 1), Ok(1));
        assert_eq!(run(&Lane::default(), LONG, || 1), Ok(1));
    }

    #[test]
    fn a_panic_is_no_result() {
        assert_eq!(here(|| panic!("on purpose")), Err::<(), _>(Stopped::Broken));
        assert_eq!(
            run(&Lane::default(), LONG, || panic!("on purpose")),
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
        assert_eq!(run(&Lane::default(), LONG, || deep(200_000)), Ok(200_000));
    }

    #[test]
    fn those_that_go_on_are_left_and_few_at_a_time() {
        let lane = Lane::default();
        let held: Vec<_> = (0..MOST_RUNAWAYS)
            .map(|_| {
                let (end, until) = channel::<()>();
                let outcome = run(&lane, Duration::from_millis(1), move || {
                    until.recv().is_ok()
                });
                assert_eq!(outcome, Err(Stopped::TimeIsUp));
                end
            })
            .collect();
        assert_eq!(run(&lane, LONG, || 1), Err(Stopped::Busy));
        drop(held);
        // They end now; as soon as they have, there is room again.
        while run(&lane, LONG, || 1) == Err(Stopped::Busy) {
            thread::yield_now();
        }
    }
}
