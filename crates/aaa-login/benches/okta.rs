//! What a login over Okta costs beside the tenant's own time, what a thousand of them hold while the tenant thinks, and what a
//! hundred thousand addresses hold that have to wait. The service is a process of its own; the tenant is a double that speaks TLS.
//!
//! Prints the rows of `docs/benchmarks.md`; a number that is missed says so there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark that cannot go on should stop"
)]

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aaa_api::rest::LoginRequest;
use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_testing::okta::{API_TOKEN, CLIENT_ID, CLIENT_SECRET, Call, Fault, Okta, Protocol, User};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

/// What the tenant takes for each of its three calls, when it is fast.
const CALL: Duration = Duration::from_millis(20);
/// What it takes for the first one while logins gather.
const LONG: Duration = Duration::from_secs(8);
const LOGINS: usize = 300;
const IN_FLIGHT: usize = 1_000;
const ADDRESSES: u32 = 100_000;
/// Clients that ask at the same time for these.
const CLIENTS: u32 = 16;

const USER: &str = "bob@example.net";
const PASSWORD: &str = "correct horse";

/// The login service, ended with this.
struct Service {
    child: Child,
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Service {
    async fn start(dir: &Path, tenant: &Okta) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let seed = Ed25519Key::generate().unwrap().seed_hex();
        std::fs::write(dir.join("login.seed"), seed.expose()).unwrap();
        std::fs::write(dir.join("tenant.crt"), tenant.authority().unwrap()).unwrap();
        let config = json!({
            "listen": port.to_string(),
            "loglevel": "error",
            "trusted_proxies": "127.0.0.1",
            "auditors": ["logfile"],
            "logfile_auditor": {"logfile": dir.join("audit.log")},
            "authenticator": "okta",
            "okta_authenticator": {
                "endpoint": tenant.endpoint(), "endpoint_ca": dir.join("tenant.crt"), "timeout": "30s",
                "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "api_token": API_TOKEN,
                "signing_key": dir.join("login.seed"), "validity": "1h",
                "acls": {"Operations": ["puppet.*"]},
            },
            "login_throttle": {
                "account_attempts": 10_000, "address_attempts": 1, "first_delay": "15m",
                "shared_networks": [{"network": "127.0.0.1", "attempts": 10_000}],
            },
        });
        std::fs::write(dir.join("login.json"), config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_aaa-login"))
            .args(["--disable-tls", "--config"])
            .arg(dir.join("login.json"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let service = Self {
            child,
            url: format!("http://{port}/choria/v1/login"),
            client: Client::builder(TokioExecutor::new()).build_http(),
        };
        while tokio::net::TcpStream::connect(port).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        service
    }

    /// Logs in, for somebody at this address where one is given.
    async fn login(&self, username: &str, address: Option<Ipv4Addr>) -> (StatusCode, Bytes) {
        let key = Ed25519Key::generate().unwrap();
        let password = Secret::new(PASSWORD.to_owned());
        let login = LoginRequest::signed(username, password, &key, SystemClock.now());
        let mut request = Request::post(&self.url).header("content-type", "application/json");
        if let Some(address) = address {
            request = request.header("x-forwarded-for", address.to_string());
        }
        let body = Full::from(Bytes::copy_from_slice(&login.to_json()));
        let response = self.client.request(request.body(body).unwrap()).await;
        let response = response.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, body)
    }

    async fn is_let_in(&self) {
        let (_, body) = self.login(USER, None).await;
        assert!(body.starts_with(b"{\"token\":"), "{body:?}");
    }

    /// Resident memory in MiB: now (`VmRSS`), or at most (`VmHWM`).
    fn memory(&self, which: &str) -> f64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024.0
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A row of the table.
fn row(what: &str, target: f64, unit: &str, measured: f64) {
    let met = measured < target;
    let verdict = if met { "met" } else { "**missed**" };
    let part = measured / target * 100.0;
    println!("| {what} | < {target} {unit} | {measured:.2} {unit} | {part:.0} % | {verdict} |");
}

/// What a login takes beyond what the tenant took for it: the middle of many, one after the other, and the slowest hundredth.
async fn added(service: &Service, tenant: &Okta) -> (f64, f64) {
    for call in [Call::Token, Call::User, Call::Groups] {
        tenant.fail(call, Fault::Slow(CALL));
    }
    service.is_let_in().await;
    let mut added = Vec::with_capacity(LOGINS);
    for _ in 0..LOGINS {
        let (started, before) = (Instant::now(), tenant.took());
        service.is_let_in().await;
        let beyond = started
            .elapsed()
            .saturating_sub(tenant.took().saturating_sub(before));
        added.push(beyond.as_secs_f64() * 1e3);
    }
    tenant.recover();
    added.sort_by(f64::total_cmp);
    let at = |part: usize| added.get(LOGINS * part / 100).copied().unwrap();
    (at(50), at(99))
}

/// What the service holds while so many logins wait for the tenant, or for their turn to ask it.
async fn in_flight(service: &Service, tenant: &Okta) -> f64 {
    tenant.fail(Call::Token, Fault::Slow(LONG));
    let logins = join_all((0..IN_FLIGHT).map(|_| service.is_let_in()));
    let look = async {
        let mut asked = 0;
        // Until for half a second no more ask.
        while asked < tenant.calls().len() {
            asked = tenant.calls().len();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        tenant.recover();
        service.memory("VmRSS")
    };
    let (_, held) = tokio::join!(logins, look);
    println!(
        "at most, answers included: {:.1} MiB",
        service.memory("VmHWM")
    );
    held
}

/// What the service holds more when so many addresses have to wait.
async fn throttled(service: &Service) -> f64 {
    let before = service.memory("VmRSS");
    let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
    let fail = move |client: u32| async move {
        for number in (client..ADDRESSES).step_by(CLIENTS as usize) {
            let address = Some(Ipv4Addr::from(base + number));
            // A name that no tenant is asked for.
            let name = format!("nobody/{number}");
            let (status, _) = service.login(&name, address).await;
            assert_eq!(status, StatusCode::OK);
        }
    };
    join_all((0..CLIENTS).map(fail)).await;
    // A part of a table that is full drops some: nearly all of them have to wait, not each.
    let (mut asked, mut waiting) = (0, 0);
    for number in (0..ADDRESSES).step_by(997) {
        let address = Some(Ipv4Addr::from(base + number));
        let (status, _) = service.login("somebody/else", address).await;
        asked += 1;
        waiting += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    println!("of {asked} that were asked again {waiting} have to wait");
    assert!(waiting * 10 >= asked * 9, "{waiting} of {asked}");
    service.memory("VmRSS") - before
}

async fn tenant(protocol: Protocol) -> Okta {
    let user = User::new("00u1", USER, PASSWORD, &["Everyone", "Operations"]);
    Okta::start_tls(vec![user], protocol).await.unwrap()
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        println!("| | target | measured | of the target | |\n|---|---:|---:|---:|---|");
        for (protocol, name) in [(Protocol::Http2, "HTTP/2"), (Protocol::Http1, "HTTP/1.1")] {
            let tenant = tenant(protocol).await;
            let service = Service::start(dir.path(), &tenant).await;
            let (middle, p99) = added(&service, &tenant).await;
            let what = format!("an Okta login over {name}, beyond the tenant's time");
            row(&what, 5.0, "ms", middle);
            row("its p99", 5.0, "ms", p99);
            let held = in_flight(&service, &tenant).await;
            let what = format!("resident memory, 1,000 logins in flight over {name}");
            row(&what, 60.0, "MiB", held);
            assert_eq!(tenant.complaints(), [""; 0]);
        }
        let tenant = tenant(Protocol::Http2).await;
        let service = Service::start(dir.path(), &tenant).await;
        let held = throttled(&service).await;
        row("100,000 addresses that have to wait", 30.0, "MiB", held);
    });
}
