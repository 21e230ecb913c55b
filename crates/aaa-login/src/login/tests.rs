use std::sync::Mutex;
use std::sync::mpsc;

use aaa_api::handler::Front;
use aaa_core::claims::ClientClaims;
use aaa_core::key::{Ed25519Key, VerifyingKey};
use aaa_core::secret::Secret;
use aaa_core::token::{Verifier, unverified};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::{Value, json};

use super::*;
use crate::pool::HashPool;
use crate::testing::{NOW, SECRET, Site, at, door, mint, userlist};

fn users() -> Value {
    json!([{"username": "bob", "password": SECRET, "acls": ["puppet.*"]}, {"username": "ünïcode", "password": SECRET}])
}

fn context() -> Context {
    let mut context = Context::new("exchange-1", Front::Rest);
    context.peer = Some("192.0.2.7:4711".parse().unwrap());
    context
}

fn signed(username: &str, password: &str) -> LoginRequest {
    let key = Ed25519Key::generate().unwrap();
    LoginRequest::signed(username, Secret::new(password.to_owned()), &key, at(NOW))
}

fn unsigned(username: &str, password: &str) -> LoginRequest {
    LoginRequest {
        username: username.to_owned(),
        password: Secret::new(password.to_owned()),
        ..LoginRequest::default()
    }
}

async fn outcome(site: &Site, request: &LoginRequest) -> Result<LoginOutcome, ApiError> {
    site.login.login(&context(), request.clone()).await
}

