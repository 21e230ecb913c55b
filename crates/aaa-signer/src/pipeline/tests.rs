use std::sync::Mutex;
use std::time::Duration;

use aaa_api::error::Cause;
use aaa_api::handler::Front;
use aaa_audit::{Auditor, Delivery, Sink, SinkError, Stored};
use aaa_core::caller::CallerId;
use aaa_core::claims::ClientPermissions;
use aaa_core::clock::ManualClock;
use aaa_core::key::{Ed25519Key, VerifyingKey};
use aaa_core::request::Request;
use aaa_core::secure_request::{NodeTrust, RequestSigner};
use aaa_core::token::{Grant, Minter};
use aaa_policy::Authorizer;
use aaa_policy::actionlist::ActionList;
use aaa_policy::rego::Opa;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::*;

mod guarded;
mod tasks;
mod unsigned;

const NOW: i64 = 1_795_351_244;

/// A sink that remembers, or fails on demand.
#[derive(Default)]
struct Remembering {
    records: Mutex<Vec<Arc<Record>>>,
    broken: bool,
}

#[async_trait::async_trait]
impl Sink for Remembering {
    fn name(&self) -> &'static str {
        "remembering"
    }

    async fn write(&self, record: &Arc<Record>) -> Result<Stored, SinkError> {
        if self.broken {
            return Err(SinkError::failed("broken"));
        }
        self.records.lock().unwrap().push(Arc::clone(record));
        Ok(Stored::Kept)
    }
}

/// A site with an organization issuer, a signer and a person.
struct Site {
    organization: Ed25519Key,
    person: Ed25519Key,
    clock: Arc<ManualClock>,
    sink: Arc<Remembering>,
    pipeline: Pipeline,
}

impl Site {
    fn new() -> Self {
        Self::with(vec![Box::new(ActionList)], false, Remembering::default())
    }

    fn with(
        authorizers: Vec<Box<dyn Authorizer>>,
        allow_bearer_tokens: bool,
        sink: Remembering,
    ) -> Self {
        let (organization, person) = (key(), key());
        let clock = ManualClock::at(NOW);
        let sink = Arc::new(sink);
        let delegator = delegator(&organization);
        let keys = Keys::new(
            vec![VerifyingKey::Ed25519(organization.public())],
            vec![delegator],
        );
        let auditor = Auditor::new(
            Arc::clone(&sink) as Arc<dyn Sink>,
            Delivery::Required,
            Duration::from_secs(1),
        );
        let site: Arc<str> = "london".into();
        let pipeline = Pipeline {
            clock: Arc::clone(&clock) as SharedClock,
            keys: Arc::new(ArcSwap::from_pointee(keys)),
            demands: Arc::new(ArcSwap::from_pointee(Demands {
                chain: Chain {
                    guards: Vec::new(),
                    authorizers,
                },
                rules: Rules {
                    max_validity: Duration::from_hours(2),
                },
                limits: TimeLimits::default(),
                allow_bearer_tokens,
            })),
            trail: Arc::new(Trail::new("london", vec![auditor])),
            meter: Meter::new(&site),
            site,
        };
        Self {
            organization,
            person,
            clock,
            sink,
            pipeline,
        }
    }

    fn grant(&self) -> Grant {
        Grant {
            caller: "up=bob@example.net".into(),
            agents: vec!["puppet.status".into()],
            public_key: Some(self.person.public()),
            validity: Duration::from_hours(1),
            ..Grant::default()
        }
    }

    fn token(&self, change: impl FnOnce(&mut Grant)) -> String {
        let mut grant = self.grant();
        change(&mut grant);
        Minter::organization(self.organization.clone())
            .client(grant, now())
            .unwrap()
    }

    /// What the person asks, signed by their key.
    fn ask(&self, request: Vec<u8>) -> SignRequest {
        SignRequest {
            token: self.token(|_| ()),
            signature: hex::encode(self.person.sign(&request)),
            request,
        }
    }

    async fn sign(&self, asked: SignRequest) -> Result<SignOutcome, ApiError> {
        self.pipeline
            .sign(&Context::new("exchange-1", Front::Rest), asked)
            .await
    }

    async fn refused(&self, asked: SignRequest) -> String {
        match self.sign(asked).await.unwrap() {
            SignOutcome::Refused { error, .. } => error,
            SignOutcome::Signed(_) => panic!("signed"),
        }
    }

    fn records(&self) -> Vec<Arc<Record>> {
        self.sink.records.lock().unwrap().clone()
    }

