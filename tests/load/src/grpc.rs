//! gRPC over connections of our own: `SignStream`, one stream a connection, and single calls.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aaa_api::grpc::v1::sign_stream_response::Outcome;
use aaa_api::grpc::v1::{SignRequest, SignResponse, SignStreamRequest, SignStreamResponse};
use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::cli::SignOptions;
use crate::connect::Endpoint;
use crate::failure::Failure;
use crate::frames::{Frames, put};
use crate::plan::Plan;
use crate::requests::Series;
use crate::sign::{Caller, Done, limit};
use crate::stats::Tally;
use crate::verify::{EVERY, Sample};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_mins(1);
/// What the service may send before it is read, on one stream and on a connection.
const WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

const STREAM: &str = "/choria.aaa.v1.SignerService/SignStream";
const CALL: &str = "/choria.aaa.v1.SignerService/Sign";

type Part = (Tally, Vec<Sample>, Instant);
type Tasks = Vec<JoinHandle<Result<Part, Failure>>>;

/// All of a run over streams.
pub(crate) async fn stream(
    endpoint: &Arc<Endpoint>,
    caller: &Arc<Caller>,
    options: &SignOptions,
) -> Result<Done, Failure> {
    let connections = connect(endpoint, options.extent.connections).await?;
    let started = Instant::now();
    let plan = Arc::new(Plan::new(caller.series.count(), limit(&options.extent)));
    let tasks: Tasks = connections
        .into_iter()
        .map(|connection| {
            let requests = Requests::new(caller, &plan);
            let uri = format!("https://{}{STREAM}", endpoint.authority);
            let in_flight = options.in_flight;
            tokio::spawn(async move {
                Stream::open(connection, &uri)
                    .await?
                    .drive(requests, in_flight)
                    .await
            })
        })
        .collect();
    gather(caller, &plan, started, tasks).await
}

/// All of a run over single calls.
pub(crate) async fn unary(
    endpoint: &Arc<Endpoint>,
    caller: &Arc<Caller>,
    options: &SignOptions,
) -> Result<Done, Failure> {
    let connections = connect(endpoint, options.extent.connections).await?;
    let started = Instant::now();
    let plan = Arc::new(Plan::new(caller.series.count(), limit(&options.extent)));
    let mut tasks = Tasks::new();
    for connection in connections {
        for _ in 0..options.in_flight {
            let requests = Requests::new(caller, &plan);
            let uri = format!("https://{}{CALL}", endpoint.authority);
            tasks.push(tokio::spawn(calls(connection.clone(), uri, requests)));
        }
    }
    gather(caller, &plan, started, tasks).await
}

async fn connect(endpoint: &Endpoint, count: usize) -> Result<Vec<SendRequest<Bytes>>, Failure> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let io = endpoint.connect().await?;
        let (stream, all) = WINDOWS;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(stream)
            .initial_connection_window_size(all)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(|error| broken(&error))?;
        // It ends with the last of its streams, and they tell what went wrong.
        tokio::spawn(connection);
        connections.push(sender);
    }
    Ok(connections)
}

async fn gather(
    caller: &Caller,
    plan: &Plan,
    started: Instant,
    tasks: Tasks,
) -> Result<Done, Failure> {
    let mut parts = Vec::new();
    for task in tasks {
        parts.push(
            task.await
                .map_err(|error| Failure::while_doing("connection", error))??,
        );
    }
    Done::new(caller, plan, started, parts)
}

/// Requests to sign, as messages.
struct Requests {
    plan: Arc<Plan>,
    series: Arc<Series>,
    message: SignStreamRequest,
}

impl Requests {
    fn new(caller: &Caller, plan: &Arc<Plan>) -> Self {
        let request = SignRequest {
            token: caller.token.clone(),
            request: caller.series.template(),
            signature: String::new(),
        };
        Self {
            plan: Arc::clone(plan),
            series: Arc::clone(&caller.series),
            message: SignStreamRequest {
                id: String::new(),
                request: Some(request),
            },
        }
    }

