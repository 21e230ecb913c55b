//! A service as a program: command line, log, signals, exit code.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use aaa_api::handler::Handlers;
use aaa_core::clock::SystemClock;
use clap::error::ErrorKind;
use clap::{Arg, Args as _, Command, FromArgMatches as _};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Options, Prepared, Running, ServiceArgs, Shell};
use crate::config::{Document, Problems, write_lines};
use crate::telemetry::{Settings, Telemetry};

/// Bad usage, or a wrong configuration (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// Failed while starting or running.
const EXIT_FAILED: u8 = 1;

/// Which program this is.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// What it is called on the command line.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
}

impl Program {
    /// The commit that this was built from; `development` for a build that is no release.
    pub const COMMIT: &'static str = env!("AAA_COMMIT");

    /// The version with the commit, as `-V` shows it: `0.1.0 (3f2a9c1d77e0)`.
    pub fn long_version(&self) -> String {
        format!("{} ({})", self.version, Self::COMMIT)
    }
}

/// Runs a service from the command line of this process.
pub fn run<B>(program: &Program, build: B) -> ExitCode
where
    B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
{
    match parse(program, std::env::args_os()) {
        Ok(args) => run_with(program, &args, build),
        Err(error) => {
            let shown = matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            );
            let _ = error.print();
            ExitCode::from(if shown { 0 } else { EXIT_USAGE })
        }
    }
}

/// The command line of a service as data, from which its manual page is made.
pub fn command(program: &Program) -> Command {
    // The command line is built once in a process.
    let version: &'static str = Box::leak(program.long_version().into_boxed_str());
    ServiceArgs::augment_args(Command::new(program.name))
        .version(version)
        .about(program.about)
        // `aaasvc run --config FILE` is how units of existing sites call it.
        .arg(Arg::new("run").hide(true).value_parser(["run"]))
}

fn parse(
    program: &Program,
    args: impl IntoIterator<Item = OsString>,
) -> Result<ServiceArgs, clap::Error> {
    ServiceArgs::from_arg_matches(&command(program).try_get_matches_from(args)?)
}

