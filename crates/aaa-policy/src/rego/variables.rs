//! Variables that get no value, and those that nobody uses.
//!
//! The engine finds the first kind itself, but for variables that stand in a negated expression only: it takes them for loops, where Rego
//! has no value for them, and would decide otherwise than OPA, which refuses the policy. Variables that are not used are no
//! error of the language; they are how a slip of the pen shows.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{
    AssignOp, Expr, Literal, LiteralStmt, Module, Query, Rule, RuleHead, Span,
};

use super::error::{Place, PolicyError};
use super::inspect::head;
use super::walk::Names;

/// Refuses variables that get no value.
///
/// # Errors
/// The first of them.
pub(super) fn check(module: &Module, names: &Names) -> Result<(), PolicyError> {
    let given = ["input", "data"].into_iter();
    let own = names.rules.iter().chain(names.aliases.keys());
    let imported = module.imports.iter().map(|import| alias(import).text());
    let global = Scope {
        outer: None,
        names: given
            .chain(own.map(String::as_str))
            .chain(imported)
            .collect(),
    };
    for rule in &module.policy {
        let (head, bodies) = match rule.as_ref() {
            Rule::Spec { head, bodies, .. } => (head, bodies),
            Rule::Default { value, .. } => {
                global.comprehensions(&[value])?;
                continue;
            }
        };
        let mut scope = global.inner();
        if let RuleHead::Func { args, .. } = head {
            for arg in args {
                scope.bind(arg);
            }
        }
        let values = values(head);
        if bodies.is_empty() {
            scope.comprehensions(&values)?;
        }
        for body in bodies {
            let mut values = values.clone();
            values.extend(body.assign.as_ref().map(|assign| assign.value.as_ref()));
            scope.query(&body.query, &values)?;
        }
    }
    Ok(())
}

/// Names that have a value, and those further out.
struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    names: BTreeSet<&'a str>,
}

impl<'a> Scope<'a> {
    fn inner(&'a self) -> Scope<'a> {
        Scope {
            outer: Some(self),
            names: BTreeSet::new(),
        }
    }

    fn has(&self, name: &str) -> bool {
        self.names.contains(name) || self.outer.is_some_and(|outer| outer.has(name))
    }

    fn bind(&mut self, expr: &'a Expr) {
        each_variable(expr, &mut |span| {
            self.names.insert(span.text());
        });
    }

    /// A query, and what is made of its values.
    fn query(&self, query: &Query, heads: &[&Expr]) -> Result<(), PolicyError> {
        let mut scope = self.inner();
        for statement in &query.stmts {
            if !matches!(statement.literal, Literal::NotExpr { .. }) {
                for expr in expressions(statement) {
                    scope.bind(expr);
                }
            }
        }
        for statement in &query.stmts {
            if let Literal::NotExpr { expr, .. } = &statement.literal {
                let mut without = None;
                each_variable(expr, &mut |span| {
                    if without.is_none() && !scope.has(span.text()) {
                        without = Some(span);
                    }
                });
                if let Some(span) = without {
                    return Err(PolicyError::at(
                        Place::of(span),
                        format!(
                            "`{}` gets no value: it stands behind `not` only",
                            span.text()
                        ),
                    ));
                }
            }
            scope.comprehensions(&expressions(statement))?;
            if let Literal::Every {
                key, value, query, ..
            } = &statement.literal
            {
                let mut inner = scope.inner();
                inner
                    .names
                    .extend(key.iter().chain([value]).map(Span::text));
                inner.query(query, &[])?;
            }
        }
        scope.comprehensions(heads)
    }

    fn comprehensions(&self, exprs: &[&Expr]) -> Result<(), PolicyError> {
        for expr in exprs {
            match comprehension(expr) {
                Some((heads, query)) => self.query(query, &heads)?,
                None => self.comprehensions(&parts(expr))?,
            }
        }
        Ok(())
    }
}

/// What a rule declares, wherever in it.
pub(super) fn declared_in(rule: &Rule) -> BTreeSet<&str> {
    let mut seen = Seen::default();
    seen.rule(rule);
    seen.declared.into_keys().collect()
}

/// What is declared or imported and never used, in the order of lines.
pub(super) fn unused(module: &Module) -> Vec<PolicyError> {
    let mut found = Vec::new();
    let mut everywhere = BTreeSet::new();
    for rule in &module.policy {
        let mut seen = Seen::default();
        seen.rule(rule);
        let unused = seen
            .declared
            .iter()
            .filter(|(name, _)| !seen.used.contains(*name) && **name != "_");
        found.extend(unused.map(|(_, span)| never_used("the variable", span)));
        everywhere.extend(seen.used);
    }
    for import in &module.imports {
        let keywords = ["rego", "future"].contains(&super::inspect::root(&import.refr).as_str());
        let name = alias(import);
        if !keywords && !everywhere.contains(name.text()) {
            found.push(never_used("the import", name));
        }
    }
    found.sort_by_key(PolicyError::line);
    found
}

fn never_used(what: &str, name: &Span) -> PolicyError {
    let problem = format!("{what} `{}` is never used", name.text());
    PolicyError::at(Place::of(name), problem)
}

/// What was seen of one rule. Names count wherever they stand in it: one that is used in another place than it was meant for is not found.
#[derive(Default)]
struct Seen<'a> {
    declared: BTreeMap<&'a str, &'a Span>,
    used: BTreeSet<&'a str>,
}

