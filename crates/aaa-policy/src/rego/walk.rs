//! Going through the syntax of one rule.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{
    ArithOp, AssignOp, Expr, Literal, LiteralStmt, Query, Ref, Rule, RuleBody, RuleHead, Span,
};

use super::alike;
use super::builtins;
use super::error::{Place, PolicyError};
use super::filters::{self, Missing};
use super::inspect::{PACKAGE, head, root};
use super::shape::{Body, LOOP, Node};
use super::variables::{declared, values};

/// Functions that give back collections made of what they were given.
const JOINING: [&str; 6] = [
    "array.concat",
    "object.union",
    "object.union_n",
    "union",
    "json.patch",
    "walk",
];

/// What the policy itself defines.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Its rules and functions, by the first part of their names.
    pub(super) rules: BTreeSet<String>,
    /// Its functions, by their whole names.
    pub(super) functions: BTreeSet<String>,
    /// What it imports from `data`, by the name that it uses.
    pub(super) aliases: BTreeMap<String, String>,
}

/// Collects what one rule uses.
pub(super) struct Walker<'a> {
    names: &'a Names,
    /// Functions that are not the policy's own.
    pub(super) functions: BTreeMap<String, Place>,
    /// Filters that it asks for, with the first line of each.
    pub(super) filters: BTreeMap<Missing, u32>,
    /// What the engine reads otherwise than OPA.
    pub(super) problem: Option<PolicyError>,
    /// How many expressions there are.
    pub(super) expressions: usize,
    /// The deepest expression.
    pub(super) deepest: u32,
    depth: u32,
    body: Body,
    /// Loops in the query at hand.
    loops: u32,
    /// Variables that a loop of the query at hand binds to elements.
    elements: BTreeSet<String>,
    /// Variables that run over the places in a collection.
    indexes: BTreeSet<String>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(names: &'a Names) -> Self {
        Self {
            names,
            functions: BTreeMap::new(),
            filters: BTreeMap::new(),
            problem: None,
            expressions: 0,
            deepest: 0,
            depth: 0,
            body: Body::default(),
            loops: 0,
            elements: BTreeSet::new(),
            indexes: BTreeSet::new(),
        }
    }

    /// Goes through a rule: its name, and what it is made of.
    pub(super) fn rule(&mut self, rule: &Rule) -> (String, Node) {
        let mut node = Node {
            place: Some(Place::of(rule.span())),
            ..Node::default()
        };
        match rule {
            Rule::Default { value, .. } => {
                self.expr(value);
                node.bodies.push(std::mem::take(&mut self.body));
            }
            Rule::Spec { head, bodies, .. } => self.spec(head, bodies, &mut node),
        }
        (root(head(rule)), node)
    }

    fn spec(&mut self, head: &RuleHead, bodies: &[RuleBody], node: &mut Node) {
        let (keys, assign) = match head {
            RuleHead::Compr { refr, assign, .. } => (vec![refr], assign.as_ref()),
            RuleHead::Set { refr, key, .. } => {
                (std::iter::once(refr).chain(key.as_ref()).collect(), None)
            }
            RuleHead::Func { args, assign, .. } => {
                for arg in args {
                    self.declare(arg);
                }
                (args.iter().collect(), assign.as_ref())
            }
        };
        node.adds_up = !matches!(head, RuleHead::Func { .. })
            && keys
                .iter()
                .any(|key| !matches!(key.as_ref(), Expr::Var { .. }));
        for body in bodies {
            self.loops = 0;
            self.elements.clear();
            self.indexes.clear();
            self.query(&body.query);
            if let Some(assign) = &body.assign {
                self.expr(&assign.value);
            }
            self.head(&keys, assign.map(|assign| &assign.value));
            if node.adds_up {
                self.collected(&values(head));
            }
            node.bodies.push(std::mem::take(&mut self.body));
        }
        if bodies.is_empty() {
            self.head(&keys, assign.map(|assign| &assign.value));
            node.bodies.push(std::mem::take(&mut self.body));
        }
    }

    fn head(&mut self, keys: &[&Ref<Expr>], value: Option<&Ref<Expr>>) {
        for key in keys {
            // The rule's own name is no use of it.
            match key.as_ref() {
                Expr::Var { .. } | Expr::RefDot { .. } => {}
                Expr::RefBrack { index, .. } => self.expr(index),
                other => self.expr(other),
            }
        }
        if let Some(value) = value {
            self.expr(value);
        }
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &LiteralStmt) {
        match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                for var in vars {
                    self.body.locals.insert(var.text().to_owned());
                }
            }
            Literal::SomeIn {
                key,
                value,
                collection,
                ..
            } => {
                self.loops += 1;
                for pattern in key.iter().chain([value]) {
                    self.declare(pattern);
                    self.elements.insert(pattern.span().text().to_owned());
                }
                self.expr(collection);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
            Literal::Every {
                key,
                value,
                domain,
                query,
                ..
            } => {
                for var in key.iter().chain([value]) {
                    self.body.locals.insert(var.text().to_owned());
                }
                self.expr(domain);
                self.query(query);
            }
        }
        for with in &statement.with_mods {
            // Either side may name a function.
            for side in [&with.refr, &with.r#as] {
                if let Some(path) = dotted(side) {
                    self.mention(&path, Place::of(&with.span));
                }
            }
            // `with input.x as input` has all of it stand there once more.
            if !is_constant(&with.r#as) {
                self.body.bits += 1;
            }
            self.expr(&with.r#as);
        }
    }

    /// Every variable in a pattern is the rule's own.
    fn declare(&mut self, pattern: &Expr) {
        declared(pattern, &mut |span| {
            self.body.locals.insert(span.text().to_owned());
        });
    }

    fn expr(&mut self, expr: &Expr) {
        self.expressions += 1;
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        self.visit(expr);
        self.depth -= 1;
    }

    fn visit(&mut self, expr: &Expr) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expr),
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.collection(items),
            Expr::Object { fields, .. } => {
                let parts: Vec<_> = fields
                    .iter()
                    .flat_map(|(_, key, value)| [key.clone(), value.clone()])
                    .collect();
                self.collection(&parts);
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.comprehension(&[term], query);
            }
            Expr::ObjectCompr {
                key, value, query, ..
            } => self.comprehension(&[key, value], query),
            Expr::Call { fcn, params, .. } => self.call(fcn, params),
            Expr::UnaryExpr { span, expr, .. } => {
                if !matches!(expr.as_ref(), Expr::Number { .. }) {
                    self.refuse(span, "`-` stands before numbers only; write `0 - x`");
                }
                self.expr(expr);
            }
            Expr::BinExpr { lhs, rhs, .. } => {
                self.body.bits += 1;
                self.both(lhs, rhs);
            }
            Expr::ArithExpr { op, lhs, rhs, .. } => {
                if *op == ArithOp::Mul {
                    self.body.bits += 1;
                }
                self.both(lhs, rhs);
            }
            Expr::BoolExpr { lhs, rhs, .. } => self.both(lhs, rhs),
            Expr::AssignExpr { op, lhs, rhs, .. } => self.assignment(op, lhs, rhs),
            Expr::Membership {
                key,
                value,
                collection,
                ..
            } => {
                if let Some(key) = key {
                    let computed = |part: &Expr| match part {
                        Expr::Var { span, .. } => self.names.rules.contains(span.text()),
                        other => !is_constant(other),
                    };
                    if computed(key) || computed(value) {
                        let wanted = "`x, y in z` takes variables and constants; give what is computed a name first";
                        self.refuse(expr.span(), wanted);
                    }
                    self.expr(key);
                }
                self.both(value, collection);
            }
        }
    }

    fn both(&mut self, one: &Expr, other: &Expr) {
        self.expr(one);
        self.expr(other);
    }

    fn assignment(&mut self, op: &AssignOp, to: &Expr, value: &Expr) {
        if *op == AssignOp::ColEq {
            self.declare(to);
        }
        if is_element(value) {
            self.elements.insert(to.span().text().to_owned());
        }
        self.both(to, value);
    }

    /// A collection written out: whatever it is made of stands in it as often as it is named, and one level deeper.
    fn collection(&mut self, items: &[Ref<Expr>]) {
        let computed = items.iter().filter(|item| !is_constant(item)).count();
        if computed > 0 {
            self.body.bits += computed.next_power_of_two().ilog2().max(1);
        }
        for item in items {
            self.expr(item);
        }
    }

    fn comprehension(&mut self, heads: &[&Expr], query: &Query) {
        let loops = std::mem::take(&mut self.loops);
        let elements = std::mem::take(&mut self.elements);
        let indexes = std::mem::take(&mut self.indexes);
        self.query(query);
        for head in heads {
            self.expr(head);
        }
        self.collected(heads);
        self.loops = loops;
        self.elements = elements;
        self.indexes = indexes;
    }

    /// What is collected of the query at hand. With one loop whose elements are, it is no more than what the loop goes over.
    fn collected(&mut self, what: &[&Expr]) {
        if self.loops > 1 || self.loops == 1 && !what.iter().all(|expr| self.is_part(expr)) {
            self.body.bits += LOOP;
        }
    }

    /// Whether it is constant, or a part of what the loop at hand goes over.
    fn is_part(&self, expr: &Expr) -> bool {
        is_constant(expr) || is_element(expr) || self.elements.contains(&root(expr))
    }

    fn call(&mut self, function: &Expr, arguments: &[Ref<Expr>]) {
        let path = dotted(function).unwrap_or_default();
        let own = self.names.own_function(&path);
        if let Some(own) = &own {
            self.body.calls.push(own.clone());
        } else {
            self.functions
                .entry(path.clone())
                .or_insert(Place::of(function.span()));
        }
        if let Some((_, kind)) = builtins::filter_function(&path)
            && let Some(asked) = filters::asked(kind, arguments)
        {
            let line = function.span().line;
            self.filters.entry(asked).or_insert(line);
        }
        if path == "walk" {
            self.loops += 1;
            if arguments.len() == 1 {
                let wanted = "`walk` takes two arguments: `walk(x, [path, value])`";
                self.refuse(function.span(), wanted);
            }
        }
        if own.is_none() {
            self.pattern(&path, function.span(), arguments);
        }
        let joins = JOINING.contains(&path.as_str());
        if joins {
            self.body.bits += 1;
        }
        for argument in arguments {
            match argument.as_ref() {
                // What `sprintf` and the like are given does not live on.
                Expr::Array { items, .. } if own.is_none() && !joins => {
                    for item in items {
                        self.expr(item);
                    }
                }
                argument => self.expr(argument),
            }
        }
    }

    /// Refuses a pattern that is written out, and that there is not here.
    fn pattern(&mut self, function: &str, span: &Span, arguments: &[Ref<Expr>]) {
        let place = match function {
            "regex.replace" => 1,
            "re_match"
            | "regex.match"
            | "regex.split"
            | "regex.find_n"
            | "regex.find_all_string_submatch_n" => 0,
            _ => return,
        };
        let written = arguments.get(place).map(AsRef::as_ref);
        if let Some(Expr::String { value, .. } | Expr::RawString { value, .. }) = written
            && let Value::String(text) = value
            && let Some(why) = alike::no_pattern(text)
        {
            self.refuse(span, &format!("`{function}`: the pattern {why}"));
        }
    }

    fn refuse(&mut self, span: &Span, problem: &str) {
        self.problem
            .get_or_insert_with(|| PolicyError::at(Place::of(span), problem));
    }

    fn reference(&mut self, expr: &Expr) {
        self.indexes(expr);
        let name = root(expr);
        if name == "data" {
            self.absolute(&fixed(expr));
        } else if let Some(path) = self.names.aliases.get(&name) {
            self.absolute(path);
        } else if self.names.rules.contains(&name) {
            self.body.rules.insert(name);
        }
    }

    /// What stands in the brackets of a reference.
    fn indexes(&mut self, expr: &Expr) {
        let mut at = expr;
        loop {
            match at {
                Expr::RefDot { refr, .. } => at = refr,
                Expr::RefBrack { refr, index, .. } => {
                    if let Expr::Var { span, .. } = index.as_ref() {
                        self.index(span.text());
                    }
                    self.expr(index);
                    at = refr;
                }
                Expr::Var { .. } => return,
                other => return self.expr(other),
            }
        }
    }

    /// A variable in brackets runs over a collection, unless it has its value from elsewhere.
    fn index(&mut self, name: &str) {
        let runs =
            name == "_" || !self.elements.contains(name) && self.indexes.insert(name.to_owned());
        if runs {
            self.loops += 1;
        }
    }

    /// A path from `data`: one of the policy's rules, all of them, or a document.
    fn absolute(&mut self, path: &str) {
        let package = format!("data.{PACKAGE}");
        let own = path
            .strip_prefix(&package)
            .and_then(|rest| rest.strip_prefix('.'));
        if let Some(rest) = own {
            let rule = rest.split('.').next().unwrap_or_default();
            self.body.absolute.insert(rule.to_owned());
        } else if package.starts_with(path) {
            self.body.everything = true;
        }
    }

    fn mention(&mut self, path: &str, place: Place) {
        if self.names.own_function(path).is_none() {
            self.functions_mentioned(path, place);
        }
    }

    fn functions_mentioned(&mut self, path: &str, place: Place) {
        if builtins::exists(path) {
            self.functions.entry(path.to_owned()).or_insert(place);
        }
    }
}

