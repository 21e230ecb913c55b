//! Where what happens goes on record: the settings of auditors, and the trail made of them. One process has one trail.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aaa_audit::chain::ChainKey;
use aaa_audit::file::{FileOptions, FileSink, OpenError, parse_mode};
use aaa_audit::formats::{Format, Formatter, Redaction, RequestEncoding};
use aaa_audit::log::LogSink;
use aaa_audit::nats::Connection;
use aaa_audit::stream::StreamSink;
use aaa_audit::{Auditor, Delivery, Health, Scribe, Sink, Trail};
use jiff::Timestamp;

use crate::config::{Document, Kind, Section, Setting};
use crate::readiness::ReadyHandle;
use crate::shell::Probe;

mod stream;

use stream::Built;
pub use stream::{JETSTREAM_AUDITOR, STREAM};

/// Where the records of a configuration are kept, for those who read them.
pub enum Kept {
    /// In a stream.
    Stream {
        /// How the server is reached.
        connection: Connection,
        /// The name of the stream; whichever has the topic when absent.
        name: Option<String>,
        /// The subject that records are published on.
        topic: String,
    },
    /// In a file.
    File(PathBuf),
}

impl Kept {
    /// Where a configuration keeps its records: in the stream, if it has one. `None` when nowhere that can be read, or when something
    /// is wrong, which the document knows then.
    pub fn find(document: &Document, now: Timestamp) -> Option<Self> {
        let top = document.top();
        for key in ["jetstream_auditor", "natsstream_auditor"] {
            if let Some(section) = document.section(key, JETSTREAM_AUDITOR) {
                return stream::kept(&section, document, now);
            }
        }
        let section = top.section("logfile_auditor", LOGFILE_AUDITOR)?;
        section.path("logfile").map(Self::File)
    }
}

/// The section `logfile_auditor`.
pub static LOGFILE_AUDITOR: &[Setting] = &[
    Setting::new(
        "logfile",
        Kind::Path,
        "The file, one record a line; standard output when absent. Reopened on SIGHUP.",
    )
    .example("\"/var/log/aaa/audit.log\""),
    Setting::new(
        "format",
        Kind::OneOf(Format::NAMES),
        "How a record is written: as `aaasvc` did, as the published `signature_audit` document, as Choria's and MCollective's own \
         audit logs, or as `v2`, which has everything (docs/audit-records.md).",
    )
    .default("aaasvc")
    .example("\"choria\""),
    Setting::new(
        "request_encoding",
        Kind::OneOf(RequestEncoding::NAMES),
        "How `signature_audit` holds the request: a string, as its schema says, or an object, as `aaasvc` sent it.",
    )
    .default("string")
    .example("\"object\""),
    Setting::new(
        "chain_key",
        Kind::Path,
        "The key of the codes that let records of the format `v2` vouch for one another: 64 hexadecimal characters. Those who read the \
         records need it to verify them; those who can write to them must not have it.",
    )
    .example("\"/etc/aaa/audit.key\""),
    Setting::new(
        "redact",
        Kind::Map,
        "Inputs that records of the format `v2` do not show, as `agent.action.input` with `*` for any: `drop` leaves them out, `hmac` has \
         a code in their place that is the same for the same value.",
    )
    .example("{\"*.*.password\": \"drop\", \"user.create.email\": \"hmac\"}"),
    Setting::new(
        "instance",
        Kind::Text,
        "The name of this service in records of the format `v2`; that of the host when absent.",
    )
    .example("\"signer-1\""),
    Setting::new(
        "mode",
        Kind::Text,
        "The file's permissions, in octal digits. A new file has 0600.",
    )
    .example("\"0640\""),
    Setting::new("group", Kind::Text, "The file's group, by name or number.").example("\"adm\""),
    Setting::new(
        "sync",
        Kind::Bool,
        "Whether a record counts as written only when it is on disk (fdatasync), rather than handed to the system.",
    )
    .default("false")
    .example("true"),
    Setting::new(
        "delivery",
        Kind::OneOf(&["required", "best_effort"]),
        "Whether a request whose record cannot be written is refused.",
    )
    .default("required")
    .example("\"best_effort\""),
    Setting::new("timeout", Kind::Duration, "How long a write may take before it counts as failed.")
        .default("5s")
        .example("\"2s\""),
];

