//! Both fronts on one router: the HTTP API and gRPC, told apart by their paths.

mod body;
pub(crate) mod rest;

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::Extensions;
use tokio::sync::watch;
use tonic::server::NamedService as _;
use tonic_health::pb::health_server::HealthServer;

use crate::error::{ApiError, BAD_REQUESTS, Cause};
use crate::grpc::v1::login_service_server::LoginServiceServer;
use crate::grpc::v1::signer_service_server::SignerServiceServer;
use crate::grpc::{self, Login, Readiness, Signer};
use crate::handler::{ClientCertificates, Context, Front};
use crate::rest::BODY_LIMIT;

pub use crate::handler::Handlers;

/// Where a login goes.
pub const LOGIN_PATH: &str = "/choria/v1/login";
/// Where a request to sign goes.
pub const SIGN_PATH: &str = "/choria/v1/sign";
/// Where the HTTP API describes itself.
pub const OPENAPI_PATH: &str = "/choria/v1/openapi.json";

/// The name of a request, as an extension of the request: set by whoever accepts connections, so that its log lines and ours
/// speak of the same. Without it a name is made up.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// The trace that a request belongs to (32 hexadecimal digits), as an extension of the request.
#[derive(Debug, Clone)]
pub struct TraceId(pub String);

/// The other end of the connection, or whom a trusted proxy there speaks for, as an extension of the request. So are the [`ClientCertificates`] that it showed.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub SocketAddr);

/// What the process as a whole can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It runs, and could not serve: the health service says `NOT_SERVING`. Requests are still given to the handlers.
    NotReady,
    /// It serves.
    Ready,
    /// It finishes what it has and takes on no more: streams end when all that they brought is answered.
    Draining,
}

/// Follows the condition of the process.
pub type ConditionReceiver = watch::Receiver<Condition>;

/// How the fronts behave, where that is for the shell to say.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the health service tells, and what ends streams. Always ready by default.
    pub condition: ConditionReceiver,
    /// How long a request may take to arrive once its headers have: 10 s by default.
    pub body_deadline: Duration,
    /// How long a `SignStream` may lie idle: 5 minutes by default.
    pub stream_idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        static READY: LazyLock<watch::Sender<Condition>> =
            LazyLock::new(|| watch::Sender::new(Condition::Ready));
        Self {
            condition: READY.subscribe(),
            body_deadline: Duration::from_secs(10),
            stream_idle: Duration::from_mins(5),
        }
    }
}

/// Both fronts over these handlers.
pub fn router(handlers: Handlers) -> Router {
    router_with(handlers, &Options::default())
}

/// Both fronts over these handlers, behaving as told.
pub fn router_with(handlers: Handlers, options: &Options) -> Router {
    metrics::describe_counter!(
        BAD_REQUESTS,
        "Requests that were at fault themselves, by cause and front"
    );
    // From zero, so that the first count is seen as one.
    for cause in Cause::ALL
        .into_iter()
        .filter(|cause| cause.is_bad_request())
    {
        for front in [Front::Rest, Front::Grpc] {
            metrics::counter!(BAD_REQUESTS, "cause" => cause.label(), "front" => front.label())
                .increment(0);
        }
    }
    let grpc = grpc_routes(&handlers, options);
    rest::routes(handlers, options.body_deadline)
        .merge(grpc)
        .fallback(nothing_here)
}

fn grpc_routes(handlers: &Handlers, options: &Options) -> Router {
    let deadline = options.body_deadline;
    let login = LoginServiceServer::new(Login(handlers.login.clone()))
        .max_decoding_message_size(BODY_LIMIT);
    let signer = SignerServiceServer::new(Signer {
        handler: handlers.sign.clone(),
        condition: options.condition.clone(),
        idle: options.stream_idle,
    })
    .max_decoding_message_size(BODY_LIMIT);
    let login = any(move |request: Request| grpc::gate(login.clone(), Some(deadline), request));
    let signer = any(move |request: Request| {
        let stream = request.uri().path().ends_with("/SignStream");
        grpc::gate(signer.clone(), (!stream).then_some(deadline), request)
    });

    standard_services(handlers, options)
        .route(&all_of(LoginServiceServer::<Login>::NAME), login)
        .route(&all_of(SignerServiceServer::<Signer>::NAME), signer)
}

