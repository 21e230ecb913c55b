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
use aaa_service::config::{Document, FileContent, MAX_FILE_BYTES, Problems};
use aaa_service::shell::{self, Program, Shell};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use crate::aside::aside;
use crate::expiry::{DELEGATOR, Expiry};
use crate::followed::{Followed, Follower};
use crate::key_files::{KeyFiles, KeyProblem, Loaded};
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
    let loaded = match settings.files.load(shell.clock().now()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            report(document, &problems);
            return Err(document.problems());
        }
    };
    for warning in &loaded.warnings {
        document.warn_of(warning.topic, full_key(warning.setting), &warning.text);
    }
    for (file, at) in [
        (&settings.files.delegator, loaded.delegator_expires),
        (&settings.files.certificate, loaded.certificate_expires),
    ] {
        if let Some((file, _)) = file {
            shell.ends(full_key(file.setting), at);
        }
    }
    document.finish()?;
    let site_policies = settings.site_policies.as_ref();
    let followed = Rules {
        action_policy: Follower::start(settings.action_policy.as_ref(), shell),
        site_policies: Follower::start(site_policies.map(|site| &site.configured), shell),
    };
    let demands = Arc::new(ArcSwap::from_pointee(demands(&settings, &followed)));
    reload_demands(shell, &demands, followed);
    let network = settings.network;
    let pipeline = Arc::new(Pipeline {
        clock: shell.clock(),
        keys: follow_keys(shell, settings.files, loaded),
        demands,
        trail,
        meter: Meter::new(&site),
        site,
    });
    if let Some(network) = network {
        network::attach(shell, network, Arc::clone(&pipeline) as _);
    }
    Ok(Handlers {
        sign: Some(pipeline),
        login: None,
    })
}

/// Rules in files that are followed.
#[derive(Default)]
struct Rules {
    action_policy: Follower<action_policy::Files>,
    site_policies: Follower<site_policies::Files>,
}

fn demands(settings: &Settings, followed: &Rules) -> Demands {
    Demands {
        chain: chain(settings, followed),
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
            chain: chain(&settings, &Rules::default()),
            action_policy: settings
                .action_policy
                .map(|configured| Arc::unwrap_or_clone(configured.loaded.rules)),
        }),
        None => Err(document.problems()),
    }
}

/// Who decides; by the rules that are followed, or else by those that were read.
fn chain(settings: &Settings, followed: &Rules) -> Chain {
    let action_policy = || -> Box<dyn Authorizer> {
        match (followed.action_policy.current(), &settings.action_policy) {
            (Some(followed), _) => Box::new(followed),
            (None, Some(configured)) => Box::new(Followed::new(configured)),
            // Settings without the rules are not taken; without rules nothing is allowed.
            (None, None) => Box::new(ActionPolicy::default()),
        }
    };
    let opa = || -> Box<dyn Authorizer> { Box::new(Opa::default().waiting(aside)) };
    let mut authorizers: Vec<Box<dyn Authorizer>> = Vec::new();
    for kind in &settings.authorizers {
        match (kind, &settings.site_policies) {
            (settings::Authorizer::ActionList, _) => authorizers.push(Box::new(ActionList)),
            (settings::Authorizer::ActionPolicy, _) => authorizers.push(action_policy()),
            (settings::Authorizer::Opa, None) => authorizers.push(opa()),
            // The site's first, so that an allowed request is on record with the rule of its own token.
            (settings::Authorizer::Opa, Some(site)) => {
                let followed = followed.site_policies.current();
                authorizers.push(Box::new(
                    followed.unwrap_or_else(|| Followed::new(&site.configured)),
                ));
                if site.with_tokens {
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

/// Takes over, on a reload, what is demanded of requests. Where keys and records lie is settled at start.
fn reload_demands(shell: &mut Shell, demands_in_use: &Arc<ArcSwap<Demands>>, followed: Rules) {
    let (demands_in_use, clock) = (Arc::clone(demands_in_use), shell.clock());
    shell.on_reload("basicjwt_signer", move |document| {
        let settings = Settings::read(document, clock.now());
        document.finish()?;
        if let Some(settings) = settings {
            let site_policies = settings.site_policies.as_ref();
            followed
                .action_policy
                .replace(settings.action_policy.as_ref());
            followed
                .site_policies
                .replace(site_policies.map(|site| &site.configured));
            demands_in_use.store(Arc::new(demands(&settings, &followed)));
        }
        Ok(())
    });
}

/// Uses new keys when their files change and hold good ones; otherwise goes on with the old.
fn follow_keys(shell: &mut Shell, files: KeyFiles, loaded: Loaded) -> Arc<ArcSwap<keys::Keys>> {
    let clock = shell.clock();
    let expiry = Expiry::watch(shell, DELEGATOR, loaded.delegator_expires);
    let keys = Arc::new(ArcSwap::from_pointee(loaded.keys));
    let contents: Vec<&FileContent> = loaded.contents.iter().map(AsRef::as_ref).collect();
    let swapped = Arc::clone(&keys);
    shell.follow_all(
        "basicjwt_signer.keys",
        &contents,
        MAX_FILE_BYTES,
        move |_| {
            let loaded = files.load(clock.now()).map_err(|problems| {
                let lines = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.setting, problem.text));
                lines.collect::<Vec<_>>().join("; ")
            })?;
            swapped.store(Arc::new(loaded.keys));
            expiry.set(loaded.delegator_expires);
            tracing::info!("the signer's keys were reloaded");
            Ok(())
        },
    );
    keys
}

fn report(document: &Document, problems: &[KeyProblem]) {
    for problem in problems {
        document.problem(full_key(problem.setting), &problem.text);
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
