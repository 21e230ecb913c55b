//! Signing under load, over HTTP: the requests, and what every front has in common.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_api::rest::SignResponse;
use aaa_api::server::SIGN_PATH;
use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::token;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::answer::has_member;
use crate::cli::{self, Extent, Front, SignOptions};
use crate::connect::{Endpoint, Protocol};
use crate::failure::{Failure, read, read_text};
use crate::outcome::{self, Load, Outcome};
use crate::plan::Plan;
use crate::process::CpuUse;
use crate::requests::{Series, Subject};
use crate::rest::{Connection, Source, head, refusal};
use crate::stats::{Tally, float};
use crate::verify::{self, EVERY, Sample};
use crate::{grpc, network};

/// Requests prepared for each second of a run whose length is given in time: more than can be signed.
const PREPARED: u64 = 25_000;

/// `aaa-load sign`.
pub(crate) fn run(options: &SignOptions) -> Result<(), Failure> {
    let caller = Arc::new(Caller::new(&options.caller, prepared(&options.extent))?);
    let used = CpuUse::now(options.output.pid)?;
    let runtime = runtime(options.extent.threads)?;
    let done = runtime.block_on(drive(&caller, options))?;
    let in_flight = match options.front {
        Front::Rest => options.extent.connections,
        Front::Stream | Front::Grpc | Front::Network => {
            options.extent.connections * options.in_flight
        }
    };
    let front = format!("{:?}", options.front).to_lowercase();
    let version = format!("{:?}", options.caller.version).to_lowercase();
    let load = Load {
        label: options.output.label.clone(),
        what: format!("sign {version}, {front}"),
        in_flight,
        ..done.into_load(&options.extent, &used)?
    };
    finish(load, options.output.json)
}

/// All of a run, by the way in that is asked for.
pub(crate) async fn drive(caller: &Arc<Caller>, options: &SignOptions) -> Result<Done, Failure> {
    let endpoint = |protocol| Endpoint::new(&options.target, protocol);
    match options.front {
        Front::Rest => rest(&endpoint(Protocol::Http1)?, caller, &options.extent).await,
        Front::Stream => grpc::stream(&endpoint(Protocol::Http2)?, caller, options).await,
        Front::Grpc => grpc::unary(&endpoint(Protocol::Http2)?, caller, options).await,
        Front::Network => network::run(caller, options).await,
    }
}

/// Prints what came of it. A run without a single answer has failed.
pub(crate) fn finish(load: Load, json: bool) -> Result<(), Failure> {
    let nothing = load.count == 0;
    outcome::print(&Outcome::Load(load), json)?;
    if nothing {
        return Err(Failure::new("nothing was answered as it should have been"));
    }
    Ok(())
}

/// Whose requests are signed: all requests of a run, prepared.
pub(crate) struct Caller {
    /// The caller id that nodes will see.
    name: String,
    pub(crate) token: String,
    pub(crate) series: Arc<Series>,
    trust: Option<aaa_core::secure_request::NodeTrust>,
}

impl Caller {
    pub(crate) fn new(options: &cli::Caller, count: u64) -> Result<Self, Failure> {
        let token = read_text(&options.token_file)?;
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::while_doing(options.token_file.display(), error)
        };
        let claims: ClientClaims = token::unverified(&token).map_err(|error| wrong(&error))?;
        let key = Ed25519Key::from_seed_file(&read(&options.seed_file)?)
            .map_err(|error| Failure::while_doing(options.seed_file.display(), error))?;
        let name = claims.caller().on_the_wire();
        let subject = Subject {
            version: options.version,
            caller: &claims.callerid,
            action: &options.action,
        };
        let trust = options.trust.as_deref();
        Ok(Self {
            trust: trust
                .map(|file| verify::trust(options.version, file))
                .transpose()?,
            series: Series::new(&subject, &key, count, SystemClock.now())?,
            name,
            token,
        })
    }

    fn verify(&self, samples: &[Sample]) -> Result<u64, Failure> {
        match &self.trust {
            Some(trust) => verify::all(trust, &self.series, &self.name, &self.token, samples),
            None => Ok(0),
        }
    }
}

/// How many requests to prepare.
pub(crate) fn prepared(extent: &Extent) -> u64 {
    let seconds = extent.duration.as_millis().div_ceil(1000);
    let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
    extent
        .count
        .unwrap_or_else(|| seconds.saturating_mul(PREPARED))
}

/// How long a run goes on; one whose requests are counted goes on until they are done.
pub(crate) fn limit(extent: &Extent) -> Option<Duration> {
    extent.count.is_none().then_some(extent.duration)
}

pub(crate) fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = match threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build(),
        more => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(more)
            .enable_all()
            .build(),
    };
    runtime.map_err(|error| Failure::while_doing("threads", error))
}

/// What came of a run.
pub(crate) struct Done {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Duration,
    pub(crate) verified: u64,
    pub(crate) used_up: bool,
}

