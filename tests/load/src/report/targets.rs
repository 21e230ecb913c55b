//! What the services are to reach, and whether they do.

use std::fmt::Write as _;

use super::{Results, mib};
use crate::bare::{BCRYPT, ED25519_VERIFY, RSA_SIGN};
use crate::outcome::{Bare, Memory};
use crate::site::MANY_USERS;
use crate::stats::float;

/// Signatures after which memory is judged.
const SIGNATURES: u64 = 1_000_000;

/// Milliseconds of an RSA-2048 signature and of an Ed25519 verification where the targets were set.
const SET_WITH: (f64, f64) = (0.283, 0.033);

/// One target.
struct Row {
    what: String,
    target: Target,
    measured: Option<f64>,
    unit: &'static str,
}

/// What is good.
#[derive(Clone, Copy)]
enum Target {
    AtLeast(f64),
    /// More than what is measured elsewhere, if it was.
    MoreThan(Option<f64>),
    Under(f64),
    AtMost(f64),
}

impl Row {
    fn new(
        what: impl Into<String>,
        target: Target,
        measured: Option<f64>,
        unit: &'static str,
    ) -> Self {
        Self {
            what: what.into(),
            target,
            measured,
            unit,
        }
    }

    /// Whether the target is met, and what is measured as a part of it; `None` when it cannot be told.
    fn verdict(&self) -> Option<(bool, f64)> {
        let measured = self.measured?;
        let (met, bound) = match self.target {
            Target::AtLeast(bound) => (measured >= bound, bound),
            Target::MoreThan(bound) => (measured > bound?, bound?),
            Target::Under(bound) => (measured < bound, bound),
            Target::AtMost(bound) => (measured <= bound, bound),
        };
        Some((met, measured / bound))
    }

    fn line(&self) -> String {
        let unit = self.unit;
        let target = match self.target {
            Target::AtLeast(bound) => format!("≥ {}{unit}", number(bound)),
            Target::MoreThan(Some(bound)) => format!("> {}{unit}", number(bound)),
            Target::MoreThan(None) => "–".to_owned(),
            Target::Under(bound) => format!("< {}{unit}", number(bound)),
            Target::AtMost(bound) => format!("≤ {}{unit}", number(bound)),
        };
        let measured = self
            .measured
            .map(|measured| format!("{}{unit}", number(measured)));
        let verdict = match self.verdict() {
            Some((true, part)) => format!("{:.0} % | met", part * 100.0),
            Some((false, part)) => format!("{:.0} % | **missed**", part * 100.0),
            None => "– | not measured".to_owned(),
        };
        format!(
            "| {} | {target} | {} | {verdict} |\n",
            self.what,
            measured.unwrap_or("–".to_owned())
        )
    }
}

/// Digits that say something.
fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// All targets.
pub(super) fn table(results: &Results, users: u64) -> String {
    let mut text =
        "| | target | measured | of the target | |\n|---|---:|---:|---:|---|\n".to_owned();
    for row in rows(results, users) {
        let _ = write!(text, "{}", row.line());
    }
    text.push_str(&machine(results));
    text
}

/// How fast this machine is, beside the one for which the rates above were set.
fn machine(results: &Results) -> String {
    let one = |name| results.bare()?.operation(name).map(|found| found.one_ms);
    let Some((rsa, ed25519)) = one(RSA_SIGN).zip(one(ED25519_VERIFY)) else {
        return String::new();
    };
    let (set_rsa, set_ed25519) = SET_WITH;
    format!(
        "\nThe rates were set on a machine where an RSA-2048 signature takes {set_rsa:.3} ms and an Ed25519 verification \
         {set_ed25519:.3} ms; here they take {rsa:.3} ms ({:.1} times as long) and {ed25519:.3} ms ({:.1} times).\n",
        rsa / set_rsa,
        ed25519 / set_ed25519
    )
}

