//! `aaa serve --dev`: services to try things with, from nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_service::config::Document;
use aaa_service::shell::{self, Options, Running, StartError};
use aaa_service::telemetry::{Settings, Telemetry};
use tokio::signal::unix::{SignalKind, signal};

use super::site::{Site, USER};
use super::{Args, PROGRAM, build};
use crate::failure::{Exit, Failure};
use crate::screen;

/// Where the services listen when nothing else is said.
pub(super) const ADDRESS: &str = "127.0.0.1:8443";
/// Where they listen when another program has that port.
const ANY_PORT: &str = "127.0.0.1:0";

pub(super) fn run(args: &Args) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let site = Site::open(&args.dir, SystemClock.now())?;
    let made = if site.new { "made" } else { "found" };
    screen::data(&format!(
        "issuer, login and signer keys {made} in {}\n",
        args.dir.display()
    ))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(PROGRAM.name)
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(args, &site, begun))
}

async fn serve(args: &Args, site: &Site, begun: Instant) -> Result<Exit, Failure> {
    let config = site.file("config.json");
    let document = Document::load(&config).map_err(|problems| wrong(args, &problems))?;
    let settings = Settings::read(&document, PROGRAM.name, args.debug);
    let telemetry = Telemetry::open(&settings, Arc::new(SystemClock))
        .map_err(|error| Failure::usage(error.to_string()))?;
    telemetry.install();
    let mut end = End::listen()?;
    let usual = args.listen.clone().unwrap_or_else(|| ADDRESS.to_owned());
    let running = match start(args, document, usual).await {
        // Most likely another program listens there; any port will do.
        Err(StartError::Runtime(_)) if args.listen.is_none() => {
            let document = Document::load(&config).map_err(|problems| wrong(args, &problems))?;
            start(args, document, ANY_PORT.to_owned()).await
        }
        other => other,
    };
    let running = running.map_err(|error| match error {
        StartError::Configuration(problems) => wrong(args, &problems),
        StartError::Runtime(problem) => Failure::failed(problem),
    })?;
    running.readiness().wait().await;
    welcome(args, site, &running, begun)?;
    end.come().await;
    let finished = running.shutdown().await;
    telemetry.flush().await;
    if finished {
        Ok(Exit::Done)
    } else {
        Err(Failure::failed("stopped before everything was finished"))
    }
}

async fn start(args: &Args, document: Document, listen: String) -> Result<Running, StartError> {
    let options = Options {
        listen: Some(listen),
        admin_listen: args.admin_listen.clone(),
        ..Options::default()
    };
    shell::start(&PROGRAM, document, options, build).await
}

/// A directory that was made long ago, or changed since, and does not do any more.
fn wrong(args: &Args, problems: &impl std::fmt::Display) -> Failure {
    Failure::usage(format!(
        "{problems}\nnothing was started; put it right, or begin anew with another --dir than {}",
        args.dir.display()
    ))
}

/// Says where the services are, and what to type next.
fn welcome(args: &Args, site: &Site, running: &Running, begun: Instant) -> Result<(), Failure> {
    let Some(address) = running.addr else {
        return Err(Failure::failed("the services listen nowhere"));
    };
    site.point_client_at(address)?;
    let directory = &args.dir;
    let show = |name: &str| shown(directory, name);
    let (client, password) = (show("client.conf"), show(&format!("{USER}.password")));
    screen::data(&format!(
        "aaa-login and aaa-signer ready on https://{address} ({} ms)\n\
         \n\
         Type in another terminal:\n  \
           aaa login --config {client} --username {USER} --password-file {password}\n  \
           aaa whoami --config {client}\n  \
           aaa sign --config {client} --agent puppet --action status | aaa verify --config {client}\n  \
           aaa sign --config {client} --agent puppet --action disable\n  \
           aaa sign --config {client} --agent puppet --action disable -F country=mt\n\
         \n\
         Rules are in {}, decisions in {}. Stop with Ctrl-C.\n",
        begun.elapsed().as_millis(),
        show("policy.rego"),
        show("audit.log"),
    ))
}

fn shown(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

/// What ends the services: Ctrl-C, or a signal.
struct End {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl End {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot hear signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn come(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
