//! The description of the HTTP API says what the code does, no less and no more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use aaa_api::error::Cause;
use aaa_api::server::{Handlers, router as router_of};
use aaa_api::{openapi, rest};
use axum::Router;
use axum::body::Body;
use futures_util::stream;
use http::{Method, Request, header};
use serde_json::{Map, Value};

use crate::support::{Answer, LOGIN, Oracle, SIGN, ask, post, router};

fn document() -> Value {
    serde_json::from_str(openapi::json()).unwrap()
}

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    &document["components"]["schemas"][name]
}

#[test]
fn the_description_is_the_one_that_was_agreed() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, openapi::json()).unwrap();
    }
    let agreed = std::fs::read_to_string(&golden).unwrap();
    assert!(
        agreed == openapi::json(),
        "the API has changed: if that is meant, run this test with UPDATE_GOLDEN=1 and review openapi.json"
    );
    assert_eq!(document()["openapi"], "3.1.0");
}

#[tokio::test]
async fn it_is_served() {
    let request = Request::get("/choria/v1/openapi.json")
        .body(Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(router(&Oracle::new()), request)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .unwrap();
    assert_eq!(body, openapi::json());
}

#[test]
fn the_limits_are_those_of_the_code() {
    let document = document();
    let limit = |name: &str, member: &str| {
        schema(&document, name)["properties"][member]["maxLength"]
            .as_u64()
            .unwrap()
    };
    let cases = [
        ("LoginRequest", "username", rest::USERNAME_LIMIT),
        ("LoginRequest", "password", rest::PASSWORD_LIMIT),
        ("LoginRequest", "public_key", rest::PUBLIC_KEY_LENGTH),
        ("LoginRequest", "timestamp", rest::TIMESTAMP_LIMIT),
        ("LoginRequest", "signature", rest::SIGNATURE_LENGTH),
        ("SignRequest", "token", rest::TOKEN_LIMIT),
        (
            "SignRequest",
            "request",
            rest::REQUEST_LIMIT.div_ceil(3) * 4,
        ),
        ("SignRequest", "signature", rest::SIGNATURE_LENGTH),
    ];
    for (name, member, expected) in cases {
        assert_eq!(limit(name, member), expected as u64, "{name}.{member}");
    }
}

#[tokio::test]
async fn the_members_of_requests_are_those_that_are_read() {
    let document = document();
    let router = router(&Oracle::new());
    for (name, path) in [("LoginRequest", LOGIN), ("SignRequest", SIGN)] {
        let schema = schema(&document, name);
        assert_eq!(schema["additionalProperties"], false);
        assert!(
            schema.get("required").is_none(),
            "what is missing reads as empty"
        );
        let members = schema["properties"].as_object().unwrap();
        let all: Map<_, _> = members
            .keys()
            .map(|member| (member.clone(), "".into()))
            .collect();
        assert_eq!(
            ask(&router, post(path, Value::from(all).to_string()))
                .await
                .status,
            200
        );
        let answer = ask(&router, post(path, "{\"other\":\"\"}")).await;
        let listed: Vec<_> = members.keys().map(String::as_str).collect();
        let detail = format!(
            "unknown member \"other\"; this call takes {}",
            listed.join(", ")
        );
        assert_eq!(answer.text("detail"), detail);
    }
}

/// One request for each answer that a call can give.
fn provocations(path: &str, word: &str) -> BTreeMap<String, (Router, Request<Body>)> {
    let named = |value: &str| post(path, format!("{{\"{word}\":\"{value}\"}}"));
    let slow = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
    let text = || {
        Request::post(path)
            .header(header::CONTENT_TYPE, "text/plain")
            .body(Body::empty())
    };
    let get = || Request::get(path).body(Body::empty());
    let requests = [
        ("200".to_owned(), named("bob")),
        (of(Cause::Malformed), post(path, "{")),
        (of(Cause::MethodNotAllowed), get().unwrap()),
        (of(Cause::UnsupportedMediaType), text().unwrap()),
        (of(Cause::TooLarge), post(path, vec![b' '; 2 << 20])),
        (of(Cause::Timeout), post(path, slow)),
        (of(Cause::TooManyRequests), named("throttle")),
        (of(Cause::Busy), named("busy")),
        (of(Cause::NotConfigured), named("nobody")),
        (of(Cause::Internal), named("break")),
    ];
    let nobody = router_of(Handlers::default());
    requests
        .into_iter()
        .map(|(status, request)| {
            let router = if status == "501" {
                nobody.clone()
            } else {
                router(&Oracle::new())
            };
            (status, (router, request))
        })
        .collect()
}

fn of(cause: Cause) -> String {
    cause.status().as_str().to_owned()
}

#[tokio::test(start_paused = true)]
async fn each_documented_answer_is_given_and_no_other() {
    let document = document();
    for (path, word) in [(LOGIN, "username"), (SIGN, "token")] {
        let operation = &document["paths"][path]["post"];
        let documented = operation["responses"].as_object().unwrap();
        let mut provoked = provocations(path, word);
        assert_eq!(
            documented.keys().collect::<Vec<_>>(),
            provoked.keys().collect::<Vec<_>>(),
            "{path}"
        );
        for (status, described) in documented {
            let (router, request) = provoked.remove(status).unwrap();
            let answer = ask(&router, request).await;
            assert_eq!(answer.status.as_str(), status, "{path}");
            fits(&document, described, &answer);
        }
        let refusal = ask(
            &router(&Oracle::new()),
            post(path, format!("{{\"{word}\":\"refuse\"}}")),
        )
        .await;
        fits(&document, &documented["200"], &refusal);
    }
    let methods: Vec<_> = document["paths"][LOGIN]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(methods, [&Method::POST.as_str().to_lowercase()]);
}

/// The answer has the headers and only the members that are described, each a string.
fn fits(document: &Value, described: &Value, answer: &Answer) {
    for name in described["headers"]
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
    {
        assert!(
            answer.headers.contains_key(name),
            "{name} is missing in {answer:?}"
        );
    }
    let reference = described["content"]["application/json"]["schema"]["$ref"]
        .as_str()
        .unwrap();
    let name = reference.strip_prefix("#/components/schemas/").unwrap();
    let schema = schema(document, name);
    for member in answer.members.keys() {
        assert_eq!(
            schema["properties"][member]["type"], "string",
            "{name}.{member}"
        );
    }
    for member in schema["required"].as_array().into_iter().flatten() {
        assert!(
            answer.members.contains_key(member.as_str().unwrap()),
            "{name}.{member}"
        );
    }
}
