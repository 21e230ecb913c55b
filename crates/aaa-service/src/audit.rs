//! Where what happens goes on record: the settings of auditors, and the trail made of them. One process has one trail.

use std::sync::Arc;
use std::time::Duration;

use aaa_audit::file::{FileOptions, FileSink, OpenError, parse_mode};
use aaa_audit::formats::{Format, RequestEncoding};
use aaa_audit::log::LogSink;
use aaa_audit::{Auditor, Delivery, Sink, Trail};

use crate::config::{Document, Kind, Section, Setting};

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
        "How a record is written: as `aaasvc` did, as the published `signature_audit` document, or as Choria's and MCollective's own \
         audit logs.",
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

/// The trail that the configuration asks for. What is wrong goes to the document; the trail is not to be used then.
///
/// While a configuration is only checked no file is made: one made by whoever checks might not be the service's to write to.
pub(crate) fn trail(document: &Document, site: &str, checking: bool) -> Trail {
    let top = document.top();
    let mut auditors = Vec::new();
    for name in top.list("auditors") {
        match name.as_str() {
            "logfile" => auditors.extend(logfile(document, &top, checking)),
            "jetstream" | "natsstream" => top.problem(
                "auditors",
                format!("{name}: this version writes records to a file only; use logfile"),
            ),
            _ => top.problem("auditors", "unknown; the one that there is: logfile"),
        }
    }
    Trail::new(site, auditors)
}

fn logfile(document: &Document, top: &Section<'_>, checking: bool) -> Option<Auditor> {
    let Some(section) = document.section("logfile_auditor", LOGFILE_AUDITOR) else {
        top.problem(
            "logfile_auditor",
            "missing; auditors has logfile, and these are its settings",
        );
        return None;
    };
    let options = options(&section)?;
    let sink: Result<Arc<dyn Sink>, OpenError> = if checking {
        options.probe().map(|()| Arc::new(LogSink) as _)
    } else {
        FileSink::open(options).map(|sink| Arc::new(sink) as _)
    };
    Some(Auditor {
        sink: sink
            .map_err(|error| section.problem("logfile", error.to_string()))
            .ok()?,
        delivery: match section.string("delivery").as_deref() {
            Some("best_effort") => Delivery::BestEffort,
            _ => Delivery::Required,
        },
        timeout: section
            .duration("timeout")
            .unwrap_or(Duration::from_secs(5)),
    })
}

fn options(section: &Section<'_>) -> Option<FileOptions> {
    let format = Format::parse(&section.string("format")?).ok()?;
    let request_encoding = RequestEncoding::parse(&section.string("request_encoding")?).ok()?;
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
        format,
        request_encoding,
        mode,
        group: section.string("group"),
        sync: section.boolean("sync"),
        ..FileOptions::default()
    })
}
