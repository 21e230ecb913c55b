//! The stream that keeps the records: made when it is not there, looked at when it is.

use std::time::Duration;

use async_nats::jetstream::context::{GetStreamByNameErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};

use crate::nats::Connection;

/// What is wanted of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Its name; when absent, whichever stream has the topic.
    pub name: Option<String>,
    /// The subject that records are published on.
    pub topic: String,
    /// How it is made when it is not there; `None` leaves that to somebody else.
    pub create: Option<Creation>,
}

/// How a stream is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creation {
    /// How many servers keep a copy.
    pub replicas: usize,
    /// How long records stay; zero is for ever.
    pub max_age: Duration,
    /// How much it holds, in bytes; -1 is without limit.
    pub max_bytes: i64,
}

impl Creation {
    /// A stream that keeps what it is given.
    pub(super) fn config(&self, name: &str, subjects: Vec<String>) -> Config {
        Config {
            name: name.to_owned(),
            subjects,
            retention: RetentionPolicy::Limits,
            // A full stream is to say so: to make room by dropping old records is to lose them.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: self.replicas,
            max_age: self.max_age,
            max_bytes: self.max_bytes,
            ..Config::default()
        }
    }
}

/// How long it is waited for a server by those who only look.
const PATIENCE: Duration = Duration::from_secs(5);

/// What there is of a stream.
enum Found {
    There(String, Box<Config>),
    ToMake(String, Creation),
}

/// A stream that will do, and what is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// What keeps it from being what an audit trail deserves.
    pub warnings: Vec<String>,
}

impl Wanted {
    /// Sees to the stream.
    ///
    /// # Errors
    /// When there is none that keeps what is published on the topic.
    pub async fn check(&self, jetstream: &Context) -> Result<Checked, String> {
        match self.find(jetstream).await? {
            Found::There(name, config) => self.judge(name, &config),
            Found::ToMake(name, create) => {
                let config = self.make(jetstream, &name, create).await?;
                self.judge(name, &config)
            }
        }
    }

    /// Looks at the stream as [`check`](Self::check) does, over a connection of its own, and makes none.
    ///
    /// # Errors
    /// When no server answers, or there is no stream that keeps what is published on the topic and none would be made.
    pub async fn look(&self, connection: &Connection) -> Result<Checked, String> {
        let client = connection.connect_now(PATIENCE).await?;
        match self.find(&connection.jetstream(client)).await? {
            Found::There(name, config) => self.judge(name, &config),
            Found::ToMake(name, _) => Ok(Checked {
                name,
                warnings: vec!["is not there; the service makes it when it starts".to_owned()],
            }),
        }
    }

    async fn find(&self, jetstream: &Context) -> Result<Found, String> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => self.found_by_topic(jetstream).await?,
        };
        match jetstream.get_stream(&name).await {
            Ok(stream) => {
                let config = stream.cached_info().config.clone();
                Ok(Found::There(name, Box::new(config)))
            }
            Err(error) => match (error.kind(), self.create) {
                (GetStreamErrorKind::JetStream(e), Some(create))
                    if e.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(Found::ToMake(name, create))
                }
                _ => Err(format!("stream {name}: {error}")),
            },
        }
    }

    async fn found_by_topic(&self, jetstream: &Context) -> Result<String, String> {
        let found = jetstream.stream_by_subject(self.topic.as_str()).await;
        found.map_err(|error| match error.kind() {
            GetStreamByNameErrorKind::NotFound => format!(
                "no stream has the subject {}; make one, or name one in stream.name to have it made",
                self.topic
            ),
            _ => format!("the streams cannot be asked for: {error}"),
        })
    }

    async fn make(
        &self,
        jetstream: &Context,
        name: &str,
        create: Creation,
    ) -> Result<Config, String> {
        let config = create.config(name, vec![self.topic.clone()]);
        let stream = jetstream.create_stream(config).await;
        let stream = stream.map_err(|error| format!("stream {name} cannot be made: {error}"))?;
        tracing::info!(stream = name, "made the audit stream");
        Ok(stream.cached_info().config.clone())
    }

    /// Whether a stream is one that keeps records.
    pub(super) fn judge(&self, name: String, config: &Config) -> Result<Checked, String> {
        if !config
            .subjects
            .iter()
            .any(|subject| covers(subject, &self.topic))
        {
            let subjects = config.subjects.join(", ");
            return Err(format!(
                "stream {name} has the subjects {subjects}, not {}",
                self.topic
            ));
        }
        if config.retention != RetentionPolicy::Limits {
            return Err(format!(
                "stream {name} drops records when somebody has read them (its retention is not Limits)"
            ));
        }
        if config.no_ack {
            return Err(format!("stream {name} acknowledges nothing (no_ack)"));
        }
        let mut warnings = Vec::new();
        if config.discard == DiscardPolicy::Old {
            warnings
                .push("drops its oldest records when it is full; set discard to new".to_owned());
        }
        if config.storage == StorageType::Memory {
            warnings.push("is kept in memory, and gone with its server".to_owned());
        }
        if config.num_replicas < 2 {
            warnings.push(
                "has one replica: an acknowledged record can be lost with its disk".to_owned(),
            );
        }
        if let Some(create) = self
            .create
            .filter(|create| create.replicas > config.num_replicas)
        {
            warnings.push(format!(
                "has {} replicas, not the {} of stream.replicas",
                config.num_replicas, create.replicas
            ));
        }
        Ok(Checked { name, warnings })
    }
}

/// Whether what is published on a subject goes to whoever listens to a pattern (`*` is one word, `>` the rest).
pub(super) fn covers(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(_)) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_as_the_server_says() {
        for (pattern, subject, yes) in [
            ("audit", "audit", true),
            ("audit.*", "audit.london", true),
            ("audit.>", "audit.london.x", true),
            (">", "audit", true),
            ("audit.*", "audit", false),
            ("audit.>", "audit", false),
            ("audit.*", "audit.london.x", false),
            ("audit.london", "audit.malta", false),
        ] {
            assert_eq!(covers(pattern, subject), yes, "{pattern} {subject}");
        }
    }

    #[test]
    fn a_stream_that_forgets_is_no_trail() {
        let wanted = Wanted {
            topic: "audit".to_owned(),
            ..Wanted::default()
        };
        let good = Config {
            subjects: vec!["audit".to_owned()],
            discard: DiscardPolicy::New,
            num_replicas: 3,
            ..Config::default()
        };
        let judge = |config: &Config| wanted.judge("A".to_owned(), config);
        assert_eq!(judge(&good).unwrap().warnings, Vec::<String>::new());
        let bad = [
            Config {
                retention: RetentionPolicy::WorkQueue,
                ..good.clone()
            },
            Config {
                no_ack: true,
                ..good.clone()
            },
            Config {
                subjects: vec!["other".to_owned()],
                ..good.clone()
            },
        ];
        for config in bad {
            judge(&config).unwrap_err();
        }
        let weak = Config {
            discard: DiscardPolicy::Old,
            storage: StorageType::Memory,
            num_replicas: 1,
            ..good
        };
        assert_eq!(judge(&weak).unwrap().warnings.len(), 3);
    }
}
