//! What OPA demands of operands: that they have a value.
//!
//! `not startswith(input.data.path, "/etc")` has no value in OPA where the path has none, so it allows nothing; the engine takes it for
//! true. OPA moves operands out of the negation. The same is done here, in the text that the engine gets: `_ = (input.data.path); `
//! goes before the `not`.
//!
//! Likewise `x in input.data.tags` has no value in OPA where there are no tags, and is false to the engine. By itself either allows
//! nothing; where the answer is kept or compared, as in `there := x in input.data.tags`, the operands are demanded before.

use std::borrow::Cow;
use std::collections::BTreeSet;

use regorus::unstable::{AssignOp, BoolOp, Expr, Literal, LiteralStmt, Module, Query, Rule, Span};

use super::error::{Place, PolicyError};
use super::variables::{alias, comprehension, each_variable, expressions, parts, queries};
use super::walk::Names;
use super::written::{Side, Written};

/// Adds what the negations of a module demand, and what is kept of `in`; `v0` is the older syntax.
///
/// # Errors
/// When that cannot be written on one line.
pub(super) fn demand(
    module: &Module,
    names: &Names,
    v0: bool,
    written: &mut Written<'_>,
) -> Result<(), PolicyError> {
    let mut writer = Writer {
        written,
        names,
        imported: module
            .imports
            .iter()
            .map(|import| alias(import).text())
            .collect(),
    };
    for rule in &module.policy {
        for (query, kept) in queries(rule) {
            match (query, rule.as_ref()) {
                (Some(query), _) => writer.query(query, &kept)?,
                (None, Rule::Spec { .. }) => writer.head(rule.span(), &kept, v0)?,
                (None, Rule::Default { value, .. }) => writer.inside(value)?,
            }
        }
    }
    Ok(())
}

struct Writer<'a, 'w> {
    written: &'a mut Written<'w>,
    names: &'a Names,
    imported: BTreeSet<&'a str>,
}

impl Writer<'_, '_> {
    /// What a rule without a body keeps.
    fn head(&mut self, rule: &Span, kept: &[&Expr], v0: bool) -> Result<(), PolicyError> {
        let mut wanted = Vec::new();
        for value in kept {
            self.inside(value)?;
            self.asked(value, true, &mut wanted);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let demands = self.demands(&wanted, "", rule)?;
        let body = if v0 { " {" } else { " if {" };
        let (_, end) = self.written.quoted(rule);
        let body = format!("{body} {} }}", demands.trim_end_matches([';', ' ']));
        self.written.add(end, Side::EndsStatement, body);
        Ok(())
    }

    /// A query, and what is kept of it.
    fn query(&mut self, query: &Query, kept: &[&Expr]) -> Result<(), PolicyError> {
        let mut wanted = Vec::new();
        for value in kept {
            self.inside(value)?;
            self.asked(value, true, &mut wanted);
        }
        for statement in &query.stmts {
            match &statement.literal {
                Literal::NotExpr { expr, .. } => self.operands(expr, &mut wanted),
                Literal::Expr { expr, .. } => self.asked(expr, false, &mut wanted),
                Literal::Every { domain, .. } => self.asked(domain, true, &mut wanted),
                Literal::SomeIn { collection, .. } => self.asked(collection, true, &mut wanted),
                Literal::SomeVars { .. } => {}
            }
            // What is kept is demanded before the first.
            self.before(statement, &std::mem::take(&mut wanted))?;
            for expr in expressions(statement) {
                self.inside(expr)?;
            }
            if let Literal::Every { query, .. } = &statement.literal {
                self.query(query, &[])?;
            }
        }
        Ok(())
    }

    /// The queries within an expression.
    fn inside(&mut self, expr: &Expr) -> Result<(), PolicyError> {
        if let Some((heads, query)) = comprehension(expr) {
            return self.query(query, &heads);
        }
        parts(expr)
            .into_iter()
            .try_for_each(|part| self.inside(part))
    }

    /// The operands of each `in` whose answer is kept or compared. What runs over the elements of a collection has a value each time.
    fn asked<'e>(&self, expr: &'e Expr, kept: bool, wanted: &mut Vec<&'e Expr>) {
        if comprehension(expr).is_some() {
            return;
        }
        if kept && matches!(expr, Expr::Membership { .. }) {
            let mut operands = Vec::new();
            for part in parts(expr) {
                self.operand(part, &mut operands);
            }
            wanted.extend(operands.into_iter().filter(|operand| {
                let mut runs = false;
                each_variable(operand, &mut |span| runs |= span.text() == "_");
                !runs
            }));
        }
        for part in parts(expr) {
            self.asked(part, true, wanted);
        }
    }

    fn demands(&self, wanted: &[&Expr], with: &str, at: &Span) -> Result<String, PolicyError> {
        let demand = |operand: &&Expr| {
            let demand = format!("_ = ({}) {with}; ", self.written.whole(operand.span()));
            one_line(&demand).map(Cow::into_owned)
        };
        let demands: Option<String> = wanted.iter().map(demand).collect();
        demands.ok_or_else(|| {
            PolicyError::at(
                Place::of(at),
                "what stands behind `not`, or around `in`, is too long; give its parts names first",
            )
        })
    }

