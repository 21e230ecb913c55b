//! Policies that are endless, exponential, deep or hungry are refused, and the process lives on.
//!
//! None of these tests would end, or end well, without the limits; how long they take is nobody's promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod common;

use std::fmt::Write as _;
use std::time::Duration;

use aaa_core::decision::Decision;
use aaa_policy::rego::{Limits, Opa, check};
use common::{bearer, decide, ping, plain, policy, problem};

const TIME: &str = "the policy cannot be applied: it did not end within 50 ms";

/// Rules `prefix0` to `prefixN`, each made from the one before it.
fn chain(n: usize, first: &str, next: impl Fn(usize) -> String) -> String {
    let mut text = format!("{first}\n");
    for i in 1..=n {
        writeln!(text, "{}", next(i)).unwrap();
    }
    text
}

#[test]
fn endless_loops() {
    for body in [
        "some i in numbers.range(1, 60000); some j in numbers.range(1, 60000); i + j < 0",
        "count([1 | some i in numbers.range(1, 60000); some j in numbers.range(1, 60000)]) < 0",
        "every i in numbers.range(1, 60000) { count([1 | some j in numbers.range(1, 60000)]) > 0 }",
        "not f(1)",
    ] {
        let text = policy(&format!(
            "default allow := false\nf(x) if {{ some i in numbers.range(1, 60000); some j in numbers.range(1, 60000); i + j < x }}\nallow if {{ {body} }}"
        ));
        assert_eq!(problem(ping(&text)), TIME, "{body}");
    }
}

/// To compare two of these would take an eternity, in one step of the engine that nothing stops. So they are never made.
#[test]
fn values_that_multiply() {
    // Two chains each, as a value is equal to itself at once.
    for next in [
        "N := [P, P]",
        "N := [P, [P]]",
        "N := {\"x\": P, \"y\": P}",
        "N := {[1, P], [2, P]}",
        "N := {P} | {[P]}",
        "N := {P, [P]} - {1}",
        "N := array.concat(P, P)",
        "N := [[P, P]][0]",
        "N := {\"x\": [P, P]}.x",
        "N := x if some x in [[P, P]]",
        "N := x if { x := [P, P] }",
        "N := x if { x = [P | some i in [1, 2]; i > 0] }",
        "N := [1] if input.none else := [P, P]",
        "N := f([P, P])",
        "N := g(P)",
        "N := x if { x := input with input as [P, P] }",
        "N := y if { [y, _] := [[P, P], 1] }",
        "N := [x | some i in [1, 2]; x := [i, P]]",
        "N contains [x, P] if some x in [1, 2]",
        "N[x] := P if some x in [1, 2]",
        "default N.x := 1\nN.x := P\nN.y := P",
        "default N.b.x := 1\nN.b.x := P.b\nN.b.y := P.b",
        "default N.b.x := 1\nN.b.x := P[k] if k := \"b\"\nN.b.y := P[k] if k := \"b\"",
        "N[[x, P]] := 1 if some x in [1, 2]",
        "N contains x if { some x in {[1, P], [2, P]} }",
        "N := [data.io.choria.aaasvc.P, q.P]",
        "default N := [y | some x in [1, 2]; x > 0; y := P]",
        "N := P * P",
    ] {
        let chain = |name: &str| {
            chain(60, &format!("{name}0 := [1, input.agent]"), |i| {
                next.replace('N', &format!("{name}{i}"))
                    .replace('P', &format!("{name}{}", i - 1))
            })
            .replace("[1, input.agent]", first(next))
        };
        let part = if next.contains("N.b") { ".b" } else { "" };
        let text = policy(&format!(
            "import data.io.choria.aaasvc as q\ndefault allow := false\nf(x) := x\ng(x) := [x, x]\n{}{}allow if a60{part} == b60{part}",
            chain("a"),
            chain("b"),
        ));
        let said = problem(unhurried(&text));
        let limits = [
            "the policy cannot be applied: it needs more memory than the limit allows",
            "the policy cannot be applied: `array.concat` was given more than the limits for size and time allow",
        ];
        assert!(limits.contains(&said.as_str()), "{next}: {said}");
    }
}

