//! Values that share their parts: a list of two of the same list, and a list of two of that, takes no memory to speak of, and an eternity
//! to compare, which is one step of the engine, so that nothing stops it.
//!
//! In the text that the engine gets, whatever makes such a value stands in a call, `__bounded([a, a])`, which weighs it and ends the
//! evaluation when it is too large. So no step takes longer than values of that size do. Policies that cannot make much of
//! what they are given are left as they are.

use std::collections::BTreeSet;

use regorus::unstable::{
    ArithOp, AssignOp, Expr, Literal, LiteralStmt, Module, Query, Rule, RuleHead, Span,
};

use super::error::{Place, PolicyError};
use super::inspect::{PACKAGE, head as name_of, root};
use super::variables::{alias, comprehension, declared, parts, values};
use super::walk::{Names, dotted, is_constant};
use super::written::{Side, Written};

/// The function that weighs a value.
pub(super) const BOUNDED: &str = "__bounded";

/// Adds the calls that weigh what a module makes.
///
/// # Errors
/// When it takes their name for itself, or makes values where no call can stand.
pub(super) fn bound(
    module: &Module,
    names: &Names,
    written: &mut Written<'_>,
) -> Result<(), PolicyError> {
    for rule in &module.policy {
        if root(name_of(rule)) == BOUNDED {
            let problem = format!("the name `{BOUNDED}` is taken");
            return Err(PolicyError::at(Place::of(rule.span()), problem));
        }
    }
    let imported = module.imports.iter().map(alias).map(Span::text);
    let given: BTreeSet<&str> = imported
        .filter(|name| !names.aliases.contains_key(*name))
        .chain(["input"])
        .collect();
    for rule in &module.policy {
        let mut writer = Writer {
            names,
            written,
            variables: vec![given.clone()],
        };
        let (head, bodies) = match rule.as_ref() {
            Rule::Spec { head, bodies, .. } => (head, bodies),
            // No call may stand there itself.
            Rule::Default { value, .. } => {
                writer.inside(value)?;
                continue;
            }
        };
        if let RuleHead::Func { args, .. } = head {
            for arg in args {
                writer.declare(arg);
            }
        }
        let values = values(head);
        if bodies.is_empty() {
            writer.query(None, &values)?;
        }
        for (index, body) in bodies.iter().enumerate() {
            let mut values = if index == 0 {
                values.clone()
            } else {
                Vec::new()
            };
            values.extend(body.assign.as_ref().map(|assign| assign.value.as_ref()));
            writer.query(Some(&body.query), &values)?;
        }
    }
    Ok(())
}

struct Writer<'a, 'w, 't> {
    names: &'a Names,
    written: &'w mut Written<'t>,
    /// Variables that have their value from elsewhere than `=`, of each query around and of this one.
    variables: Vec<BTreeSet<&'a str>>,
}

