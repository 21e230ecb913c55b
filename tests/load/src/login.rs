//! Logins under load, alone and together with signing.

use std::sync::Arc;
use std::time::Instant;

use aaa_api::rest::{LoginRequest, LoginResponse};
use aaa_api::server::LOGIN_PATH;
use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_core::token;

use crate::answer::has_member;
use crate::cli::{Extent, LoginOptions, MixedOptions};
use crate::connect::{Endpoint, Protocol};
use crate::failure::Failure;
use crate::outcome::Load;
use crate::plan::Plan;
use crate::process::CpuUse;
use crate::rest::{Connection, Source, head, refusal};
use crate::sign::{self, Caller, limit, prepared, runtime};
use crate::site::{password, username};
use crate::stats::{Tally, float};

/// One answer in so many is looked into.
const EVERY: u64 = 20;

/// `aaa-load login`.
pub(crate) fn run(options: &LoginOptions) -> Result<(), Failure> {
    let endpoint = Endpoint::new(&options.target, Protocol::Http1)?;
    let used = CpuUse::now(options.output.pid)?;
    let runtime = runtime(options.extent.threads)?;
    let connections = options.extent.connections;
    let done = runtime.block_on(logins(
        &endpoint,
        &options.extent,
        connections,
        options.users,
    ))?;
    let load = Load {
        label: options.output.label.clone(),
        cores: used.since(done.seconds)?,
        ..done
    };
    sign::finish(load, options.output.json)
}

/// `aaa-load mixed`.
pub(crate) fn run_mixed(options: &MixedOptions) -> Result<(), Failure> {
    let caller = Arc::new(Caller::new(&options.caller, prepared(&options.extent))?);
    let endpoint = Endpoint::new(&options.target, Protocol::Http1)?;
    let used = CpuUse::now(options.output.pid)?;
    let runtime = runtime(options.extent.threads)?;
    let connections = options.login_connections;
    let (signed, logged_in) = runtime.block_on(async {
        tokio::join!(
            sign::rest(&endpoint, &caller, &options.extent),
            logins(&endpoint, &options.extent, connections, options.users),
        )
    });
    let signed = Load {
        label: format!("{}-sign", options.output.label),
        what: "sign during logins".to_owned(),
        in_flight: options.extent.connections,
        ..signed?.into_load(&options.extent, &used)?
    };
    let logged_in = Load {
        label: format!("{}-login", options.output.label),
        what: "login during signing".to_owned(),
        cores: signed.cores,
        ..logged_in?
    };
    sign::finish(signed, options.output.json)?;
    sign::finish(logged_in, options.output.json)
}

/// All logins of a run.
pub(crate) async fn logins(
    endpoint: &Arc<Endpoint>,
    extent: &Extent,
    connections: usize,
    users: u64,
) -> Result<Load, Failure> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::new(endpoint).await?);
    }
    let started = Instant::now();
    let plan = Arc::new(Plan::new(extent.count.unwrap_or(u64::MAX), limit(extent)));
    let tasks: Vec<_> = open
        .into_iter()
        .map(|connection| {
            let source = Logins {
                plan: Arc::clone(&plan),
                authority: endpoint.authority.clone(),
                path: endpoint.path_or(LOGIN_PATH).to_owned(),
                users,
                key: None,
                verified: 0,
            };
            tokio::spawn(connection.drive(source))
        })
        .collect();
    let mut tally = Tally::new()?;
    let (mut ended, mut verified) = (started, 0);
    for task in tasks {
        let driven = task
            .await
            .map_err(|error| Failure::while_doing("connection", error))??;
        tally.add(driven.tally)?;
        ended = ended.max(driven.ended);
        verified += driven.source.verified;
    }
    let seconds = ended
        .duration_since(started)
        .as_secs_f64()
        .max(f64::MIN_POSITIVE);
    Ok(Load {
        what: "login".to_owned(),
        connections,
        in_flight: connections,
        count: tally.count(),
        errors: tally.errors().clone(),
        seconds,
        rate: float(tally.count()) / seconds,
        latency_ms: tally.latency(),
        verified,
        ..Load::default()
    })
}

/// Logins as they go over the wire. They are so few that each is made when it is sent.
struct Logins {
    plan: Arc<Plan>,
    authority: String,
    path: String,
    users: u64,
    /// The key that the next token will be bound to.
    key: Option<Ed25519Key>,
    verified: u64,
}

impl Source for Logins {
    fn next(&mut self, wire: &mut Vec<u8>) -> Option<u64> {
        let number = self.plan.take()?;
        let user = number % self.users.max(1);
        let key = Ed25519Key::generate().ok()?;
        let password = Secret::new(password(user));
        let login = LoginRequest::signed(username(user), password, &key, SystemClock.now());
        let body = login.to_json();
        wire.clear();
        wire.extend_from_slice(head(&self.authority, &self.path, body.len()).as_bytes());
        wire.extend_from_slice(&body);
        self.key = Some(key);
        Some(number)
    }

    fn accept(&mut self, number: u64, body: &[u8]) -> Result<(), String> {
        if !has_member(body, "token") {
            return Err(refusal(body));
        }
        if number.is_multiple_of(EVERY) {
            let answer: LoginResponse =
                serde_json::from_slice(body).map_err(|error| error.to_string())?;
            let claims: ClientClaims = token::unverified(&answer.token.unwrap_or_default())
                .map_err(|error| format!("the token: {error}"))?;
            let key = self.key.as_ref().map(|key| key.public().to_hex());
            let user = username(number % self.users.max(1));
            if Some(claims.standard.public_key) != key || claims.callerid != format!("up={user}") {
                return Err("a token for somebody else".to_owned());
            }
            self.verified += 1;
        }
        Ok(())
    }
}