    /// The next request; it stands in the message until the one after it.
    fn next(&mut self) -> Option<u64> {
        let number = self.plan.take()?;
        let request = self.message.request.as_mut()?;
        self.series.render(number, &mut request.request);
        request.signature.clear();
        request
            .signature
            .push_str(&hex::encode(self.series.signature(number)));
        self.message.id.clear();
        // Writing to a string does not fail.
        let _ = write!(self.message.id, "{number}");
        Some(number)
    }
}

/// A stream that is open.
struct Stream {
    /// Kept because the connection ends with the last of them.
    _connection: SendRequest<Bytes>,
    response: h2::client::ResponseFuture,
    send: SendStream<Bytes>,
}

impl Stream {
    async fn open(connection: SendRequest<Bytes>, uri: &str) -> Result<Self, Failure> {
        let mut connection = connection.ready().await.map_err(|error| broken(&error))?;
        let (response, send) = connection
            .send_request(request(uri)?, false)
            .map_err(|error| broken(&error))?;
        Ok(Self {
            _connection: connection,
            response,
            send,
        })
    }

    /// Keeps so many requests in flight until there are no more.
    async fn drive(mut self, requests: Requests, in_flight: usize) -> Result<Part, Failure> {
        let mut flight = Flight {
            requests,
            asked: HashMap::with_capacity(in_flight),
            tally: Tally::new()?,
            samples: Vec::new(),
        };
        flight.ask(&mut self.send, in_flight)?;
        let response = timeout(ANSWER, self.response)
            .await
            .map_err(|_| Failure::new("the stream was not opened in time"))?
            .map_err(|error| broken(&error))?;
        check(response.status(), response.headers())?;
        let mut answers = response.into_body();
        let mut frames = Frames::default();
        while !flight.asked.is_empty() {
            let piece = next_piece(&mut answers).await?;
            let Some(piece) = piece else {
                return Err(Failure::new("the service ended the stream"));
            };
            frames.push(&piece);
            while let Some(message) = frames.next().map_err(Failure::new)? {
                flight.judge(message)?;
            }
            flight.ask(&mut self.send, in_flight)?;
        }
        let ended = Instant::now();
        let end = self.send.send_data(Bytes::new(), true);
        end.map_err(|error| broken(&error))?;
        while next_piece(&mut answers).await?.is_some() {}
        trailers(&mut answers).await?;
        Ok((flight.tally, flight.samples, ended))
    }
}

/// What is under way on a stream.
struct Flight {
    requests: Requests,
    asked: HashMap<u64, Instant>,
    tally: Tally,
    samples: Vec<Sample>,
}

impl Flight {
    /// Fills up with requests; all of them go out together.
    fn ask(&mut self, send: &mut SendStream<Bytes>, in_flight: usize) -> Result<(), Failure> {
        let mut buffer = BytesMut::new();
        while self.asked.len() < in_flight {
            let Some(number) = self.requests.next() else {
                break;
            };
            put(&self.requests.message, &mut buffer);
            self.asked.insert(number, Instant::now());
        }
        if buffer.is_empty() {
            return Ok(());
        }
        send.send_data(buffer.freeze(), false)
            .map_err(|error| broken(&error))
    }

    fn judge(&mut self, message: Bytes) -> Result<(), Failure> {
        let answer = SignStreamResponse::decode(message)
            .map_err(|error| Failure::while_doing("answer", error))?;
        let number = answer.id.parse().ok();
        let asked = number.and_then(|number| self.asked.remove(&number).map(|at| (number, at)));
        let Some((number, asked)) = asked else {
            return Err(Failure::new(format!(
                "an answer to what was not asked: {:?}",
                answer.id
            )));
        };
        match answer.outcome {
            Some(Outcome::Response(response)) => {
                let took = asked.elapsed();
                count(number, response, took, &mut self.tally, &mut self.samples);
            }
            Some(Outcome::Failure(failure)) => {
                self.tally
                    .failed(format!("status {}: {}", failure.code, failure.error));
            }
            None => self.tally.failed("an answer of another form"),
        }
        Ok(())
    }
}