/// What auditors are told beside their settings.
pub(crate) struct Given<'a> {
    /// The configuration.
    pub(crate) document: &'a Document,
    /// What time it is.
    pub(crate) now: Timestamp,
    /// The name of the site.
    pub(crate) site: &'a str,
    /// Whether the configuration is only checked: then no file is made, as one made by whoever checks might not be the service's to
    /// write to, and no server is reached.
    pub(crate) checking: bool,
    /// Makes a condition of the service's readiness.
    pub(crate) condition: &'a dyn Fn(&str) -> ReadyHandle,
}

/// What a configuration makes of its auditors.
pub(crate) struct Made {
    pub(crate) trail: Trail,
    /// The streams that are to be started with it.
    pub(crate) starts: Vec<Start>,
    /// The streams that could be asked, of a configuration that is only checked.
    pub(crate) probes: Vec<Probe>,
}

/// The trail that the configuration asks for. What is wrong goes to the document; the trail is not to be used then.
pub(crate) fn trail(given: &Given<'_>) -> Made {
    let document = given.document;
    let top = document.top();
    let (mut auditors, mut starts, mut probes) = (Vec::new(), Vec::new(), Vec::new());
    for name in top.list("auditors") {
        let stream = match name.as_str() {
            "logfile" => {
                auditors.extend(logfile(&top, given));
                None
            }
            "jetstream" => jetstream("jetstream_auditor", given),
            "natsstream" => {
                top.warn(
                    "auditors",
                    "natsstream: NATS Streaming no longer exists; natsstream_auditor is read as jetstream_auditor, and servers must \
                     be NATS with JetStream",
                );
                jetstream("natsstream_auditor", given)
            }
            _ => {
                top.problem("auditors", "unknown; choose from logfile, jetstream");
                None
            }
        };
        if let Some((auditor, next)) = stream {
            auditors.push(auditor);
            match next {
                Next::Start(start) => starts.push(start),
                Next::Probe(probe) => probes.push(probe),
            }
        }
    }
    if top.list("auditors").is_empty() {
        tracing::warn!(
            "no auditor is configured: what is decided is on record in this log only (setting: auditors)"
        );
        let watched = Watched::new("auditors", Delivery::Required, given);
        auditors.push(
            Auditor::new(
                Arc::new(LogSink),
                Delivery::Required,
                Duration::from_secs(1),
            )
            .heard_by(watched.health()),
        );
        watched.ready();
    }
    Made {
        trail: Trail::new(given.site, auditors),
        starts,
        probes,
    }
}

/// What is to be done with a stream: to start it with the service, or to ask whether it is there.
enum Next {
    Start(Start),
    Probe(Probe),
}

/// A stream to start when the service does.
pub(crate) struct Start {
    sink: Arc<StreamSink>,
    delivery: Delivery,
    watched: Watched,
}

impl Start {
    /// Starts it.
    ///
    /// # Errors
    /// When it is required, and could keep no record.
    pub(crate) async fn run(self) -> Result<(), String> {
        match (self.sink.start().await, self.delivery) {
            (Err(problem), Delivery::Required) => return Err(problem),
            (Err(problem), Delivery::BestEffort) => {
                tracing::error!(
                    problem,
                    "the audit stream cannot be used; records are missing from it"
                );
            }
            (Ok(()), _) => {}
        }
        self.watched.ready();
        Ok(())
    }
}

fn jetstream(key: &str, given: &Given<'_>) -> Option<(Auditor, Next)> {
    let document = given.document;
    let Some(section) = document.section(key, JETSTREAM_AUDITOR) else {
        let text = "missing; auditors names it, and these are its settings";
        document.top().problem(key, text);
        return None;
    };
    let delivery = delivery(&section);
    let watched = Watched::new(key, delivery, given);
    let (auditor, built) = stream::build(&section, given, delivery, watched.health())?;
    let next = match built {
        Built::Sink(sink) => Next::Start(Start {
            sink,
            delivery,
            watched,
        }),
        Built::Checked(probe) => Next::Probe(probe),
    };
    Some((auditor, next))
}

