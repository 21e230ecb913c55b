//! The one table of errors: what went wrong → HTTP status, gRPC code, metric label, what we say.
//!
//! These are faults of the request or of the service. That a caller may not log in, or may not make a request, is no error
//! here: it is an answer ([`crate::handler::LoginOutcome::Refused`], [`crate::handler::SignOutcome::Refused`]).

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::handler::Front;

/// Counts requests that were at fault, by [`Cause::label`] and front.
pub const BAD_REQUESTS: &str = "choria_aaa_bad_requests";

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The request cannot be understood: no JSON object, a member unknown, missing its form or too long.
    Malformed,
    /// No such path, or no such gRPC method.
    NotFound,
    /// The path exists, for another method.
    MethodNotAllowed,
    /// The body is declared to be something other than JSON (or, for gRPC, than protobuf).
    UnsupportedMediaType,
    /// The body exceeds [`crate::rest::BODY_LIMIT`].
    TooLarge,
    /// The body did not arrive in time.
    Timeout,
    /// This caller, or this address, tried too often.
    TooManyRequests,
    /// The service cannot take on more, or cannot do what must come before an answer (such as recording it).
    Busy,
    /// This instance does not offer the call.
    NotConfigured,
    /// A fault of ours.
    Internal,
}

struct Row {
    status: StatusCode,
    code: Code,
    label: &'static str,
    message: &'static str,
    at_fault: Fault,
}

#[derive(PartialEq)]
enum Fault {
    Client,
    Service,
}

impl Cause {
    /// Every cause, for tables in tests and documentation.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UnsupportedMediaType,
        Self::TooLarge,
        Self::Timeout,
        Self::TooManyRequests,
        Self::Busy,
        Self::NotConfigured,
        Self::Internal,
    ];

    #[rustfmt::skip]
    const fn row(self) -> Row {
        const fn row(status: StatusCode, code: Code, label: &'static str, message: &'static str, at_fault: Fault) -> Row {
            Row { status, code, label, message, at_fault }
        }
        use Fault::{Client, Service};
        match self {
            Self::Malformed => row(StatusCode::BAD_REQUEST, Code::InvalidArgument, "malformed", "Malformed request", Client),
            Self::NotFound => row(StatusCode::NOT_FOUND, Code::Unimplemented, "not_found", "Not found", Client),
            Self::MethodNotAllowed => row(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, "method_not_allowed", "Method not allowed", Client),
            Self::UnsupportedMediaType => row(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::InvalidArgument, "unsupported_media_type", "Unsupported media type", Client),
            Self::TooLarge => row(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, "too_large", "Request too large", Client),
            Self::Timeout => row(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, "timeout", "Request timed out", Client),
            Self::TooManyRequests => row(StatusCode::TOO_MANY_REQUESTS, Code::ResourceExhausted, "too_many_requests", "Too many requests", Service),
            Self::Busy => row(StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable, "busy", "Service unavailable", Service),
            Self::NotConfigured => row(StatusCode::NOT_IMPLEMENTED, Code::Unimplemented, "not_configured", "Not configured", Service),
            Self::Internal => row(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, "internal", "Internal error", Service),
        }
    }

    /// The status of the HTTP answer.
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// The code of the gRPC status.
    pub const fn code(self) -> Code {
        self.row().code
    }

    /// The name of the cause in metrics and logs.
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// What went wrong in a few words: the `error` of the answer.
    pub const fn message(self) -> &'static str {
        self.row().message
    }

    /// The client sent what it should not have sent, and the same again will fare no better.
    pub const fn is_bad_request(self) -> bool {
        matches!(self.row().at_fault, Fault::Client)
    }
}

