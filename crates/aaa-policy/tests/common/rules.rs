//! Rules for tests, and questions about them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test uses a part"
)]

use std::collections::BTreeMap;

use aaa_core::filter::{FactFilter, Filter};
use aaa_policy::actionpolicy::{ActionPolicy, Asked, Options, Sources};

pub const ASKED: Asked<'static> = Asked {
    caller: "up=bob",
    agent: "puppet",
    action: "status",
};

pub fn load(policy: &str) -> Result<ActionPolicy, String> {
    load_with(policy, "", &Options::default())
}

pub fn load_with(policy: &str, groups: &str, options: &Options) -> Result<ActionPolicy, String> {
    let mut sources = Sources::default();
    sources.policy("puppet.policy", policy.as_bytes());
    sources.groups("groups", groups.as_bytes());
    built(sources, options)
}

pub fn load_hiera(files: &[&str]) -> Result<ActionPolicy, String> {
    let mut sources = Sources::default();
    for (index, text) in files.iter().enumerate() {
        sources.hiera(&format!("{index}.yaml"), text.as_bytes());
    }
    built(sources, &Options::default())
}

pub fn built(sources: Sources, options: &Options) -> Result<ActionPolicy, String> {
    sources.build(options).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

pub fn filter(facts: &[(&str, &str, &str)], classes: &[&str]) -> Filter {
    Filter {
        fact: facts
            .iter()
            .map(|(fact, operator, value)| FactFilter {
                fact: (*fact).to_owned(),
                operator: (*operator).to_owned(),
                value: (*value).to_owned(),
            })
            .collect(),
        cf_class: classes.iter().map(|class| (*class).to_owned()).collect(),
        ..Filter::default()
    }
}

pub fn whole(sources: Sources) -> ActionPolicy {
    let options = Options {
        default_policy: Some("default".to_owned()),
        ..Options::default()
    };
    sources.build(&options).unwrap()
}

pub fn from_files(files: &BTreeMap<String, String>) -> ActionPolicy {
    let mut sources = Sources::default();
    for (agent, text) in files {
        sources.policy(&format!("{agent}.policy"), text.as_bytes());
    }
    whole(sources)
}

pub fn from_hiera(text: &str) -> ActionPolicy {
    let mut sources = Sources::default();
    sources.hiera("all.yaml", text.as_bytes());
    whole(sources)
}
