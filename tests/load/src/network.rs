//! Signing over the Choria network, in version 2: calls published to the service, and replies that come to subjects of our own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::id;
use async_nats::{Client, ConnectOptions, Subscriber};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use crate::cli::SignOptions;
use crate::failure::{Failure, read_text};
use crate::plan::Plan;
use crate::sign::{Caller, Done, limit};
use crate::stats::Tally;
use crate::verify::{EVERY, Sample};

/// Where calls go.
const SUBJECT: &str = "choria.broadcast.service.aaa_signer";
/// What subjects of replies begin with.
const REPLIES: &str = "choria.reply.bench";
/// How long a reply may take.
const ANSWER: Duration = Duration::from_secs(20);

/// All of a run.
pub(crate) async fn run(caller: &Arc<Caller>, options: &SignOptions) -> Result<Done, Failure> {
    let mut clients = Vec::new();
    for number in 0..options.extent.connections {
        let client = connect(options).await?;
        let prefix = format!("{REPLIES}{number}");
        let replies = client.subscribe(format!("{prefix}.*")).await;
        let replies = replies.map_err(|error| broken(&error))?;
        client.flush().await.map_err(|error| broken(&error))?;
        clients.push((client, replies, prefix));
    }
    let started = Instant::now();
    let plan = Arc::new(Plan::new(caller.series.count(), limit(&options.extent)));
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|(client, replies, prefix)| {
            let calls = Calls {
                client,
                prefix,
                caller: Arc::clone(caller),
                plan: Arc::clone(&plan),
                request: caller.series.template(),
                asked: HashMap::new(),
            };
            tokio::spawn(calls.drive(replies, options.in_flight))
        })
        .collect();
    let mut parts = Vec::new();
    for task in tasks {
        let part = task.await.map_err(|error| broken(&error))?;
        parts.push(part?);
    }
    Done::new(caller, &plan, started, parts)
}

async fn connect(options: &SignOptions) -> Result<Client, Failure> {
    let connect = match &options.broker_token {
        None => ConnectOptions::new(),
        Some(file) => ConnectOptions::with_token(read_text(file)?),
    };
    let connect = match &options.target.ca {
        None => connect,
        Some(ca) => connect.add_root_certificates(ca.clone()),
    };
    let connected = connect.require_tls(true).connect(&options.target.url).await;
    connected.map_err(|error| Failure::while_doing(&options.target.url, error))
}

/// Calls of one client.
struct Calls {
    client: Client,
    prefix: String,
    caller: Arc<Caller>,
    plan: Arc<Plan>,
    /// The request as it was rendered last.
    request: Vec<u8>,
    asked: HashMap<u64, Instant>,
}

impl Calls {
    /// Keeps so many calls in flight until there are no more.
    async fn drive(
        mut self,
        mut replies: Subscriber,
        in_flight: usize,
    ) -> Result<(Tally, Vec<Sample>, Instant), Failure> {
        let mut tally = Tally::new()?;
        let mut samples = Vec::new();
        // The last reply: that one does not come is an error, and no part of the time that others took.
        let mut ended = Instant::now();
        loop {
            while self.asked.len() < in_flight && self.ask().await? {}
            if self.asked.is_empty() {
                return Ok((tally, samples, ended));
            }
            let Ok(Some(reply)) = timeout(ANSWER, replies.next()).await else {
                let unanswered = std::mem::take(&mut self.asked).len();
                (0..unanswered).for_each(|_| tally.failed("no reply in time"));
                continue;
            };
            ended = Instant::now();
            let number = reply.subject.rsplit('.').next();
            let number = number.and_then(|number| number.parse().ok());
            let asked = number.and_then(|number| Some((number, self.asked.remove(&number)?)));
            let Some((number, asked)) = asked else {
                continue;
            };
            match signed(&reply.payload) {
                Ok(secure) => {
                    tally.succeeded(asked.elapsed());
                    if number.is_multiple_of(EVERY) {
                        samples.push((number, secure));
                    }
                }
                Err(why) => tally.failed(why),
            }
        }
    }

