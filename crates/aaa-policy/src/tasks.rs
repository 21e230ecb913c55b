//! Puppet Tasks, checked twice: who runs one needs leave to run tasks, and leave to run this one.
//!
//! The agent `bolt_tasks` runs tasks with the actions `run_and_wait` and `run_no_wait`, and `data.task` names the task. Leave to run
//! it is leave for an action of that name in the same agent: `bolt_tasks.puppet_conf`, `bolt_tasks.gcompute::snapshot`.

use aaa_core::json::folds_alike;
use aaa_core::request::{Body, Request};

/// The agent that runs tasks.
const AGENT: &str = "bolt_tasks";

/// Its actions. No task may be called like one: leave for the action would be leave for the task.
const ACTIONS: [&str; 4] = ["download", "run_and_wait", "run_no_wait", "task_status"];

/// Those that run a task.
const RUNS: [&str; 2] = ["run_and_wait", "run_no_wait"];

/// The one that has nodes fetch the files of a task.
const DOWNLOAD: &str = "download";

/// The input that names the task.
const TASK: &str = "task";

/// The longest name of a task.
const LONGEST: usize = 256;

/// The actions that a request needs leave for, each of which is decided and put on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actions<'a> {
    /// Its own.
    pub own: &'a str,
    /// The task that it runs, if it runs one.
    pub task: Option<&'a str>,
}

/// What a request needs leave for.
///
/// # Errors
/// Why the task that it runs is none, for a caller in good standing.
pub fn actions(request: &Request) -> Result<Actions<'_>, &'static str> {
    let own = request.action();
    if request.agent() != AGENT || !RUNS.contains(&own) {
        return Ok(Actions { own, task: None });
    }
    Ok(Actions {
        own,
        task: Some(named(request)?),
    })
}

/// The task whose files a request has nodes fetch, or which it runs; `None` when it is about no task.
///
/// # Errors
/// Why the task is none, as for [`actions`].
pub(crate) fn concerned(request: &Request) -> Result<Option<&str>, &'static str> {
    let about = request.agent() == AGENT
        && (RUNS.contains(&request.action()) || request.action() == DOWNLOAD);
    about.then(|| named(request)).transpose()
}

/// The task that the input names.
fn named(request: &Request) -> Result<&str, &'static str> {
    let Body::Rpc { data, .. } = request.body() else {
        return Err("only an RPC request runs a task");
    };
    // An agent written in Go would take the last of these, whichever way it is spelled.
    let mut keys = data
        .as_object()
        .into_iter()
        .flat_map(|inputs| inputs.keys());
    if keys.any(|key| key != TASK && folds_alike(key, TASK)) {
        return Err("an input is called like task but for its letters' case");
    }
    match data.get(TASK).and_then(|task| task.as_str()) {
        None | Some("") => Err("the input task is missing, and names the task to run"),
        Some(task) if !is_name(task) => {
            Err("the input task is no name of a task, such as puppet_conf or gcompute::snapshot")
        }
        Some(task) if ACTIONS.contains(&task) => {
            Err("the task is called like an action of bolt_tasks, and cannot be told from it")
        }
        Some(task) => Ok(task),
    }
}

/// Whether Puppet could call a task so: words of small letters, digits and underscores that begin with a letter, joined by `::`.
fn is_name(task: &str) -> bool {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    task.len() <= LONGEST && task.split("::").all(word)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(agent: &str, action: &str, data: &Value) -> Request {
        let message = json!({"agent": agent, "action": action, "data": data}).to_string();
        let request = json!({"protocol": "choria:request:1", "message": message, "envelope": {
            "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1", "callerid": "up=bob",
            "collective": "mcollective", "agent": agent, "ttl": 60, "time": 1_795_346_555, "filter": {}}});
        Request::parse(request.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_run_needs_leave_for_its_task_too() {
        let asks = |agent: &str, action: &str, task: &str| {
            let request = request(agent, action, &json!({"task": task, "input": "{}"}));
            let actions = actions(&request).unwrap();
            assert_eq!(actions.own, action);
            actions.task.map(str::to_owned)
        };
        for action in RUNS {
            for task in ["puppet_conf", "gcompute::snapshot"] {
                assert_eq!(asks(AGENT, action, task), Some(task.to_owned()));
            }
        }
        for action in ["download", "task_status", "Run_and_wait"] {
            assert_eq!(asks(AGENT, action, "puppet_conf"), None);
        }
        assert_eq!(asks("other", "run_no_wait", "puppet_conf"), None);
    }

    #[test]
    fn a_run_of_no_task_is_none() {
        for data in [
            json!({}),
            json!({"task": null}),
            json!({"task": ""}),
            json!({"task": 7}),
            json!({"task": ["puppet_conf"]}),
            json!({"Task": "puppet_conf"}),
            json!({"task": "*"}),
            json!({"task": "puppet_conf "}),
            json!({"task": "Puppet_conf"}),
            json!({"task": "_conf"}),
            json!({"task": "a.b"}),
            json!({"task": "a:b"}),
            json!({"task": "a::"}),
            json!({"task": "::a"}),
            json!({"task": "a::2"}),
            json!({"task": "../../etc/shadow"}),
            json!({"task": "caf\u{e9}"}),
            json!({"task": "x".repeat(257)}),
            json!({"task": "puppet_conf", "Task": "other"}),
            json!({"task": "puppet_conf", "tas\u{212a}": "other"}),
            json!({"task": "task_status"}),
            json!({"task": "run_and_wait"}),
            Value::Null,
        ] {
            assert!(
                actions(&request(AGENT, "run_and_wait", &data)).is_err(),
                "{data}"
            );
        }
    }
}