fn rows(results: &Results, users: u64) -> Vec<Row> {
    let rest = results.rate("v2-rest");
    let starts = results.start("start");
    let with_users = results.start("start-users");
    vec![
        Row::new(
            "v2 signing, Rego policy, file audit",
            Target::AtLeast(13_000.0),
            rest,
            "/s",
        ),
        Row::new(
            "its p99 at 16 connections",
            Target::Under(5.0),
            results.p99("v2-rest"),
            " ms",
        ),
        Row::new(
            "`SignStream`, above REST",
            Target::MoreThan(rest),
            results.rate("v2-stream"),
            "/s",
        ),
        Row::new(
            "v1 signing (RSA-2048)",
            Target::AtLeast(4_500.0),
            results.rate("v1-rest"),
            "/s",
        ),
        Row::new(
            "v1 signing, of what RSA alone allows",
            Target::AtLeast(80.0),
            rsa_share(results),
            " %",
        ),
        Row::new(
            "signing over the Choria network, of the HTTP rate",
            Target::AtLeast(40.0),
            part(results, "network", "network-rest").map(|part| part * 100.0),
            " %",
        ),
        Row::new(
            "the same, times the reference",
            Target::AtLeast(10.0),
            part(results, "network", "network-reference"),
            " ×",
        ),
        Row::new(
            "logins, of cores ÷ time of a hash",
            Target::AtLeast(95.0),
            login_share(results),
            " %",
        ),
        Row::new(
            "p99 of signing while logins saturate",
            Target::Under(50.0),
            results.p99("mixed-sign"),
            " ms",
        ),
        resident(results),
        growth(results),
        Row::new(
            "100,000 users load",
            Target::Under(1000.0),
            with_users
                .zip(starts)
                .filter(|_| users >= MANY_USERS)
                .map(|(with, without)| with - without),
            " ms",
        ),
        Row::new("start to ready", Target::Under(150.0), starts, " ms"),
    ]
}

/// One rate as a part of another.
fn part(results: &Results, one: &str, other: &str) -> Option<f64> {
    Some(results.rate(one)? / results.rate(other)?)
}

fn rsa_share(results: &Results) -> Option<f64> {
    let alone = results.bare()?.operation(RSA_SIGN)?.all_per_second;
    Some(results.rate("v1-rest")? / alone * 100.0)
}

fn login_share(results: &Results) -> Option<f64> {
    Some(results.rate("login")? / hashes_per_second(&results.bare()?)? * 100.0)
}

/// Cores ÷ time of one hash.
fn hashes_per_second(bare: &Bare) -> Option<f64> {
    let cores = u32::try_from(bare.cores).ok()?;
    Some(f64::from(cores) / bare.operation(BCRYPT)?.one_ms * 1000.0)
}

/// The memory of the process that signs.
fn signing(results: &Results) -> impl Iterator<Item = &Memory> {
    results.memory().filter(|sample| sample.label == "v2")
}

fn resident(results: &Results) -> Row {
    let last = signing(results).last();
    let last = last.filter(|last| last.signatures >= SIGNATURES);
    let measured = last.map(|last| mib(last.resident_kib));
    Row::new(
        "resident memory after a million signatures",
        Target::Under(25.0),
        measured,
        " MiB",
    )
}

