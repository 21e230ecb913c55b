//! Records on disk that wait to be delivered: what keeps the promise while a stream cannot.
//!
//! One thread owns the files. All entries that have gathered while it wrote the last ones are put on disk with one `fdatasync`, so
//! that many requests share one. An entry counts as kept when that has returned, so it survives `kill -9` and a power cut.

mod frame;
mod shelf;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

pub use frame::Entry;
pub use shelf::Opened;
use shelf::Shelf;

use crate::sink::SPARE;

/// Orders that may wait for the thread.
const WAITING: usize = 1024;

/// A spool in use by this process.
pub struct Spool {
    orders: mpsc::Sender<Order>,
    held: Arc<Held>,
    thread: Option<JoinHandle<()>>,
}

/// What a spool holds, for all to see.
#[derive(Default)]
struct Held {
    /// Entries that were taken on and are not delivered.
    records: AtomicU64,
    /// Bytes on disk.
    bytes: AtomicU64,
    /// Entries that were taken on since it was opened.
    taken: AtomicU64,
}

/// Why an entry is not kept, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpoolError {
    /// It holds as much as it may.
    #[error("the spool is full ({0} bytes); deliver it or raise spool_max_bytes")]
    Full(u64),
    /// The disk does not take it, or does not give it back.
    #[error("the spool's disk fails: {0}")]
    Disk(Arc<str>),
    /// It is longer than any record.
    #[error("the record is too long for the spool")]
    TooLong,
    /// It has been closed.
    #[error("the spool is closed")]
    Closed,
}

type Answer = oneshot::Sender<Result<(), SpoolError>>;

enum Order {
    Keep(Vec<u8>, Answer),
    Read(usize, oneshot::Sender<Result<Vec<Entry>, SpoolError>>),
    Release(u64, u64, Answer),
    KeepAside(Entry, oneshot::Sender<Result<PathBuf, SpoolError>>),
    Try(Answer),
}

/// The answer that an entry is on disk.
pub struct Kept(oneshot::Receiver<Result<(), SpoolError>>);

impl Spool {
    /// Opens the spool in a directory, which is made if it is not there. It holds so many bytes at most.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it.
    pub fn open(directory: &Path, max_bytes: u64) -> io::Result<(Self, Opened)> {
        let (shelf, opened) = Shelf::open(directory)?;
        let held = Arc::new(Held::default());
        held.records.store(opened.records, Ordering::Relaxed);
        held.bytes.store(shelf.bytes(), Ordering::Relaxed);
        let (orders, receiver) = mpsc::channel(WAITING);
        let worker = Worker {
            shelf,
            held: Arc::clone(&held),
            max_bytes,
        };
        let thread = std::thread::Builder::new()
            .name("audit-spool".to_owned())
            .spawn(move || worker.run(receiver))?;
        let spool = Self {
            orders,
            held,
            thread: Some(thread),
        };
        Ok((spool, opened))
    }

    /// Whether a spool could be opened there, without making anything.
    ///
    /// # Errors
    /// When it could not.
    pub fn probe(directory: &Path) -> io::Result<()> {
        let mut existing: PathBuf = directory.to_owned();
        while !existing.exists() {
            if !existing.pop() {
                break;
            }
        }
        let metadata = std::fs::metadata(&existing)?;
        if metadata.is_dir() && !metadata.permissions().readonly() {
            return Ok(());
        }
        let text = format!(
            "{} is no directory that can be written to",
            existing.display()
        );
        Err(io::Error::other(text))
    }

    /// Takes an entry on, behind those that were taken on before. It is kept when the answer says so.
    ///
    /// # Errors
    /// When it is too long or the spool is closed; it then has not been taken on.
    pub async fn push(&self, entry: &Entry) -> Result<Kept, SpoolError> {
        let frame = entry.frame().ok_or(SpoolError::TooLong)?;
        let (answer, answered) = oneshot::channel();
        let place = self.orders.reserve().await;
        let place = place.map_err(|_| SpoolError::Closed)?;
        self.held.records.fetch_add(1, Ordering::Relaxed);
        self.held.taken.fetch_add(1, Ordering::Relaxed);
        place.send(Order::Keep(frame, answer));
        Ok(Kept(answered))
    }

    /// The oldest entries that are on disk and not delivered, so many at most.
    ///
    /// # Errors
    /// When the disk does not give them back.
    pub async fn read(&self, entries: usize) -> Result<Vec<Entry>, SpoolError> {
        self.ask(|answer| Order::Read(entries, answer)).await
    }

    /// Lets go of the oldest entries, which have been delivered.
    pub async fn release(&self, delivered: &[Entry]) {
        let bytes: usize = delivered.iter().map(Entry::size).sum();
        let (entries, bytes) = (delivered.len() as u64, bytes as u64);
        // When it is closed they are delivered once more after the next start, and known by their ids.
        let _closed = self
            .ask(|answer| Order::Release(entries, bytes, answer))
            .await;
    }

