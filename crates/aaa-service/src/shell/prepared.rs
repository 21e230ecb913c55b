//! A service built from its configuration, and checked to the end, but not started.

use std::sync::Arc;
use std::time::Duration;

use aaa_api::handler::Handlers;
use aaa_api::server::router_with;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::reload::{Reloader, StartedWith, take_tls};
use super::running::{Parts, Running, StartTime};
use super::{Options, Program, Shell};
use crate::admin::Admin;
use crate::config::{Document, Problems, Topic};
use crate::server::{Address, Front, Limits, Proxies, Server, TLS_FILE_BYTES, Tls, TlsFiles};
use crate::telemetry::{Telemetry, metrics};
use crate::watch::{Follow, Watch};

/// All that is needed to start.
pub(super) struct Prepared {
    started: StartTime,
    pub(super) shell: Shell,
    pub(super) document: Document,
    handlers: Handlers,
    limits: Limits,
    listen: Option<Address>,
    admin: Option<Address>,
    tls: Option<Arc<Tls>>,
    proxies: Proxies,
    traced: bool,
    telemetry: Option<Arc<Telemetry>>,
    version: &'static str,
}

impl Prepared {
    /// Builds the service and checks everything, so that all problems are found together.
    pub(super) fn new<B>(
        program: &Program,
        document: Document,
        options: Options,
        telemetry: Option<Arc<Telemetry>>,
        build: B,
    ) -> Result<Self, Problems>
    where
        B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
    {
        let (prepared, problems) = Self::draft(program, document, options, telemetry, build);
        if !problems.is_empty() {
            return Err(problems);
        }
        for warning in problems.warnings() {
            let document = &prepared.document;
            document.warn_of(warning.topic, &warning.key, &warning.text);
        }
        Ok(prepared)
    }

    /// The same, whatever is wrong with it.
    pub(super) fn draft<B>(
        program: &Program,
        document: Document,
        options: Options,
        telemetry: Option<Arc<Telemetry>>,
        build: B,
    ) -> (Self, Problems)
    where
        B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
    {
        let started = StartTime::now();
        metrics::install();
        let site = document.top().string("site").unwrap_or_default();
        let limits = Limits::read(&document);
        let proxies = Proxies::read(&document);
        let mut shell = Shell::new(site, &options);
        let outcome = build(&document, &mut shell);
        let listen = address(&document, "listen", options.listen, "port");
        let admin = address(
            &document,
            "admin_listen",
            options.admin_listen,
            "monitor_port",
        );
        if listen.is_none() && !shell.own_front {
            document.top().require("port");
        }
        let mut problems = document.problems();
        let tls = match (&listen, options.disable_tls) {
            (Some(_), false) => TlsFiles::read(&document).and_then(|files| {
                problems.merge(document.problems());
                Tls::load(files, &mut problems).map(Arc::new)
            }),
            _ => None,
        };
        problems.merge(document.problems());
        let handlers = match outcome {
            Ok(handlers) => handlers,
            Err(found) => {
                problems.merge(found);
                Handlers::default()
            }
        };
        if let Some(tls) = &tls {
            warn_of_expiry(tls, &mut shell, &mut problems);
        }
        let prepared = Self {
            started,
            shell,
            document,
            handlers,
            limits,
            listen,
            admin,
            tls,
            proxies,
            traced: options.traced,
            telemetry,
            version: program.version,
        };
        (prepared, problems)
    }

    /// What does not keep the service from starting.
    pub(super) fn warnings(&self) -> Problems {
        self.document.problems()
    }

