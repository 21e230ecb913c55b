use aaa_core::claims::ClientClaims;
use aaa_core::request::Request;
use serde_json::{Value, json};

use super::*;

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .map(|text| Pattern::new(text).unwrap())
        .collect()
}

fn request(agent: &str, change: impl FnOnce(&mut Value)) -> Request {
    let message = json!({"agent": agent, "action": "disable", "data": {}}).to_string();
    let mut envelope = json!({
        "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1", "callerid": "up=root",
        "collective": "mcollective", "agent": agent, "ttl": 60, "time": 1_795_346_555, "filter": {}});
    change(&mut envelope);
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": envelope});
    Request::parse(request.to_string().as_bytes()).unwrap()
}

/// What the caller `up=bob` is told at a time, or `None` when the guards hold.
fn told_at(guards: &Guards, request: &Request, now: &str) -> Option<String> {
    let claims = ClientClaims {
        callerid: "up=bob".to_owned(),
        ..ClientClaims::default()
    };
    let decision = guards.decide(&Question {
        request,
        action: request.action(),
        claims: &claims,
        site: "london",
        now: now.parse().unwrap(),
    });
    decision.explanation().map(str::to_owned)
}

fn told(guards: &Guards, request: &Request) -> Option<String> {
    told_at(guards, request, "2026-11-25T12:00:00Z")
}

#[test]
fn no_guards_hold_for_everything() {
    assert!(Guards::default().is_empty());
    assert_eq!(told(&Guards::default(), &request("puppet", |_| ())), None);
}

#[test]
fn a_filter_must_narrow() {
    let guards = Guards {
        require_filter: patterns(&["puppet.dis*"]),
        ..Guards::default()
    };
    let with = |filter: Value| {
        let request = request("puppet", |envelope| envelope["filter"] = filter);
        told(&guards, &request).is_none()
    };
    for narrow in [
        json!({"fact": [{"fact": "country", "operator": "==", "value": "mt"}]}),
        json!({"cf_class": ["apache"]}),
        json!({"identity": ["web1"]}),
        json!({"compound": [[{"expr": "country=mt"}]]}),
    ] {
        assert!(with(narrow.clone()), "{narrow}");
    }
    for wide in [
        json!({}),
        json!({"agent": ["puppet"]}),
        json!({"compound": [[]]}),
        json!({"compound": [[{}], [{"expr": " "}]]}),
        json!({"cf_class": [""], "identity": [" "]}),
    ] {
        assert!(!with(wide.clone()), "{wide}");
    }
    assert_eq!(told(&guards, &request("other", |_| ())), None);
    assert_eq!(
        told(&guards, &request("puppet", |_| ())).unwrap(),
        "require_filter: needs a filter: a fact, a class, an identity or a compound one"
    );
}

#[test]
fn a_name_in_other_letters_is_no_way_round() {
    let guards = Guards {
        require_filter: patterns(&["puppet.*"]),
        deny_agents: patterns(&["shell"]),
        ..Guards::default()
    };
    assert!(told(&guards, &request("PUPPET", |_| ())).is_some());
    assert!(told(&guards, &request("Shell", |_| ())).is_some());
}

#[test]
fn a_ttl_has_a_limit() {
    let guards = Guards {
        max_ttl: Some(Duration::from_mins(1)),
        ..Guards::default()
    };
    let with = |ttl: i64| {
        told(
            &guards,
            &request("puppet", |envelope| envelope["ttl"] = ttl.into()),
        )
    };
    assert_eq!(with(60), None);
    let error = with(61).unwrap();
    assert!(error.starts_with("max_ttl: needs a ttl of "), "{error}");
    assert!(with(i64::MAX).is_some());
}

#[test]
fn callers_are_held_to_every_pattern_that_means_them() {
    let confine = |callers: &str, collectives: &[&str]| Confinement {
        callers: Pattern::new(callers).unwrap(),
        collectives: collectives.iter().map(|&name| name.to_owned()).collect(),
    };
    let at = |collectives: Vec<Confinement>, name: &str| {
        let guards = Guards {
            collectives,
            ..Guards::default()
        };
        told(
            &guards,
            &request("puppet", |envelope| envelope["collective"] = name.into()),
        )
    };
    let wide = || confine("up=*", &["mcollective", "dev"]);
    let narrow = || confine("up=b*", &["dev"]);
    assert_eq!(at(vec![wide()], "mcollective"), None);
    assert_eq!(at(vec![wide(), narrow()], "dev"), None);
    assert_eq!(
        at(vec![wide(), narrow()], "mcollective").unwrap(),
        "collectives: needs one of the collectives dev"
    );
    // Names of collectives are compared as they stand: this list gives leave.
    assert!(at(vec![wide()], "DEV").is_some());
    // Whom nothing means is free.
    assert_eq!(at(vec![confine("okta=*", &["dev"])], "prod"), None);
}

