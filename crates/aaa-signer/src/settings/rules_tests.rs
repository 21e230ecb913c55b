use aaa_service::config::Document;
use serde_json::json;

use super::*;

fn document(config: &Value) -> Document {
    Document::parse("signer.json", config.to_string().as_bytes()).unwrap()
}

/// All that is wrong with it.
fn problems(config: &Value) -> String {
    let document = document(config);
    let _: (Guards, TaskRules) = read(&document.top());
    document
        .finish()
        .map_or_else(|problems| problems.to_string(), |()| String::new())
}

#[test]
fn every_example_reads() {
    let example = |table: &[Setting]| -> Value {
        let members = table.iter().map(|setting| {
            let value: Value = serde_json::from_str(setting.example).unwrap();
            (setting.key.to_owned(), value)
        });
        Value::Object(members.collect())
    };
    let mut guards = example(GUARDS);
    guards["business_hours"] = example(BUSINESS_HOURS);
    let config = json!({"guards": guards, "tasks": [example(TASK)]});
    assert_eq!(problems(&config), "");
    let document = document(&config);
    let (guards, TaskRules(tasks)) = read(&document.top());
    assert_eq!(guards.require_filter.len(), 2);
    assert_eq!(guards.collectives.len(), 2);
    assert_eq!(guards.deny_agents.len(), 1);
    assert!(guards.business_hours.is_some() && guards.max_ttl.is_some());
    assert_eq!(tasks[0].forbidden_values.len(), 2);
}

#[test]
fn nothing_is_demanded_where_nothing_is_set() {
    let document = document(&json!({}));
    let (guards, TaskRules(tasks)) = read(&document.top());
    assert!(guards.is_empty() && tasks.is_empty());
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let said = problems(&json!({
        "guards": {
            "require_filter": ["puppet"], "max_ttl": "10ms", "deny_agents": ["discovery", ""], "requirefilter": [],
            "collectives": {"up=*": [], "up=b*": "dev"},
            "business_hours": {"timezone": "Mars/Olympus", "days": ["monday"], "from": "18:00", "to": "08:00"}
        },
        "tasks": [{"task": "puppet_conf"}, {"environments": ["production"]}, {"task": "a", "forbidden_values": {"b": [1]}}]
    }));
    for expected in [
        "guards.require_filter",
        "guards.max_ttl",
        "guards.deny_agents",
        "guards.requirefilter",
        "guards.collectives",
        "guards.business_hours.timezone",
        "guards.business_hours.days",
        "guards.business_hours.to",
        "tasks[0].task",
        "tasks[1].task",
        "tasks[2].forbidden_values",
    ] {
        assert!(
            said.contains(expected),
            "{expected} is missing from:\n{said}"
        );
    }
}

#[test]
fn a_host_without_time_zones_has_ours() {
    // What is asked where there is no /usr/share/zoneinfo, as in a container from scratch.
    let ours = jiff::tz::TimeZoneDatabase::bundled();
    let malta = ours.get("Europe/Malta").unwrap();
    let noon = "2026-07-01T10:00:00Z".parse().unwrap();
    assert_eq!(malta.to_datetime(noon).hour(), 12);
}
