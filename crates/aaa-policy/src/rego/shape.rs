//! How costly evaluating a policy can become, told from how its rules hang together.
//!
//! The engine stops a policy whose time is up between steps, not within one. Steps are short as long as values are
//! small, but values share their parts: a list of two of the same list, and a list of two of that, takes no memory to
//! speak of, and an eternity to compare. Likewise rules that need rules that need rules take stack. So it is reckoned
//! beforehand how much a policy could multiply what it is given, and how deep it goes. What is found here decides
//! where a policy runs (see [`super::lane`]) and whether it weighs what it makes (see [`super::bounded`]), and nothing about what it allows.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{Place, PolicyError};

/// What a loop may multiply by, as a power of two: more turns than there are in the time of an evaluation.
pub(super) const LOOP: u32 = 17;

/// What a rule takes of the stack besides its expressions, as if it were that many.
const RULE: u32 = 4;

/// More than anything may be.
const ENDLESS: u32 = u32::MAX / 4;

/// What one rule is made of, all its definitions together.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where it stands first.
    pub(super) place: Option<Place>,
    /// How deep its expressions nest.
    pub(super) depth: u32,
    /// Each way to get its value.
    pub(super) bodies: Vec<Body>,
    /// Whether its value is made of what all of them give, as those of sets and objects are.
    pub(super) adds_up: bool,
}

impl Node {
    pub(super) fn merge(&mut self, other: Self) {
        self.place = self.place.or(other.place);
        self.depth = self.depth.max(other.depth);
        self.bodies.extend(other.bodies);
        self.adds_up |= other.adds_up;
    }
}

/// One way to get the value of a rule.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// By how much it can multiply what it is given, as a power of two.
    pub(super) bits: u32,
    /// Names in it that are rules, unless they are local variables.
    pub(super) rules: BTreeSet<String>,
    /// Rules in it by their whole path.
    pub(super) absolute: BTreeSet<String>,
    /// The policy's own functions that it calls.
    pub(super) calls: Vec<String>,
    /// Variables of its own.
    pub(super) locals: BTreeSet<String>,
    /// Whether it refers to all rules at once.
    pub(super) everything: bool,
}

/// How large values can become, and how deep evaluation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// By how much the policy can multiply what it is given, as a power of two.
    pub(super) bits: u32,
    /// How deep evaluation goes, through rules that need rules and the expressions in them.
    pub(super) levels: u32,
}

impl Shape {
    /// The shape of evaluating one rule.
    ///
    /// # Errors
    /// When rules or functions depend on themselves.
    pub(super) fn of(nodes: &BTreeMap<String, Node>, entry: &str) -> Result<Self, PolicyError> {
        no_circles(nodes)?;
        let mut known = BTreeMap::new();
        Ok(measure(nodes, entry, &mut known))
    }
}

/// Finds a rule that needs itself. Names that are also local variables somewhere in a rule are given the benefit
/// of the doubt: the engine finds those while evaluating.
fn no_circles(nodes: &BTreeMap<String, Node>) -> Result<(), PolicyError> {
    // Rules on the way are `false`, those that are done `true`.
    let mut done: BTreeMap<&str, bool> = BTreeMap::new();
    for start in nodes.keys() {
        let mut way: Vec<(&str, Vec<&str>)> = Vec::new();
        if !done.contains_key(start.as_str()) {
            done.insert(start, false);
            way.push((start, needed(nodes, start)));
        }
        while let Some((name, left)) = way.last_mut() {
            let Some(next) = left.pop() else {
                done.insert(name, true);
                way.pop();
                continue;
            };
            match done.get(next) {
                Some(true) => {}
                Some(false) => {
                    let place = nodes.get(next).and_then(|node| node.place);
                    return Err(PolicyError::at(
                        place,
                        format!("`{next}` depends on itself"),
                    ));
                }
                None => {
                    done.insert(next, false);
                    way.push((next, needed(nodes, next)));
                }
            }
        }
    }
    Ok(())
}

fn needed<'a>(nodes: &'a BTreeMap<String, Node>, name: &str) -> Vec<&'a str> {
    let Some(node) = nodes.get(name) else {
        return Vec::new();
    };
    node.bodies
        .iter()
        .flat_map(|body| {
            let named = body.rules.difference(&body.locals);
            named.chain(&body.absolute).chain(&body.calls)
        })
        .map(String::as_str)
        .collect()
}

