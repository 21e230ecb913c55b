//! What policies that come to no end cost their bearers, and everybody else.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "measurements"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aaa_core::claims::ClientClaims;
use aaa_core::decision::Decision;
use aaa_core::request::Request;
use aaa_policy::rego::Opa;
use aaa_policy::{Authorizer, Question};
use common::{LOOPS, POLICY, claims, deep, memory, request, resident};
use jiff::Timestamp;

#[allow(dead_code, reason = "not every benchmark uses all of it")]
mod common;

/// How long each part is measured.
const PART: Duration = Duration::from_secs(10);

/// How long each waits for its next question, as over a network.
const PAUSE: Duration = Duration::from_millis(1);

/// Policies that nobody should have: without end, and with more and more memory.
const HOSTILE: [(&str, &str); 6] = [
    (
        "a loop in a loop",
        "allow if { some i in numbers.range(1, 60000); some j in numbers.range(1, 60000); i + j < 0 }",
    ),
    (
        "lists of lists",
        "allow if { count([x | some i in numbers.range(1, 60000); x := numbers.range(1, i)]) < 0 }",
    ),
    (
        "sets of lists",
        "allow if { count({x | some i in numbers.range(1, 60000); some j in numbers.range(1, 60000); x := [i, j]}) < 0 }",
    ),
    (
        "texts that grow",
        "allow if { count([s | some i in numbers.range(1, 60000); s := concat(\",\", [t | some j in numbers.range(1, 1000); t := \"aaaaaaaa\"])]) < 0 }",
    ),
    ("values that double", "DOUBLED"),
    ("numbers that square", "SQUARED"),
];

fn chain(first: &str, next: impl Fn(usize) -> String) -> String {
    let rules = (1..=60).map(next).collect::<Vec<_>>().join("\n");
    format!("{first}\n{rules}\n")
}

fn hostile(body: &str, bearer: usize) -> String {
    let body = match body {
        "DOUBLED" => {
            let doubled = |name: &str| {
                chain(&format!("{name}0 := [1, input.agent]"), |i| {
                    format!("{name}{i} := [{name}{0}, {name}{0}]", i - 1)
                })
            };
            format!("{}{}allow if a60 == b60", doubled("a"), doubled("b"))
        }
        "SQUARED" => {
            let squared = chain("a0 := 123456789123456789 * input.ttl", |i| {
                format!("a{i} := a{0} * a{0}", i - 1)
            });
            format!("{squared}allow if a60 > 0")
        }
        plain => plain.to_owned(),
    };
    format!(
        "package io.choria.aaasvc\nimport rego.v1\ndefault allow := false\n# of bearer {bearer}\n{body}\n"
    )
}

/// Times in order, as people read them.
struct Times(Vec<Duration>);

impl Times {
    fn of(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    fn at(&self, part: f64) -> f64 {
        let place = (self.0.len().saturating_sub(1) as f64 * part).round();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place in a list"
        )]
        let time = self.0.get(place as usize);
        time.map_or(f64::NAN, Duration::as_secs_f64) * 1000.0
    }

    fn say(&self, what: &str) {
        println!(
            "| {what} | {} | {:.3} ms | {:.3} ms | {:.3} ms |",
            self.0.len(),
            self.at(0.5),
            self.at(0.99),
            self.at(1.0)
        );
    }
}

fn question<'a>(request: &'a Request, claims: &'a ClientClaims) -> Question<'a> {
    Question {
        request,
        action: request.action(),
        claims,
        site: "london",
        now: Timestamp::from_second(1_795_347_603).unwrap(),
    }
}

/// Asks again and again until it is time to stop; every answer has to be as expected.
fn asking(
    opa: &Opa,
    policies: &[String],
    stop: &AtomicBool,
    good: fn(&Decision) -> bool,
) -> (Times, usize) {
    let request = request();
    let bearers: Vec<_> = policies.iter().map(|policy| claims(policy)).collect();
    let (mut times, mut otherwise) = (Vec::new(), 0);
    for bearer in bearers.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let question = question(&request, bearer);
        let started = Instant::now();
        let decision = opa.decide(&question);
        times.push(started.elapsed());
        otherwise += usize::from(!good(&decision));
        thread::sleep(PAUSE);
    }
    (Times::of(times), otherwise)
}