/// Health and reflection, as every gRPC tool expects them.
fn standard_services(handlers: &Handlers, options: &Options) -> Router {
    /// Nobody asks these services anything long.
    const QUESTION_LIMIT: usize = 16 * 1024;

    let (login, sign) = (handlers.login.is_some(), handlers.sign.is_some());
    let health = HealthServer::new(Readiness {
        services: vec![
            ("", login || sign),
            (LoginServiceServer::<Login>::NAME, login),
            (SignerServiceServer::<Signer>::NAME, sign),
        ],
        condition: options.condition.clone(),
    })
    .max_decoding_message_size(QUESTION_LIMIT);
    let name = all_of(HealthServer::<Readiness>::NAME);
    let mut routes = Router::new().route(
        &name,
        any(move |request: Request| grpc::pass(health.clone(), request)),
    );

    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(grpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    match reflection {
        Ok(reflection) => {
            let reflection = reflection.max_decoding_message_size(QUESTION_LIMIT);
            routes = routes.route(
                "/grpc.reflection.v1.ServerReflection/{*method}",
                any(move |request: Request| grpc::pass(reflection.clone(), request)),
            );
        }
        // Descriptors are made with the code; serving goes on without them.
        Err(error) => tracing::error!(%error, "gRPC reflection is off"),
    }
    routes
}

fn all_of(service: &str) -> String {
    format!("/{service}/{{*method}}")
}

async fn nothing_here(request: Request<Body>) -> Response {
    let grpc = grpc::has_grpc_content_type(request.headers());
    let error = ApiError::new(
        Cause::NotFound,
        if grpc {
            "no such service; reflection lists those that are here"
        } else {
            "nothing is here; /choria/v1/openapi.json lists what is elsewhere"
        },
    );
    if grpc {
        error.report(Front::Grpc);
        grpc::status_response(&error.to_status())
    } else {
        error.report(Front::Rest);
        error.into_response()
    }
}

/// What is known of a request beyond its message.
pub(crate) fn context(extensions: &mut Extensions, front: Front) -> Context {
    Context {
        request_id: extensions
            .remove::<RequestId>()
            .map_or_else(|| Generated::next().to_string(), |id| id.0),
        peer: extensions.get::<PeerAddr>().map(|peer| peer.0),
        client_certificates: extensions.get::<ClientCertificates>().cloned(),
        front,
        trace: extensions.remove::<TraceId>().map(|trace| trace.0),
        received: Instant::now(),
    }
}

/// A name for a request that has none: different for each request, and for each process.
struct Generated {
    process: u64,
    request: u64,
}

impl Generated {
    fn next() -> Self {
        static PROCESS: LazyLock<u64> =
            LazyLock::new(|| RandomState::new().build_hasher().finish());
        static REQUEST: AtomicU64 = AtomicU64::new(1);
        Self {
            process: *PROCESS,
            request: REQUEST.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:x}", self.process, self.request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_is_what_the_shell_said() {
        let peer = SocketAddr::from(([192, 0, 2, 1], 4711));
        let mut extensions = Extensions::new();
        extensions.insert(RequestId("r1".to_owned()));
        extensions.insert(PeerAddr(peer));
        extensions.insert(TraceId("0af7651916cd43dd8448eb211c80319c".to_owned()));
        let context = context(&mut extensions, Front::Rest);
        assert_eq!(context.request_id, "r1");
        assert_eq!(context.peer, Some(peer));
        assert!(context.client_certificates.is_none());
        assert_eq!(context.front, Front::Rest);
        assert_eq!(
            context.trace.as_deref(),
            Some("0af7651916cd43dd8448eb211c80319c")
        );
    }

    #[test]
    fn without_a_shell_each_request_has_a_name_of_its_own() {
        let one = context(&mut Extensions::new(), Front::Grpc);
        let two = context(&mut Extensions::new(), Front::Grpc);
        assert_ne!(one.request_id, two.request_id);
        assert!(one.peer.is_none() && one.client_certificates.is_none());
    }
}
