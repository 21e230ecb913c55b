//! Reloading: files are opened anew, the configuration is read anew, and what cannot be taken leaves the old in place.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::config::{Digest, Document, FileContent, MAX_FILE_BYTES, Problem, TOP, sha256};
use crate::server::Tls;
use crate::telemetry::metrics::{certificate_expiry, reload_error};
use crate::telemetry::{Settings, Telemetry};
use crate::watch::Watch;

pub(super) struct ReloadHook {
    pub(super) name: String,
    pub(super) takes: &'static [&'static str],
    pub(super) read: Box<Read>,
}

type Read = dyn Fn(&Document) -> Option<Take> + Send + Sync;

/// Takes what was read and found good. It cannot fail.
pub type Take = Box<dyn FnOnce()>;

pub(super) struct ReopenHook {
    pub(super) name: String,
    pub(super) run: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What a running service needs to reload.
pub(super) struct Reloader {
    pub(super) site: String,
    pub(super) started_with: StartedWith,
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
        let turn = self.watch.turn();
        if let Some(tls) = &self.tls
            && let Err(problem) = take_tls(tls, &self.site)
        {
            failed("tls_certificate", &problem);
        }
        if let Some(config) = config {
            match Document::load(config) {
                Ok(document) => self.configuration(&document, debug, &mut failed),
                Err(problems) => failed("configuration", &one_line(problems.errors())),
            }
        }
        drop(turn);
        self.watch.look();
        if whole {
            tracing::info!("reloaded");
        }
        whole
    }

    /// Has all parts read and check the configuration, and take it when nothing is wrong with any of it.
    fn configuration(&self, document: &Document, debug: bool, failed: &mut dyn FnMut(&str, &str)) {
        let settings = Settings::read(document, "", debug);
        let mut said = 0;
        let mut say = |what: &str| {
            let problems = document.problems();
            if let Some(new @ [_, ..]) = problems.errors().get(said..) {
                said = problems.errors().len();
                failed(what, &one_line(new));
            }
        };
        say("configuration");
        let mut takes = Vec::new();
        for hook in &self.reload {
            takes.extend((hook.read)(document));
            say(&hook.name);
        }
        if document.finish().is_err() {
            return;
        }
        if let Some(telemetry) = &self.telemetry {
            telemetry.set_level(settings.level);
        }
        for take in takes {
            take();
        }
        for warning in document.problems().warnings() {
            tracing::warn!(setting = warning.key, "{}", warning.text);
        }
        for key in self.started_with.changed(document) {
            let live = self.reload.iter().flat_map(|hook| hook.takes);
            if !live.chain(&["loglevel"]).any(|live| is_within(&key, live)) {
                failed(
                    &key,
                    "changed; it takes effect with a restart. The rest was taken",
                );
            }
        }
    }
}

/// Whether a key is this one, or stands below it.
fn is_within(key: &str, other: &str) -> bool {
    let rest = key.strip_prefix(other);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Takes certificate, key and CA as they are now, or says why they stay as they were.
pub(super) fn take_tls(tls: &Tls, site: &str) -> Result<(), String> {
    tls.reload()
        .map_err(|problems| one_line(problems.errors()))?;
    if let Some(not_after) = tls.not_after() {
        certificate_expiry(site, not_after);
    }
    Ok(())
}

/// Problems for a log line.
fn one_line(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.key, problem.text.replace('\n', " ")))
        .collect();
    lines.join("; ")
}

/// What the whole configuration said at the start, by the full keys. Digests: among it are secrets.
pub(super) struct StartedWith(BTreeMap<String, Digest>);

impl StartedWith {
    pub(super) fn of(document: &Document) -> Self {
        let (top, mut said) = (document.top(), BTreeMap::new());
        for setting in TOP {
            if let Some(value) = top.raw(setting.key) {
                digests(setting.key, value, &mut said);
            }
        }
        // The settings of the network are as much part of it as those that stand in the file itself.
        let choria = top
            .path(CHORIA)
            .map(|path| FileContent::read(&path, MAX_FILE_BYTES));
        if let Some(Ok(choria)) = choria {
            said.insert(format!("{CHORIA} (the file)"), choria.digest());
        }
        Self(said)
    }

    /// The keys that say something else now.
    fn changed(&self, document: &Document) -> BTreeSet<String> {
        let now = Self::of(document);
        let keys = self.0.keys().chain(now.0.keys());
        let changed = keys.filter(|key| self.0.get(*key) != now.0.get(*key));
        changed.cloned().collect()
    }
}

/// A file with settings of its own.
const CHORIA: &str = "choria_config";

fn digests(key: &str, value: &Value, said: &mut BTreeMap<String, Digest>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                digests(&format!("{key}.{name}"), value, said);
            }
        }
        value => {
            said.insert(key.to_owned(), sha256(value.to_string().as_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, TryLockError};

    use super::*;
    use crate::config::FileContent;
    use crate::watch::{Follow, digests};

    #[test]
    fn what_is_read_is_taken_before_a_changed_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("aaa.json");
        std::fs::write(&config, "{}").unwrap();
        let read = FileContent::read(&config, 64).unwrap();
        let follow = Follow::new("users", digests(&[&read]), Vec::new(), 64, |_| Ok(()));
        let watch = Arc::new(Watch::start("turns", vec![follow]).unwrap());
        let turns = Arc::new(Mutex::new(Vec::new()));
        let (seen, looked_at) = (Arc::clone(&turns), Arc::clone(&watch));
        let note = move || {
            let held = matches!(looked_at.try_turn(), Err(TryLockError::WouldBlock));
            seen.lock().unwrap().push(held);
        };
        let reloader = Reloader {
            site: "turns".to_owned(),
            started_with: StartedWith::of(&Document::load(&config).unwrap()),
            telemetry: None,
            tls: None,
            watch,
            reload: vec![ReloadHook {
                name: "signer".to_owned(),
                takes: &[],
                read: Box::new(move |_| {
                    note();
                    Some(Box::new(note.clone()))
                }),
            }],
            reopen: Vec::new(),
        };
        assert!(reloader.reload(Some(&config), false));
        assert_eq!(*turns.lock().unwrap(), [true, true]);
    }
}
