//! Rules of a site about the inputs of Puppet Tasks, which hold whoever runs one and whatever their token says.
//!
//! Clients put the inputs of a task into the input `input` of the run, and the files that it is made of into `files`, both as a text
//! of JSON. Where a rule is about a task, what cannot be read one way only is refused.

use aaa_core::decision::Decision;
use aaa_core::json::{Strict, folds_alike};
use aaa_core::request::{Body, Request};
use serde_json::{Map, Value};

use crate::pattern::Pattern;
use crate::{Authorizer, Look, Question, tasks};

/// What is demanded of runs of certain tasks.
#[derive(Debug, Clone)]
pub struct TaskRule {
    /// The tasks.
    pub task: Pattern,
    /// The environments that their files may come from; any when there are none.
    pub environments: Vec<String>,
    /// The inputs that must be there and not empty.
    pub required_inputs: Vec<String>,
    /// Inputs, and the values that they may not have.
    pub forbidden_values: Vec<(String, Vec<Pattern>)>,
}

/// All of them. Every rule that is about a task must hold.
#[derive(Debug, Clone, Default)]
pub struct TaskRules(pub Vec<TaskRule>);

impl Authorizer for TaskRules {
    fn name(&self) -> &'static str {
        "tasks"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        match self.hold(question, seen) {
            Ok(()) => Decision::allow("tasks"),
            Err((rule, why)) => Decision::Deny {
                rule: rule.into(),
                hint: Some(why),
            },
        }
    }
}