impl<'a> Writer<'a, '_, '_> {
    /// A query, and what is made of its values.
    fn query(&mut self, query: Option<&'a Query>, made: &[&'a Expr]) -> Result<(), PolicyError> {
        self.variables.push(BTreeSet::new());
        let statements = query.map_or(&[][..], |query| &query.stmts);
        for statement in statements {
            self.gives(statement);
        }
        for statement in statements {
            self.statement(statement)?;
        }
        for expr in made {
            self.value(expr)?;
        }
        self.variables.pop();
        Ok(())
    }

    /// Takes down the variables that a statement gives a value.
    fn gives(&mut self, statement: &'a LiteralStmt) {
        match &statement.literal {
            Literal::SomeIn { key, value, .. } => {
                for pattern in key.iter().chain([value]) {
                    self.declare(pattern);
                }
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr {
                    op: AssignOp::ColEq,
                    lhs,
                    ..
                } = expr.as_ref()
                {
                    self.declare(lhs);
                }
            }
            Literal::SomeVars { .. } | Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }

    fn declare(&mut self, pattern: &'a Expr) {
        if let Some(variables) = self.variables.last_mut() {
            declared(pattern, &mut |span| {
                variables.insert(span.text());
            });
        }
    }

    fn statement(&mut self, statement: &'a LiteralStmt) -> Result<(), PolicyError> {
        for with in &statement.with_mods {
            self.value(&with.r#as)?;
        }
        match &statement.literal {
            Literal::SomeVars { .. } => Ok(()),
            Literal::SomeIn { collection, .. } => self.value(collection),
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.inside(expr),
            Literal::Every {
                key,
                value,
                domain,
                query,
                ..
            } => {
                self.value(domain)?;
                let names = key.iter().chain([value]).map(Span::text);
                self.variables.push(names.collect());
                self.query(Some(query), &[])?;
                self.variables.pop();
                Ok(())
            }
        }
    }

    /// An expression whose value is kept or compared.
    fn value(&mut self, expr: &'a Expr) -> Result<(), PolicyError> {
        if self.makes(expr) {
            self.weigh(expr);
        }
        self.inside(expr)
    }

    fn weigh(&mut self, expr: &Expr) {
        let (_, end) = self.written.quoted(expr.span());
        let start = self.start(expr);
        let call = format!("{BOUNDED}(");
        self.written.add(start, Side::BeginsExpression, call);
        self.written.add(end, Side::EndsExpression, ")");
    }

    /// Where an expression starts. With several members the engine has an object start at the last one.
    fn start(&self, expr: &Expr) -> usize {
        if let Expr::Object { fields, .. } = expr
            && let Some((_, key, _)) = fields.first()
        {
            let before = self.written.text().get(..self.start(key));
            return before.and_then(|text| text.rfind('{')).unwrap_or_default();
        }
        self.written.quoted(expr.span()).0
    }

    /// Whether an expression can be more than what it is made of.
    fn makes(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Array { .. } | Expr::Set { .. } | Expr::Object { .. } => !constant(expr),
            Expr::ArrayCompr { .. }
            | Expr::SetCompr { .. }
            | Expr::ObjectCompr { .. }
            | Expr::BinExpr { .. } => true,
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.is_rule(expr),
            _ => false,
        }
    }

    /// Whether an expression names a rule, or several.
    fn is_rule(&self, expr: &Expr) -> bool {
        let Some(path) = dotted(expr) else {
            return false;
        };
        let (first, rest) = path.split_once('.').unwrap_or((&path, ""));
        if self.has(first) {
            return false;
        }
        if self.names.rules.contains(first) {
            return rest.is_empty();
        }
        let path = match self.names.aliases.get(first) {
            Some(imported) => format!("{imported}.{rest}"),
            None => path,
        };
        let package = format!("data.{PACKAGE}.");
        path.starts_with(&package)
            || package.starts_with(&format!("{}.", path.trim_end_matches('.')))
    }

    /// Whether a variable has its value from elsewhere than `=`.
    fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|names| names.contains(name))
    }

    /// What stands in an expression.
    fn inside(&mut self, expr: &'a Expr) -> Result<(), PolicyError> {
        if let Some((heads, query)) = comprehension(expr) {
            return self.query(Some(query), &heads);
        }
        match expr {
            Expr::AssignExpr {
                op: AssignOp::ColEq,
                rhs,
                ..
            } => self.value(rhs),
            Expr::AssignExpr { lhs, rhs, .. } => {
                self.unified(lhs, rhs)?;
                self.unified(rhs, lhs)
            }
            // Numbers grow by products.
            Expr::ArithExpr {
                op: ArithOp::Mul, ..
            } => {
                self.weigh(expr);
                self.insides(expr)
            }
            Expr::BoolExpr { .. } | Expr::Membership { .. } => self.values(expr),
            Expr::Call { fcn, .. } => {
                let path = dotted(fcn).unwrap_or_default();
                // Others look at what they are given.
                if self.names.own_function(&path).is_some() {
                    self.values(expr)
                } else {
                    self.insides(expr)
                }
            }
            // What is looked up is a part of what is written out.
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } if is_written_out(refr) => {
                self.values(expr)
            }
            _ => self.insides(expr),
        }
    }

    fn values(&mut self, expr: &'a Expr) -> Result<(), PolicyError> {
        parts(expr)
            .into_iter()
            .try_for_each(|part| self.value(part))
    }

    fn insides(&mut self, expr: &'a Expr) -> Result<(), PolicyError> {
        parts(expr)
            .into_iter()
            .try_for_each(|part| self.inside(part))
    }

    /// One side of `=`. What is written out there is a pattern, in which no call can stand, unless the other side takes its value from it.
    fn unified(&mut self, side: &'a Expr, other: &'a Expr) -> Result<(), PolicyError> {
        if !is_written_out(side) || constant(side) {
            return self.value(side);
        }
        let taken = match other {
            Expr::Var { span, .. } => {
                let name = span.text();
                !self.has(name) && !self.is_rule(other)
            }
            other => is_written_out(other) && !constant(other),
        };
        if taken {
            return Err(PolicyError::at(
                Place::of(side.span()),
                "`=` with a collection may give either side a value; write `:=`, or `==` to compare",
            ));
        }
        self.insides(side)
    }
}

fn is_written_out(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Array { .. } | Expr::Set { .. } | Expr::Object { .. }
    )
}

/// Whether an expression is the same whatever it is given.
fn constant(expr: &Expr) -> bool {
    is_constant(expr) || is_written_out(expr) && parts(expr).into_iter().all(constant)
}

#[cfg(test)]
mod tests {
    use super::super::inspect::names;
    use super::super::source::parse;
    use super::*;

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
                "a if every x in [[input.x]] { x == [x] }",
                "a if every x in W([[input.x]]) { x == W([x]) }",
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

    #[test]
    fn what_cannot_be_weighed_is_refused() {
        for lines in [
            "a if { x = [input, input]; x == 1 }",
            "a if { some x; [input, input] = x; x == 1 }",
            "a if { [x, [1]] = [[input, input], y]; x == y }",
            "a if { count([x | x := input.x]) > 0; x = [input, input]; x == 1 }",
            "a if { {x: _} := input.x; x = {input}; x == 1 }",
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
}
