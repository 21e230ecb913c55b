//! A service to test with, and the plainest of clients.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, Handlers, SignHandler, SignOutcome};
use aaa_api::rest::SignRequest;
use aaa_service::config::Document;
use aaa_service::shell::{self, Options, Program, Running, Shell};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

pub(crate) const PROGRAM: Program = Program {
    name: "aaa-test",
    version: "1.2.3",
    about: "Is tested",
};

/// Signs by naming the request and its sender. The request `hold` waits for leave.
pub(crate) struct Signer {
    pub(crate) contexts: Mutex<Vec<Context>>,
    pub(crate) entered: mpsc::UnboundedSender<String>,
    pub(crate) leave: Notify,
}

#[async_trait]
impl SignHandler for Signer {
    async fn sign(&self, context: &Context, request: SignRequest) -> Result<SignOutcome, ApiError> {
        tracing::info!(target: "aaa_test", token = request.token, "signing");
        tracing::info_span!(target: "aaa_test", "policy").in_scope(|| ());
        tracing::info_span!(target: "h2::client", "not ours").in_scope(|| ());
        self.contexts.lock().unwrap().push(context.clone());
        let _ = self.entered.send(request.token.clone());
        if request.token == "hold" {
            self.leave.notified().await;
        }
        Ok(SignOutcome::Signed(request.request))
    }
}

impl Signer {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<String>) {
        let (entered, entries) = mpsc::unbounded_channel();
        let signer = Self {
            contexts: Mutex::default(),
            entered,
            leave: Notify::new(),
        };
        (Arc::new(signer), entries)
    }

    pub(crate) fn handlers(self: &Arc<Self>) -> Handlers {
        let sign: Arc<dyn SignHandler> = Arc::<Self>::clone(self);
        Handlers {
            login: None,
            sign: Some(sign),
        }
    }
}

pub(crate) fn document(text: &str) -> Document {
    Document::parse("aaa.json", text.as_bytes()).unwrap()
}

pub(crate) fn options(disable_tls: bool) -> Options {
    Options {
        listen: Some("127.0.0.1:0".to_owned()),
        admin_listen: Some("127.0.0.1:0".to_owned()),
        disable_tls,
        ..Options::default()
    }
}

/// A plain service with this configuration.
pub(crate) async fn start(
    config: &str,
    signer: &Arc<Signer>,
    more: impl FnOnce(&mut Shell),
) -> Running {
    let handlers = signer.handlers();
    shell::start(&PROGRAM, document(config), options(true), |_, shell| {
        more(shell);
        Ok(handlers)
    })
    .await
    .unwrap()
}

/// A connection to send requests on.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    over(TcpStream::connect(address).await.unwrap()).await
}

pub(crate) async fn over<I>(io: I) -> SendRequest<Full<Bytes>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = handshake(TokioIo::new(io)).await.unwrap();
    tokio::spawn(connection);
    send
}

pub(crate) fn sign(token: &str) -> Request<Full<Bytes>> {
    Request::post("/choria/v1/sign")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::from(format!(
            "{{\"token\":\"{token}\",\"request\":\"e30=\"}}"
        )))
        .unwrap()
}

pub(crate) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path)
        .header("host", "localhost")
        .body(Full::default())
        .unwrap()
}

pub(crate) async fn text(response: Response<hyper::body::Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Asks the admin port.
pub(crate) async fn admin(running: &Running, path: &str) -> (u16, String) {
    let mut connection = connect(running.admin_addr.unwrap()).await;
    text(connection.send_request(get(path)).await.unwrap()).await
}
