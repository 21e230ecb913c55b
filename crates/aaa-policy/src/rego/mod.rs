//! The authorizer `opa`: the claim `opa_policy` is a Rego policy, package `io.choria.aaasvc`, whose rule `allow` decides.
//!
//! Policies come from outside. They are compiled once, seen through before they run, and evaluated within limits of time
//! and memory; what goes wrong with one is told to its bearer and costs nobody else anything.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aaa_core::decision::Decision;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use regorus::Value;

use crate::problem::{self, Problem};
use crate::{Authorizer, Line, Look, Question};

mod addresses;
mod alike;
mod archive;
mod bounded;
mod builtins;
mod bundle;
mod defined;
mod error;
mod filters;
mod guard;
mod input;
mod inspect;
mod lane;
mod machine;
mod otherwise;
mod policy;
mod shape;
mod signatures;
pub mod site;
mod source;
mod turns;
mod types;
mod typing;
mod variables;
mod visible;
mod walk;
mod wholes;
mod written;

pub use error::PolicyError;

pub use archive::is_archive as is_bundle;
use archive::within;
use bundle::Bundle;
pub(crate) use filters::parse_fact;
pub use lane::Aside;
use lane::{Deadline, Lane, Stopped};
use machine::{Given, Verdict};
use policy::Policy;
use source::Version;
use turns::Turns;

/// How long compiling may take.
const COMPILING: Duration = Duration::from_secs(5);

/// The longest policy, in bytes.
pub const LONGEST_POLICY: usize = 64 << 10;

/// What policies may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long one evaluation may take.
    pub time: Duration,
    /// The longest policy, in bytes.
    pub policy_bytes: usize,
    /// What the compiled policies that are kept may take of memory together, in bytes, as it is reckoned.
    pub kept_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Duration::from_millis(50),
            policy_bytes: LONGEST_POLICY,
            kept_bytes: 128 << 20,
        }
    }
}

/// Allows what the policy in the token allows. Only the boolean `true` does; anything but a boolean is an error.
pub struct Opa {
    limits: Limits,
    /// By their whole text, so that no two are ever taken for one another. Broken ones are kept, too.
    policies: Cache<String, Arc<Compiled>, Memory>,
    lane: Lane,
    /// For compiling, which evaluations must not hold up.
    compiling: Lane,
}

type Compiled = Result<Policy, PolicyError>;

impl Default for Opa {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl fmt::Debug for Opa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opa")
            .field("limits", &self.limits)
            .field("policies", &self.policies.len())
            .finish_non_exhaustive()
    }
}

impl Opa {
    /// With limits of one's own.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            policies: cache(limits),
            lane: Lane::default(),
            compiling: Lane::default(),
        }
    }

    /// Waits in that way for policies that take long.
    #[must_use]
    pub fn waiting(self, aside: Aside) -> Self {
        Self {
            lane: Lane::new(aside),
            compiling: Lane::new(aside),
            ..self
        }
    }

    /// How many compiled policies are kept right now.
    pub fn kept(&self) -> usize {
        self.policies.len()
    }

    /// The policy of that text, compiled now or before.
    fn policy(&self, text: &str) -> Result<Arc<Compiled>, PolicyError> {
        self.policies
            .get_or_insert_with(text, || {
                compile(text, self.limits.policy_bytes, &self.compiling).map(Arc::new)
            })
            .map_err(not_compiled)
    }
}

impl Authorizer for Opa {
    fn name(&self) -> &'static str {
        "opa"
    }

    fn authorize(&self, question: &Question<'_>, _: &mut dyn FnMut(&Look<'_>)) -> Decision {
        let text = question.claims.opa_policy.as_str();
        if text.is_empty() {
            return Decision::failed("the token has no policy");
        }
        // What is too long is not worth keeping.
        if text.len() > self.limits.policy_bytes {
            let problem = source::parse(text, self.limits.policy_bytes);
            return failed(
                problem
                    .err()
                    .unwrap_or_else(|| PolicyError::new("the policy is too long")),
            );
        }
        let compiled = match self.policy(text) {
            Ok(compiled) => compiled,
            Err(error) => return failed(error),
        };
        match compiled.as_ref() {
            Ok(policy) => self.ask(policy, question),
            Err(error) => failed(error.clone()),
        }
    }

    fn lines(&self, question: &Question<'_>) -> Vec<Line> {
        let text = question.claims.opa_policy.as_str();
        if text.is_empty() || text.len() > self.limits.policy_bytes {
            return Vec::new();
        }
        match self.policy(text).as_deref() {
            Ok(Ok(policy)) => {
                let given = Given::new(question, policy.needs(), self.limits.time);
                policy.lines(source::NAME, text, given, &self.lane)
            }
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }
}

