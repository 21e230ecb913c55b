use std::sync::Mutex;

use aaa_core::clock::ManualClock;
use aaa_service::config::Document;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::*;

const HOME: &str = "192.0.2.7";
const AWAY: &str = "198.51.100.9";

struct Site {
    throttle: Throttle,
    clock: Arc<ManualClock>,
}

fn site(rules: Rules) -> Site {
    let clock = ManualClock::at(1_000_000);
    let throttle = Throttle::new(rules, clock.clone(), Meter::new("test".into()));
    Site { throttle, clock }
}

fn rules(text: &str) -> Result<Rules, String> {
    let document = Document::parse("login.json", text.as_bytes()).unwrap();
    let rules = Rules::read(&document);
    document.finish().map_err(|problems| problems.to_string())?;
    Ok(rules)
}

impl Site {
    /// One attempt: `Err` with the seconds to wait.
    fn attempt(&self, name: &str, from: &str, what: Attempted) -> Result<(), u32> {
        let permit = self.begin(name, from)?;
        permit.settle(what);
        Ok(())
    }

    fn begin(&self, name: &str, from: &str) -> Result<Permit<'_>, u32> {
        self.throttle
            .admit(name, Some(from.parse().unwrap()))
            .map_err(|error| {
                assert_eq!(error.cause(), aaa_api::error::Cause::TooManyRequests);
                error.retry_after_seconds().unwrap()
            })
    }

    fn wrong(&self, name: &str, from: &str) -> Result<(), u32> {
        self.attempt(name, from, Attempted::Wrong)
    }

    fn pass(&self, seconds: u32) {
        self.clock
            .advance(SignedDuration::from_secs(seconds.into()));
    }
}

#[test]
fn each_failure_beyond_the_free_ones_doubles_the_wait_up_to_the_longest() {
    let site = site(Rules::default());
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
        assert_eq!(site.wrong("bob", HOME), Err(expected));
        site.pass(expected - 1);
        assert_eq!(site.wrong("bob", HOME), Err(1));
        site.pass(1);
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    // Others go on.
    assert_eq!(site.wrong("eve", HOME), Ok(()));
    site.pass(3_600);
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    assert_eq!(site.wrong("bob", HOME), Err(1));
}

#[test]
fn guesses_that_come_together_are_counted_together() {
    let site = site(Rules::default());
    let trying: Vec<_> = (0..5).map(|_| site.begin("bob", HOME).unwrap()).collect();
    assert!(matches!(site.begin("bob", AWAY), Err(1)));
    drop(trying);
    // Whoever hangs up before the answer has guessed too.
    assert_eq!(site.wrong("bob", AWAY), Err(1));
    site.pass(1);
    let trying = site.begin("bob", HOME).unwrap();
    assert!(matches!(site.begin("bob", HOME), Err(1)));
    trying.settle(Attempted::Wrong);
    assert_eq!(site.wrong("bob", HOME), Err(2));
}

#[test]
fn a_name_is_one_in_any_case() {
    let site = site(Rules::default());
    for name in ["bob", "Bob", "BOB", "b\u{d6}b", "b\u{f6}b"] {
        assert_eq!(site.wrong(name, HOME), Ok(()));
    }
    for name in ["bOb", "boB", "bob"] {
        assert_eq!(site.wrong(name, AWAY), Ok(()));
        site.pass(1);
    }
    assert_eq!(site.wrong("BoB", AWAY), Err(1));
}

#[test]
fn a_flood_that_is_forgotten_leaves_room_for_what_comes_after() {
    let site = site(Rules {
        address_attempts: 1_000_000,
        ..Rules::default()
    });
    // Two failures each, under more names than there is room for.
    for number in 0..120_000 {
        for _ in 0..2 {
            assert_eq!(site.wrong(&format!("flood{number}"), HOME), Ok(()));
        }
    }
    site.pass(3_600);
    for round in 0..5 {
        assert_eq!(site.wrong("bob", AWAY), Ok(()));
        // Others come and go meanwhile.
        for number in 0..5_000 {
            let name = format!("user{round}-{number}");
            assert_eq!(site.wrong(&name, HOME), Ok(()));
        }
    }
    assert_eq!(site.wrong("bob", AWAY), Err(1));
}

#[test]
fn one_address_under_many_names_waits_too() {
    let site = site(Rules::default());
    for number in 0..50 {
        assert_eq!(site.wrong(&format!("user{number}"), HOME), Ok(()));
    }
    assert_eq!(site.wrong("another", HOME), Err(1));
    assert_eq!(site.wrong("another", AWAY), Ok(()));
    // What was turned away at the address was not held against the name.
    for _ in 0..4 {
        assert_eq!(site.wrong("another", AWAY), Ok(()));
    }
    assert_eq!(site.wrong("another", AWAY), Err(1));
}

