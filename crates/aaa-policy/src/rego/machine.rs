//! A compiled policy, and the engines that evaluate it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aaa_core::decision::Decision;
use aaa_core::filter::Filter;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::bounded::{self, BOUNDED};
use super::builtins::{self, Builtin};
use super::defined::demand;
use super::error::PolicyError;
use super::filters::{self, Kind, Missing};
use super::guard::Refusal;
use super::input::{document, weight};
use super::inspect::{Inspection, inspect, names};
use super::lane::{Deadline, Lane, Stopped, here};
use super::shape::Shape;
use super::source;
use super::turns::Turns;
use super::visible::Visible;
use super::written::Written;
use crate::Line;
use crate::Question;

/// The rule that decides, as the engine knows it.
const ALLOW: &str = "data.io.choria.aaasvc.allow";

/// How many steps the engine takes between looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// How long an evaluation may take on the thread that asks. Most take a hundredth of it.
const AT_MOST_HERE: Duration = Duration::from_millis(1);

/// How often in a row it may take longer, before a policy is evaluated apart from the start.
const PATIENT: u8 = 3;

/// The most that the results of functions may amount to in one evaluation, in units of [`weight`].
const MOST_MADE: usize = 1 << 22;

/// What a policy may become and still run on the thread that asks, whose stack is of the usual size.
const AT_ONCE: Shape = Shape {
    bits: 20,
    levels: 150,
};

/// By how much a policy may multiply what it is given, as a power of two, without weighing what it makes: the largest request, so often, is
/// compared in less than a second.
const HARMLESS: u32 = 8;

/// Engines that are kept per policy: as many as may run at once, and not too many of them on a large host.
static MOST_IDLE: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, |cores| cores.get().min(16)));

/// A policy that can be evaluated, by many threads at once.
pub(super) struct Policy {
    /// Prepared once, and copied for each engine; the copies share the syntax.
    template: Engine,
    inspection: Inspection,
    /// How much there is to look at in the data that it may see, in units of [`weight`]; `None` for more than is reckoned with.
    data: Option<usize>,
    /// Whether it weighs what it makes, as it could make more than is good.
    weighs: bool,
    /// What decisions name as their rule.
    pub(super) rule: String,
    /// What decisions call it.
    name: String,
    /// Engines that nobody uses right now.
    idle: Mutex<Vec<Machine>>,
    /// How often in a row it took longer than the thread that asks can spare.
    slow: AtomicU8,
    /// For one evaluation apart at a time, so that a slow policy keeps its own bearers waiting and nobody else.
    turns: Turns,
}

/// What of a request a policy needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    visible: Visible,
    filter: bool,
}

impl Needs {
    /// Nothing.
    pub(super) const NOTHING: Self = Self {
        visible: Visible::NOTHING,
        filter: false,
    };

    /// What either of two needs.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            visible: self.visible.or(other.visible),
            filter: self.filter || other.filter,
        }
    }
}

/// What one evaluation is given.
#[derive(Clone)]
pub(super) struct Given {
    /// The document `input`.
    pub(super) input: Value,
    /// The request's filter.
    pub(super) filter: Filter,
    /// The time, in nanoseconds since 1970.
    pub(super) now: i64,
    /// How long it may take.
    pub(super) limit: Duration,
}

impl Given {
    /// For a request, as far as it is needed.
    pub(super) fn new(question: &Question<'_>, needs: Needs, limit: Duration) -> Self {
        let filter = needs.filter.then(|| question.request.filter().clone());
        Self {
            input: document(question, needs.visible),
            filter: filter.unwrap_or_default(),
            now: i64::try_from(question.now.as_nanosecond()).unwrap_or(i64::MAX),
            limit,
        }
    }
}

/// What an evaluation comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// `allow` is true.
    Allow,
    /// `allow` is false; the filters that were asked for in vain.
    Deny(BTreeSet<Missing>),
    /// Anything else, in words.
    Trouble(String),
}

