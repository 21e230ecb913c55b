//! What a decision costs: action lists, policies that are known, and policies that are new.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "benchmarks"
)]

use std::hint::black_box;
use std::time::Duration;

use aaa_core::claims::ClientClaims;
use aaa_policy::Authorizer;
use aaa_policy::actionlist::ActionList;
use aaa_policy::actionpolicy::{ActionPolicy, Options, Sources};
use aaa_policy::rego::Opa;
use common::{LOOPS, POLICY, claims, deep, request};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use serde_json::json;

#[allow(dead_code, reason = "not every benchmark uses all of it")]
mod common;

/// The engine as it comes, with the same policy and an input that is ready: what nobody can be faster than.
fn bare_engine() -> (regorus::Engine, regorus::Value) {
    let mut engine = regorus::Engine::new();
    engine.set_rego_v0(true);
    let never = |_: Vec<regorus::Value>| Ok(regorus::Value::from(false));
    engine
        .add_extension("requires_fact_filter".to_owned(), 1, Box::new(never))
        .unwrap();
    engine
        .add_policy("policy".to_owned(), POLICY.to_owned())
        .unwrap();
    let input = json!({"agent": "rpcutil", "action": "ping", "collective": "choria", "claims": claims(POLICY)});
    (
        engine,
        regorus::Value::from_json_str(&input.to_string()).unwrap(),
    )
}

/// A thousand rules over this many agents, of which the very last allows alice what she asks for.
fn action_policy(agents: usize) -> ActionPolicy {
    let mut sources = Sources::default();
    for agent in 0..agents {
        let mut text = "policy default deny\n".to_owned();
        for rule in 1..1000 / agents {
            text.push_str("allow\t/^okta=.*@example[.]net$/ up=user");
            text.push_str(&rule.to_string());
            text.push_str(
                "\tstatus ping\tcountry=mt and (cpus>=4 or not os.family=RedHat)\trole::web\n",
            );
        }
        text.push_str("allow\tup=alice\tping\t*\t*\n");
        let name = match agent {
            0 => "rpcutil.policy".to_owned(),
            other => format!("agent{other}.policy"),
        };
        sources.policy(&name, text.as_bytes());
    }
    sources.build(&Options::default()).unwrap()
}

fn decisions(c: &mut Criterion) {
    let request = request();
    let ask = |authorizer: &dyn Authorizer, claims: &ClientClaims| {
        common::ask(black_box(authorizer), &request, claims);
    };
    let mut group = c.benchmark_group("decide");
    group
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1));
    let plain = claims(POLICY);
    group.bench_function("actionlist", |b| b.iter(|| ask(&ActionList, &plain)));
    let policy = action_policy(200);
    group.bench_function("actionpolicy, 1000 rules over 200 agents", |b| {
        b.iter(|| ask(&policy, &plain));
    });
    let policy = action_policy(1);
    group.bench_function("actionpolicy, 1000 rules of one agent", |b| {
        b.iter(|| ask(&policy, &plain));
    });
    let opa = Opa::default();
    group.bench_function("opa, known", |b| b.iter(|| ask(&opa, &plain)));
    group.bench_function("the engine alone, known", |b| {
        let (mut engine, input) = bare_engine();
        b.iter(|| {
            engine.set_input(input.clone());
            black_box(engine.eval_rule("data.io.choria.aaasvc.allow".to_owned())).unwrap()
        });
    });
    let constant = claims("package io.choria.aaasvc\ndefault allow = true");
    group.bench_function("opa, known, one constant", |b| {
        b.iter(|| ask(&opa, &constant));
    });
    let loops = claims(LOOPS);
    group.bench_function("opa, known, loops", |b| b.iter(|| ask(&opa, &loops)));
    let deep = claims(&deep());
    group.bench_function("opa, known, apart", |b| b.iter(|| ask(&opa, &deep)));
    group.bench_function("opa, new", |b| {
        b.iter_batched(Opa::default, |opa| ask(&opa, &plain), BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
