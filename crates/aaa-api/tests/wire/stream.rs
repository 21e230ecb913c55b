//! `SignStream`: each request gets its own answer, no more are worked on than can be, and it ends as it says.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use aaa_api::client::{Client, Settings};
use aaa_api::grpc::IN_FLIGHT;
use aaa_api::grpc::v1::sign_stream_response::Outcome;
use aaa_api::grpc::v1::{SignRequest, SignStreamRequest, SignStreamResponse};
use aaa_api::server::{self, Condition, Options};
use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use hyper::body::Body as _;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt as _;

use crate::support::{
    Counters, GRPC_STREAM, GrpcAnswer, Oracle, Served, call, finish, frame, grpc, handlers,
    raw_frame, router,
};

fn item(id: &str, token: &str) -> SignStreamRequest {
    SignStreamRequest {
        id: id.to_owned(),
        request: Some(SignRequest {
            token: token.to_owned(),
            request: id.as_bytes().to_vec(),
            signature: String::new(),
        }),
    }
}

fn frames(items: &[SignStreamRequest]) -> Bytes {
    let mut all = BytesMut::new();
    for item in items {
        all.extend_from_slice(&frame(item));
    }
    all.freeze()
}

/// These items, and then neither more nor an end.
fn open(items: &[SignStreamRequest]) -> Body {
    let items = frames(items);
    let first = stream::once(async move { Ok::<_, Infallible>(items) });
    Body::from_stream(first.chain(stream::pending()))
}

fn summary(response: SignStreamResponse) -> String {
    let outcome = match response.outcome.unwrap() {
        Outcome::Response(answer) if answer.error.is_empty() => {
            String::from_utf8(answer.secure_request).unwrap()
        }
        Outcome::Response(answer) => format!("{} ({})", answer.error, answer.detail),
        Outcome::Failure(failure) => format!(
            "{} {}: {} [{}]",
            failure.code, failure.error, failure.detail, failure.retry_after
        ),
    };
    format!("{} -> {outcome}", response.id)
}

fn summaries(answer: &GrpcAnswer) -> Vec<String> {
    let mut all: Vec<String> = answer.messages().into_iter().map(summary).collect();
    all.sort();
    all
}

#[tokio::test]
async fn each_item_is_answered_by_its_own_outcome_and_none_breaks_the_stream() {
    let counters = Counters::new();
    let _here = counters.here();
    let oracle = Oracle::new();
    let items = [
        item("a", "good"),
        item("b", "refuse"),
        item("c", "busy"),
        item("d", "break"),
        SignStreamRequest {
            id: "e".to_owned(),
            request: None,
        },
        SignStreamRequest {
            id: "f".to_owned(),
            request: Some(SignRequest {
                signature: "xyz".to_owned(),
                ..SignRequest::default()
            }),
        },
        item("", "good"),
        item(&"i".repeat(129), "good"),
        item("z", "good"),
    ];
    let answer = call(&router(&oracle), grpc(GRPC_STREAM, frames(&items))).await;
    assert_eq!(answer.code, 0, "{}", answer.message);
    let long = format!(
        "{} -> 3 Malformed request: id must have 1 to 128 bytes [0]",
        "i".repeat(129)
    );
    assert_eq!(
        summaries(&answer),
        [
            " -> 3 Malformed request: id must have 1 to 128 bytes [0]",
            "a -> signed:a",
            "b -> Request denied (because)",
            "c -> 14 Service unavailable: the queue is full [2]",
            "d -> 13 Internal error: the service failed; its log says more under the id of this request [0]",
            "e -> 3 Malformed request: request is missing [0]",
            "f -> 3 Malformed request: signature must be 128 hexadecimal characters [0]",
            &long,
            "z -> signed:z",
        ]
    );
    assert_eq!(counters.bad_requests(), ["grpc/malformed"; 4]);
    assert_eq!(oracle.malformed().len(), 4);
    let names = oracle.names.lock().unwrap().clone();
    let distinct: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(
        distinct.len(),
        names.len(),
        "each request has a name of its own"
    );
}

#[tokio::test]
async fn answers_overtake_those_that_wait() {
    let oracle = Oracle::new();
    let served = Served::new(router(&oracle)).await;
    let mut signer = Client::new(Settings::default())
        .unwrap()
        .grpc_signer(&served.origin())
        .unwrap();
    let (send, receive) = mpsc::channel(1);
    send.send(item("slow", "wait")).await.unwrap();
    let mut answers = signer
        .sign_stream(ReceiverStream::new(receive))
        .await
        .unwrap()
        .into_inner();
    send.send(item("fast", "good")).await.unwrap();
    assert_eq!(
        summary(answers.message().await.unwrap().unwrap()),
        "fast -> signed:fast"
    );
    oracle.gate.add_permits(1);
    assert_eq!(
        summary(answers.message().await.unwrap().unwrap()),
        "slow -> signed:slow"
    );
    drop(send);
    assert!(answers.message().await.unwrap().is_none());
}

