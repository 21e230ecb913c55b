use std::sync::{Arc, Mutex};

use aaa_core::clock::ManualClock;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

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

/// A collector that keeps what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        format!("http://{address}")
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap();
        requests
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }

    fn service_name(&self) -> Option<String> {
        let requests = self.0.lock().unwrap();
        let resource = requests.first()?.resource_spans.first()?.resource.clone()?;
        let name = resource
            .attributes
            .into_iter()
            .find(|a| a.key == "service.name")?;
        Some(format!("{:?}", name.value?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_a_collector_under_the_callers_trace() {
    let collector = Collector::default();
    let traced = Settings {
        traces: Some(TraceSettings {
            endpoint: collector.start().await,
            service_name: "aaa-signer".to_owned(),
            sample_ratio: 0.0,
        }),
        ..settings(LevelFilter::ERROR, Format::Json)
    };
    let telemetry =
        Telemetry::with_writer(&traced, ManualClock::at(0), LogWriter::memory()).unwrap();
    assert!(telemetry.traces());
    tracing::dispatcher::with_default(telemetry.dispatch(), || {
        let mut headers = http::HeaderMap::new();
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        headers.insert("traceparent", parent.parse().unwrap());
        let span = tracing::error_span!("request", request_id = "r-1");
        span.set_parent(parent_of(&headers).unwrap()).unwrap();
        span.in_scope(|| {
            tracing::info_span!("policy", rule = "9").in_scope(|| ());
            tracing::info_span!(target: "h2::client", "not ours").in_scope(|| ());
            tracing::debug_span!("too small").in_scope(|| ());
        });
        // Nobody asked for this one, and none in a thousand is taken.
        tracing::error_span!("request", request_id = "r-2").in_scope(|| ());
    });
    telemetry.flush().await;

    let mut spans = collector.spans();
    spans.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["policy", "request"]);
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    assert!(spans.iter().all(|span| span.trace_id == trace));
    assert_eq!(
        spans[1].parent_span_id,
        0xb7ad_6b71_6920_3331_u64.to_be_bytes()
    );
    assert_eq!(spans[0].parent_span_id, spans[1].span_id);
    assert!(collector.service_name().unwrap().contains("aaa-signer"));
}