impl Opa {
    fn ask(&self, policy: &Policy, question: &Question<'_>) -> Decision {
        match policy.evaluate(
            Given::new(question, policy.needs(), self.limits.time),
            &self.lane,
        ) {
            Verdict::Allow => Decision::allow(policy.rule.clone()),
            Verdict::Deny(missing) => policy.refusal(&missing),
            Verdict::Trouble(trouble) => {
                Decision::failed(format!("the policy cannot be applied: {trouble}"))
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it ends here")]
fn failed(error: PolicyError) -> Decision {
    Decision::failed(format!("the policy cannot be used: {error}"))
}

/// Whether a text is a policy that [`Opa`] could apply, so that a mistake shows when a policy is given to somebody
/// and not when it is needed. Gives back what is probably a slip of the pen: variables and imports that are never used.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn check(policy: &str) -> Result<Vec<PolicyError>, PolicyError> {
    check_as(policy, None)
}

/// The same for one that is said to be in a version.
fn check_as(policy: &str, version: Option<Version>) -> Result<Vec<PolicyError>, PolicyError> {
    let (longest, lane) = (Limits::default().policy_bytes, Lane::default());
    let compiled = compile_with(
        source::NAME,
        policy,
        Value::new_object(),
        version,
        longest,
        &lane,
    );
    compiled.map_err(not_compiled)?.map(Policy::into_unused)
}

/// Something about a file of Rego.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind it is of: `unusable` or `unused`.
    pub kind: &'static str,
    /// What is the matter, and where.
    pub problem: Problem,
}

/// Looks through a file of Rego, or through each in a bundle: for what keeps it from deciding anything, or else for variables and imports
/// that are never used.
///
/// # Errors
/// Why it cannot be read.
pub fn lint(file: &str, bytes: &[u8]) -> Result<Vec<Finding>, Vec<Problem>> {
    if !is_bundle(bytes) {
        let text = problem::text(file, bytes).map_err(|problem| vec![problem])?;
        return Ok(lint_text(file, text, None));
    }
    let policies = Bundle::read(file, bytes)?.policies;
    if policies.is_empty() {
        return Err(vec![Problem::of_file(file, "there is no policy in it")]);
    }
    let policies = policies.iter();
    let found = policies
        .flat_map(|policy| lint_text(&within(file, &policy.path), &policy.text, policy.version));
    Ok(found.collect())
}

fn lint_text(file: &str, text: &str, version: Option<Version>) -> Vec<Finding> {
    let (kind, found) = match check_as(text, version) {
        Ok(unused) => ("unused", unused),
        Err(error) => ("unusable", vec![error]),
    };
    let found = found.iter().map(|error| error.in_file(file, text));
    found.map(|problem| Finding { kind, problem }).collect()
}

/// A policy in a token, which has no data.
fn compile(text: &str, longest: usize, lane: &Lane) -> Result<Compiled, Stopped> {
    compile_with(source::NAME, text, Value::new_object(), None, longest, lane)
}

/// Compiling goes down the syntax, which nests as the author likes, so it has a stack of its own.
fn compile_with(
    name: &str,
    text: &str,
    data: Value,
    version: Option<Version>,
    longest: usize,
    lane: &Lane,
) -> Result<Compiled, Stopped> {
    let (name, text) = (name.to_owned(), text.to_owned());
    lane.run(&Turns::default(), Deadline::within(COMPILING), move || {
        let agrees = version.map_or(Ok(()), |version| source::is_of(&text, longest, version));
        Some(agrees.and_then(|()| Policy::compile(&name, &text, data, longest)))
    })
}

fn not_compiled(stopped: Stopped) -> PolicyError {
    PolicyError::new(match stopped {
        Stopped::TimeIsUp => "it takes too long to compile",
        Stopped::Busy => "other policies are taking too long; try again later",
        Stopped::Broken => "the policy engine failed on it",
    })
}

/// The least that a policy takes, in bytes.
const LEAST: u64 = 4 << 10;

/// What a published policy takes, in bytes.
const USUAL: u64 = 32 << 10;

/// What the costliest text takes for each of its bytes, compiled.
const MOST_FOR_A_BYTE: u64 = 400;

/// A cache in no more parts than hold two of the costliest policies each: a part that is too small for a policy would never keep it.
fn cache(limits: Limits) -> Cache<String, Arc<Compiled>, Memory> {
    let longest = u64::try_from(limits.policy_bytes).unwrap_or(u64::MAX);
    let costliest = longest.saturating_mul(MOST_FOR_A_BYTE).max(1);
    let parts = (limits.kept_bytes / costliest / 2).clamp(1, 16);
    let most = usize::try_from(limits.kept_bytes / USUAL).unwrap_or(usize::MAX);
    let options = OptionsBuilder::new()
        .shards(usize::try_from(parts).unwrap_or(1))
        .estimated_items_capacity(most)
        .weight_capacity(limits.kept_bytes)
        .build();
    match options {
        Ok(options) => Cache::with_options(
            options,
            Memory,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        Err(_) => Cache::with_weighter(most, limits.kept_bytes, Memory),
    }
}

/// A policy weighs what it takes of memory.
#[derive(Debug, Clone)]
struct Memory;

impl Weighter<String, Arc<Compiled>> for Memory {
    fn weight(&self, text: &String, compiled: &Arc<Compiled>) -> u64 {
        // The engine has the text, too, and cuts it into lines.
        let texts = text.len().saturating_mul(3);
        let program = compiled.as_ref().as_ref().map_or(0, Policy::memory);
        u64::try_from(program.saturating_add(texts))
            .unwrap_or(u64::MAX)
            .max(LEAST)
    }
}