    /// Publishes the next call, if there is one.
    async fn ask(&mut self) -> Result<bool, Failure> {
        let Some(number) = self.plan.take() else {
            return Ok(false);
        };
        self.caller.series.render(number, &mut self.request);
        let reply = format!("{}.{number}", self.prefix);
        let signature = self.caller.series.signature(number);
        let call = call(&self.request, &self.caller.token, &signature, &reply);
        self.asked.insert(number, Instant::now());
        let published = self.client.publish(SUBJECT, call.into()).await;
        published.map(|()| true).map_err(|error| broken(&error))
    }
}

/// A call as the stock client publishes it: transport, secure request, request and RPC message, one in the other.
fn call(request: &[u8], token: &str, signature: &[u8], reply: &str) -> String {
    let now = SystemClock.now();
    let message = json!({
        "agent": "aaa_signer", "action": "sign", "data": {
            "request": String::from_utf8_lossy(request), "token": token, "signature": hex::encode(signature),
        }
    });
    let request = json!({
        "protocol": "io.choria.protocol.v2.request", "message": STANDARD.encode(message.to_string()),
        "id": id::at(now), "sender": "bench", "caller": "up=bench", "collective": "choria", "agent": "aaa_signer",
        "ttl": 60, "time": i64::try_from(now.as_nanosecond()).unwrap_or_default(),
        "filter": {"agent": ["aaa_signer"], "cf_class": [], "fact": [], "identity": [], "compound": []},
    });
    let secure = json!({
        "protocol": "io.choria.protocol.v2.secure_request", "request": STANDARD.encode(request.to_string()),
        "signature": STANDARD.encode("insecure"), "caller": token,
    });
    let transport = json!({
        "protocol": "io.choria.protocol.v2.transport", "data": STANDARD.encode(secure.to_string()),
        "headers": {"reply": reply, "sender": "bench"},
    });
    transport.to_string()
}

#[derive(Deserialize)]
struct Transport {
    data: String,
}

#[derive(Deserialize)]
struct SecureReply {
    reply: String,
}

#[derive(Deserialize)]
struct Reply {
    message: String,
}

#[derive(Deserialize)]
struct Outcome {
    statuscode: u8,
    #[serde(default)]
    statusmsg: String,
    #[serde(default)]
    data: Data,
}

#[derive(Deserialize, Default)]
struct Data {
    #[serde(default)]
    secure_request: String,
}

/// The secure request in a reply.
fn signed(reply: &[u8]) -> Result<Vec<u8>, String> {
    let transport: Transport = layer(reply)?;
    let secure: SecureReply = layer(&decoded(&transport.data)?)?;
    let reply: Reply = layer(&decoded(&secure.reply)?)?;
    let outcome: Outcome = layer(&decoded(&reply.message)?)?;
    if outcome.statuscode != 0 {
        return Err(format!("{}: {}", outcome.statuscode, outcome.statusmsg));
    }
    Ok(outcome.data.secure_request.into_bytes())
}

fn layer<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("no reply: {error}"))
}

fn decoded(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text)
        .map_err(|error| format!("no reply: {error}"))
}

fn broken(error: &dyn std::fmt::Display) -> Failure {
    Failure::while_doing("the broker", error)
}

#[cfg(test)]
mod tests {
    use aaa_core::network::{Answer, Call, Replier};

    use super::*;

    #[test]
    fn calls_are_read_and_replies_are_understood() {
        let reply = "choria.reply.bench0.7";
        let call = call(b"{}", "a.b.c", &[7; 64], reply);
        let call = Call::parse(call.as_bytes(), "choria", "aaa_signer").unwrap();
        assert_eq!(call.reply_to(), reply);
        assert_eq!(call.request.action(), "sign");
        let replier = Replier {
            identity: "aaa.example.net".to_owned(),
            server: String::new(),
            proof: None,
        };
        let answered = |code: u8, message: &str, data| {
            let message = message.to_owned();
            let answer = Answer {
                code,
                message,
                data,
            };
            signed(&call.reply(&replier, &answer, SystemClock.now()).unwrap())
        };
        let good = json!({"secure_request": "{}"});
        assert_eq!(answered(0, "OK", good).unwrap(), b"{}");
        let refused = answered(1, "Request Denied", json!({})).unwrap_err();
        assert_eq!(refused, "1: Request Denied");
    }
}