/// Who writes records down; what is wrong with how goes to the document.
fn scribe(section: &Section<'_>) -> Option<Scribe> {
    let format = Format::parse(&section.string("format")?).ok()?;
    let request_encoding = RequestEncoding::parse(&section.string("request_encoding")?).ok()?;
    if format != Format::V2 {
        for key in ["chain_key", "redact", "instance"] {
            if section.has(key) {
                section.problem(key, "only records in the format v2 have this");
            }
        }
    }
    let key = if section.has("chain_key") {
        Some(chain_key(section)?)
    } else {
        None
    };
    let rules = section.map("redact");
    let rules = rules
        .iter()
        .map(|(what, how)| (what.as_str(), how.as_str()));
    let redaction = Redaction::parse(rules, key.as_ref())
        .map_err(|error| section.problem("redact", error.to_string()))
        .ok()?;
    if format == Format::V2 && key.is_none() {
        let text = "missing: whoever can write to the records can change them unseen; make one with: openssl rand -hex 32";
        section.warn("chain_key", text);
    }
    let instance = section.string("instance").unwrap_or_else(host_name);
    let formatter = Formatter {
        format,
        request_encoding,
        instance: instance.into(),
        redaction: Arc::new(redaction),
    };
    Some(Scribe::new(formatter, key))
}

fn chain_key(section: &Section<'_>) -> Option<ChainKey> {
    let content = section.secret_file("chain_key", "a key of 64 hexadecimal characters")?;
    ChainKey::parse(content.text().unwrap_or_default())
        .map_err(|error| section.problem("chain_key", error.to_string()))
        .ok()
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

fn delivery(section: &Section<'_>) -> Delivery {
    match section.string("delivery").as_deref() {
        Some("best_effort") => Delivery::BestEffort,
        _ => Delivery::Required,
    }
}

fn logfile(top: &Section<'_>, given: &Given<'_>) -> Option<Auditor> {
    const KEY: &str = "logfile_auditor";
    let Some(section) = given.document.section(KEY, LOGFILE_AUDITOR) else {
        let text = "missing; auditors has logfile, and these are its settings";
        top.problem(KEY, text);
        return None;
    };
    // Both are read before anything is given up, so that all that is wrong is said at once.
    let (scribe, options) = (scribe(&section), options(&section));
    let (scribe, options) = (scribe?, options?);
    let sink: Result<Arc<dyn Sink>, OpenError> = if given.checking {
        options.probe().map(|()| Arc::new(LogSink) as _)
    } else {
        FileSink::open(options, scribe).map(|sink| Arc::new(sink) as _)
    };
    let sink = sink
        .map_err(|error| section.problem("logfile", error.to_string()))
        .ok()?;
    let delivery = delivery(&section);
    let watched = Watched::new(KEY, delivery, given);
    watched.ready();
    Some(
        Auditor::new(
            sink,
            delivery,
            section
                .duration("timeout")
                .unwrap_or(Duration::from_secs(5)),
        )
        .heard_by(watched.health()),
    )
}

/// The condition of the service's readiness that a required auditor keeps records.
struct Watched(Option<ReadyHandle>);

impl Watched {
    fn new(key: &str, delivery: Delivery, given: &Given<'_>) -> Self {
        let required = delivery == Delivery::Required && !given.checking;
        Self(required.then(|| (given.condition)(key)))
    }

    fn ready(&self) {
        if let Some(condition) = &self.0 {
            condition.ready();
        }
    }

    fn health(&self) -> Health {
        let condition = self.0.clone();
        Arc::new(move |problem| match (&condition, problem) {
            (Some(condition), None) => condition.ready(),
            (Some(condition), Some(problem)) => condition.not_ready(problem.to_string()),
            (None, _) => {}
        })
    }
}

fn options(section: &Section<'_>) -> Option<FileOptions> {
    let mode = match section.string("mode").map(|mode| parse_mode(&mode)) {
        None => None,
        Some(Ok(mode)) => Some(mode),
        Some(Err(error)) => {
            section.problem("mode", error.to_string());
            return None;
        }
    };
    Some(FileOptions {
        path: section.path("logfile").unwrap_or_default(),
        mode,
        group: section.string("group"),
        sync: section.boolean("sync"),
        ..FileOptions::default()
    })
}
