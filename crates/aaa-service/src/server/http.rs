//! Serving one connection: HTTP/1.1 or HTTP/2, with limits on what a client may send and how long it may take.

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aaa_api::handler::ClientCertificates;
use axum::body::Body;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, Answer, Due, IDLE_TIMEOUT as IDLE, Watched};

/// The largest head of a request, in bytes. Tokens travel in bodies.
const HEAD_BYTES: usize = 32 * 1024;
/// The most headers of a request.
const HEADERS: usize = 64;
/// Requests that one HTTP/2 connection may have in flight.
const STREAMS: u32 = 128;
/// What a client may send on one stream before it is read, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What a client may send on all of them.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client of HTTP/2 may take to leave when it is told that its connection lay idle.
const GOODBYE: Duration = Duration::from_secs(5);

/// Answers requests.
pub(crate) trait Respond: Send + Sync + 'static {
    /// Answers one.
    fn respond(
        &self,
        link: &Link,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) peer: SocketAddr,
    pub(crate) certificates: Option<ClientCertificates>,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// As both sides wished.
    Closed,
    /// The client did not keep a time limit: which one.
    TimedOut(&'static str),
    /// The client broke the protocol, or off.
    Failed(Box<dyn Error + Send + Sync>),
}

/// Serves connections, all in the same way.
pub(crate) struct Http<R> {
    builder: Builder<TokioExecutor>,
    respond: Arc<R>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

impl<R: Respond> Http<R> {
    pub(crate) fn new(respond: Arc<R>, header_timeout: Duration, idle_timeout: Duration) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The connection is watched from outside.
            .header_read_timeout(None)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_TIMEOUT);
        Self {
            builder,
            respond,
            header_timeout,
            idle_timeout,
        }
    }

    /// Serves one connection to its end. Once `drain` is cancelled it finishes what it has and takes on no more.
    pub(crate) async fn serve<I>(&self, io: I, link: Link, drain: &CancellationToken) -> End
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Activity::new();
        let io = TokioIo::new(Watched::new(io, Arc::clone(&activity)));
        let shared = Arc::new((Arc::clone(&self.respond), link, Arc::clone(&activity)));
        let service = service_fn(move |request: Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move {
                let (respond, link, activity) = &*shared;
                let busy = activity.begin(request.version() == Version::HTTP_2);
                let response = respond.respond(link, request).await;
                Ok::<_, Infallible>(response.map(|body| Answer { body, busy }))
            }
        });
        let mut connection = pin!(self.builder.serve_connection(io, service));
        let mut drained = pin!(drain.cancelled());
        let mut timer = pin!(tokio::time::sleep(self.header_timeout));
        let mut closing = Closing::No;
        poll_fn(|cx| {
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(match (result, closing) {
                        (Err(error), Closing::No) => End::Failed(error),
                        _ => End::Closed,
                    });
                }
                if closing != Closing::Drain && drained.as_mut().poll(cx).is_ready() {
                    closing = Closing::Drain;
                    if activity.untouched() {
                        return Poll::Ready(End::Closed);
                    }
                } else {
                    match self.poll_timer(timer.as_mut(), &activity, closing, cx) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Due { at, reason: IDLE }) if closing == Closing::No => {
                            closing = Closing::Idle(at + GOODBYE);
                        }
                        Poll::Ready(due) => return Poll::Ready(End::TimedOut(due.reason)),
                    }
                }
                // The connection does what it takes when it is polled next.
                connection.as_mut().graceful_shutdown();
            }
        })
        .await
    }

    /// Ready when the connection is to be ended, and as what.
    fn poll_timer(
        &self,
        mut timer: Pin<&mut Sleep>,
        activity: &Activity,
        closing: Closing,
        cx: &mut Context<'_>,
    ) -> Poll<Due> {
        loop {
            let mut due = activity.due(self.header_timeout, self.idle_timeout);
            if let (Some(due), Closing::Idle(end)) = (&mut due, closing) {
                due.at = due.at.max(end);
            }
            if let Some(due) = due
                && due.at < timer.deadline()
            {
                timer.as_mut().reset(due.at);
            }
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            match due {
                Some(due) if due.at <= now => return Poll::Ready(due),
                Some(due) => timer.as_mut().reset(due.at),
                // A request is in hand: look again later.
                None => timer.as_mut().reset(now + self.header_timeout),
            }
        }
    }
}

/// Whether a connection is being closed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    /// It lay idle; the client, told so, has until then to close it.
    Idle(Instant),
    /// The service stops.
    Drain,
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