impl Done {
    /// Adds up what all connections counted.
    pub(crate) fn new(
        caller: &Caller,
        plan: &Plan,
        started: Instant,
        parts: impl IntoIterator<Item = (Tally, Vec<Sample>, Instant)>,
    ) -> Result<Self, Failure> {
        let mut tally = Tally::new()?;
        let mut samples = Vec::new();
        let mut ended = started;
        for (part, kept, end) in parts {
            tally.add(part)?;
            samples.extend(kept);
            ended = ended.max(end);
        }
        Ok(Self {
            tally,
            elapsed: ended.duration_since(started),
            verified: caller.verify(&samples)?,
            used_up: plan.used_up(),
        })
    }

    pub(crate) fn into_load(self, extent: &Extent, used: &CpuUse) -> Result<Load, Failure> {
        let seconds = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        Ok(Load {
            connections: extent.connections,
            count: self.tally.count(),
            errors: self.tally.errors().clone(),
            seconds,
            rate: float(self.tally.count()) / seconds,
            latency_ms: self.tally.latency(),
            verified: self.verified,
            cores: used.since(seconds)?,
            used_up: self.used_up && extent.count.is_none(),
            ..Load::default()
        })
    }
}

/// All of a run over HTTP.
pub(crate) async fn rest(
    endpoint: &Arc<Endpoint>,
    caller: &Arc<Caller>,
    extent: &Extent,
) -> Result<Done, Failure> {
    let mut connections = Vec::new();
    for _ in 0..extent.connections {
        connections.push(Connection::new(endpoint).await?);
    }
    let started = Instant::now();
    let plan = Arc::new(Plan::new(caller.series.count(), limit(extent)));
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| {
            let source = Signing::new(endpoint, caller, &plan);
            tokio::spawn(connection.drive(source))
        })
        .collect();
    let mut parts = Vec::new();
    for task in tasks {
        let driven = task
            .await
            .map_err(|error| Failure::while_doing("connection", error))??;
        let samples = driven.source.samples.iter().map(secure_request);
        parts.push((
            driven.tally,
            samples.collect::<Result<_, _>>()?,
            driven.ended,
        ));
    }
    Done::new(caller, &plan, started, parts)
}

/// The secure request in the body of an answer.
fn secure_request((number, body): &Sample) -> Result<Sample, Failure> {
    let answer: SignResponse = serde_json::from_slice(body)
        .map_err(|error| Failure::while_doing(format!("answer {number}"), error))?;
    Ok((*number, answer.secure_request.unwrap_or_default()))
}

/// Requests to sign, as they go over the wire.
struct Signing {
    plan: Arc<Plan>,
    series: Arc<Series>,
    /// The request as it was rendered last, and the wire form of it.
    request: Vec<u8>,
    wire: Vec<u8>,
    /// Where in the wire form request and signature stand.
    request_at: usize,
    signature_at: usize,
    samples: Vec<Sample>,
}

impl Signing {
    fn new(endpoint: &Endpoint, caller: &Caller, plan: &Arc<Plan>) -> Self {
        let request = caller.series.template();
        let encoded = request.len().div_ceil(3) * 4;
        let before_request = format!("{{\"token\":\"{}\",\"request\":\"", caller.token);
        let before_signature = "\",\"signature\":\"";
        let length = before_request.len() + encoded + before_signature.len() + 128 + 2;
        let path = endpoint.path_or(SIGN_PATH);
        let mut wire = head(&endpoint.authority, path, length).into_bytes();
        wire.extend_from_slice(before_request.as_bytes());
        let request_at = wire.len();
        wire.resize(request_at + encoded, b'A');
        wire.extend_from_slice(before_signature.as_bytes());
        let signature_at = wire.len();
        wire.resize(signature_at + 128, b'0');
        wire.extend_from_slice(b"\"}");
        Self {
            plan: Arc::clone(plan),
            series: Arc::clone(&caller.series),
            request,
            wire,
            request_at,
            signature_at,
            samples: Vec::new(),
        }
    }
}

impl Source for Signing {
    fn next(&mut self, wire: &mut Vec<u8>) -> Option<u64> {
        let number = self.plan.take()?;
        if wire.is_empty() {
            wire.clone_from(&self.wire);
        }
        self.series.render(number, &mut self.request);
        let encoded = wire.get_mut(self.request_at..)?;
        STANDARD.encode_slice(&self.request, encoded).ok()?;
        let signature = wire.get_mut(self.signature_at..self.signature_at + 128)?;
        hex::encode_to_slice(self.series.signature(number), signature).ok()?;
        Some(number)
    }

    fn accept(&mut self, number: u64, body: &[u8]) -> Result<(), String> {
        if !has_member(body, "secure_request") {
            return Err(refusal(body));
        }
        if number.is_multiple_of(EVERY) {
            self.samples.push((number, body.to_vec()));
        }
        Ok(())
    }
}