    /// Keeps the oldest entry in a file of its own instead, whose path is given: it is not delivered any more.
    ///
    /// # Errors
    /// When the disk does not take it; it stays where it is then.
    pub async fn keep_aside(&self, oldest: &Entry) -> Result<PathBuf, SpoolError> {
        self.ask(|answer| Order::KeepAside(oldest.clone(), answer))
            .await
    }

    /// Whether it would keep an entry now; the disk is tried.
    ///
    /// # Errors
    /// Why not.
    pub async fn works(&self) -> Result<(), SpoolError> {
        self.ask(Order::Try).await
    }

    async fn ask<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, SpoolError>>) -> Order,
    ) -> Result<T, SpoolError> {
        let (answer, answered) = oneshot::channel();
        let sent = self.orders.send(order(answer)).await;
        sent.map_err(|_| SpoolError::Closed)?;
        answered.await.unwrap_or(Err(SpoolError::Closed))
    }

    /// Entries that were taken on and are not delivered.
    pub fn records(&self) -> u64 {
        self.held.records.load(Ordering::Relaxed)
    }

    /// Entries that were taken on since it was opened.
    pub fn taken(&self) -> u64 {
        self.held.taken.load(Ordering::Relaxed)
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.held.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // The thread ends when nobody can give it orders any more.
        let (closed, _) = mpsc::channel(1);
        self.orders = closed;
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Kept {
    /// Waits until the entry is on disk.
    ///
    /// # Errors
    /// When it is not, and has been let go of.
    pub async fn wait(self) -> Result<(), SpoolError> {
        self.0.await.unwrap_or(Err(SpoolError::Closed))
    }
}

struct Worker {
    shelf: Shelf,
    held: Arc<Held>,
    max_bytes: u64,
}

impl Worker {
    fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut waiting = Vec::with_capacity(WAITING);
        while orders.blocking_recv_many(&mut waiting, WAITING) > 0 {
            let mut frames = Vec::new();
            let mut answers = Vec::new();
            for order in waiting.drain(..) {
                match order {
                    Order::Keep(frame, answer) => {
                        if self.shelf.bytes() + (frames.len() + frame.len()) as u64 > self.max_bytes
                        {
                            self.let_go(answer, SpoolError::Full(self.max_bytes));
                        } else {
                            frames.extend_from_slice(&frame);
                            answers.push(answer);
                        }
                    }
                    Order::Read(entries, answer) => {
                        // What was given before is read, too.
                        self.keep(&mut frames, &mut answers);
                        let _gone = answer.send(
                            self.shelf
                                .read(entries, BATCH_BYTES)
                                .map_err(|error| disk(&error)),
                        );
                    }
                    Order::Release(entries, bytes, answer) => {
                        self.release(entries, bytes);
                        let _gone = answer.send(Ok(()));
                    }
                    Order::KeepAside(oldest, answer) => {
                        let _gone = answer.send(self.keep_aside(&oldest));
                    }
                    Order::Try(answer) => {
                        let _gone = answer.send(self.works());
                    }
                }
            }
            self.keep(&mut frames, &mut answers);
        }
    }

    fn keep(&mut self, frames: &mut Vec<u8>, answers: &mut Vec<Answer>) {
        if answers.is_empty() {
            return;
        }
        let outcome = self.shelf.add(frames).map_err(|error| disk(&error));
        frames.clear();
        self.weigh();
        for answer in answers.drain(..) {
            match &outcome {
                Ok(()) => {
                    // Whoever has stopped waiting has refused already; the record of that is kept all the same.
                    let _gone = answer.send(Ok(()));
                }
                Err(error) => self.let_go(answer, error.clone()),
            }
        }
    }

    fn works(&self) -> Result<(), SpoolError> {
        if self.shelf.bytes() + SPARE > self.max_bytes {
            return Err(SpoolError::Full(self.max_bytes));
        }
        self.shelf.try_disk(SPARE).map_err(|error| disk(&error))
    }

    fn let_go(&self, answer: Answer, error: SpoolError) {
        self.held.records.fetch_sub(1, Ordering::Relaxed);
        let _gone = answer.send(Err(error));
    }

    fn release(&mut self, entries: u64, bytes: u64) {
        if let Err(error) = self.shelf.release(bytes) {
            // They stay where they are, and are delivered again after the next start.
            tracing::warn!(%error, "the audit spool cannot let go of what was delivered");
        }
        self.held.records.fetch_sub(entries, Ordering::Relaxed);
        self.weigh();
    }

    fn keep_aside(&mut self, oldest: &Entry) -> Result<PathBuf, SpoolError> {
        let kept = self.shelf.keep_aside(oldest);
        let path = kept.map_err(|error| disk(&error))?;
        self.held.records.fetch_sub(1, Ordering::Relaxed);
        self.weigh();
        Ok(path)
    }

    /// Says how much there is, before anybody is told that it is there or gone.
    fn weigh(&self) {
        self.held.bytes.store(self.shelf.bytes(), Ordering::Relaxed);
    }
}

