use std::sync::LazyLock;

use aaa_core::claims::ClientClaims;
use serde_json::json;

use super::*;

const TASK: &str = "puppet_conf";

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

fn rule() -> TaskRule {
    TaskRule {
        task: pattern("puppet_*"),
        environments: Vec::new(),
        required_inputs: Vec::new(),
        forbidden_values: Vec::new(),
    }
}

fn request(action: &str, data: &Value) -> Request {
    let message = json!({"agent": "bolt_tasks", "action": action, "data": data}).to_string();
    let request = json!({"protocol": "choria:request:1", "message": message, "envelope": {
        "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1", "callerid": "up=bob",
        "collective": "mcollective", "agent": "bolt_tasks", "ttl": 60, "time": 1_795_346_555, "filter": {}}});
    Request::parse(request.to_string().as_bytes()).unwrap()
}

/// A caller without rights of their own asks for it.
fn question<'a>(request: &'a Request, action: &'a str) -> Question<'a> {
    static NOBODY: LazyLock<ClientClaims> = LazyLock::new(ClientClaims::default);
    Question {
        request,
        action,
        claims: &NOBODY,
        site: "london",
        now: jiff::Timestamp::UNIX_EPOCH,
    }
}

/// What a caller is told who asks that.
fn told(rule: TaskRule, action: &str, asked: &str, data: &Value) -> Option<String> {
    let request = request(action, data);
    let decision = TaskRules(vec![rule]).decide(&question(&request, asked));
    decision.explanation().map(str::to_owned)
}

fn told_of_run(rule: TaskRule, data: &Value) -> Option<String> {
    told(rule, "run_no_wait", TASK, data)
}

fn file(environment: &Value) -> Value {
    json!({"filename": "init.rb", "uri": {"path": "/puppet/v3/file_content/tasks/puppet_conf/init.rb",
        "params": {"environment": environment}}})
}

#[test]
fn files_come_from_allowed_environments() {
    let production = || TaskRule {
        environments: vec!["production".to_owned()],
        ..rule()
    };
    let with = |files: &Value| json!({"task": TASK, "files": files.to_string()});
    let good = with(&json!([file(&json!("production"))]));
    assert_eq!(told_of_run(production(), &good), None);
    let mut query = file(&json!("production"));
    query["uri"]["path"] = json!("/puppet/v3/file_content/x?environment=dev");
    for bad in [
        with(&json!([file(&json!("production")), file(&json!("dev"))])),
        with(&json!([file(&json!("Production"))])),
        with(&json!([file(&json!(null))])),
        with(&json!([file(&json!(["production"]))])),
        with(&json!([query])),
        with(&json!([{}])),
        with(&json!([])),
        with(&json!({"0": file(&json!("production"))})),
        json!({"task": TASK}),
        json!({"task": TASK, "files": [file(&json!("production"))]}),
        json!({"task": TASK, "files": "["}),
        json!({"task": TASK, "files": good["files"], "environment": "dev"}),
        json!({"task": TASK, "files": good["files"], "Environment": "production"}),
        json!({"task": TASK, "files": good["files"], "Files": "[]"}),
    ] {
        assert!(told_of_run(production(), &bad).is_some(), "{bad}");
    }
    // Fetching files is held to it as well.
    let download = |data: &Value| told(production(), "download", "download", data);
    assert_eq!(
        download(&json!({"task": TASK, "environment": "production"})),
        None
    );
    assert!(download(&json!({"task": TASK, "environment": "dev"})).is_some());
    assert!(download(&json!({"environment": "production"})).is_some());
}

#[test]
fn inputs_that_are_required_are_there() {
    let required = || TaskRule {
        required_inputs: vec!["section".to_owned()],
        ..rule()
    };
    let with = |input: &str| told_of_run(required(), &json!({"task": TASK, "input": input}));
    assert_eq!(with(r#"{"section": "main"}"#), None);
    assert_eq!(with(r#"{"section": false}"#), None);
    for bad in [
        "{}",
        r#"{"section": null}"#,
        r#"{"section": " "}"#,
        r#"{"Section": "main"}"#,
    ] {
        assert_eq!(
            with(bad).unwrap(),
            "the task needs the input section",
            "{bad}"
        );
    }
    for unreadable in ["", "[]", "{", r#"{"section": "a", "section": "b"}"#] {
        assert!(with(unreadable).is_some(), "{unreadable}");
    }
    assert!(told_of_run(required(), &json!({"task": TASK})).is_some());
    assert!(
        told_of_run(
            required(),
            &json!({"task": TASK, "input": {"section": "main"}})
        )
        .is_some()
    );
}

#[test]
fn values_that_are_forbidden_are_not_there() {
    let forbidden = |values: &[&str]| TaskRule {
        forbidden_values: vec![(
            "port".to_owned(),
            values.iter().map(|v| pattern(v)).collect(),
        )],
        ..rule()
    };
    let with = |values: &[&str], port: &Value| {
        let input = json!({"port": port}).to_string();
        told_of_run(forbidden(values), &json!({"task": TASK, "input": input}))
    };
    assert_eq!(with(&["22"], &json!(80)), None);
    for (value, port) in [
        ("22", json!(22)),
        ("22", json!(22.0)),
        ("22", json!("22")),
        ("22", json!(" 022")),
        ("22", json!([80, [22]])),
        ("22", json!({"a": {"b": 22}})),
        ("root*", json!("ROOT@host")),
        ("true", json!(true)),
        ("*", json!(null)),
        ("*", json!({})),
    ] {
        assert_eq!(
            with(&[value], &port).unwrap(),
            "the task may not have that value of the input port",
            "{value} {port}"
        );
    }
    // The name in other letters is taken for the same.
    let input = r#"{"PORT": 22}"#;
    assert!(told_of_run(forbidden(&["22"]), &json!({"task": TASK, "input": input})).is_some());
    assert_eq!(
        told_of_run(forbidden(&["22"]), &json!({"task": TASK})),
        None
    );
}

#[test]
fn rules_are_about_their_tasks_alone() {
    let required = || TaskRule {
        required_inputs: vec!["section".to_owned()],
        ..rule()
    };
    let data = json!({"task": "package", "input": "{}"});
    assert_eq!(told(required(), "run_no_wait", "package", &data), None);
    // The run's own action is decided before the task is.
    let data = json!({"task": TASK, "input": "{}"});
    assert_eq!(told(required(), "run_no_wait", "run_no_wait", &data), None);
    assert_eq!(
        told(
            required(),
            "task_status",
            "task_status",
            &json!({"task_id": "x"})
        ),
        None
    );
}

#[test]
fn each_rule_is_shown_until_one_does_not_hold() {
    let rules = TaskRules(vec![
        TaskRule {
            task: pattern("other"),
            ..rule()
        },
        TaskRule {
            required_inputs: vec!["section".to_owned()],
            ..rule()
        },
        rule(),
    ]);
    let data = json!({"task": TASK});
    let request = request("run_no_wait", &data);
    let mut seen = Vec::new();
    rules.explain(&question(&request, TASK), &mut |look| {
        seen.push((look.rule.to_owned(), look.decided, look.found.to_string()));
    });
    assert_eq!(
        seen,
        [
            ("other".to_owned(), false, "is about other tasks".to_owned()),
            (
                "puppet_*".to_owned(),
                true,
                "the task needs the input section".to_owned()
            ),
        ]
    );
}
