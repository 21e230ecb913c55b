//! Rules with dotted names, asked for as a whole: `conf` where `conf.a` and `conf.b.c` are defined.
//!
//! OPA makes empty objects of what has no value in it, and to the engine it has none itself; so `not conf.b` is never true with OPA, and may be to
//! the engine. Where that can be, the policy is refused.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Literal, Module, Query, Rule, RuleHead};

use super::error::{Place, PolicyError};
use super::inspect::{PACKAGE, head};
use super::variables::{comprehension, declared_in, expressions, parts, queries};
use super::walk::{self, Names};

/// The parts of a name, `None` for one that is computed.
type Path<'a> = Vec<Option<&'a str>>;

/// Looks for wholes that OPA sees otherwise, in the order of rules.
pub(super) fn check(module: &Module, names: &Names) -> Vec<PolicyError> {
    let mut checker = Checker {
        names,
        heads: BTreeMap::new(),
        locals: BTreeSet::new(),
        problems: Vec::new(),
    };
    for rule in &module.policy {
        if let Some(path) = walk::parts(head(rule)).filter(|path| path.len() > 1) {
            *checker.heads.entry(path).or_default() |= always(rule);
        }
    }
    if checker.heads.is_empty() {
        return checker.problems;
    }
    for rule in &module.policy {
        checker.locals = declared_in(rule);
        for (query, made) in queries(rule) {
            for value in made {
                checker.expr(value);
            }
            if let Some(query) = query {
                checker.query(query);
            }
        }
    }
    checker.problems
}

/// Whether what a rule defines always has a value.
fn always(rule: &Rule) -> bool {
    match rule {
        Rule::Default { .. }
        | Rule::Spec {
            head: RuleHead::Set { .. },
            ..
        } => true,
        Rule::Spec {
            head: RuleHead::Compr { assign, .. },
            bodies,
            ..
        } => {
            bodies.is_empty()
                && assign
                    .as_ref()
                    .is_some_and(|assign| walk::is_constant(&assign.value))
        }
        Rule::Spec { .. } => false,
    }
}

struct Checker<'a> {
    names: &'a Names,
    /// Names of rules with several parts, and whether each always has a value.
    heads: BTreeMap<Path<'a>, bool>,
    /// What the rule at hand declares.
    locals: BTreeSet<&'a str>,
    problems: Vec<PolicyError>,
}

impl Checker<'_> {
    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            for expr in expressions(statement) {
                self.expr(expr);
            }
            if let Literal::Every { query, .. } = &statement.literal {
                self.query(query);
            }
        }
    }

    fn expr(&mut self, expr: &Expr) {
        if let Some((heads, query)) = comprehension(expr) {
            self.query(query);
            for head in heads {
                self.expr(head);
            }
            return;
        }
        self.reference(expr);
        let mut at = expr;
        // What a reference begins with is no reference of its own.
        while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = at {
            if let Expr::RefBrack { index, .. } = at {
                self.expr(index);
            }
            at = refr;
        }
        if !matches!(at, Expr::Var { .. }) {
            for part in parts(at) {
                self.expr(part);
            }
        }
    }

    /// Refuses a reference to the beginning of names, unless there is a value for sure, and in each of its parts.
    fn reference(&mut self, expr: &Expr) {
        let Some(asked) = self.own(expr) else {
            return;
        };
        let (mut whole, mut sure, mut hollow) = (false, false, false);
        for (head, always) in &self.heads {
            let rest = head.get(asked.len()..).unwrap_or_default();
            if rest.is_empty() || !begins(head, &asked) {
                continue;
            }
            whole = true;
            match rest {
                // Members that are computed make one object, which is always there.
                [None] | [Some(_), None] => sure = true,
                [Some(_)] => sure |= always,
                _ => hollow |= !always,
            }
        }
        if whole && (hollow || !sure) {
            let asked: Vec<_> = asked.iter().map(|part| part.unwrap_or("_")).collect();
            let problem = format!(
                "parts of `{}` may have no value, which are empty objects with OPA; name the parts that you ask for",
                asked.join(".")
            );
            let place = Place::of(expr.span());
            self.problems.push(PolicyError::at(place, problem));
        }
    }

    /// The name in this package that is referred to.
    fn own<'e>(&self, expr: &'e Expr) -> Option<Path<'e>>
    where
        Self: 'e,
    {
        let path = walk::parts(expr)?;
        let first = path.first().copied().flatten()?;
        if first == "data" {
            let package: Vec<_> = std::iter::once("data")
                .chain(PACKAGE.split('.'))
                .map(Some)
                .collect();
            return path
                .strip_prefix(package.as_slice())
                .filter(|rest| !rest.is_empty())
                .map(<[_]>::to_vec);
        }
        (self.names.rules.contains(first) && !self.locals.contains(first)).then_some(path)
    }
}

/// Whether a name may begin with what is asked for.
fn begins(head: &[Option<&str>], asked: &[Option<&str>]) -> bool {
    let mut both = head.iter().zip(asked);
    both.all(|(one, other)| one.is_none() || other.is_none() || one == other)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn wholes_that_opa_sees_otherwise_are_refused() {
        for (lines, name) in [
            ("allow if not conf\nconf.a := input.x", "conf"),
            ("allow if not conf == {}\nconf.a := input.x", "conf"),
            ("allow if not conf.b\nconf.b.c := input.x", "conf.b"),
            (
                "default n := [1 | not conf.b]\nallow if count(n) == 1\nconf.b.c := input.x",
                "conf.b",
            ),
            ("allow if not conf[input.y]\nconf.b.c := input.x", "conf._"),
            ("allow if not conf[\"b\"]\nconf.b.c := input.x", "conf.b"),
            (
                "allow if not data.io.choria.aaasvc.conf.b\nconf.b.c := input.x",
                "conf.b",
            ),
            (
                "allow if not conf\nconf[x].b := 1 if some x in input.xs",
                "conf",
            ),
            ("allow if count(conf) == 1\nconf.b.c := input.x", "conf"),
            (
                "allow if count(conf) == 1\nconf.b.c := input.x\nconf.d := 1",
                "conf",
            ),
            ("allow if conf == {}\nconf.a := input.x", "conf"),
            (
                "allow if every x in input.xs { not conf.b == x }\nconf.b.c := input.x",
                "conf.b",
            ),
            (
                "allow if count([1 | not conf.b]) == 1\nconf.b.c := input.x",
                "conf.b",
            ),
        ] {
            let says = format!(
                "line 3: parts of `{name}` may have no value, which are empty objects with OPA; name the parts that you ask for"
            );
            assert_eq!(found(lines), [says], "{lines}");
        }
    }

    #[test]
    fn others_are_not() {
        for lines in [
            "allow if conf.a\nconf.a := input.x",
            "allow if not conf.a\nconf.a := input.x",
            "allow if conf == {}\nconf.a := input.x\nconf.b := 1",
            "allow if not conf.b\nconf.b.c := input.x\ndefault conf.b.c := 2",
            "allow if not conf\nconf.b contains input.x",
            "allow if not conf.b.c\nconf.b.c := input.x",
            "allow if not conf.a\nconf.b.c := input.x\nconf.a := input.y",
            "allow if not names\nnames[x] := 1 if some x in input.xs",
            "allow if count(conf) == 1\nconf.b[x] := 1 if some x in input.xs",
            "allow if { conf := input.y; not conf }\nconf.a := input.x",
            "allow if not data.other.conf\nconf.a := input.x",
        ] {
            assert_eq!(found(lines), Vec::<String>::new(), "{lines}");
        }
    }
}