    /// Listens, starts what the service registered, and serves.
    pub(super) async fn start(mut self) -> Result<Running, String> {
        for warning in self.document.problems().warnings() {
            tracing::warn!(setting = warning.key, "{}", warning.text);
        }
        let shell = &mut self.shell;
        metrics::build_info(&shell.site, self.version);
        // Ready only when all of this has been done.
        let starting = shell.readiness.register("service");
        let client = self.listen.as_ref().map(Address::bind).transpose()?;
        let admin = self.admin.as_ref().map(Address::bind).transpose()?;
        let stop = CancellationToken::new();
        // Whatever fails from here on, the admin port goes too.
        let guard = stop.clone().drop_guard();
        let admin_addr = admin.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = admin {
            let admin = Arc::new(Admin::new(shell.readiness.clone()));
            let server = Arc::new(Server::plain(admin, &Limits::admin()));
            tracing::info!(%address, "listening for metrics and health (admin)");
            tokio::spawn(server.run(listener, TaskTracker::new(), stop.clone(), stop.clone()));
        }
        for hook in std::mem::take(&mut shell.start) {
            (hook.run)()
                .await
                .map_err(|error| format!("{}: {error}", hook.name))?;
        }
        let watch = Arc::new(self.watch()?);
        let connections = TaskTracker::new();
        let kill = CancellationToken::new();
        let addr = client.as_ref().map(|(_, address)| *address);
        if let Some((listener, address)) = client {
            let server = self.server();
            tracing::info!(%address, tls = self.tls.is_some(), "listening");
            let draining = self.shell.draining.clone();
            tokio::spawn(server.run(listener, connections.clone(), draining, kill.clone()));
        }
        tokio::spawn(upkeep(stop.clone()));
        starting.ready();
        tracing::info!(
            ms = self.started.milliseconds(),
            version = self.version,
            "started"
        );
        guard.disarm();
        let shell = self.shell;
        Ok(Running::new(
            Parts {
                addr,
                admin_addr,
                readiness: shell.readiness,
                draining: shell.draining,
                tasks: shell.tasks,
                connections,
                kill,
                stop,
                drain_timeout: self.limits.drain,
                hooks: shell.drain,
            },
            Reloader {
                site: shell.site,
                started_with: StartedWith::of(&self.document),
                telemetry: self.telemetry,
                tls: self.tls,
                watch,
                reload: shell.reload,
                reopen: shell.reopen,
            },
        ))
    }

    /// Follows what the service asked for, and the files of TLS.
    fn watch(&mut self) -> Result<Watch, String> {
        let mut follows = std::mem::take(&mut self.shell.follows);
        if let Some(tls) = &self.tls {
            follows.push(follow_tls(tls, &self.shell));
        }
        Watch::start(&self.shell.site, follows).map_err(|e| format!("cannot follow files: {e}"))
    }

    fn server(&mut self) -> Arc<Server<Front>> {
        let options = aaa_api::server::Options {
            condition: self.shell.readiness.subscribe(),
            body_deadline: self.limits.body,
            ..aaa_api::server::Options::default()
        };
        let router = router_with(std::mem::take(&mut self.handlers), &options);
        let proxies = std::mem::take(&mut self.proxies);
        let front = Arc::new(Front::new(router, &self.shell.site, self.traced, proxies));
        let tls = self.tls.clone();
        Arc::new(Server::new(front, tls, &self.limits, &self.shell.site))
    }
}

/// Where to listen: what the command line says, else the address of the configuration, else its port.
fn address(document: &Document, key: &str, chosen: Option<String>, port: &str) -> Option<Address> {
    let top = document.top();
    let (configured, port) = (top.string(key), top.port(port));
    let text = match (chosen, configured) {
        (Some(text), _) => {
            let flag = format!("--{}", key.replace('_', "-"));
            return match Address::parse(&text) {
                Ok(address) => Some(address),
                Err(problem) => {
                    document.problem(flag, problem);
                    None
                }
            };
        }
        (None, Some(text)) => text,
        (None, None) => return port.map(Address::All),
    };
    match Address::parse(&text) {
        Ok(address) => Some(address),
        Err(problem) => {
            top.problem(key, problem);
            None
        }
    }
}

/// How long before its end a certificate is warned of.
const EXPIRY_WARNING: Duration = Duration::from_hours(14 * 24);
/// The same of a list of revoked certificates, of which there is a new one every few days.
const LIST_WARNING: Duration = Duration::from_hours(24);

