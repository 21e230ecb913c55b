//! What OPA's type checker refuses: a function that is given what it never takes, values that are compared and never the same, a member
//! that is never there.
//!
//! To the engine such things have no value when it comes to them, so that `not` of them holds; OPA does not compile them. Nothing is
//! refused here that OPA compiles: where a type is not certain, nothing is said of it.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    ArithOp, AssignOp, BinOp, BoolOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule,
    RuleBody, RuleHead, Span,
};

use super::error::{Place, PolicyError};
use super::inspect::{head, root};
use super::signatures::{self, Signature};
use super::types::Type;
use super::variables::{alias, comprehension, each_variable, parts};
use super::walk::{Names, dotted};

/// How many rules may be looked at for the sake of one another. What is further away is not certain.
const DEEPEST: u32 = 32;

/// How arguments are counted.
const ORDINALS: [&str; 4] = ["first", "second", "third", "fourth"];

/// Looks for what OPA's type checker refuses, in the order of rules.
pub(super) fn check(module: &Module, names: &Names) -> Vec<PolicyError> {
    let mut checker = Checker {
        names,
        given: ["input", "data"]
            .into_iter()
            .chain(module.imports.iter().map(|import| alias(import).text()))
            .collect(),
        rules: BTreeMap::new(),
        known: BTreeMap::new(),
        scopes: Vec::new(),
        certain: true,
        depth: 0,
        problems: Vec::new(),
    };
    for rule in &module.policy {
        checker
            .rules
            .entry(root(head(rule)))
            .or_default()
            .push(rule);
    }
    let roots: Vec<String> = checker.rules.keys().cloned().collect();
    for name in roots {
        checker.named(&name);
    }
    checker.problems
}

/// What a name of the policy stands for.
#[derive(Clone)]
enum Known {
    /// It is being looked at.
    Pending,
    Rule(Type),
    Function(Signature),
}

struct Checker<'a> {
    names: &'a Names,
    /// Names that have a value and that nothing else is known of.
    given: BTreeSet<&'a str>,
    /// By the first part of their names.
    rules: BTreeMap<String, Vec<&'a Rule>>,
    known: BTreeMap<String, Known>,
    /// Variables of the rule at hand, from the outermost query inwards. One without a type may get its value from anywhere.
    scopes: Vec<BTreeMap<&'a str, Option<Type>>>,
    /// Whether each variable seen had its value before.
    certain: bool,
    depth: u32,
    problems: Vec<PolicyError>,
}

impl<'a> Checker<'a> {
    fn refuse(&mut self, span: &Span, problem: String) {
        self.problems
            .push(PolicyError::at(Place::of(span), problem));
    }

    /// Looks at all that is defined under a name.
    fn named(&mut self, name: &str) -> Known {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        let rules = self.rules.get(name).cloned().unwrap_or_default();
        if self.depth >= DEEPEST || rules.is_empty() {
            return Known::Pending;
        }
        self.known.insert(name.to_owned(), Known::Pending);
        self.depth += 1;
        let scopes = std::mem::take(&mut self.scopes);
        let certain = self.certain;
        let signatures: Vec<Signature> = rules.iter().map(|rule| self.rule(rule)).collect();
        self.certain = certain;
        self.scopes = scopes;
        self.depth -= 1;
        let known = match signatures.into_iter().reduce(either) {
            Some(signature) if self.names.functions.contains(name) => Known::Function(signature),
            Some(signature) => Known::Rule(signature.gives),
            None => Known::Pending,
        };
        self.known.insert(name.to_owned(), known.clone());
        known
    }

    /// Looks at one rule: what it takes, if it is a function, and what its name stands for.
    fn rule(&mut self, rule: &'a Rule) -> Signature {
        self.scopes = vec![BTreeMap::new()];
        let args = match rule {
            Rule::Default { args, .. }
            | Rule::Spec {
                head: RuleHead::Func { args, .. },
                ..
            } => args.as_slice(),
            Rule::Spec { .. } => &[],
        };
        for arg in args {
            self.declare(arg, true);
        }
        Signature {
            takes: args.iter().map(|arg| self.of(arg)).collect(),
            gives: match rule {
                Rule::Default { refr, value, .. } => {
                    let value = self.of(value);
                    self.under(refr, value)
                }
                Rule::Spec { head, bodies, .. } => self.defined(head, bodies),
            },
        }
    }