    /// The one record, which must be a refusal for this reason and name this caller.
    fn refusal(&self, reason: Reason, caller: Option<&str>) {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        let Outcome::Refused {
            reason: recorded, ..
        } = &records[0].outcome
        else {
            panic!("allowed");
        };
        assert_eq!(*recorded, reason);
        assert_eq!(records[0].caller.as_ref().map(CallerId::as_str), caller);
        assert_eq!(records[0].exchange.id, "exchange-1");
    }
}

fn key() -> Ed25519Key {
    Ed25519Key::generate().unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn delegator(organization: &Ed25519Key) -> RequestSigner {
    let own = key();
    let grant = Grant {
        caller: "aaa=signer".into(),
        permissions: Some(ClientPermissions {
            authentication_delegator: true,
            ..Default::default()
        }),
        public_key: Some(own.public()),
        validity: Duration::from_hours(24),
        ..Grant::default()
    };
    let token = Minter::organization(organization.clone())
        .client(grant, now())
        .unwrap();
    RequestSigner::Delegator { key: own, token }
}

fn request(agent: &str, action: &str) -> Vec<u8> {
    request_with(agent, action, |_| ())
}

fn request_with(agent: &str, action: &str, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    let body = serde_json::json!({"agent": agent, "action": action, "data": {}});
    let mut request = serde_json::json!({
        "protocol": "io.choria.protocol.v2.request", "message": STANDARD.encode(body.to_string()),
        "id": "3MSajOxQIhGhTmAjYqevdPrGO00", "sender": "dev1", "caller": "up=root", "collective": "choria",
        "agent": agent, "ttl": 60, "time": NOW * 1_000_000_000, "filter": {}
    });
    change(&mut request);
    request.to_string().into_bytes()
}

#[tokio::test]
async fn what_is_allowed_is_recorded_and_signed_in_the_name_of_the_token() {
    let site = Site::new();
    let SignOutcome::Signed(secure) = site
        .sign(site.ask(request("puppet", "status")))
        .await
        .unwrap()
    else {
        panic!("refused");
    };
    let node = NodeTrust {
        issuer: Some(site.organization.public()),
        ..NodeTrust::default()
    };
    // As clients do before they publish it.
    let mut published: serde_json::Value = serde_json::from_slice(&secure).unwrap();
    let fleet = ClientPermissions {
        fleet_management: true,
        ..Default::default()
    };
    published["caller"] = site.token(|grant| grant.permissions = Some(fleet)).into();
    let accepted = node.check(published.to_string().as_bytes(), now()).unwrap();
    assert_eq!(accepted.caller, "up=bob_example_net");
    assert_eq!(accepted.signer, "aaa=signer");
    assert_eq!(accepted.request.agent_action(), "puppet.status");

    let records = site.records();
    assert_eq!(records.len(), 1);
    assert_eq!(
        records[0].outcome,
        Outcome::Allowed {
            rule: "puppet.status".into()
        }
    );
    assert_eq!(
        records[0].caller.as_ref().unwrap().as_str(),
        "up=bob@example.net"
    );
    assert_eq!(&*records[0].site, "london");
}

#[tokio::test]
async fn a_caller_in_good_standing_is_told_why_not() {
    let site = Site::new();
    let error = site.refused(site.ask(request("puppet", "disable"))).await;
    assert!(
        error.starts_with("Request denied: up=bob@example.net may not puppet.disable"),
        "{error}"
    );
    site.refusal(Reason::NotAuthorized, Some("up=bob@example.net"));
}

#[tokio::test]
async fn nobody_else_is_told_anything() {
    type Change = fn(&Site, &mut SignRequest);
    let cases: [(Change, Reason, Option<&str>); 8] = [
        (|_, asked| asked.token.clear(), Reason::InvalidToken, None),
        (|_, asked| asked.token.push('x'), Reason::InvalidToken, None),
        (
            |_, asked| {
                let foreign = Site::new();
                asked.token = foreign.token(|_| ());
            },
            Reason::InvalidToken,
            None,
        ),
        (
            |site, asked| {
                asked.token = site.token(|grant| grant.validity = Duration::from_hours(3));
            },
            Reason::InvalidToken,
            None,
        ),
        (
            |_, asked| asked.signature.clear(),
            Reason::MissingSignature,
            Some("up=bob@example.net"),
        ),
        (
            |_, asked| asked.signature = hex::encode(key().sign(&asked.request)),
            Reason::InvalidSignature,
            Some("up=bob@example.net"),
        ),
        (
            |_, asked| asked.request = request("puppet", "other"),
            Reason::InvalidSignature,
            Some("up=bob@example.net"),
        ),
        (
            |_, asked| asked.signature = "zz".repeat(64),
            Reason::InvalidSignature,
            Some("up=bob@example.net"),
        ),
    ];
    for (change, reason, caller) in cases {
        let site = Site::new();
        let mut asked = site.ask(request("puppet", "status"));
        change(&site, &mut asked);
        assert_eq!(site.refused(asked).await, "Request denied");
        site.refusal(reason, caller);
    }
}

#[tokio::test]
async fn a_token_that_was_good_is_looked_at_again_every_time() {
    let site = Site::new();
    let asked = site.ask(request("puppet", "status"));
    assert!(matches!(
        site.sign(asked.clone()).await.unwrap(),
        SignOutcome::Signed(_)
    ));
    site.clock.set(NOW + 3_600);
    assert_eq!(site.refused(asked).await, "Request denied");
}

#[tokio::test]
async fn new_keys_forget_what_the_old_ones_verified() {
    let site = Site::new();
    let asked = site.ask(request("puppet", "status"));
    assert!(matches!(
        site.sign(asked.clone()).await.unwrap(),
        SignOutcome::Signed(_)
    ));
    let other = key();
    let keys = Keys::new(
        vec![VerifyingKey::Ed25519(other.public())],
        vec![delegator(&other)],
    );
    site.pipeline.keys.store(Arc::new(keys));
    assert_eq!(site.refused(asked).await, "Request denied");
}

#[tokio::test]
async fn bearer_tokens_are_the_operators_choice() {
    let site = Site::with(vec![Box::new(ActionList)], true, Remembering::default());
    let mut asked = site.ask(request("puppet", "status"));
    asked.signature.clear();
    assert!(matches!(
        site.sign(asked).await.unwrap(),
        SignOutcome::Signed(_)
    ));
    // A signature that is there must be good all the same.
    let mut asked = site.ask(request("puppet", "status"));
    asked.signature = hex::encode(key().sign(&asked.request));
    assert_eq!(site.refused(asked).await, "Request denied");
}

#[tokio::test]
async fn a_request_that_outlives_its_token_is_refused() {
    for (member, value, says) in [
        (
            "time",
            serde_json::json!((NOW + 86_400) * 1_000_000_000),
            "dated 1 d ahead",
        ),
        (
            "time",
            serde_json::json!((NOW - 61) * 1_000_000_000),
            "1 min 1 s old",
        ),
        ("ttl", serde_json::json!(31_536_000), "max_request_ttl"),
        ("ttl", serde_json::json!(0), "at least one second"),
    ] {
        let site = Site::new();
        let asked = site.ask(request_with("puppet", "status", |r| r[member] = value));
        let error = site.refused(asked).await;
        assert!(
            error.starts_with("Request denied: ") && error.contains(says),
            "{error}"
        );
        site.refusal(Reason::Untimely, Some("up=bob@example.net"));
    }
}

#[tokio::test]
async fn a_version_without_a_key_is_refused() {
    let site = Site::new();
    let text = format!(
        r#"{{"protocol":"choria:request:1","message":"{{\"agent\":\"puppet\",\"action\":\"status\"}}","envelope":{{"requestid":"1",
           "senderid":"dev1","callerid":"up=eve","collective":"mcollective","agent":"puppet","ttl":60,"time":{NOW}}}}}"#
    );
    let error = site.refused(site.ask(text.into_bytes())).await;
    assert!(error.contains("signs no v1 requests"), "{error}");
    site.refusal(Reason::UnsupportedVersion, Some("up=bob@example.net"));
}

