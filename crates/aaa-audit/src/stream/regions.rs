//! The streams of a site with regions: one in each, where its services put on record, and one at the centre that takes from all.
//!
//! Servers of NATS carry the records, as sources over leafnodes; each region and the centre is a JetStream domain of its own. What is
//! there is only ever made better: nothing is taken away, and no record is dropped.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{Config, DiscardPolicy, External, Source};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, jetstream::Context};

use super::check::{Creation, Wanted, covers};

/// What there is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The name of the stream, the same everywhere.
    pub stream: String,
    /// What subjects begin with: those of a place are `topic.place`.
    pub topic: String,
    /// The regions: names of JetStream domains.
    pub regions: Vec<String>,
    /// The centre, a domain too.
    pub centre: Option<String>,
    /// How the stream of a region is made.
    pub region: Creation,
    /// How the stream of the centre is made.
    pub central: Creation,
}

/// What is to be done at one place.
#[derive(Debug)]
pub struct Plan {
    /// Where: the name of a domain.
    pub place: String,
    /// What has to change, in words. Empty: it is as it should be.
    pub changes: Vec<String>,
    /// What is not as it should be, and is left for a person to decide.
    pub warnings: Vec<String>,
    wanted: Config,
    exists: bool,
    jetstream: Context,
}

/// A place that cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Unusable {
    /// Where: the name of a domain.
    pub place: String,
    /// Why, and what to do.
    pub why: String,
}

impl Layout {
    /// Looks at each place, the centre last, and says what is to be done there. The centre is to take from those regions that can be
    /// used.
    pub async fn plan(&self, client: &Client) -> Vec<Result<Plan, Unusable>> {
        let mut plans = Vec::new();
        let mut usable = Vec::new();
        for region in &self.regions {
            let plan = self.look(client, region, self.region, &[]).await;
            if plan.is_ok() {
                usable.push(region.as_str());
            }
            plans.push(plan);
        }
        if let Some(centre) = &self.centre {
            plans.push(self.look(client, centre, self.central, &usable).await);
        }
        plans
    }

    async fn look(
        &self,
        client: &Client,
        place: &str,
        creation: Creation,
        from: &[&str],
    ) -> Result<Plan, Unusable> {
        let unusable = |why: String| Unusable {
            place: place.to_owned(),
            why,
        };
        let jetstream = jetstream::with_domain(client.clone(), place);
        let found = match jetstream.get_stream(&self.stream).await {
            Ok(stream) => Some(stream.cached_info().config.clone()),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    None
                }
                GetStreamErrorKind::JetStream(error) => return Err(unusable(error.to_string())),
                _ => {
                    return Err(unusable(format!(
                        "no JetStream domain {place} answers: is it the domain of a server there, and is its leafnode connected?"
                    )));
                }
            },
        };
        let topic = format!("{}.{place}", self.topic);
        let sources = from
            .iter()
            .map(|region| (*region, source(region, &self.stream)));
        let mut plan = Plan {
            place: place.to_owned(),
            changes: Vec::new(),
            warnings: Vec::new(),
            exists: found.is_some(),
            wanted: found.unwrap_or_else(|| creation.config(&self.stream, vec![topic.clone()])),
            jetstream,
        };
        if plan.exists {
            plan.improve(&topic, creation);
        } else {
            plan.changes.push(format!("takes the subject {topic}"));
        }
        plan.take_from(sources);
        let wanted = Wanted {
            name: Some(self.stream.clone()),
            topic,
            create: None,
        };
        let checked = wanted.judge(self.stream.clone(), &plan.wanted);
        plan.warnings = checked.map_err(unusable)?.warnings;
        Ok(plan)
    }
}

impl Plan {
    /// Whether there is a stream already.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Does it. What has been done in the meantime is not undone: the server refuses what does not fit.
    ///
    /// # Errors
    /// What the server says to it.
    pub async fn apply(&self) -> Result<(), Unusable> {
        let done = if self.changes.is_empty() {
            Ok(())
        } else if self.exists {
            let updated = self.jetstream.update_stream(&self.wanted).await;
            updated.map(drop).map_err(|error| error.to_string())
        } else {
            let made = self.jetstream.create_stream(&self.wanted).await;
            made.map(drop).map_err(|error| error.to_string())
        };
        done.map_err(|why| Unusable {
            place: self.place.clone(),
            why,
        })
    }

    /// What makes the stream that is there a better one.
    fn improve(&mut self, topic: &str, creation: Creation) {
        let config = &mut self.wanted;
        if !config.subjects.iter().any(|subject| covers(subject, topic)) {
            self.changes.push(format!("takes the subject {topic}"));
            config.subjects.push(topic.to_owned());
        }
        if config.discard == DiscardPolicy::Old {
            let change = "refuses records when it is full, instead of dropping the oldest";
            self.changes.push(change.to_owned());
            config.discard = DiscardPolicy::New;
        }
        if config.num_replicas < creation.replicas {
            let (wanted, is) = (creation.replicas, config.num_replicas);
            self.changes
                .push(format!("has {wanted} replicas instead of {is}"));
            config.num_replicas = wanted;
        }
    }

    fn take_from<'a>(&mut self, sources: impl Iterator<Item = (&'a str, Source)>) {
        let taken = self.wanted.sources.get_or_insert_default();
        for (region, source) in sources {
            let same = |one: &Source| one.name == source.name && api(one) == api(&source);
            if !taken.iter().any(same) {
                self.changes.push(format!("takes from {region}"));
                taken.push(source);
            }
        }
        if taken.is_empty() {
            self.wanted.sources = None;
        }
    }
}

/// The stream of a region, as the centre reaches it.
fn source(region: &str, stream: &str) -> Source {
    Source {
        name: stream.to_owned(),
        external: Some(External {
            api_prefix: format!("$JS.{region}.API"),
            delivery_prefix: None,
        }),
        ..Source::default()
    }
}

/// Where a source is: the subjects of its domain.
fn api(source: &Source) -> Option<&str> {
    let external = source.external.as_ref()?;
    Some(external.api_prefix.as_str())
}
