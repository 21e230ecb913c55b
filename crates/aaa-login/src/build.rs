//! From a configuration to a running service of logins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aaa_api::handler::{Handlers, LoginHandler};
use aaa_core::clock::SharedClock;
use aaa_service::config::{Document, MAX_FILE_BYTES};
use aaa_service::readiness::ReadyHandle;
use aaa_service::shell::{self, Program, Shell};
use aaa_service::telemetry::metrics::reload_error;
use tokio::time::MissedTickBehavior;

use crate::login::{Door, Login};
use crate::meter::Meter;
use crate::mint::Mint;
use crate::pool::HashPool;
use crate::settings::{self, Loaded, SECTION};
use crate::throttle::Throttle;
use crate::userlist::{self, Userlist};
use crate::users::USERS_FILE_LIMIT;

/// The program of logins alone.
pub const PROGRAM: Program = Program {
    name: "aaa-login",
    version: env!("CARGO_PKG_VERSION"),
    about: "Checks who somebody is, and gives out tokens for Choria",
};

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
    if !chosen(document) {
        return None;
    }
    let clock = shell.clock();
    // Before anything can end this, so that everything wrong is told at once.
    let trail = shell.trail(document);
    let loaded = settings::load(document, clock.now())?;
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
    let throttle = Arc::new(Throttle::new(
        loaded.throttle.clone(),
        Arc::clone(&clock),
        meter.clone(),
    ));
    let parts = Parts {
        pool,
        meter: meter.clone(),
        throttle: Arc::clone(&throttle),
    };
    let service = Service::start(shell, loaded, parts, options.alone);
    if let Some(warning) = service.mint.warning(clock.now()) {
        document.warn(format!("{SECTION}.signing_token"), warning);
    }
    Some(Arc::new(Login {
        doors: vec![service.door()],
        throttle,
        clock,
        site,
        trail,
        meter,
    }))
}

/// Whether the configuration asks for an authenticator that there is.
fn chosen(document: &Document) -> bool {
    let top = document.top();
    let names = top.list("authenticator");
    for name in &names {
        match name.as_str() {
            userlist::NAME => {}
            "okta" => top.problem(
                "authenticator",
                "okta is not available in this version; the one that is: userlist",
            ),
            _ => top.problem("authenticator", "unknown; the one that there is: userlist"),
        }
    }
    if names.len() > 1 {
        top.problem(
            "authenticator",
            "wants one name: several are not available in this version",
        );
    }
    names == [userlist::NAME]
}

/// What the service is put together from.
struct Parts {
    pool: Arc<HashPool>,
    meter: Meter,
    throttle: Arc<Throttle>,
}

/// The parts that go on changing while the service runs.
#[derive(Clone)]
struct Service {
    userlist: Arc<Userlist>,
    mint: Arc<Mint>,
    allow_unsigned: Arc<AtomicBool>,
    throttle: Arc<Throttle>,
    clock: SharedClock,
    meter: Meter,
    site: Arc<str>,
    /// Tells whether it may issue tokens, when that is all that the process is for.
    may_issue: Option<ReadyHandle>,
}

impl Service {
    /// Puts the parts together, and follows what they were made from.
    fn start(shell: &mut Shell, loaded: Loaded, parts: Parts, alone: bool) -> Self {
        let Parts {
            pool,
            meter,
            throttle,
        } = parts;
        let may_issue = alone.then(|| shell.readiness().register("signing_token"));
        let userlist = Userlist::new(loaded.source, loaded.users, pool, meter.clone());
        let service = Self {
            userlist: Arc::new(userlist),
            mint: Arc::new(Mint::new(loaded.files, loaded.minter, loaded.validity)),
            allow_unsigned: Arc::new(AtomicBool::new(loaded.allow_unsigned)),
            throttle,
            clock: shell.clock(),
            meter,
            site: shell.site().into(),
            may_issue,
        };
        if let Some(file) = &loaded.users_file {
            let userlist = Arc::clone(&service.userlist);
            shell.follow("users_file", file, USERS_FILE_LIMIT, move |content| {
                userlist.file_changed(content)
            });
        }
        let keys: Vec<_> = loaded.key_files.iter().collect();
        let changed = service.clone();
        shell.follow_all("signing_key", &keys, MAX_FILE_BYTES, move |contents| {
            let outcome = changed.mint.files_changed(contents, changed.clock.now());
            changed.look_at_signing_token();
            outcome
        });
        service.hook_into(shell);
        service
    }

    fn hook_into(&self, shell: &mut Shell) {
        let reloaded = self.clone();
        shell.on_reload(SECTION, move |document| {
            reloaded.reload(document);
            Ok(())
        });
        let (looking, tasks, draining) = (self.clone(), shell.tasks(), shell.draining());
        shell.on_start(SECTION, move || async move {
            looking.look_at_signing_token();
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

    fn door(&self) -> Door {
        Door {
            authenticator: Arc::clone(&self.userlist) as _,
            mint: Arc::clone(&self.mint),
            allow_unsigned: Arc::clone(&self.allow_unsigned),
        }
    }

    /// What is done from time to time.
    fn look(&self) {
        self.look_at_signing_token();
        if let Err(problem) = self.userlist.look_at_policies() {
            reload_error(&self.site, "opa_policy_file");
            tracing::warn!(
                what = "opa_policy_file",
                problem,
                "changed, and cannot be taken; the old one goes on"
            );
        }
    }

    fn look_at_signing_token(&self) {
        let now = self.clock.now();
        if let Some(left) = self.mint.seconds_left(now) {
            self.meter.signing_token(left);
        }
        if let Some(warning) = self.mint.warning(now) {
            tracing::warn!(setting = "signing_token", "{warning}");
        }
        if let Some(handle) = &self.may_issue {
            if self.mint.seconds_left(now).is_some_and(|left| left <= 0) {
                handle.not_ready("signing_token has expired");
            } else {
                handle.ready();
            }
        }
    }

    /// Takes over a configuration that is read anew. What is wrong goes to its problems, and then nothing changes.
    fn reload(&self, document: &Document) {
        if !chosen(document) {
            if document.problems().is_empty() {
                let text = "removed; that takes effect with a restart";
                document.problem("authenticator", text);
            }
            return;
        }
        let Some(loaded) = settings::load(document, self.clock.now()) else {
            return;
        };
        self.mint
            .replace(loaded.files, loaded.minter, loaded.validity);
        self.allow_unsigned
            .store(loaded.allow_unsigned, Ordering::Relaxed);
        self.userlist.replace(loaded.source, loaded.users);
        self.throttle.replace(loaded.throttle);
        self.look_at_signing_token();
        for warning in document.problems().warnings() {
            tracing::warn!(setting = warning.key, "{}", warning.text);
        }
    }
}

#[cfg(test)]
mod tests;
