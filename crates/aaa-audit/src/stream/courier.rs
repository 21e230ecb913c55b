//! Takes records to the stream, and to the spool when that does not work.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{ContextBuilder, PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::{Context, message::PublishMessage};
use metrics::{Counter, Gauge};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

use super::{StreamOptions, StreamSink, Wanted};
use crate::nats::{Connection, jittered};
use crate::sink::SinkError;
use crate::spool::{Entry, Spool, SpoolError};

/// How long starting waits for the server.
const STARTING: Duration = Duration::from_secs(5);
/// Entries that are delivered together.
const BATCH: usize = 512;
/// The same while others have records kept, who would wait for as long as the messages of a large batch take to be made.
const BATCH_BESIDE: usize = 256;
/// Entries that are delivered in a second beside others: what the machine can do besides is theirs.
const RATE_BESIDE: f64 = 40_000.0;
/// The pauses between attempts to deliver.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What a message needs beside the record: its headers.
const HEADERS: usize = 256;
/// What servers take that were not told otherwise: the longest record as long as none has said what it takes.
const MAX_PAYLOAD: usize = 1 << 20;

pub(super) struct Courier {
    connection: Connection,
    wanted: Wanted,
    ack_timeout: Duration,
    spool: Option<Spool>,
    jetstream: OnceLock<Context>,
    /// Which way records go. Who holds it is the only one to send any off, so their order is that of taking it.
    way: Mutex<Way>,
    meter: Meter,
    /// Whether the log has been told of what the stream lacks.
    warned: AtomicBool,
    /// The task that delivers what waits, while there is one.
    mending: StdMutex<Option<JoinHandle<()>>>,
    /// Told when that is to end.
    closing: Notify,
}

/// Whoever sends a record off has this.
type WayGuard<'a> = tokio::sync::MutexGuard<'a, Way>;

/// Which way records go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the stream.
    Straight,
    /// To the spool, which is being delivered; without one, nowhere until the stream is back.
    Waiting,
    /// Nowhere any more.
    Closed,
}

/// How far delivering got.
enum Delivered {
    /// Nothing more is to be delivered: records go straight, or nowhere any more.
    All,
    /// More may wait.
    Some,
}

/// Why the stream did not take a record; it may take it later.
#[derive(Debug)]
struct Refused(String);

impl Courier {
    pub(super) fn new(options: StreamOptions) -> Self {
        Self {
            meter: Meter::new(&options.site),
            connection: options.connection,
            wanted: options.stream,
            ack_timeout: options.ack_timeout,
            spool: options.spool,
            jetstream: OnceLock::new(),
            way: Mutex::new(Way::Waiting),
            warned: AtomicBool::new(false),
            mending: StdMutex::default(),
            closing: Notify::new(),
        }
    }

    pub(super) async fn start(self: &Arc<Self>) -> Result<(), String> {
        let client = self.connection.connect().await?;
        let context = ContextBuilder::new()
            .timeout(self.ack_timeout.max(Duration::from_secs(1)))
            .ack_timeout(self.ack_timeout)
            .max_ack_inflight(BATCH * 4)
            .api_prefix(self.connection.api())
            .build(client);
        let jetstream = self.jetstream.get_or_init(|| context);
        let checked = tokio::time::timeout(STARTING, self.see_to_the_stream(jetstream)).await;
        let problem = match checked {
            Ok(Ok(())) => None,
            Ok(Err(problem)) if jetstream.client().connection_state() == State::Connected => {
                Some(problem)
            }
            _ => {
                let servers = self.connection.servers.join(", ");
                Some(format!("no server lets this service in at {servers}"))
            }
        };
        match (&self.spool, problem) {
            (None, Some(problem)) => return Err(problem),
            (Some(_), Some(problem)) => {
                tracing::warn!(
                    problem,
                    "the audit stream cannot be used; records go to the spool"
                );
            }
            (_, None) => {
                if let Delivered::All = self.go_straight().await {
                    return Ok(());
                }
            }
        }
        self.start_mending();
        Ok(())
    }

    fn start_mending(self: &Arc<Self>) {
        let task = tokio::spawn(Arc::clone(self).mend());
        *self.mending() = Some(task);
    }

