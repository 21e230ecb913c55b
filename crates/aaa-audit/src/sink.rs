//! What every place that keeps records can do.

use std::sync::Arc;
use std::time::Duration;

use aaa_core::audit::Record;
use aaa_core::duration;
use async_trait::async_trait;

/// What must be free, in bytes, before a place that was full counts as usable again: some records' worth.
pub(crate) const SPARE: u64 = 64 << 10;

/// A place that keeps records: a file, a stream, the log.
///
/// A sink batches, queues and bounds its memory as suits it. It sets no time limits: whoever waits does, by dropping the
/// future of [`write`](Sink::write), after which the record may or may not be kept.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Its name, as in the setting `auditors` and in the metrics' label `auditor`.
    fn name(&self) -> &'static str;

    /// Keeps a record. It returns when the record is where this sink promises to keep it, and not before.
    ///
    /// # Errors
    /// When the record is not, or not known to be, kept.
    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError>;

    /// Whether it would keep a record now: tried, where only that can tell. It is asked after a record was not kept.
    ///
    /// # Errors
    /// Why it would not.
    async fn works(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Takes note that what it writes to has been moved away. A sink that has nothing to reopen does nothing.
    ///
    /// # Errors
    /// When there is nothing to go on with at the place configured; it goes on with what it has.
    fn reopen(&self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Keeps everything that is waiting, and refuses what comes after.
    async fn close(&self) {}
}

/// What became of a record that was given to a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is kept.
    Kept,
    /// The sink's format has no words for this kind of record, so it is not kept here.
    NotCarried,
}

/// Why a sink did not keep a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// It could not, and says why: for the log, never for a caller.
    #[error("{0}")]
    Failed(Arc<str>),
    /// It keeps others, but can never keep this one.
    #[error("{0}")]
    Unfit(Arc<str>),
    /// It did not answer in time.
    #[error("no answer within {}", duration::human(*.0))]
    TimedOut(Duration),
    /// It has been closed.
    #[error("it is closed")]
    Closed,
}

impl SinkError {
    /// A failure, in words.
    pub fn failed(problem: impl AsRef<str>) -> Self {
        Self::Failed(problem.as_ref().into())
    }

    /// A record that cannot be kept whatever is tried, in words.
    pub fn unfit(problem: impl AsRef<str>) -> Self {
        Self::Unfit(problem.as_ref().into())
    }
}
