//! What a connection is doing, so that it can be ended when it does it for too long.
//!
//! The timeouts of the HTTP library cover neither the time before the first byte nor that between requests apart from heads,
//! so the connection is watched from outside: by its reads, and by its requests and answers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Nothing was read yet.
const NEW: u8 = 0;
/// Some of a request's head was read.
const HEAD: u8 = 1;
/// Answered all, nothing read since.
const IDLE: u8 = 2;

/// Nothing was asked for too long.
pub(super) const IDLE_TIMEOUT: &str = "idle_timeout";
/// A head, or the first byte, took too long.
pub(super) const HEADER_TIMEOUT: &str = "header_timeout";

/// The state of one connection, shared by what reads it, what serves it and what ends it.
pub(super) struct Activity {
    start: Instant,
    phase: AtomicU8,
    /// When the phase began, in milliseconds since `start`.
    since: AtomicU64,
    /// Requests whose answers are not complete. While there are any the phase says nothing.
    in_flight: AtomicUsize,
    /// HTTP/2 has frames between requests that say nothing about one.
    http2: AtomicBool,
}

/// When a connection is to be ended, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) reason: &'static str,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            phase: AtomicU8::new(NEW),
            since: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
        })
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>, http2: bool) -> Busy {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        if http2 {
            self.http2.store(true, Ordering::Relaxed);
        }
        Busy(Arc::clone(self))
    }

    /// When this connection is to be ended if nothing more happens. Never while a request is in hand.
    pub(super) fn due(&self, header: Duration, idle: Duration) -> Option<Due> {
        if self.in_flight.load(Ordering::Acquire) > 0 {
            return None;
        }
        let since = self.start + Duration::from_millis(self.since.load(Ordering::Relaxed));
        Some(match self.phase.load(Ordering::Relaxed) {
            IDLE => Due {
                at: since + idle,
                reason: IDLE_TIMEOUT,
            },
            _ => Due {
                at: since + header,
                reason: HEADER_TIMEOUT,
            },
        })
    }

    /// Whether nothing was ever read.
    pub(super) fn untouched(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == NEW && self.in_flight.load(Ordering::Acquire) == 0
    }

    fn read(&self) {
        match self.phase.load(Ordering::Relaxed) {
            // The time for the first head runs from the start.
            NEW => self.phase.store(HEAD, Ordering::Relaxed),
            IDLE if self.in_flight.load(Ordering::Relaxed) == 0
                && !self.http2.load(Ordering::Relaxed) =>
            {
                self.enter(HEAD);
            }
            _ => {}
        }
    }

    fn enter(&self, phase: u8) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }
}

/// A request in hand, until its answer is complete or given up.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        // The phase first: once nothing is in flight, it counts.
        self.0.enter(IDLE);
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The body of an answer, which keeps its connection busy to its end.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) busy: Busy,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        debug_assert!(self.busy.0.in_flight.load(Ordering::Relaxed) > 0);
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose reads are noticed.
pub(super) struct Watched<I> {
    io: I,
    activity: Arc<Activity>,
}

impl<I> Watched<I> {
    pub(super) fn new(io: I, activity: Arc<Activity>) -> Self {
        Self { io, activity }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.activity.read();
        }
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
