//! `SignStream`: many requests over one stream, each answered as soon as it is ready.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};
use prost::Message as _;
use tokio::time::{Instant, Sleep};
use tokio_stream::wrappers::WatchStream;
use tonic::{Status, Streaming};

use super::gate::{Call, unreadable};
use super::service::sign;
use super::v1::{SignStreamRequest, SignStreamResponse, sign_stream_response::Outcome};
use crate::error::ApiError;
use crate::handler::{Context, Front, SignHandler};
use crate::server::{Condition, ConditionReceiver};

/// How many requests of one stream are worked on at a time; beyond that, nothing more is read from it.
pub const IN_FLIGHT: usize = 64;

/// The longest id of a request, in bytes.
const ID_LIMIT: usize = 128;

/// The answers of one stream.
///
/// All of it runs in the task that writes the answers: a client that does not read them stops the reading of its requests,
/// and one that goes away takes its unfinished requests with it.
pub(crate) struct SignStream {
    handler: Arc<dyn SignHandler>,
    call: Arc<Call>,
    /// Where requests come from, until there are no more.
    inbound: Option<Streaming<SignStreamRequest>>,
    in_flight: FuturesUnordered<BoxFuture<'static, SignStreamResponse>>,
    condition: WatchStream<Condition>,
    idle: Duration,
    idle_timer: Pin<Box<Sleep>>,
    last_arrival: Instant,
    /// How many requests have come: names each in logs and records.
    arrived: u64,
    /// What the stream ends with, when all that was read is answered.
    end: Option<Status>,
}

impl SignStream {
    pub(super) fn new(
        handler: Arc<dyn SignHandler>,
        call: Arc<Call>,
        inbound: Streaming<SignStreamRequest>,
        condition: ConditionReceiver,
        idle: Duration,
    ) -> Self {
        Self {
            handler,
            call,
            inbound: Some(inbound),
            in_flight: FuturesUnordered::new(),
            condition: WatchStream::new(condition),
            idle,
            idle_timer: Box::pin(tokio::time::sleep(idle)),
            last_arrival: Instant::now(),
            arrived: 0,
            end: None,
        }
    }

    /// Reads no more; what was read is still answered.
    fn close(&mut self, end: Option<Status>) {
        self.inbound = None;
        self.end = end;
    }

    /// Takes in what can be taken in now. Says whether anything changed.
    fn take_in(&mut self, task: &mut Task<'_>) -> bool {
        let Some(inbound) = &mut self.inbound else {
            return false;
        };
        if self.in_flight.len() >= IN_FLIGHT {
            return false;
        }
        match inbound.poll_next_unpin(task) {
            Poll::Ready(Some(Ok(item))) => self.begin(item),
            Poll::Ready(Some(Err(status))) => {
                let error = unreadable(&status);
                error.report(Front::Grpc);
                self.close(Some(error.to_status()));
            }
            Poll::Ready(None) => self.close(None),
            Poll::Pending => return self.must_end(task),
        }
        true
    }

    fn begin(&mut self, item: SignStreamRequest) {
        self.arrived += 1;
        self.last_arrival = Instant::now();
        let context = Context {
            request_id: format!("{}.{}", self.call.context.request_id, self.arrived),
            received: self.last_arrival.into_std(),
            ..self.call.context.clone()
        };
        let handler = Arc::clone(&self.handler);
        self.in_flight
            .push(Box::pin(answer(handler, context, item)));
    }

    /// Whether the stream is to end although its client has not ended it: closes it then.
    fn must_end(&mut self, task: &mut Task<'_>) -> bool {
        while let Poll::Ready(Some(condition)) = self.condition.poll_next_unpin(task) {
            if condition == Condition::Draining {
                self.close(Some(Status::unavailable(
                    "the service is shutting down: open a new stream",
                )));
                return true;
            }
        }
        while self.in_flight.is_empty() && self.idle_timer.as_mut().poll(task).is_ready() {
            let quiet_until = self.last_arrival + self.idle;
            if quiet_until <= Instant::now() {
                self.close(Some(Status::unavailable(
                    "nothing arrived for long: open a new stream",
                )));
                return true;
            }
            self.idle_timer.as_mut().reset(quiet_until);
        }
        false
    }
}

impl Stream for SignStream {
    type Item = Result<SignStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Poll::Ready(Some(response)) = self.in_flight.poll_next_unpin(task) {
                return Poll::Ready(Some(Ok(response)));
            }
            if self.inbound.is_none() && self.in_flight.is_empty() {
                return Poll::Ready(self.end.take().map(Err));
            }
            if !self.take_in(task) {
                return Poll::Pending;
            }
        }
    }
}

async fn answer(
    handler: Arc<dyn SignHandler>,
    context: Context,
    item: SignStreamRequest,
) -> SignStreamResponse {
    let answered = match check(&item) {
        Ok(()) => sign(&*handler, &context, item.request.unwrap_or_default()).await,
        Err(error) => {
            let body = item.encode_to_vec();
            Err(handler.malformed(&context, &body, error).await)
        }
    };
    let outcome = match answered {
        Ok(response) => Outcome::Response(response),
        Err(error) => {
            error.report(Front::Grpc);
            Outcome::Failure((&error).into())
        }
    };
    SignStreamResponse {
        id: item.id,
        outcome: Some(outcome),
    }
}

fn check(item: &SignStreamRequest) -> Result<(), ApiError> {
    if item.id.is_empty() || item.id.len() > ID_LIMIT {
        return Err(ApiError::malformed(format!(
            "id must have 1 to {ID_LIMIT} bytes"
        )));
    }
    if item.request.is_none() {
        return Err(ApiError::malformed("request is missing"));
    }
    Ok(())
}
