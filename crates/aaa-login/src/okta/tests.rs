use std::path::Path;

use aaa_api::error::Cause;
use aaa_api::handler::{Context, Front};
use aaa_core::clock::ManualClock;
use aaa_core::secret::Secret;
use aaa_service::config::Document;
use aaa_testing::okta::{
    API_TOKEN, CLIENT_ID, CLIENT_SECRET, Call, Fault as Wrong, Okta as Double, Policy, Protocol,
    User,
};
use futures_util::future::join_all;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use serde_json::{Value, json};

use super::*;
use crate::conformance::words;
use crate::testing::NOW;

const BOB: &str = "bob@example.net";
const PASSWORD: &str = "p&w=+ü %2f";
const REGO: &str = "package io.choria.aaasvc\ndefault allow = false\n";

fn people() -> Vec<User> {
    let mut people = vec![
        User::new(
            "00u1",
            BOB,
            PASSWORD,
            &["Everyone", "Operations", "Web, \"1\"\n"],
        ),
        User::new("00u2", "jill@example.net", "jill's", &["Everyone"]),
        User::new("00u3", "locked@example.net", PASSWORD, &["Operations"]),
        User::new("00u4", "factor@example.net", PASSWORD, &["Operations"]),
        User::new("00u5", "required@example.net", PASSWORD, &["Operations"]),
        User::new("00u6", "denied@example.net", PASSWORD, &["Operations"]),
        User::new("00u7", "expired@example.net", PASSWORD, &["Operations"]),
        User::new("00u8", "ünï+x@example.net", PASSWORD, &["Operations"]),
    ];
    people[2].status = "LOCKED_OUT".to_owned();
    people[3].policy = Policy::SecondFactor;
    people[4].policy = Policy::SecondFactorRequired;
    people[5].policy = Policy::Deny;
    people[6].status = "PASSWORD_EXPIRED".to_owned();
    people
}

fn section(endpoint: &str) -> Value {
    json!({
        "endpoint": endpoint, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "api_token": API_TOKEN,
        "acls": {"Operations": ["puppet.*"], "Web, \"1\"\n": ["rpcutil.ping", "puppet.*"]},
        "groups": [{"group": "Operations", "acls": ["service.*"], "broker_permissions": {"fleet_management": true},
                    "properties": {"team": "ops"}, "opa_policy": REGO}]
    })
}

fn settings(section: &Value) -> Result<Settings, String> {
    let text = json!({"okta_authenticator": section}).to_string();
    let document = Document::parse("login.json", text.as_bytes()).unwrap();
    let read = Settings::read(&document.section(SECTION, OKTA).unwrap());
    document.finish().map_err(|problems| problems.to_string())?;
    Ok(read.unwrap())
}

struct Site {
    double: Double,
    okta: Okta,
    clock: Arc<ManualClock>,
}

