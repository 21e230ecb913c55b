//! Puppet Tasks: two decisions on record, whatever comes of either.

use super::*;

/// A request to run a task.
fn run_of(task: &str) -> Vec<u8> {
    let body =
        serde_json::json!({"agent": "bolt_tasks", "action": "run_no_wait", "data": {"task": task}});
    request_with("bolt_tasks", "run_no_wait", |request| {
        request["message"] = STANDARD.encode(body.to_string()).into();
    })
}

/// What was decided about which action, and whether it was allowed.
fn decided(site: &Site) -> Vec<(Option<String>, bool)> {
    let records = site.records();
    assert!(
        records
            .iter()
            .all(|record| record.exchange.id == "exchange-1")
    );
    let decided = records
        .iter()
        .map(|record| (record.action.clone(), record.outcome.is_allowed()));
    decided.collect()
}

#[tokio::test]
async fn a_task_is_decided_twice_and_both_are_on_record() {
    let task = || Some("puppet_conf".to_owned());
    for (agents, expected, answer) in [
        (
            &["bolt_tasks.run_no_wait", "bolt_tasks.puppet_conf"][..],
            vec![(None, true), (task(), true)],
            None,
        ),
        (&["bolt_tasks.*"], vec![(None, true), (task(), true)], None),
        (
            &["bolt_tasks.run_no_wait"],
            vec![(None, true), (task(), false)],
            Some("bolt_tasks.puppet_conf here"),
        ),
        (
            &["bolt_tasks.puppet_conf"],
            vec![(None, false), (task(), true)],
            Some("bolt_tasks.run_no_wait here"),
        ),
        // The one that refused first is the answer.
        (
            &["rpcutil.ping"],
            vec![(None, false), (task(), false)],
            Some("bolt_tasks.run_no_wait here"),
        ),
    ] {
        let site = Site::new();
        let mut asked = site.ask(run_of("puppet_conf"));
        asked.token =
            site.token(|grant| grant.agents = agents.iter().map(|a| (*a).into()).collect());
        match answer {
            None => assert!(matches!(
                site.sign(asked).await.unwrap(),
                SignOutcome::Signed(_)
            )),
            Some(words) => {
                let told = site.refused(asked).await;
                assert!(told.contains(words), "{told}");
            }
        }
        assert_eq!(decided(&site), expected, "{agents:?}");
    }
}

#[tokio::test]
async fn rego_is_asked_about_the_task_as_an_action() {
    let policy = r#"package io.choria.aaasvc
        default allow = false
        allow { input.agent == "bolt_tasks"; input.action == "run_no_wait" }
        allow { input.agent == "bolt_tasks"; input.action == "puppet_conf"; input.data.task == "puppet_conf" }"#;
    for (task, signed) in [("puppet_conf", true), ("gcompute::snapshot", false)] {
        let site = Site::with(
            vec![Box::new(Opa::default())],
            false,
            Remembering::default(),
        );
        let mut asked = site.ask(run_of(task));
        asked.token = site.token(|grant| grant.opa_policy = policy.into());
        let outcome = site.sign(asked).await.unwrap();
        assert_eq!(matches!(outcome, SignOutcome::Signed(_)), signed, "{task}");
        assert_eq!(decided(&site).len(), 2);
    }
}

#[tokio::test]
async fn what_is_no_task_is_not_run_by_anybody() {
    let site = Site::new();
    let mut asked = site.ask(run_of("../x"));
    asked.token = site.token(|grant| grant.agents = vec!["*".into()]);
    let told = site.refused(asked).await;
    assert!(told.contains("is no name of a task"), "{told}");
    assert_eq!(decided(&site), [(None, false)]);
}