    /// Demands values before a statement.
    fn before(&mut self, statement: &LiteralStmt, wanted: &[&Expr]) -> Result<(), PolicyError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let with: Vec<&str> = statement
            .with_mods
            .iter()
            .map(|with| with.span.text())
            .collect();
        let mut addition = self.demands(wanted, &with.join(" "), &statement.span)?;
        let (start, end) = self.written.quoted(&statement.span);
        // A body without braces has room for one expression only.
        let before = self.written.text().get(..start).unwrap_or_default();
        if before.trim_end().ends_with("if") {
            addition.insert_str(0, "{ ");
            self.written.add(end, Side::EndsStatement, " }");
        }
        self.written.add(start, Side::BeginsStatement, addition);
        Ok(())
    }

    /// The operands of a negated expression that must have a value. A reference by itself, or compared with `==`, need have none.
    fn operands<'e>(&self, expr: &'e Expr, wanted: &mut Vec<&'e Expr>) {
        match expr {
            Expr::Var { .. } => {}
            Expr::RefDot { refr, .. } => self.referred(refr, wanted),
            Expr::RefBrack { refr, index, .. } => {
                self.referred(refr, wanted);
                self.operand(index, wanted);
            }
            Expr::BoolExpr {
                op: BoolOp::Eq,
                lhs,
                rhs,
                ..
            }
            | Expr::AssignExpr {
                op: AssignOp::Eq,
                lhs,
                rhs,
                ..
            } => {
                for side in [lhs, rhs] {
                    match side.as_ref() {
                        Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                            self.operands(side, wanted);
                        }
                        other => self.operand(other, wanted),
                    }
                }
            }
            other => {
                for part in parts(other) {
                    self.operand(part, wanted);
                }
            }
        }
    }

    /// What a reference begins with: a name, or what is computed and so must have a value.
    fn referred<'e>(&self, expr: &'e Expr, wanted: &mut Vec<&'e Expr>) {
        match expr {
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                self.operands(expr, wanted);
            }
            other => self.operand(other, wanted),
        }
    }

    fn operand<'e>(&self, expr: &'e Expr, wanted: &mut Vec<&'e Expr>) {
        match expr {
            // Variables of the rule have values; rules may have none.
            Expr::Var { span, .. } => {
                let name = span.text();
                if self.names.rules.contains(name) || self.imported.contains(name) {
                    wanted.push(expr);
                }
            }
            Expr::RefDot { .. } | Expr::RefBrack { .. } => wanted.push(expr),
            Expr::Call { .. }
            | Expr::UnaryExpr { .. }
            | Expr::BinExpr { .. }
            | Expr::BoolExpr { .. }
            | Expr::ArithExpr { .. }
                if plain(expr) =>
            {
                wanted.push(expr);
            }
            other => {
                for part in parts(other) {
                    self.operand(part, wanted);
                }
            }
        }
    }
}

/// Whether an expression may be evaluated a second time as it stands: nothing in it is negated, or false where it should have no value.
fn plain(expr: &Expr) -> bool {
    comprehension(expr).is_none()
        && !matches!(expr, Expr::Membership { .. })
        && parts(expr).into_iter().all(plain)
}

/// The same on one line; `None` when a comment or a text could run over the end of one.
fn one_line(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['\n', '\r']) {
        return Some(Cow::Borrowed(text));
    }
    (!text.contains(['#', '`'])).then(|| Cow::Owned(text.replace(['\n', '\r'], " ")))
}

#[cfg(test)]
mod tests {
    use super::super::inspect::names;
    use super::super::source::parse;
    use super::*;

    const HEAD: &str = "package io.choria.aaasvc\nimport rego.v1\n";

    fn written(lines: &str) -> Result<String, PolicyError> {
        let text = format!("{HEAD}{lines}");
        let module = parse(&text, 64 << 10).unwrap().module;
        let names = names(&module).unwrap();
        let mut written = Written::new(&text);
        demand(&module, &names, false, &mut written)?;
        let written = written.finish()?;
        // It is still a policy.
        parse(&written, 64 << 10).unwrap();
        Ok(written.strip_prefix(HEAD).unwrap().to_owned())
    }

