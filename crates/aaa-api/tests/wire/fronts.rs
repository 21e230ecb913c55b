//! The same question gets the same answer, whichever front it came through.

use aaa_api::error::Cause;
use aaa_api::grpc::v1;
use aaa_api::rest::{REQUEST_LIMIT, TOKEN_LIMIT};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header;
use serde_json::json;

use crate::support::{
    Counters, GRPC_LOGIN, GRPC_SIGN, LOGIN, Oracle, SIGN, ask, call, frame, grpc, post, raw_frame,
    router,
};

/// What is to come of a question.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// An answer, and one of its members.
    Answer(&'static str, &'static str),
    /// An error, and the beginning of its detail.
    Fault(Cause, &'static str),
}

use Expected::{Answer, Fault};

fn login(username: &str, key: &str, timestamp: &str) -> v1::LoginRequest {
    v1::LoginRequest {
        username: username.to_owned(),
        password: "hunter2".to_owned(),
        public_key: key.to_owned(),
        timestamp: timestamp.to_owned(),
        signature: String::new(),
    }
}

fn logins() -> Vec<(v1::LoginRequest, Expected)> {
    let long = "u".repeat(100_000);
    vec![
        (login("bob", "", ""), Answer("token", "token of bob")),
        (login("refuse", "", ""), Answer("error", "Request denied")),
        (login("refuse", "", ""), Answer("detail", "because")),
        (
            login("busy", "", ""),
            Fault(Cause::Busy, "the queue is full"),
        ),
        (
            login("throttle", "", ""),
            Fault(Cause::TooManyRequests, "slow down"),
        ),
        (
            login("break", "", ""),
            Fault(Cause::Internal, "the service failed"),
        ),
        (
            login(&long, "", ""),
            Fault(Cause::Malformed, "username is longer"),
        ),
        (
            login("bob", "00", ""),
            Fault(Cause::Malformed, "public_key must be"),
        ),
        (
            login("bob", "", "now"),
            Fault(Cause::Malformed, "timestamp must be"),
        ),
    ]
}

fn sign(token: &str, request: &[u8], signature: &str) -> v1::SignRequest {
    v1::SignRequest {
        token: token.to_owned(),
        request: request.to_vec(),
        signature: signature.to_owned(),
    }
}

fn signs() -> Vec<(v1::SignRequest, Expected)> {
    let token = "t".repeat(TOKEN_LIMIT + 1);
    vec![
        (
            sign("good", b"{}", &"0f".repeat(64)),
            Answer("secure_request", "signed:{}"),
        ),
        (sign("", b"", ""), Answer("secure_request", "signed:")),
        (sign("refuse", b"{}", ""), Answer("error", "Request denied")),
        (
            sign("busy", b"{}", ""),
            Fault(Cause::Busy, "the queue is full"),
        ),
        (
            sign("throttle", b"{}", ""),
            Fault(Cause::TooManyRequests, "slow down"),
        ),
        (
            sign("break", b"{}", ""),
            Fault(Cause::Internal, "the service failed"),
        ),
        (
            sign(&token, b"{}", ""),
            Fault(Cause::Malformed, "token is longer"),
        ),
        (
            sign("good", &vec![b' '; REQUEST_LIMIT + 1], ""),
            Fault(Cause::Malformed, "request is longer"),
        ),
        (
            sign("good", b"{}", "0f"),
            Fault(Cause::Malformed, "signature must be"),
        ),
        (
            sign("good", &vec![b' '; 2 << 20], ""),
            Fault(Cause::TooLarge, "a request holds at most 1 MiB"),
        ),
    ]
}

#[tokio::test]
async fn logins_are_answered_alike() {
    for (message, expected) in logins() {
        let body = json!({
            "username": message.username, "password": message.password, "public_key": message.public_key,
            "timestamp": message.timestamp, "signature": message.signature,
        });
        let (rest, grpc) = (
            post(LOGIN, body.to_string()),
            grpc(GRPC_LOGIN, frame(&message)),
        );
        compare(
            rest,
            grpc,
            expected,
            |response: v1::LoginResponse, member| match member {
                "token" => response.token,
                "error" => response.error,
                _ => response.detail,
            },
        )
        .await;
    }
}

#[tokio::test]
async fn requests_to_sign_are_answered_alike() {
    for (message, expected) in signs() {
        let body = json!({
            "token": message.token, "request": STANDARD.encode(&message.request), "signature": message.signature,
        });
        let (rest, grpc) = (
            post(SIGN, body.to_string()),
            grpc(GRPC_SIGN, frame(&message)),
        );
        compare(
            rest,
            grpc,
            expected,
            |response: v1::SignResponse, member| match member {
                "secure_request" => String::from_utf8(response.secure_request).unwrap(),
                "error" => response.error,
                _ => response.detail,
            },
        )
        .await;
    }
}