#[tokio::test]
async fn what_cannot_be_read_is_bad_input_and_on_record() {
    let mismatch = request_with("puppet", "status", |r| r["agent"] = "shell".into());
    for bytes in [b"".to_vec(), b"{}".to_vec(), b"\xff".to_vec(), mismatch] {
        let site = Site::new();
        let error = site.sign(site.ask(bytes.clone())).await.unwrap_err();
        assert_eq!(error.cause(), Cause::Malformed);
        site.refusal(Reason::MalformedRequest, None);
        let Subject::Unreadable { length, .. } = &site.records()[0].subject else {
            panic!("read");
        };
        assert_eq!(*length, bytes.len());
    }
}

/// Whoever proved nothing fills no disk.
#[tokio::test]
async fn a_long_request_of_a_stranger_is_on_record_by_its_digest() {
    let long = request_with("puppet", "status", |r| {
        r["sender"] = "<".repeat(UNPROVEN).into();
    });
    let site = Site::new();
    let stranger = SignRequest {
        token: "x".to_owned(),
        ..site.ask(long.clone())
    };
    site.sign(stranger).await.unwrap();
    site.refusal(Reason::InvalidToken, None);
    assert!(
        matches!(&site.records()[0].subject, Subject::Unreadable { length, .. } if *length == long.len())
    );
    // Whoever did has the whole of it on record, and so has a stranger with a short one.
    let site = Site::new();
    site.sign(site.ask(long)).await.unwrap();
    assert!(matches!(site.records()[0].subject, Subject::Sign(_)));
    let site = Site::new();
    let stranger = SignRequest {
        token: "x".to_owned(),
        ..site.ask(request("puppet", "status"))
    };
    site.sign(stranger).await.unwrap();
    assert!(matches!(site.records()[0].subject, Subject::Sign(_)));
}