    fn defined(&mut self, head: &'a RuleHead, bodies: &'a [RuleBody]) -> Type {
        let mut values = Vec::new();
        if bodies.is_empty() {
            values.push(self.head(head, None));
        }
        for body in bodies {
            self.scopes.push(BTreeMap::new());
            self.query(&body.query);
            values.push(self.head(head, Some(body)));
            self.scopes.pop();
        }
        values.into_iter().reduce(Type::or).unwrap_or(Type::Any)
    }

    /// What a head defines, with a body of its rule.
    fn head(&mut self, head: &'a RuleHead, body: Option<&'a RuleBody>) -> Type {
        let of_body = body.and_then(|body| body.assign.as_ref());
        let is_else = body.is_some_and(|body| body.is_else);
        let (refr, value) = match head {
            RuleHead::Compr { refr, assign, .. } | RuleHead::Func { refr, assign, .. } => {
                let assign = of_body.or(assign.as_ref().filter(|_| !is_else));
                let value = assign.map(|assign| self.of(&assign.value));
                (refr, value.unwrap_or(Type::Boolean))
            }
            RuleHead::Set { refr, key, .. } => {
                let of = key.as_ref().map_or(Type::Any, |key| self.of(key));
                (refr, Type::Set(Box::new(of)).bounded())
            }
        };
        self.under(refr, value)
    }

    /// What the first part of a name stands for when the whole of it stands for this. There may be more under it.
    fn under(&mut self, name: &'a Expr, value: Type) -> Type {
        let (refr, object) = match name {
            Expr::RefDot { refr, field, .. } => (refr, with_member(&field.1, value)),
            Expr::RefBrack { refr, index, .. } => {
                let at = self.of(index);
                let object = match scalar(index) {
                    Some(key) => with_member(key, value),
                    None => Type::object_of(at, value),
                };
                (refr, object)
            }
            _ => return value,
        };
        self.under(refr, object.bounded())
    }

