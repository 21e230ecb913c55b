//! Connections to a tenant: few that its calls share where it speaks HTTP/2, else one for each call, up to a limit.
//!
//! Which of the two it is, is found out first, by one connection that everybody waits for. Without, all logins that come together
//! would each make a connection before the first of them knows that it can be shared.

use std::time::Duration;

use aaa_api::error::Chain;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tower::Service as _;

use super::IN_FLIGHT;

/// Calls that share a connection: as many as every server should take (RFC 9113 section 6.5.2).
const STREAMS: usize = 100;
/// Connections that are shared, enough for all logins that may be in flight.
const SHARED: usize = IN_FLIGHT.div_ceil(STREAMS);
/// Connections that are not shared: each holds some 30 KiB. Calls beyond wait for their turn.
const SINGLE: usize = 256;
/// Those of them that are kept for the next login.
const IDLE: usize = 64;
/// How long connections are kept.
const IDLE_TIME: Duration = Duration::from_mins(1);
/// How often it is asked whether a shared connection is still there, and how long the answer may take: what was lost on the way
/// ends much later by itself, and takes all calls along until then.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

type Connector = HttpsConnector<HttpConnector>;

/// All connections to one tenant.
pub(super) struct Connections {
    /// Connects and offers both protocols.
    both: Connector,
    single: Pool,
    shared: [Pool; SHARED],
    /// Whether connections can be shared, once it is known.
    can_share: Mutex<Option<bool>>,
}

/// Connections, or one that is shared, and how many calls there may be on them.
struct Pool {
    client: Client<Connector, Full<Bytes>>,
    room: Semaphore,
}

impl Connections {
    /// None yet; each is to be made within this time.
    pub(super) fn new(tls: &ClientConfig, connect: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        let connector = || {
            HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
        };
        let mut clients = Client::builder(TokioExecutor::new());
        clients
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME)
            .pool_max_idle_per_host(IDLE);
        let http1 = connector().enable_http1().wrap_connector(tcp.clone());
        let single = Pool::new(&clients, http1, SINGLE);
        clients
            .http2_only(true)
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(PING_EVERY)
            .http2_keep_alive_timeout(PING_TIMEOUT);
        let http2 = connector().enable_http2().wrap_connector(tcp.clone());
        Self {
            both: connector().enable_all_versions().wrap_connector(tcp),
            single,
            shared: std::array::from_fn(|_| Pool::new(&clients, http2.clone(), STREAMS)),
            can_share: Mutex::new(None),
        }
    }

    /// Sends a request. The answer comes with its room on the connection, to be kept until it is read.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, SemaphorePermit<'_>), String> {
        let (pool, room) = if self.can_share(request.uri()).await? {
            // The first that has room: later ones are connected only when they are needed.
            let [first, ..] = &self.shared;
            match self.shared.iter().find_map(Pool::free) {
                Some(free) => free,
                None => first.turn().await?,
            }
        } else {
            self.single.turn().await?
        };
        match pool.client.request(request).await {
            Ok(response) => Ok((response, room)),
            Err(error) => {
                if error.is_connect() {
                    // It may be another who answers there next.
                    *self.can_share.lock().await = None;
                }
                Err(Chain(&error).to_string())
            }
        }
    }

    /// Whether the tenant speaks HTTP/2. Found out once, by whoever comes first.
    async fn can_share(&self, tenant: &Uri) -> Result<bool, String> {
        let mut known = self.can_share.lock().await;
        if let Some(known) = *known {
            return Ok(known);
        }
        let stream = self.both.clone().call(tenant.clone()).await;
        let stream = stream.map_err(|error| Chain(&*error).to_string())?;
        Ok(*known.insert(stream.connected().is_negotiated_h2()))
    }
}

impl Pool {
    fn new(clients: &Builder, connector: Connector, room: usize) -> Self {
        Self {
            client: clients.build(connector),
            room: Semaphore::new(room),
        }
    }

    /// Room for a call, if there is any.
    fn free(&self) -> Option<(&Self, SemaphorePermit<'_>)> {
        Some((self, self.room.try_acquire().ok()?))
    }

    /// Room for a call, when it is its turn.
    async fn turn(&self) -> Result<(&Self, SemaphorePermit<'_>), String> {
        let room = self.room.acquire().await;
        Ok((self, room.map_err(|closed| closed.to_string())?))
    }
}
