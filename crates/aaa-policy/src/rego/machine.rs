//! The engine that evaluates a policy, and what it may use.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aaa_core::filter::Filter;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::bounded::BOUNDED;
use super::builtins::{self, Builtin};
use super::error::PolicyError;
use super::filters::{self, Kind, Missing};
use super::guard::{LARGEST_NUMBER, Refusal};
use super::input::{bits, document, weight};
use super::inspect::Inspection;
use super::visible::Visible;
use crate::Question;

/// The rule that decides, as the engine knows it.
const ALLOW: &str = "data.io.choria.aaasvc.allow";

/// Steps that the engine may take between looks at the clock.
const STEPS: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// The same where others wait.
const FEW_STEPS: NonZeroU32 = NonZeroU32::new(4).unwrap();

/// What one evaluation may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// How long it may take.
    time: Duration,
    /// How many steps the engine takes between looks at the clock.
    steps: NonZeroU32,
    /// The most that a value may be that could grow, in units of [`weight`].
    value: usize,
    /// The most that the results of functions may amount to, in the same units.
    results: usize,
}

impl Allowance {
    /// Where nobody else waits.
    pub(super) const fn apart(time: Duration) -> Self {
        Self {
            time,
            steps: STEPS,
            value: 1 << 20,
            results: 1 << 22,
        }
    }

    /// Where others wait: no step takes long, and the clock is looked at often.
    pub(super) const fn brief(time: Duration) -> Self {
        Self {
            time,
            steps: FEW_STEPS,
            value: 1 << 12,
            results: 1 << 14,
        }
    }
}

/// What of a request a policy needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Needs {
    pub(super) visible: Visible,
    pub(super) filter: bool,
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

/// An engine, and what its functions know of the evaluation that it is in.
pub(super) struct Machine {
    pub(super) engine: Engine,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The most that a value may be.
    value: usize,
    /// What the results of functions may still amount to.
    results: usize,
    filter: Filter,
    now: i64,
    missing: BTreeSet<Missing>,
    /// Whether it would have used more than it may.
    outgrown: bool,
    /// Why the evaluation is void. The engine takes a failed call for an undefined one at times, so it is kept here.
    trouble: Option<String>,
}

/// What an evaluation would have used more of than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    Time,
    Memory,
}

/// Ends an evaluation; the reason is in the state.
#[derive(Debug, thiserror::Error)]
#[error("a limit was reached")]
struct Ended;

impl Machine {
    pub(super) fn new(engine: Engine, inspection: &Inspection, weighs: bool) -> Self {
        let mut machine = Self {
            engine,
            state: Arc::default(),
        };
        for name in inspection.functions.keys() {
            machine.add(name);
        }
        if weighs {
            machine.weigh();
        }
        machine
    }

    /// Gives it the function that `bounded` has policies call.
    fn weigh(&mut self) {
        let state = Arc::clone(&self.state);
        let function = move |mut arguments: Vec<Value>| {
            let value = arguments.pop().unwrap_or(Value::Undefined);
            let mut state = lock(&state);
            if bits(&value) <= LARGEST_NUMBER && weight(&value, state.value).is_some() {
                return Ok(value);
            }
            state.outgrown = true;
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

    /// One evaluation. An engine that was cut short may remember half of what it did, and is not to be used again.
    ///
    /// # Errors
    /// When it would use more than it may.
    pub(super) fn attempt(&mut self, given: &Given, may: Allowance) -> Result<Verdict, Spent> {
        *lock(&self.state) = State {
            value: may.value,
            results: may.results,
            filter: given.filter.clone(),
            now: given.now,
            ..State::default()
        };
        self.engine
            .set_execution_timer_config(ExecutionTimerConfig {
                limit: may.time,
                check_interval: may.steps,
            });
        self.engine.set_input(given.input.clone());
        let started = Instant::now();
        let result = self.engine.eval_rule(entry());
        // Whatever comes out after that may come of a step that was cut short.
        let in_time = started.elapsed() <= may.time;
        self.engine.set_input(Value::Null);
        let state = std::mem::take(&mut *lock(&self.state));
        if state.outgrown {
            return Err(Spent::Memory);
        }
        if let Some(trouble) = state.trouble {
            return Ok(Verdict::Trouble(trouble));
        }
        if !in_time {
            return Err(Spent::Time);
        }
        Ok(match result {
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
    let Some(left) =
        weight(&result, state.results).and_then(|made| state.results.checked_sub(made))
    else {
        state.outgrown = true;
        return Err(Ended);
    };
    state.results = left;
    Ok(result)
}

/// Nothing that is guarded here can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rule that decides.
pub(super) fn entry() -> String {
    ALLOW.to_owned()
}
