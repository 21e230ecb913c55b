//! The listener: accepts connections as many as may be, does TLS off the accept loop, serves, and drains.

mod activity;
mod body;
mod clients;
mod front;
mod http;
mod limits;
mod listen;
mod proxies;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aaa_api::handler::ClientCertificates;
use metrics::{Gauge, counter, gauge};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use front::Front;
pub(crate) use http::{Http, Link, Respond};
pub(crate) use limits::Limits;
pub(crate) use listen::Address;
pub(crate) use proxies::Proxies;
pub(crate) use tls::{TLS_FILE_BYTES, Tls, TlsFiles};

use http::End;

use crate::telemetry::metrics::{CONNECTION_ERRORS, CONNECTIONS};

/// How long the accept loop rests when the system has no descriptor left.
const REST: Duration = Duration::from_millis(100);

/// Why connections end otherwise than by agreement, as labels.
const REASONS: [&str; 6] = [
    "accept",
    "full",
    "handshake",
    "handshake_timeout",
    activity::HEADER_TIMEOUT,
    "protocol",
];

/// What is said to a client that speaks plain HTTP where TLS is wanted.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n\
    Content-Length: 70\r\n\r\n{\"error\":\"this port speaks HTTPS\",\"detail\":\"use an https:// address\"}\n";

/// Serves the connections of one listener.
pub(crate) struct Server<R> {
    http: Http<R>,
    tls: Option<Arc<Tls>>,
    slots: Arc<Semaphore>,
    handshake_timeout: Duration,
    site: Option<String>,
    open: Gauge,
}

impl<R: Respond> Server<R> {
    /// A server for clients, whose connections are counted for this site.
    pub(crate) fn new(respond: Arc<R>, tls: Option<Arc<Tls>>, limits: &Limits, site: &str) -> Self {
        // From zero, so that the first count is seen as one.
        for reason in REASONS {
            counter!(CONNECTION_ERRORS, "site" => site.to_owned(), "reason" => reason).increment(0);
        }
        Self {
            http: Http::new(respond, limits.header, limits.idle),
            tls,
            slots: Arc::new(Semaphore::new(limits.connections)),
            handshake_timeout: limits.header,
            site: Some(site.to_owned()),
            open: gauge!(CONNECTIONS, "site" => site.to_owned()),
        }
    }

    /// A plain server for monitoring, whose connections count for nobody.
    pub(crate) fn plain(respond: Arc<R>, limits: &Limits) -> Self {
        Self {
            http: Http::new(respond, limits.header, limits.idle),
            tls: None,
            slots: Arc::new(Semaphore::new(limits.connections)),
            handshake_timeout: limits.header,
            site: None,
            open: Gauge::noop(),
        }
    }

    /// Accepts until `drain` is cancelled. Connections go on in `tasks` until they have finished, or `kill` is cancelled.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: TcpListener,
        tasks: TaskTracker,
        drain: CancellationToken,
        kill: CancellationToken,
    ) {
        let mut exhausted = false;
        loop {
            let Some(slot) = drain.run_until_cancelled(self.slot()).await.flatten() else {
                return;
            };
            match drain.run_until_cancelled(listener.accept()).await {
                None => return,
                Some(Ok((stream, peer))) => {
                    exhausted = false;
                    let (server, drain, kill) = (Arc::clone(&self), drain.clone(), kill.clone());
                    // The future is made where it stays: each move through another one would keep room for it once more.
                    tasks.spawn(async move {
                        tokio::select! {
                            biased;
                            () = kill.cancelled() => {}
                            () = server.connection(stream, peer, slot, drain) => {}
                        }
                    });
                }
                Some(Err(error)) if of_one_client(&error) => {}
                Some(Err(error)) => {
                    self.count("accept");
                    if !exhausted {
                        tracing::warn!(%error, "cannot accept connections; raise the limit of open files if this lasts");
                        exhausted = true;
                    }
                    drain.run_until_cancelled(tokio::time::sleep(REST)).await;
                }
            }
        }
    }

    /// A place for one more connection; waits for one to end when all are taken.
    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        self.count("full");
        tracing::warn!("max_connections are open; more wait until one ends");
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    async fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        _slot: OwnedSemaphorePermit,
        drain: CancellationToken,
    ) {
        let _open = Open::new(&self.open);
        // Answers are small and whole; waiting for more to send only costs time.
        let _ = stream.set_nodelay(true);
        let end = match &self.tls {
            None => {
                let link = Link {
                    peer,
                    certificates: None,
                };
                self.http.serve(stream, link, &drain).await
            }
            Some(tls) => {
                let secured = tokio::select! {
                    biased;
                    () = drain.cancelled() => return,
                    secured = self.handshake(tls, stream) => secured,
                };
                match secured {
                    Err(end) => end,
                    Ok(secured) => self.serve_secured(secured, peer, &drain).await,
                }
            }
        };
        match end {
            End::Closed | End::TimedOut(activity::IDLE_TIMEOUT) => {}
            End::TimedOut(reason) => {
                self.count(reason);
                tracing::debug!(%peer, reason, "connection ended");
            }
            End::Failed(error) => {
                self.count("protocol");
                tracing::debug!(%peer, error = &*error as &dyn std::error::Error, "connection failed");
            }
        }
    }

    /// Serves a connection, until others decide about certificates than did about this one's.
    async fn serve_secured(
        &self,
        secured: Secured,
        peer: SocketAddr,
        drain: &CancellationToken,
    ) -> End {
        let Secured {
            stream,
            certificates,
            replaced,
        } = secured;
        let link = Link { peer, certificates };
        let replaced = replaced.filter(|_| link.certificates.is_some());
        let replaced = async move {
            match replaced {
                Some(replaced) => replaced.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let drain = drain.child_token();
        // Boxed, so that a connection has room for it only once it has shaken hands.
        let mut serve = Box::pin(self.http.serve(stream, link, &drain));
        tokio::select! {
            end = &mut serve => return end,
            () = replaced => drain.cancel(),
        }
        serve.await
    }

    async fn handshake(&self, tls: &Arc<Tls>, mut stream: TcpStream) -> Result<Secured, End> {
        let current = tls.current();
        let acceptor = TlsAcceptor::from(Arc::clone(&current.config));
        let accepted = timeout(self.handshake_timeout, async move {
            // The first byte of a TLS handshake is 22 (RFC 8446 section 5.1); that of an HTTP method is a letter.
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first.iter().all(u8::is_ascii_uppercase) {
                let _ = stream.write_all(SPEAK_TLS).await;
                let _ = stream.shutdown().await;
                return Err(io::Error::new(io::ErrorKind::InvalidData, "plain HTTP"));
            }
            acceptor.accept(stream).await
        });
        let stream = match accepted.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.count("handshake");
                tracing::debug!(%error, "TLS handshake failed");
                return Err(End::Closed);
            }
            Err(_) => return Err(End::TimedOut("handshake_timeout")),
        };
        let (_, session) = stream.get_ref();
        let certificates = ClientCertificates::of(session, Arc::<Tls>::clone(tls));
        Ok(Secured {
            stream,
            certificates,
            replaced: current
                .clients
                .as_ref()
                .map(|clients| clients.replaced.clone()),
        })
    }

    fn count(&self, reason: &'static str) {
        if let Some(site) = &self.site {
            counter!(CONNECTION_ERRORS, "site" => site.clone(), "reason" => reason).increment(1);
        }
    }
}

/// A connection after its handshake.
struct Secured {
    stream: TlsStream<TcpStream>,
    /// What the client showed.
    certificates: Option<ClientCertificates>,
    /// Cancelled when others decide about certificates than did about these.
    replaced: Option<CancellationToken>,
}

/// Errors of accept that speak of the one connection that was not made.
fn of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Counts a connection as long as it is open.
struct Open(Gauge);

impl Open {
    fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_to_plain_http_has_the_length_it_says() {
        let text = std::str::from_utf8(SPEAK_TLS).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