#[test]
fn hours_are_those_of_the_place() {
    let guards = Guards {
        business_hours: Some(BusinessHours {
            zone: TimeZone::get("Europe/Malta").unwrap(),
            days: vec![Weekday::Monday, Weekday::Friday],
            hours: Hours::read("08:00", "18:00").unwrap(),
            actions: patterns(&["puppet.*"]),
        }),
        ..Guards::default()
    };
    let open = |now| told_at(&guards, &request("puppet", |_| ()), now).is_none();
    // In winter Malta is an hour ahead, in summer two.
    for (now, is_open) in [
        ("2026-11-27T07:00:00Z", true),
        ("2026-11-27T06:59:59Z", false),
        ("2026-11-27T16:59:59Z", true),
        ("2026-11-27T17:00:00Z", false),
        ("2026-07-03T06:00:00Z", true),
        ("2026-07-03T05:59:59Z", false),
        ("2026-11-28T12:00:00Z", false),
        ("2026-11-30T12:00:00Z", true),
    ] {
        assert_eq!(open(now), is_open, "{now}");
    }
    assert_eq!(
        told(&guards, &request("puppet", |_| ())).unwrap(),
        "business_hours: only mon fri, 08:00 to 18:00 Europe/Malta"
    );
    assert_eq!(told(&guards, &request("other", |_| ())), None);
}

#[test]
fn the_day_is_that_of_the_place_too() {
    let guards = Guards {
        business_hours: Some(BusinessHours {
            zone: TimeZone::get("Pacific/Auckland").unwrap(),
            days: vec![Weekday::Monday],
            hours: Hours::read("00:00", "24:00").unwrap(),
            actions: patterns(&["*"]),
        }),
        ..Guards::default()
    };
    let request = request("puppet", |_| ());
    // Sunday noon in Greenwich is Monday there.
    assert_eq!(told_at(&guards, &request, "2026-11-29T12:00:00Z"), None);
    assert!(told_at(&guards, &request, "2026-11-30T12:00:00Z").is_some());
}

#[test]
fn times_of_the_day_are_read_strictly() {
    for (from, to) in [
        ("8:00", "18:00"),
        ("08:00", "24:01"),
        ("08:60", "18:00"),
        ("18:00", "08:00"),
        ("08:00", "08:00"),
        ("+8:00", "18:00"),
        ("08.00", "18:00"),
        ("", ""),
    ] {
        assert_eq!(Hours::read(from, to), None, "{from} {to}");
    }
}

#[test]
fn all_that_does_not_hold_is_said_at_once() {
    let guards = Guards {
        require_filter: patterns(&["*"]),
        max_ttl: Some(Duration::from_secs(1)),
        deny_agents: patterns(&["puppet"]),
        ..Guards::default()
    };
    let error = told(&guards, &request("puppet", |_| ())).unwrap();
    for guard in ["deny_agents: ", "; max_ttl: ", "; require_filter: "] {
        assert!(error.contains(guard), "{error}");
    }
    // Everybody may discover nodes.
    assert_eq!(told(&guards, &request("discovery", |_| ())), None);
}

#[test]
fn each_guard_of_the_site_is_shown_with_what_it_found() {
    let guards = Guards {
        max_ttl: Some(Duration::from_secs(30)),
        deny_agents: patterns(&["shell"]),
        ..Guards::default()
    };
    let (request, claims) = (request("puppet", |_| ()), ClientClaims::default());
    let question = Question {
        request: &request,
        action: request.action(),
        claims: &claims,
        site: "london",
        now: Timestamp::UNIX_EPOCH,
    };
    let mut seen = Vec::new();
    let decision = guards.explain(&question, &mut |look| {
        seen.push((look.rule.to_owned(), look.decided, look.found.to_string()));
    });
    assert!(!decision.is_allowed());
    assert_eq!(
        seen,
        [
            ("deny_agents".to_owned(), false, "holds".to_owned()),
            (
                "max_ttl".to_owned(),
                true,
                "needs a ttl of 30 s at most".to_owned()
            ),
        ]
    );
}