/// Memory at the end, of what it was after half of the signatures.
fn growth(results: &Results) -> Row {
    let share = signing(results).last().and_then(|last| {
        let half = signing(results).find(|sample| sample.signatures * 2 >= last.signatures)?;
        (half.signatures < last.signatures)
            .then(|| float(last.resident_kib) / float(half.resident_kib) * 100.0)
    });
    Row::new(
        "flat: memory at the end, of that after half",
        Target::AtMost(105.0),
        share,
        " %",
    )
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;
    use crate::outcome::{Operation, Outcome, Start};

    fn line(results: Vec<Outcome>, what: &str) -> String {
        let rows = rows(&Results(results), MANY_USERS);
        let row = rows.iter().find(|row| row.what.contains(what));
        row.unwrap().line()
    }

    fn memory(signatures: u64, mib: u64) -> Outcome {
        Outcome::Memory(Memory {
            label: "v2".to_owned(),
            signatures,
            resident_kib: mib * 1024,
            peak_kib: mib * 1024,
        })
    }

    fn bare() -> Outcome {
        let operation = |name: &str, one_ms, all_per_second| Operation {
            name: name.to_owned(),
            one_ms,
            all_per_second,
        };
        Outcome::Bare(Bare {
            label: String::new(),
            cores: 2,
            operations: vec![
                operation(RSA_SIGN, 0.5, 4000.0),
                operation(BCRYPT, 50.0, 39.0),
            ],
        })
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let text = table(&Results::default(), MANY_USERS);
        assert_eq!(text.matches("not measured").count(), 13, "{text}");
        assert!(!text.contains("| met |"));
    }

    #[test]
    fn rates_are_met_at_their_bound_and_times_below_it() {
        let rate = |rate| line(vec![load("v2-rest", rate, 1.0)], "v2 signing");
        assert!(rate(13_000.0).ends_with("| ≥ 13000/s | 13000/s | 100 % | met |\n"));
        assert!(rate(6_500.0).ends_with("| 6500/s | 50 % | **missed** |\n"));
        let p99 = |p99| line(vec![load("v2-rest", 1.0, p99)], "its p99");
        assert!(p99(4.99).contains("| met |"));
        assert!(p99(5.0).contains("| **missed** |"));
    }

    #[test]
    fn the_stream_is_held_against_rest() {
        let stream = |rate| {
            line(
                vec![load("v2-rest", 100.0, 1.0), load("v2-stream", rate, 1.0)],
                "SignStream",
            )
        };
        assert!(stream(101.0).contains("| met |"));
        assert!(stream(100.0).contains("| **missed** |"));
        assert!(line(vec![load("v2-stream", 1.0, 1.0)], "SignStream").contains("not measured"));
    }

    #[test]
    fn shares_are_of_what_the_cryptography_alone_allows() {
        let rsa = |rate| line(vec![bare(), load("v1-rest", rate, 1.0)], "RSA alone");
        assert!(rsa(3200.0).contains("| 80.0 % | 100 % | met |"));
        assert!(rsa(3199.0).contains("| **missed** |"));
        // Two cores, 50 ms a hash: 40 a second.
        let login = |rate| line(vec![bare(), load("login", rate, 1.0)], "logins");
        assert!(login(38.0).contains("| 95.0 % | 100 % | met |"));
        assert!(login(37.9).contains("| **missed** |"));
    }

    #[test]
    fn the_machine_is_told_beside_the_one_of_the_targets() {
        let operation = |name: &str, one_ms| Operation {
            name: name.to_owned(),
            one_ms,
            all_per_second: 1.0,
        };
        let bare = Outcome::Bare(Bare {
            label: String::new(),
            cores: 2,
            operations: vec![operation(RSA_SIGN, 0.566), operation(ED25519_VERIFY, 0.033)],
        });
        let text = table(&Results(vec![bare]), MANY_USERS);
        assert!(
            text.contains("0.566 ms (2.0 times as long) and 0.033 ms (1.0 times)"),
            "{text}"
        );
    }

    #[test]
    fn memory_is_judged_after_a_million() {
        let early = vec![memory(10, 20), memory(999_999, 20)];
        assert!(line(early, "resident").contains("not measured"));
        let late = vec![memory(10, 20), memory(1_000_000, 26)];
        assert!(line(late, "resident").contains("| 26.0 MiB | 104 % | **missed** |"));
    }

    #[test]
    fn flat_is_what_grows_no_more() {
        let flat = |half, end| {
            line(
                vec![memory(10, 5), memory(500, half), memory(1000, end)],
                "flat",
            )
        };
        assert!(flat(20, 21).contains("| met |"));
        assert!(flat(20, 22).contains("| **missed** |"));
        assert!(line(vec![memory(1000, 20)], "flat").contains("not measured"));
        // Another process is not looked at.
        let other = Outcome::Memory(Memory {
            label: "users".to_owned(),
            signatures: 2000,
            resident_kib: 1,
            peak_kib: 1,
        });
        assert!(line(vec![memory(500, 20), memory(1000, 20), other], "flat").contains("100 %"));
    }

    #[test]
    fn the_time_of_users_is_what_they_add() {
        let start = |label: &str, ready_ms: &[f64]| {
            Outcome::Start(Start {
                label: label.to_owned(),
                ready_ms: ready_ms.to_vec(),
                pid: None,
            })
        };
        let results = vec![
            start("start", &[100.0, 140.0, 120.0]),
            start("start-users", &[1119.0]),
        ];
        assert!(line(results, "100,000").contains("| 999 ms | 100 % | met |"));
        assert!(line(vec![start("start", &[150.0])], "start to ready").contains("**missed**"));
        // Fewer users say nothing about so many.
        let few = Results(vec![start("start", &[1.0]), start("start-users", &[2.0])]);
        assert!(
            table(&few, 10).contains("| 100,000 users load | < 1000 ms | – | – | not measured |")
        );
    }
}
