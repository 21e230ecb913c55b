//! Reloading: files are opened anew, the configuration is read anew, and what cannot be taken leaves the old in place.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::config::{Document, Problems};
use crate::server::Tls;
use crate::telemetry::metrics::{certificate_expiry, reload_error};
use crate::telemetry::{Settings, Telemetry};
use crate::watch::Watch;

pub(super) struct ReloadHook {
    pub(super) name: String,
    pub(super) run: Box<Reload>,
}

type Reload = dyn Fn(&Document) -> Result<(), Problems> + Send + Sync;

pub(super) struct ReopenHook {
    pub(super) name: String,
    pub(super) run: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What a running service needs to reload.
pub(super) struct Reloader {
    pub(super) site: String,
    pub(super) fixed: Fixed,
    pub(super) telemetry: Option<Arc<Telemetry>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) watch: Arc<Watch>,
    pub(super) reload: Vec<ReloadHook>,
    pub(super) reopen: Vec<ReopenHook>,
}

impl Reloader {
    /// Reloads everything. `true` when all of it could be taken. Blocks.
    pub(super) fn reload(&self, config: Option<&Path>, debug: bool) -> bool {
        let mut whole = true;
        let mut failed = |what: &str, problem: &str| {
            whole = false;
            reload_error(&self.site, what);
            tracing::warn!(what, problem, "cannot be reloaded; the old one goes on");
        };
        if let Some(telemetry) = &self.telemetry
            && let Err(problem) = telemetry.reopen()
        {
            failed("logfile", &problem);
        }
        for hook in &self.reopen {
            if let Err(problem) = (hook.run)() {
                failed(&hook.name, &problem);
            }
        }
        if let Some(tls) = &self.tls
            && let Err(problem) = take_tls(tls, &self.site)
        {
            failed("tls_certificate", &problem);
        }
        if let Some(config) = config {
            match Document::load(config) {
                Ok(document) => self.configuration(&document, debug, &mut failed),
                Err(problems) => failed("configuration", &one_line(&problems)),
            }
        }
        self.watch.look();
        if whole {
            tracing::info!("reloaded");
        }
        whole
    }

    fn configuration(&self, document: &Document, debug: bool, failed: &mut dyn FnMut(&str, &str)) {
        let settings = Settings::read(document, "", debug);
        if let Err(problems) = document.finish() {
            failed("configuration", &one_line(&problems));
            return;
        }
        if let Some(telemetry) = &self.telemetry {
            telemetry.set_level(settings.level);
        }
        for key in self.fixed.changed(document) {
            tracing::warn!(setting = key, "changed; it takes effect with a restart");
        }
        for hook in &self.reload {
            let before = document.problems().errors().len();
            let result = (hook.run)(document);
            let mut problems = Problems::default();
            for new in document.problems().errors().iter().skip(before) {
                problems.push(&new.key, &new.text);
            }
            if let Err(found) = result {
                problems.merge(found);
            }
            if !problems.is_empty() {
                failed(&hook.name, &one_line(&problems));
            }
        }
    }
}

/// What settings said at the start that are read only then.
pub(super) struct Fixed(Vec<(&'static str, Option<Value>)>);

impl Fixed {
    const KEYS: &[&str] = &[
        "site",
        "port",
        "listen",
        "monitor_port",
        "admin_listen",
        "tls_certificate",
        "tls_key",
        "tls_ca",
        "tls_crl",
        "tls_client_certificate",
        "trusted_proxies",
        "logfile",
        "log_format",
        "telemetry",
        "max_connections",
        "header_timeout",
        "body_timeout",
        "idle_timeout",
        "drain_timeout",
    ];

    pub(super) fn of(document: &Document) -> Self {
        let top = document.top();
        Self(
            Self::KEYS
                .iter()
                .map(|key| (*key, top.raw(key).cloned()))
                .collect(),
        )
    }

    /// Those that say something else now.
    fn changed(&self, document: &Document) -> Vec<&'static str> {
        let top = document.top();
        let changed = self
            .0
            .iter()
            .filter(|(key, old)| top.raw(key) != old.as_ref());
        changed.map(|(key, _)| *key).collect()
    }
}

/// Takes certificate, key and CA as they are now, or says why they stay as they were.
pub(super) fn take_tls(tls: &Tls, site: &str) -> Result<(), String> {
    tls.reload().map_err(|problems| one_line(&problems))?;
    if let Some(not_after) = tls.not_after() {
        certificate_expiry(site, not_after);
    }
    Ok(())
}

/// Problems for a log line.
pub(super) fn one_line(problems: &Problems) -> String {
    let lines: Vec<_> = problems
        .errors()
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.text.replace('\n', " ")))
        .collect();
    lines.join("; ")
}
