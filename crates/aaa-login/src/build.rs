//! From a configuration to a running service of logins.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aaa_api::handler::{Handlers, LoginHandler};
use aaa_core::clock::SharedClock;
use aaa_service::config::{Document, Topic};
use aaa_service::readiness::ReadyHandle;
use aaa_service::shell::{self, Program, Shell, Take};
use aaa_service::telemetry::metrics::reload_error;
use tokio::time::MissedTickBehavior;

use crate::doors::{self, Kind, Loaded, Opened, Parts};
use crate::login::Login;
use crate::meter::Meter;
use crate::pool::HashPool;
use crate::throttle::{self, Throttle};
use crate::{certificate, okta, settings};

/// The program of logins alone.
pub const PROGRAM: Program = Program {
    name: "aaa-login",
    version: env!("CARGO_PKG_VERSION"),
    about: "Checks who somebody is, and gives out tokens for Choria",
};

/// What the service calls itself where it registers.
const LOGINS: &str = "authenticator";
/// The settings that a reload takes.
const RELOADED: &[&str] = &[
    LOGINS,
    certificate::SECTION,
    settings::SECTION,
    okta::SECTION,
    throttle::SECTION,
];
/// How often it is looked at what nobody tells of: policy files, the end of the signing token.
const LOOK: Duration = Duration::from_secs(10);

/// What the program around the logins decides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Whether the process does nothing but logins, and so is not ready when it may issue no more tokens.
    pub alone: bool,
}

/// Runs the login service from the command line of this process.
pub fn run() -> std::process::ExitCode {
    shell::run(&PROGRAM, |document, shell| {
        let login = build(document, shell, Options { alone: true });
        if login.is_none() && document.problems().is_empty() {
            let example = "required, for example \"userlist\"";
            document.problem("authenticator", example);
        }
        document.finish()?;
        Ok(Handlers { login, sign: None })
    })
}

/// Makes the handler of logins. `None` when no `authenticator` is configured, or something is wrong with it: then the
/// document has problems.
pub fn build(
    document: &Document,
    shell: &mut Shell,
    options: Options,
) -> Option<Arc<dyn LoginHandler>> {
    let kinds = doors::chosen(document);
    if kinds.is_empty() {
        return None;
    }
    if kinds.contains(&Kind::Certificate) && !shell.speaks_tls() {
        let text = "certificate cannot work without TLS: whatever stands in front would keep the certificates to itself";
        document.problem("authenticator", text);
    }
    let clock = shell.clock();
    // Before anything can end this, so that everything wrong is told at once.
    let trail = shell.trail(document);
    let loaded = doors::load(document, &kinds, clock.now())?;
    let pool = match HashPool::for_this_machine() {
        Ok(pool) => Arc::new(pool),
        Err(error) => {
            let text = format!("the system gives no threads for password checks ({error})");
            document.problem("authenticator", text);
            return None;
        }
    };
    let site: Arc<str> = shell.site().into();
    let meter = Meter::new(Arc::clone(&site));
    for kind in &kinds {
        meter.begin(kind.name());
    }
    let service = Service::start(
        shell,
        loaded,
        &Parts {
            pool,
            meter: meter.clone(),
        },
        options.alone,
    );
    for opened in service.doors() {
        let key = format!("{}.signing_token", opened.kind().section());
        shell.ends(&key, opened.mint.expires());
        if let Some(warning) = opened.mint.warning(clock.now()) {
            document.warn_of(Topic::Ending, key, warning);
        }
    }
    Some(Arc::new(Login {
        doors: service.doors().iter().map(Opened::door).collect(),
        throttle: Arc::clone(&service.throttle),
        clock,
        site,
        trail,
        meter,
    }))
}

/// The parts that go on changing while the service runs.
#[derive(Clone)]
struct Service {
    /// Filled once, when all are opened.
    doors: Arc<OnceLock<Vec<Opened>>>,
    throttle: Arc<Throttle>,
    clock: SharedClock,
    meter: Meter,
    site: Arc<str>,
    /// Tells whether it may issue tokens, when that is all that the process is for.
    may_issue: Option<ReadyHandle>,
}