impl<'a> Seen<'a> {
    fn rule(&mut self, rule: &'a Rule) {
        for index in parts(head(rule)) {
            self.expr(index);
        }
        match rule {
            Rule::Default { value, .. } => self.expr(value),
            Rule::Spec { head, bodies, .. } => {
                if let RuleHead::Func { args, .. } = head {
                    for arg in args {
                        self.declare(arg);
                    }
                }
                for value in values(head) {
                    self.expr(value);
                }
                for body in bodies {
                    if let Some(assign) = &body.assign {
                        self.expr(&assign.value);
                    }
                    self.query(&body.query);
                }
            }
        }
    }

    fn query(&mut self, query: &'a Query) {
        for statement in &query.stmts {
            match &statement.literal {
                Literal::SomeVars { vars, .. } => {
                    let vars = vars.iter().map(|span| (span.text(), span));
                    self.declared.extend(vars);
                }
                Literal::SomeIn {
                    key,
                    value,
                    collection,
                    ..
                } => {
                    for pattern in key.iter().chain([value]) {
                        self.declare(pattern);
                    }
                    self.expr(collection);
                }
                Literal::Every { domain, query, .. } => {
                    self.expr(domain);
                    self.query(query);
                }
                Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
            }
            for with in &statement.with_mods {
                self.expr(&with.refr);
                self.expr(&with.r#as);
            }
        }
    }

    fn expr(&mut self, expr: &'a Expr) {
        if let Some((heads, query)) = comprehension(expr) {
            self.query(query);
            for head in heads {
                self.expr(head);
            }
            return;
        }
        match expr {
            Expr::Var { span, .. } => {
                self.used.insert(span.text());
            }
            Expr::AssignExpr {
                op: AssignOp::ColEq,
                lhs,
                rhs,
                ..
            } => {
                self.declare(lhs);
                return self.expr(rhs);
            }
            Expr::Call { fcn, .. } => self.expr(fcn),
            _ => {}
        }
        for part in parts(expr) {
            self.expr(part);
        }
    }

    /// The variables of a pattern are declared, and what else stands in it is used.
    fn declare(&mut self, pattern: &'a Expr) {
        match pattern {
            Expr::Var { span, .. } => {
                self.declared.insert(span.text(), span);
            }
            Expr::Array { items, .. } => items.iter().for_each(|item| self.declare(item)),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key);
                    self.declare(value);
                }
            }
            other => self.expr(other),
        }
    }
}

/// What a rule's head makes: keys and a value.
pub(super) fn values(head: &RuleHead) -> Vec<&Expr> {
    let (refr, value) = match head {
        RuleHead::Compr { refr, assign, .. } | RuleHead::Func { refr, assign, .. } => {
            (refr, assign.as_ref().map(|assign| &assign.value))
        }
        RuleHead::Set { refr, key, .. } => (refr, key.as_ref()),
    };
    let mut values: Vec<&Expr> = value.into_iter().map(AsRef::as_ref).collect();
    let mut at = refr;
    while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = at.as_ref() {
        if let Expr::RefBrack { index, .. } = at.as_ref() {
            values.push(index);
        }
        at = refr;
    }
    values
}

