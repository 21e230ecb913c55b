//! The HTTP API over connections of our own: a request goes out in one write, and the next one when its answer is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use crate::answer;
use crate::connect::Endpoint;
use crate::failure::Failure;
use crate::stats::Tally;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_mins(1);
/// The largest answer.
const LARGEST: usize = 1024 * 1024;
/// How much is read at a time.
const READ: usize = 16 * 1024;
/// Who is turned away comes again after so long.
const TURNED_AWAY: Duration = Duration::from_millis(100);
/// A service that is gone is asked for again after so long, so many times.
const RECONNECT: (Duration, u32) = (Duration::from_millis(50), 20);

/// Makes requests, and looks at what comes back.
pub(crate) trait Source: Send + 'static {
    /// Writes the next request, complete with its head; `None` when there are no more.
    fn next(&mut self, wire: &mut Vec<u8>) -> Option<u64>;

    /// Looks at the body of a 200: why it is not what was asked for, if it is not.
    fn accept(&mut self, number: u64, body: &[u8]) -> Result<(), String>;
}

/// A connection that is kept.
pub(crate) struct Connection {
    endpoint: Arc<Endpoint>,
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) async fn new(endpoint: &Arc<Endpoint>) -> Result<Self, Failure> {
        Ok(Self {
            endpoint: Arc::clone(endpoint),
            stream: endpoint.connect().await?,
            read: Vec::with_capacity(READ),
        })
    }

    /// Asks until the source has no more. What happened, when the last answer was there, and the source.
    pub(crate) async fn drive<S: Source>(mut self, mut source: S) -> Result<Driven<S>, Failure> {
        let mut tally = Tally::new()?;
        let mut wire = Vec::new();
        while let Some(number) = source.next(&mut wire) {
            let asked = Instant::now();
            let exchange = timeout(ANSWER, self.exchange(&wire)).await;
            let took = asked.elapsed();
            match exchange {
                Ok(Ok(keep_alive)) => {
                    if self.judge(number, took, &mut source, &mut tally) == 503 {
                        sleep(TURNED_AWAY).await;
                    }
                    if !keep_alive {
                        self.reconnect().await?;
                    }
                }
                Ok(Err(error)) => {
                    tally.failed(error);
                    self.reconnect().await?;
                }
                Err(_) => {
                    tally.failed("no answer in time");
                    self.reconnect().await?;
                }
            }
        }
        Ok(Driven {
            source,
            tally,
            ended: Instant::now(),
        })
    }

    /// Sends a request and reads until its answer is complete. Whether the connection can be used again.
    async fn exchange(&mut self, wire: &[u8]) -> Result<bool, String> {
        let broken = |error: std::io::Error| format!("connection: {}", error.kind());
        self.read.clear();
        self.stream.write_all(wire).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        loop {
            self.read.reserve(READ);
            if self.stream.read_buf(&mut self.read).await.map_err(broken)? == 0 {
                return Err("connection: closed by the service".to_owned());
            }
            match answer::parse(&self.read) {
                Ok(Some(answer)) => return Ok(answer.keep_alive),
                Ok(None) if self.read.len() > LARGEST => {
                    return Err("an answer without end".to_owned());
                }
                Ok(None) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Counts the answer that was read, and tells its status.
    fn judge<S: Source>(
        &self,
        number: u64,
        took: Duration,
        source: &mut S,
        tally: &mut Tally,
    ) -> u16 {
        let Ok(Some(answer)) = answer::parse(&self.read) else {
            tally.failed("not an HTTP answer");
            return 0;
        };
        match answer.status {
            200 => match source.accept(number, &answer.body) {
                Ok(()) => tally.succeeded(took),
                Err(why) => tally.failed(why),
            },
            503 => tally.failed("turned away (503)"),
            status => tally.failed(format!("status {status}")),
        }
        answer.status
    }

    async fn reconnect(&mut self) -> Result<(), Failure> {
        let (pause, times) = RECONNECT;
        let mut attempt = 0;
        loop {
            match self.endpoint.connect().await {
                Ok(stream) => {
                    self.stream = stream;
                    return Ok(());
                }
                Err(failure) if attempt >= times => return Err(failure),
                Err(_) => attempt += 1,
            }
            sleep(pause).await;
        }
    }
}

/// What came of one connection.
pub(crate) struct Driven<S> {
    pub(crate) source: S,
    pub(crate) tally: Tally,
    pub(crate) ended: Instant,
}

/// The head of a request with a body of this length.
pub(crate) fn head(authority: &str, path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: application/json\r\naccept: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
}

/// What an answer says went wrong, for counting: its `error` and `detail`.
pub(crate) fn refusal(body: &[u8]) -> String {
    let members: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).unwrap_or_default();
    let text = |member| members.get(member).and_then(|value| value.as_str());
    match (text("error"), text("detail")) {
        (Some(error), Some(detail)) => format!("refused: {error} ({detail})"),
        (Some(error), None) => format!("refused: {error}"),
        _ => "an answer of another form".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart_by_what_they_say() {
        assert_eq!(
            refusal(br#"{"error":"Request denied","detail":"no"}"#),
            "refused: Request denied (no)"
        );
        assert_eq!(
            refusal(br#"{"error":"Request denied"}"#),
            "refused: Request denied"
        );
        for other in [&b"{}"[..], b"[]", b"\xff"] {
            assert_eq!(refusal(other), "an answer of another form");
        }
    }
}
