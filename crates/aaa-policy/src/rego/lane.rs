//! Where policies run: at once on the thread that asks, or, when they take long or need much stack, on a thread of their own that nobody
//! waits for longer than the limit.
//!
//! Of such threads few run at a time, and of one policy one. Each meets its like there: policies that came to an end whenever they ran,
//! those that nobody knows yet, and those that used their time up, behind everything else in priority. So nobody who is known waits for
//! somebody who is not.
//!
//! A thread cannot be stopped from outside, and within one step of the engine it does not stop by itself. One that goes on after its time
//! is left to itself, behind everything else; until it has ended, nothing runs for its policy, and when there are many, only policies
//! that came to an end before.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::turns::{Past, Room, Standing, Turns};

/// Address space for the stack of such a thread; memory is used only as far as the stack grows.
const STACK: usize = 256 << 20;

/// How many policies that nobody knows yet run at a time. They share the processors, so that one that ends soon does not wait for those that do
/// not; what they make of memory together is bounded by that, too.
const STRANGERS: usize = 8;

/// How many run at a time of those that used their time up before.
const ENDLESS: usize = 1;

/// How many may be running on after their time, before policies that nobody knows yet have to wait.
const MOST_RUNAWAYS: usize = 8;

/// The share of the time that is kept back, one in so many, for the answer to be there when the limit is over, also where the processors are
/// busy.
const KEPT_BACK: u32 = 5;

/// The share of the time, one in so many, in which work that stops by itself comes to an end and is still waited for.
const ENDING: u32 = 10;

/// The share of the time, one in so many, in which most work is done. What takes longer makes room for what does not.
const PROMPT: u32 = 5;

/// How far behind the rest of the process a thread stands then, as a `nice` value.
const SLOW: i32 = 10;

/// The same from the start, for what used its time up before.
const LAST: i32 = 19;

/// The share of the time that work must have had of a processor to have used its time up, rather than that the host had none for it: one
/// in so many.
const HUNGRY: u32 = 4;

/// When somebody stops waiting. All waits for one answer have the same, so that together they are no longer than the limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
    now: fn() -> Instant,
}

impl Deadline {
    /// Soon enough to have answered so long from now.
    pub(super) fn within(limit: Duration) -> Self {
        Self::by(limit, Instant::now)
    }

    fn by(limit: Duration, now: fn() -> Instant) -> Self {
        let at = now() + limit.saturating_sub(limit / KEPT_BACK);
        Self { at, limit, now }
    }

    /// How long that is from now.
    pub(super) fn left(&self) -> Duration {
        self.at.saturating_duration_since((self.now)())
    }

    /// How long work may go on that is to have stopped by itself before nobody waits any more.
    pub(super) fn for_work(&self) -> Duration {
        self.left().saturating_sub(self.limit / ENDING)
    }
}

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

/// Starts threads for work that may take long.
pub(super) struct Lane {
    known: Room,
    strangers: Room,
    endless: Room,
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
            known: Room::of(cores),
            strangers: Room::of(STRANGERS),
            endless: Room::of(ENDLESS),
            runaways: Arc::default(),
            aside,
        }
    }

    /// Runs a piece of work on a thread with a large stack, once it is its turn and there is a place. It says itself when its time was up.
    ///
    /// # Errors
    /// When it is not done by the deadline, has no place until then, or comes to no result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        turns: &Turns,
        deadline: Deadline,
        work: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Result<T, Stopped> {
        let (mut work, mut result) = (Some(work), Err(Stopped::Busy));
        (self.aside)(&mut || {
            let Some(work) = work.take() else { return };
            let Some(_turn) = turns.room.enter(deadline) else {
                return;
            };
            let standing = turns.past.standing();
            if !self.takes(&turns.past, standing) {
                return;
            }
            if let Some(_place) = self.room(standing).enter(deadline) {
                result = self.start(&turns.past, deadline, work, standing);
            }
        });
        result
    }

    /// Whether anything may be started for a policy with that past.
    fn takes(&self, past: &Past, standing: Standing) -> bool {
        let room =
            standing == Standing::Known || self.runaways.load(Ordering::Acquire) < MOST_RUNAWAYS;
        room && !past.goes_on.load(Ordering::Acquire)
    }

    /// Where policies of one kind have their places.
    fn room(&self, standing: Standing) -> &Room {
        match standing {
            Standing::Known => &self.known,
            Standing::Stranger => &self.strangers,
            Standing::Endless => &self.endless,
        }
    }

    fn start<T: Send + 'static>(
        &self,
        past: &Arc<Past>,
        deadline: Deadline,
        work: impl FnOnce() -> Option<T> + Send + 'static,
        standing: Standing,
    ) -> Result<T, Stopped> {
        let (give, take) = sync_channel(1);
        let thread = Arc::new(Mutex::new(Thread::default()));
        if standing == Standing::Endless {
            lock(&thread).stands_behind(LAST);
        }
        let (itself, its_past) = (Arc::clone(&thread), Arc::clone(past));
        let runaways = Arc::clone(&self.runaways);
        let started = thread::Builder::new()
            .name("policy".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                lock(&itself).begins();
                let before = busy();
                let result = here(work);
                // It may have been the host that was slow.
                let hungry = busy().saturating_sub(before) > deadline.limit / HUNGRY;
                match result {
                    Ok(Some(_)) => its_past.ended(),
                    Ok(None) if hungry => its_past.used_up(),
                    _ => {}
                }
                // Nobody may be there to take it.
                drop(give.send(result));
                let mut itself = lock(&itself);
                itself.ended = true;
                if itself.left {
                    if hungry {
                        its_past.used_up();
                    }
                    its_past.goes_on.store(false, Ordering::Release);
                    runaways.fetch_sub(1, Ordering::AcqRel);
                }
            });
        if started.is_err() {
            return Err(Stopped::Busy);
        }
        let mut answer = take.recv_timeout(deadline.left().min(deadline.limit / PROMPT));
        if answer.is_err() && standing != Standing::Endless {
            lock(&thread).stands_behind(SLOW);
        }
        if matches!(answer, Err(RecvTimeoutError::Timeout)) {
            answer = take.recv_timeout(deadline.left());
        }
        match answer {
            Ok(result) => result?.ok_or(Stopped::TimeIsUp),
            Err(RecvTimeoutError::Disconnected) => Err(Stopped::Broken),
            Err(RecvTimeoutError::Timeout) => {
                let mut thread = lock(&thread);
                if !thread.ended {
                    thread.left = true;
                    past.goes_on.store(true, Ordering::Release);
                    self.runaways.fetch_add(1, Ordering::AcqRel);
                }
                Err(Stopped::TimeIsUp)
            }
        }
    }
}

