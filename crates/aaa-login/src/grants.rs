//! Rights by name, for authenticators whose users are kept elsewhere: of a group, or of certificates with certain names.
//!
//! Whoever has several of them has all action lists, all rights on the network, and all facts. A policy cannot be added to
//! another, so of policies, organizations and facts of one name the first in the configuration holds.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aaa_core::claims::ClientPermissions;
use aaa_service::config::{Kind, Section, Setting};
use arc_swap::ArcSwap;

use crate::authenticator::Rights;
use crate::users::{Policies, Stamps, is_action, stamp};

pub(crate) const ORGANIZATION: Setting = Setting::new(
    "organization",
    Kind::Text,
    "The organization of those who have this.",
)
.default("choria")
.example("\"choria\"");
pub(crate) const ACLS: Setting = Setting::new(
    "acls",
    Kind::List,
    "What the `actionlist` authorizer allows: `*`, `agent.*` or `agent.action`.",
)
.example("[\"puppet.*\", \"rpcutil.ping\"]");
pub(crate) const OPA_POLICY: Setting = Setting::new(
    "opa_policy",
    Kind::Text,
    "What the `opa` authorizer asks: a policy in Rego, at most 64 KiB, as it travels in the token.",
)
.example("\"package io.choria.aaasvc\\ndefault allow = false\\nallow { input.agent == \\\"puppet\\\" }\"");
pub(crate) const OPA_POLICY_FILE: Setting = Setting::new(
    "opa_policy_file",
    Kind::Path,
    "A file with that policy. Followed.",
)
.example("\"/etc/aaa/frontend.rego\"");
pub(crate) const PROPERTIES: Setting =
    Setting::new("properties", Kind::Map, "Free-form facts, for policies.")
        .example("{\"team\": \"web\"}");
pub(crate) const BROKER_PERMISSIONS: Setting = Setting::new(
    "broker_permissions",
    Kind::Section,
    "Rights on the network, each `true` or `false`, such as `fleet_management` or `streams_user`.",
)
.example("{\"fleet_management\": true}");

/// The rights on the network, as settings.
static PERMISSIONS: [Setting; ClientPermissions::NAMES.len()] = permissions();

#[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
const fn permissions() -> [Setting; ClientPermissions::NAMES.len()] {
    let mut table = [Setting::new("", Kind::Bool, "A right on the network.").example("true");
        ClientPermissions::NAMES.len()];
    let mut place = 0;
    while place < table.len() {
        table[place].key = ClientPermissions::NAMES[place];
        place += 1;
    }
    table
}

/// Rights, and the file that their policy stands in.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) rights: Rights,
    pub(crate) policy_file: Option<PathBuf>,
}

/// Reads sections that grant rights.
#[derive(Default)]
pub(crate) struct Reader {
    policies: Policies,
}

impl Reader {
    /// Reads one. What is wrong goes to the document.
    pub(crate) fn read(&mut self, section: &Section<'_>) -> Grant {
        let mut rights = Rights {
            organization: section.string("organization").unwrap_or_default(),
            agents: section.list("acls"),
            properties: section.map("properties"),
            permissions: broker_permissions(section),
            policy: None,
        };
        if let Some(entry) = rights.agents.iter().find(|entry| !is_action(entry)) {
            section.warn(
                "acls",
                format!("{entry:?} is neither *, agent.* nor agent.action; the signer will refuse everything"),
            );
        }
        let inline = section.string("opa_policy");
        let mut policy_file = section.path("opa_policy_file");
        let read = match (&inline, &policy_file) {
            (Some(text), _) => self
                .policies
                .inline(text)
                .map_err(|problem| ("opa_policy", problem)),
            (None, Some(path)) => self
                .policies
                .file(path)
                .map_err(|problem| ("opa_policy_file", problem)),
            (None, None) => {
                return Grant {
                    rights,
                    policy_file,
                };
            }
        };
        if inline.is_some() && policy_file.take().is_some() {
            section.warn("opa_policy_file", "not used: opa_policy is set too");
        }
        match read {
            Ok(policy) => rights.policy = Some(policy),
            Err((key, problem)) => section.problem(key, problem),
        }
        Grant {
            rights,
            policy_file,
        }
    }

    /// The policy files, and what they looked like before they were read.
    pub(crate) fn finish(self, grants: Vec<Grant>) -> Grants {
        let (rights, files) = grants
            .into_iter()
            .map(|grant| (grant.rights, grant.policy_file))
            .unzip();
        Grants {
            rights: ArcSwap::new(Arc::new(rights)),
            followed: Mutex::new(Followed {
                files,
                stamps: self.policies.files(),
            }),
        }
    }
}

fn broker_permissions(section: &Section<'_>) -> Option<ClientPermissions> {
    let section = section.section("broker_permissions", &PERMISSIONS)?;
    let mut permissions = ClientPermissions::default();
    for name in ClientPermissions::NAMES {
        if section.boolean(name) {
            permissions.give(name);
        }
    }
    Some(permissions)
}

/// Rights by their place in the configuration, whose policy files are followed.
pub(crate) struct Grants {
    rights: ArcSwap<Vec<Rights>>,
    followed: Mutex<Followed>,
}

struct Followed {
    files: Vec<Option<PathBuf>>,
    stamps: Stamps,
}

impl Grants {
    /// All rights of these places, or `None` for no place at all.
    pub(crate) fn union(&self, places: impl IntoIterator<Item = usize>) -> Option<Rights> {
        let rights = self.rights.load();
        let mut places: Vec<usize> = places.into_iter().collect();
        places.sort_unstable();
        places.dedup();
        let mut all = places.into_iter().filter_map(|place| rights.get(place));
        let mut union = all.next()?.clone();
        for more in all {
            add(&mut union, more);
        }
        Some(union)
    }

    /// Looks whether a policy file has changed, and if so reads all of them again. What has a fault changes nothing.
    pub(crate) fn look_at_policies(&self) -> Result<(), String> {
        let mut followed = self.lock();
        let now: Stamps = followed
            .stamps
            .keys()
            .map(|path| (path.clone(), stamp(path)))
            .collect();
        if now == followed.stamps {
            return Ok(());
        }
        // Whatever comes of it, this change is dealt with.
        followed.stamps = now;
        let mut policies = Policies::default();
        let mut changed = Vec::clone(&self.rights.load());
        let mut problems = Vec::new();
        for (rights, file) in changed.iter_mut().zip(&followed.files) {
            let Some(file) = file else { continue };
            match policies.file(file) {
                Ok(policy) => rights.policy = Some(policy),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            problems.dedup();
            return Err(problems.join("; "));
        }
        self.rights.store(Arc::new(changed));
        tracing::info!(what = "opa_policy_file", "changed, and taken");
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what somebody may do to what they may do already.
fn add(union: &mut Rights, more: &Rights) {
    for entry in &more.agents {
        if !union.agents.contains(entry) {
            union.agents.push(entry.clone());
        }
    }
    for (name, value) in &more.properties {
        if !union.properties.iter().any(|(known, _)| known == name) {
            union.properties.push((name.clone(), value.clone()));
        }
    }
    if union.policy.is_none() {
        union.policy.clone_from(&more.policy);
    }
    if let Some(more) = &more.permissions {
        let permissions = union.permissions.get_or_insert_default();
        for name in more.given() {
            permissions.give(name);
        }
    }
}

#[cfg(test)]
mod tests;