#[tokio::test]
async fn no_more_than_the_bound_is_taken_in_until_answers_are_taken_out() {
    let oracle = Oracle::new();
    let items: Vec<_> = (0..IN_FLIGHT * 3)
        .map(|n| item(&n.to_string(), "wait"))
        .collect();
    let request = grpc(GRPC_STREAM, frames(&items));
    let mut response = router(&oracle).oneshot(request).await.unwrap();

    assert!(next_frame(&mut response).now_or_never().is_none());
    assert_eq!(
        oracle.entered(),
        IN_FLIGHT,
        "all that may be, of {} that have come",
        items.len()
    );
    oracle.gate.add_permits(10);
    assert!(next_frame(&mut response).now_or_never().is_some());
    assert!(oracle.entered() <= IN_FLIGHT + 10);

    oracle.gate.add_permits(items.len());
    let rest = finish(response).await;
    assert_eq!(rest.code, 0);
    assert_eq!(oracle.entered(), items.len());
}

async fn next_frame(response: &mut axum::response::Response) {
    let frame = poll_fn(|task| Pin::new(response.body_mut()).poll_frame(task)).await;
    assert!(frame.is_some_and(|frame| frame.is_ok()));
}

#[tokio::test]
async fn a_shutdown_answers_what_was_read_and_then_ends_the_stream() {
    let oracle = Oracle::new();
    let (condition, receiver) = watch::channel(Condition::Ready);
    let options = Options {
        condition: receiver,
        ..Options::default()
    };
    let router = server::router_with(handlers(&oracle), &options);
    let response = router
        .oneshot(grpc(GRPC_STREAM, open(&[item("a", "wait")])))
        .await
        .unwrap();
    let mut answer = Box::pin(finish(response));
    assert!(answer.as_mut().now_or_never().is_none());
    assert_eq!(oracle.entered(), 1);

    condition.send(Condition::NotReady).unwrap();
    assert!(answer.as_mut().now_or_never().is_none());
    condition.send(Condition::Draining).unwrap();
    assert!(
        answer.as_mut().now_or_never().is_none(),
        "what was read is not dropped"
    );
    oracle.gate.add_permits(1);
    let answer = answer.await;
    assert_eq!(summaries(&answer), ["a -> signed:a"]);
    assert_eq!(answer.code, 14);
    assert_eq!(
        answer.message,
        "the service is shutting down: open a new stream"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lies_idle_is_ended_but_not_while_it_waits_for_us() {
    let oracle = Oracle::new();
    let router = router(&oracle);
    let response = router
        .oneshot(grpc(GRPC_STREAM, open(&[item("a", "wait")])))
        .await
        .unwrap();
    let mut answer = Box::pin(finish(response));
    assert!(answer.as_mut().now_or_never().is_none());
    tokio::time::advance(std::time::Duration::from_hours(1)).await;
    assert!(answer.as_mut().now_or_never().is_none());
    oracle.gate.add_permits(1);
    let answer = answer.await;
    assert_eq!(summaries(&answer), ["a -> signed:a"]);
    assert_eq!(
        (answer.code, &*answer.message),
        (14, "nothing arrived for long: open a new stream")
    );
}

#[tokio::test]
async fn what_cannot_be_read_ends_the_stream_after_the_answers() {
    let counters = Counters::new();
    let _here = counters.here();
    let good = frame(&item("a", "good"));
    let cases = [
        (raw_frame(b"\xff\xff\xff"), 3, "grpc/malformed"),
        (raw_frame(&vec![0; (1 << 20) + 1]), 8, "grpc/too_large"),
    ];
    for (bad, code, counted) in cases {
        let body = [&*good, &*bad].concat();
        let answer = call(&router(&Oracle::new()), grpc(GRPC_STREAM, body)).await;
        assert_eq!(summaries(&answer), ["a -> signed:a"]);
        assert_eq!(answer.code, code, "{}", answer.message);
        assert_eq!(counters.bad_requests(), [counted]);
    }
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_requests_along() {
    let oracle = Oracle::new();
    let request = grpc(GRPC_STREAM, open(&[item("a", "wait"), item("b", "wait")]));
    let mut response = router(&oracle).oneshot(request).await.unwrap();
    let polled =
        poll_fn(|task| Poll::Ready(Pin::new(response.body_mut()).poll_frame(task).is_pending()));
    assert!(polled.await);
    assert_eq!(oracle.entered(), 2);
    drop(response);
    oracle.gate.add_permits(2);
    assert_eq!(oracle.gate.available_permits(), 2, "nobody waits any more");
}
