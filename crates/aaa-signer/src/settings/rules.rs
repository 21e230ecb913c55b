//! The sections `guards` and `tasks`: rules of the site that need no policy language.

use aaa_policy::guards::{BusinessHours, Confinement, DAYS, Guards, Hours};
use aaa_policy::pattern::Pattern;
use aaa_policy::task_rules::{TaskRule, TaskRules};
use aaa_service::config::{Kind, Section, Setting};
use jiff::tz::TimeZone;
use serde_json::Value;

/// What a pattern of actions looks like.
const ACTIONS: &str = "wants actions such as puppet.disable, puppet.* or *";

/// The section `guards`.
pub static GUARDS: &[Setting] = &[
    Setting::new(
        "require_filter",
        Kind::List,
        "Actions that are only signed with a filter: `agent.action`, where `*` stands for any text.",
    )
    .example("[\"puppet.disable\", \"service.*\"]"),
    Setting::new(
        "max_ttl",
        Kind::Duration,
        "The longest time to live that a request may have, in whole seconds. Tells the caller what is wrong, as all guards do.",
    )
    .example("\"2m\""),
    Setting::new(
        "collectives",
        Kind::Section,
        "Callers, where `*` stands for any text, and the collectives that they are held to. A caller whom several patterns mean is held to \
         each of them; one whom none means is free.",
    )
    .example("{\"up=*\": [\"mcollective\", \"dev\"], \"up=contractor-*\": [\"dev\"]}"),
    Setting::new(
        "business_hours",
        Kind::Section,
        "When certain actions are signed.",
    )
    .example("{\"timezone\": \"Europe/Malta\", \"from\": \"08:00\", \"to\": \"18:00\"}"),
    Setting::new(
        "deny_agents",
        Kind::List,
        "Agents that nobody may use, where `*` stands for any text. Discovery is always allowed.",
    )
    .example("[\"shell\"]"),
];

/// The section `guards.business_hours`.
pub static BUSINESS_HOURS: &[Setting] = &[
    Setting::new(
        "timezone",
        Kind::Text,
        "The time zone whose clock counts, by its name in the host's time zone database; on a host without one, in the service's own.",
    )
    .example("\"Europe/Malta\""),
    Setting::new("days", Kind::Words, "The days of the week.")
        .default("mon,tue,wed,thu,fri")
        .example("[\"mon\", \"tue\"]"),
    Setting::new("from", Kind::Text, "When the day begins.").example("\"08:00\""),
    Setting::new("to", Kind::Text, "When it has ended; `24:00` is midnight.").example("\"18:00\""),
    Setting::new(
        "actions",
        Kind::Words,
        "The actions that are signed at these hours only: `agent.action`, where `*` stands for any text.",
    )
    .default("*")
    .example("[\"puppet.disable\"]"),
];

/// An item of the list `tasks`.
pub static TASK: &[Setting] = &[
    Setting::new(
        "task",
        Kind::Text,
        "The task that the rule is about, where `*` stands for any text.",
    )
    .example("\"puppet_conf\""),
    Setting::new(
        "environments",
        Kind::List,
        "The environments that its files may come from, as they are written. Downloads are held to it, too.",
    )
    .example("[\"production\"]"),
    Setting::new(
        "required_inputs",
        Kind::List,
        "The inputs that a run must give, and not empty.",
    )
    .example("[\"section\"]"),
    Setting::new(
        "forbidden_values",
        Kind::Section,
        "Inputs, and the values that they may neither be nor hold, where `*` stands for any text.",
    )
    .example("{\"section\": [\"agent\"], \"path\": [\"/etc/*\"]}"),
];

/// What the file demands of every request; everything that is wrong goes to its problems.
pub(super) fn read(top: &Section<'_>) -> (Guards, TaskRules) {
    let guards = top.section("guards", GUARDS);
    let tasks = top.sections("tasks", TASK);
    (
        guards
            .map(|section| guards_of(&section))
            .unwrap_or_default(),
        TaskRules(tasks.iter().filter_map(task).collect()),
    )
}

