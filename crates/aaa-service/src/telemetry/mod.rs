//! What the service tells about itself: a log for people and machines, traces, metrics.

pub mod metrics;

mod lines;
mod log;
mod traces;
mod writer;

use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aaa_core::clock::SharedClock;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use crate::config::{Document, TELEMETRY};

pub(crate) use log::Format;
pub(crate) use traces::{parent_of, trace_of};

use log::{Levels, LogLayer};
use writer::LogWriter;

/// How long the last traces may take to reach the collector when the service stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// What the configuration says about log and traces.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) level: LevelFilter,
    pub(crate) format: Format,
    pub(crate) logfile: Option<PathBuf>,
    pub(crate) traces: Option<TraceSettings>,
}

/// Where traces go, and which.
#[derive(Debug, Clone)]
pub(crate) struct TraceSettings {
    pub(crate) endpoint: String,
    pub(crate) service_name: String,
    pub(crate) sample_ratio: f64,
}

impl Settings {
    /// Reads them from a document; what is wrong goes to its problems.
    pub fn read(document: &Document, program: &str, debug: bool) -> Self {
        let top = document.top();
        let level = match top.string("loglevel").as_deref() {
            _ if debug => LevelFilter::DEBUG,
            Some("debug") => LevelFilter::DEBUG,
            Some("warn") => LevelFilter::WARN,
            Some("error") => LevelFilter::ERROR,
            Some("fatal") => LevelFilter::OFF,
            _ => LevelFilter::INFO,
        };
        let logfile = top.path("logfile");
        let terminal = logfile.is_none() && std::io::stderr().is_terminal();
        let format = match top.string("log_format").as_deref() {
            Some("json") => Format::Json,
            Some("text") => Format::text(terminal),
            _ if terminal => Format::text(true),
            _ => Format::Json,
        };
        Self {
            level,
            format,
            logfile,
            traces: trace_settings(document, program),
        }
    }
}

fn trace_settings(document: &Document, program: &str) -> Option<TraceSettings> {
    let section = document.section("telemetry", TELEMETRY)?;
    let sample_ratio = section.ratio("sample_ratio");
    let service_name = section.string("service_name");
    let endpoint = section.string("otlp_endpoint")?;
    let scheme = ["http://", "https://"]
        .iter()
        .any(|scheme| endpoint.starts_with(scheme));
    if !scheme || endpoint.parse::<http::Uri>().is_err() {
        section.problem(
            "otlp_endpoint",
            format!("{endpoint:?}: wants a URL such as http://127.0.0.1:4317"),
        );
        return None;
    }
    Some(TraceSettings {
        endpoint,
        service_name: service_name.unwrap_or_else(|| program.to_owned()),
        sample_ratio: sample_ratio.unwrap_or(1.0),
    })
}

impl Settings {
    /// Says what would keep the log from being opened, without opening it.
    pub(crate) fn check(&self, document: &Document) {
        let Some(directory) = self.logfile.as_deref().and_then(Path::parent) else {
            return;
        };
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            let problem = format!("{}: no such directory", directory.display());
            document.problem("logfile", problem);
        }
    }
}

/// Why log or traces cannot be set up.
#[derive(Debug)]
pub struct TelemetryError {
    pub(crate) key: &'static str,
    pub(crate) text: String,
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl std::error::Error for TelemetryError {}

/// Log and traces, running.
pub struct Telemetry {
    dispatch: Dispatch,
    levels: Levels,
    writer: LogWriter,
    provider: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Opens the log, and the way to the collector; with traces this needs a tokio runtime.
    ///
    /// # Errors
    /// When the log file cannot be opened, or the collector's address means nothing.
    pub fn open(settings: &Settings, clock: SharedClock) -> Result<Self, TelemetryError> {
        let writer = LogWriter::open(settings.logfile.clone()).map_err(|e| TelemetryError {
            key: "logfile",
            text: e,
        })?;
        Self::with_writer(settings, clock, writer)
    }

    fn with_writer(
        settings: &Settings,
        clock: SharedClock,
        writer: LogWriter,
    ) -> Result<Self, TelemetryError> {
        let levels = Levels::new(settings.level);
        let log = LogLayer::new(settings.format, writer.clone(), clock).with_filter(levels.clone());
        let registry = Registry::default().with(log);
        let (dispatch, provider) = match &settings.traces {
            None => (Dispatch::new(registry), None),
            Some(traces) => {
                let provider = traces::provider(traces)?;
                let layer = traces::layer(&provider).with_filter(traces::ours());
                (Dispatch::new(registry.with(layer)), Some(provider))
            }
        };
        Ok(Self {
            dispatch,
            levels,
            writer,
            provider,
        })
    }

    /// Makes this the log and the traces of the whole process. The first one stays.
    pub fn install(&self) {
        if tracing::dispatcher::set_global_default(self.dispatch.clone()).is_err() {
            tracing::debug!("the process has a log already");
        }
    }

    /// For a log of one thread, or of one future.
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }

    /// Whether traces are sent.
    pub fn traces(&self) -> bool {
        self.provider.is_some()
    }

    /// Opens the log file anew, after it was moved away. If that fails the old one goes on.
    pub(crate) fn reopen(&self) -> Result<(), String> {
        self.writer.reopen()
    }

    /// Changes what is logged.
    pub(crate) fn set_level(&self, level: LevelFilter) {
        self.levels.set(level);
    }

    /// Sends what is still here; the last thing that a service does.
    pub async fn flush(&self) {
        if let Some(provider) = self.provider.clone() {
            // It blocks until the collector has answered.
            let flushed =
                tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH_TIMEOUT));
            if let Ok(Err(error)) = flushed.await {
                tracing::warn!(%error, "the last traces did not reach the collector");
            }
        }
        self.writer.flush();
    }
}

#[cfg(test)]
mod tests;
