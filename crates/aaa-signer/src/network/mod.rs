//! The signer on the Choria network: the service `aaa_signer`, in every collective, beside any number of others in its queue group.
//!
//! What protects a request to sign is the token and the signature in it, as over HTTP; the call around it is unsigned, and nothing of it is
//! believed. It goes down the same pipeline, so answers, counters and records are the same.

mod answer;
mod lifecycle;
mod settings;
mod waiting;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aaa_api::error::ApiError;
use aaa_api::handler::{Context, Front, SignHandler};
use aaa_audit::nats::{Connection, Login, OnState, State as Link};
use aaa_core::clock::SharedClock;
use aaa_core::id;
use aaa_core::network::{Call, Replier};
use aaa_service::readiness::ReadyHandle;
use aaa_service::shell::{Answer, Dependency, Probe, Shell};
use async_nats::connection::State;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt as _;
use jiff::SignedDuration;
use metrics::{Counter, Gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::expiry::{Expiry, NETWORK};
use lifecycle::Event;
pub(crate) use settings::Settings;
use waiting::Waiting;

/// The agent, and the queue group.
const AGENT: &str = "aaa_signer";
/// Calls that are worked on at the same time; the others wait in the order they came.
const AT_ONCE: usize = 128;
/// How often it is told that the service is there.
const ALIVE: Duration = Duration::from_hours(1);
/// How long it is waited for a broker by those who only ask whether it answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the last messages may take to leave.
const FLUSH: Duration = Duration::from_secs(2);

/// A signer on the network.
struct Network {
    signer: Arc<dyn SignHandler>,
    replier: Replier,
    collectives: Vec<String>,
    connection: Connection,
    client: OnceLock<Client>,
    clock: SharedClock,
    meter: Meter,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
    draining: CancellationToken,
}

/// Puts a signer on the network, from the service's start to its end.
pub(crate) fn attach(shell: &mut Shell, settings: Settings, signer: Arc<dyn SignHandler>) {
    shell.has_own_front();
    Expiry::watch(shell, NETWORK, settings.network.expires);
    let replier = settings.replier();
    let meter = Meter::new(shell.site());
    let on_state = state(
        shell.readiness().register("network"),
        meter.connected.clone(),
    );
    let network = Arc::new(Network {
        signer,
        connection: Connection {
            on_state: Some(on_state),
            ..settings.connection()
        },
        replier,
        collectives: settings.collectives,
        client: OnceLock::new(),
        clock: shell.clock(),
        meter,
        places: Arc::new(Semaphore::new(AT_ONCE)),
        tasks: shell.tasks(),
        draining: shell.draining(),
    });
    let starting = Arc::clone(&network);
    shell.on_start("network", move || starting.start());
    shell.on_drain("network", move || async move { network.leave().await });
}

/// Says what to look at before a signer is on the network: when its token ends, and whether each broker lets it in.
pub(crate) fn examine(shell: &mut Shell, settings: &Settings) {
    let (setting, at) = settings.end();
    shell.ends(setting, at);
    for server in &settings.network.servers {
        let connection = Connection {
            servers: vec![server.clone()],
            ..settings.connection()
        };
        let with = match connection.login {
            Login::Choria(_) => "the server token",
            _ => "the certificate",
        };
        let name = server.rsplit("://").next().unwrap_or(server);
        shell.probe(Probe::new(Dependency::Broker, name, move || async move {
            connection.connect_now(PATIENCE).await?;
            Ok(Answer {
                good: format!("accepts {with}"),
                ..Answer::default()
            })
        }));
    }
}

fn state(ready: ReadyHandle, connected: Gauge) -> OnState {
    Arc::new(move |state| {
        connected.set(if state == Link::Lost { 0.0 } else { 1.0 });
        match state {
            Link::Connected => ready.ready(),
            Link::Lost => ready.not_ready("no connection to a Choria broker"),
            Link::Deaf(said) => ready.not_ready(format!(
                "the broker lets this service hear no calls: {said}"
            )),
        }
    })
}

impl Network {
    async fn start(self: Arc<Self>) -> Result<(), String> {
        let client = self.connection.connect().await?;
        let client = self.client.get_or_init(|| client).clone();
        for collective in &self.collectives {
            let subject = format!("{collective}.broadcast.service.{AGENT}");
            let subscriber = client.queue_subscribe(subject, AGENT.to_owned()).await;
            let subscriber =
                subscriber.map_err(|error| format!("cannot listen to {collective}: {error}"))?;
            tracing::info!(collective, "signing over the Choria network");
            let (network, collective) = (Arc::clone(&self), collective.clone());
            self.tasks.spawn(network.serve(collective, subscriber));
        }
        self.tell(Event::Startup).await;
        self.tasks.spawn(Arc::clone(&self).stay());
        Ok(())
    }

    /// Takes calls until the service is told to stop, and finishes those that have come by then.
    async fn serve(self: Arc<Self>, collective: String, mut calls: Subscriber) {
        let collective: Arc<str> = collective.into();
        let mut waiting = Waiting::default();
        let (mut leaving, mut ended) = (false, false);
        while !(ended && waiting.is_empty()) {
            tokio::select! {
                () = self.draining.cancelled(), if !leaving => {
                    leaving = true;
                    // What has come is still given out; a server that is away has nothing more to give.
                    ended = calls.drain().await.is_err() || !self.is_connected();
                }
                call = calls.next(), if !ended => match call {
                    Some(call) => {
                        self.meter.shed.increment(waiting.push(call));
                    }
                    None => ended = true,
                },
                place = Arc::clone(&self.places).acquire_owned(), if !waiting.is_empty() => {
                    if let (Ok(place), Some(call)) = (place, waiting.pop()) {
                        self.begin(Arc::clone(&collective), call, place);
                    }
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, collective: Arc<str>, call: Message, place: OwnedSemaphorePermit) {
        let network = Arc::clone(self);
        let request_id = id::at(self.clock.now());
        let span = tracing::error_span!("request", request_id = request_id);
        let work = async move {
            network.answer(&collective, &call, request_id).await;
            drop(place);
        };
        self.tasks.spawn(work.instrument(span));
    }

    /// Answers one call.
    async fn answer(&self, collective: &str, message: &Message, request_id: String) {
        self.meter.calls.increment(1);
        let context = Context::new(request_id, Front::Network);
        let call = match Call::parse(&message.payload, collective, AGENT) {
            Ok(call) => call,
            Err(error) => {
                self.meter.unreadable.increment(1);
                let fault = ApiError::malformed(error.to_string());
                let _unanswered = self
                    .signer
                    .malformed(&context, &message.payload, fault)
                    .await;
                tracing::warn!(%error, collective, "not answered: this is no call to the signer");
                return;
            }
        };
        if self.is_late(&call) {
            self.meter.late.increment(1);
            tracing::warn!(collective, "not worked on: its client has stopped waiting");
            return;
        }
        let answer = answer::answer(self.signer.as_ref(), &context, &call).await;
        let Some(reply) = call.reply(&self.replier, &answer, self.clock.now()) else {
            return;
        };
        if let Some(client) = self.client.get() {
            let sent = client
                .publish(call.reply_to().to_owned(), reply.into())
                .await;
            if let Err(error) = sent {
                tracing::warn!(%error, "a reply could not be sent");
            }
        }
    }

    /// Whether the call has waited longer than its client does, by the client's own words.
    fn is_late(&self, call: &Call) -> bool {
        let age = self.clock.now().duration_since(call.request.time());
        age > SignedDuration::from_secs(call.request.ttl())
    }

    /// Tells from time to time that the service is there.
    async fn stay(self: Arc<Self>) {
        while self
            .draining
            .run_until_cancelled(tokio::time::sleep(ALIVE))
            .await
            .is_some()
        {
            self.tell(Event::Alive).await;
        }
    }

    async fn tell(&self, event: Event) {
        if let Some(client) = self.client.get() {
            let message = event.message(&self.replier.identity, &self.clock);
            // Whether others may hear of it is up to the broker.
            let _unheard = client.publish(event.subject(), message).await;
        }
    }

    /// Says good-bye, and sees to it that all replies have left.
    async fn leave(&self) {
        self.tell(Event::Shutdown).await;
        if let Some(client) = self.client.get().filter(|_| self.is_connected()) {
            let _late = tokio::time::timeout(FLUSH, client.flush()).await;
        }
    }

    fn is_connected(&self) -> bool {
        let state = self.client.get().map(Client::connection_state);
        state == Some(State::Connected)
    }
}

/// What is counted on this front.
struct Meter {
    calls: Counter,
    unreadable: Counter,
    late: Counter,
    shed: Counter,
    connected: Gauge,
}

impl Meter {
    fn new(site: &str) -> Self {
        metrics::describe_counter!(CALLS, "Messages to the signer over the Choria network");
        metrics::describe_counter!(
            UNREADABLE,
            "Messages that were no call, or must not be answered where they ask"
        );
        metrics::describe_counter!(LATE, "Calls that had waited longer than their ttl");
        metrics::describe_counter!(SHED, "Calls that were given up because too many waited");
        metrics::describe_gauge!(
            CONNECTED,
            "Whether the signer is connected to a Choria broker"
        );
        let site = site.to_owned();
        Self {
            calls: metrics::counter!(CALLS, "site" => site.clone()),
            unreadable: metrics::counter!(UNREADABLE, "site" => site.clone()),
            late: metrics::counter!(LATE, "site" => site.clone()),
            shed: metrics::counter!(SHED, "site" => site.clone()),
            connected: metrics::gauge!(CONNECTED, "site" => site),
        }
    }
}

const CALLS: &str = "choria_aaa_network_calls";
const UNREADABLE: &str = "choria_aaa_network_unreadable";
const LATE: &str = "choria_aaa_network_late";
const SHED: &str = "choria_aaa_network_shed";
const CONNECTED: &str = "choria_aaa_network_connected";
