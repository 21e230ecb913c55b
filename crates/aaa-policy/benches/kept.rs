//! What a policy that is kept compiled costs: in time beside its evaluation, and in memory.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "benchmarks"
)]

use std::hint::black_box;
use std::time::Duration;

use aaa_core::claims::ClientClaims;
use aaa_policy::Authorizer;
use aaa_policy::rego::site::{SitePolicies, Sources};
use aaa_policy::rego::{Limits, Opa};
use common::{POLICY, claims, request, resident};
use criterion::{Criterion, criterion_group, criterion_main};

#[allow(dead_code, reason = "not every benchmark uses all of it")]
mod common;

/// How many bearers there are, each with a policy of their own.
const BEARERS: usize = 10_000;

/// How many of their policies are kept at once.
const FITTING: usize = 3_000;

/// A policy that no other bearer has.
fn policy(bearer: usize) -> String {
    format!("{POLICY}\nallow {{\n  input.agent == \"agent{bearer}\"\n}}\n")
}

/// The same policy without a cache before it.
fn alone(text: &str) -> SitePolicies {
    let mut sources = Sources::default();
    sources.policy("opa_policy.rego", text.as_bytes());
    sources
        .build(Limits::default(), |wait: &mut dyn FnMut()| wait())
        .unwrap()
}

/// Does something with all of them, and says what memory that took.
fn weighed(what: &str, fill: impl FnOnce() -> usize) {
    let before = resident();
    let kept = fill();
    let grown = resident().saturating_sub(before);
    eprintln!("{what}: {kept} kept in {grown} KiB");
}

fn kept(c: &mut Criterion) {
    let request = request();
    let ask = |authorizer: &dyn Authorizer, claims: &ClientClaims| {
        common::ask(black_box(authorizer), &request, claims);
    };
    let bearers: Vec<_> = (0..BEARERS).map(|n| claims(&policy(n))).collect();
    let mut group = c.benchmark_group("kept");
    group
        .measurement_time(Duration::from_secs(5))
        .warm_up_time(Duration::from_secs(2));

    let (opa, first) = (Opa::default(), claims(&policy(0)));
    group.bench_function("one policy", |b| b.iter(|| ask(&opa, &first)));
    let site = alone(&policy(0));
    group.bench_function("one policy, no cache before it", |b| {
        b.iter(|| ask(&site, &first));
    });

    let opa = Opa::default();
    for round in 1..=3 {
        weighed(&format!("round {round}"), || {
            for claims in &bearers {
                ask(&opa, claims);
            }
            opa.kept()
        });
    }
    let mut rotation = bearers.iter().cycle();
    group.bench_function("10,000 in rotation", |b| {
        b.iter(|| ask(&opa, rotation.next().unwrap()));
    });
    let opa = Opa::default();
    for claims in bearers.iter().take(FITTING) {
        ask(&opa, claims);
    }
    assert_eq!(opa.kept(), FITTING);
    let mut rotation = bearers.iter().take(FITTING).cycle();
    group.bench_function("3,000 in rotation", |b| {
        b.iter(|| ask(&opa, rotation.next().unwrap()));
    });
    drop(opa);

    let mut sites = Vec::new();
    weighed("compiled alone", || {
        sites = (0..BEARERS).map(|n| alone(&policy(n))).collect();
        sites.len()
    });
    weighed("and evaluated once", || {
        for (site, claims) in sites.iter().zip(&bearers) {
            ask(site, claims);
        }
        sites.len()
    });
    let mut rotation = sites.iter().zip(&bearers).take(FITTING).cycle();
    group.bench_function("3,000 in rotation, no cache before them", |b| {
        b.iter(|| {
            let (site, claims) = rotation.next().unwrap();
            ask(site, claims);
        });
    });
    group.finish();
}

criterion_group!(benches, kept);
criterion_main!(benches);