fn warn_of_expiry(tls: &Tls, shell: &mut Shell, found: &mut Problems) {
    let lists = "has ended; clients with certificates of its issuer are refused";
    let lists = ("tls_crl", LIST_WARNING, lists);
    warn_of_end(lists, tls.lists_end(), shell, found);
    let certificate = "has expired; clients will refuse it";
    let certificate = ("tls_certificate", EXPIRY_WARNING, certificate);
    warn_of_end(certificate, tls.not_after(), shell, found);
    if let Some(not_after) = tls.not_after() {
        metrics::certificate_expiry(&shell.site, not_after);
    }
}

fn warn_of_end(
    (setting, soon, ended): (&str, Duration, &str),
    end: Option<i64>,
    shell: &mut Shell,
    found: &mut Problems,
) {
    let Some(end) = end else {
        return;
    };
    shell.ends(setting, Some(end));
    let mut warn = |text: String| found.warn_of(Topic::Ending, setting, text);
    let left = end.saturating_sub(shell.clock.now().as_second());
    match u64::try_from(left) {
        Err(_) | Ok(0) => warn(ended.to_owned()),
        Ok(left) if left < soon.as_secs() => warn(format!(
            "expires in {}",
            aaa_core::duration::human(Duration::from_secs(left))
        )),
        Ok(_) => {}
    }
}

/// Takes certificate, key, authorities and lists of revoked certificates anew when one of them changes.
fn follow_tls(tls: &Arc<Tls>, shell: &Shell) -> Follow {
    let site = shell.site.clone();
    let reloaded = Arc::clone(tls);
    let changed = move |_: &[_]| take_tls(&reloaded, &site);
    let (what, read) = ("tls_certificate", tls.read());
    Follow::new(what, read, Vec::new(), TLS_FILE_BYTES, changed)
}

/// Moves what histograms have collected to where it is kept, so that it does not grow between scrapes.
async fn upkeep(stop: CancellationToken) {
    const EVERY: Duration = Duration::from_secs(1);
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        metrics::install().run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use aaa_core::clock::ManualClock;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const PROGRAM: Program = Program {
        name: "aaa-test",
        version: "0.1.0",
        about: "Is tested",
    };

    /// Writes a pair that ends with this year.
    fn write_pair(dir: &tempfile::TempDir, year: i32) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 12, 31);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.path().join("tls.crt"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("tls.key"), key.serialize_pem()).unwrap();
    }

    fn prepared(dir: &tempfile::TempDir, now: i64) -> Prepared {
        let path = dir.path().display();
        let text = format!(
            "{{\"site\": \"prepared\", \"tls_certificate\": \"{path}/tls.crt\", \"tls_key\": \"{path}/tls.key\"}}"
        );
        let document = Document::parse("a.json", text.as_bytes()).unwrap();
        let options = Options {
            listen: Some("127.0.0.1:0".to_owned()),
            clock: ManualClock::at(now),
            ..Options::default()
        };
        Prepared::new(&PROGRAM, document, options, None, |_, _| {
            Ok(Handlers::default())
        })
        .unwrap()
    }

    #[tokio::test]
    async fn a_certificate_near_its_end_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        write_pair(&dir, 2030);
        // 31 December 2030.
        let end = 1_924_905_600;
        let warnings = |now: i64| {
            let problems = prepared(&dir, now).warnings();
            let of_it = problems
                .warnings()
                .iter()
                .filter(|warning| warning.key == "tls_certificate");
            of_it
                .map(|warning| warning.text.clone())
                .collect::<Vec<_>>()
        };
        assert!(warnings(end - 15 * 86_400).is_empty());
        assert_eq!(warnings(end - 2 * 86_400), ["expires in 2 d"]);
        assert_eq!(warnings(end), ["has expired; clients will refuse it"]);
    }

    #[tokio::test]
    async fn files_of_tls_are_followed_without_a_signal() {
        let dir = tempfile::tempdir().unwrap();
        write_pair(&dir, 2030);
        let mut prepared = prepared(&dir, 0);
        let tls = prepared.tls.clone().unwrap();
        let first = tls.not_after().unwrap();
        let watch = prepared.watch().unwrap();
        write_pair(&dir, 2031);
        watch.look();
        assert_eq!(tls.not_after(), Some(first + 365 * 86_400));
    }
}