#[test]
fn a_known_address_is_open_whatever_others_do() {
    let site = site(Rules::default());
    assert_eq!(site.attempt("bob", HOME, Attempted::Right), Ok(()));
    for number in 0..50 {
        let _ = site.wrong("bob", AWAY);
        assert_eq!(site.wrong(&format!("user{number}"), HOME), Ok(()));
    }
    assert_eq!(site.wrong("bob", AWAY), Err(1));
    assert_eq!(site.wrong("eve", HOME), Err(1));
    assert_eq!(site.attempt("bob", HOME, Attempted::Right), Ok(()));
    // From there, too, it is not guessed for long.
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    assert_eq!(site.wrong("bob", HOME), Err(1));
    site.pass(1);
    assert_eq!(site.attempt("bob", HOME, Attempted::Right), Ok(()));
    assert_eq!(site.wrong("bob", HOME), Ok(()));
}

#[test]
fn an_address_is_not_known_for_ever() {
    let site = site(Rules::default());
    assert_eq!(site.attempt("bob", HOME, Attempted::Right), Ok(()));
    site.pass(720 * 3_600 + 1);
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", AWAY), Ok(()));
    }
    assert_eq!(site.wrong("bob", HOME), Err(1));
}

#[test]
fn what_says_nothing_about_the_password_is_not_counted() {
    let site = site(Rules::default());
    for _ in 0..100 {
        assert_eq!(site.attempt("bob", HOME, Attempted::Neither), Ok(()));
        assert_eq!(site.attempt("eve", HOME, Attempted::Right), Ok(()));
    }
    assert_eq!(site.throttle.kept(), (0, 0, 1));
    // A good login does not wipe out what was guessed under other names at its address.
    for number in 0..50 {
        assert_eq!(site.wrong(&format!("user{number}"), HOME), Ok(()));
        assert_eq!(site.attempt("eve", HOME, Attempted::Right), Ok(()));
    }
    assert_eq!(site.wrong("bob", HOME), Err(1));
}

#[test]
fn a_network_of_ipv6_is_one_address_and_ipv4_in_ipv6_is_ipv4() {
    let site = site(rules(r#"{"login_throttle": {"address_attempts": 1}}"#).unwrap());
    assert_eq!(site.wrong("a", "2001:db8:0:1::1"), Ok(()));
    assert_eq!(site.wrong("b", "2001:db8:0:1:ffff::2"), Err(1));
    assert_eq!(site.wrong("b", "2001:db8:0:2::1"), Ok(()));
    assert_eq!(site.wrong("c", "::ffff:192.0.2.7"), Ok(()));
    assert_eq!(site.wrong("d", HOME), Err(1));
}

#[test]
fn shared_networks_have_limits_of_their_own_and_exempt_ones_none() {
    let rules = rules(
        r#"{"login_throttle": {"address_attempts": 1, "exempt_networks": "10.0.0.0/8",
            "shared_networks": [{"network": "192.0.2.0/24", "attempts": 3}, {"network": "192.0.2.7", "attempts": 2}]}}"#,
    )
    .unwrap();
    let site = site(rules);
    for (from, free) in [(AWAY, 1), (HOME, 2), ("192.0.2.8", 3), ("10.1.2.3", 500)] {
        for number in 0..free {
            assert_eq!(site.wrong(&format!("{from}-{number}"), from), Ok(()));
        }
        let next = site.wrong(&format!("{from}-next"), from);
        assert_eq!(next, if free == 500 { Ok(()) } else { Err(1) }, "{from}");
    }
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", "10.1.2.3"), Ok(()));
    }
    assert_eq!(site.wrong("bob", "10.1.2.3"), Err(1));
}

#[test]
fn a_clock_that_is_set_back_keeps_nobody_out_for_long() {
    let site = site(Rules::default());
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    site.clock.advance(SignedDuration::from_hours(-24));
    assert_eq!(site.wrong("bob", HOME), Err(900));
    site.pass(900);
    assert_eq!(site.wrong("bob", HOME), Ok(()));
}

#[test]
fn the_tables_have_an_end_and_keep_what_failed_most() {
    let site = site(Rules::default());
    for _ in 0..6 {
        let _ = site.wrong("bob", HOME);
    }
    for number in 0_u32..200_000 {
        let address = std::net::Ipv4Addr::from(0x0a00_0000 + number).to_string();
        assert_eq!(site.wrong(&format!("flood{number}"), &address), Ok(()));
    }
    let (accounts, addresses, _) = site.throttle.kept();
    assert!((100_000..=102_400).contains(&accounts), "{accounts}");
    assert!((100_000..=102_400).contains(&addresses), "{addresses}");
    assert_eq!(site.wrong("bob", HOME), Err(1));
}

