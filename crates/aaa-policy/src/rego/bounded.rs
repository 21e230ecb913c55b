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
use super::variables::{alias, comprehension, declared, each_variable, parts, queries};
use super::walk::{Names, dotted, fixed, is_constant};
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
    let everywhere = Variables {
        own: imported
            .filter(|name| !names.aliases.contains_key(*name))
            .chain(["input"])
            .collect(),
        computed: BTreeSet::new(),
    };
    for rule in &module.policy {
        let mut writer = Writer {
            names,
            written,
            variables: vec![everywhere.clone()],
        };
        if let Rule::Spec {
            head: RuleHead::Func { args, .. },
            ..
        } = rule.as_ref()
        {
            for arg in args {
                writer.declare(arg);
            }
        }
        for (query, made) in queries(rule) {
            match rule.as_ref() {
                Rule::Spec { .. } => writer.query(query, &made)?,
                // No call may stand there itself.
                Rule::Default { value, .. } => writer.inside(value)?,
            }
        }
    }
    Ok(())
}

/// Variables of a query.
#[derive(Clone, Default)]
struct Variables<'a> {
    /// Those that have their value from elsewhere than `=`.
    own: BTreeSet<&'a str>,
    /// Those that `=` gives what is computed, or that run over the places in a collection.
    computed: BTreeSet<&'a str>,
}

struct Writer<'a, 'w, 't> {
    names: &'a Names,
    written: &'w mut Written<'t>,
    /// Of each query around, and of this one.
    variables: Vec<Variables<'a>>,
}

impl<'a> Writer<'a, '_, '_> {
    /// A query, and what is made of its values.
    fn query(&mut self, query: Option<&'a Query>, made: &[&'a Expr]) -> Result<(), PolicyError> {
        self.variables.push(Variables::default());
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
                self.places(expr);
                match expr.as_ref() {
                    Expr::AssignExpr {
                        op: AssignOp::ColEq,
                        lhs,
                        ..
                    } => self.declare(lhs),
                    Expr::AssignExpr { lhs, rhs, .. } => {
                        self.equal(lhs, rhs);
                        self.equal(rhs, lhs);
                    }
                    _ => {}
                }
            }
            Literal::SomeVars { .. } | Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }

    fn declare(&mut self, pattern: &'a Expr) {
        if let Some(variables) = self.variables.last_mut() {
            declared(pattern, &mut |span| {
                variables.own.insert(span.text());
            });
        }
    }

    /// Takes down what one side of `=` gets of the other.
    fn equal(&mut self, side: &'a Expr, other: &'a Expr) {
        let computed = match other {
            Expr::Var { span, .. } => self.has(span.text()),
            other if is_written_out(other) && is_written_out(side) => self.stands(other),
            other => !is_written_out(other) || self.is_bound(other),
        };
        if computed && let Some(variables) = self.variables.last_mut() {
            declared(side, &mut |span| {
                variables.computed.insert(span.text());
            });
        }
    }

    /// Takes down the variables that run over the places in a collection.
    fn places(&mut self, expr: &'a Expr) {
        if let Expr::RefBrack { index, .. } = expr
            && let Expr::Var { span, .. } = index.as_ref()
            && let Some(variables) = self.variables.last_mut()
        {
            variables.computed.insert(span.text());
        }
        for part in parts(expr) {
            self.places(part);
        }
    }

    fn statement(&mut self, statement: &'a LiteralStmt) -> Result<(), PolicyError> {
        for with in &statement.with_mods {
            let is_value = ["input", "data"].contains(&root(&with.refr).as_str());
            // It becomes a part of what it may be taken from.
            if is_value && !constant(&with.r#as) {
                self.weigh(&with.r#as);
            }
            self.inside(&with.r#as)?;
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
                self.variables.push(Variables {
                    own: names.collect(),
                    computed: BTreeSet::new(),
                });
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

    /// Whether an expression names a rule, several, or a part of one, which is several where rules have dotted names.
    fn is_rule(&self, expr: &Expr) -> bool {
        let path = fixed(expr);
        let (first, rest) = path.split_once('.').unwrap_or((&path, ""));
        if self.has(first) {
            return false;
        }
        let path = match self.names.aliases.get(first) {
            Some(imported) => format!("{imported}.{rest}."),
            None => format!("{path}."),
        };
        let package = format!("data.{PACKAGE}.");
        self.names.rules.contains(first)
            || path.starts_with(&package)
            || path.starts_with("data.") && package.starts_with(path.trim_end_matches('.'))
    }

    /// Whether a variable has its value from elsewhere than `=`.
    fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|these| these.own.contains(name))
    }

    /// Whether everything in an expression has a value, whatever `=` makes of it.
    fn stands(&self, expr: &Expr) -> bool {
        self.all(expr, |name| self.has(name))
    }

    /// The same, or one that is computed.
    fn is_bound(&self, expr: &Expr) -> bool {
        let computed = self.variables.iter().map(|these| &these.computed);
        self.all(expr, |name| {
            self.has(name) || computed.clone().any(|names| names.contains(name))
        })
    }

    /// Whether that is so of all variables in an expression. What is no variable has a value by itself.
    fn all(&self, expr: &Expr, given: impl Fn(&str) -> bool) -> bool {
        let mut all = true;
        each_variable(expr, &mut |span| {
            let name = span.text();
            all &= given(name)
                || name == "data"
                || self.names.rules.contains(name)
                || self.names.aliases.contains_key(name);
        });
        all
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
                self.values(expr)
            }
            Expr::BoolExpr { .. } | Expr::Membership { .. } | Expr::ArithExpr { .. } => {
                self.values(expr)
            }
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
        let pattern = match other {
            Expr::Var { span, .. } => self.has(span.text()) || self.is_rule(other),
            other => !is_written_out(other) || constant(other),
        };
        if pattern {
            return self.insides(side);
        }
        let (bound, given) = if is_written_out(other) {
            (self.stands(side), self.stands(other))
        } else {
            (self.is_bound(side), false)
        };
        if bound {
            return self.value(side);
        }
        if given {
            return self.insides(side);
        }
        Err(PolicyError::at(
            Place::of(side.span()),
            "`=` with a collection may give either side a value; write `:=`, or `==` to compare",
        ))
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
#[path = "bounded_tests.rs"]
mod tests;