    fn query(&mut self, query: &'a Query) {
        for statement in &query.stmts {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &'a LiteralStmt) {
        match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                let vars = vars.iter().map(|var| (var.text(), None));
                if let Some(scope) = self.scopes.last_mut() {
                    scope.extend(vars);
                }
            }
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => {
                let (of, certain) = self.certainly(collection);
                let (keys, values) = (of.keys(), of.values());
                if values.is_none() {
                    self.refuse(
                        collection.span(),
                        format!("`some … in` goes over a collection, and is given {of}"),
                    );
                }
                if let Some(key) = key {
                    self.bind(key, keys.unwrap_or(Type::Any), certain);
                }
                self.bind(value, values.unwrap_or(Type::Any), certain);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expression(expr),
            // OPA's checker does not look into the body.
            Literal::Every { domain, .. } => {
                self.of(domain);
            }
        }
        for with in &statement.with_mods {
            self.of(&with.r#as);
        }
    }

    /// What a statement consists of. Only here OPA minds what is compared; within others `==` is a function that takes anything.
    fn expression(&mut self, expr: &'a Expr) {
        match expr {
            Expr::AssignExpr {
                op: AssignOp::ColEq,
                lhs,
                rhs,
                ..
            } => {
                let (of, certain) = self.certainly(rhs);
                self.of_itself(lhs, rhs);
                self.bind(lhs, of, certain);
            }
            Expr::AssignExpr { span, lhs, rhs, .. }
            | Expr::BoolExpr {
                op: BoolOp::Eq,
                span,
                lhs,
                rhs,
                ..
            } => {
                let (one, other) = (self.of(lhs), self.of(rhs));
                if !one.meets(&other) {
                    let never = format!("{one} and {other} are compared, which are never the same");
                    self.refuse(span, never);
                }
            }
            other => {
                self.of(other);
            }
        }
    }

    /// Refuses a variable that is made of itself: the engine finds no value for it, and no mistake.
    fn of_itself(&mut self, variable: &Expr, value: &'a Expr) {
        let name = variable.span().text();
        let mut there = false;
        each_variable(value, &mut |span| there |= span.text() == name);
        let known = self.given.contains(name)
            || self.rules.contains_key(name)
            || self.scopes.iter().any(|scope| scope.contains_key(name));
        if there && !known && matches!(variable, Expr::Var { .. }) {
            self.refuse(variable.span(), format!("`{name}` is made of itself"));
        }
    }

    /// What an expression comes to, and whether each variable in it had its value before.
    fn certainly(&mut self, expr: &'a Expr) -> (Type, bool) {
        let before = std::mem::replace(&mut self.certain, true);
        let of = self.of(expr);
        let certain = std::mem::replace(&mut self.certain, before);
        self.certain &= certain;
        (of, certain)
    }

    /// Declares the variables of a pattern, which takes this.
    fn bind(&mut self, pattern: &'a Expr, of: Type, certain: bool) {
        match pattern {
            Expr::Var { span, .. } => self.put(span.text(), certain.then_some(of)),
            Expr::Array { items, .. } => {
                for (place, item) in items.iter().enumerate() {
                    let of = of.member(&Value::from(place)).unwrap_or(Type::Any);
                    self.bind(item, of, certain);
                }
            }
            other => {
                self.declare(other, certain);
                self.of(other);
            }
        }
    }

    fn declare(&mut self, pattern: &'a Expr, certain: bool) {
        match pattern {
            Expr::Var { span, .. } => self.put(span.text(), certain.then_some(Type::Any)),
            Expr::Array { .. } | Expr::Object { .. } => {
                for part in parts(pattern) {
                    self.declare(part, certain);
                }
            }
            _ => {}
        }
    }

    fn put(&mut self, name: &'a str, of: Option<Type>) {
        // Each `_` is a variable of its own.
        if name != "_"
            && let Some(scope) = self.scopes.last_mut()
        {
            scope.insert(name, of);
        }
    }

    /// What an expression comes to.
    fn of(&mut self, expr: &'a Expr) -> Type {
        if let Some((_, query)) = comprehension(expr) {
            self.scopes.push(BTreeMap::new());
            self.query(query);
            let of = match expr {
                Expr::ArrayCompr { term, .. } => Type::array_of(self.of(term)),
                Expr::SetCompr { term, .. } => Type::Set(Box::new(self.of(term))),
                Expr::ObjectCompr { key, value, .. } => {
                    let key = self.of(key);
                    Type::object_of(key, self.of(value))
                }
                _ => Type::Any,
            };
            self.scopes.pop();
            return of.bounded();
        }
        match expr {
            Expr::String { value, .. }
            | Expr::RawString { value, .. }
            | Expr::Number { value, .. }
            | Expr::Bool { value, .. }
            | Expr::Null { value, .. } => Type::of_scalar(value),
            Expr::Var { span, .. } => self.variable(span.text()),
            Expr::Array { items, .. } if items.is_empty() => Type::array_of(Type::Any),
            Expr::Array { items, .. } => {
                Type::Array(items.iter().map(|item| self.of(item)).collect(), None).bounded()
            }
            Expr::Set { items, .. } => {
                let of = items.iter().map(|item| self.of(item)).reduce(Type::or);
                Type::Set(Box::new(of.unwrap_or(Type::Any))).bounded()
            }
            Expr::Object { fields, .. } => self.object(fields),
            Expr::Call { fcn, params, .. } => self.call(fcn, params),
            Expr::UnaryExpr { expr, .. } => {
                self.of(expr);
                Type::Number
            }
            Expr::RefDot { refr, field, .. } => {
                let of = self.of(refr);
                self.member(&of, &field.1, &field.0)
            }
            Expr::RefBrack { refr, index, .. } => self.lookup(refr, index),
            Expr::BinExpr {
                span, op, lhs, rhs, ..
            } => {
                let name = match op {
                    BinOp::Intersection => "&",
                    BinOp::Union => "|",
                };
                self.operator(name, span, lhs, rhs)
            }
            Expr::ArithExpr {
                span, op, lhs, rhs, ..
            } => {
                let name = match op {
                    ArithOp::Add => "+",
                    ArithOp::Sub => "-",
                    ArithOp::Mul => "*",
                    ArithOp::Div => "/",
                    ArithOp::Mod => "%",
                };
                self.operator(name, span, lhs, rhs)
            }
            Expr::BoolExpr {
                span, op, lhs, rhs, ..
            } => {
                let (one, other) = (self.of(lhs), self.of(rhs));
                let orders = !matches!(op, BoolOp::Eq | BoolOp::Ne);
                if orders && (one.may_mix(&other) || other.may_mix(&one)) {
                    let mixed =
                        "objects beside sets are ordered otherwise by OPA; compare what is in them";
                    self.refuse(span, mixed.to_owned());
                }
                Type::Boolean
            }
            Expr::AssignExpr { .. } | Expr::Membership { .. } => {
                for part in parts(expr) {
                    self.of(part);
                }
                Type::Boolean
            }
            _ => Type::Any,
        }
    }

    fn variable(&mut self, name: &str) -> Type {
        if let Some(of) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            let of = of.clone();
            self.certain &= of.is_some();
            return of.unwrap_or(Type::Any);
        }
        if self.rules.contains_key(name) {
            return match self.named(name) {
                Known::Rule(of) => of,
                Known::Pending | Known::Function(_) => Type::Any,
            };
        }
        self.certain &= self.given.contains(name);
        Type::Any
    }