async fn compare<M: prost::Message + Default>(
    rest: http::Request<Body>,
    grpc: http::Request<Body>,
    expected: Expected,
    member_of: impl Fn(M, &str) -> String,
) {
    let counters = Counters::new();
    let _here = counters.here();
    let router = router(&Oracle::new());
    let http = ask(&router, rest).await;
    let rpc = call(&router, grpc).await;
    match expected {
        Answer(member, value) => {
            assert_eq!(http.status, 200);
            let text = http.text(member);
            let text = match member {
                "secure_request" => String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
                _ => text.to_owned(),
            };
            assert_eq!(text, value);
            assert_eq!(rpc.code, 0, "{}", rpc.message);
            assert_eq!(member_of(rpc.messages::<M>().remove(0), member), value);
            assert!(counters.bad_requests().is_empty());
        }
        Fault(cause, detail) => {
            assert_eq!(http.status, cause.status());
            assert_eq!(http.text("error"), cause.message());
            assert!(http.text("detail").starts_with(detail), "{http:?}");
            assert_eq!(rpc.code, cause.code() as i32, "{}", rpc.message);
            assert_eq!(
                rpc.message,
                format!("{}: {}", cause.message(), http.text("detail"))
            );
            assert!(!rpc.message.contains("spool") && !rpc.message.contains("hunter2"));
            assert_eq!(
                http.headers.get(header::RETRY_AFTER),
                rpc.metadata.get("retry-after")
            );
            let retry = matches!(cause, Cause::Busy | Cause::TooManyRequests);
            assert_eq!(http.headers.contains_key(header::RETRY_AFTER), retry);
            let counted = if cause.is_bad_request() {
                vec![
                    format!("grpc/{}", cause.label()),
                    format!("rest/{}", cause.label()),
                ]
            } else {
                vec![]
            };
            assert_eq!(counters.bad_requests(), counted);
        }
    }
}

/// What tonic by itself would call a fault of ours is the client's.
#[tokio::test]
async fn bytes_that_are_no_message_are_malformed() {
    let counters = Counters::new();
    let _here = counters.here();
    let oracle = Oracle::new();
    let router = router(&oracle);
    let good = frame(&sign("good", b"{}", ""));
    let cases: [(&str, Vec<u8>); 6] = [
        ("garbage", raw_frame(b"\xff\xff\xff\xff").to_vec()),
        ("not UTF-8", raw_frame(b"\x0a\x02\xc3\x28").to_vec()),
        ("wrong wire type", raw_frame(b"\x08\x01").to_vec()),
        ("cut off", good[..good.len() - 1].to_vec()),
        ("compressed without saying how", [&[1], &good[1..]].concat()),
        ("nothing at all", Vec::new()),
    ];
    for (name, body) in cases {
        let answer = call(&router, grpc(GRPC_SIGN, body)).await;
        assert_eq!(answer.code, 3, "{name}: {}", answer.message);
        assert!(
            answer.message.starts_with("Malformed request: "),
            "{name}: {}",
            answer.message
        );
        assert_eq!(counters.bad_requests(), ["grpc/malformed"], "{name}");
    }
    assert_eq!(oracle.entered(), 0);
}

#[tokio::test]
async fn unknown_methods_and_services_are_unimplemented() {
    let counters = Counters::new();
    let _here = counters.here();
    let router = router(&Oracle::new());
    for path in [
        "/choria.aaa.v1.SignerService/Forge",
        "/choria.aaa.v2.SignerService/Sign",
    ] {
        let answer = call(&router, grpc(path, raw_frame(b""))).await;
        assert_eq!(answer.code, 12, "{}", answer.message);
        assert_eq!(counters.bad_requests(), ["grpc/not_found"]);
    }
}

#[tokio::test]
async fn what_is_not_configured_says_so_on_both_fronts() {
    let router = aaa_api::server::router(aaa_api::server::Handlers::default());
    for (path, grpc_path) in [(LOGIN, GRPC_LOGIN), (SIGN, GRPC_SIGN)] {
        let http = ask(&router, post(path, "{}")).await;
        assert_eq!(http.status, 501);
        let rpc = call(&router, grpc(grpc_path, raw_frame(b""))).await;
        assert_eq!(rpc.code, 12);
        assert_eq!(
            rpc.message,
            format!("Not configured: {}", http.text("detail"))
        );
    }
}
