//! A double of an Okta tenant on loopback: the endpoints that a login uses, as they are documented, with paging, limits on rates
//! and the ways in which they fail.
//!
//! It is strict. What the documents do not allow is answered with an error and kept as a complaint, which a test then finds.
//!
//! <https://developer.okta.com/docs/reference/api/oidc/>, <https://developer.okta.com/docs/reference/core-okta-api/>.

mod answers;
mod strict;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The application that may use the password grant.
pub const CLIENT_ID: &str = "0oa1gjh63g214q0Hq0g4";
/// Its secret; some of its characters need encoding where they could be mistaken.
pub const CLIENT_SECRET: &str = "s3cret+of/the=app";
/// The token of the API.
pub const API_TOKEN: &str = "00QCjAl4MlV-WPXM";

/// Calls that one connection of HTTP/2 takes at a time: the fewest that a server should (RFC 9113 section 6.5.2).
const STREAMS: u32 = 100;

/// A person in the tenant.
#[derive(Debug, Clone)]
pub struct User {
    /// The id, such as `00u1`.
    pub id: String,
    /// The login, in the form of a mail address.
    pub login: String,
    /// The password.
    pub password: String,
    /// `ACTIVE`, `LOCKED_OUT`, `PASSWORD_EXPIRED`, `SUSPENDED`, …
    pub status: String,
    /// The names of the groups.
    pub groups: Vec<String>,
    /// What the sign-on policy demands beside the password.
    pub policy: Policy,
}

/// What a sign-on policy demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// A password is enough.
    Password,
    /// A second factor, as the classic engine says so.
    SecondFactor,
    /// A second factor, as the identity engine says so.
    SecondFactorRequired,
    /// Nobody gets in.
    Deny,
}

/// The calls that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// The password grant.
    Token,
    /// The record of a user.
    User,
    /// A page of groups.
    Groups,
}

/// What a tenant speaks inside of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 with those who can.
    Http2,
}

/// What goes wrong in place of an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// No answer, until the client gives up.
    Hang,
    /// An answer that takes so long.
    Slow(Duration),
    /// This status, with an error as the API has it.
    Status(u16),
    /// The limit of calls, until this second of the unix epoch.
    RateLimit(Option<i64>),
    /// A page for people, with status 200.
    Html,
    /// JSON of this text, with status 200.
    Json(String),
    /// 10 MB of JSON.
    Huge,
    /// A redirect to this address.
    Redirect(String),
    /// The end of the connection.
    Disconnect,
    /// A good answer, with this as the address of the next page.
    Next(String),
    /// The record of this user, whoever was asked for.
    RecordOf(String),
    /// A grant without an id token, and with an access token that is opaque.
    OpaqueTokens,
}

/// A tenant. It ends when this is dropped.
pub struct Okta {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The certificate of who vouches for it, in PEM, when it speaks TLS.
    authority: Option<String>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    users: Vec<User>,
    /// Groups on a page, at most.
    page: usize,
    faults: VecDeque<(Call, Fault, bool)>,
    connections: usize,
    took: Duration,
    calls: Vec<(Call, String)>,
    complaints: Vec<String>,
}

struct Shared {
    origin: String,
    state: Mutex<State>,
}

impl User {
    /// An active user in these groups.
    pub fn new(id: &str, login: &str, password: &str, groups: &[&str]) -> Self {
        Self {
            id: id.to_owned(),
            login: login.to_owned(),
            password: password.to_owned(),
            status: "ACTIVE".to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            policy: Policy::Password,
        }
    }
}