impl Site {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Value)) -> Self {
        let double = Double::start(people()).await.unwrap();
        let mut section = section(&double.endpoint());
        change(&mut section);
        Self::of(double, &section)
    }

    async fn over_tls(protocol: Protocol) -> Self {
        let double = Double::start_tls(people(), protocol).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.crt");
        std::fs::write(&ca, double.authority().unwrap()).unwrap();
        let mut section = section(&double.endpoint());
        section["endpoint_ca"] = json!(ca);
        Self::of(double, &section)
    }

    fn of(double: Double, section: &Value) -> Self {
        let clock = ManualClock::at(NOW);
        let meter = Meter::new("test".into());
        let okta = Okta::new(settings(section).unwrap(), clock.clone(), meter);
        Self {
            double,
            okta,
            clock,
        }
    }

    async fn login(&self, username: &str, password: &str) -> Result<Verdict, ApiError> {
        let attempt = Attempt {
            username,
            password: &Secret::new(password.to_owned()),
            context: &Context::new("1", Front::Rest),
        };
        self.okta.authenticate(&attempt).await
    }

    async fn known(&self, username: &str, password: &str) -> Identity {
        match self.login(username, password).await.unwrap() {
            Verdict::Known(identity) => *identity,
            Verdict::Refused(refusal) => panic!("{refusal:?}"),
            Verdict::Unknown | Verdict::Wrong(_) => panic!("unknown"),
        }
    }

    async fn refused(&self, username: &str, password: &str) -> Refusal {
        match self.login(username, password).await.unwrap() {
            Verdict::Refused(refusal) => refusal,
            Verdict::Known(identity) => panic!("{identity:?}"),
            Verdict::Unknown | Verdict::Wrong(_) => panic!("unknown"),
        }
    }

    /// The cause, and what lies behind it.
    async fn undecided(&self, username: &str, password: &str) -> (Cause, String) {
        let Err(error) = self.login(username, password).await else {
            panic!("decided");
        };
        assert!(!error.detail().contains("okta"), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        (error.cause(), source)
    }

    fn paths(&self) -> Vec<String> {
        self.double
            .calls()
            .into_iter()
            .map(|(_, path)| path)
            .collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.double.complaints(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn somebody_has_the_rights_of_all_their_groups() {
    let site = Site::new().await;
    let bob = site.known(BOB, PASSWORD).await;
    assert_eq!(bob.caller.as_str(), "okta=bob@example.net");
    assert_eq!(bob.rights.agents, ["puppet.*", "rpcutil.ping", "service.*"]);
    assert_eq!(bob.rights.policy.as_deref(), Some(REGO));
    assert_eq!(
        bob.rights.properties,
        [("team".to_owned(), "ops".to_owned())]
    );
    assert_eq!(
        bob.rights.permissions.unwrap().given(),
        ["fleet_management"]
    );
    assert_eq!(
        site.paths(),
        [
            "/oauth2/default/v1/token",
            "/api/v1/users/bob@example.net",
            "/api/v1/users/00u1/groups?limit=200"
        ]
    );
}

#[tokio::test]
async fn a_caller_is_the_login_of_the_record_however_it_was_typed() {
    let site = Site::new().await;
    for name in ["BOB@Example.NET", "bob"] {
        assert_eq!(
            site.known(name, PASSWORD).await.caller.as_str(),
            "okta=bob@example.net"
        );
    }
    let caller = site.known("ünï+x@example.net", PASSWORD).await.caller;
    assert_eq!(caller.as_str(), "okta=ünï+x@example.net");
    assert!(
        site.paths()
            .contains(&"/api/v1/users/%C3%BCn%C3%AF%2Bx@example.net".to_owned())
    );
}

#[tokio::test]
async fn all_pages_of_groups_are_read() {
    let site = Site::new().await;
    site.double.page_size(7);
    site.double.change(|users| {
        users[0].groups = (0..40).map(|number| format!("group {number}")).collect();
        users[0].groups.push("Operations".to_owned());
    });
    assert_eq!(
        site.known(BOB, PASSWORD).await.rights.agents,
        ["puppet.*", "service.*"]
    );
    let pages = site
        .double
        .calls()
        .iter()
        .filter(|(call, _)| *call == Call::Groups)
        .count();
    assert_eq!(pages, 6);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_apart_and_strangers_are_not_told() {
    let site = Site::new().await;
    for (name, password, reason, advice) in [
        (BOB, "wrong", Reason::WrongPassword, ""),
        ("bob", "wrong", Reason::WrongPassword, ""),
        ("locked@example.net", PASSWORD, Reason::Locked, ""),
        (
            "factor@example.net",
            PASSWORD,
            Reason::SecondFactor,
            "second factor",
        ),
        (
            "required@example.net",
            PASSWORD,
            Reason::SecondFactor,
            "second factor",
        ),
        ("denied@example.net", PASSWORD, Reason::NotAllowed, "policy"),
        (
            "expired@example.net",
            PASSWORD,
            Reason::Inactive,
            "not active",
        ),
        (
            "jill@example.net",
            "jill's",
            Reason::NoGroup,
            "none of the groups",
        ),
        ("", PASSWORD, Reason::NoCredentials, "needed"),
        (BOB, "", Reason::NoCredentials, "needed"),
    ] {
        let refusal = site.refused(name, password).await;
        assert_eq!(refusal.reason, reason, "{name}");
        assert!(refusal.advice.contains(advice), "{name}: {refusal:?}");
        if reason.is_a_guess() {
            assert_eq!(refusal, Refusal::credentials(reason));
        }
    }
    assert!(matches!(
        site.login("eve@example.net", PASSWORD).await,
        Ok(Verdict::Unknown)
    ));
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_name_take_the_same_calls() {
    let site = Site::new().await;
    let count = |site: &Site| {
        site.double
            .calls()
            .into_iter()
            .map(|(call, _)| call)
            .collect::<Vec<_>>()
    };
    let _ = site.refused(BOB, "wrong").await;
    let wrong = count(&site);
    let _ = site.login("eve@example.net", "wrong").await;
    assert_eq!(count(&site)[wrong.len()..], wrong);
}

#[tokio::test]
async fn a_name_that_is_no_login_never_reaches_the_tenant() {
    let site = Site::new().await;
    let long = "x".repeat(10_000);
    for name in [
        "bob@example.net/groups",
        "../users/00u1",
        "..",
        "bob?x=1",
        "bob%2f..",
        "bob%40example.net",
        "bob\nAuthorization: x",
        "bob\\x",
        "#",
        long.as_str(),
    ] {
        assert!(
            matches!(site.login(name, PASSWORD).await, Ok(Verdict::Unknown)),
            "{name}"
        );
    }
    assert_eq!(site.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_is_its_whole_name_whatever_stands_in_it() {
    let names = ["A, B", "a/b", "x.y", "Operations,Web", "\u{fc}", "*"];
    let site = Site::with(|section| {
        section["groups"] = json!([]);
        section["acls"] = names
            .iter()
            .map(|name| ((*name).to_owned(), json!([format!("g{name}.x")])))
            .collect();
    })
    .await;
    for name in names {
        site.double
            .change(|users| users[0].groups = vec![name.to_owned()]);
        let agents = site.known(BOB, PASSWORD).await.rights.agents;
        assert_eq!(agents, [format!("g{name}.x")]);
    }
    for name in [
        "A",
        "B",
        "a, b",
        "A,B",
        " A, B",
        "x",
        "y",
        "Operations",
        "Web",
        "U\u{308}",
        "",
        "**",
    ] {
        site.double
            .change(|users| users[0].groups = vec![name.to_owned()]);
        assert_eq!(
            site.refused(BOB, PASSWORD).await.reason,
            Reason::NoGroup,
            "{name}"
        );
    }
}

#[tokio::test]
async fn it_conforms() {
    let site = Site::new().await;
    crate::conformance::Fixture {
        authenticator: Arc::new(Okta::new(
            settings(&section(&site.double.endpoint())).unwrap(),
            site.clock.clone(),
            Meter::new("test".into()),
        )),
        provider: PROVIDER,
        right: vec![
            (words(BOB, PASSWORD), "okta=bob@example.net"),
            (
                words("ünï+x@example.net", PASSWORD),
                "okta=ünï+x@example.net",
            ),
        ],
        wrong: vec![
            words(BOB, "wrong"),
            words("jill@example.net", "jill's"),
            words("locked@example.net", PASSWORD),
        ],
        unknown: vec![words("eve@example.net", PASSWORD), words("x", "y")],
    }
    .check()
    .await;
}

#[tokio::test]
async fn calls_are_counted_by_what_came_of_them() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let site = Site::new().await;
    let _guard = metrics::set_default_local_recorder(&recorder);
    site.known(BOB, PASSWORD).await;
    site.double.fail_once(Call::Token, Wrong::RateLimit(None));
    site.undecided(BOB, PASSWORD).await;
    let mut counted = Vec::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        if key.key().name() == crate::meter::OKTA_CALLS {
            let labels: Vec<_> = key
                .key()
                .labels()
                .map(|label| label.value().to_owned())
                .collect();
            assert_eq!(value, DebugValue::Counter(1));
            counted.push(labels[1..].join(" "));
        }
    }
    counted.sort();
    assert_eq!(
        counted,
        [
            "groups answered",
            "token answered",
            "token rate_limited",
            "user answered"
        ]
    );
}

#[tokio::test]
async fn other_settings_and_policies_are_taken_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.rego");
    std::fs::write(&path, REGO).unwrap();
    let site = Site::with(|section| {
        section["groups"] = json!([{"group": "Everyone", "opa_policy_file": path}]);
    })
    .await;
    let policy = |identity: Identity| identity.rights.policy.unwrap().to_string();
    assert_eq!(policy(site.known("jill@example.net", "jill's").await), REGO);
    let changed = format!("{REGO}# changed\n");
    std::fs::write(&path, &changed).unwrap();
    site.okta.look_at_policies().unwrap();
    assert_eq!(
        policy(site.known("jill@example.net", "jill's").await),
        changed
    );
    let other = section(&site.double.endpoint());
    site.okta.replace(settings(&other).unwrap());
    assert_eq!(
        site.refused("jill@example.net", "jill's").await.reason,
        Reason::NoGroup
    );
}

#[tokio::test]
async fn over_tls_only_who_is_vouched_for_is_believed() {
    let double = Double::start_tls(people(), Protocol::Http2).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.crt");
    std::fs::write(&ca, double.authority().unwrap()).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let stranger = dir.path().join("other.crt");
    std::fs::write(&stranger, other.cert.pem()).unwrap();
    let login = async |ca: &Path| {
        let mut section = section(&double.endpoint());
        section["endpoint_ca"] = json!(ca);
        let clock = ManualClock::at(NOW);
        let okta = Okta::new(
            settings(&section).unwrap(),
            clock,
            Meter::new("test".into()),
        );
        let attempt = Attempt {
            username: BOB,
            password: &Secret::new(PASSWORD.to_owned()),
            context: &Context::new("1", Front::Rest),
        };
        okta.authenticate(&attempt).await
    };
    assert!(matches!(login(&ca).await, Ok(Verdict::Known(_))));
    let error = login(&stranger).await.err().unwrap();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("certificate"), "{source}");
    assert_eq!(double.calls().len(), 3);
}

#[tokio::test]
async fn logins_share_a_connection_where_the_tenant_speaks_http2() {
    // The last are so many that one connection does not take them all. The first one only asks what the tenant speaks.
    for (protocol, logins, connections) in [
        (Protocol::Http1, 8, 1 + 8),
        (Protocol::Http2, 8, 1 + 1),
        (Protocol::Http2, 150, 1 + 2),
    ] {
        let site = Site::over_tls(protocol).await;
        site.double.fail(Call::Token, Wrong::Hang);
        let waiting = join_all((0..logins).map(|_| site.login(BOB, PASSWORD)));
        let all_asked = async {
            while site.double.calls().len() < logins {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answers = waiting => panic!("{} were answered", answers.len()),
            () = all_asked => {}
        }
        assert_eq!(site.double.connections(), connections, "{protocol:?}");
        assert_eq!(site.double.complaints(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn pretending_takes_as_long_as_the_last_refusals() {
    let settings = settings(&section("https://tenant.example.net")).unwrap();
    let okta = Okta::new(settings, ManualClock::at(NOW), Meter::new("test".into()));
    let attempt = |username| Attempt {
        username,
        password: Box::leak(Box::new(Secret::new(String::new()))),
        context: Box::leak(Box::new(Context::new("1", Front::Rest))),
    };
    let measure = async |username| {
        let started = tokio::time::Instant::now();
        okta.pretend(&attempt(username)).await;
        started.elapsed()
    };
    assert_eq!(measure(BOB).await, Duration::ZERO);
    for millis in 0..40 {
        okta.took(Duration::from_millis(100 + millis));
    }
    for _ in 0..50 {
        let took = measure(BOB).await.as_millis();
        // The last sixteen; timers are as exact as a millisecond.
        assert!((124..=140).contains(&took), "{took}");
    }
    // What would not be asked about takes no time.
    assert_eq!(measure("a/b").await, Duration::ZERO);
}

mod faults;
mod settings;
