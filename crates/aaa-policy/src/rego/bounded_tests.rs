//! What is weighed, what is left alone, and what is refused.

use super::*;
use crate::rego::inspect::names;
use crate::rego::source::parse;

const HEAD: &str = "package io.choria.aaasvc\nimport rego.v1\n";

fn bounded(lines: &str) -> Result<String, PolicyError> {
    let text = format!("{HEAD}{lines}");
    let module = parse(&text, 64 << 10).unwrap().module;
    let names = names(&module).unwrap();
    let mut written = Written::new(&text);
    bound(&module, &names, &mut written)?;
    let written = written.finish()?;
    // It is still a policy.
    parse(&written, 64 << 10).unwrap();
    let lines = written.strip_prefix(HEAD).unwrap();
    Ok(lines.replace("__bounded", "W"))
}

#[test]
fn what_is_made_is_weighed() {
    for (lines, wanted) in [
        ("a := [input, input]", "a := W([input, input])"),
        ("a := {\"x\": [input.x]}", "a := W({\"x\": [input.x]})"),
        (
            "a := {{\"x\": 1, \"y\": input}: 1, \"z\": 2}",
            "a := W({{\"x\": 1, \"y\": input}: 1, \"z\": 2})",
        ),
        ("a := [2 * input.x + 1]", "a := W([W(2 * input.x) + 1])"),
        (
            "a := 3 * (input.x * 2 * 4) + 1",
            "a := W(3 * (W(W(input.x * 2) * 4))) + 1",
        ),
        ("a := input.x | {1}", "a := W(input.x | {1})"),
        (
            "a contains [x, x] if some x in [[input.x]]",
            "a contains W([x, x]) if some x in W([[input.x]])",
        ),
        (
            "a[[x, x]] := [x] if x := input.x",
            "a[W([x, x])] := W([x]) if x := input.x",
        ),
        (
            "a := 1 if input.x else := [input.y]",
            "a := 1 if input.x else := W([input.y])",
        ),
        (
            "f(x) := [x, x]\na := f([input]) == f(1)",
            "f(x) := W([x, x])\na := f(W([input])) == f(1)",
        ),
        (
            "a if { x := [y | y := [input.x]]; x == [] }",
            "a if { x := W([y | y := W([input.x])]); x == [] }",
        ),
        (
            "a if { x := [[input.x]][0]; x == 1 }",
            "a if { x := W([[input.x]])[0]; x == 1 }",
        ),
        (
            "a if b with input as [input, input]\nb if input",
            "a if b with input as W([input, input])\nb if input",
        ),
        (
            "a if b with input.x as input with data.y as 1 with f as g\nb if f(input)\nf(x) if x\ng(x) if x",
            "a if b with input.x as W(input) with data.y as 1 with f as g\nb if f(input)\nf(x) if x\ng(x) if x",
        ),
        (
            "a := {input, [input]} - {1}",
            "a := W({input, [input]}) - {1}",
        ),
        (
            "a if every x in [[input.x]] { x == [x] }",
            "a if every x in W([[input.x]]) { x == W([x]) }",
        ),
        (
            "b.c.d := input\na if { x := b.c; y := b[\"c\"].d; z := b[input.x]; x == y; z == 1 }",
            "b.c.d := input\na if { x := W(b.c); y := W(b[\"c\"].d); z := W(b[input.x]); x == y; z == 1 }",
        ),
        (
            "default a := [x | x := b]\nb := input",
            "default a := [x | x := W(b)]\nb := input",
        ),
        (
            "b := input\na if b == data.io.choria.aaasvc.b",
            "b := input\na if W(b) == W(data.io.choria.aaasvc.b)",
        ),
        (
            "a if { x = [y | y := input.x[_]]; x in input.y }",
            "a if { x = W([y | y := input.x[_]]); x in input.y }",
        ),
    ] {
        assert_eq!(bounded(lines).unwrap(), wanted);
    }
}

#[test]
fn what_is_as_small_as_what_it_is_made_of_is_left_alone() {
    for lines in [
        "a := [1, [2, {\"x\": 3}]]",
        "a := input.x + 1",
        "a if { [x, y] := split(input.x, \".\"); x == y }",
        "a if { x := input.x; [1, y] = x; y > 1 }",
        "a if { [y, 1] = input.x; y > 1 }",
        "a if count([x | some x in input.xs]) > 1",
        "a if sprintf(\"%s.%s\", [input.x, input.y]) == \"a.b\"",
        "b := 1\na if { some b in input.xs; b == 1 }",
        "import input.x as y\na if { [1, z] = y; z > 1 }",
    ] {
        assert_eq!(bounded(lines).unwrap(), lines);
    }
}

/// As policies in the older syntax have it.
#[test]
fn what_equals_gives_is_weighed_where_it_can_be_told() {
    for (lines, wanted) in [
        (
            "a if { x = [input, input]; x == 1 }",
            "a if { x = W([input, input]); x == 1 }",
        ),
        (
            "a if { some x; [input, input] = x; x == 1 }",
            "a if { some x; W([input, input]) = x; x == 1 }",
        ),
        (
            "a if { x = input.x; y = [x, x]; z = [y, y]; z == 1 }",
            "a if { x = input.x; y = W([x, x]); z = W([y, y]); z == 1 }",
        ),
        (
            "a if { input.xs[i] = x; y = [i, x]; input.ys[_] = y }",
            "a if { input.xs[i] = x; y = W([i, x]); input.ys[_] = y }",
        ),
        (
            "a if { [x, y] = [input.x, input.y]; x == y }",
            "a if { [x, y] = W([input.x, input.y]); x == y }",
        ),
        (
            "a if { count([x | x := input.x]) > 0; x = [input, input]; x == 1 }",
            "a if { count([x | x := input.x]) > 0; x = W([input, input]); x == 1 }",
        ),
    ] {
        assert_eq!(bounded(lines).unwrap(), wanted);
    }
}

#[test]
fn what_cannot_be_weighed_is_refused() {
    for lines in [
        "a if { [x, [1]] = [[y, y], y]; x == y }",
        "a if { y = x; x = [y, y]; x == 1 }",
        "a if { x = [y, y]; y = [x, x]; x == 1 }",
        "a if { count([y | y := input.x]) > 0; x = [y, y]; x == 1 }",
    ] {
        let error = bounded(lines).unwrap_err().to_string();
        assert_eq!(
            error,
            "line 3: `=` with a collection may give either side a value; write `:=`, or `==` to compare",
            "{lines}"
        );
    }
    let taken = bounded("__bounded(x) := x\na := 1").unwrap_err();
    assert_eq!(taken.to_string(), "line 3: the name `__bounded` is taken");
}