/// Single calls, one after the other.
async fn calls(
    mut connection: SendRequest<Bytes>,
    uri: String,
    mut requests: Requests,
) -> Result<Part, Failure> {
    let mut tally = Tally::new()?;
    let mut samples = Vec::new();
    while let Some(number) = requests.next() {
        let mut buffer = BytesMut::new();
        if let Some(message) = &requests.message.request {
            put(message, &mut buffer);
        }
        let asked = Instant::now();
        connection = connection.ready().await.map_err(|error| broken(&error))?;
        let answer = timeout(ANSWER, call(&mut connection, &uri, buffer.freeze())).await;
        match answer {
            Ok(Ok(response)) => count(number, response, asked.elapsed(), &mut tally, &mut samples),
            Ok(Err(failure)) => tally.failed(failure.to_string()),
            Err(_) => tally.failed("no answer in time"),
        }
    }
    Ok((tally, samples, Instant::now()))
}

async fn call(
    connection: &mut SendRequest<Bytes>,
    uri: &str,
    message: Bytes,
) -> Result<SignResponse, Failure> {
    let (response, mut send) = connection
        .send_request(request(uri)?, false)
        .map_err(|error| broken(&error))?;
    send.send_data(message, true)
        .map_err(|error| broken(&error))?;
    let response = response.await.map_err(|error| broken(&error))?;
    check(response.status(), response.headers())?;
    let mut body = response.into_body();
    let mut frames = Frames::default();
    while let Some(piece) = next_piece(&mut body).await? {
        frames.push(&piece);
    }
    trailers(&mut body).await?;
    let message = frames.next().map_err(Failure::new)?;
    let message = message.ok_or_else(|| Failure::new("an answer without a message"))?;
    SignResponse::decode(message).map_err(|error| Failure::while_doing("answer", error))
}

/// Counts an answer to a request.
fn count(
    number: u64,
    response: SignResponse,
    took: Duration,
    tally: &mut Tally,
    samples: &mut Vec<Sample>,
) {
    if response.secure_request.is_empty() {
        tally.failed(format!("refused: {} ({})", response.error, response.detail));
        return;
    }
    tally.succeeded(took);
    if number.is_multiple_of(EVERY) {
        samples.push((number, response.secure_request));
    }
}

fn request(uri: &str) -> Result<Request<()>, Failure> {
    Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| Failure::while_doing(uri, error))
}

async fn next_piece(body: &mut RecvStream) -> Result<Option<Bytes>, Failure> {
    let piece = timeout(ANSWER, body.data())
        .await
        .map_err(|_| Failure::new("no answer in time"))?;
    match piece {
        None => Ok(None),
        Some(Ok(piece)) => {
            let released = body.flow_control().release_capacity(piece.len());
            released.map_err(|error| broken(&error))?;
            Ok(Some(piece))
        }
        Some(Err(error)) => Err(broken(&error)),
    }
}

async fn trailers(body: &mut RecvStream) -> Result<(), Failure> {
    let trailers = body.trailers().await.map_err(|error| broken(&error))?;
    status(&trailers.unwrap_or_default())
}

/// What is known of a call before its first message.
fn check(code: http::StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if code != http::StatusCode::OK {
        return Err(Failure::new(format!("status {code}")));
    }
    status(headers)
}

/// The status of a call, in trailers or, when there is nothing else, in headers.
fn status(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(code) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(Failure::new(format!("status {code}: {message}")))
        }
    }
}

fn broken(error: &h2::Error) -> Failure {
    Failure::while_doing("connection", error)
}