impl Policy {
    /// Compiles a policy, which decisions call by this name, and which sees this under `data`. To be called where there is plenty
    /// of stack.
    ///
    /// # Errors
    /// When it is not Rego, names functions that are not there, or cannot work.
    pub(super) fn compile(
        name: &str,
        text: &str,
        data: Value,
        longest: usize,
    ) -> Result<Self, PolicyError> {
        let parsed = source::parse(text, longest)?;
        let inspection = inspect(&parsed.module)?;
        builtins::check(&inspection.functions)?;
        let weighed = weight(&data, 1 << AT_ONCE.bits);
        let names = names(&parsed.module)?;
        let mut written = Written::new(text);
        demand(&parsed.module, &names, &mut written)?;
        let weighs = inspection.shape.bits > HARMLESS || weighed.is_none();
        if weighs {
            bounded::bound(&parsed.module, &names, &mut written)?;
        }
        let written = written.finish()?;
        let template =
            prepare(&written, data, parsed.v0).map_err(|error| error.of_text(text, &written))?;
        let rule = match inspection.allow_line {
            Some(line) => format!("{name} allow (line {line})"),
            None => format!("{name} allow"),
        };
        Ok(Self {
            data: weighed,
            weighs,
            template,
            inspection,
            rule,
            name: name.to_owned(),
            idle: Mutex::default(),
            slow: AtomicU8::new(0),
            turns: Turns::default(),
        })
    }

    /// What it needs of a request.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            visible: self.inspection.visible,
            filter: self.inspection.asks_filter,
        }
    }

    /// What it takes of memory, with one engine that evaluates it, in bytes, as far as that is known (`docs/benchmarks.md`).
    pub(super) fn memory(&self) -> usize {
        const BESIDES: usize = 4 << 10;
        const EXPRESSION: usize = 1280;
        let expressions = self.inspection.expressions;
        BESIDES.saturating_add(expressions.saturating_mul(EXPRESSION))
    }

    /// What it says to a request that it does not allow.
    pub(super) fn refusal(&self, missing: &BTreeSet<Missing>) -> Decision {
        Decision::Deny {
            rule: self.rule.clone().into(),
            hint: filters::hint(missing, |asked| match self.inspection.filters.get(asked) {
                Some(line) => format!("{}:{line}", self.name),
                None => self.name.clone(),
            }),
        }
    }

    /// What is declared or imported in it and never used.
    pub(super) fn unused(&self) -> &[PolicyError] {
        &self.inspection.unused
    }

    /// The same, when nothing else is wanted of it.
    pub(super) fn into_unused(self) -> Vec<PolicyError> {
        self.inspection.unused
    }

    /// Evaluates `allow`. The limit begins now, and whatever is waited for counts.
    pub(super) fn evaluate(&self, given: Given, lane: &Lane) -> Verdict {
        let limit = given.limit;
        let deadline = Deadline::within(limit);
        let here = self.slow.load(Ordering::Relaxed) < PATIENT && self.runs_at_once(&given.input);
        let outcome = if here {
            self.evaluate_here(&given)
        } else {
            Ok(None)
        };
        let outcome = outcome.and_then(|verdict| match verdict {
            Some(verdict) => Ok(verdict),
            None => self.evaluate_apart(given, deadline, lane),
        });
        outcome.unwrap_or_else(|stopped| {
            Verdict::Trouble(match stopped {
                Stopped::TimeIsUp => too_long(limit),
                Stopped::Busy => {
                    "policies that did not end in time are still running; try again later"
                        .to_owned()
                }
                Stopped::Broken => "the policy engine failed on it".to_owned(),
            })
        })
    }

    /// The lines that can run, and whether they do for this; `name` is what the policy is called, and `text` how its author wrote it.
    pub(super) fn lines(&self, name: &str, text: &str, given: Given, lane: &Lane) -> Vec<Line> {
        let mut machine = self.machine();
        machine.engine.set_enable_coverage(true);
        let deadline = Deadline::within(given.limit * 2);
        let report = lane.run(&Turns::default(), deadline, move || {
            machine.attempt(&given, given.limit);
            Some(machine.engine.get_coverage_report())
        });
        let Ok(Ok(report)) = report else {
            return Vec::new();
        };
        let text: Vec<&str> = text.lines().collect();
        let mut lines = BTreeMap::new();
        for file in report.files {
            let ran = file.covered.iter().map(|number| (number, true));
            for (number, ran) in file.not_covered.iter().map(|n| (n, false)).chain(ran) {
                let place = usize::try_from(*number).unwrap_or_default();
                let text = text.get(place.wrapping_sub(1)).unwrap_or(&"");
                let name = format!("{name}:{number}");
                let text = text.trim().to_owned();
                lines.insert(*number, Line { name, text, ran });
            }
        }
        lines.into_values().collect()
    }

    /// `None` when it takes longer than this thread, which others wait for, can spare.
    fn evaluate_here(&self, given: &Given) -> Result<Option<Verdict>, Stopped> {
        let idle = lock(&self.idle).pop();
        let mut machine = idle.unwrap_or_else(|| self.machine());
        // After a panic, the engine is not used again.
        let (verdict, machine) = here(move || {
            let verdict = machine.attempt(given, AT_MOST_HERE);
            (verdict, machine)
        })?;
        if verdict.is_none() {
            // An engine that was cut short may remember half of what it did, and is not used again.
            self.slow.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        self.slow.store(0, Ordering::Relaxed);
        self.turns.ended();
        let mut idle = lock(&self.idle);
        if idle.len() < *MOST_IDLE {
            idle.push(machine);
        }
        Ok(verdict)
    }

    /// The engine is dropped over there, too: what it holds may nest as deep as the stack allows.
    fn evaluate_apart(
        &self,
        given: Given,
        deadline: Deadline,
        lane: &Lane,
    ) -> Result<Verdict, Stopped> {
        let mut machine = self.machine();
        let started = Instant::now();
        let verdict = lane.run(&self.turns, deadline, move || {
            machine.attempt(&given, deadline.for_work())
        });
        // It may have been the host that was slow.
        if verdict.is_ok() && started.elapsed() < AT_MOST_HERE {
            self.slow.store(0, Ordering::Relaxed);
        }
        verdict
    }

    fn runs_at_once(&self, input: &Value) -> bool {
        let shape = self.inspection.shape;
        let room = 1_usize << AT_ONCE.bits.saturating_sub(shape.bits);
        let left = self.data.and_then(|data| room.checked_sub(data));
        shape.levels <= AT_ONCE.levels
            && shape.bits <= AT_ONCE.bits
            && left.is_some_and(|left| weight(input, left).is_some())
    }

    fn machine(&self) -> Machine {
        let mut machine = Machine::new(self.template.clone(), &self.inspection);
        if self.weighs {
            machine.weigh();
        }
        machine
    }
}

