//! The signing service: checks a token, asks policy, puts the decision on record, signs the request.
//!
//! [`build`] makes it from a configuration file; the road of a request is in [`pipeline`].

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod action_policy;
mod aside;
mod expiry;
mod followed;
pub mod key_files;
mod key_ring;
pub mod keys;
pub mod meter;
mod network;
pub mod pipeline;
pub mod settings;
pub mod site_policies;

use std::sync::Arc;

use aaa_api::handler::Handlers;
use aaa_policy::Authorizer;
use aaa_policy::actionlist::ActionList;
use aaa_policy::actionpolicy::ActionPolicy;
use aaa_policy::chain::Chain;
use aaa_policy::rego::Opa;
use aaa_service::config::{Document, Problems};
use aaa_service::shell::{self, Program, Shell};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::aside::aside;
use crate::followed::{Followed, Follower};
use crate::key_files::Loaded;
use crate::key_ring::KeyRing;
use crate::meter::Meter;
use crate::pipeline::{Demands, Pipeline};
use crate::settings::Settings;

/// The program of signing alone.
pub const PROGRAM: Program = Program {
    name: "aaa-signer",
    version: env!("CARGO_PKG_VERSION"),
    about: "Signs Choria requests for those who may make them",
};

/// Runs the signing service from the command line of this process.
pub fn run() -> std::process::ExitCode {
    shell::run(&PROGRAM, |document, shell| {
        document.top().require("signer");
        build(document, shell)
    })
}

/// Builds the signer that a configuration file asks for; no handler when it asks for none.
///
/// # Errors
/// Everything that is wrong with its part of the file.
pub fn build(document: &Document, shell: &mut Shell) -> Result<Handlers, Problems> {
    let settings = Settings::read(document, shell.clock().now());
    if document.top().string("signer").is_none() {
        return Ok(Handlers::default());
    }
    let site: Arc<str> = shell.site().into();
    let trail = shell.trail(document);
    let Some(settings) = settings else {
        return Err(document.problems());
    };
    if let Some(network) = &settings.network {
        network::examine(shell, network);
    }
    let Some(loaded) = load_keys(document, &settings, shell.clock().now()) else {
        return Err(document.problems());
    };
    for (file, at) in [
        (&settings.files.delegator, loaded.delegator_expires),
        (&settings.files.certificate, loaded.certificate_expires),
    ] {
        if let Some((file, _)) = file {
            shell.ends(full_key(file.setting), at);
        }
    }
    document.finish()?;
    let rules = Rules::of(&settings);
    let followers = Followers {
        action_policy: Follower::start(shell),
        site_policies: Follower::start(shell),
    };
    followers.turn_to(&rules, &settings);
    let in_use = InUse {
        demands: Arc::new(ArcSwap::from_pointee(demands(&settings, &rules))),
        keys: KeyRing::start(shell, settings.files, loaded),
        followers,
    };
    let network = settings.network;
    let pipeline = Arc::new(Pipeline {
        clock: shell.clock(),
        keys: Arc::clone(&in_use.keys.keys),
        demands: Arc::clone(&in_use.demands),
        trail,
        meter: Meter::new(&site),
        site,
    });
    reload(shell, in_use);
    if let Some(network) = network {
        network::attach(shell, network, Arc::clone(&pipeline) as _);
    }
    Ok(Handlers {
        sign: Some(pipeline),
        login: None,
    })
}

/// Rules in files, as far as there are any.
struct Rules {
    action_policy: Option<Followed<action_policy::Files>>,
    site_policies: Option<Followed<site_policies::Files>>,
}

impl Rules {
    fn of(settings: &Settings) -> Self {
        let site_policies = settings.site_policies.as_ref();
        Self {
            action_policy: settings.action_policy.as_ref().map(Followed::new),
            site_policies: site_policies.map(|site| Followed::new(&site.configured)),
        }
    }
}

/// Who follows the rules in use.
#[derive(Clone)]
struct Followers {
    action_policy: Follower<action_policy::Files>,
    site_policies: Follower<site_policies::Files>,
}

impl Followers {
    fn turn_to(&self, rules: &Rules, settings: &Settings) {
        let action_policy = settings.action_policy.as_ref();
        let site_policies = settings.site_policies.as_ref();
        self.action_policy
            .turn_to(rules.action_policy.as_ref(), action_policy);
        self.site_policies.turn_to(
            rules.site_policies.as_ref(),
            site_policies.map(|site| &site.configured),
        );
    }
}

fn demands(settings: &Settings, rules: &Rules) -> Demands {
    Demands {
        chain: chain(settings, rules),
        rules: settings.rules,
        limits: settings.limits,
        allow_bearer_tokens: settings.allow_bearer_tokens,
    }
}