/// What is known of a thread.
#[derive(Default)]
struct Thread {
    /// Once it runs.
    id: Option<ThreadId>,
    /// How far behind it is to stand.
    niceness: i32,
    /// It came to an end.
    ended: bool,
    /// It was left to itself.
    left: bool,
}

impl Thread {
    /// To be called on the thread itself.
    fn begins(&mut self) {
        let id = *self.id.insert(thread_id());
        if self.niceness > 0 {
            step_back(id, self.niceness);
        }
    }

    /// Puts it behind the others of the process, as soon as it runs.
    fn stands_behind(&mut self, niceness: i32) {
        self.niceness = niceness;
        if let Some(id) = self.id.filter(|_| !self.ended) {
            step_back(id, niceness);
        }
    }
}

/// Nothing that is guarded here can be left half done.
fn lock(thread: &Mutex<Thread>) -> MutexGuard<'_, Thread> {
    thread.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the processor has worked for this thread.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(target_os = "linux")]
type ThreadId = rustix::thread::Pid;

#[cfg(target_os = "linux")]
fn thread_id() -> ThreadId {
    rustix::thread::gettid()
}

/// Puts a thread behind the others of the process. On Linux, `nice` values belong to threads. Where it may not, it runs beside the others.
#[cfg(target_os = "linux")]
fn step_back(thread: ThreadId, niceness: i32) {
    let _beside_the_others = rustix::process::setpriority_process(Some(thread), niceness);
}

#[cfg(not(target_os = "linux"))]
type ThreadId = ();

#[cfg(not(target_os = "linux"))]
fn thread_id() {}