/// More than a stranger may have on record.
const UNPROVEN: usize = 17 << 10;

#[tokio::test]
async fn nothing_is_answered_without_a_record() {
    for asked in ["status", "disable"] {
        let broken = Remembering {
            broken: true,
            ..Remembering::default()
        };
        let site = Site::with(vec![Box::new(ActionList)], false, broken);
        let error = site
            .sign(site.ask(request("puppet", asked)))
            .await
            .unwrap_err();
        assert_eq!(error.cause(), Cause::Busy);
        assert!(error.retry_after_seconds().is_some());
        let malformed = ApiError::malformed("no object");
        let context = Context::new("exchange-1", Front::Rest);
        let error = site.pipeline.malformed(&context, b"{", malformed).await;
        assert_eq!(error.cause(), Cause::Busy);
    }
}

#[tokio::test]
async fn discovery_is_for_everybody_with_a_token() {
    let site = Site::new();
    let asked = site.ask(request_with("discovery", "", |r| {
        r["message"] = STANDARD.encode("ping").into();
    }));
    assert!(matches!(
        site.sign(asked).await.unwrap(),
        SignOutcome::Signed(_)
    ));
}

#[tokio::test]
async fn a_policy_that_needs_a_filter_says_so() {
    let site = Site::with(
        vec![Box::new(Opa::default())],
        false,
        Remembering::default(),
    );
    let policy = "package io.choria.aaasvc\ndefault allow = false\nallow { requires_fact_filter(\"country=mt\") }\n";
    let mut asked = site.ask(request("puppet", "disable"));
    asked.token = site.token(|grant| grant.opa_policy = policy.into());
    let error = site.refused(asked).await;
    assert_eq!(
        error,
        "Request denied: up=bob@example.net may not puppet.disable here: needs a fact filter such as country=mt (opa_policy:3)"
    );
}

#[tokio::test]
async fn every_authorizer_must_allow() {
    let site = Site::with(
        vec![Box::new(ActionList), Box::new(Opa::default())],
        false,
        Remembering::default(),
    );
    // On the action list, and without a policy.
    let error = site.refused(site.ask(request("puppet", "status"))).await;
    assert!(
        error.starts_with("Request denied: up=bob@example.net may not puppet.status"),
        "{error}"
    );
    site.refusal(Reason::PolicyFailed, Some("up=bob@example.net"));
}

#[tokio::test]
async fn without_an_authorizer_nothing_is_allowed() {
    let site = Site::with(vec![], false, Remembering::default());
    assert!(
        site.refused(site.ask(request("puppet", "status")))
            .await
            .starts_with("Request denied")
    );
}

#[tokio::test]
async fn the_newline_of_a_token_file_does_no_harm() {
    let site = Site::new();
    let mut asked = site.ask(request("puppet", "status"));
    asked.token.push('\n');
    assert!(matches!(
        site.sign(asked).await.unwrap(),
        SignOutcome::Signed(_)
    ));
}

#[tokio::test]
async fn what_is_signed_is_what_was_asked() {
    let site = Site::new();
    let asked = request("puppet", "status");
    let SignOutcome::Signed(secure) = site.sign(site.ask(asked.clone())).await.unwrap() else {
        panic!("refused");
    };
    let secure: serde_json::Value = serde_json::from_slice(&secure).unwrap();
    let inner = STANDARD
        .decode(secure["request"].as_str().unwrap())
        .unwrap();
    let (inner, asked) = (
        String::from_utf8(inner).unwrap(),
        String::from_utf8(asked).unwrap(),
    );
    assert_eq!(inner, asked.replace("up=root", "up=bob_example_net"));
    assert_eq!(
        Request::parse(inner.as_bytes()).unwrap().claimed_caller(),
        "up=bob_example_net"
    );
}
