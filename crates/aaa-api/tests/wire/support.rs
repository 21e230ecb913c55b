//! A service whose decisions are written in the request, and ways to ask it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aaa_api::error::{ApiError, Cause};
use aaa_api::handler::{Context, Handlers, LoginHandler, LoginOutcome, SignHandler, SignOutcome};
use aaa_api::rest::{LoginRequest, SignRequest};
use aaa_api::server;
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use prost::Message;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

pub(crate) const LOGIN: &str = server::LOGIN_PATH;
pub(crate) const SIGN: &str = server::SIGN_PATH;
pub(crate) const GRPC_LOGIN: &str = "/choria.aaa.v1.LoginService/Login";
pub(crate) const GRPC_SIGN: &str = "/choria.aaa.v1.SignerService/Sign";
pub(crate) const GRPC_STREAM: &str = "/choria.aaa.v1.SignerService/SignStream";

/// Decides by the word that it finds in the username, or in the token.
pub(crate) struct Oracle {
    /// What every request that says `wait` waits for.
    pub(crate) gate: Semaphore,
    /// How many requests have come to the handler.
    pub(crate) entered: AtomicUsize,
    /// The names of the requests that have come, in the order in which they came.
    pub(crate) names: Mutex<Vec<String>>,
    /// The bodies that could not be understood.
    pub(crate) malformed: Mutex<Vec<Vec<u8>>>,
}

impl Oracle {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            gate: Semaphore::new(0),
            entered: AtomicUsize::new(0),
            names: Mutex::default(),
            malformed: Mutex::default(),
        })
    }

    pub(crate) fn entered(&self) -> usize {
        self.entered.load(Ordering::SeqCst)
    }

    pub(crate) fn malformed(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.malformed.lock().unwrap())
    }

    async fn decide(
        &self,
        context: &Context,
        word: &str,
    ) -> Result<Result<(), (String, String)>, ApiError> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.names.lock().unwrap().push(context.request_id.clone());
        match word {
            "wait" => {
                self.gate.acquire().await.unwrap().forget();
                Ok(Ok(()))
            }
            "refuse" => Ok(Err(("Request denied".to_owned(), "because".to_owned()))),
            "busy" => Err(ApiError::busy(
                "the queue is full",
                Duration::from_millis(1500),
            )),
            "throttle" => Err(ApiError::too_many_requests(
                "slow down",
                Duration::from_secs(7),
            )),
            "break" => Err(ApiError::internal("no room on /var/lib/aaa/spool")),
            _ => Ok(Ok(())),
        }
    }
}

#[async_trait]
impl LoginHandler for Oracle {
    async fn login(
        &self,
        context: &Context,
        request: LoginRequest,
    ) -> Result<LoginOutcome, ApiError> {
        Ok(match self.decide(context, &request.username).await? {
            Ok(()) => LoginOutcome::Token(format!("token of {}", request.username)),
            Err((error, detail)) => LoginOutcome::Refused { error, detail },
        })
    }

    async fn malformed(&self, _: &Context, body: &[u8], error: ApiError) -> ApiError {
        assert_eq!(error.cause(), Cause::Malformed);
        self.malformed.lock().unwrap().push(body.to_vec());
        error
    }
}

#[async_trait]
impl SignHandler for Oracle {
    async fn sign(&self, context: &Context, request: SignRequest) -> Result<SignOutcome, ApiError> {
        Ok(match self.decide(context, &request.token).await? {
            Ok(()) => SignOutcome::Signed([b"signed:", &*request.request].concat()),
            Err((error, detail)) => SignOutcome::Refused { error, detail },
        })
    }

    async fn malformed(&self, _: &Context, body: &[u8], error: ApiError) -> ApiError {
        assert_eq!(error.cause(), Cause::Malformed);
        self.malformed.lock().unwrap().push(body.to_vec());
        error
    }
}