impl Okta {
    /// Starts a tenant with these users, over plain HTTP.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn start(users: Vec<User>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let origin = format!("http://{address}");
        Ok(Self::serve(listener, address, origin, users, None))
    }

    /// Starts a tenant that speaks TLS as `localhost`, with a certificate by an authority of its own.
    ///
    /// # Errors
    /// When there is no port for it, or no certificate can be made.
    pub async fn start_tls(users: Vec<User>, protocol: Protocol) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let origin = format!("https://localhost:{}", address.port());
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .map_err(io::Error::other)?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let chain = vec![CertificateDer::from(made.cert.der().to_vec())];
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(chain, PrivateKeyDer::Pkcs8(key))
        })
        .map_err(io::Error::other)?;
        if protocol == Protocol::Http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let mut okta = Self::serve(
            listener,
            address,
            origin,
            users,
            Some(TlsAcceptor::from(Arc::new(config))),
        );
        okta.authority = Some(made.cert.pem());
        Ok(okta)
    }

    fn serve(
        listener: TcpListener,
        address: SocketAddr,
        origin: String,
        users: Vec<User>,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let state = State {
            users,
            page: 200,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            origin,
            state: Mutex::new(state),
        });
        let accepted = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&accepted), tls.clone());
                shared.lock().connections += 1;
                let _ = stream.set_nodelay(true);
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, shared).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            shared,
            authority: None,
            accepting,
        }
    }

    /// Where it is: `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub fn endpoint(&self) -> String {
        self.shared.origin.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate to believe, in PEM, when it speaks TLS.
    pub fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Has so many groups on a page at most.
    pub fn page_size(&self, groups: usize) {
        self.shared.lock().page = groups;
    }

    /// Changes the users.
    pub fn change(&self, change: impl FnOnce(&mut Vec<User>)) {
        change(&mut self.shared.lock().users);
    }

    /// The next call of this kind goes wrong like this.
    pub fn fail_once(&self, call: Call, fault: Fault) {
        self.shared.lock().faults.push_back((call, fault, true));
    }

    /// Every call of this kind goes wrong like this from now on.
    pub fn fail(&self, call: Call, fault: Fault) {
        self.shared.lock().faults.push_back((call, fault, false));
    }

    /// Nothing goes wrong any more.
    pub fn recover(&self) {
        self.shared.lock().faults.clear();
    }

    /// The calls so far, each with its path and query as they came.
    pub fn calls(&self) -> Vec<(Call, String)> {
        self.shared.lock().calls.clone()
    }

    /// How long it took for its answers so far, all together.
    pub fn took(&self) -> Duration {
        self.shared.lock().took
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// What came that the documents do not allow.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.lock().complaints.clone()
    }
}

impl Drop for Okta {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call, and takes what is to go wrong with it.
    fn called(&self, call: Call, path: &str) -> Option<Fault> {
        let mut state = self.lock();
        state.calls.push((call, path.to_owned()));
        let place = state.faults.iter().position(|(of, _, _)| *of == call)?;
        let (_, fault, once) = state.faults.get(place)?.clone();
        if once {
            state.faults.remove(place);
        }
        Some(fault)
    }

    fn complain(&self, complaint: String) {
        self.lock().complaints.push(complaint);
    }
}

/// The connection is ended without an answer.
#[derive(Debug)]
struct Disconnected;

impl std::fmt::Display for Disconnected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("disconnected")
    }
}

impl std::error::Error for Disconnected {}

async fn connection<I>(io: I, shared: Arc<Shared>)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let shared = Arc::clone(&shared);
        async move {
            let started = Instant::now();
            let answer = match strict::read(request).await {
                Ok(asked) => answer(&shared, &asked).await,
                Err(complaint) => {
                    shared.complain(complaint);
                    Ok(answers::bad_request())
                }
            };
            shared.lock().took += started.elapsed();
            answer
        }
    });
    // A client that goes away is an ordinary end.
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(STREAMS);
    let _ = builder.serve_connection(TokioIo::new(io), service).await;
}

async fn answer(
    shared: &Shared,
    asked: &strict::Asked,
) -> Result<Response<Full<Bytes>>, Disconnected> {
    let fault = shared.called(asked.call(), &asked.path);
    match fault {
        Some(Fault::Disconnect) => Err(Disconnected),
        Some(Fault::Hang) => std::future::pending::<Result<_, Infallible>>()
            .await
            .map_err(|never| match never {}),
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            Ok(answers::good(shared, asked, None))
        }
        other => Ok(answers::good(shared, asked, other.as_ref())),
    }
}