fn first(next: &str) -> &'static str {
    if next.contains('*') {
        "123456789123456789 * input.ttl"
    } else if next.contains("N.b") {
        "{\"b\": [1, input.agent]}"
    } else {
        "[1, input.agent]"
    }
}

#[test]
fn variables_and_functions_that_multiply() {
    let inner = chain(60, "a0 := [1, input.agent]", |i| {
        format!("a{i} := [a{0}, a{0}]", i - 1)
    })
    .replace('\n', "; ");
    let functions = chain(30, "f0(x) := [x, x]", |i| {
        format!("f{i}(x) := f{0}(f{0}(x))", i - 1)
    });
    let inputs = chain(60, "r0 if input.a <= input.b", |i| {
        format!(
            "r{i} if r{} with input.a as input with input.b as input",
            i - 1
        )
    });
    for text in [
        format!("allow if {{ {inner} count(json.marshal(a60)) > 0 }}"),
        format!("allow if {{ {} a60 == 1 }}", inner.replace(":=", "=")),
        format!("{functions}allow if f30(1) == f30(1)"),
        format!("{inputs}allow if r60"),
    ] {
        assert_eq!(
            problem(unhurried(&policy(&text))),
            "the policy cannot be applied: it needs more memory than the limit allows"
        );
    }
}

#[test]
fn texts_and_lists_that_grow() {
    let grown = [
        ("a0 := \"aaaaaaaaaaaaaaaa\"", "replace(P, \"a\", P)"),
        ("a0 := \"aaaaaaaaaaaaaaaa\"", "concat(\"\", [P, P])"),
        ("a0 := \"aaaaaaaaaaaaaaaa\"", "sprintf(\"%s%s\", [P, P])"),
        ("a0 := [1, 2, 3, 4]", "array.concat(P, P)"),
        (
            "a0 := \"aaaaaaaaaaaaaaaa\"",
            "regex.replace(P, \"a\", \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\")",
        ),
        (
            "a0 := \"aaaaaaaaaaaaaaaa\"",
            "base64.encode(base64.encode(P))",
        ),
        ("a0 := \"a\"", "json.marshal(P)"),
    ];
    for (first, next) in grown {
        let rules = chain(60, first, |i| {
            format!("a{i} := {}", next.replace('P', &format!("a{}", i - 1)))
        });
        let problem = problem(ping(&policy(&format!("{rules}allow if count(a60) > 0"))));
        assert!(
            problem.contains("limit") || problem == TIME,
            "{next}: {problem}"
        );
    }
    let many = policy(
        "allow if count([s | some i in numbers.range(1, 60000); s := concat(\",\", [t | some j in numbers.range(1, 1000); t := \"aaaaaaaa\"])]) < 0",
    );
    assert_eq!(problem(ping(&many)), TIME);
}

#[test]
fn what_the_engines_own_code_would_panic_on() {
    for body in [
        "sprintf(\"%²d\", [1]) == \"\"",
        "strings.count(\"abc\", \"\") == 0",
        "count(numbers.range(0, 9223372036854775807)) > 0",
        "count(numbers.range(0, 1000000000000000)) > 0",
        "count(numbers.range_step(0, 10, 0)) > 0",
        "bits.lsh(1, 1000000000000) > 0",
        "count(net.cidr_expand(\"::/0\")) > 0",
        "to_number(\"1e999999999\") > 0",
        "units.parse_bytes(\"1e99999999G\") > 0",
        "count(net.cidr_expand(\"10.0.0.0/99\")) > 0",
        "time.add_date(9223372036854775807, 2147483647, 2147483647, 2147483647) > 0",
        "time.add_date(-9223372036854775807, -2147483648, -2147483648, -2147483648) > 0",
        "time.parse_duration_ns(\"9999999999999999999h\") > 0",
        "substring(\"äöü\", 1, 99999999999) == \"\"",
        "array.slice([1, 2], -9223372036854775808, 9223372036854775807) == []",
        "count(regex.find_n(\"(a{1000}){1000}\", \"a\", -1)) > 0",
        "glob.match(\"{{{{{{{{{{a,b}\", [], \"a\")",
        "semver.compare(\"1.0.0\", \"99999999999999999999.0.0\") == 1",
        "format_int(1e300, 2) == \"\"",
        "1 % 0 == 1",
        "count(split(\"abc\", \"\")) == 0",
        "walk(input, [p, v]); p == 7",
    ] {
        let decision = ping(&policy(&format!(
            "default allow := false\nallow if {{ {body} }}"
        )));
        assert!(!decision.is_allowed(), "{body}");
        if let Decision::Failed { problem } = decision {
            assert!(!problem.contains("engine failed"), "{body}: {problem}");
        }
    }
}

