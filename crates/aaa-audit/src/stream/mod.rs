//! The auditor `jetstream`: records published to a NATS stream, and a spool on disk for when that does not work.
//!
//! A record is kept when the stream has acknowledged it, or when it is on disk in the spool. Each is published under its own id
//! (`Nats-Msg-Id`), so what is published again because an acknowledgement was lost is stored once (within the stream's duplicate
//! window; readers tell the rest apart by the id).
//!
//! While all is well records go straight to the stream. The first that is not acknowledged goes to the spool, and so does everything
//! after it, behind it: from then on one task delivers the spool in order, and when it is empty records go straight again.

mod check;
mod courier;
mod regions;

use std::sync::Arc;
use std::time::Duration;

use aaa_core::audit::Record;
use async_trait::async_trait;

pub use check::{Checked, Creation, Wanted};
use courier::Courier;
pub use regions::{Layout, Plan, Unusable};

use crate::nats::Connection;
use crate::scribe::Scribe;
use crate::sink::{Sink, SinkError, Stored};
use crate::spool::{Entry, Spool};

/// What a stream of records needs to know.
pub struct StreamOptions {
    /// The name of the site, for metrics.
    pub site: String,
    /// Where the server is.
    pub connection: Connection,
    /// The stream.
    pub stream: Wanted,
    /// Where records wait that cannot be delivered; without it they are refused.
    pub spool: Option<Spool>,
    /// How long an acknowledgement is waited for.
    pub ack_timeout: Duration,
}

/// The auditor `jetstream`.
pub struct StreamSink {
    scribe: Arc<Scribe>,
    courier: Arc<Courier>,
}

impl StreamSink {
    /// The name of this auditor, in settings and metrics.
    pub const NAME: &'static str = "jetstream";

    /// A sink that is not connected yet: see [`start`](Self::start).
    pub fn new(options: StreamOptions, scribe: Scribe) -> Self {
        Self {
            scribe: Arc::new(scribe),
            courier: Arc::new(Courier::new(options)),
        }
    }

    /// Connects, sees to the stream, and begins to deliver what the spool holds.
    ///
    /// # Errors
    /// When records could not be kept now: neither in the stream, nor in a spool.
    pub async fn start(&self) -> Result<(), String> {
        self.courier.start().await
    }
}

#[async_trait]
impl Sink for StreamSink {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        let Some(mut written) = self.scribe.write(record) else {
            return Ok(Stored::NotCarried);
        };
        let number = written.number;
        // A message needs no line end.
        written.line.pop();
        let entry = Entry {
            id: record.id.clone(),
            line: written.line.into(),
        };
        let (courier, scribe) = (Arc::clone(&self.courier), Arc::clone(&self.scribe));
        // On its own: once it is taken on, a record is kept whether or not anybody waits for that.
        let kept = tokio::spawn(async move {
            let outcome = courier.take(entry).await;
            scribe.settle(number, outcome.is_ok());
            outcome
        });
        match kept.await {
            Ok(outcome) => outcome.map(|()| Stored::Kept),
            Err(_) => Err(SinkError::failed("keeping the record was broken off")),
        }
    }

    async fn works(&self) -> Result<(), SinkError> {
        self.courier.works().await
    }

    async fn close(&self) {
        self.courier.close().await;
    }
}
