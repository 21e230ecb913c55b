//! The endpoints of the HTTP API.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::header;

use super::{LOGIN_PATH, OPENAPI_PATH, SIGN_PATH, body, context};
use crate::error::{ApiError, JSON, NO_STORE};
use crate::grpc::{no_login, no_signer};
use crate::handler::{Context, Front, Handlers};
use crate::openapi::{self, Faults};
use crate::rest::{LoginRequest, LoginResponse, SignRequest, SignResponse};

pub(crate) struct Api {
    handlers: Handlers,
    body_deadline: Duration,
}

pub(super) fn routes(handlers: Handlers, body_deadline: Duration) -> Router {
    let api = Arc::new(Api {
        handlers,
        body_deadline,
    });
    Router::new()
        .route(LOGIN_PATH, post(login).fallback(only_post))
        .route(SIGN_PATH, post(sign).fallback(only_post))
        .route(OPENAPI_PATH, get(description).fallback(only_get))
        .with_state(api)
}

/// Log in
///
/// Exchanges a name and a password for a token.
#[utoipa::path(
    post,
    path = "/choria/v1/login",
    tag = "aaa",
    operation_id = "login",
    request_body(content = LoginRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Logged in, or refused", body = LoginResponse, content_type = "application/json"),
        Faults,
    ),
)]
pub(crate) async fn login(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer(api.login(request).await)
}

/// Sign a request
///
/// Turns a request into a secure request, if the caller may make it. The record of the decision is kept before the answer
/// leaves.
#[utoipa::path(
    post,
    path = "/choria/v1/sign",
    tag = "aaa",
    operation_id = "sign",
    request_body(content = SignRequest, content_type = "application/json"),
    responses(
        (status = 200, description = "Signed, or refused", body = SignResponse, content_type = "application/json"),
        Faults,
    ),
)]
pub(crate) async fn sign(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer(api.sign(request).await)
}

impl Api {
    /// What is known of a request, and its body. The head is let go: it shares a buffer with the body, which may hold a password.
    async fn read(&self, request: Request) -> Result<(Context, Bytes), ApiError> {
        let (mut parts, body) = request.into_parts();
        let context = context(&mut parts.extensions, Front::Rest);
        let body = body::read(&parts.headers, body, self.body_deadline).await?;
        Ok((context, body))
    }

    async fn login(&self, request: Request) -> Result<Vec<u8>, ApiError> {
        let handler = self.handlers.login.as_deref().ok_or_else(no_login)?;
        let (context, body) = self.read(request).await?;
        let outcome = match LoginRequest::parse(&body) {
            Ok(login) => {
                // It holds the password: not longer than needed.
                drop(body);
                handler.login(&context, login).await?
            }
            Err(error) => return Err(handler.malformed(&context, &body, error).await),
        };
        Ok(LoginResponse::from(outcome).to_json())
    }

    async fn sign(&self, request: Request) -> Result<Vec<u8>, ApiError> {
        let handler = self.handlers.sign.as_deref().ok_or_else(no_signer)?;
        let (context, body) = self.read(request).await?;
        let outcome = match SignRequest::parse(&body) {
            Ok(sign) => {
                drop(body);
                handler.sign(&context, sign).await?
            }
            Err(error) => return Err(handler.malformed(&context, &body, error).await),
        };
        Ok(SignResponse::from(outcome).to_json())
    }
}

fn answer(result: Result<Vec<u8>, ApiError>) -> Response {
    match result {
        Ok(body) => json(Bytes::from(body)),
        Err(error) => refuse(error),
    }
}

fn json(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, NO_STORE);
    response
}

fn refuse(error: ApiError) -> Response {
    error.report(Front::Rest);
    error.into_response()
}

/// Describe this API
#[utoipa::path(
    get,
    path = "/choria/v1/openapi.json",
    tag = "aaa",
    operation_id = "openapi",
    responses((status = 200, description = "This document", body = serde_json::Value, content_type = "application/json")),
)]
pub(crate) async fn description() -> Response {
    let mut response = json(Bytes::from_static(openapi::json().as_bytes()));
    response.headers_mut().remove(header::CACHE_CONTROL);
    response
}

async fn only_post() -> Response {
    refuse(ApiError::method_not_allowed("POST"))
}

async fn only_get() -> Response {
    refuse(ApiError::method_not_allowed("GET, HEAD"))
}
