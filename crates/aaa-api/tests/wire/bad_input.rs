//! What is no request gets a clear answer, is counted, and the service goes on.

use axum::body::Body;
use http::{Method, Request, StatusCode, header};
use proptest::prelude::*;

use crate::support::{
    Counters, GRPC_SIGN, GRPC_STREAM, LOGIN, Oracle, SIGN, ask, call, grpc, post, raw_frame, router,
};

fn big(member: &str) -> Vec<u8> {
    format!("{{\"{member}\":\"{}\"}}", "x".repeat(100_000)).into_bytes()
}

/// What is sent, and how the detail of the answer begins.
type Case = (Vec<u8>, &'static str);

fn malformed_logins() -> Vec<Case> {
    let text = |body: &str, detail| (body.as_bytes().to_vec(), detail);
    vec![
        text("", "the body is empty"),
        text("username=bob&password=hunter2", "the body is not JSON"),
        text("[]", "the body must be a JSON object"),
        text("{\"username\":42}", "username must be a string"),
        text("{\"password\":[\"hunter2\"]}", "password must be a string"),
        text(
            "{\"username\":\"a\",\"username\":\"b\"}",
            "username is there more than once",
        ),
        text("{\"user\":\"hunter2\"}", "unknown member \"user\""),
        text("{\"username\":\"\\ud800\"}", "the body is not JSON"),
        (
            b"{\"username\":\"\xc3\x28\"}".to_vec(),
            "the body is not UTF-8",
        ),
        (big("username"), "username is longer than 256 bytes"),
        (big("password"), "password is longer than 1024 bytes"),
        text("{\"timestamp\":\"soon\"}", "timestamp must be"),
        text("{\"timestamp\":\"-1\"}", "timestamp must be"),
        text(
            "{\"public_key\":\"abc\"}",
            "public_key must be 64 hexadecimal",
        ),
        text(
            "{\"signature\":\"zz\"}",
            "signature must be 128 hexadecimal",
        ),
    ]
}

fn malformed_requests_to_sign() -> Vec<Case> {
    let text = |body: &str, detail| (body.as_bytes().to_vec(), detail);
    let deep = format!("{{\"token\":{}", "[".repeat(200_000));
    let unknown = format!("{{\"{}\":1}}", "n".repeat(100_000));
    vec![
        text("{\"request\":\"e30 =\"}", "request must be standard base64"),
        text(
            "{\"request\":\"e3\\n0=\"}",
            "request must be standard base64",
        ),
        text("{\"request\":\"e30\"}", "request must be standard base64"),
        text("{\"request\":{}}", "request must be a string"),
        text("{\"token\":null}", "token must be a string"),
        text(&deep, "token must be a string"),
        text(&unknown, "unknown member \"nnn"),
        text(
            "{\"signature\":\"00\"}",
            "signature must be 128 hexadecimal",
        ),
    ]
}

#[tokio::test]
async fn every_malformed_body_is_a_400_that_names_what_is_wrong() {
    let counters = Counters::new();
    let _here = counters.here();
    let oracle = Oracle::new();
    let router = router(&oracle);
    let logins = malformed_logins().into_iter().map(|case| (LOGIN, case));
    let signs = malformed_requests_to_sign()
        .into_iter()
        .map(|case| (SIGN, case));
    for (path, (body, expected)) in logins.chain(signs) {
        let answer = ask(&router, post(path, body.clone())).await;
        let detail = answer.text("detail");
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{detail}");
        assert_eq!(answer.text("error"), "Malformed request");
        assert!(detail.starts_with(expected), "{detail} is not {expected}");
        assert!(
            detail.len() < 200 && !detail.contains("hunter2"),
            "{detail}"
        );
        assert_eq!(counters.bad_requests(), ["rest/malformed"], "{detail}");
        assert_eq!(oracle.malformed(), [body], "{detail}");
    }
    assert_eq!(oracle.entered(), 0);
    assert_eq!(
        ask(&router, post(LOGIN, "{\"username\":\"bob\"}"))
            .await
            .text("token"),
        "token of bob"
    );
    assert!(counters.bad_requests().is_empty());
}

#[tokio::test]
async fn wrong_places_and_wrong_ways_are_told_apart() {
    let counters = Counters::new();
    let _here = counters.here();
    let router = router(&Oracle::new());
    let request = |method: Method, path: &str| {
        Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap()
    };
    let cases = [
        (
            Method::GET,
            LOGIN,
            StatusCode::METHOD_NOT_ALLOWED,
            "POST",
            "rest/method_not_allowed",
        ),
        (
            Method::OPTIONS,
            SIGN,
            StatusCode::METHOD_NOT_ALLOWED,
            "POST",
            "rest/method_not_allowed",
        ),
        (
            Method::POST,
            "/choria/v1/openapi.json",
            StatusCode::METHOD_NOT_ALLOWED,
            "GET, HEAD",
            "rest/method_not_allowed",
        ),
        (
            Method::GET,
            GRPC_SIGN,
            StatusCode::METHOD_NOT_ALLOWED,
            "POST",
            "grpc/method_not_allowed",
        ),
        (
            Method::POST,
            GRPC_SIGN,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "",
            "grpc/unsupported_media_type",
        ),
        (
            Method::POST,
            "/grpc.health.v1.Health/Check",
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "",
            "grpc/unsupported_media_type",
        ),
        (
            Method::GET,
            "/",
            StatusCode::NOT_FOUND,
            "",
            "rest/not_found",
        ),
        (
            Method::POST,
            "/choria/v1/login/",
            StatusCode::NOT_FOUND,
            "",
            "rest/not_found",
        ),
        (
            Method::POST,
            "/choria/v1/%2e%2e/login",
            StatusCode::NOT_FOUND,
            "",
            "rest/not_found",
        ),
    ];
    for (method, path, status, allow, counted) in cases {
        let answer = ask(&router, request(method.clone(), path)).await;
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!answer.text("error").is_empty() && !answer.text("detail").is_empty());
        let allowed = answer
            .headers
            .get(header::ALLOW)
            .map_or("", |value| value.to_str().unwrap());
        assert_eq!(allowed, allow, "{method} {path}");
        assert_eq!(counters.bad_requests(), [counted]);
    }
}

