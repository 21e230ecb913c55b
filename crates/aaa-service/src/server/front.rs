//! What every request passes before its handler: it gets a name, a span around it, and what is known of its sender.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use aaa_api::server::{LOGIN_PATH, OPENAPI_PATH, PeerAddr, RequestId, SIGN_PATH, TraceId};
use axum::Router;
use axum::body::{Body, HttpBody as _};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use metrics::Counter;
use tokio::sync::Semaphore;
use tower::Service as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::body::{LARGE_AT_A_TIME, Metered};
use super::http::{Link, Respond};
use super::proxies::Proxies;
use crate::telemetry::{metrics::RESPONSES, parent_of, trace_of};

/// The header that names a request, taken from the client when it is sane and sent back with the answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where requests go, in REST and gRPC.
const KNOWN: &[&str] = &[
    SIGN_PATH,
    LOGIN_PATH,
    OPENAPI_PATH,
    "/choria.aaa.v1.SignerService/Sign",
    "/choria.aaa.v1.SignerService/SignStream",
    "/choria.aaa.v1.LoginService/Login",
];

/// Gives requests to a router.
pub(crate) struct Front {
    router: Router,
    names: Names,
    /// Whether spans go anywhere but into the log.
    traced: bool,
    proxies: Proxies,
    large_bodies: Arc<Semaphore>,
    responses: Responses,
}

impl Front {
    pub(crate) fn new(router: Router, site: &str, traced: bool, proxies: Proxies) -> Self {
        Self {
            router,
            names: Names::new(),
            traced,
            proxies,
            large_bodies: Arc::new(Semaphore::new(LARGE_AT_A_TIME)),
            responses: Responses::new(site),
        }
    }

    /// The span that names the request in each log line below it. Its level is that of errors, so that it is there for them
    /// whatever `loglevel` says.
    fn span(&self, id: &str, request: &Request<Incoming>) -> Span {
        if !self.traced {
            return tracing::error_span!("request", request_id = id);
        }
        let (method, known) = (request.method().as_str(), known(request.uri().path()));
        let span = tracing::error_span!(
            "request",
            request_id = id,
            "otel.name" = known.unwrap_or(method),
            "otel.kind" = "server",
            "otel.status_code" = Empty,
            "http.request.method" = method,
            "http.response.status_code" = Empty,
            "url.path" = known,
        );
        if let Some(parent) = parent_of(request.headers()) {
            // It fails when this span is not to be sent, and then there is nothing to belong to.
            let _ = span.set_parent(parent);
        }
        span
    }

    /// The body as the router takes it: one box, none for an empty one.
    fn body(&self, headers: &HeaderMap, body: Incoming) -> Body {
        let grpc = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if grpc {
            // The length of a stream says nothing; its messages have their own limit.
            Body::new(body)
        } else if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Metered::new(body, &self.large_bodies))
        }
    }
}

impl Respond for Front {
    async fn respond(&self, link: &Link, request: Request<Incoming>) -> Response<Body> {
        let id = sane(request.headers().get(REQUEST_ID))
            .map_or_else(|| self.names.next(), str::to_owned);
        let named = HeaderValue::from_str(&id).ok();
        let span = self.span(&id, &request);
        let asked = tracing::enabled!(tracing::Level::DEBUG)
            .then(|| (request.method().clone(), request.uri().path().to_owned()));

        let (mut parts, body) = request.into_parts();
        let body = self.body(&parts.headers, body);
        parts.extensions.insert(RequestId(id));
        if self.traced
            && let Some(trace) = trace_of(&span)
        {
            parts.extensions.insert(TraceId(trace));
        }
        let peer = self.proxies.client(link.peer, &parts.headers);
        parts.extensions.insert(PeerAddr(peer));
        if let Some(certificates) = &link.certificates {
            parts.extensions.insert(certificates.clone());
        }
        let call = self.router.clone().call(Request::from_parts(parts, body));
        let mut response = match call.instrument(span.clone()).await {
            Ok(response) => response,
            Err(never) => match never {},
        };

        let status = response.status();
        self.responses.count(status);
        if self.traced {
            finish_span(&span, status);
        }
        if let Some((method, path)) = asked {
            let status = status.as_u16();
            span.in_scope(|| tracing::debug!(%method, path, status, %peer, "answered"));
        }
        if let Some(named) = named {
            response.headers_mut().insert(REQUEST_ID, named);
        }
        response
    }
}

/// Says what came of a traced request.
fn finish_span(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
}

/// A path that names a span, when it is one of ours: spans are counted by their names, which so are not for clients to make.
fn known(path: &str) -> Option<&'static str> {
    KNOWN.iter().copied().find(|known| *known == path)
}

/// A client's name for its request, when it can stand in a log line: at most 64 of `A-Za-z0-9._-`.
fn sane(header: Option<&HeaderValue>) -> Option<&str> {
    let id = header?.to_str().ok()?;
    let sane = (1..=64).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    sane.then_some(id)
}

/// Makes names for requests: different in each process, and for each request of it.
struct Names {
    process: u32,
    next: AtomicU64,
}

impl Names {
    fn new() -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self {
            process: u32::try_from(random >> 32).unwrap_or_default(),
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(24);
        let _ = write!(id, "{:08x}-{number:08x}", self.process);
        id
    }
}

/// Counts answers by status, with each counter looked up once.
struct Responses {
    site: String,
    by_status: Box<[OnceLock<Counter>]>,
}

impl Responses {
    fn new(site: &str) -> Self {
        Self {
            site: site.to_owned(),
            by_status: (100..600).map(|_| OnceLock::new()).collect(),
        }
    }

    fn count(&self, status: StatusCode) {
        let place = usize::from(status.as_u16().saturating_sub(100));
        if let Some(counter) = self.by_status.get(place) {
            counter
                .get_or_init(|| {
                    let status = status.as_str().to_owned();
                    metrics::counter!(RESPONSES, "site" => self.site.clone(), "status" => status)
                })
                .increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_names_are_taken() {
        let taken =
            |id: &str| sane(Some(&HeaderValue::from_bytes(id.as_bytes()).unwrap())).is_some();
        for good in ["a", "3MSajci3-Lk_0.9", &"x".repeat(64)] {
            assert!(taken(good), "{good}");
        }
        for bad in ["", "a b", "a\"b", "ä", "a/b", &"x".repeat(65)] {
            assert!(!taken(bad), "{bad}");
        }
        assert!(sane(None).is_none());
    }

    #[test]
    fn known_paths_are_those_of_the_router() {
        use aaa_api::grpc::v1::{login_service_server, signer_service_server};
        for service in [
            login_service_server::SERVICE_NAME,
            signer_service_server::SERVICE_NAME,
        ] {
            let prefix = format!("/{service}/");
            assert!(
                KNOWN.iter().any(|path| path.starts_with(&prefix)),
                "{service}"
            );
        }
        assert_eq!(known("/choria/v1/sign"), Some(SIGN_PATH));
        assert_eq!(known("/choria/v1/sign/x"), None);
    }

    #[test]
    fn names_differ() {
        let names = Names::new();
        let (one, two) = (names.next(), names.next());
        assert_ne!(one, two);
        assert_eq!(one.len(), 17);
        assert!(sane(Some(&HeaderValue::from_str(&one).unwrap())).is_some());
    }
}