/// Others' decisions with some hostile bearers beside them.
fn beside(what: &str, hostile: &[Vec<String>]) {
    let (opa, stop) = (Opa::default(), AtomicBool::new(false));
    let good = [
        ("of a plain policy", [POLICY.to_owned()]),
        ("of one with loops", [LOOPS.to_owned()]),
        ("of one that needs a thread", [deep()]),
    ];
    // Compiled before the clock runs.
    for (_, [policy]) in &good {
        common::ask(&opa, &request(), &claims(policy));
    }
    thread::scope(|scope| {
        let good = good.each_ref().map(|(name, policy)| {
            let who = scope.spawn(|| asking(&opa, policy, &stop, Decision::is_allowed));
            (name, who)
        });
        let bad: Vec<_> = hostile
            .iter()
            .map(|policies| {
                scope.spawn(|| asking(&opa, policies, &stop, |said| !said.is_allowed()))
            })
            .collect();
        thread::sleep(PART);
        stop.store(true, Ordering::Relaxed);
        for (name, who) in good {
            let (times, otherwise) = who.join().unwrap();
            times.say(&format!("{what}: {name}, {otherwise} refused"));
        }
        let mut all = Vec::new();
        for who in bad {
            let (times, otherwise) = who.join().unwrap();
            assert_eq!(otherwise, 0, "a hostile policy was allowed");
            all.extend(times.0);
        }
        if !all.is_empty() {
            Times::of(all).say(&format!("{what}: refusals"));
        }
    });
}

/// The most memory that this process ever had, in MiB.
fn most() -> u64 {
    memory("VmHWM:") / 1024
}

/// Texts as long as one may be, that are costly to compile.
fn long_texts() -> [(&'static str, String); 5] {
    const LONGEST: usize = 64 << 10;
    let head = "package io.choria.aaasvc\nimport rego.v1\ndefault allow := false\n";
    let filled = |line: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        for n in 1.. {
            let line = line(n);
            if text.len() + line.len() > LONGEST {
                break;
            }
            text.push_str(&line);
        }
        text
    };
    [
        (
            "rules",
            filled(&|n| format!("allow if input.action == \"a{n}\"\n")),
        ),
        (
            "rules that need the one before",
            filled(&|n| format!("r{n} if {{ not r{}; input.ttl > {n} }}\n", n - 1))
                .replace("not r0;", "")
                + "\nallow if r1\n",
        ),
        (
            "nested brackets",
            filled(&|n| format!("a{n} := [[[[[[{n}]]]]]]\n")),
        ),
        (
            "short names",
            filled(&|_| "allow if {a:=1;a<1}\n".to_owned()),
        ),
        (
            "comprehensions",
            filled(&|n| format!("allow if count({{x|some x in input.a;x>{n}}})>1\n")),
        ),
    ]
}

fn main() {
    println!("| decisions | how many | p50 | p99 | max |\n|---|---:|---:|---:|---:|");
    for (name, body) in HOSTILE {
        let (opa, stop) = (Opa::default(), AtomicBool::new(false));
        let policy = [hostile(body, 0)];
        let (times, otherwise) = thread::scope(|scope| {
            let asking = scope.spawn(|| asking(&opa, &policy, &stop, |said| !said.is_allowed()));
            thread::sleep(PART / 5);
            stop.store(true, Ordering::Relaxed);
            asking.join().unwrap()
        });
        assert_eq!(otherwise, 0, "a hostile policy was allowed");
        times.say(&format!("{name}, alone; {} MiB at most", most()));
    }
    for (name, text) in long_texts() {
        let (before, bytes) = (resident(), text.len());
        let (opa, claims, request) = (Opa::default(), claims(&text), request());
        let question = question(&request, &claims);
        let started = Instant::now();
        let decision = opa.decide(&question);
        let took = started.elapsed().as_secs_f64() * 1000.0;
        let grown = resident().saturating_sub(before);
        println!("new, {bytes} bytes of {name}: {took:.1} ms, {grown} KiB, {decision:?}");
        std::mem::forget(opa);
    }
    beside("nobody hostile", &[]);
    let many = |bearer: usize| {
        HOSTILE
            .iter()
            .map(|(_, body)| hostile(body, bearer))
            .collect()
    };
    beside("1 hostile bearer", &[many(0)]);
    let eight: Vec<Vec<String>> = (0..8).map(many).collect();
    beside("8 hostile bearers", &eight);
    println!("memory at most: {} MiB", most());
}