/// Elsewhere `nice` values belong to the process.
#[cfg(not(target_os = "linux"))]
fn step_back((): ThreadId, _: i32) {}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::mpsc::{Sender, channel};

    use super::super::turns::WARY;
    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn run<T: Send + 'static>(
        lane: &Lane,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let work = move || Some(work());
        lane.run(&Turns::default(), Deadline::within(limit), work)
    }

    fn long() -> Deadline {
        Deadline::within(LONG)
    }

    #[test]
    fn a_full_room_is_left_as_it_was() {
        let turns = Turns::default();
        let place = turns.room.enter(long()).unwrap();
        let none = Deadline::within(Duration::ZERO);
        assert!(turns.room.enter(none).is_none());
        let lane = Lane::default();
        assert_eq!(lane.run(&turns, none, || Some(1)), Err(Stopped::Busy));
        drop(place);
        assert_eq!(lane.run(&turns, long(), || Some(1)), Ok(1));
        assert!(turns.room.enter(none).is_some());
    }

    /// A clock that goes on by 40 s whenever somebody looks: of a minute the first wait has 8 s left, and the second none.
    #[test]
    fn what_is_waited_for_one_thing_is_not_waited_for_the_next() {
        thread_local! {
            static NOW: Cell<Instant> = Cell::new(Instant::now());
        }
        fn later() -> Instant {
            NOW.set(NOW.get() + Duration::from_secs(40));
            NOW.get()
        }
        let deadline = Deadline::by(LONG, later);
        assert_eq!(deadline.left(), Duration::from_secs(8));
        assert_eq!(deadline.left(), Duration::ZERO);
        // A turn and a place are there at once. For the work itself nothing is left, however long it goes on.
        let (end, until) = channel::<()>();
        let deadline = Deadline::by(LONG, later);
        let work = move || until.recv().ok();
        let outcome = Lane::default().run(&Turns::default(), deadline, work);
        assert_eq!(outcome, Err(Stopped::TimeIsUp));
        drop(end);
        // Nor is there for a place, after the turn.
        let lane = Lane::default();
        let none = Deadline::within(Duration::ZERO);
        let all = std::iter::from_fn(|| lane.strangers.enter(none).map(std::mem::forget));
        assert!(all.count() > 0);
        let deadline = Deadline::by(LONG, later);
        let outcome = lane.run(&Turns::default(), deadline, || Some(1));
        assert_eq!(outcome, Err(Stopped::Busy));
    }

    #[test]
    fn work_stops_by_itself_before_it_is_left() {
        let deadline = Deadline::within(LONG);
        assert!(deadline.for_work() + LONG / KEPT_BACK + LONG / ENDING <= LONG);
        assert!(deadline.for_work() < deadline.left());
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

    /// Work that goes on after its time until what comes back is dropped.
    fn runaway(lane: &Lane, turns: &Turns) -> Sender<()> {
        let (end, until) = channel::<()>();
        let work = move || until.recv().ok();
        let soon = Deadline::within(Duration::from_millis(1));
        assert_eq!(lane.run(turns, soon, work), Err(Stopped::TimeIsUp));
        end
    }

    #[test]
    fn what_goes_on_after_its_time_keeps_its_like_waiting_and_nobody_else() {
        let lane = Lane::default();
        let known = Turns::default();
        assert_eq!(lane.run(&known, long(), || Some(1)), Ok(1));
        let also_known = Turns::default();
        also_known.ended();
        let endless: Vec<_> = std::iter::repeat_with(Turns::default)
            .take(MOST_RUNAWAYS)
            .collect();
        let mut held = Vec::new();
        for turns in &endless {
            // There is room for whoever comes first.
            assert_eq!(run(&lane, LONG, || 1), Ok(1));
            held.push(runaway(&lane, turns));
            assert_eq!(lane.run(turns, long(), || Some(1)), Err(Stopped::Busy));
        }
        assert_eq!(run(&lane, LONG, || 1), Err(Stopped::Busy));
        assert_eq!(lane.run(&known, long(), || Some(1)), Ok(1));
        assert_eq!(lane.run(&also_known, long(), || Some(1)), Ok(1));
        drop(held);
        // They end now; as soon as they have, there is room again for anybody, and for themselves.
        for turns in endless.iter().chain([&Turns::default()]) {
            while lane.run(turns, long(), || Some(1)) == Err(Stopped::Busy) {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn what_came_to_no_end_meets_its_like_from_then_on() {
        let (lane, endless) = (Lane::default(), Turns::default());
        // It works for as long as it may, and then stops by itself.
        let limit = Duration::from_millis(1);
        let spin = move || {
            let start = busy();
            while busy() <= start + limit {}
            None::<()>
        };
        let patient = Deadline { limit, ..long() };
        assert_eq!(lane.run(&endless, patient, spin), Err(Stopped::TimeIsUp));
        // However long others of its kind keep the place, there is one for everybody else.
        let none = Deadline::within(Duration::ZERO);
        let _place = lane.endless.enter(none).unwrap();
        assert_eq!(lane.run(&endless, none, || Some(1)), Err(Stopped::Busy));
        assert_eq!(run(&lane, LONG, || 1), Ok(1));
        for _ in 0..WARY {
            assert_eq!(lane.run(&endless, none, || Some(1)), Err(Stopped::Busy));
            endless.ended();
        }
        assert_eq!(lane.run(&endless, long(), || Some(1)), Ok(1));
    }

    /// A thread may not have begun when nobody waits for it any more.
    #[cfg(target_os = "linux")]
    #[test]
    fn whoever_waits_does_not_step_back() {
        let none = Deadline::within(Duration::ZERO);
        for _ in 0..100 {
            let lane = Lane::default();
            let _too_late = lane.run(&Turns::default(), none, || Some(1));
        }
        assert_eq!(rustix::process::getpriority_process(None), Ok(0));
    }

    #[test]
    fn what_the_host_kept_waiting_is_not_endless() {
        let (lane, turns) = (Lane::default(), Turns::default());
        let outcome = lane.run(&turns, long(), || None::<()>);
        assert_eq!(outcome, Err(Stopped::TimeIsUp));
        assert_eq!(turns.past.standing(), Standing::Stranger);
    }
}