fn guards_of(section: &Section<'_>) -> Guards {
    let max_ttl = section.duration("max_ttl");
    if max_ttl.is_some_and(|ttl| ttl.as_secs() == 0) {
        section.problem("max_ttl", "must be at least 1s");
    }
    let deny_agents = section.list("deny_agents");
    if deny_agents.iter().any(|agent| agent == "discovery") {
        section.problem("deny_agents", "discovery is always allowed; leave it out");
    }
    let confined = lists(section, "collectives").into_iter();
    Guards {
        require_filter: actions(section, "require_filter"),
        max_ttl,
        collectives: confined
            .filter_map(|(callers, collectives)| {
                let callers = pattern(section, "collectives", &callers)?;
                Some(Confinement {
                    callers,
                    collectives,
                })
            })
            .collect(),
        business_hours: section
            .section("business_hours", BUSINESS_HOURS)
            .and_then(|section| business_hours(&section)),
        deny_agents: deny_agents
            .iter()
            .filter_map(|agent| pattern(section, "deny_agents", agent))
            .collect(),
    }
}

fn business_hours(section: &Section<'_>) -> Option<BusinessHours> {
    let zone = section.required_string("timezone").and_then(|name| {
        let zone = TimeZone::get(&name).ok();
        if zone.is_none() {
            let wants = "no time zone that is known; wants a name such as Europe/Malta or UTC";
            section.problem("timezone", wants);
        }
        zone
    });
    let (from, to) = (
        section.required_string("from"),
        section.required_string("to"),
    );
    let hours = from.zip(to).and_then(|(from, to)| {
        let hours = Hours::read(&from, &to);
        if hours.is_none() {
            let wants = "wants two times of a day such as 08:00 and 18:00, the later one here";
            section.problem("to", wants);
        }
        hours
    });
    let names = section.list("days");
    let mut days = Vec::with_capacity(names.len());
    for name in &names {
        match DAYS.iter().find(|(known, _)| known == name) {
            Some((_, day)) => days.push(*day),
            None => section.problem("days", "wants some of mon, tue, wed, thu, fri, sat, sun"),
        }
    }
    let actions = actions(section, "actions");
    if names.is_empty() {
        section.problem(
            "days",
            "no day; leave guards.business_hours out, or name some",
        );
    }
    if actions.is_empty() {
        section.problem("actions", "no action; leave it out for all of them");
    }
    Some(BusinessHours {
        zone: zone?,
        days,
        hours: hours?,
        actions,
    })
}

fn task(section: &Section<'_>) -> Option<TaskRule> {
    let name = section.required_string("task");
    let rule = TaskRule {
        task: pattern(section, "task", &name?)?,
        environments: section.list("environments"),
        required_inputs: section.list("required_inputs"),
        forbidden_values: lists(section, "forbidden_values")
            .into_iter()
            .map(|(input, values)| {
                let values = values.iter();
                let values = values.filter_map(|value| pattern(section, "forbidden_values", value));
                (input, values.collect())
            })
            .collect(),
    };
    let demands = !rule.environments.is_empty()
        || !rule.required_inputs.is_empty()
        || !rule.forbidden_values.is_empty();
    if !demands {
        let text = "has no rules; give environments, required_inputs or forbidden_values";
        section.problem("task", text);
    }
    Some(rule)
}

fn pattern(section: &Section<'_>, key: &str, text: &str) -> Option<Pattern> {
    let pattern = Pattern::new(text);
    if pattern.is_none() {
        let wants = "wants texts of 1 to 256 bytes without control characters";
        section.problem(key, wants);
    }
    pattern
}

fn actions(section: &Section<'_>, key: &str) -> Vec<Pattern> {
    let texts = section.list(key);
    // What has no dot could mean no action: they are compared as agent.action.
    if texts.iter().any(|text| !text.contains(['.', '*'])) {
        section.problem(key, ACTIONS);
    }
    texts
        .iter()
        .filter_map(|text| pattern(section, key, text))
        .collect()
}

/// An object of lists of texts. A list without items would say nothing, and is a mistake.
fn lists(section: &Section<'_>, key: &str) -> Vec<(String, Vec<String>)> {
    let members = match section.raw(key) {
        None => return Vec::new(),
        Some(Value::Object(members)) => members,
        Some(_) => {
            section.problem(key, "wants an object whose members are lists of texts");
            return Vec::new();
        }
    };
    let texts = |value: &Value| -> Option<Vec<String>> {
        let items = value.as_array().filter(|items| !items.is_empty())?;
        let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
        texts.collect()
    };
    let mut lists = Vec::with_capacity(members.len());
    for (name, value) in members {
        match texts(value) {
            Some(list) => lists.push((name.clone(), list)),
            None => section.problem(
                key,
                "wants a list of texts for each name, with one text at least",
            ),
        }
    }
    lists
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
