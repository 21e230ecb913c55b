//! Which members of `input` a policy can see, so that no others are made for it.
//!
//! Told from the syntax, and on the safe side: wherever `input` stands without a fixed name behind it, everything is seen.

use regorus::Value;
use regorus::unstable::{Expr, Literal, Module, Query, Rule, RuleHead};

use super::input::{CLAIMS, INPUT};
use super::variables::{comprehension, expressions, parts};

/// Members of `input`, and of `input.claims`, by their places in the lists of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visible {
    pub(super) input: u16,
    pub(super) claims: u32,
}

impl Visible {
    /// Nothing at all.
    pub(super) const NOTHING: Self = Self {
        input: 0,
        claims: 0,
    };

    /// Everything.
    pub(super) const ALL: Self = Self {
        input: u16::MAX,
        claims: u32::MAX,
    };

    /// What the rules of a module can see.
    pub(super) fn of(module: &Module) -> Self {
        let mut visible = Self::NOTHING;
        for import in &module.imports {
            visible.expr(&import.refr);
        }
        for rule in &module.policy {
            visible.rule(rule);
        }
        visible
    }

    /// What either of two can see.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            input: self.input | other.input,
            claims: self.claims | other.claims,
        }
    }

    /// A reference to `input`, by the names behind it as far as they are fixed.
    fn see(&mut self, path: &[&str]) {
        let Some((member, rest)) = path.split_first() else {
            *self = Self::ALL;
            return;
        };
        if let Some(place) = INPUT.iter().position(|name| name == member) {
            self.input |= 1 << place;
        }
        if *member == "claims" {
            match rest.first() {
                None => self.claims = u32::MAX,
                Some(claim) => {
                    if let Some(place) = CLAIMS.iter().position(|name| name == claim) {
                        self.claims |= 1 << place;
                    }
                }
            }
        }
    }

    fn rule(&mut self, rule: &Rule) {
        match rule {
            Rule::Default {
                refr, args, value, ..
            } => {
                self.all(args.iter().chain([refr, value]).map(AsRef::as_ref));
            }
            Rule::Spec { head, bodies, .. } => {
                match head {
                    RuleHead::Compr { refr, assign, .. } => {
                        let assign = assign.as_ref().map(|assign| &assign.value);
                        self.all(assign.into_iter().chain([refr]).map(AsRef::as_ref));
                    }
                    RuleHead::Set { refr, key, .. } => {
                        self.all(key.iter().chain([refr]).map(AsRef::as_ref));
                    }
                    RuleHead::Func {
                        refr, args, assign, ..
                    } => {
                        let assign = assign.as_ref().map(|assign| &assign.value);
                        let exprs = args.iter().chain(assign).chain([refr]);
                        self.all(exprs.map(AsRef::as_ref));
                    }
                }
                for body in bodies {
                    let assign = body.assign.as_ref().map(|assign| assign.value.as_ref());
                    self.all(assign);
                    self.query(&body.query);
                }
            }
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            self.all(expressions(statement));
            self.all(statement.with_mods.iter().map(|with| with.refr.as_ref()));
            if let Literal::Every { query, .. } = &statement.literal {
                self.query(query);
            }
        }
    }

    fn all<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr>) {
        for expr in exprs {
            self.expr(expr);
        }
    }

    fn expr(&mut self, expr: &Expr) {
        if let Some((heads, query)) = comprehension(expr) {
            self.all(heads);
            return self.query(query);
        }
        match expr {
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expr),
            Expr::Call { fcn, params, .. } => {
                self.expr(fcn);
                self.all(params.iter().map(AsRef::as_ref));
            }
            other => self.all(parts(other)),
        }
    }

    /// A name with what stands behind it.
    fn reference(&mut self, expr: &Expr) {
        let mut path = Vec::new();
        let mut at = expr;
        loop {
            match at {
                Expr::RefDot { refr, field, .. } => {
                    path.push(Some(field.0.text()));
                    at = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    // As it reads, not as it is written: there may be escapes in it.
                    path.push(match index.as_ref() {
                        Expr::String {
                            value: Value::String(text),
                            ..
                        } => Some(text.as_ref()),
                        other => {
                            self.expr(other);
                            None
                        }
                    });
                    at = refr;
                }
                Expr::Var { span, .. } => {
                    if span.text() == "input" {
                        let fixed: Vec<&str> =
                            path.into_iter().rev().map_while(|part| part).collect();
                        self.see(&fixed);
                    }
                    return;
                }
                other => return self.expr(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::parse;
    use super::*;

    fn visible(lines: &str) -> Visible {
        let text = format!("package io.choria.aaasvc\nimport rego.v1\n{lines}\n");
        Visible::of(&parse(&text, 64 << 10).unwrap().module)
    }

    fn seen(lines: &str) -> (Vec<&'static str>, Vec<&'static str>) {
        let visible = visible(lines);
        let of = |names: &[&'static str], bits: u32| {
            let seen = |(place, _): &(usize, &&str)| bits & (1 << place) != 0;
            let names = names.iter().enumerate().filter(seen);
            names.map(|(_, name)| *name).collect::<Vec<_>>()
        };
        (
            of(&INPUT, u32::from(visible.input)),
            of(&CLAIMS, visible.claims),
        )
    }

    #[test]
    fn fixed_names_are_all_that_is_seen() {
        for (lines, input) in [
            ("allow if true", [].as_slice()),
            ("allow if input.agent == \"x\"", &["agent"]),
            ("allow if input[\"agent\"] == \"x\"", &["agent"]),
            ("allow if input[\"re\\u0071uest\"].id", &["request"]),
            ("allow if not input.request.filter.fact", &["request"]),
            (
                "allow if { some x in input.data.tags; x == input.ttl }",
                &["data", "ttl"],
            ),
            (
                "allow if [1 | some t in input.data.tags; t == input.site] == []",
                &["data", "site"],
            ),
            ("import input.request as r\nallow if r.id", &["request"]),
            ("import input.data\nallow if data.x", &["data"]),
            ("allow if x with input.time as 1\nx if true", &["time"]),
            (
                "allow if x with data.x as input.sender\nx if true",
                &["sender"],
            ),
            ("f(input.request) := 1\nallow if true", &["request"]),
            (
                "x[input.agent][input.action] := 1\nallow if true",
                &["action", "agent"],
            ),
            ("x[input.agent].b := 1\nallow if true", &["agent"]),
            (
                "allow if { some [input.site, x] in input.data; x }",
                &["data", "site"],
            ),
            (
                "allow if every x in input.data { x == input.ttl }",
                &["data", "ttl"],
            ),
            (
                "allow if false\nelse := input.site == \"x\" if input.ttl",
                &["site", "ttl"],
            ),
            (
                "allow := f({input.site: [input.ttl]})\nf(_) := true",
                &["site", "ttl"],
            ),
            (
                "xs contains input.site\nallow if 1 + input.ttl > 2",
                &["site", "ttl"],
            ),
            ("allow if input.data[input.agent]", &["agent", "data"]),
            ("allow if input.unknown", &[]),
        ] {
            let (seen, claims) = seen(lines);
            assert_eq!(
                (seen.as_slice(), claims.as_slice()),
                (input, [].as_slice()),
                "{lines}"
            );
        }
    }

    #[test]
    fn claims_are_seen_one_by_one() {
        let both =
            seen("allow if { input.claims.callerid == \"x\"; \"y\" in input.claims[\"agents\"] }");
        assert_eq!(both, (vec!["claims"], vec!["agents", "callerid"]));
        for lines in [
            "allow if input.claims[input.agent]",
            "allow if count(input.claims) > 1",
            "import input.claims as c\nallow if c.ou",
        ] {
            assert_eq!(visible(lines).claims, u32::MAX, "{lines}");
        }
    }

    #[test]
    fn without_a_fixed_name_everything_is_seen() {
        for lines in [
            "allow if input == {}",
            "allow if { x := input; x.request }",
            "allow if input[input.agent]",
            "allow if input[_] == 1",
            "allow if input[`request`]",
            "allow if walk(input, [[\"request\"], _])",
            "allow if object.get(input, \"request\", false)",
            "allow if { some k, v in input; k == v }",
            "allow if \"request\", _ in input",
            "allow if every x in input { x }",
            "allow if count({x | x := input[_]}) > 0",
            "import input\nallow if input.x",
            "import input as i\nallow if i.request",
            "allow if x with input as {}\nx if true",
            "f(x) := x.request\nallow if f(input)",
            "default allow := false\nallow if sprintf(\"%v\", [input]) == \"\"",
        ] {
            assert_eq!(visible(lines), Visible::ALL, "{lines}");
        }
    }
}
