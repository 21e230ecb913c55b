//! A client of both fronts, for the command line, for tests and for load.
//!
//! It trusts nobody whom it was not told to trust ([`Trust`]), waits no longer than it was told ([`Settings`]), and reads no more
//! than an answer can be. URLs are used as they are: they name the call (`https://login.example.net/choria/v1/login`).

mod error;
mod trust;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use error::ClientError;
pub use trust::{Identity, Trust, client_config};

pub use crate::grpc::v1::login_service_client::LoginServiceClient;
pub use crate::grpc::v1::signer_service_client::SignerServiceClient;

use crate::error::JSON;
use crate::rest::{LoginRequest, LoginResponse, SignRequest, SignResponse};

/// The largest answer that is read, in bytes.
pub const ANSWER_LIMIT: usize = 1024 * 1024;

/// What carries gRPC calls: a pool of HTTP/2 connections.
pub type GrpcTransport = Pool<HttpsConnector<HttpConnector>, tonic::body::Body>;

/// How a client behaves.
pub struct Settings {
    /// Whom to believe that they are the service.
    pub trust: Trust,
    /// What to show to a service that asks for a certificate.
    pub identity: Option<Identity>,
    /// How long to wait for a connection: 5 s by default.
    pub connect_timeout: Duration,
    /// How long to wait for an answer, connecting included: 30 s by default, as a password hash may take its time and queue.
    pub timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trust: Trust::System,
            identity: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}

/// Logs in and has requests signed. Connections are kept and shared by clones.
#[derive(Clone)]
pub struct Client {
    rest: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    grpc: GrpcTransport,
    timeout: Duration,
}

impl Client {
    /// A client that behaves as told. Nothing is connected yet.
    pub fn new(settings: Settings) -> Result<Self, ClientError> {
        let tls = client_config(settings.trust, settings.identity)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let rest = HttpsConnectorBuilder::new()
            .with_tls_config(tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp.clone());
        let grpc = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http2()
            .wrap_connector(tcp);
        let mut pool = Pool::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new());
        Ok(Self {
            rest: pool.build(rest),
            grpc: pool.http2_only(true).build(grpc),
            timeout: settings.timeout,
        })
    }

    /// Logs in at one URL: the token.
    pub async fn login(&self, url: &str, login: &LoginRequest) -> Result<String, ClientError> {
        let body = Bytes::from_owner(Wiped(login.to_json()));
        let answer: LoginResponse = self.post(url, body).await?;
        match answer.token {
            _ if answer.error.as_ref().is_some_and(|error| !error.is_empty()) => {
                Err(refused(answer.error, answer.detail))
            }
            Some(token) if !token.is_empty() => Ok(token),
            _ => Err(ClientError::NoAnswer {
                url: url.to_owned(),
            }),
        }
    }

    /// Logs in at the first of these URLs that can decide: the token.
    ///
    /// The next one is tried when one cannot be reached, cannot be trusted or cannot work ([`ClientError::is_outage`]); a refusal
    /// is final. If all are out, the error is that of the last.
    pub async fn login_any(
        &self,
        urls: &[String],
        login: &LoginRequest,
    ) -> Result<String, ClientError> {
        let mut last = ClientError::NoUrl;
        for url in urls {
            match self.login(url, login).await {
                Err(error) if error.is_outage() => last = error,
                decided => return decided,
            }
        }
        Err(last)
    }

    /// Has a request signed at one URL: the secure request.
    pub async fn sign(&self, url: &str, sign: &SignRequest) -> Result<Vec<u8>, ClientError> {
        let answer: SignResponse = self.post(url, Bytes::from(sign.to_json())).await?;
        match answer.secure_request {
            _ if answer.error.as_ref().is_some_and(|error| !error.is_empty()) => {
                Err(refused(answer.error, answer.detail))
            }
            Some(signed) if !signed.is_empty() => Ok(signed),
            _ => Err(ClientError::NoAnswer {
                url: url.to_owned(),
            }),
        }
    }

    /// A gRPC client for the login service at this origin (`https://host:port`). Its calls have no time limit but their own.
    pub fn grpc_login(
        &self,
        origin: &str,
    ) -> Result<LoginServiceClient<GrpcTransport>, ClientError> {
        let origin = parse(origin)?;
        Ok(LoginServiceClient::with_origin(self.grpc.clone(), origin))
    }

    /// A gRPC client for the signer at this origin (`https://host:port`). Its calls have no time limit but their own.
    pub fn grpc_signer(
        &self,
        origin: &str,
    ) -> Result<SignerServiceClient<GrpcTransport>, ClientError> {
        let origin = parse(origin)?;
        Ok(SignerServiceClient::with_origin(self.grpc.clone(), origin))
    }

    /// What a service says at this URL, on one line: that of its health, on its admin port.
    ///
    /// # Errors
    /// When there is no answer, or one with another status than 200.
    pub async fn text(&self, url: &str) -> Result<String, ClientError> {
        let body = self.exchange(url, Request::new(Full::default())).await?;
        Ok(error::printable(&String::from_utf8_lossy(&body)))
    }

    async fn post<A: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        body: Bytes,
    ) -> Result<A, ClientError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(header::CONTENT_TYPE, JSON);
        request.headers_mut().insert(header::ACCEPT, JSON);
        let body = self.exchange(url, request).await?;
        serde_json::from_slice(&body).map_err(|_| ClientError::NoAnswer {
            url: url.to_owned(),
        })
    }

    /// The body of an answer with status 200, in time.
    async fn exchange(
        &self,
        url: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Bytes, ClientError> {
        *request.uri_mut() = parse(url)?;
        let exchange = async {
            let response = self.rest.request(request).await;
            let response = response.map_err(|source| ClientError::transport(url, source))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_LIMIT).collect();
            let body = body
                .await
                .map_err(|source| ClientError::answer(url, &*source))?;
            Ok((status, body.to_bytes()))
        };
        let exchange = tokio::time::timeout(self.timeout, exchange).await;
        let (status, body) = exchange.map_err(|_| ClientError::Timeout {
            url: url.to_owned(),
            after: self.timeout,
        })??;
        if status != StatusCode::OK {
            return Err(ClientError::status(url, status, &body));
        }
        Ok(body)
    }
}

/// A body that is wiped when the last who holds it lets go: it holds a password.
struct Wiped(zeroize::Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn refused(error: Option<String>, detail: Option<String>) -> ClientError {
    ClientError::Refused {
        error: error::printable(&error.unwrap_or_default()),
        detail: error::printable(&detail.unwrap_or_default()),
    }
}

fn parse(url: &str) -> Result<Uri, ClientError> {
    let uri = url.parse::<Uri>().ok().filter(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    uri.ok_or_else(|| ClientError::Url {
        url: error::printable(url),
    })
}
