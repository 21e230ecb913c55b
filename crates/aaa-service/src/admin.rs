//! The admin port: metrics and health over plain HTTP, for those who run the service and not for its clients.

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use crate::readiness::Readiness;
use crate::server::{Link, Respond};
use crate::telemetry::metrics;

/// Answers on the admin port.
pub(crate) struct Admin {
    readiness: Readiness,
}

impl Admin {
    pub(crate) fn new(readiness: Readiness) -> Self {
        Self { readiness }
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        let known = matches!(path, "/metrics" | "/healthz/live" | "/healthz/ready");
        if known && method != Method::GET && method != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".to_owned());
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        match path {
            "/metrics" => {
                let mut response = text(StatusCode::OK, metrics::render());
                let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, kind);
                response
            }
            "/healthz/live" => text(StatusCode::OK, "alive\n".to_owned()),
            "/healthz/ready" => match self.readiness.problems() {
                none if none.is_empty() => text(StatusCode::OK, "ready\n".to_owned()),
                problems => text(StatusCode::SERVICE_UNAVAILABLE, problems),
            },
            _ => text(
                StatusCode::NOT_FOUND,
                "here are /metrics, /healthz/live and /healthz/ready\n".to_owned(),
            ),
        }
    }
}

impl Respond for Admin {
    async fn respond(&self, _: &Link, request: Request<Incoming>) -> Response<Body> {
        self.answer(request.method(), request.uri().path())
    }
}

fn text(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn ask(admin: &Admin, method: Method, path: &str) -> (u16, String) {
        let response = admin.answer(&method, path);
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn health_and_metrics_and_nothing_else() {
        let readiness = Readiness::default();
        let users = readiness.register("users");
        let admin = Admin::new(readiness);
        assert_eq!(
            ask(&admin, Method::GET, "/healthz/live").await,
            (200, "alive\n".to_owned())
        );
        assert_eq!(
            ask(&admin, Method::GET, "/healthz/ready").await,
            (503, "users: starting\n".to_owned())
        );
        users.ready();
        assert_eq!(
            ask(&admin, Method::GET, "/healthz/ready").await,
            (200, "ready\n".to_owned())
        );
        metrics::install();
        metrics::build_info("admin-test", "1");
        let (status, text) = ask(&admin, Method::GET, "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("choria_aaa_build_info{site=\"admin-test\",version=\"1\"} 1"));
        assert!(text.contains("process_resident_memory_bytes"));
        assert_eq!(ask(&admin, Method::GET, "/choria/v1/sign").await.0, 404);
        assert_eq!(ask(&admin, Method::POST, "/metrics").await.0, 405);
    }
}