/// Has the engine check a policy and make ready for it.
fn prepare(text: &str, data: Value, v0: bool) -> Result<Engine, PolicyError> {
    let mut engine = Engine::new();
    engine.set_rego_v0(v0);
    engine.set_strict_builtin_errors(false);
    engine.set_policy_length_config(source::lengths(text.len()));
    let made_ready = engine
        .add_data(data)
        .and_then(|()| engine.add_policy(source::NAME.to_owned(), text.to_owned()))
        .and_then(|_| engine.compile_with_entrypoint(&allow().into()));
    match made_ready {
        Ok(_) => Ok(engine),
        Err(error) => Err(PolicyError::from_engine(&error.to_string())),
    }
}

fn allow() -> String {
    ALLOW.to_owned()
}

fn too_much() -> String {
    "it needs more memory than the limit allows".to_owned()
}

fn too_long(limit: Duration) -> String {
    format!("it did not end within {} ms", limit.as_millis())
}

/// An engine, and what its functions know of the evaluation that it is in.
struct Machine {
    engine: Engine,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    filter: Filter,
    now: i64,
    missing: BTreeSet<Missing>,
    made: usize,
    /// Why the evaluation is void. The engine takes a failed call for an undefined one at times, so it is kept here.
    trouble: Option<String>,
}

/// Ends an evaluation; the reason is in the state.
#[derive(Debug, thiserror::Error)]
#[error("a limit was reached")]
struct Ended;

impl Machine {
    fn new(engine: Engine, inspection: &Inspection) -> Self {
        let mut machine = Self {
            engine,
            state: Arc::default(),
        };
        for name in inspection.functions.keys() {
            machine.add(name);
        }
        machine
    }

    /// Gives it the function that [`bounded`] has policies call.
    fn weigh(&mut self) {
        let state = Arc::clone(&self.state);
        let function = move |mut arguments: Vec<Value>| {
            let value = arguments.pop().unwrap_or(Value::Undefined);
            if bounded::holds(&value) {
                return Ok(value);
            }
            lock(&state).trouble.get_or_insert(too_much());
            Err(Ended.into())
        };
        let added = self
            .engine
            .add_extension(BOUNDED.to_owned(), 1, Box::new(function));
        debug_assert!(added.is_ok());
    }

