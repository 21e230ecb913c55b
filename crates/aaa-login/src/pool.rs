//! The threads that check passwords: as many as there are cores, behind everything else in priority, with a bounded queue.
//!
//! A password hash takes a fifth of a second of a core by design. On the threads that serve requests a dozen logins would stop
//! signing, metrics and health; here they wait for each other, and whoever would wait too long is told so at once.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// The longest that a login waits for its turn. Beyond that people think that it hangs.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// What a check is thought to take until the first ones were measured.
const FIRST_GUESS: Duration = Duration::from_millis(250);
/// The most checks in the queue, however fast they are.
const MAX_QUEUE: usize = 4096;
/// How far behind the rest of the process the threads stand (`nice`).
const NICENESS: i32 = 10;

/// Why a check was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// Too many wait already; the queue will have moved on after this time.
    #[error("too many logins are waiting")]
    Full(Duration),
    /// The check broke off.
    #[error("a password check broke off")]
    Broken,
}

/// A pool of threads for password hashes. Dropping it ends the threads once they finish what they are at.
pub struct HashPool {
    shared: Arc<Shared>,
    threads: usize,
}

struct Shared {
    state: Mutex<State>,
    ready: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    /// What a check takes on average, lately.
    average: Duration,
    closed: bool,
}

/// Does its work and says true, or sees that nobody waits for it any more.
type Job = Box<dyn FnOnce() -> bool + Send>;

impl HashPool {
    /// A pool with a thread for each core.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn for_this_machine() -> io::Result<Self> {
        Self::start(thread::available_parallelism().map_or(1, NonZero::get))
    }

    /// A pool with so many threads, at least one.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(threads: usize) -> io::Result<Self> {
        let pool = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    jobs: VecDeque::new(),
                    average: FIRST_GUESS,
                    closed: false,
                }),
                ready: Condvar::new(),
            }),
            threads: threads.max(1),
        };
        for number in 0..pool.threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || {
                    step_back();
                    shared.work();
                })?;
        }
        Ok(pool)
    }

    /// Does the work on one of the threads. If whoever waits goes away before its turn, it is not done at all.
    ///
    /// # Errors
    /// When the wait would be too long, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (give, take) = oneshot::channel();
        let job = Box::new(move || {
            if give.is_closed() {
                return false;
            }
            // The receiver may have gone in the meantime.
            let _ = give.send(work());
            true
        });
        self.enqueue(job)?;
        take.await.map_err(|_| PoolError::Broken)
    }

    fn enqueue(&self, job: Job) -> Result<(), PoolError> {
        let mut state = self.shared.lock();
        if state.jobs.len() >= room(self.threads, state.average) {
            return Err(PoolError::Full(wait(
                state.jobs.len(),
                self.threads,
                state.average,
            )));
        }
        state.jobs.push_back(job);
        drop(state);
        self.shared.ready.notify_one();
        Ok(())
    }
}

impl Drop for HashPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.ready.notify_all();
    }
}

