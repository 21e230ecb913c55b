//! Traces that reach a collector.

use std::sync::{Arc, Mutex};

use aaa_service::shell::{self, Options};
use aaa_service::telemetry::{Settings, Telemetry};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio_stream::wrappers::TcpListenerStream;

use crate::support::{PROGRAM, Signer, connect, document, get, options, sign, text};

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

    /// All spans by name, each with the name of its service.
    fn spans(&self) -> Vec<(String, Span)> {
        let requests = self.0.lock().unwrap();
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let mut spans: Vec<_> = resources
            .flat_map(|of| {
                let resource = of.resource.clone().unwrap();
                let service = attribute(&resource.attributes, "service.name").unwrap();
                let spans = of.scope_spans.iter().flat_map(|scope| scope.spans.clone());
                spans.map(move |span| (service.clone(), span))
            })
            .collect();
        spans.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        spans
    }
}

fn attribute(
    attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue],
    key: &str,
) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match attribute.value.clone()?.value? {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

#[tokio::test]
async fn requests_are_traced_under_the_callers_trace() {
    let collector = Collector::default();
    let endpoint = collector.start().await;
    let config = |more: &str| {
        document(&format!(
            "{{\"loglevel\": \"fatal\", \"telemetry\": {{\"otlp_endpoint\": \"{endpoint}\"{more}}}}}"
        ))
    };
    // Only callers decide what is traced.
    let settings = Settings::read(&config(", \"sample_ratio\": 0"), "aaa-test", false);
    let telemetry = Telemetry::open(&settings, options(true).clock).unwrap();
    assert!(telemetry.traces());
    let _log = tracing::dispatcher::set_default(telemetry.dispatch());
    let (signer, _) = Signer::new();
    let handlers = signer.handlers();
    let options = Options {
        traced: telemetry.traces(),
        ..options(true)
    };
    let running = shell::start(&PROGRAM, config(""), options, |_, _| Ok(handlers))
        .await
        .unwrap();

    let mut connection = connect(running.addr.unwrap()).await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for mut request in [sign("traced"), get("/secret-of-somebody")] {
        request
            .headers_mut()
            .insert("traceparent", parent.parse().unwrap());
        text(connection.send_request(request).await.unwrap()).await;
    }
    text(connection.send_request(sign("not traced")).await.unwrap()).await;
    running.shutdown().await;
    telemetry.flush().await;

    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(names, ["/choria/v1/sign", "GET", "policy"]);
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();
    assert!(
        spans
            .iter()
            .all(|(service, span)| service == "aaa-test" && span.trace_id == trace)
    );
    let request_span = &spans[0].1;
    assert_eq!(
        request_span.parent_span_id,
        0xb7ad_6b71_6920_3331_u64.to_be_bytes()
    );
    assert_eq!(
        attribute(&request_span.attributes, "http.response.status_code").unwrap(),
        "200"
    );
    assert_eq!(
        attribute(&request_span.attributes, "url.path").unwrap(),
        "/choria/v1/sign"
    );
    let context = &signer.contexts.lock().unwrap()[0];
    assert_eq!(
        attribute(&request_span.attributes, "request_id").unwrap(),
        context.request_id
    );
    assert_eq!(attribute(&spans[1].1.attributes, "url.path"), None);
    assert_eq!(spans[2].1.parent_span_id, request_span.span_id);
}