impl Service {
    /// Puts the parts together, and follows what they were made from.
    fn start(shell: &mut Shell, loaded: Loaded, parts: &Parts, alone: bool) -> Self {
        let may_issue = alone.then(|| shell.readiness().register("signing_token"));
        let meter = parts.meter.clone();
        let service = Self {
            doors: Arc::default(),
            throttle: Arc::new(Throttle::new(loaded.throttle, shell.clock(), meter.clone())),
            clock: shell.clock(),
            meter,
            site: shell.site().into(),
            may_issue,
        };
        let mut opened = Vec::new();
        for door in loaded.doors {
            let looking = service.clone();
            opened.push(door.open(shell, parts, move || looking.look_at_signing_tokens()));
        }
        // Nobody else fills it.
        let _ = service.doors.set(opened);
        service.hook_into(shell);
        service
    }

    fn hook_into(&self, shell: &mut Shell) {
        let reloaded = self.clone();
        shell.on_reload(LOGINS, RELOADED, move |document| reloaded.reload(document));
        let (looking, tasks, draining) = (self.clone(), shell.tasks(), shell.draining());
        shell.on_start(LOGINS, move || async move {
            looking.look_at_signing_tokens();
            tasks.spawn(async move {
                let mut ticks = tokio::time::interval(LOOK);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        () = draining.cancelled() => return,
                        _ = ticks.tick() => {}
                    }
                    let service = looking.clone();
                    // It reads files. If it breaks off, the next one comes.
                    let _ = tokio::task::spawn_blocking(move || service.look()).await;
                }
            });
            Ok(())
        });
    }

    fn doors(&self) -> &[Opened] {
        self.doors.get().map_or(&[], Vec::as_slice)
    }

    /// What is done from time to time.
    fn look(&self) {
        self.look_at_signing_tokens();
        for opened in self.doors() {
            if let Err(problem) = opened.look_at_policies() {
                reload_error(&self.site, "opa_policy_file");
                tracing::warn!(
                    what = "opa_policy_file",
                    authenticator = opened.kind().name(),
                    problem,
                    "changed, and cannot be taken; the old one goes on"
                );
            }
        }
    }

    fn look_at_signing_tokens(&self) {
        let now = self.clock.now();
        for opened in self.doors() {
            if let Some(warning) = opened.mint.warning(now) {
                let authenticator = opened.kind().name();
                tracing::warn!(setting = "signing_token", authenticator, "{warning}");
            }
        }
        let left: Vec<Option<i64>> = self
            .doors()
            .iter()
            .map(|opened| opened.mint.seconds_left(now))
            .collect();
        if let Some(least) = left.iter().flatten().min() {
            self.meter.signing_token(*least);
        }
        if let Some(handle) = &self.may_issue {
            let ended = |left: &Option<i64>| left.is_some_and(|left| left <= 0);
            if !left.is_empty() && left.iter().all(ended) {
                handle.not_ready("signing_token has expired");
            } else {
                handle.ready();
            }
        }
    }

    /// Reads a configuration anew. What is wrong is for the document.
    fn reload(&self, document: &Document) -> Option<Take> {
        let kinds = doors::chosen(document);
        let opened = self.doors().iter().map(Opened::kind);
        if !opened.eq(kinds.iter().copied()) {
            document.problem("authenticator", "changed; that takes effect with a restart");
        }
        let loaded = doors::load(document, &kinds, self.clock.now())?;
        let service = self.clone();
        Some(Box::new(move || {
            for (opened, door) in service.doors().iter().zip(loaded.doors) {
                opened.replace(door);
            }
            service.throttle.replace(loaded.throttle);
            service.look_at_signing_tokens();
        }))
    }
}

#[cfg(test)]
mod tests;