/// The token, or `error | detail`.
async fn answer(site: &Site, request: &LoginRequest) -> Result<String, String> {
    match outcome(site, request).await {
        Ok(LoginOutcome::Token(token)) => Ok(token),
        Ok(LoginOutcome::Refused { error, detail }) => Err(format!("{error} | {detail}")),
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn logins_made_by_choria_are_let_in() {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/login.json");
    let vectors: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let hash = crate::hash::argon2id(b"s3cret:with:colons").unwrap();
    let users: Vec<Value> = vectors
        .iter()
        .map(|login| json!({"username": login["username"], "password": hash, "organization": "choria"}))
        .collect();
    let site = Site::new(users.into());
    let verifier = Verifier::new(vec![VerifyingKey::Ed25519(
        site.issuers.organization.public(),
    )]);
    for vector in &vectors {
        let request = LoginRequest::parse(vector.to_string().as_bytes()).unwrap();
        for age in [0, 60] {
            site.clock.set(NOW + age);
            let token = answer(&site, &request).await.unwrap();
            let authentic = verifier.authenticate(&token).unwrap();
            let claims = authentic.valid_at(at(NOW + age), None).unwrap();
            assert_eq!(claims.callerid, format!("up={}", request.username));
            assert_eq!(claims.standard.public_key, request.public_key);
        }
        site.clock.set(NOW + 61);
        let refused = answer(&site, &request).await.unwrap_err();
        assert!(
            refused.starts_with("Login failed: ") && refused.ends_with(" | old request"),
            "{refused}"
        );
        site.clock.set(NOW - 1);
        let refused = answer(&site, &request).await.unwrap_err();
        assert!(
            refused.starts_with("Login failed: ") && refused.ends_with(" | future request"),
            "{refused}"
        );
    }
    assert_eq!(vectors.len(), 3);
}

#[tokio::test]
async fn the_token_says_what_the_user_may() {
    let site = Site::new(users());
    let request = signed("bob", "secret");
    let claims: ClientClaims = unverified(&answer(&site, &request).await.unwrap()).unwrap();
    assert_eq!(claims.callerid, "up=bob");
    assert_eq!(claims.agents, ["puppet.*"]);
    assert_eq!(claims.ou, "choria");
    assert_eq!(claims.permissions, None);
    assert_eq!(
        (claims.standard.iat, claims.standard.exp),
        (Some(NOW), Some(NOW + 3_600))
    );
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_name_get_the_same_answer() {
    let site = Site::new(users());
    let wrong = outcome(&site, &signed("bob", "Secret")).await.unwrap();
    let unknown = outcome(&site, &signed("eve", "secret")).await.unwrap();
    assert!(wrong == unknown);
    let LoginOutcome::Refused { error, detail } = wrong else {
        panic!("let in");
    };
    assert_eq!(
        (error.as_str(), detail.as_str()),
        ("Login failed", "the name or the password is wrong")
    );
    // The difference is for operators.
    let records = site.records.records.lock().unwrap();
    let details: Vec<_> = records
        .iter()
        .map(|record| record.outcome.clone())
        .collect();
    assert_eq!(
        details,
        ["wrong password", "unknown user"].map(|detail| Outcome::Refused {
            reason: decision::Reason::LoginRefused,
            detail: detail.to_owned()
        })
    );
}

#[tokio::test]
async fn names_are_compared_as_they_stand() {
    let site = Site::new(users());
    for name in [
        "Bob",
        " bob",
        "bob ",
        "bob\0",
        "bo\u{200b}b",
        "up=bob",
        "u\u{308}nïcode",
    ] {
        let refused = answer(&site, &signed(name, "secret")).await.unwrap_err();
        assert_eq!(
            refused, "Login failed | the name or the password is wrong",
            "{name:?}"
        );
    }
    assert!(answer(&site, &signed("ünïcode", "secret")).await.is_ok());
}

#[tokio::test]
async fn the_checks_come_in_the_order_of_the_specification() {
    let site = Site::new(users());
    // All of it is wrong; what is checked first is told, until nothing is.
    let mut request = signed("eve", "wrong");
    let key = std::mem::take(&mut request.public_key);
    request.timestamp = (NOW + 5).to_string();
    assert!(
        answer(&site, &request)
            .await
            .unwrap_err()
            .contains("allow_unsigned_logins")
    );
    request.public_key = key;
    assert!(
        answer(&site, &request)
            .await
            .unwrap_err()
            .ends_with("future request")
    );
    request.timestamp = (NOW - 61).to_string();
    assert!(
        answer(&site, &request)
            .await
            .unwrap_err()
            .ends_with("old request")
    );
    request.timestamp = (NOW - 1).to_string();
    assert!(
        answer(&site, &request)
            .await
            .unwrap_err()
            .contains("| invalid sig")
    );
    let refused = answer(&site, &signed("eve", "wrong")).await.unwrap_err();
    assert!(refused.ends_with("| the name or the password is wrong"));
    let reasons: Vec<String> = site
        .records
        .records
        .lock()
        .unwrap()
        .iter()
        .map(|record| match &record.outcome {
            Outcome::Refused { detail, .. } => detail.clone(),
            Outcome::Allowed { rule } => rule.clone(),
        })
        .collect();
    assert_eq!(
        reasons,
        [
            "no public key",
            "dated in the future",
            "dated more than a minute ago",
            "not signed by its public key",
            "unknown user"
        ]
    );
}

#[tokio::test]
async fn a_name_and_a_password_alone_only_where_the_operator_says_so() {
    let site = Site::new(users());
    let refused = answer(&site, &unsigned("bob", "secret")).await.unwrap_err();
    assert!(
        refused.contains("aaa login") && refused.contains("allow_unsigned_logins"),
        "{refused}"
    );
    let site = Site::unsigned(users());
    let token = answer(&site, &unsigned("bob", "secret")).await.unwrap();
    let claims: ClientClaims = unverified(&token).unwrap();
    assert_eq!(
        (
            claims.standard.public_key.as_str(),
            claims.callerid.as_str()
        ),
        ("", "up=bob")
    );
    assert_eq!(claims.standard.iss, "Choria Userlist Authenticator");
    assert_eq!(
        answer(&site, &unsigned("bob", "wrong")).await,
        Err("Login failed | the name or the password is wrong".to_owned())
    );
    // With a key, the key is proven there too.
    let mut forged = signed("bob", "secret");
    forged.signature = "00".repeat(64);
    assert!(
        answer(&site, &forged)
            .await
            .unwrap_err()
            .contains("| invalid sig")
    );
}

#[tokio::test]
async fn nobody_logs_in_without_a_name_or_a_password() {
    let empty = "$2a$04$9pOMJCgZjl2/nIU8Y..AzOpdYgem/HfFPNsiu.Yc0d823yk8/Dt4S";
    let site = Site::new(json!([{"username": "bob", "password": empty}]));
    for (name, password) in [("bob", ""), ("", "secret"), ("eve", "")] {
        let refused = answer(&site, &signed(name, password)).await.unwrap_err();
        assert_eq!(
            refused,
            "Login failed: a name and a password are needed | username or password is empty"
        );
    }
}

#[tokio::test]
async fn too_many_at_once_are_told_when_to_come_back() {
    let pool = Arc::new(HashPool::start(1).unwrap());
    let site = Site::with(userlist(users(), Arc::clone(&pool)));
    let (release, gate) = mpsc::channel::<()>();
    let (started, starting) = tokio::sync::oneshot::channel();
    let mut blocking = Box::pin(pool.run(move || {
        let _ = started.send(());
        gate.recv().is_err()
    }));
    assert!(futures_util::poll!(blocking.as_mut()).is_pending());
    starting.await.unwrap();
    let mut waiting = Vec::new();
    let error = loop {
        let mut queued = Box::pin(pool.run(|| ()));
        match futures_util::poll!(queued.as_mut()) {
            std::task::Poll::Pending => waiting.push(queued),
            std::task::Poll::Ready(_) => break outcome(&site, &signed("bob", "secret")).await,
        }
    };
    let error = error.err().unwrap();
    assert_eq!(
        (error.cause(), error.retry_after_seconds()),
        (Cause::Busy, Some(2))
    );
    drop(release);
    for queued in waiting {
        queued.await.unwrap();
    }
    assert!(answer(&site, &signed("bob", "secret")).await.is_ok());
}

#[tokio::test]
async fn no_token_leaves_without_its_record() {
    let site = Site::new(users());
    site.records.broken.store(true, Ordering::SeqCst);
    for request in [signed("bob", "secret"), signed("bob", "wrong")] {
        let error = outcome(&site, &request).await.err().unwrap();
        assert_eq!(
            (error.cause(), error.retry_after_seconds()),
            (Cause::Busy, Some(5))
        );
        assert!(!error.to_string().contains("disk"));
    }
    site.records.broken.store(false, Ordering::SeqCst);
    let token = answer(&site, &signed("bob", "secret")).await.unwrap();
    let claims: ClientClaims = unverified(&token).unwrap();
    let records = site.records.records.lock().unwrap();
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert_eq!(record.caller.as_ref().map(CallerId::as_str), Some("up=bob"));
    assert_eq!(record.token, Some(claims.standard.jti));
    assert_eq!(
        (&*record.site, record.exchange.id.as_str()),
        ("test", "exchange-1")
    );
    assert!(matches!(&record.subject, Subject::Login { username } if username == "bob"));
    assert_eq!(
        record.outcome,
        Outcome::Allowed {
            rule: "userlist".to_owned()
        }
    );
    assert_eq!(record.time, at(NOW));
}

#[tokio::test]
async fn an_ended_right_to_issue_gives_no_token() {
    let site = Site::new(users());
    site.clock.set(NOW + 86_400);
    let key = Ed25519Key::generate().unwrap();
    let password = || Secret::new("secret".to_owned());
    let request = LoginRequest::signed("bob", password(), &key, at(NOW + 86_400));
    let error = outcome(&site, &request).await.err().unwrap();
    assert_eq!(error.cause(), Cause::Busy);
    assert!(error.detail().contains("signing_token"));
    let records = site.records.records.lock().unwrap();
    let outcomes: Vec<_> = records
        .iter()
        .map(|record| record.outcome.clone())
        .collect();
    let undecided = Outcome::Refused {
        reason: decision::Reason::LoginRefused,
        detail: "not decided: busy".to_owned(),
    };
    assert_eq!(outcomes, [undecided]);
}

#[test]
fn everything_is_counted_by_the_names_that_dashboards_know() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let site = Site::new(users());
            for request in [
                signed("bob", "secret"),
                signed("bob", "wrong"),
                signed("eve", "wrong"),
                unsigned("bob", "secret"),
                signed(&"x".repeat(300), "secret"),
            ] {
                let _ = outcome(&site, &request).await;
            }
            site.login
                .malformed(&context(), b"{", ApiError::malformed("no object"))
                .await;
            site.records.broken.store(true, Ordering::SeqCst);
            let _ = outcome(&site, &signed("bob", "secret")).await;
        });
    });
    let mut seen: Vec<String> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, _, value)| {
            let labels: Vec<String> = key
                .key()
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let value = match value {
                DebugValue::Counter(count) => count.to_string(),
                DebugValue::Gauge(value) => value.to_string(),
                DebugValue::Histogram(values) => format!("{} times", values.len()),
            };
            format!("{}{{{}}} {value}", key.key().name(), labels.join(","))
        })
        .filter(|line| {
            line.contains("logins") || line.contains("authenticator") || line.contains("login_")
        })
        .collect();
    seen.sort();
    assert_eq!(
        seen,
        [
            "choria_aaa_authenticator_errors{site=test,authenticator=userlist} 6",
            "choria_aaa_authenticator_time{site=test,authenticator=userlist} 7 times",
            "choria_aaa_login_seconds{site=test,authenticator=userlist,outcome=failed} 1 times",
            "choria_aaa_login_seconds{site=test,authenticator=userlist,outcome=granted} 1 times",
            "choria_aaa_login_seconds{site=test,authenticator=userlist,outcome=refused} 5 times",
            "choria_aaa_login_throttled{site=test,by=account} 0",
            "choria_aaa_login_throttled{site=test,by=address} 0",
            "choria_aaa_logins{site=test,authenticator=userlist,outcome=failed,reason=busy} 1",
            "choria_aaa_logins{site=test,authenticator=userlist,outcome=granted,reason=} 1",
            "choria_aaa_logins{site=test,authenticator=userlist,outcome=refused,reason=malformed} 2",
            "choria_aaa_logins{site=test,authenticator=userlist,outcome=refused,reason=no_public_key} 1",
            "choria_aaa_logins{site=test,authenticator=userlist,outcome=refused,reason=unknown_user} 1",
            "choria_aaa_logins{site=test,authenticator=userlist,outcome=refused,reason=wrong_password} 1",
            "choria_aaa_users{site=test,authenticator=userlist} 2",
        ]
    );
}