impl Shared {
    /// What a thread does until the pool is closed.
    fn work(&self) {
        while let Some(job) = self.next() {
            let started = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(job));
            match outcome {
                Ok(true) => self.lock().measured(started.elapsed()),
                Ok(false) => {}
                Err(_) => tracing::error!("a password check broke off"),
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A moving average over about eight checks.
    fn measured(&mut self, took: Duration) {
        self.average = (self.average * 7 + took) / 8;
    }
}

/// How many checks may wait: as many as are done in [`MAX_WAIT`], and always two for each thread.
fn room(threads: usize, average: Duration) -> usize {
    let each = MAX_WAIT.as_nanos() / average.as_nanos().max(1);
    let each = usize::try_from(each).unwrap_or(MAX_QUEUE);
    each.saturating_mul(threads)
        .clamp(2 * threads, MAX_QUEUE.max(2 * threads))
}

/// How long a queue of this length takes.
fn wait(queued: usize, threads: usize, average: Duration) -> Duration {
    let rounds = queued.div_ceil(threads);
    average.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
}

/// Puts the calling thread behind the others of the process. On Linux, `nice` values belong to threads.
#[cfg(target_os = "linux")]
fn step_back() {
    use rustix::process::{getpriority_process, setpriority_process};
    let behind = getpriority_process(None).map_or(NICENESS, |nice| (nice + NICENESS).min(19));
    if let Err(error) = setpriority_process(None, behind) {
        tracing::debug!(%error, "password checks run at the priority of everything else");
    }
}

/// Elsewhere `nice` values belong to the process.
#[cfg(not(target_os = "linux"))]
fn step_back() {
    let _ = NICENESS;
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A pool of one thread that is busy until the sender is dropped or used.
    async fn busy_pool() -> (Arc<HashPool>, mpsc::Sender<()>) {
        let pool = Arc::new(HashPool::start(1).unwrap());
        let (started, starting) = oneshot::channel();
        let (release, gate) = mpsc::channel();
        let first = Arc::clone(&pool);
        tokio::spawn(async move {
            first
                .run(move || {
                    let _ = started.send(());
                    let _ = gate.recv();
                })
                .await
        });
        starting.await.unwrap();
        (pool, release)
    }

    #[tokio::test]
    async fn work_comes_back() {
        let pool = HashPool::start(2).unwrap();
        assert_eq!(pool.run(|| 6 * 7).await, Ok(42));
    }

    #[tokio::test]
    async fn a_panic_breaks_one_check_and_no_thread() {
        let pool = HashPool::start(1).unwrap();
        assert_eq!(
            pool.run(|| panic!("broken")).await,
            Err::<(), _>(PoolError::Broken)
        );
        assert_eq!(pool.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn a_full_queue_says_when_to_come_back() {
        let (pool, release) = busy_pool().await;
        let waiting: Vec<_> = (0..room(1, FIRST_GUESS))
            .map(|number| {
                let (give, take) = oneshot::channel();
                pool.enqueue(Box::new(move || give.send(number).is_ok()))
                    .unwrap();
                take
            })
            .collect();
        let refused = pool.run(|| ()).await;
        assert_eq!(refused, Err(PoolError::Full(MAX_WAIT)));
        drop(release);
        for (number, take) in waiting.into_iter().enumerate() {
            assert_eq!(take.await, Ok(number));
        }
    }

    #[tokio::test]
    async fn nobody_waiting_nothing_done() {
        let (pool, release) = busy_pool().await;
        let (done, not_done) = oneshot::channel::<()>();
        let mut abandoned = Box::pin(pool.run(move || done.send(())));
        // Polled once, so that it stands in the queue.
        assert!(futures_util::poll!(abandoned.as_mut()).is_pending());
        drop(abandoned);
        drop(release);
        assert_eq!(pool.run(|| 1).await, Ok(1));
        assert!(not_done.await.is_err());
    }

    #[test]
    fn the_queue_is_as_long_as_people_wait() {
        let millis = Duration::from_millis;
        for (threads, average, expected) in [
            (2, millis(250), 16),
            (2, millis(100), 40),
            (4, millis(250), 32),
            (2, millis(5_000), 4),
            (2, Duration::ZERO, MAX_QUEUE),
            (4096, millis(5_000), 8192),
        ] {
            assert_eq!(room(threads, average), expected, "{threads} {average:?}");
        }
        assert_eq!(wait(5, 2, millis(200)), millis(600));
    }

    #[test]
    fn the_average_follows_what_is_measured() {
        let mut state = State {
            jobs: VecDeque::new(),
            average: FIRST_GUESS,
            closed: false,
        };
        for _ in 0..64 {
            state.measured(Duration::from_millis(50));
        }
        assert!(state.average < Duration::from_millis(51));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_threads_stand_behind_the_others() {
        use rustix::process::getpriority_process;
        let own = getpriority_process(None).unwrap();
        let pool = HashPool::start(1).unwrap();
        let nice = pool.run(|| getpriority_process(None)).await.unwrap();
        assert_eq!(nice, Ok((own + NICENESS).min(19)));
        assert_eq!(getpriority_process(None).unwrap(), own);
    }
}
