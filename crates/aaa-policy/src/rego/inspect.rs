//! What a policy is made of, seen before it is run: which functions it calls, where `allow` stands, and how its rules
//! hang together.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Module, Rule, RuleHead};

use super::builtins;
use super::error::{Place, PolicyError};
use super::filters::Missing;
use super::shape::{Node, Shape};
use super::typing;
use super::variables;
use super::visible::Visible;
use super::walk::{Names, Walker, dotted};
use super::wholes;

/// The package that policies of callers are in.
pub(super) const PACKAGE: &str = "io.choria.aaasvc";

/// The rule of it that decides.
const ALLOW: &str = "allow";

/// The deepest that an expression may nest. Long chains of operators nest, too: `a + b + c` is a `+` in a `+`.
const DEEPEST: u32 = 128;

/// What was seen.
#[derive(Debug)]
pub(super) struct Inspection {
    /// The functions called that are not the policy's own, with the first place of each.
    pub(super) functions: BTreeMap<String, Place>,
    /// The filters that it asks for, with the first line of each.
    pub(super) filters: BTreeMap<Missing, u32>,
    /// Where `allow` is, if it is in one place only besides its default.
    pub(super) allow_line: Option<u32>,
    /// What is declared or imported and never used.
    pub(super) unused: Vec<PolicyError>,
    /// What of `input` it can see.
    pub(super) visible: Visible,
    /// Whether it calls a function that goes by the filter.
    pub(super) asks_filter: bool,
    /// How many expressions it is made of.
    pub(super) expressions: usize,
    /// How costly evaluating it can become.
    pub(super) shape: Shape,
}

/// Looks through a policy.
///
/// # Errors
/// When it cannot work: another package, no `allow`, rules in a circle, expressions without end, variables without a value, and what the
/// engine reads otherwise than OPA.
pub(super) fn inspect(module: &Module) -> Result<Inspection, PolicyError> {
    let package = dotted(&module.package.refr).unwrap_or_default();
    if package != PACKAGE {
        return Err(PolicyError::at(
            Place::of(&module.package.span),
            format!("the package is {package}, and must be {PACKAGE}"),
        ));
    }
    let names = names(module)?;
    if !names.rules.contains(ALLOW) {
        return Err(PolicyError::new(format!(
            "there is no rule `{ALLOW}` in package {PACKAGE}"
        )));
    }
    let mut functions = BTreeMap::new();
    let mut filters = BTreeMap::new();
    let mut expressions = 0;
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for rule in &module.policy {
        let mut walker = Walker::new(&names);
        let (name, mut node) = walker.rule(rule);
        node.depth = walker.deepest;
        expressions += walker.expressions;
        if walker.deepest > DEEPEST {
            return Err(PolicyError::at(
                Place::of(rule.span()),
                format!("an expression nests more than {DEEPEST} levels deep"),
            ));
        }
        if let Some(problem) = walker.problem {
            return Err(problem);
        }
        for (function, place) in walker.functions {
            functions.entry(function).or_insert(place);
        }
        for (asked, line) in walker.filters {
            filters.entry(asked).or_insert(line);
        }
        nodes.entry(name).or_default().merge(node);
    }
    variables::check(module, &names)?;
    let mut refused = typing::check(module, &names);
    refused.extend(wholes::check(module, &names));
    if let Some(problem) = refused.into_iter().min_by_key(PolicyError::line) {
        return Err(problem);
    }
    Ok(Inspection {
        visible: Visible::of(module),
        asks_filter: functions
            .keys()
            .any(|name| builtins::filter_function(name).is_some()),
        unused: variables::unused(module),
        functions,
        filters,
        expressions,
        allow_line: allow_line(module),
        shape: Shape::of(&nodes, ALLOW)?,
    })
}

/// The names that the policy itself defines.
pub(super) fn names(module: &Module) -> Result<Names, PolicyError> {
    let mut names = Names::default();
    let mut defaults = BTreeSet::new();
    for rule in &module.policy {
        let reference = head(rule);
        names.rules.insert(root(reference));
        match rule.as_ref() {
            Rule::Default { span, refr, .. } => {
                let name = dotted(refr).unwrap_or_default();
                let problem = format!("a second default for `{name}`");
                if !defaults.insert(name) {
                    return Err(PolicyError::at(Place::of(span), problem));
                }
            }
            Rule::Spec {
                head: RuleHead::Func { refr, .. },
                ..
            } => {
                names.functions.insert(dotted(refr).unwrap_or_default());
            }
            // The engine would take a name alone for a rule that is true.
            Rule::Spec {
                span,
                head: RuleHead::Compr { assign: None, .. },
                bodies,
            } if bodies.is_empty() => {
                return Err(PolicyError::at(
                    Place::of(span),
                    "a rule needs a value or a body",
                ));
            }
            Rule::Spec { .. } => {}
        }
    }
    names.aliases = module
        .imports
        .iter()
        .filter_map(|import| {
            let path = dotted(&import.refr)?;
            let alias = match &import.r#as {
                Some(alias) => alias.text().to_owned(),
                None => path.rsplit('.').next().unwrap_or_default().to_owned(),
            };
            path.starts_with("data").then_some((alias, path))
        })
        .collect();
    Ok(names)
}

fn allow_line(module: &Module) -> Option<u32> {
    let lines: BTreeSet<u32> = module
        .policy
        .iter()
        .filter(|rule| matches!(rule.as_ref(), Rule::Spec { .. }) && root(head(rule)) == ALLOW)
        .map(|rule| rule.span().line)
        .collect();
    match lines.first() {
        Some(line) if lines.len() == 1 => Some(*line),
        _ => None,
    }
}

/// What a rule defines.
pub(super) fn head(rule: &Rule) -> &Expr {
    match rule {
        Rule::Default { refr, .. }
        | Rule::Spec {
            head:
                RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. },
            ..
        } => refr,
    }
}

/// The first name of a reference.
pub(super) fn root(reference: &Expr) -> String {
    let mut at = reference;
    loop {
        match at {
            Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } => at = refr,
            _ => return at.span().text().to_owned(),
        }
    }
}
