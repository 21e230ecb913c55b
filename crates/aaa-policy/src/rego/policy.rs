//! A compiled policy, and where it is evaluated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aaa_core::decision::Decision;
use regorus::{Engine, Value};

use super::bounded::bound;
use super::builtins;
use super::defined::demand;
use super::error::PolicyError;
use super::filters::{self, Missing};
use super::input::weight;
use super::inspect::{Inspection, inspect, names};
use super::lane::{Deadline, Lane, Stopped, here};
use super::machine::{Allowance, Given, Machine, Needs, Spent, Verdict, entry};
use super::source;
use super::turns::Turns;
use super::written::Written;
use crate::Line;

/// How long an evaluation may take on the thread that asks. Most take a hundredth of it.
const AT_MOST_HERE: Duration = Duration::from_millis(1);

/// How often in a row it may take longer, before a policy is evaluated apart from the start.
const PATIENT: u8 = 3;

/// The deepest that a policy may go on the thread that asks, whose stack is of the usual size.
const DEEPEST_HERE: u32 = 150;

/// The most that there may be to look at in what a policy is given there, in units of [`weight`].
const MOST_HERE: usize = 1 << 16;

/// By how much a policy may multiply what it is given, as a power of two, without weighing what it makes: the largest request, so often, is
/// compared in less than a second, and what may be looked at on the thread that asks in a few milliseconds.
const HARMLESS: u32 = 4;

/// Engines that are kept per policy: as many as may run at once, and not too many of them on a large host.
static MOST_IDLE: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, |cores| cores.get().min(16)));

/// A policy that can be evaluated, by many threads at once.
pub(super) struct Policy {
    /// Prepared once, and copied for each engine; the copies share the syntax.
    template: Engine,
    inspection: Inspection,
    /// What there may be to look at in a request, in units of [`weight`], for it to run on the thread that asks; `None` where it never does.
    room: Option<usize>,
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
        let data_weighs = weight(&data, MOST_HERE);
        let names = names(&parsed.module)?;
        let mut written = Written::new(text);
        demand(&parsed.module, &names, parsed.v0, &mut written)?;
        let weighs = inspection.shape.bits > HARMLESS || data_weighs.is_none();
        if weighs {
            bound(&parsed.module, &names, &mut written)?;
        }
        let written = written.finish()?;
        let template =
            prepare(&written, data, parsed.v0).map_err(|error| error.of_text(text, &written))?;
        let rule = match inspection.allow_line {
            Some(line) => format!("{name} allow (line {line})"),
            None => format!("{name} allow"),
        };
        Ok(Self {
            room: data_weighs
                .filter(|_| inspection.shape.levels <= DEEPEST_HERE)
                .map(|data| MOST_HERE - data),
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
            // What ran before it was cut short is shown, too.
            let _cut_short = machine.attempt(&given, Allowance::apart(given.limit));
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
            let verdict = machine.attempt(given, Allowance::brief(AT_MOST_HERE));
            (verdict, machine)
        })?;
        let Ok(verdict) = verdict else {
            self.slow.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        };
        self.slow.store(0, Ordering::Relaxed);
        self.turns.ended();
        let mut idle = lock(&self.idle);
        if idle.len() < *MOST_IDLE {
            idle.push(machine);
        }
        Ok(Some(verdict))
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
            let may = Allowance::apart(deadline.for_work());
            match machine.attempt(&given, may) {
                Ok(verdict) => Some(verdict),
                Err(Spent::Memory) => Some(Verdict::Trouble(too_much())),
                Err(Spent::Time) => None,
            }
        });
        // It may have been the host that was slow.
        if verdict.is_ok() && started.elapsed() < AT_MOST_HERE {
            self.slow.store(0, Ordering::Relaxed);
        }
        verdict
    }

    fn runs_at_once(&self, input: &Value) -> bool {
        self.room.is_some_and(|room| weight(input, room).is_some())
    }

    fn machine(&self) -> Machine {
        Machine::new(self.template.clone(), &self.inspection, self.weighs)
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
        .and_then(|_| engine.compile_with_entrypoint(&entry().into()));
    match made_ready {
        Ok(_) => Ok(engine),
        Err(error) => Err(PolicyError::from_engine(&error.to_string())),
    }
}

/// Nothing that is guarded here can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_much() -> String {
    "it needs more memory than the limit allows".to_owned()
}

fn too_long(limit: Duration) -> String {
    format!("it did not end within {} ms", limit.as_millis())
}

#[cfg(test)]
mod tests {
    use aaa_core::filter::Filter;

    use super::*;

    fn compiled(lines: &str) -> Policy {
        let text = format!("package io.choria.aaasvc\nimport rego.v1\n{lines}\n");
        Policy::compile("test", &text, Value::new_object(), 1 << 10).unwrap()
    }

    fn given(limit: Duration) -> Given {
        Given {
            input: Value::from_json_str(r#"{"xs": ["a", "b", "c"]}"#).unwrap(),
            filter: Filter::default(),
            now: 0,
            limit,
        }
    }

    /// Whoever is slow and is refused in no time is no less slow for that, and goes on being kept off the thread that asks.
    #[test]
    fn a_refusal_does_not_speak_for_a_policy() {
        let policy = compiled("allow := true");
        policy.slow.store(PATIENT, Ordering::Relaxed);
        let said = policy.evaluate(given(Duration::ZERO), &Lane::default());
        assert_eq!(said, Verdict::Trouble(too_long(Duration::ZERO)));
        assert_eq!(policy.slow.load(Ordering::Relaxed), PATIENT);
    }

    #[test]
    fn what_could_grow_runs_at_once_and_what_does_grow_runs_apart() {
        for (lines, here) in [
            (
                "allow if count({[a, b] | some a in input.xs; some b in input.xs}) == 9",
                Ok(Verdict::Allow),
            ),
            (
                "allow if { xs := {[i, j] | some i in numbers.range(1, 70); some j in numbers.range(1, 70)}; count(xs) == 4900 }",
                Err(Spent::Memory),
            ),
            (
                "allow if count(numbers.range(1, 20000)) == 20000",
                Err(Spent::Memory),
            ),
        ] {
            let (policy, given) = (compiled(lines), given(Duration::from_mins(1)));
            assert!(policy.runs_at_once(&given.input), "{lines}");
            let brief = Allowance::brief(given.limit);
            assert_eq!(policy.machine().attempt(&given, brief), here, "{lines}");
            let verdict = policy.evaluate(given, &Lane::default());
            assert_eq!(verdict, Verdict::Allow, "{lines}");
        }
    }
}
