//! The bodies of requests, with a bound on what all of them together hold in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::PollSemaphore;

/// What a body may bring without asking: more than a login or a request to sign needs.
const SMALL: usize = 32 * 1024;

/// How many bodies larger than that are read at a time. Each is at most 1 MiB, by the limit of the API.
pub(super) const LARGE_AT_A_TIME: usize = 64;

/// A body that waits for its turn once it shows to be large. The deadline for bodies runs on meanwhile.
pub(super) struct Metered<B> {
    body: B,
    seen: usize,
    turns: Arc<Semaphore>,
    turn: Option<Turn>,
}

enum Turn {
    Waiting(PollSemaphore),
    Held(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit),
}

impl<B> Metered<B> {
    pub(super) fn new(body: B, turns: &Arc<Semaphore>) -> Self {
        Self {
            body,
            seen: 0,
            turns: Arc::clone(turns),
            turn: None,
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let turns = &self.turns;
        let turn = self
            .turn
            .get_or_insert_with(|| Turn::Waiting(PollSemaphore::new(Arc::clone(turns))));
        if let Turn::Waiting(waiting) = turn
            && let Some(permit) = ready!(waiting.poll_acquire(cx))
        {
            *turn = Turn::Held(permit);
        }
        Poll::Ready(())
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.seen > SMALL {
            ready!(self.poll_turn(cx));
        }
        let polled = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.seen = self.seen.saturating_add(data.len());
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn of_frames(count: usize) -> impl HttpBody<Data = Bytes, Error = Infallible> + Unpin {
        let frame = || Ok(Frame::data(Bytes::from(vec![b'x'; 8 * 1024])));
        StreamBody::new(tokio_stream::iter(
            std::iter::repeat_with(frame)
                .take(count)
                .collect::<Vec<_>>(),
        ))
    }

    #[tokio::test]
    async fn large_bodies_take_turns_and_small_ones_do_not_wait() {
        let turns = Arc::new(Semaphore::new(1));
        let mut first = Metered::new(of_frames(10), &turns);
        for _ in 0..6 {
            first.frame().await.unwrap().unwrap();
        }
        assert_eq!(turns.available_permits(), 0);

        let small = Metered::new(of_frames(4), &turns).collect().await.unwrap();
        assert_eq!(small.to_bytes().len(), 32 * 1024);

        let second = tokio::spawn(Metered::new(of_frames(10), &turns).collect());
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(second.to_bytes().len(), 80 * 1024);
        assert_eq!(turns.available_permits(), 1);
    }
}
