//! So much, so long, and no further.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, StatusCode, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{
    Counters, GRPC_LOGIN, GRPC_SIGN, LOGIN, Oracle, SIGN, Served, ask, call, grpc, post, router,
};

fn pieces(count: usize) -> Body {
    let piece = Bytes::from(vec![b' '; 64 * 1024]);
    Body::from_stream(stream::iter(
        (0..count).map(move |_| Ok::<_, Infallible>(piece.clone())),
    ))
}

/// Some bytes, and then nothing more, for ever.
fn endless(first: &'static [u8]) -> Body {
    let first = stream::once(async move { Ok::<_, Infallible>(Bytes::from_static(first)) });
    Body::from_stream(first.chain(stream::pending()))
}

#[tokio::test]
async fn a_mebibyte_is_the_end_declared_or_not() {
    let counters = Counters::new();
    let _here = counters.here();
    let oracle = Oracle::new();
    let router = router(&oracle);
    let mut exact = b"{}".to_vec();
    exact.resize(1 << 20, b' ');
    assert_eq!(
        ask(&router, post(SIGN, exact.clone())).await.status,
        StatusCode::OK
    );
    exact.push(b' ');
    for body in [Body::from(exact), pieces(17), pieces(200)] {
        let answer = ask(&router, post(SIGN, body)).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(answer.text("detail"), "a request holds at most 1 MiB");
        assert_eq!(counters.bad_requests(), ["rest/too_large"]);
    }
    assert_eq!(oracle.entered(), 1);
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let router = router(&Oracle::new());
    let text = "{\"username\":\"bob\"}";
    let pieces = stream::iter(
        text.bytes()
            .map(|b| Ok::<_, Infallible>(Bytes::from(vec![b]))),
    );
    let answer = ask(&router, post(LOGIN, Body::from_stream(pieces))).await;
    assert_eq!(answer.text("token"), "token of bob");
}

#[tokio::test]
async fn a_client_that_writes_before_it_reads_still_hears_that_it_was_too_much() {
    let served = Served::new(router(&Oracle::new())).await;
    let mut connection = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let head = format!(
        "POST {SIGN} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        3 << 20
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&vec![b' '; 3 << 20]).await.unwrap();
    assert_eq!(
        status_line(&mut connection).await,
        "HTTP/1.1 413 Payload Too Large"
    );
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_without_sending() {
    let served = Served::new(router(&Oracle::new())).await;
    let mut connection = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let head = format!(
        "POST {SIGN} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        3 << 20
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(
        status_line(&mut connection).await,
        "HTTP/1.1 413 Payload Too Large"
    );
}

async fn status_line(connection: &mut tokio::net::TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(connection.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let counters = Counters::new();
    let _here = counters.here();
    let oracle = Oracle::new();
    let router = router(&oracle);
    let answer = ask(&router, post(LOGIN, endless(b"{\"username\":\"bob\""))).await;
    assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(counters.bad_requests(), ["rest/timeout"]);
    for path in [GRPC_LOGIN, GRPC_SIGN] {
        let answer = call(&router, grpc(path, endless(b"\0\0\0\0\x09abc"))).await;
        assert_eq!(answer.code, 4, "{}", answer.message);
        assert_eq!(
            answer.message,
            "Request timed out: the request did not arrive in time"
        );
        assert_eq!(counters.bad_requests(), ["grpc/timeout"]);
    }
    assert_eq!(oracle.entered(), 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_malformed() {
    let broken = stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("reset")),
    ]);
    let answer = ask(
        &router(&Oracle::new()),
        post(LOGIN, Body::from_stream(broken)),
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.text("detail"),
        "the request ended before its body was complete"
    );
}

#[tokio::test]
async fn answers_are_kept_by_nobody() {
    let router = router(&Oracle::new());
    for body in ["{}", "{", "{\"username\":\"break\"}"] {
        let answer = ask(&router, post(LOGIN, body)).await;
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
    let request = Request::get("/choria/v1/openapi.json")
        .body(Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
    assert!(!response.headers().contains_key(header::CACHE_CONTROL));
}