    fn mending(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.mending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn see_to_the_stream(&self, jetstream: &Context) -> Result<(), String> {
        let checked = self.wanted.check(jetstream).await?;
        // Once: this is looked at again whenever the stream was away.
        if !self.warned.swap(true, Ordering::Relaxed) {
            for warning in checked.warnings {
                tracing::warn!(stream = checked.name, "the audit stream {warning}");
            }
        }
        Ok(())
    }

    /// Keeps a record, in the stream or in the spool.
    pub(super) async fn take(self: Arc<Self>, entry: Entry) -> Result<(), SinkError> {
        // One that no message can hold would wait for ever.
        let limit = self.max_payload();
        if !fits(&entry, limit) {
            return Err(SinkError::unfit(format!(
                "a record of {} bytes is longer than the server's max_payload of {limit}",
                entry.line.len()
            )));
        }
        let way = self.way.lock().await;
        if *way != Way::Straight {
            return self.spool(way, &entry, "the audit stream is away").await;
        }
        let acknowledged = match self.publish(&entry).await {
            Err(refused) => return self.refused(way, refused, &entry).await,
            Ok(ack) => {
                // Others send theirs off while this one is on its way.
                drop(way);
                self.acknowledged(ack).await
            }
        };
        match acknowledged {
            Ok(()) => {
                self.meter.delivered.increment(1);
                Ok(())
            }
            Err(refused) => self.refused(self.way.lock().await, refused, &entry).await,
        }
    }

    /// Has a record that the stream did not take wait for it, and all that come after it.
    async fn refused(
        self: &Arc<Self>,
        mut way: WayGuard<'_>,
        refused: Refused,
        entry: &Entry,
    ) -> Result<(), SinkError> {
        let why = refused.0;
        self.turn(&mut way, &why);
        self.spool(way, entry, &why).await
    }

    /// Keeps a record in the spool, behind those that wait there; without one it is not kept, and this is why.
    async fn spool(&self, way: WayGuard<'_>, entry: &Entry, why: &str) -> Result<(), SinkError> {
        if *way == Way::Closed {
            return Err(SinkError::Closed);
        }
        let Some(spool) = &self.spool else {
            return Err(SinkError::failed(why));
        };
        let taken = spool.push(entry).await;
        drop(way);
        let kept = match taken {
            Ok(kept) => kept.wait().await,
            Err(error) => Err(error),
        };
        self.meter.spool(spool);
        kept.map_err(|error| not_spooled(&error))
    }

    /// Whether a record would be kept now, in the stream or in the spool.
    pub(super) async fn works(&self) -> Result<(), SinkError> {
        match (*self.way.lock().await, &self.spool) {
            (Way::Straight, _) => Ok(()),
            (Way::Closed, _) => Err(SinkError::Closed),
            (Way::Waiting, Some(spool)) => spool.works().await.map_err(|error| not_spooled(&error)),
            (Way::Waiting, None) => Err(SinkError::failed("the audit stream is away")),
        }
    }

    /// From now on records wait, until the stream takes them again.
    fn turn(self: &Arc<Self>, way: &mut Way, problem: &str) {
        if *way != Way::Straight {
            return;
        }
        *way = Way::Waiting;
        self.meter.straight.set(0.0);
        if self.spool.is_some() {
            tracing::error!(
                problem,
                "the audit stream does not take records; they go to the spool"
            );
        } else {
            tracing::error!(
                problem,
                "the audit stream does not take records, and there is no spool"
            );
        }
        self.start_mending();
    }

    async fn publish(&self, entry: &Entry) -> Result<PublishAckFuture, Refused> {
        let jetstream = self
            .jetstream
            .get()
            .ok_or_else(|| Refused("the audit stream is not connected".to_owned()))?;
        let client = jetstream.client();
        if client.connection_state() != State::Connected {
            return Err(Refused("no connection to the audit stream".to_owned()));
        }
        let message = PublishMessage::build()
            .message_id(&entry.id)
            .payload(entry.line.clone());
        let sent = jetstream
            .send_publish(self.wanted.topic.clone(), message)
            .await;
        sent.map_err(|error| Refused(error.to_string()))
    }

    /// The longest message that the server takes.
    fn max_payload(&self) -> usize {
        let known = self.jetstream.get();
        let known = known.map_or(0, |jetstream| jetstream.client().server_info().max_payload);
        if known == 0 { MAX_PAYLOAD } else { known }
    }

    async fn acknowledged(&self, ack: PublishAckFuture) -> Result<(), Refused> {
        match ack.await {
            Ok(ack)
                if self
                    .wanted
                    .name
                    .as_ref()
                    .is_none_or(|name| *name == ack.stream) =>
            {
                Ok(())
            }
            Ok(ack) => Err(Refused(format!(
                "the stream {} acknowledged, not {}",
                ack.stream,
                self.wanted.name.as_deref().unwrap_or_default()
            ))),
            Err(error) if error.kind() == PublishErrorKind::StreamNotFound => Err(Refused(
                format!("no stream has the subject {}", self.wanted.topic),
            )),
            Err(error) => Err(Refused(error.to_string())),
        }
    }

    /// Delivers what waits, until nothing does and records can go straight again. There is one such task at a time: it is started by
    /// whoever turns the way, and ends with turning it back.
    async fn mend(self: Arc<Self>) {
        let mut pause = SHORTEST_PAUSE;
        let taken = || self.spool.as_ref().map_or(0, Spool::taken);
        let (mut before, mut batch) = (taken(), BATCH);
        loop {
            let began = Instant::now();
            match self.deliver(batch).await {
                Ok(Delivered::All) => return,
                Ok(Delivered::Some) => {
                    pause = SHORTEST_PAUSE;
                    let now = taken();
                    tokio::time::sleep(rest(batch, now > before, began.elapsed())).await;
                    batch = if now > before { BATCH_BESIDE } else { BATCH };
                    before = now;
                }
                Err(problem) => {
                    if self.is_closed().await {
                        return;
                    }
                    tracing::debug!(problem, "the audit stream still does not take records");
                    let closed = self.closing.notified();
                    let _ = tokio::time::timeout(jittered(pause), closed).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            }
        }
    }

    async fn is_closed(&self) -> bool {
        *self.way.lock().await == Way::Closed
    }

    /// Delivers the oldest entries of the spool; when there are none, records go straight again.
    async fn deliver(&self, batch: usize) -> Result<Delivered, String> {
        let jetstream = self.jetstream.get().ok_or("not connected")?;
        let Some(spool) = &self.spool else {
            self.see_to_the_stream(jetstream).await?;
            return Ok(self.go_straight().await);
        };
        self.meter.spool(spool);
        let entries = spool
            .read(batch)
            .await
            .map_err(|error| Self::unreadable(&error))?;
        let Some(oldest) = entries.first() else {
            self.see_to_the_stream(jetstream).await?;
            return Ok(self.go_straight().await);
        };
        let limit = self.max_payload();
        let fit = entries
            .iter()
            .take_while(|entry| fits(entry, limit))
            .count();
        if fit == 0 {
            self.keep_aside(spool, oldest).await?;
            return Ok(Delivered::Some);
        }
        let (delivered, problem) = self
            .deliver_all(entries.get(..fit).unwrap_or_default())
            .await;
        let done = entries.get(..delivered).unwrap_or_default();
        spool.release(done).await;
        self.meter.delivered.increment(done.len() as u64);
        self.meter.spool(spool);
        match problem {
            None if self.is_closed().await => Ok(Delivered::All),
            None => Ok(Delivered::Some),
            Some(Refused(why)) => {
                // A stream that was deleted is made again.
                self.see_to_the_stream(jetstream).await?;
                Err(why)
            }
        }
    }

    /// Has the oldest entry, which no message to this server can hold, keep nothing up.
    async fn keep_aside(&self, spool: &Spool, oldest: &Entry) -> Result<(), String> {
        let kept = spool.keep_aside(oldest).await;
        let path = kept.map_err(|error| Self::unreadable(&error))?;
        tracing::error!(
            record = oldest.id,
            bytes = oldest.line.len(),
            file = %path.display(),
            "a spooled record is longer than the server's max_payload; it is kept in a file of its own, and is not in the stream"
        );
        self.meter.aside.increment(1);
        self.meter.spool(spool);
        Ok(())
    }

    /// How many of these the stream has, from the first one on, and what it said of the next.
    async fn deliver_all(&self, entries: &[Entry]) -> (usize, Option<Refused>) {
        let mut acks = Vec::with_capacity(entries.len());
        let mut problem = None;
        for entry in entries {
            match self.publish(entry).await {
                Ok(ack) => acks.push(ack),
                Err(refused) => {
                    problem = Some(refused);
                    break;
                }
            }
        }
        let mut delivered = 0;
        for ack in acks {
            if let Err(refused) = self.acknowledged(ack).await {
                return (delivered, Some(refused));
            }
            delivered += 1;
        }
        (delivered, problem)
    }

    async fn go_straight(&self) -> Delivered {
        let mut way = self.way.lock().await;
        // Whoever adds to the spool holds the way, so it stays empty.
        if self.spool.as_ref().is_some_and(|spool| spool.records() > 0) {
            return Delivered::Some;
        }
        if *way == Way::Waiting {
            *way = Way::Straight;
            self.meter.straight.set(1.0);
            tracing::info!("records go straight to the audit stream; none waits");
        }
        Delivered::All
    }

    fn unreadable(error: &SpoolError) -> String {
        tracing::error!(%error, "the audit spool cannot be delivered");
        error.to_string()
    }

    /// Takes no more; what waits stays in the spool.
    pub(super) async fn close(&self) {
        *self.way.lock().await = Way::Closed;
        self.closing.notify_one();
        let mending = self.mending().take();
        if let Some(task) = mending {
            // It ends with the batch that it has; a panic of its own has ended it already.
            let _panicked = task.await;
        }
        // Everything else was acknowledged, or is in the spool: the connection has nothing to finish.
    }
}

/// Whether a message of that length can hold a record.
fn fits(entry: &Entry, limit: usize) -> bool {
    entry.line.len() + HEADERS <= limit
}

/// How long to rest after a batch that took so long to deliver.
fn rest(batch: usize, beside_others: bool, took: Duration) -> Duration {
    if !beside_others {
        return Duration::ZERO;
    }
    #[allow(clippy::cast_precision_loss, reason = "batches are small")]
    let share = batch as f64 / RATE_BESIDE;
    Duration::from_secs_f64(share).saturating_sub(took)
}

fn not_spooled(error: &SpoolError) -> SinkError {
    match error {
        SpoolError::TooLong => SinkError::unfit(error.to_string()),
        SpoolError::Closed => SinkError::Closed,
        SpoolError::Full(_) | SpoolError::Disk(_) => SinkError::failed(error.to_string()),
    }
}

/// What is counted.
struct Meter {
    /// Whether records go straight to the stream.
    straight: Gauge,
    /// Records that the stream has acknowledged.
    delivered: Counter,
    /// Records that it can never take.
    aside: Counter,
    /// What waits.
    records: Gauge,
    bytes: Gauge,
}

impl Meter {
    fn new(site: &str) -> Self {
        metrics::describe_gauge!(
            STRAIGHT,
            "Whether records go to the stream at once (1), or wait (0)"
        );
        metrics::describe_counter!(DELIVERED, "Records that the stream has acknowledged");
        metrics::describe_counter!(
            ASIDE,
            "Records longer than the server's max_payload, kept in files beside the spool"
        );
        metrics::describe_gauge!(RECORDS, "Records that wait in the spool");
        metrics::describe_gauge!(
            BYTES,
            metrics::Unit::Bytes,
            "What the spool takes up on disk"
        );
        let labels = [
            ("site", site.to_owned()),
            ("auditor", StreamSink::NAME.to_owned()),
        ];
        Self {
            straight: metrics::gauge!(STRAIGHT, &labels),
            delivered: metrics::counter!(DELIVERED, &labels),
            aside: metrics::counter!(ASIDE, &labels),
            records: metrics::gauge!(RECORDS, &labels),
            bytes: metrics::gauge!(BYTES, &labels),
        }
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "metrics are floating-point numbers"
    )]
    fn spool(&self, spool: &Spool) {
        self.records.set(spool.records() as f64);
        self.bytes.set(spool.bytes() as f64);
    }
}

const STRAIGHT: &str = "choria_aaa_audit_stream_up";
const DELIVERED: &str = "choria_aaa_audit_stream_delivered";
const ASIDE: &str = "choria_aaa_audit_spool_aside";
const RECORDS: &str = "choria_aaa_audit_spool_records";
const BYTES: &str = "choria_aaa_audit_spool_bytes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivering_rests_while_others_have_records_kept() {
        let at_once = Duration::ZERO;
        assert_eq!(rest(BATCH, false, at_once), Duration::ZERO);
        assert_eq!(
            rest(BATCH_BESIDE, true, at_once),
            Duration::from_micros(6400)
        );
        let slow = Duration::from_millis(2);
        assert_eq!(rest(BATCH_BESIDE, true, slow), Duration::from_micros(4400));
        assert_eq!(rest(BATCH_BESIDE, true, slow * 4), Duration::ZERO);
    }
}
