//! The thread that writes, and the queue in front of it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::output::Output;
use crate::sink::SinkError;

/// How long dropping waits for a file that does not take what is left.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the buffers for lines are cut back to when more has been in them.
const USUAL_BATCH: usize = 256 << 10;

/// A thread that writes lines, many at a time, and says to each who gave it one what became of it.
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// What the room is altogether, so that a line longer than that takes all of it and not for ever.
    room: u32,
}

struct Shared {
    queue: Mutex<Queue>,
    /// For the thread: there is something to do.
    work: Condvar,
    /// For those who drop the writer: the thread has ended.
    ended: Condvar,
    /// Bytes that may still be queued.
    room: Semaphore,
}

#[derive(Default)]
struct Queue {
    batch: Batch,
    next: Option<Output>,
    closing: bool,
    ended: bool,
    /// Whether the thread waits, and must be woken.
    idle: bool,
    /// Who wants to know whether a line could be written.
    trials: Vec<Answer>,
    closers: Vec<oneshot::Sender<()>>,
}

/// Lines that are written together, and who waits for them.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    waiting: Vec<Answer>,
    /// The room that they take up.
    room: usize,
}

/// What the thread does next.
enum Work {
    Replace(Output),
    Write,
    Try(Vec<Answer>),
}

type Answer = oneshot::Sender<Result<(), SinkError>>;

impl Writer {
    pub(super) fn start(output: Output, queue_bytes: usize) -> io::Result<Self> {
        let room = u32::try_from(queue_bytes.clamp(1, Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            room: Semaphore::new(room as usize),
        });
        let thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("audit-file".to_owned())
            .spawn(move || thread.run(output))?;
        Ok(Self { shared, room })
    }

    /// Returns when the line, which ends in a line end, has been written.
    pub(super) async fn write(&self, line: &[u8]) -> Result<(), SinkError> {
        let length = u32::try_from(line.len()).map_or(self.room, |n| n.min(self.room));
        let permit = self
            .shared
            .room
            .acquire_many(length)
            .await
            .map_err(|_| SinkError::Closed)?;
        let (answer, answered) = oneshot::channel();
        self.queue(line, length, answer)?;
        // The thread gives the room back when the line has gone.
        permit.forget();
        let wake = Wake(&self.shared);
        // Those whose requests are ready by now put their lines beside this one, so that the thread is woken once for all.
        tokio::task::yield_now().await;
        drop(wake);
        answered.await.unwrap_or(Err(SinkError::Closed))
    }

    fn queue(&self, line: &[u8], room: u32, answer: Answer) -> Result<(), SinkError> {
        let mut queue = self.shared.lock();
        if queue.closing {
            return Err(SinkError::Closed);
        }
        queue.batch.lines.extend_from_slice(line);
        queue.batch.waiting.push(answer);
        queue.batch.room += room as usize;
        Ok(())
    }

    /// Returns when it is known whether a line could be written.
    pub(super) async fn try_out(&self) -> Result<(), SinkError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut queue = self.shared.lock();
            if queue.closing {
                return Err(SinkError::Closed);
            }
            queue.trials.push(answer);
        }
        self.shared.work.notify_one();
        answered.await.unwrap_or(Err(SinkError::Closed))
    }

    /// Writes to another output from the next line on.
    pub(super) fn replace(&self, output: Output) {
        self.shared.lock().next = Some(output);
        self.shared.work.notify_one();
    }

    /// Returns when all lines that were given have been written, or could not be.
    pub(super) async fn close(&self) {
        let (ending, ended) = oneshot::channel();
        self.shared.lock().close(ending);
        self.shared.work.notify_one();
        // That it is dropped is the answer.
        let _ended = ended.await;
    }
}

impl Queue {
    fn close(&mut self, ending: oneshot::Sender<()>) {
        self.closing = true;
        if !self.ended {
            self.closers.push(ending);
        }
    }
}

/// Wakes the thread in the end, even when whoever waits for it stops waiting.
struct Wake<'a>(&'a Shared);

impl Drop for Wake<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        let idle = std::mem::take(&mut queue.idle);
        drop(queue);
        if idle {
            self.0.work.notify_one();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closing = true;
        self.shared.work.notify_one();
        let waited = self
            .shared
            .ended
            .wait_timeout_while(queue, PATIENCE, |queue| !queue.ended);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !queue.ended {
            tracing::error!("the audit file does not take the last records; they may be lost");
        }
    }
}

impl Shared {
    fn run(&self, mut output: Output) {
        let mut batch = Batch::default();
        while let Some(work) = self.next(&mut batch) {
            match work {
                Work::Replace(next) => output = next,
                Work::Write => {
                    let answer = output
                        .write_lines(&batch.lines)
                        .map_err(|e| SinkError::failed(format!("{}: {e}", output.shown())));
                    self.room.add_permits(batch.room);
                    batch.answer(&answer);
                }
                Work::Try(trials) => {
                    let answer = output
                        .try_out()
                        .map_err(|e| SinkError::failed(format!("{}: {e}", output.shown())));
                    for trial in trials {
                        let _gone = trial.send(answer.clone());
                    }
                }
            }
        }
    }

    /// Waits for something to do; lines to write are put into `batch`. `None` when all is done.
    fn next(&self, batch: &mut Batch) -> Option<Work> {
        let mut queue = self.lock();
        loop {
            if let Some(next) = queue.next.take() {
                return Some(Work::Replace(next));
            }
            if !queue.batch.waiting.is_empty() {
                std::mem::swap(&mut queue.batch, batch);
                return Some(Work::Write);
            }
            if !queue.trials.is_empty() {
                return Some(Work::Try(std::mem::take(&mut queue.trials)));
            }
            if queue.closing {
                queue.ended = true;
                queue.closers.clear();
                self.room.close();
                self.ended.notify_all();
                return None;
            }
            queue.idle = true;
            queue = self
                .work
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.idle = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in the queue is left half done by a panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Tells everybody, and makes the batch ready for other lines.
    fn answer(&mut self, answer: &Result<(), SinkError>) {
        for waiting in self.waiting.drain(..) {
            // Whoever has stopped waiting has refused already.
            let _gone = waiting.send(answer.clone());
        }
        self.room = 0;
        self.lines.clear();
        self.lines.shrink_to(USUAL_BATCH);
        self.waiting.shrink_to(USUAL_BATCH / 64);
    }
}