/// A request that gets no answer of its own, and why.
///
/// What is public (cause and detail) and what is ours (the source, for logs) are kept apart: no answer carries the source.
#[derive(Debug, Clone)]
pub struct ApiError {
    cause: Cause,
    detail: Cow<'static, str>,
    retry_after: Option<Duration>,
    allow: Option<&'static str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// An error of this cause. The detail is public: it says what is wrong or what to do, and repeats no value that was sent.
    pub fn new(cause: Cause, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause,
            detail: detail.into(),
            retry_after: None,
            allow: None,
            source: None,
        }
    }

    /// The request cannot be understood.
    pub fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Cause::Malformed, detail)
    }

    /// No more work can be taken on: come back after this time.
    pub fn busy(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(Cause::Busy, detail).with_retry_after(retry_after)
    }

    /// Too many attempts: come back after this time.
    pub fn too_many_requests(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(Cause::TooManyRequests, detail).with_retry_after(retry_after)
    }

    /// A fault of ours. The answer says no more than that; the source is for the log.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(
            Cause::Internal,
            "the service failed; its log says more under the id of this request",
        )
        .with_source(source)
    }

    /// The call is not offered here.
    pub fn not_configured(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Cause::NotConfigured, detail)
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(Cause::MethodNotAllowed, format!("use {allow}"))
        }
    }

    pub(crate) fn too_large() -> Self {
        Self::new(Cause::TooLarge, "a request holds at most 1 MiB")
    }

    pub(crate) fn timeout() -> Self {
        Self::new(Cause::Timeout, "the request did not arrive in time")
    }

    /// Says when a new attempt makes sense. Sent in whole seconds, rounded up.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Keeps what lies behind the error, for the log alone.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What went wrong.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What is wrong in particular, or what to do. Public.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Seconds after which a new attempt makes sense, at least 1.
    pub fn retry_after_seconds(&self) -> Option<u32> {
        let after = self.retry_after?;
        let whole = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        Some(u32::try_from(whole.max(1)).unwrap_or(u32::MAX))
    }

    /// Counts and logs the error. Called once for each request that ends with one, by whoever answers.
    pub fn report(&self, front: Front) {
        let cause = self.cause.label();
        if self.cause.is_bad_request() {
            metrics::counter!(BAD_REQUESTS, "cause" => cause, "front" => front.label())
                .increment(1);
        }
        let front = front.label();
        let detail = &*self.detail;
        let error = self
            .source
            .as_deref()
            .map(|source| Chain(source).to_string());
        match self.cause {
            Cause::Internal => tracing::error!(cause, front, error, "request failed"),
            Cause::Busy if error.is_some() => {
                tracing::warn!(cause, front, detail, error, "request not served");
            }
            _ => tracing::debug!(cause, front, detail, error, "request not served"),
        }
    }

    /// The error as the status that ends a gRPC call.
    pub fn to_status(&self) -> Status {
        let mut status = Status::new(self.cause.code(), self.to_string());
        if let Some(seconds) = self.retry_after_seconds() {
            status
                .metadata_mut()
                .insert("retry-after", MetadataValue::from(seconds));
        }
        status
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause.message(), self.detail)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The body of an answer that is an error: strings only, as stock clients expect of every answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ErrorBody<'a> {
    /// What went wrong, in a few words.
    #[schema(example = "Malformed request")]
    pub error: &'a str,
    /// Which member it was about, or what to do.
    #[schema(example = "request must be standard base64 with padding and without line breaks")]
    pub detail: &'a str,
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&ErrorBody {
            error: self.cause.message(),
            detail: &self.detail,
        })
        .unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.cause.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::CACHE_CONTROL, NO_STORE);
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// The content type of every answer of the HTTP API.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Answers hold tokens: nobody on the way keeps them.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An error with all that caused it, in one line: for logs.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_label_and_one_status_for_each_cause() {
        for (index, cause) in Cause::ALL.iter().enumerate() {
            assert!(!cause.status().is_success(), "{cause:?}");
            assert_ne!(cause.code(), Code::Ok, "{cause:?}");
            assert_eq!(
                cause.is_bad_request(),
                cause.status().is_client_error() && *cause != Cause::TooManyRequests
            );
            for other in &Cause::ALL[..index] {
                assert_ne!(cause.label(), other.label());
                assert_ne!(cause.status(), other.status());
            }
        }
    }

    #[test]
    fn a_source_stays_inside() {
        let error = ApiError::internal("cannot read /etc/aaa/signer.seed");
        assert!(!error.to_string().contains("seed"));
        assert!(!error.to_status().message().contains("seed"));
        assert_eq!(
            Chain(error.source().unwrap()).to_string(),
            "cannot read /etc/aaa/signer.seed"
        );
    }

    #[test]
    fn retry_after_is_in_whole_seconds_rounded_up_on_both_fronts() {
        for (millis, seconds) in [
            (0, "1"),
            (1, "1"),
            (1_000, "1"),
            (1_001, "2"),
            (59_500, "60"),
        ] {
            let error = ApiError::busy("later", Duration::from_millis(millis));
            let metadata = error.to_status();
            assert_eq!(metadata.metadata().get("retry-after").unwrap(), seconds);
            assert_eq!(
                error.into_response().headers()[header::RETRY_AFTER],
                seconds
            );
        }
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let response = ApiError::method_not_allowed("POST").into_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "POST");
    }
}
