//! What stands before the generated gRPC services: tells what is no gRPC, carries the context in, bounds how long a request may
//! take to arrive, and puts what tonic refuses by itself into our table of errors.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use hyper::body::Frame;
use tokio::time::Sleep;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

use crate::error::{ApiError, Cause};
use crate::handler::{Context, Front};
use crate::server::context;

/// One call on its way into a service.
pub(super) struct Call {
    pub(super) context: Context,
    taken: AtomicBool,
}

impl Call {
    /// Takes the call out of a request, and notes that its message was understood: from here on, errors are the service's.
    pub(super) fn take<T>(request: &mut tonic::Request<T>) -> Arc<Self> {
        let call = request
            .extensions_mut()
            .remove::<Arc<Self>>()
            .unwrap_or_else(|| {
                Arc::new(Self::new(context(
                    &mut http::Extensions::new(),
                    Front::Grpc,
                )))
            });
        call.taken.store(true, Ordering::Relaxed);
        call
    }

    fn new(context: Context) -> Self {
        Self {
            context,
            taken: AtomicBool::new(false),
        }
    }
}

/// Hands a request to a gRPC service. `deadline` bounds the time until the request is complete; none for streams.
pub(crate) async fn gate<S, B>(
    service: S,
    deadline: Option<Duration>,
    mut request: Request<Body>,
) -> Response
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if let Err(error) = is_grpc(&request) {
        error.report(Front::Grpc);
        return error.into_response();
    }
    let call = Arc::new(Call::new(context(request.extensions_mut(), Front::Grpc)));
    request.extensions_mut().insert(Arc::clone(&call));
    let request = match deadline {
        Some(after) => request.map(|body| Body::new(Deadline::new(body, after))),
        None => request,
    };
    let response = forward(service, request).await;
    if call.taken.load(Ordering::Relaxed) {
        return response;
    }
    match refused_by_tonic(response.headers()) {
        Some(error) => {
            error.report(Front::Grpc);
            status_response(&error.to_status())
        }
        None => response,
    }
}

/// A status that ends a call before it began, as an HTTP response.
pub(crate) fn status_response(status: &Status) -> Response {
    status.clone().into_http::<Body>()
}

/// Hands a request to a gRPC service that is not ours (health, reflection): what it refuses, it refuses in its own words.
pub(crate) async fn pass<S, B>(service: S, request: Request<Body>) -> Response
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    if let Err(error) = is_grpc(&request) {
        error.report(Front::Grpc);
        return error.into_response();
    }
    forward(service, request).await
}

async fn forward<S, B>(service: S, request: Request<Body>) -> Response
where
    S: Service<Request<Body>, Response = http::Response<B>, Error = Infallible>,
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    match service.oneshot(request).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    }
}

fn is_grpc(request: &Request<Body>) -> Result<(), ApiError> {
    if request.method() != Method::POST {
        return Err(ApiError::method_not_allowed("POST"));
    }
    if !has_grpc_content_type(request.headers()) {
        return Err(ApiError::new(
            Cause::UnsupportedMediaType,
            "this path speaks gRPC: send application/grpc",
        ));
    }
    Ok(())
}

/// Whether a request says of itself that it is gRPC with protobuf messages.
pub(crate) fn has_grpc_content_type(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        matches!(
            value.as_bytes(),
            b"application/grpc" | b"application/grpc+proto"
        )
    })
}

/// What tonic refuses before our services see it, in the terms of our table. Nothing, if it did not refuse.
pub(super) fn refused_by_tonic(headers: &HeaderMap) -> Option<ApiError> {
    let status = Status::from_header_map(headers)?;
    match status.code() {
        Code::Ok => None,
        _ => Some(unreadable(&status)),
    }
}

/// The error for a message that tonic could not read.
///
/// Its messages are fixed sentences, with names of fields and lengths in them but no values; those of other codes may carry
/// errors of the transport, and are kept for the log.
pub(super) fn unreadable(status: &Status) -> ApiError {
    match status.code() {
        Code::OutOfRange | Code::ResourceExhausted => ApiError::too_large(),
        Code::DeadlineExceeded => ApiError::timeout(),
        Code::Unimplemented => ApiError::new(
            Cause::NotFound,
            "no such method, or a compression that is not offered; reflection lists the methods",
        ),
        Code::Internal => ApiError::malformed(
            "the message is not protobuf of the declared type, or its frame is broken",
        ),
        _ => ApiError::malformed("the request ended before its message was complete"),
    }
    .with_source(status.message().to_owned())
}

/// A body that must be complete by a time, counted from when it is first waited for.
struct Deadline {
    inner: Body,
    after: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    fn new(inner: Body, after: Duration) -> Self {
        Self {
            inner,
            after,
            sleep: None,
        }
    }
}

impl hyper::body::Body for Deadline {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(
                frame.map(|frame| frame.map_err(|_| Status::cancelled("the request was cut off"))),
            );
        }
        let after = self.after;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(after)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(Status::deadline_exceeded("too slow"))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.inner.size_hint()
    }
}
