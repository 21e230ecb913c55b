//! The log: one line for each event, with the fields of the spans around it, so that every line of a request names it.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use aaa_audit::log::LogSink;
use aaa_core::clock::SharedClock;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::lines::{Fields, Style, json_text, level_name, people_message};
use super::writer::LogWriter;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text {
        /// With colours.
        colour: bool,
    },
}

impl Format {
    /// For people; coloured on a terminal whose owner has not said `NO_COLOR` (<https://no-color.org>).
    pub(crate) fn text(terminal: bool) -> Self {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::Text {
            colour: terminal && !no_color,
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Json => Style::Json,
            Self::Text { .. } => Style::Text,
        }
    }
}

/// Which events are logged; can be changed while running.
#[derive(Clone)]
pub(super) struct Levels(Arc<AtomicU8>);

impl Levels {
    pub(super) fn new(level: LevelFilter) -> Self {
        Self(Arc::new(AtomicU8::new(rank(level))))
    }

    pub(super) fn set(&self, level: LevelFilter) {
        self.0.store(rank(level), Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    fn admits(&self, metadata: &Metadata<'_>) -> bool {
        // Records that no auditor keeps are here or nowhere.
        if metadata.target() == LogSink::TARGET {
            return true;
        }
        let level = rank(LevelFilter::from_level(*metadata.level()));
        let chosen = self.0.load(Ordering::Relaxed);
        // The libraries below us speak of their own matters at length.
        let ours = metadata.target().starts_with("aaa");
        let limit = if ours {
            chosen
        } else {
            chosen.min(rank(LevelFilter::WARN))
        };
        level <= limit
    }
}

fn rank(level: LevelFilter) -> u8 {
    match level {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        LevelFilter::TRACE => 5,
    }
}

impl<S> Filter<S> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.admits(metadata)
    }

    fn callsite_enabled(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        if self.admits(metadata) {
            tracing::subscriber::Interest::always()
        } else {
            tracing::subscriber::Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.0.load(Ordering::Relaxed) {
            // Never below that of records.
            0..=3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }
}

/// Writes events as lines.
pub(super) struct LogLayer {
    format: Format,
    writer: LogWriter,
    clock: SharedClock,
}

/// The fields of a span as they stand in a line, kept with the span.
struct SpanFields(String);

impl LogLayer {
    pub(super) fn new(format: Format, writer: LogWriter, clock: SharedClock) -> Self {
        Self {
            format,
            writer,
            clock,
        }
    }

    fn json(&self, parts: &mut Parts, event: &Event<'_>) {
        let metadata = event.metadata();
        let (level, ..) = level_name(*metadata.level());
        let line = &mut parts.line;
        let _ = write!(
            line,
            "{{\"time\":\"{:.6}\",\"level\":\"{level}\",\"message\":",
            self.clock.now()
        );
        json_text(line, &parts.message);
        line.push_str(&parts.spans);
        line.push_str(&parts.fields);
        line.push_str(",\"target\":");
        json_text(line, metadata.target());
        line.push_str("}\n");
    }

    fn text(&self, parts: &mut Parts, event: &Event<'_>, colour: bool) {
        let (_, level, start) = level_name(*event.metadata().level());
        let (start, dim, end) = if colour {
            (start, "\u{1b}[2m", "\u{1b}[0m")
        } else {
            ("", "", "")
        };
        let line = &mut parts.line;
        let _ = write!(
            line,
            "{dim}{:.3}{end} {start}{level}{end} ",
            self.clock.now()
        );
        people_message(line, &parts.message);
        line.push_str(&parts.fields);
        if !parts.spans.is_empty() {
            let _ = write!(line, "{dim}{}{end}", parts.spans);
        }
        if *event.metadata().level() >= Level::DEBUG {
            let _ = write!(line, " {dim}({}){end}", event.metadata().target());
        }
        line.push('\n');
    }
}

/// The parts of a line, reused by the thread for the next one.
#[derive(Default)]
struct Parts {
    line: String,
    message: String,
    fields: String,
    spans: String,
}

impl Parts {
    fn clear(&mut self) {
        /// More than a line should have; a longer one is given back.
        const KEPT: usize = 16 * 1024;
        for part in [
            &mut self.line,
            &mut self.message,
            &mut self.fields,
            &mut self.spans,
        ] {
            part.clear();
            part.shrink_to(KEPT);
        }
    }
}

thread_local! {
    static PARTS: RefCell<Parts> = RefCell::default();
}

impl<S> Layer<S> for LogLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut out = String::new();
        attributes.record(&mut Fields {
            style: self.format.style(),
            out: &mut out,
            message: None,
            plain_names: true,
        });
        if !out.is_empty() {
            span.extensions_mut().insert(SpanFields(out));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut out = String::new();
        values.record(&mut Fields {
            style: self.format.style(),
            out: &mut out,
            message: None,
            plain_names: true,
        });
        if out.is_empty() {
            return;
        }
        let mut extensions = span.extensions_mut();
        match extensions.get_mut::<SpanFields>() {
            Some(fields) => fields.0.push_str(&out),
            None => extensions.insert(SpanFields(out)),
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        PARTS.with(|parts| {
            // A value that logs while it is being logged would find the parts in use; its line is the one to lose.
            let Ok(mut parts) = parts.try_borrow_mut() else {
                return;
            };
            let parts = &mut *parts;
            event.record(&mut Fields {
                style: self.format.style(),
                out: &mut parts.fields,
                message: Some(&mut parts.message),
                plain_names: false,
            });
            if let Some(scope) = context.event_scope(event) {
                for span in scope.from_root() {
                    if let Some(fields) = span.extensions().get::<SpanFields>() {
                        parts.spans.push_str(&fields.0);
                    }
                }
            }
            match self.format {
                Format::Json => self.json(parts, event),
                Format::Text { colour } => self.text(parts, event, colour),
            }
            if self.writer.write(parts.line.as_bytes()).is_err() {
                // Of a record it is told to whoever wants to answer; of anything else there is nobody to tell.
                aaa_audit::log::lost();
            }
            parts.clear();
        });
    }
}