    fn object(&mut self, fields: &'a [(Span, Ref<Expr>, Ref<Expr>)]) -> Type {
        let mut known = BTreeMap::new();
        let mut others = fields.is_empty().then_some((Type::Any, Type::Any));
        for (_, key, value) in fields {
            let (at, of) = (self.of(key), self.of(value));
            if let Some(key) = scalar(key) {
                known.insert(key.clone(), of);
            } else {
                others = Some(match others {
                    Some((keys, values)) => (keys.or(at), values.or(of)),
                    None => (at, of),
                });
            }
        }
        Type::Object(known, others.map(Box::new)).bounded()
    }

    fn lookup(&mut self, refr: &'a Expr, index: &'a Expr) -> Type {
        let of = self.of(refr);
        let certain = self.certain;
        let at = self.of(index);
        // A variable alone goes over the places, if it has no value yet.
        if matches!(index, Expr::Var { .. }) {
            self.certain = certain;
        }
        if let Some(key) = scalar(index) {
            return self.member(&of, key, index.span());
        }
        match of.keys() {
            None => self.refuse(index.span(), format!("{of} has no members")),
            Some(keys) if !keys.meets(&at) => {
                self.refuse(index.span(), format!("{of} is never asked for {at}"));
            }
            Some(_) => return of.values().unwrap_or(Type::Any),
        }
        Type::Any
    }

    fn member(&mut self, of: &Type, key: &Value, span: &Span) -> Type {
        if let Some(member) = of.member(key) {
            return member;
        }
        let problem = match of.keys() {
            None => format!("{of} has no members"),
            Some(_) => format!("{of} has no such member as {key}"),
        };
        self.refuse(span, problem);
        Type::Any
    }