#[test]
fn deep_rules_and_expressions() {
    let rules = chain(3500, "r0 := true", |i| format!("r{i} if r{}", i - 1));
    // Deep as it is, it is evaluated, or its time is up; it is no reason to fall over.
    drop(ping(&policy(&format!("{rules}allow if r3500"))));
    let functions = chain(2000, "f0(x) := true", |i| {
        format!("f{i}(x) if f{}(x)", i - 1)
    });
    drop(ping(&policy(&format!("{functions}allow if f2000(1)"))));
    let sum = "1 +\n".repeat(15_000);
    let error = check(&policy(&format!("allow if {sum} 1 > 0"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3: an expression nests more than 128 levels deep"
    );
    for (open, close) in [
        ("[", "]"),
        ("{", "}"),
        ("(", ")"),
        ("{\"a\": ", "}"),
        ("[x | x := ", "]"),
        ("not ", ""),
        ("-", ""),
    ] {
        let nested = format!(
            "allow if count({}1{}) > 0",
            open.repeat(5000),
            close.repeat(5000)
        );
        assert!(check(&policy(&nested)).is_err(), "{open}");
    }
}

#[test]
fn what_runs_at_once_needs_no_more_stack_than_there_is() {
    let sum = "1 + ".repeat(40);
    let wide = chain(2, &format!("r0 := {sum} input.ttl"), |i| {
        format!("r{i} := {sum} r{}", i - 1)
    });
    let long = chain(20, "f0(x) := x", |i| format!("f{i}(x) := f{}(x)", i - 1));
    for text in [
        format!("{wide}allow if r2 > 0"),
        format!("{long}allow if f20(1) == 1"),
    ] {
        let usual = std::thread::Builder::new().stack_size(2 << 20);
        let decision = usual
            .spawn(move || unhurried(&policy(&text)))
            .unwrap()
            .join()
            .unwrap();
        assert!(decision.is_allowed(), "{decision:?}");
    }
}

#[test]
fn large_policies_that_are_plain_are_fine() {
    let names: Vec<String> = (0..2000).map(|n| format!("\"agent{n}\"")).collect();
    let text = policy(&format!(
        "default allow := false\nagents := {{{}, \"rpcutil\"}}\nallow if input.agent in agents",
        names.join(", ")
    ));
    assert!(unhurried(&text).is_allowed());
    let rules = chain(1000, "default allow := false", |i| {
        format!("allow if input.action == \"a{i}\"")
    });
    assert_eq!(
        unhurried(&policy(&rules)),
        Decision::deny("opa_policy allow")
    );
    assert!(
        unhurried(&policy(&format!(
            "{rules}allow if input.action == \"ping\""
        )))
        .is_allowed()
    );
}

/// What a policy says to a plain `rpcutil.ping` when an unoptimized engine is given time enough.
fn unhurried(policy: &str) -> Decision {
    let limits = Limits {
        time: Duration::from_mins(1),
        ..Limits::default()
    };
    decide(
        &Opa::new(limits),
        &bearer(policy),
        &plain("rpcutil", "ping"),
    )
}