impl Names {
    /// The policy's own function of that name, if it has one.
    pub(super) fn own_function(&self, path: &str) -> Option<String> {
        let (first, rest) = path.split_once('.').unwrap_or((path, ""));
        let resolved = match self.aliases.get(first) {
            Some(target) if rest.is_empty() => target.clone(),
            Some(target) => format!("{target}.{rest}"),
            None => path.to_owned(),
        };
        let name = resolved
            .strip_prefix("data.")
            .and_then(|path| path.strip_prefix(PACKAGE))
            .and_then(|path| path.strip_prefix('.'))
            .unwrap_or(&resolved);
        self.functions
            .contains(name)
            .then(|| name.split('.').next().unwrap_or(name).to_owned())
    }
}

/// `a.b["c"]` as `a.b.c`; `None` when a part is computed.
pub(super) fn dotted(expr: &Expr) -> Option<String> {
    parts(expr)?
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .map(|parts| parts.join("."))
}

/// The same as far as no part is computed.
pub(super) fn fixed(expr: &Expr) -> String {
    let parts = parts(expr).unwrap_or_default().into_iter();
    parts.map_while(|part| part).collect::<Vec<_>>().join(".")
}

/// The parts of a reference, `None` for one that is computed; nothing for what is no reference to a name.
pub(super) fn parts(expr: &Expr) -> Option<Vec<Option<&str>>> {
    let mut parts = Vec::new();
    let mut at = expr;
    loop {
        match at {
            Expr::RefDot { refr, field, .. } => {
                parts.push(Some(field.0.text()));
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                parts.push(match index.as_ref() {
                    Expr::String { span, .. } => Some(span.text()),
                    _ => None,
                });
                at = refr;
            }
            Expr::Var { span, .. } => {
                parts.push(Some(span.text()));
                break;
            }
            _ => return None,
        }
    }
    parts.reverse();
    Some(parts)
}

pub(super) fn is_constant(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. }
    )
}

/// An element of a collection, one after the other: `tags[_]`.
fn is_element(expr: &Expr) -> bool {
    matches!(expr, Expr::RefBrack { index, .. } if matches!(index.as_ref(), Expr::Var { .. }))
}