#[tokio::test]
async fn of_what_cannot_be_read_nothing_is_kept() {
    let site = Site::new(users());
    let body = br#"{"username": "bob", "password": "hunter2", "x": 1}"#;
    let error = ApiError::malformed("x is no member of this request");
    let answered = site.login.malformed(&context(), body, error).await;
    assert_eq!(answered.cause(), Cause::Malformed);
    let records = site.records.records.lock().unwrap();
    let [record] = records.as_slice() else {
        panic!("{records:?}");
    };
    assert!(matches!(&record.subject, Subject::Login { username } if username.is_empty()));
    assert!(!format!("{record:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_is_not_decided_is_on_record_or_not_answered() {
    let site = Site::new(users());
    let without_time = LoginRequest {
        timestamp: String::new(),
        ..signed("bob", "secret")
    };
    let of_no_key = LoginRequest {
        public_key: "zz".to_owned(),
        ..signed("bob", "secret")
    };
    let requests = [without_time, of_no_key, signed(&"x".repeat(300), "secret")];
    for request in &requests {
        let error = outcome(&site, request).await.err().unwrap();
        assert_eq!(error.cause(), Cause::Malformed);
    }
    let said: Vec<String> = {
        let records = site.records.records.lock().unwrap();
        let said = records
            .iter()
            .map(|record| match (&record.subject, &record.outcome) {
                (Subject::Login { username }, Outcome::Refused { reason, detail }) => {
                    format!("{username}: {} {detail}", reason.as_str())
                }
                other => panic!("{other:?}"),
            });
        said.collect()
    };
    assert_eq!(
        said,
        [
            "bob: malformed_request timestamp must be the seconds of the unix epoch",
            "bob: malformed_request public_key is no Ed25519 public key",
            ": malformed_request username is too long",
        ]
    );
    site.records.broken.store(true, Ordering::SeqCst);
    for request in &requests {
        assert_eq!(
            outcome(&site, request).await.err().unwrap().cause(),
            Cause::Busy
        );
    }
    let error = ApiError::malformed("x is no member of this request");
    let answered = site.login.malformed(&context(), b"{", error).await;
    assert_eq!(answered.cause(), Cause::Busy);
}

#[test]
fn a_name_in_the_log_cannot_play_with_the_terminal() {
    assert_eq!(
        printable("a\u{1b}[31m\nb\u{202e}c"),
        "a\u{fffd}[31m\u{fffd}b\u{fffd}c"
    );
    assert_eq!(printable("ünïcode"), "ünïcode");
    assert_eq!(printable(&"x".repeat(300)).len(), USERNAME_LIMIT);
}

mod doors;