    fn add(&mut self, name: &str) {
        let state = Arc::clone(&self.state);
        let added = if let Some((arity, kind)) = builtins::filter_function(name) {
            let function = move |arguments: Vec<Value>| Ok(ask(&state, kind, &arguments)?);
            self.engine
                .add_extension(name.to_owned(), arity, Box::new(function))
        } else if let Some(builtin) = Builtin::find(name) {
            let (arity, name) = (builtin.arity(), name.to_owned());
            let called = name.clone();
            let function =
                move |arguments: Vec<Value>| Ok(call(&state, &builtin, &called, &arguments)?);
            self.engine.add_extension(name, arity, Box::new(function))
        } else {
            // The policy was checked for such.
            return;
        };
        // It fails for names that are there already, and these are the keys of a map.
        debug_assert!(added.is_ok());
    }

    /// One evaluation; `None` when its time ran out.
    fn attempt(&mut self, given: &Given, limit: Duration) -> Option<Verdict> {
        *lock(&self.state) = State {
            filter: given.filter.clone(),
            now: given.now,
            ..State::default()
        };
        self.engine
            .set_execution_timer_config(ExecutionTimerConfig {
                limit,
                check_interval: STEPS,
            });
        self.engine.set_input(given.input.clone());
        let started = Instant::now();
        let result = self.engine.eval_rule(allow());
        // Whatever comes out after that may come of a step that was cut short.
        let in_time = started.elapsed() <= limit;
        self.engine.set_input(Value::Null);
        let state = std::mem::take(&mut *lock(&self.state));
        if let Some(trouble) = state.trouble {
            return Some(Verdict::Trouble(trouble));
        }
        in_time.then(|| match result {
            Ok(Value::Bool(true)) => Verdict::Allow,
            Ok(Value::Bool(false)) => Verdict::Deny(state.missing),
            Ok(other) => Verdict::Trouble(not_a_flag(&other)),
            Err(error) => {
                Verdict::Trouble(PolicyError::from_engine(&error.to_string()).to_string())
            }
        })
    }
}

fn not_a_flag(value: &Value) -> String {
    let kind = match value {
        Value::Undefined => {
            return "`allow` is undefined for this request; `default allow = false` is missing"
                .to_owned();
        }
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Set(_) => "a set",
        Value::Object(_) => "an object",
    };
    format!("`allow` is {kind}, and must be true or false")
}

fn ask(state: &Mutex<State>, kind: Kind, arguments: &[Value]) -> Result<Value, Ended> {
    let mut state = lock(state);
    match filters::ask(kind, arguments, &state.filter) {
        Ok(None) => Ok(Value::Bool(true)),
        Ok(Some(missing)) => {
            state.missing.insert(missing);
            Ok(Value::Bool(false))
        }
        Err(problem) => {
            state.trouble.get_or_insert(problem);
            Err(Ended)
        }
    }
}

fn call(
    state: &Mutex<State>,
    builtin: &Builtin,
    name: &str,
    arguments: &[Value],
) -> Result<Value, Ended> {
    if builtin.is_clock() {
        return Ok(Value::from(lock(state).now));
    }
    let result = match builtin.call(arguments) {
        Ok(value) => value,
        Err(Refusal::Undefined) => return Ok(Value::Undefined),
        Err(refusal) => {
            let problem = match refusal {
                Refusal::NotHere(problem) => problem,
                _ => "was given more than the limits for size and time allow",
            };
            let trouble = format!("`{name}` {problem}");
            lock(state).trouble.get_or_insert(trouble);
            return Err(Ended);
        }
    };
    let mut state = lock(state);
    state.made += weight(&result, MOST_MADE).unwrap_or(MOST_MADE + 1);
    if state.made > MOST_MADE {
        state.trouble.get_or_insert(too_much());
        return Err(Ended);
    }
    Ok(result)
}

/// Nothing that is guarded here can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever is slow and is refused in no time is no less slow for that, and goes on being kept off the thread that asks.
    #[test]
    fn a_refusal_does_not_speak_for_a_policy() {
        let text = "package io.choria.aaasvc\nallow = true";
        let policy = Policy::compile("slow", text, Value::new_object(), 1 << 10).unwrap();
        policy.slow.store(PATIENT, Ordering::Relaxed);
        let given = Given {
            input: Value::new_object(),
            filter: Filter::default(),
            now: 0,
            limit: Duration::ZERO,
        };
        let said = policy.evaluate(given, &Lane::default());
        assert_eq!(said, Verdict::Trouble(too_long(Duration::ZERO)));
        assert_eq!(policy.slow.load(Ordering::Relaxed), PATIENT);
    }
}