#[test]
fn switched_off_it_counts_nothing_and_rules_change_while_it_runs() {
    let site = site(rules(r#"{"login_throttle": {"enabled": false}}"#).unwrap());
    for _ in 0..100 {
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    assert_eq!(site.throttle.kept(), (0, 0, 0));
    site.throttle.replace(Rules::default());
    for _ in 0..5 {
        assert_eq!(site.wrong("bob", HOME), Ok(()));
    }
    assert_eq!(site.wrong("bob", HOME), Err(1));
    site.throttle
        .replace(rules(r#"{"login_throttle": {"account_attempts": 50}}"#).unwrap());
    site.pass(1);
    assert_eq!(site.wrong("bob", HOME), Ok(()));
    assert_eq!(site.wrong("bob", HOME), Ok(()));
}

#[test]
fn without_an_address_the_name_counts_and_without_a_name_the_address() {
    let site = site(rules(r#"{"login_throttle": {"address_attempts": 2}}"#).unwrap());
    for _ in 0..5 {
        site.throttle
            .admit("bob", None)
            .unwrap_or_else(|error| panic!("{error}"))
            .settle(Attempted::Wrong);
    }
    assert!(site.throttle.admit("bob", None).is_err());
    assert_eq!(site.wrong("", HOME), Ok(()));
    assert_eq!(site.wrong("", HOME), Ok(()));
    assert_eq!(site.wrong("", HOME), Err(1));
}

#[test]
fn what_is_held_back_is_counted_by_what_for() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let site = site(rules(r#"{"login_throttle": {"address_attempts": 6}}"#).unwrap());
        for name in ["bob", "bob", "bob", "bob", "bob", "bob", "eve", "eve"] {
            let _ = site.wrong(name, HOME);
        }
    });
    let counted = Mutex::new(Vec::new());
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        if key.key().name() == crate::meter::LOGIN_THROTTLED {
            let labels: Vec<_> = key
                .key()
                .labels()
                .map(|label| label.value().to_owned())
                .collect();
            counted.lock().unwrap().push((labels, value));
        }
    }
    let counted = counted.into_inner().unwrap();
    for by in ["account", "address"] {
        let expected = vec!["test".to_owned(), by.to_owned()];
        assert!(
            counted.contains(&(expected, DebugValue::Counter(1))),
            "{by}: {counted:?}"
        );
    }
}

#[test]
fn the_section_reads_and_is_the_default_when_empty() {
    assert_eq!(rules("{}").unwrap(), Rules::default());
    assert_eq!(
        rules(r#"{"login_throttle": {}}"#).unwrap(),
        Rules::default()
    );
}

#[test]
fn what_is_wrong_with_the_section_is_told_at_once() {
    let told = rules(
        r#"{"login_throttle": {"enabeld": false, "account_attempts": 0, "first_delay": "0s", "max_delay": "2h", "exempt_networks": ["10.0.0.1/8", "x"],
            "shared_networks": [{"network": "2001:db8::/96", "attempts": 1}, {"network": "192.0.2.0/24"}, {"attempts": 5}]}}"#,
    )
    .unwrap_err();
    for expected in [
        "login_throttle.enabeld                       unknown; did you mean enabled?",
        "account_attempts             0: wants a whole number from 1 to 1000000",
        "first_delay                  wants more than nothing",
        "forget_after                 is shorter than max_delay; then a wait would end with everything forgotten",
        "exempt_networks[0]           names an address within a network; the network is 10.0.0.0/8",
        "exempt_networks[1]           wants a network such as 192.0.2.0/28 or 2001:db8::/48, or one address",
        "shared_networks[0].network   is smaller than /64, which counts as one address; wants its /64",
        "shared_networks[1].attempts  required, for example 1000",
        "shared_networks[2].network   required, for example \"192.0.2.0/28\"",
    ] {
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            squeezed(&told).contains(&squeezed(expected)),
            "{expected}\n{told}"
        );
    }
    assert_eq!(told.lines().next(), Some("login.json: 9 problems"));
}

#[test]
fn every_example_is_json() {
    for setting in THROTTLE.iter().chain(SHARED_NETWORK) {
        serde_json::from_str::<serde_json::Value>(setting.example)
            .unwrap_or_else(|error| panic!("{}: {error}", setting.key));
    }
}