/// The queries of a rule, none where it has no body, each with what is made of its values: a default has only its own, and so has an `else`.
pub(super) fn queries(rule: &Rule) -> Vec<(Option<&Query>, Vec<&Expr>)> {
    let (head, bodies) = match rule {
        Rule::Default { value, .. } => return vec![(None, vec![value])],
        Rule::Spec { head, bodies, .. } => (head, bodies),
    };
    if bodies.is_empty() {
        return vec![(None, values(head))];
    }
    let with_values = bodies.iter().map(|body| {
        let mut made = if body.is_else {
            Vec::new()
        } else {
            values(head)
        };
        made.extend(body.assign.as_ref().map(|assign| assign.value.as_ref()));
        (Some(body.query.as_ref()), made)
    });
    with_values.collect()
}

/// The name that an import has in the module.
pub(super) fn alias(import: &regorus::unstable::Import) -> &Span {
    match (&import.r#as, import.refr.as_ref()) {
        (Some(alias), _) => alias,
        (None, Expr::RefDot { field, .. }) => &field.0,
        (None, Expr::RefBrack { index, .. }) => index.span(),
        (None, other) => other.span(),
    }
}

/// The expressions of a statement, without queries in it.
pub(super) fn expressions(statement: &LiteralStmt) -> Vec<&Expr> {
    let mut found: Vec<&Expr> = match &statement.literal {
        Literal::SomeVars { .. } => Vec::new(),
        Literal::SomeIn {
            key,
            value,
            collection,
            ..
        } => membership(key.as_deref(), value, collection),
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => vec![expr],
        Literal::Every { domain, .. } => vec![domain],
    };
    found.extend(statement.with_mods.iter().map(|with| with.r#as.as_ref()));
    found
}

/// What `key, value in collection` is made of.
fn membership<'a>(key: Option<&'a Expr>, value: &'a Expr, collection: &'a Expr) -> Vec<&'a Expr> {
    key.into_iter().chain([value, collection]).collect()
}

/// A comprehension: what is collected, and from which query.
pub(super) fn comprehension(expr: &Expr) -> Option<(Vec<&Expr>, &Query)> {
    match expr {
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            Some((vec![term], query))
        }
        Expr::ObjectCompr {
            key, value, query, ..
        } => Some((vec![key, value], query)),
        _ => None,
    }
}

/// The variables that a pattern gives a value.
pub(super) fn declared<'a>(pattern: &'a Expr, found: &mut impl FnMut(&'a Span)) {
    match pattern {
        Expr::Var { span, .. } => found(span),
        Expr::Array { items, .. } => items.iter().for_each(|item| declared(item, found)),
        Expr::Object { fields, .. } => {
            for (_, _, value) in fields {
                declared(value, found);
            }
        }
        _ => {}
    }
}

/// The variables of an expression outside of comprehensions.
pub(super) fn each_variable<'a>(expr: &'a Expr, found: &mut impl FnMut(&'a Span)) {
    if let Expr::Var { span, .. } = expr {
        found(span);
    }
    for part in parts(expr) {
        each_variable(part, found);
    }
}