/// The rule that does not hold, and what is missing.
type Broken = (&'static str, String);

impl TaskRules {
    fn hold(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Result<(), Broken> {
        let request = question.request;
        let task = match tasks::concerned(request) {
            _ if self.0.is_empty() => return Ok(()),
            Ok(None) => return Ok(()),
            Ok(Some(task)) => task,
            Err(why) => return Err(("task", why.to_owned())),
        };
        // A run is asked about twice, and its inputs belong to the task. Fetching files is asked about once.
        let runs = tasks::actions(request).is_ok_and(|actions| actions.task.is_some());
        if runs && question.action != task {
            return Ok(());
        }
        for rule in &self.0 {
            let concerned = rule.task.matches(task);
            let held = match (concerned, runs) {
                (false, _) => Ok(()),
                (true, false) => rule.environment(request),
                (true, true) => rule
                    .environment(request)
                    .and_then(|()| rule.inputs(request)),
            };
            seen(&Look {
                rule: rule.task.as_str(),
                text: &"",
                decided: held.is_err(),
                found: match &held {
                    Err((_, why)) => why,
                    Ok(()) if concerned => &"holds",
                    Ok(()) => &"is about other tasks",
                },
            });
            held?;
        }
        Ok(())
    }
}

impl TaskRule {
    /// Does everything come from an environment that is allowed?
    fn environment(&self, request: &Request) -> Result<(), Broken> {
        if self.environments.is_empty() {
            return Ok(());
        }
        let broken = |why: String| ("environments", why);
        let mut named: Vec<Value> = files(request).map_err(broken)?;
        match input(request, "environment").map_err(broken)? {
            None | Some(Value::Null) => {}
            Some(environment) => named.push(environment.clone()),
        }
        let allowed = self.environments.join(", ");
        if named.is_empty() {
            let why = format!("the request names no environment; needs one of {allowed}");
            return Err(broken(why));
        }
        let good = |environment: &Value| {
            let mut allowed = self.environments.iter();
            environment
                .as_str()
                .is_some_and(|name| allowed.any(|one| one == name))
        };
        if named.iter().all(good) {
            Ok(())
        } else {
            let why = format!("the files of the task must come from the environment {allowed}");
            Err(broken(why))
        }
    }

    /// Has the task the inputs that it needs, and none that it may not have?
    fn inputs(&self, request: &Request) -> Result<(), Broken> {
        if self.required_inputs.is_empty() && self.forbidden_values.is_empty() {
            return Ok(());
        }
        let inputs = inputs(request).map_err(|why| ("inputs", why))?;
        for name in &self.required_inputs {
            let there = match inputs.get(name) {
                None | Some(Value::Null) => false,
                Some(Value::String(text)) => !text.trim().is_empty(),
                Some(_) => true,
            };
            if !there {
                return Err((
                    "required_inputs",
                    format!("the task needs the input {name}"),
                ));
            }
        }
        for (name, values) in &self.forbidden_values {
            let mut given = inputs
                .iter()
                .filter(|(key, _)| *key == name || folds_alike(key, name));
            if given.any(|(_, value)| values.iter().any(|forbidden| has(value, forbidden))) {
                let why = format!("the task may not have that value of the input {name}");
                return Err(("forbidden_values", why));
            }
        }
        Ok(())
    }
}

/// Whether a value is what is meant, or holds it.
fn has(value: &Value, forbidden: &Pattern) -> bool {
    match value {
        Value::String(text) => means(text, forbidden),
        Value::Array(items) => {
            means(&value.to_string(), forbidden) || items.iter().any(|item| has(item, forbidden))
        }
        Value::Object(members) => {
            means(&value.to_string(), forbidden)
                || members
                    .iter()
                    .any(|(name, member)| means(name, forbidden) || has(member, forbidden))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => means(&value.to_string(), forbidden),
    }
}

/// The same text, or the same number however it is written: a shell takes `22` and `22.0` for what it likes.
fn means(text: &str, forbidden: &Pattern) -> bool {
    let text = text.trim();
    let number = |text: &str| text.parse::<f64>().ok().map(f64::to_bits);
    forbidden.matches(text)
        || number(forbidden.as_str()).is_some_and(|wanted| number(text) == Some(wanted))
}

/// One of the request's own inputs, if no other is called like it but for its letters' case.
fn input<'a>(request: &'a Request, name: &str) -> Result<Option<&'a Value>, String> {
    let Body::Rpc { data, .. } = request.body() else {
        return Ok(None);
    };
    let Some(inputs) = data.as_object() else {
        return Ok(None);
    };
    if inputs
        .keys()
        .any(|key| key != name && folds_alike(key, name))
    {
        return Err(format!(
            "an input is called like {name} but for its letters' case"
        ));
    }
    Ok(inputs.get(name))
}

/// One of the request's own inputs that is JSON as a text.
fn json(request: &Request, name: &str) -> Result<Option<Value>, String> {
    let text = match input(request, name)? {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(_) => return Err(format!("the input {name} is no text of JSON")),
    };
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(value)) => Ok(Some(value)),
        Err(_) => Err(format!(
            "the input {name} is no JSON, or has a member twice"
        )),
    }
}

/// The inputs of the task.
fn inputs(request: &Request) -> Result<Map<String, Value>, String> {
    match json(request, "input")? {
        None => Ok(Map::new()),
        Some(Value::Object(inputs)) => Ok(inputs),
        Some(_) => Err("the input named input is no object of JSON".to_owned()),
    }
}

/// The environment of each of the task's files, null where a file has none.
fn files(request: &Request) -> Result<Vec<Value>, String> {
    let files = match json(request, "files")? {
        None => return Ok(Vec::new()),
        Some(Value::Array(files)) => files,
        Some(_) => return Err("the input files is no list of files".to_owned()),
    };
    let environment = |file: &Value| {
        let path = file.pointer("/uri/path").and_then(Value::as_str);
        // An address could bring an environment of its own.
        if path.is_none_or(|path| path.contains(['?', '#', '%'])) {
            return Err("a file of the task has no plain path".to_owned());
        }
        let environment = file.pointer("/uri/params/environment");
        Ok(environment.cloned().unwrap_or_default())
    };
    files.iter().map(environment).collect()
}

#[cfg(test)]
#[path = "task_rules_tests.rs"]
mod tests;