fn measure<'a>(
    nodes: &'a BTreeMap<String, Node>,
    name: &'a str,
    known: &mut BTreeMap<&'a str, Option<Shape>>,
) -> Shape {
    const CIRCLE: Shape = Shape {
        bits: ENDLESS,
        levels: ENDLESS,
    };
    let Some(node) = nodes.get(name) else {
        return Shape { bits: 0, levels: 0 };
    };
    match known.get(name) {
        Some(Some(shape)) => return *shape,
        // On the way: a name that is a rule here and a variable there.
        Some(None) => return CIRCLE,
        None => known.insert(name, None),
    };
    let mut whole = Shape { bits: 0, levels: 0 };
    for body in &node.bodies {
        let mut bits = body.bits;
        let mut levels = 0;
        let everything = body.everything.then_some(CIRCLE);
        let parts = body.rules.iter().chain(&body.absolute).chain(&body.calls);
        for part in parts
            .map(|part| measure(nodes, part, known))
            .chain(everything)
        {
            bits = bits.saturating_add(part.bits).min(ENDLESS);
            levels = part.levels.max(levels);
        }
        whole.bits = whole.bits.max(bits);
        whole.levels = whole.levels.max(levels);
    }
    if node.adds_up {
        let ways = node.bodies.len().next_power_of_two().ilog2();
        whole.bits = whole.bits.saturating_add(ways).min(ENDLESS);
    }
    whole.levels = whole.levels.saturating_add(RULE + node.depth).min(ENDLESS);
    known.insert(name, Some(whole));
    whole
}

#[cfg(test)]
mod tests {
    use super::super::inspect::inspect;
    use super::super::source::parse;
    use super::*;

    fn shape(lines: &str) -> Shape {
        let text = format!("package io.choria.aaasvc\nimport rego.v1\n{lines}\n");
        inspect(&parse(&text, 64 << 10).unwrap().module)
            .unwrap()
            .shape
    }

    #[test]
    fn plain_policies_multiply_nothing() {
        for lines in [
            "allow if input.agent == \"x\"",
            "allow if sprintf(\"%s.%s\", [input.agent, input.action]) == \"a.b\"",
            "allow if count({t | some t in input.data.tags; startswith(t, \"a\")}) > 0",
            "allow if count([input.data.tags[i] | input.data.tags[i] != \"x\"]) > 0",
            "tags contains t if some t in input.data.tags\nallow if \"a\" in tags",
            "agents := {\"a\", \"b\", \"c\"}\nallow if input.agent in agents",
        ] {
            assert_eq!(shape(lines).bits, 0, "{lines}");
        }
    }

    #[test]
    fn what_stands_several_times_multiplies() {
        assert_eq!(shape("allow if { x := input; [x, x, x] == [] }").bits, 2);
        assert_eq!(
            shape("a := [input, input]\nb := [a, a]\nallow if b == []").bits,
            2
        );
        assert_eq!(shape("f(x) := [x, x]\nallow if f(f(f(1))) == []").bits, 3);
        assert_eq!(
            shape("allow if array.concat(input.a, input.a) == []").bits,
            1
        );
        let twice = "a if input.x with input.a as input with input.b as input";
        assert_eq!(shape(&format!("{twice}\nallow if a")).bits, 2);
        for lines in [
            "allow if count([input | some i in numbers.range(1, 9)]) > 0",
            "allow if count([x | x := input; some i in numbers.range(1, 9)]) > 0",
            "allow if count([a | some a in input.x; some b in input.x]) > 0",
            "xs[a] := b if { some a in input.x; some b in input.x }\nallow if xs == {}",
            "xs[a] := input if some a in input.x\nallow if xs == {}",
            "xs contains [a, input] if some a in input.x\nallow if xs == set()",
        ] {
            assert!(shape(lines).bits >= LOOP, "{lines}");
        }
    }

    #[test]
    fn parts_of_one_rule_add_up() {
        assert_eq!(shape("a.x := 1\nallow if a == {}").bits, 0);
        let three = "a.x := 1\na.y := input\na.z := input\nallow if a == {}";
        assert_eq!(shape(three).bits, 2);
    }

    #[test]
    fn alternatives_do_not_add_up() {
        let one = shape("allow if [input, input] == []");
        let many = shape(
            "allow if [input, input] == []\nallow if [input, 1] == []\nallow if input.x == 1",
        );
        assert_eq!(one.bits, many.bits);
    }

    #[test]
    fn chains_go_deep() {
        let one = shape("allow if input.x");
        let three = shape("a if b\nb if input.x\nallow if a");
        assert_eq!(three.levels, one.levels * 3);
        assert!(shape("allow if 1 + 1 + 1 + 1 > 1").levels > one.levels);
        // A name that is a rule here and a variable there: not a circle for sure, and not for sure none.
        let doubtful = shape("x := 1\na if { x := 2; x == 2; b }\nb if x == 1\nallow if a");
        assert!(doubtful.levels < ENDLESS);
        let doubtful = shape("a if { b := 2; b == 2 }\nb if a\nallow if a");
        assert_eq!(doubtful.levels, ENDLESS);
    }
}
