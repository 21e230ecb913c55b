//! Records appended to a file, or to standard output, one line each.
//!
//! Lines go to a thread of their own, which writes all that have gathered while it wrote the last ones at once. So a disk that
//! hangs holds up nobody but those who wait for their record, and many requests share one write.

mod options;
mod output;
mod writer;

use std::sync::Arc;

use aaa_core::audit::Record;
use async_trait::async_trait;

pub use options::{FileOptions, ModeError, OpenError, parse_mode};
use writer::Writer;

use crate::scribe::Scribe;
use crate::sink::{Sink, SinkError, Stored};

/// The auditor `logfile`.
///
/// A record is kept when its line has been handed to the system, so it survives the end of this process in whatever way; with
/// [`sync`](FileOptions::sync), when it is on disk, so it survives the end of the machine too.
///
/// When a write fails, everybody whose line was in it is told so, though some of the lines may have been written. The next
/// lines are tried again, on a line of their own.
pub struct FileSink {
    options: FileOptions,
    scribe: Scribe,
    writer: Writer,
}

impl FileSink {
    /// The name of this auditor, in settings and metrics.
    pub const NAME: &'static str = "logfile";

    /// Opens the file, or makes it, and starts the thread that writes to it.
    ///
    /// # Errors
    /// When the file cannot be written to, has not got the mode and group wanted, or no thread can be had.
    pub fn open(options: FileOptions, scribe: Scribe) -> Result<Self, OpenError> {
        let output = options.open()?;
        let writer = Writer::start(output, options.queue_bytes)
            .map_err(|e| options.error(&format!("cannot start its thread: {e}")))?;
        Ok(Self {
            options,
            scribe,
            writer,
        })
    }
}

/// The number of a record, settled in the end: as not kept when whoever waited for that has stopped waiting.
struct Unsettled<'a> {
    scribe: &'a Scribe,
    number: Option<u64>,
    kept: bool,
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.scribe.settle(self.number, self.kept);
    }
}

#[async_trait]
impl Sink for FileSink {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        let Some(written) = self.scribe.write(record) else {
            return Ok(Stored::NotCarried);
        };
        let mut number = Unsettled {
            scribe: &self.scribe,
            number: written.number,
            kept: false,
        };
        let outcome = self.writer.write(&written.line).await;
        number.kept = outcome.is_ok();
        outcome.map(|()| Stored::Kept)
    }

    async fn works(&self) -> Result<(), SinkError> {
        self.writer.try_out().await
    }

    /// Opens the file at the path anew, after a rotation. Records that are given to the sink after this go to the new file.
    fn reopen(&self) -> Result<(), SinkError> {
        if self.options.is_stdout() {
            return Ok(());
        }
        let output = self
            .options
            .open()
            .map_err(|e| SinkError::failed(e.to_string()))?;
        self.writer.replace(output);
        Ok(())
    }

    async fn close(&self) {
        self.writer.close().await;
    }
}