/// How much is read at once to be delivered.
const BATCH_BYTES: usize = 1 << 20;

fn disk(error: &io::Error) -> SpoolError {
    SpoolError::Disk(error.to_string().into())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::future::join_all;
    use tempfile::TempDir;

    use super::*;

    const ROOM: u64 = 1 << 20;

    fn entry(number: usize) -> Entry {
        Entry {
            id: format!("id-{number}"),
            line: Bytes::from(format!("record {number}")),
        }
    }

    async fn push(spool: &Spool, number: usize) -> Result<(), SpoolError> {
        spool.push(&entry(number)).await?.wait().await
    }

    #[tokio::test]
    async fn what_is_kept_is_there_after_the_end() {
        let dir = TempDir::new().unwrap();
        let (spool, _) = Spool::open(dir.path(), ROOM).unwrap();
        let kept = join_all((0..100).map(|number| push(&spool, number))).await;
        assert!(kept.iter().all(Result::is_ok));
        assert_eq!(spool.records(), 100);
        drop(spool);
        let (spool, opened) = Spool::open(dir.path(), ROOM).unwrap();
        assert_eq!((opened.records, spool.records()), (100, 100));
        let entries = spool.read(1000).await.unwrap();
        assert_eq!(entries, (0..100).map(entry).collect::<Vec<_>>());
        assert_eq!(
            spool.bytes(),
            entries.iter().map(|e| e.size() as u64).sum::<u64>()
        );
    }

    #[tokio::test]
    async fn reading_sees_what_was_pushed_before() {
        let dir = TempDir::new().unwrap();
        let (spool, _) = Spool::open(dir.path(), ROOM).unwrap();
        let kept = spool.push(&entry(1)).await.unwrap();
        assert_eq!(spool.read(10).await.unwrap(), [entry(1)]);
        kept.wait().await.unwrap();
        spool.release(&[entry(1)]).await;
        assert!(spool.read(10).await.unwrap().is_empty());
        assert_eq!(spool.records(), 0);
    }

    #[tokio::test]
    async fn a_full_spool_says_so_and_takes_more_when_it_is_not() {
        let dir = TempDir::new().unwrap();
        let (spool, _) = Spool::open(dir.path(), 100).unwrap();
        let mut taken = 0;
        while push(&spool, taken).await.is_ok() {
            taken += 1;
        }
        assert_eq!(push(&spool, 9).await, Err(SpoolError::Full(100)));
        assert_eq!(spool.records(), taken as u64);
        let all = spool.read(100).await.unwrap();
        spool.release(&all).await;
        push(&spool, 9).await.unwrap();
        assert_eq!(spool.read(100).await.unwrap(), [entry(9)]);
    }

    #[tokio::test]
    async fn it_says_whether_it_would_keep_an_entry() {
        let dir = TempDir::new().unwrap();
        let (spool, _) = Spool::open(dir.path(), ROOM).unwrap();
        spool.works().await.unwrap();
        let large = Entry {
            id: "id".to_owned(),
            line: vec![b'x'; 1_047_576].into(),
        };
        spool.push(&large).await.unwrap().wait().await.unwrap();
        assert_eq!(spool.works().await, Err(SpoolError::Full(ROOM)));
        spool.release(&[large]).await;
        spool.works().await.unwrap();
    }

    #[tokio::test]
    async fn what_no_record_can_be_is_not_taken() {
        let dir = TempDir::new().unwrap();
        let (spool, _) = Spool::open(dir.path(), u64::MAX).unwrap();
        let entry = Entry {
            id: "id".to_owned(),
            line: vec![b'x'; 9 << 20].into(),
        };
        assert_eq!(spool.push(&entry).await.err(), Some(SpoolError::TooLong));
        assert_eq!(spool.records(), 0);
    }

    /// `/dev/full` takes nothing, as a full disk does.
    #[tokio::test]
    async fn a_full_disk_keeps_nothing_and_says_so() {
        let dir = TempDir::new().unwrap();
        let (mut shelf, _) = Shelf::open(dir.path()).unwrap();
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        shelf.write_to(full);
        let error = shelf.add(&entry(1).frame().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        // The disk has room again.
        shelf.add(&entry(2).frame().unwrap()).unwrap();
        assert_eq!(shelf.read(10, 1 << 20).unwrap(), [entry(2)]);
    }

    #[test]
    fn probing_makes_nothing() {
        let dir = TempDir::new().unwrap();
        Spool::probe(&dir.path().join("a/b")).unwrap();
        assert!(!dir.path().join("a").exists());
        std::fs::write(dir.path().join("file"), "").unwrap();
        Spool::probe(&dir.path().join("file")).unwrap_err();
    }
}