#[tokio::test]
async fn a_body_that_is_declared_something_else_is_not_read_as_json() {
    let router = router(&Oracle::new());
    let with = |name: header::HeaderName, value: &str| {
        Request::post(LOGIN)
            .header(name, value)
            .body(Body::from("{}"))
            .unwrap()
    };
    let answer = ask(
        &router,
        with(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
    )
    .await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        answer.text("detail"),
        "send JSON, with Content-Type: application/json"
    );
    let answer = ask(&router, with(header::CONTENT_ENCODING, "gzip")).await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let bare = Request::post(LOGIN).body(Body::from("{}")).unwrap();
    assert_eq!(ask(&router, bare).await.status, StatusCode::OK);
}

/// Bytes, and text that is nearly a request.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let nearly = "\\{?(\"(token|request|signature|username|timestamp|x)\":(\"[a-zA-Z0-9+/=\\\\ ]{0,12}\"|[0-9]{1,5}|null|\\[|\\{),?){0,5}\\}?";
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        nearly.prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_is_answered_in_json_and_never_blamed_on_us(body in bodies()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let router = router(&Oracle::new());
            for path in [LOGIN, SIGN] {
                let answer = ask(&router, post(path, body.clone())).await;
                assert!(answer.status == StatusCode::OK || answer.status == StatusCode::BAD_REQUEST);
            }
            for path in [GRPC_SIGN, GRPC_STREAM] {
                for body in [body.clone().into(), raw_frame(&body)] {
                    let answer = call(&router, grpc(path, body)).await;
                    assert!([0, 3, 8, 12].contains(&answer.code), "{answer:?}");
                }
            }
        });
    }
}