    fn call(&mut self, function: &'a Expr, arguments: &'a [Ref<Expr>]) -> Type {
        let given: Vec<Type> = arguments.iter().map(|argument| self.of(argument)).collect();
        let path = dotted(function).unwrap_or_default();
        let Some(signature) = self.signature(&path) else {
            return Type::Any;
        };
        let span = function.span();
        let arity = signature.takes.len();
        // OPA takes one more for the result.
        if given.len() < arity || given.len() > arity + 1 {
            let (all, few) = (
                given.len(),
                if arity == 1 { "argument" } else { "arguments" },
            );
            self.refuse(
                span,
                format!("`{path}` takes {arity} {few}, and is given {all}"),
            );
        }
        for (place, (wanted, given)) in signature.takes.iter().zip(&given).enumerate() {
            let written = arguments.get(place).map(AsRef::as_ref);
            if !wanted.meets(given) || written.is_some_and(|written| !parts_meet(written, wanted)) {
                let ordinal = ORDINALS.get(place).unwrap_or(&"later");
                self.refuse(
                    span,
                    format!("`{path}` takes {wanted} {ordinal}, and is given {given}"),
                );
            }
        }
        if let (Some(last), Some(written)) = (given.get(arity), arguments.get(arity))
            && !(signature.gives.meets(last) && parts_meet(written, &signature.gives))
        {
            let result = &signature.gives;
            self.refuse(span, format!("`{path}` gives {result}, and never {last}"));
        }
        signature.gives
    }

    fn signature(&mut self, path: &str) -> Option<Signature> {
        if !self.names.functions.contains(path) {
            let own = self.names.own_function(path).is_some();
            return signatures::of(path).filter(|_| !own).cloned();
        }
        match self.named(path) {
            Known::Function(signature) => Some(signature),
            Known::Pending | Known::Rule(_) => None,
        }
    }

    fn operator(&mut self, name: &str, span: &Span, lhs: &'a Expr, rhs: &'a Expr) -> Type {
        let given = [self.of(lhs), self.of(rhs)];
        let Some(signature) = signatures::of(name) else {
            return Type::Any;
        };
        for (wanted, given) in signature.takes.iter().zip(&given) {
            if !wanted.meets(given) {
                self.refuse(
                    span,
                    format!("`{name}` takes {wanted}, and is given {given}"),
                );
            }
        }
        signature.gives.clone()
    }
}

/// What several definitions of one name take and give.
fn either(one: Signature, other: Signature) -> Signature {
    let takes = one.takes.into_iter().zip(other.takes);
    Signature {
        takes: takes.map(|(one, other)| one.or(other)).collect(),
        gives: one.gives.or(other.gives),
    }
}

/// An object with that member and others.
fn with_member(key: &Value, value: Type) -> Type {
    let others = Some(Box::new((Type::Any, Type::Any)));
    Type::Object(BTreeMap::from([(key.clone(), value)]), others)
}

/// A value that is written out.
fn scalar(expr: &Expr) -> Option<&Value> {
    match expr {
        Expr::String { value, .. }
        | Expr::RawString { value, .. }
        | Expr::Number { value, .. }
        | Expr::Bool { value, .. }
        | Expr::Null { value, .. } => Some(value),
        _ => None,
    }
}

/// What OPA minds of collections that are written out, and not of others: each element of a set must do, an object has only keys that there
/// can be, and an empty array has no elements.
fn parts_meet(written: &Expr, wanted: &Type) -> bool {
    let meets = |wanted: &Type| match (written, wanted) {
        (_, Type::Any) => true,
        (Expr::Set { items, .. }, Type::Set(of)) => {
            let mut scalars = items.iter().filter_map(|item| scalar(item));
            scalars.all(|item| of.meets(&Type::of_scalar(item)))
        }
        (Expr::Object { fields, .. }, Type::Object(..)) => {
            let mut keys = fields.iter().filter_map(|(_, key, _)| scalar(key));
            keys.all(|key| wanted.member(key).is_some())
        }
        (Expr::Array { items, .. }, Type::Array(known, _)) => known.is_empty() || !items.is_empty(),
        _ => false,
    };
    match written {
        Expr::Set { .. } | Expr::Object { .. } | Expr::Array { .. } => {
            wanted.alternatives().iter().any(meets)
        }
        _ => true,
    }
}

#[cfg(test)]
#[path = "typing_tests.rs"]
mod tests;
