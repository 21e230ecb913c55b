use aaa_audit::log::LogSink;
use aaa_core::clock::ManualClock;
use tracing::level_filters::LevelFilter;

use super::*;

fn settings(level: LevelFilter, format: Format) -> Settings {
    Settings {
        level,
        format,
        logfile: None,
        traces: None,
    }
}

/// What is logged while `log` runs.
fn logged(level: LevelFilter, format: Format, log: impl FnOnce(&Telemetry)) -> String {
    let writer = LogWriter::memory();
    let clock = ManualClock::at(1_795_000_000);
    let telemetry =
        Telemetry::with_writer(&settings(level, format), clock, writer.clone()).unwrap();
    tracing::dispatcher::with_default(telemetry.dispatch(), || log(&telemetry));
    writer.written()
}

#[test]
fn lines_are_json_and_name_their_request() {
    let text = logged(LevelFilter::INFO, Format::Json, |_| {
        let span = tracing::error_span!("request", request_id = "r-1", "url.path" = "/x");
        span.in_scope(|| {
            let error = std::io::Error::other("a \"b\"\n\u{1b}");
            tracing::info!(callerid = "up=bob", count = 2, ok = true, %error, "signed {}", 7);
            tracing::debug!("not told");
        });
        tracing::warn!(target: "hyper::proto", "told");
        tracing::info!(target: "hyper::proto", "not told");
    });
    assert_eq!(
        text,
        "{\"time\":\"2026-11-18T11:06:40.000000Z\",\"level\":\"info\",\"message\":\"signed 7\",\"request_id\":\"r-1\",\
         \"callerid\":\"up=bob\",\"count\":2,\"ok\":true,\"error\":\"a \\\"b\\\"\\n\\u001b\",\"target\":\"aaa_service::telemetry::tests\"}\n\
         {\"time\":\"2026-11-18T11:06:40.000000Z\",\"level\":\"warn\",\"message\":\"told\",\"target\":\"hyper::proto\"}\n"
    );
    for line in text.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn lines_for_people_cannot_be_forged() {
    let text = logged(LevelFilter::DEBUG, Format::Text { colour: false }, |_| {
        let span = tracing::error_span!("request", request_id = "r-1");
        let _inside = span.enter();
        tracing::warn!(
            name = "a b\n2026 ERROR",
            plain = "x",
            "refused\nfor {}",
            "bob"
        );
        tracing::debug!("small");
    });
    assert_eq!(
        text,
        "2026-11-18T11:06:40.000Z WARN  refused\\nfor bob name=\"a b\\n2026 ERROR\" plain=x request_id=r-1\n\
         2026-11-18T11:06:40.000Z DEBUG small request_id=r-1 (aaa_service::telemetry::tests)\n"
    );
}

#[test]
fn a_request_is_named_at_every_level_and_the_level_can_change() {
    let text = logged(
        LevelFilter::ERROR,
        Format::Text { colour: false },
        |telemetry| {
            let span = tracing::error_span!("request", request_id = "r-1");
            let _inside = span.enter();
            tracing::info!("one");
            tracing::error!("two");
            telemetry.set_level(LevelFilter::INFO);
            tracing::info!("three");
            telemetry.set_level(LevelFilter::OFF);
            tracing::error!("four");
        },
    );
    assert_eq!(
        text,
        "2026-11-18T11:06:40.000Z ERROR two request_id=r-1\n2026-11-18T11:06:40.000Z INFO  three request_id=r-1\n"
    );
}

#[test]
fn records_are_told_at_every_level() {
    let text = logged(LevelFilter::OFF, Format::Json, |_| {
        tracing::error!("not told");
        tracing::info!(target: LogSink::TARGET, "on record");
    });
    assert_eq!(text.lines().count(), 1);
    assert!(text.contains("on record"), "{text}");
}

/// `/dev/full` takes nothing, as a full disk does.
#[tokio::test]
async fn who_wants_a_record_in_a_log_that_cannot_be_written_is_told_so() {
    use aaa_audit::Sink as _;
    let writer = LogWriter::open(Some("/dev/full".into())).unwrap();
    let settings = settings(LevelFilter::OFF, Format::Json);
    let telemetry =
        Telemetry::with_writer(&settings, ManualClock::at(1_795_000_000), writer).unwrap();
    let _here = tracing::dispatcher::set_default(telemetry.dispatch());
    LogSink.works().await.unwrap_err();
}

#[test]
fn settings_read() {
    let read = |text: &str| {
        let document = Document::parse("a.json", text.as_bytes()).unwrap();
        let settings = Settings::read(&document, "aaa-signer", false);
        (settings, document.problems().to_string())
    };
    let (settings, problems) = read(
        r#"{"loglevel": "fatal", "log_format": "json", "logfile": "/x",
            "telemetry": {"otlp_endpoint": "http://127.0.0.1:4317", "sample_ratio": 0.5}}"#,
    );
    assert_eq!(problems, "a.json: 0 problems");
    assert_eq!(
        (settings.level, settings.format),
        (LevelFilter::OFF, Format::Json)
    );
    let traces = settings.traces.unwrap();
    assert_eq!(traces.service_name, "aaa-signer");
    assert!((traces.sample_ratio - 0.5).abs() < f64::EPSILON);

    let (settings, problems) =
        read(r#"{"telemetry": {"otlp_endpoint": "collector:4317"}, "loglevel": "loud"}"#);
    assert!(settings.traces.is_none());
    assert_eq!(
        problems,
        "a.json: 2 problems\n  loglevel                  \"loud\": wants debug, info, warn, error or fatal\n  \
         telemetry.otlp_endpoint   \"collector:4317\": wants a URL such as http://127.0.0.1:4317"
    );
    assert!(read(r#"{"telemetry": {}}"#).0.traces.is_none());
}