/// A router with everything, over this oracle.
pub(crate) fn router(oracle: &Arc<Oracle>) -> Router {
    server::router(handlers(oracle))
}

pub(crate) fn handlers(oracle: &Arc<Oracle>) -> Handlers {
    Handlers {
        login: Some(Arc::clone(oracle) as _),
        sign: Some(Arc::clone(oracle) as _),
    }
}

/// An answer of the HTTP API: always JSON, always strings only.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) members: Map<String, Value>,
}

impl Answer {
    pub(crate) fn text(&self, member: &str) -> &str {
        self.members
            .get(member)
            .map_or("", |value| value.as_str().unwrap())
    }
}

pub(crate) async fn ask(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(
        parts.headers[header::CONTENT_TYPE],
        "application/json",
        "{parts:?}"
    );
    let members: Map<String, Value> = serde_json::from_slice(&body).unwrap();
    assert!(members.values().all(Value::is_string), "{members:?}");
    Answer {
        status: parts.status,
        headers: parts.headers,
        members,
    }
}

pub(crate) fn post(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}

/// An answer of gRPC.
#[derive(Debug)]
pub(crate) struct GrpcAnswer {
    pub(crate) code: i32,
    pub(crate) message: String,
    pub(crate) metadata: HeaderMap,
    pub(crate) body: Bytes,
}

impl GrpcAnswer {
    pub(crate) fn messages<M: Message + Default>(&self) -> Vec<M> {
        let mut left = self.body.clone();
        let mut messages = Vec::new();
        while !left.is_empty() {
            assert_eq!(left[0], 0);
            let length = u32::from_be_bytes(left[1..5].try_into().unwrap()) as usize;
            messages.push(M::decode(left.split_to(5 + length).slice(5..)).unwrap());
        }
        messages
    }
}

pub(crate) fn grpc(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(body.into())
        .unwrap()
}

/// A gRPC call, made of bytes, so that it can be as wrong as it likes.
pub(crate) async fn call(router: &Router, request: Request<Body>) -> GrpcAnswer {
    let response = router.clone().oneshot(request).await.unwrap();
    finish(response).await
}

pub(crate) async fn finish(response: axum::response::Response) -> GrpcAnswer {
    assert_eq!(response.status(), StatusCode::OK);
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let metadata = match body.trailers() {
        Some(trailers) => trailers.clone(),
        None => parts.headers,
    };
    let status = tonic::Status::from_header_map(&metadata).expect("a gRPC status");
    GrpcAnswer {
        code: status.code() as i32,
        message: status.message().to_owned(),
        metadata,
        body: body.to_bytes(),
    }
}

/// A message in the frame that gRPC wants.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    raw_frame(&message.encode_to_vec())
}

pub(crate) fn raw_frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    frame.freeze()
}

/// Serves a router over loopback until it is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, task }
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The counters of this test, which runs in one thread.
pub(crate) struct Counters {
    snapshots: Snapshotter,
    recorder: DebuggingRecorder,
}

impl Counters {
    pub(crate) fn new() -> Self {
        let recorder = DebuggingRecorder::new();
        Self {
            snapshots: recorder.snapshotter(),
            recorder,
        }
    }

    pub(crate) fn here(&self) -> metrics::LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(&self.recorder)
    }

    /// `front/cause` of every bad request since the last look.
    pub(crate) fn bad_requests(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (key, _, _, value) in self.snapshots.snapshot().into_vec() {
            let DebugValue::Counter(count) = value else {
                continue;
            };
            if key.key().name() != aaa_api::error::BAD_REQUESTS {
                continue;
            }
            let label = |name| {
                key.key()
                    .labels()
                    .find(|label| label.key() == name)
                    .unwrap()
                    .value()
                    .to_owned()
            };
            for _ in 0..count {
                found.push(format!("{}/{}", label("front"), label("cause")));
            }
        }
        found.sort();
        found
    }
}
