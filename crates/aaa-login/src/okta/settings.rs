//! The section `okta_authenticator`.

use std::collections::HashMap;

use aaa_api::client::Trust;
use aaa_service::config::{Kind, MAX_FILE_BYTES, Section, Setting, Table};
use serde_json::Value;

use super::Groups;
use super::tenant::{Access, Origin, Tenant};
use crate::authenticator::Rights;
use crate::grants;
use crate::settings::{ALLOW_UNSIGNED, FALLBACK, SIGNING_KEY, SIGNING_TOKEN, VALIDITY};
use crate::users::is_action;

/// The section's name.
pub const SECTION: &str = "okta_authenticator";

/// Its settings.
pub static OKTA: &Table = &[
    Setting::new(
        "endpoint",
        Kind::Text,
        "The tenant's address, with `https://` and without a path.",
    )
    .example("\"https://example.okta.com\""),
    Setting::new(
        "client_id",
        Kind::Text,
        "The id of the application in Okta; its grant types must include the resource owner password.",
    )
    .example("\"0oa1gjh63g214q0Hq0g4\""),
    Setting::new("client_secret", Kind::Secret, "The secret of that application.")
        .example("\"…\""),
    Setting::new(
        "api_token",
        Kind::Secret,
        "An API token of Okta that can read users and groups: of a read-only administrator.",
    )
    .example("\"…\""),
    Setting::new(
        "endpoint_ca",
        Kind::Path,
        "Certificates in PEM of those who may vouch for the endpoint, in place of the authorities that this machine trusts. Read at start and on SIGHUP.",
    )
    .example("\"/etc/aaa/proxy-ca.crt\""),
    Setting::new(
        "timeout",
        Kind::Duration,
        "How long one call to the tenant may take. All calls of a login together may take twice as long.",
    )
    .default("10s")
    .example("\"5s\""),
    SIGNING_KEY,
    SIGNING_TOKEN,
    VALIDITY,
    Setting::new(
        "acls",
        Kind::Section,
        "Action lists by group: an object with names of groups and a list of `*`, `agent.*` or `agent.action` for each.",
    )
    .example("{\"Operations\": [\"puppet.*\", \"rpcutil.ping\"]}"),
    Setting::new(
        "groups",
        Kind::Sections,
        "Groups with more than an action list, each with `group` and what it gives: `acls`, `opa_policy` or `opa_policy_file`, `properties`, `broker_permissions`, `organization`. Somebody in none of the groups here and in `acls` is not let in.",
    )
    .example("[{\"group\": \"Operations\", \"acls\": [\"puppet.*\"], \"broker_permissions\": {\"fleet_management\": true}}]"),
    ALLOW_UNSIGNED,
    FALLBACK,
];

/// The settings of one group in `groups`.
pub static GROUP: &Table = &[
    Setting::new(
        "group",
        Kind::Text,
        "The name of the group in Okta, exactly as it is there.",
    )
    .example("\"Operations\""),
    grants::ORGANIZATION,
    grants::ACLS,
    grants::OPA_POLICY,
    grants::OPA_POLICY_FILE,
    grants::PROPERTIES,
    grants::BROKER_PERMISSIONS,
];

/// The section, read to the end.
pub(crate) struct Settings {
    pub(super) tenant: Tenant,
    pub(super) groups: Groups,
}

impl Settings {
    /// Reads what only this authenticator has. `None` when something is wrong: the document knows what.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let origin =
            section
                .required_string("endpoint")
                .and_then(|text| match Origin::parse(&text) {
                    Ok(origin) => Some(origin),
                    Err(problem) => {
                        section.problem("endpoint", problem);
                        None
                    }
                });
        let client_id = section.required_string("client_id");
        for key in ["client_secret", "api_token"] {
            if !section.has(key) {
                section.problem(key, "required");
            }
        }
        let (secret, api_token) = (section.secret("client_secret"), section.secret("api_token"));
        let timeout = section.duration("timeout");
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            section.problem("timeout", "wants more than nothing");
        }
        let trust = trust(section);
        let groups = groups(section);
        let access = Access {
            origin: origin?,
            client_id: client_id?,
            client_secret: secret?,
            api_token: api_token?,
            timeout: timeout?,
        };
        match Tenant::new(&access, trust?) {
            Ok(tenant) => Some(Self { tenant, groups }),
            Err((key, problem)) => {
                section.problem(key, problem);
                None
            }
        }
    }
}

fn trust(section: &Section<'_>) -> Option<Trust> {
    if !section.has("endpoint_ca") {
        return Some(Trust::System);
    }
    let file = section.file_up_to("endpoint_ca", "certificates in PEM", MAX_FILE_BYTES)?;
    Some(Trust::Authorities(file.bytes().to_vec()))
}

fn groups(section: &Section<'_>) -> Groups {
    let mut reader = grants::Reader::default();
    let mut list = Vec::new();
    let mut places = HashMap::<String, Vec<usize>>::new();
    for (group, acls) in acls(section) {
        places.entry(group).or_default().push(list.len());
        list.push(grants::Grant {
            rights: Rights {
                agents: acls,
                ..Rights::default()
            },
            policy_file: None,
        });
    }
    let listed = list.len();
    for (index, one) in section.sections("groups", GROUP).iter().enumerate() {
        let grant = reader.read(one);
        let Some(group) = one.required_string("group") else {
            continue;
        };
        let known = places.entry(group).or_default();
        if known.iter().any(|place| *place >= listed) {
            section.problem(&format!("groups[{index}].group"), "is there twice");
        }
        known.push(list.len());
        list.push(grant);
    }
    if list.is_empty() {
        section.warn(
            "groups",
            "there are no groups, so nobody can log in; list them in groups or acls",
        );
    }
    Groups {
        grants: reader.finish(list),
        places,
    }
}

/// The action lists by group, in the order of the file.
fn acls(section: &Section<'_>) -> Vec<(String, Vec<String>)> {
    let members = match section.raw("acls") {
        None => return Vec::new(),
        Some(Value::Object(members)) => members,
        // Asked as what it should be, the section says what is wrong.
        Some(_) => {
            section.section("acls", &[]);
            return Vec::new();
        }
    };
    let mut lists = Vec::with_capacity(members.len());
    for (group, value) in members {
        let key = || {
            let name: String = group.chars().filter(|c| !c.is_control()).take(64).collect();
            format!("acls.{name}")
        };
        let list = value.as_array().and_then(|items| {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<String>>>()
        });
        let Some(list) = list else {
            section.problem(&key(), "wants a list of texts");
            continue;
        };
        if let Some(entry) = list.iter().find(|entry| !is_action(entry)) {
            let text = format!(
                "{entry:?} is neither *, agent.* nor agent.action; the signer will refuse everything"
            );
            section.warn(&key(), text);
        }
        lists.push((group.clone(), list));
    }
    lists
}
