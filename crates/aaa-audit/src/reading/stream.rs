//! Records of a stream.

use std::ops::ControlFlow;
use std::time::Duration;

use async_nats::datetime;
use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Info, Stream};
use async_nats::jetstream::{Context, Message};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::Deserialize;

use super::{Line, Next};
use crate::nats::Connection;

/// How long the server may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads a stream from wherever one likes; it leaves nothing on the server.
pub struct StreamReader {
    jetstream: Context,
    stream: Stream<Info>,
}

/// How far a stream is behind one that it takes records from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// The stream that it takes them from.
    pub name: String,
    /// The JetStream domain that it is in, when that is another one.
    pub domain: Option<String>,
    /// Records that it has not taken yet, as far as is known.
    pub waiting: u64,
    /// How long ago it heard from there; `None` when it never did.
    pub heard: Option<Duration>,
}

impl StreamReader {
    /// Connects, and finds the stream: by its name, or by a subject that it has.
    ///
    /// # Errors
    /// When there is no connection, or no such stream.
    pub async fn open(
        connection: &Connection,
        name: Option<&str>,
        topic: &str,
    ) -> Result<Self, String> {
        let jetstream = connection.jetstream(connection.connect_now(PATIENCE).await?);
        let name = match name {
            Some(name) => name.to_owned(),
            None => jetstream
                .stream_by_subject(topic)
                .await
                .map_err(|_| format!("no stream has the subject {topic}"))?,
        };
        let stream = jetstream
            .get_stream(&name)
            .await
            .map_err(|error| format!("stream {name}: {error}"))?;
        Ok(Self { jetstream, stream })
    }

    /// Gives every record to `each`, in the stream's order, from those that arrived at a time on, and says when there are no more. When it
    /// is followed it goes on with those that come, and otherwise ends there; or when `each` has enough.
    ///
    /// # Errors
    /// When the server does not give them.
    pub async fn read(
        &self,
        since: Option<Timestamp>,
        follow: bool,
        mut each: impl FnMut(Next) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let deliver_policy = match since {
            None => DeliverPolicy::All,
            Some(since) => DeliverPolicy::ByStartTime {
                start_time: datetime::from_nanos(since.as_nanosecond()).map_err(words)?,
            },
        };
        let config = OrderedConfig {
            deliver_policy,
            ..OrderedConfig::default()
        };
        let consumer = self.stream.create_consumer(config).await.map_err(words)?;
        let mut caught_up = consumer.cached_info().num_pending == 0;
        if caught_up && (each(Next::CaughtUp).is_break() || !follow) {
            return Ok(());
        }
        let mut messages = consumer.messages().await.map_err(words)?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(words)?;
            let pending = message.info().map_err(words)?.pending;
            if each(Next::Line(line(&message))).is_break() {
                break;
            }
            if pending == 0 && !std::mem::replace(&mut caught_up, true) {
                let enough = each(Next::CaughtUp).is_break();
                if enough || !follow {
                    break;
                }
            }
        }
        Ok(())
    }

    /// How far the stream is behind those that it takes records from.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn lags(&self) -> Result<Vec<Lag>, String> {
        let subject = format!("STREAM.INFO.{}", self.stream.cached_info().config.name);
        let said = self.jetstream.request(subject, &()).await.map_err(words)?;
        let Response::Ok(Behind { sources, mirror }) = said else {
            return Err("the server does not say what it knows of the stream".to_owned());
        };
        Ok(sources.into_iter().chain(mirror).map(Lag::from).collect())
    }
}

/// What a server says of the streams that one takes records from. The client library leaves out where they are, and streams of regions
/// have the same name.
#[derive(Deserialize)]
struct Behind {
    #[serde(default)]
    sources: Vec<Source>,
    mirror: Option<Source>,
}

#[derive(Deserialize)]
struct Source {
    name: String,
    lag: u64,
    /// Nanoseconds since it was heard; negative when it never was.
    active: i64,
    external: Option<External>,
}

#[derive(Deserialize)]
struct External {
    api: String,
}

impl From<Source> for Lag {
    fn from(source: Source) -> Self {
        let api = source.external.map(|external| external.api);
        let domain = api.as_deref().and_then(|api| {
            let domain = api.strip_prefix("$JS.")?.strip_suffix(".API")?;
            Some(domain.to_owned())
        });
        Self {
            name: source.name,
            domain,
            waiting: source.lag,
            heard: u64::try_from(source.active).ok().map(Duration::from_nanos),
        }
    }
}

fn line(message: &Message) -> Line {
    let info = message.info().ok();
    let id = message.headers.as_ref().and_then(|headers| {
        let id = headers.get(async_nats::header::NATS_MESSAGE_ID)?;
        Some(id.as_str().to_owned())
    });
    Line {
        bytes: message.payload.to_vec(),
        place: info.as_ref().map_or_else(String::new, |info| {
            format!("{}:{}", info.stream, info.stream_sequence)
        }),
        id,
        arrived: info.and_then(|info| {
            let nanos = info.published.unix_timestamp_nanos();
            Timestamp::from_nanosecond(nanos).ok()
        }),
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}