    #[test]
    fn operands_behind_not_are_demanded_before_it() {
        for (lines, wanted) in [
            (
                "allow if { not startswith(input.x, \"a\") }",
                "allow if { _ = (input.x) ; not startswith(input.x, \"a\") }",
            ),
            (
                "allow if not input.x in input.y",
                "allow if { _ = (input.x) ; _ = (input.y) ; not input.x in input.y }",
            ),
            (
                "allow if not (input.x > 1)\nb if true",
                "allow if { _ = (input.x) ; not (input.x > 1) }\nb if true",
            ),
            (
                "allow if { not lower(input.x) == \"a\" with input.x as input.y }",
                "allow if { _ = (lower(input.x)) with input.x as input.y; not lower(input.x) == \"a\" with input.x as input.y }",
            ),
            (
                "allow if count([x | x := input.z; not x in\n input.y]) > 0",
                "allow if count([x | x := input.z; _ = (input.y) ; not x in\n input.y]) > 0",
            ),
            (
                "allow if not denied[input.x]\ndenied contains 1",
                "allow if { _ = (input.x) ; not denied[input.x] }\ndenied contains 1",
            ),
            (
                "allow if { not f(agent) }\nagent := input.x\nf(x) if x",
                "allow if { _ = (agent) ; not f(agent) }\nagent := input.x\nf(x) if x",
            ),
            (
                "allow if not f(input.x == \"a\")\nf(x) if x",
                "allow if { _ = (input.x == \"a\") ; not f(input.x == \"a\") }\nf(x) if x",
            ),
            (
                "allow if not f(\"a\" == input.x) == `b`\nf(x) if x",
                "allow if { _ = (f(\"a\" == input.x)) ; not f(\"a\" == input.x) == `b` }\nf(x) if x",
            ),
            (
                "allow if not json.unmarshal(input.x).a",
                "allow if { _ = (json.unmarshal(input.x)) ; not json.unmarshal(input.x).a }",
            ),
            (
                "import input.x as y\nallow if not f(y)\nf(x) if x",
                "import input.x as y\nallow if { _ = (y) ; not f(y) }\nf(x) if x",
            ),
            (
                "allow := false if input.a\nelse := true if not input.x != 1",
                "allow := false if input.a\nelse := true if { _ = (input.x) ; not input.x != 1 }",
            ),
            (
                "default a := [1 | not startswith(input.x, \"a\")]\nallow if count(a) == 1",
                "default a := [1 | _ = (input.x) ; not startswith(input.x, \"a\")]\nallow if count(a) == 1",
            ),
            (
                "allow if every x in input.xs { not f(x, input.y) }\nf(_, _) if true",
                "allow if every x in input.xs { _ = (input.y) ; not f(x, input.y) }\nf(_, _) if true",
            ),
        ] {
            assert_eq!(written(lines).unwrap(), wanted);
        }
    }

    #[test]
    fn operands_of_in_are_demanded_where_the_answer_is_kept() {
        for (lines, wanted) in [
            (
                "allow if { there := 1 in input.xs; not there }",
                "allow if { _ = (input.xs) ; there := 1 in input.xs; not there }",
            ),
            (
                "allow if (input.x in input.xs) == false",
                "allow if { _ = (input.x) ; _ = (input.xs) ; (input.x in input.xs) == false }",
            ),
            (
                "there := (1 in input.xs)\nallow if there == false",
                "there := (1 in input.xs) if { _ = (input.xs) }\nallow if there == false",
            ),
            (
                "there := 1 in input.xs if input.y\nelse := 2 in input.xs if input.z\nallow if not there",
                "there := 1 in input.xs if { _ = (input.xs) ; input.y }\nelse := 2 in input.xs if { _ = (input.xs) ; input.z }\nallow if not there",
            ),
            (
                "there := 1 in input.xs if { input.y } { input.z }\nallow if there == false",
                "there := 1 in input.xs if { _ = (input.xs) ; input.y } { _ = (input.xs) ; input.z }\nallow if there == false",
            ),
            (
                "allow if [(x in input.ys) | some x in input.xs] == [false]",
                "allow if [(x in input.ys) | _ = (input.ys) ; some x in input.xs] == [false]",
            ),
            (
                "allow if { x := input.xs[_] in input.ys; not x }",
                "allow if { _ = (input.ys) ; x := input.xs[_] in input.ys; not x }",
            ),
        ] {
            assert_eq!(written(lines).unwrap(), wanted);
        }
        for lines in [
            "allow if 1 in input.xs",
            "allow if { some x in input.xs; x in [1, 2] }",
            "allow if { x := 1 in [2, 3]; not x }",
        ] {
            assert_eq!(written(lines).unwrap(), lines);
        }
    }

    #[test]
    fn what_need_have_no_value_is_left_alone() {
        for lines in [
            "allow if not input.x",
            "allow if not input.x == 1",
            "allow if not input.x == input.y",
            "allow if not denied\ndenied if input.x",
            "allow if { x := input.x; not f(x) }\nf(x) if x > 1",
            "allow if not count([x | some x in input.xs]) > 0",
            "allow if startswith(input.x, \"a\")",
        ] {
            assert_eq!(written(lines).unwrap(), lines);
        }
    }

    #[test]
    fn what_cannot_be_put_on_one_line_is_refused() {
        let error = written("allow if { not f(lower(input.x # x\n)) }\nf(x) if x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 3: what stands behind `not`, or around `in`, is too long; give its parts names first"
        );
    }
}