/// Who decides in a site.
pub struct Site {
    /// The site's name.
    pub name: String,
    /// Who is asked.
    pub chain: Chain,
    /// The rules of Action Policy, if it is one of them.
    pub action_policy: Option<ActionPolicy>,
}

/// Who decides in the site that a configuration file describes. Nothing is started, and no key is read.
///
/// # Errors
/// Everything that is wrong with the signer's part of the file, or that it has none.
pub fn rules(document: &Document, now: Timestamp) -> Result<Site, Problems> {
    let settings = Settings::read(document, now);
    if document.top().string("signer").is_none() {
        document.problem("signer", "missing; the file is that of no signer");
    }
    document.finish()?;
    match settings {
        Some(settings) => Ok(Site {
            name: document.top().string("site").unwrap_or_default(),
            chain: chain(&settings, &Rules::of(&settings)),
            action_policy: settings
                .action_policy
                .map(|configured| Arc::unwrap_or_clone(configured.loaded.rules)),
        }),
        None => Err(document.problems()),
    }
}

/// Who decides.
fn chain(settings: &Settings, rules: &Rules) -> Chain {
    let action_policy = || -> Box<dyn Authorizer> {
        match &rules.action_policy {
            Some(rules) => Box::new(rules.clone()),
            // Settings without the rules are not taken; without rules nothing is allowed.
            None => Box::new(ActionPolicy::default()),
        }
    };
    let opa = || -> Box<dyn Authorizer> { Box::new(Opa::default().waiting(aside)) };
    let mut authorizers: Vec<Box<dyn Authorizer>> = Vec::new();
    for kind in &settings.authorizers {
        match (kind, &rules.site_policies) {
            (settings::Authorizer::ActionList, _) => authorizers.push(Box::new(ActionList)),
            (settings::Authorizer::ActionPolicy, _) => authorizers.push(action_policy()),
            (settings::Authorizer::Opa, None) => authorizers.push(opa()),
            // The site's first, so that an allowed request is on record with the rule of its own token.
            (settings::Authorizer::Opa, Some(site)) => {
                authorizers.push(Box::new(site.clone()));
                let with_tokens = settings.site_policies.as_ref();
                if with_tokens.is_none_or(|site| site.with_tokens) {
                    authorizers.push(opa());
                }
            }
        }
    }
    let mut guards: Vec<Box<dyn Authorizer>> = Vec::new();
    if !settings.guards.is_empty() {
        guards.push(Box::new(settings.guards.clone()));
    }
    if !settings.tasks.0.is_empty() {
        guards.push(Box::new(settings.tasks.clone()));
    }
    Chain {
        guards,
        authorizers,
    }
}

/// What requests are decided and signed with. Clones share it.
#[derive(Clone)]
struct InUse {
    demands: Arc<ArcSwap<Demands>>,
    keys: KeyRing,
    followers: Followers,
}

/// The settings that a reload takes. How the signer is on the Choria network is settled at start.
const RELOADED: &[&str] = &[
    "basicjwt_signer.signing_certificate",
    "basicjwt_signer.signing_certificates",
    "basicjwt_signer.signing_token",
    "basicjwt_signer.signing_seed",
    "basicjwt_signer.max_validity",
    "basicjwt_signer.max_clock_skew",
    "basicjwt_signer.max_request_ttl",
    "basicjwt_signer.allow_bearer_tokens",
    "authorizer",
    "guards",
    "tasks",
    action_policy::SECTION,
    site_policies::SECTION,
];

/// Takes over, on a reload, the keys and what is demanded of requests.
fn reload(shell: &mut Shell, in_use: InUse) {
    let clock = shell.clock();
    shell.on_reload("basicjwt_signer", RELOADED, move |document| {
        let now = clock.now();
        let settings = Settings::read(document, now)?;
        let loaded = load_keys(document, &settings, now)?;
        let in_use = in_use.clone();
        Some(Box::new(move || {
            let rules = Rules::of(&settings);
            in_use.followers.turn_to(&rules, &settings);
            in_use.demands.store(Arc::new(demands(&settings, &rules)));
            in_use.keys.replace(settings.files, loaded);
        }))
    });
}

/// Reads the keys; what is wrong or worth a word is for the document.
fn load_keys(document: &Document, settings: &Settings, now: Timestamp) -> Option<Loaded> {
    match settings.files.load(now) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                document.warn_of(warning.topic, full_key(warning.setting), &warning.text);
            }
            Some(loaded)
        }
        Err(problems) => {
            for problem in problems {
                document.problem(full_key(problem.setting), problem.text);
            }
            None
        }
    }
}

/// A setting's name as it stands in the file: those of the Choria configuration have dots of their own.
fn full_key(setting: &str) -> String {
    if setting.starts_with("plugin.") {
        format!("choria_config: {setting}")
    } else {
        format!("basicjwt_signer.{setting}")
    }
}