/// Runs a service with arguments that somebody else has parsed.
pub fn run_with<B>(program: &Program, args: &ServiceArgs, build: B) -> ExitCode
where
    B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(program.name)
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(service(program, args, build)),
        Err(error) => Err(Exit::Failed(format!("cannot start threads: {error}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit::Usage(text)) => {
            say(&text);
            ExitCode::from(EXIT_USAGE)
        }
        Err(Exit::Failed(text)) => {
            say(&format!("{}: {text}", program.name));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Why the program ends otherwise than by agreement, and what to tell people.
enum Exit {
    Usage(String),
    Failed(String),
}

async fn service<B>(program: &Program, args: &ServiceArgs, build: B) -> Result<(), Exit>
where
    B: FnOnce(&Document, &mut Shell) -> Result<Handlers, Problems>,
{
    let refuse = |problems: Problems| {
        let mut text = problems.to_string();
        if !args.check_config {
            text.push_str("\nnothing was started");
        }
        Exit::Usage(text)
    };
    let document = Document::load(&args.config).map_err(refuse)?;
    let settings = Settings::read(&document, program.name, args.debug);
    let telemetry = if args.check_config {
        settings.check(&document);
        None
    } else {
        open_log(&document, &settings)
    };
    let options = Options {
        listen: args.listen.clone(),
        admin_listen: args.admin_listen.clone(),
        disable_tls: args.disable_tls,
        clock: Arc::new(SystemClock),
        checking: args.check_config,
        traced: telemetry
            .as_ref()
            .is_some_and(|telemetry| telemetry.traces()),
    };
    let prepared =
        Prepared::new(program, document, options, telemetry.clone(), build).map_err(refuse)?;
    if args.check_config {
        return report(&args.config, &prepared.warnings());
    }
    let mut signals = Signals::new().map_err(Exit::Failed)?;
    // Before it says that it has started: whoever waits for that finds the file.
    let _pid = PidFile::write(args.pid_file.as_deref()).map_err(Exit::Failed)?;
    let running = prepared.start().await.map_err(Exit::Failed)?;
    tell_manager(NotifyState::Ready);
    let finished = signals.serve(running, args).await;
    if let Some(telemetry) = telemetry {
        telemetry.flush().await;
    }
    if finished {
        Ok(())
    } else {
        Err(Exit::Failed(
            "stopped before everything was finished".to_owned(),
        ))
    }
}

/// The log of the process; what is wrong with it goes to the document's problems.
fn open_log(document: &Document, settings: &Settings) -> Option<Arc<Telemetry>> {
    match Telemetry::open(settings, Arc::new(SystemClock)) {
        Ok(telemetry) => {
            telemetry.install();
            Some(Arc::new(telemetry))
        }
        Err(error) => {
            document.problem(error.key, error.text);
            None
        }
    }
}

/// The answer to `--check-config` when nothing is wrong.
fn report(config: &Path, problems: &Problems) -> Result<(), Exit> {
    let warnings = problems.warnings();
    if !warnings.is_empty() {
        let noun = if warnings.len() == 1 {
            "warning"
        } else {
            "warnings"
        };
        let mut text = format!("{}: {} {noun}", config.display(), warnings.len());
        let _ = write_lines(&mut text, warnings);
        say(&text);
    }
    writeln!(std::io::stdout(), "{}: ok", config.display())
        .map_err(|error| Exit::Failed(format!("cannot write: {error}")))
}

/// Tells the service manager, where there is one that wants to know (`Type=notify` of systemd).
fn tell_manager(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Tells people something. When nobody can read it there is nobody to tell.
fn say(text: &str) {
    let mut line = String::with_capacity(text.len() + 1);
    let _ = writeln!(line, "{text}");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The signals that a service knows.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot hear signals: {error}"));
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Reloads on SIGHUP and drains on SIGTERM or SIGINT; a second one of those ends it at once. `true` when all was finished.
    async fn serve(&mut self, running: Running, args: &ServiceArgs) -> bool {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    running.reload_as(Some(args.config.clone()), args.debug).await;
                }
                () = Self::stop(&mut self.terminate, &mut self.interrupt) => break,
            }
        }
        tracing::info!("stopping");
        tell_manager(NotifyState::Stopping);
        tokio::select! {
            finished = running.shutdown() => finished,
            () = Self::stop(&mut self.terminate, &mut self.interrupt) => false,
        }
    }

    async fn stop(terminate: &mut Signal, interrupt: &mut Signal) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// A file with the process id, gone when the service is.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: Option<&Path>) -> Result<Option<Self>, String> {
        let Some(path) = path else { return Ok(None) };
        std::fs::write(path, format!("{}\n", std::process::id()))
            .map_err(|error| format!("--pid {}: {error}", path.display()))?;
        Ok(Some(Self(path.to_owned())))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        name: "aaa-signer",
        version: "0.1.0",
        about: "Signs requests",
    };

    fn args(line: &str) -> Result<ServiceArgs, clap::Error> {
        parse(&PROGRAM, line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_command_line_of_existing_units_is_understood() {
        let args =
            args("aaa-signer run --config /etc/aaa.json --debug --pid /run/a.pid --disable-tls")
                .unwrap();
        assert_eq!(args.config, Path::new("/etc/aaa.json"));
        assert!(args.debug && args.disable_tls && !args.check_config);
        assert_eq!(args.pid_file.as_deref(), Some(Path::new("/run/a.pid")));
    }

    #[test]
    fn the_version_has_its_commit() {
        let shown = args("aaa-signer -V").unwrap_err();
        assert_eq!(shown.kind(), ErrorKind::DisplayVersion);
        assert_eq!(
            shown.to_string(),
            format!("aaa-signer 0.1.0 ({})\n", Program::COMMIT)
        );
        assert!(args("aaa-signer").is_err());
        let help = args("aaa-signer --help").unwrap_err().to_string();
        assert!(help.starts_with("Signs requests\n"), "{help}");
        assert!(args("aaa-signer stop --config x").is_err());
    }
}
