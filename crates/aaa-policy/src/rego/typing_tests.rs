//! What OPA's type checker refuses is named, and nothing else.

use super::super::inspect::names;
use super::super::source::parse;
use super::*;

fn found(lines: &str) -> Vec<String> {
    let text = format!("package io.choria.aaasvc\nimport rego.v1\n{lines}\n");
    let module = parse(&text, 64 << 10).unwrap().module;
    let names = names(&module).unwrap();
    check(&module, &names)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn refused(lines: &str, says: &str) {
    assert_eq!(found(lines), [format!("line 3: {says}")], "{lines}");
}

#[test]
fn what_never_fits_is_named() {
    for (lines, says) in [
        (
            "allow if not startswith(1, \"a\")",
            "`startswith` takes a text first, and is given a number",
        ),
        (
            "allow if not startswith(input.x, null)",
            "`startswith` takes a text second, and is given null",
        ),
        (
            "allow if not concat(\"-\", [\"a\", 1])",
            "`concat` takes an array of texts or a set of texts second, and is given an array of a text, a number",
        ),
        (
            "allow if not concat(\"-\", {\"a\", 1})",
            "`concat` takes an array of texts or a set of texts second, and is given a set",
        ),
        (
            "allow if not startswith(count(input.x), \"a\")",
            "`startswith` takes a text first, and is given a number",
        ),
        (
            "allow if { x := 1; y := x; not startswith(y, \"a\") }",
            "`startswith` takes a text first, and is given a number",
        ),
        (
            "allow if not startswith(x, \"a\")\nx := 1 if input.a\nx := 2 if input.b",
            "`startswith` takes a text first, and is given a number",
        ),
        (
            "allow if { some x in [1, 2]; not startswith(x, \"a\") }",
            "`startswith` takes a text first, and is given a number",
        ),
        (
            "allow if not f(1)\nf(\"a\") := 1\nf(\"b\") := 2",
            "`f` takes a text first, and is given a number",
        ),
        (
            "allow if not f(1) == 1\nf(_) := \"b\"",
            "a text and a number are compared, which are never the same",
        ),
        ("allow if { x := lower(x); x }", "`x` is made of itself"),
        (
            "allow if not strings.replace_n({1: \"a\"}, input.x)",
            "`strings.replace_n` takes an object of texts first, and is given an object",
        ),
        (
            "allow if not lower()",
            "`lower` takes 1 argument, and is given 0",
        ),
        (
            "allow if not f(1, 2, 3, 4)\nf(_, _) := 1",
            "`f` takes 2 arguments, and is given 4",
        ),
        (
            "allow if { x := [1][_]; not lower(x) }",
            "`lower` takes a text first, and is given a number",
        ),
    ] {
        refused(lines, says);
    }
}

#[test]
fn what_is_never_the_same_or_never_there_is_named() {
    for (lines, says) in [
        (
            "allow if not 1 == \"a\"",
            "a number and a text are compared, which are never the same",
        ),
        (
            "allow if 1 + \"a\" > 2",
            "`+` takes a number, and is given a text",
        ),
        (
            "allow if ({1} - \"a\") == {1}",
            "`-` takes a number or a set, and is given a text",
        ),
        (
            "allow if ({1} | 2) == {1}",
            "`|` takes a set, and is given a number",
        ),
        (
            "allow if not limits.b\nlimits := {\"a\": 1}",
            "an object has no such member as \"b\"",
        ),
        (
            "allow if not limits[count(input.x)]\nlimits := {\"a\": 1}",
            "an object is never asked for a number",
        ),
        ("allow if not count(input.x).y", "a number has no members"),
        (
            "allow if { some x in 1; x > 1 }",
            "`some … in` goes over a collection, and is given a number",
        ),
        (
            "allow if count([1 | not lower(1)]) > 0",
            "`lower` takes a text first, and is given a number",
        ),
        (
            "allow if walk(input.x, 1)",
            "`walk` gives an array of an array, anything, and never a number",
        ),
        (
            "allow if true with input.x as lower(1)",
            "`lower` takes a text first, and is given a number",
        ),
    ] {
        refused(lines, says);
    }
}

#[test]
fn objects_are_not_ordered_beside_sets() {
    for body in [
        "{1} < {\"a\": 1}",
        "not {\"a\": 1} >= input.x",
        "input.x > {1}",
    ] {
        let says = "objects beside sets are ordered otherwise by OPA; compare what is in them";
        refused(&format!("allow if ({body})").replace("(not", "not ("), says);
    }
    for body in [
        "{1} < {2}",
        "{1} == {\"a\": 1}",
        "input.x < input.y",
        "[{1}] < 1",
    ] {
        assert_eq!(
            found(&format!("allow if {{ x := ({body}); x }}")),
            Vec::<String>::new()
        );
    }
}

#[test]
fn what_may_fit_is_left_alone() {
    for lines in [
        "allow if not startswith(input.x, \"a\")",
        "allow if not startswith(x, \"a\")\nx := 1 if input.a\nx := \"a\" if input.b",
        "allow if not startswith(x, \"a\")\ndefault x := \"a\"\nx := 1 if input.a",
        "allow if { x := {\"a\", 1}; not concat(\"-\", x) }",
        "allow if { x := 1; count([y | x := input.z; y := lower(x)]) > 0 }",
        // The variable has its value from elsewhere first, and may be anything.
        "allow if { x := [y]; input.foo[x]; y = 1; not startswith(x, \"a\") }",
        "allow if { some y; x := [y]; input.foo[x]; y = 1; not startswith(x, \"a\") }",
        "allow if not f(1)\nf(\"a\") := 1\nf(1) := 2",
        "allow if every x in [1] { not startswith(x, \"a\") }",
        "allow if not limits[input.x]\nlimits := {\"a\": 1}",
        "allow if not limits.b\nlimits := {\"a\": 1, input.x: 2}",
        "allow if { x := 1; count([x | x := x]) > 0 }",
        "allow if not limits.b\nlimits contains \"a\"",
        "allow if x.a == \"b\"\nx := {k: 1 | some k in [1]} if input.a\nx := {k: \"b\" | some k in [\"a\"]} if input.b",
        "allow if 1 < \"a\"",
        "allow if { x := (1 == \"a\"); x }",
        "allow if x.a == 1\nx.b := \"b\"\nx.a := 1",
        "allow if not 1 in \"a\"",
        "allow if input.xs[_] == 1",
        "allow if { some _, x in {\"a\": 1}; input.xs[_] == \"a\"; x == 1 }",
        "lower2(x) := lower(x)\nallow if lower2(input.x) == \"a\"",
        "y := x if x := input.z\nx := 1\nallow if y == \"a\"",
    ] {
        assert_eq!(found(lines), Vec::<String>::new(), "{lines}");
    }
}