/// What an expression is made of, without the names of functions and the insides of comprehensions.
pub(super) fn parts(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            items.iter().map(AsRef::as_ref).collect()
        }
        Expr::Object { fields, .. } => fields
            .iter()
            .flat_map(|(_, key, value)| [key.as_ref(), value.as_ref()])
            .collect(),
        Expr::Call { params, .. } => params.iter().map(AsRef::as_ref).collect(),
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership {
            key,
            value,
            collection,
            ..
        } => membership(key.as_deref(), value, collection),
        Expr::RefDot { refr, .. } => vec![refr],
        Expr::RefBrack { refr, index, .. } => vec![refr, index],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::inspect::inspect;
    use super::super::source::parse;

    fn found(lines: &str) -> Result<Vec<String>, String> {
        let text = format!("package io.choria.aaasvc\nimport rego.v1\n{lines}\n");
        let parsed = parse(&text, 64 << 10).map_err(|error| error.to_string())?;
        let inspection = inspect(&parsed.module).map_err(|error| error.to_string())?;
        Ok(inspection.unused.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn variables_behind_not_need_a_value_from_elsewhere() {
        for (body, name) in [
            ("not input.data.tags[y] == y", "y"),
            ("not input.data.tags[_] == 1", "_"),
            ("some y; not input.data[y]", "y"),
            ("not f(1, y)", "y"),
            ("count([1 | not input.data[z]]) > 0", "z"),
            (
                "xs := [y | some y in input.xs]; not input.data[y]; count(xs) > 0",
                "y",
            ),
            ("every x in input.xs { not input.data[x][y] }", "y"),
        ] {
            let said = found(&format!("allow if {{ {body} }}")).unwrap_err();
            let says = format!("line 3: `{name}` gets no value: it stands behind `not` only");
            assert_eq!(said, says, "{body}");
        }
    }

    #[test]
    fn defaults_have_variables_too() {
        let said = found("default n := [1 | not input.data[z]]\nallow if count(n) > 0");
        let says = "line 3: `z` gets no value: it stands behind `not` only";
        assert_eq!(said, Err(says.to_owned()));
    }

    #[test]
    fn those_that_have_one_are_fine() {
        for lines in [
            "allow if { some y in input.xs; not input.data[y] }",
            "allow if { not input.data[y]; y := input.x }",
            "allow if { input.xs[i] == 1; not input.ys[i] }",
            "allow if { not input.ys[i] with input.x as i; i = 1 }",
            "allow if not denied[input.agent]\ndenied contains \"x\"",
            "allow if f(input.agent)\nf(a) if not input.data[a]",
            "allow if every k, x in input.xs { not input.data[k][x] }",
            "allow if not count([x | some x in input.xs]) > 1",
            "allow if not count([x | x := input.xs[_]]) > 1",
            "allow if { x := input.x; count([1 | not input.data[x]]) > 0 }",
            "allow if { input.a } else := false if { x := 1; not input.data[x] }",
        ] {
            assert_eq!(found(lines), Ok(Vec::new()), "{lines}");
        }
        let text = "import data.limits\nimport input.data as d\nallow if not limits[d.x]";
        assert_eq!(found(text), Ok(Vec::new()));
    }

    #[test]
    fn what_is_never_used_is_found() {
        for (lines, says) in [
            (
                "allow if { x := input.agent }",
                "line 3: the variable `x` is never used",
            ),
            (
                "allow if { some x in input.xs }",
                "line 3: the variable `x` is never used",
            ),
            (
                "allow if { some i, x in input.xs; x > 1 }",
                "line 3: the variable `i` is never used",
            ),
            (
                "allow if { some x; input.xs[_] == 1 }",
                "line 3: the variable `x` is never used",
            ),
            (
                "allow if { [x, y] := input.xs; y > 1 }",
                "line 3: the variable `x` is never used",
            ),
            (
                "f(x, y) if y > 1\nallow if f(1, 2)",
                "line 3: the variable `x` is never used",
            ),
            (
                "import data.limits\nallow if true",
                "line 3: the import `limits` is never used",
            ),
            (
                "allow if count([y | some x in input.xs; y := 1]) > 0",
                "line 3: the variable `x` is never used",
            ),
        ] {
            assert_eq!(found(lines), Ok(vec![says.to_owned()]), "{lines}");
        }
        for lines in [
            "allow if { some x in input.xs; x > 1 }",
            "allow if { _ := input.xs; some _, x in input.ys; input.xs[x] }",
            "f(x) := [y | some y in x]\nallow if f(input.xs) == []",
            "allow if { x := input.x; input.y with input.z as x }",
            "names[r.name] := r.size if some r in input.rows\nallow if names.a",
            "set contains x if some x in input.xs\nallow if set.a",
        ] {
            assert_eq!(found(lines), Ok(Vec::new()), "{lines}");
        }
    }
}
