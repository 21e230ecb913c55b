//! The calls to a tenant: pooled connections, limits on time and size, one more try where that is safe.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use aaa_api::client::{Trust, client_config};
use aaa_api::error::Chain;
use aaa_core::clock::SharedClock;
use aaa_core::duration;
use aaa_core::secret::Secret;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::connections::Connections;
use super::wire::{
    Denial, Failure, Group, NoPage, NoTokens, PathSegment, Tokens, User, grant_form, next_page,
};
use crate::meter::Meter;

/// The largest answer that is read, in bytes. A page has at most 200 groups.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// The most pages of groups, of 200 each.
const PAGES: usize = 50;
/// The longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// What a tenant that limits rates may have us wait for, at least and at most.
const RATE_LIMIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));
/// The same when it does not say.
const RATE_LIMIT_UNSAID: Duration = Duration::from_secs(10);
/// When a limit on rates ends, in seconds of the unix epoch.
const RATE_LIMIT_RESET: &str = "x-rate-limit-reset";

const TOKEN_PATH: &str = "/oauth2/default/v1/token";
const USERS_PATH: &str = "/api/v1/users/";

/// A tenant that can be asked.
pub(super) struct Tenant {
    connections: Connections,
    origin: Origin,
    basic: HeaderValue,
    token: HeaderValue,
    timeout: Duration,
    /// Until when the token endpoint, and the API of users, take no more calls: milliseconds of the unix epoch.
    held: [AtomicI64; 2],
}

/// Where the tenant is: `https://host[:port]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin(String);

/// How a tenant is reached.
pub(super) struct Access {
    pub(super) origin: Origin,
    pub(super) client_id: String,
    pub(super) client_secret: Secret<String>,
    pub(super) api_token: Secret<String>,
    pub(super) timeout: Duration,
}

/// What the tenant says of a name and a password.
pub(super) enum Grant {
    /// They belong together.
    Right {
        /// The id of the user, when the tokens name it.
        subject: Option<String>,
    },
    /// They do not, or the user is locked, or there is none.
    Wrong,
    /// A second factor is demanded.
    SecondFactor,
    /// The tenant's policy says no.
    Policy,
}

/// Why the tenant could not be asked.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Fault {
    #[error("okta: no answer within {}", duration::human(*.0))]
    TimedOut(Duration),
    #[error("okta: cannot be reached: {0}")]
    Unreachable(String),
    #[error("okta: limits the rate of calls, for {} more", duration::human(*.0))]
    RateLimited(Duration),
    #[error("okta: does not accept {0}")]
    Credentials(&'static str),
    #[error("okta: {0}")]
    Setup(&'static str),
    #[error("okta: failed with status {0}")]
    Failed(StatusCode),
    #[error("okta: gave no sensible answer: {0}")]
    Unexpected(&'static str),
}

/// The calls that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Token,
    User,
    Groups,
}

/// The labels of all calls.
pub(super) const CALLS: [&str; 3] = ["token", "user", "groups"];
/// The labels of all that can come of them.
pub(super) const OUTCOMES: [&str; 8] = [
    ANSWERED,
    "timeout",
    "unreachable",
    "rate_limited",
    "credentials",
    "setup",
    "failed",
    "unexpected",
];
const ANSWERED: &str = "answered";

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Origin {
    /// Reads an endpoint. Anything but `https` is only for a tenant on this machine: a test's.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        const WANTS: &str =
            "wants the tenant's address alone, such as \"https://example.okta.com\"";
        let uri: Uri = text.parse().map_err(|_| WANTS)?;
        let authority = uri.authority().ok_or(WANTS)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !bare || authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(WANTS);
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(authority) => {}
            Some("http") => {
                return Err("wants https: passwords would travel in the open");
            }
            _ => return Err(WANTS),
        }
        let scheme = uri.scheme_str().unwrap_or("https");
        Ok(Self(format!("{scheme}://{authority}").to_ascii_lowercase()))
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Tenant {
    /// A tenant that nothing is connected to yet. An error has the setting that is wrong.
    pub(super) fn new(access: &Access, trust: Trust) -> Result<Self, (&'static str, String)> {
        let tls = client_config(trust, None).map_err(|error| ("endpoint_ca", error.to_string()))?;
        let connections = Connections::new(&tls, CONNECT.min(access.timeout));
        let pair = Zeroizing::new(format!(
            "{}:{}",
            access.client_id,
            access.client_secret.expose()
        ));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let token = Zeroizing::new(format!("SSWS {}", access.api_token.expose()));
        Ok(Self {
            connections,
            origin: access.origin.clone(),
            basic: sensitive(&basic, "client_secret")?,
            token: sensitive(&token, "api_token")?,
            timeout: access.timeout,
            held: [const { AtomicI64::new(i64::MIN) }; 2],
        })
    }

    /// Where it is.
    pub(super) fn endpoint(&self) -> &str {
        self.origin.as_str()
    }

    /// How long all calls of one login may take.
    pub(super) fn login_limit(&self) -> Duration {
        self.timeout.saturating_mul(2)
    }

    pub(super) fn session<'a>(&'a self, clock: &'a SharedClock, meter: &'a Meter) -> Session<'a> {
        Session {
            tenant: self,
            clock,
            meter,
        }
    }
}

fn sensitive(text: &str, key: &'static str) -> Result<HeaderValue, (&'static str, String)> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        (
            key,
            "holds what cannot stand in a header of HTTP".to_owned(),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The calls of one login.
pub(super) struct Session<'a> {
    tenant: &'a Tenant,
    clock: &'a SharedClock,
    meter: &'a Meter,
}

impl Session<'_> {
    /// Asks whether name and password belong together. Asked once: a second try would be a second guess.
    pub(super) async fn grant(
        &self,
        username: &str,
        password: &Secret<String>,
    ) -> Result<Grant, Fault> {
        let form = Bytes::from_owner(Wiped(grant_form(username, password.expose())));
        let mut request = self.request(Method::POST, TOKEN_PATH, Full::new(form))?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, self.tenant.basic.clone());
        headers.insert(header::CONTENT_TYPE, FORM);
        let started = Instant::now();
        let outcome = async {
            // Whose password was wrong could not be asked then, and the guess would count for nobody.
            self.may_ask(Call::User)?;
            let answer = self.send(Call::Token, request).await?;
            granted(&answer)
        };
        self.measured(Call::Token, started, outcome.await)
    }

    /// The record of a user, or `None` when there is none of this name.
    pub(super) async fn user(&self, name: &PathSegment) -> Result<Option<User>, Fault> {
        let path = format!("{USERS_PATH}{}", name.as_str());
        let started = Instant::now();
        let outcome = async {
            let answer = self.get(Call::User, &path).await?;
            match answer.status {
                StatusCode::OK => answer.json().map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(answer.fault()),
            }
        };
        self.measured(Call::User, started, outcome.await)
    }

    /// Tells the names of all groups of a user.
    pub(super) async fn groups(
        &self,
        id: &PathSegment,
        mut tell: impl FnMut(&str),
    ) -> Result<(), Fault> {
        let path = format!("{USERS_PATH}{}/groups", id.as_str());
        let mut page = format!("{path}?limit=200");
        for _ in 0..PAGES {
            let started = Instant::now();
            let next = async {
                let answer = self.get(Call::Groups, &page).await?;
                if answer.status != StatusCode::OK {
                    return Err(answer.fault());
                }
                let groups: Vec<Group> = answer.json()?;
                for group in &groups {
                    tell(&group.profile.name);
                }
                let origin = self.tenant.origin.as_str();
                Ok(next_page(&answer.headers, origin, &path))
            };
            match self.measured(Call::Groups, started, next.await)? {
                Ok(next) if next != page => page = next,
                Ok(_) => {
                    return Err(Fault::Unexpected(
                        "a page of groups that names itself as the next",
                    ));
                }
                Err(NoPage::Last) => return Ok(()),
                Err(NoPage::Elsewhere) => {
                    return Err(Fault::Unexpected(
                        "a next page of groups at another address",
                    ));
                }
            }
        }
        Err(Fault::Unexpected("groups without an end"))
    }

    /// A call that changes nothing, and so is tried again once when the tenant was not there for it.
    async fn get(&self, call: Call, path: &str) -> Result<Answer, Fault> {
        let request = || {
            let mut request = self.request(Method::GET, path, Full::default())?;
            let headers = request.headers_mut();
            headers.insert(header::AUTHORIZATION, self.tenant.token.clone());
            Ok(request)
        };
        let first = self.send(call, request()?).await;
        let outage = match &first {
            Ok(answer) => matches!(answer.status.as_u16(), 500 | 502..=504),
            Err(fault) => matches!(fault, Fault::TimedOut(_) | Fault::Unreachable(_)),
        };
        if !outage {
            return first;
        }
        tokio::time::sleep(jitter()).await;
        self.send(call, request()?).await
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Full<Bytes>,
    ) -> Result<Request<Full<Bytes>>, Fault> {
        let uri: Uri = format!("{}{path}", self.tenant.origin.as_str())
            .parse()
            .map_err(|_| Fault::Unexpected("an address that is none"))?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, JSON);
        headers.insert(header::USER_AGENT, AGENT);
        Ok(request)
    }

    /// Whether the tenant has not asked to be left alone.
    fn may_ask(&self, call: Call) -> Result<(), Fault> {
        let held = self.held(call).load(Ordering::Relaxed);
        let left = held.saturating_sub(self.clock.now().as_millisecond());
        if left <= 0 {
            return Ok(());
        }
        let left = Duration::from_millis(left.unsigned_abs());
        Err(Fault::RateLimited(left.min(RATE_LIMIT.1)))
    }

    async fn send(&self, call: Call, request: Request<Full<Bytes>>) -> Result<Answer, Fault> {
        self.may_ask(call)?;
        let limit = self.tenant.timeout;
        let answer = tokio::time::timeout(limit, self.exchange(request))
            .await
            .map_err(|_| Fault::TimedOut(limit))??;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            let wait = self.rate_limit(&answer.headers);
            let until = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
            let until = self.clock.now().as_millisecond().saturating_add(until);
            self.held(call).store(until, Ordering::Relaxed);
            return Err(Fault::RateLimited(wait));
        }
        Ok(answer)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, Fault> {
        let sent = self.tenant.connections.send(request).await;
        let (response, _room) = sent.map_err(Fault::Unreachable)?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                Fault::Unexpected("more than 1 MiB")
            } else {
                Fault::Unreachable(Chain(&*error).to_string())
            }
        })?;
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: body.to_bytes(),
        })
    }

    fn held(&self, call: Call) -> &AtomicI64 {
        let [token, users] = &self.tenant.held;
        match call {
            Call::Token => token,
            Call::User | Call::Groups => users,
        }
    }

    /// How long the tenant wants to be left alone.
    fn rate_limit(&self, headers: &HeaderMap) -> Duration {
        let reset = headers
            .get(RATE_LIMIT_RESET)
            .and_then(|value| value.to_str().ok()?.parse::<i64>().ok());
        let Some(reset) = reset else {
            return RATE_LIMIT_UNSAID;
        };
        let left = reset
            .saturating_mul(1000)
            .saturating_sub(self.clock.now().as_millisecond());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
        left.clamp(RATE_LIMIT.0, RATE_LIMIT.1)
    }

    /// Counts a call with what came of it. No wrapper of its future, which would have room for it twice.
    fn measured<T>(
        &self,
        call: Call,
        started: Instant,
        outcome: Result<T, Fault>,
    ) -> Result<T, Fault> {
        let label = outcome.as_ref().err().map_or(ANSWERED, Fault::label);
        self.meter.okta(call.label(), label, started.elapsed());
        outcome
    }
}

/// What an answer to a password grant says.
fn granted(answer: &Answer) -> Result<Grant, Fault> {
    if answer.status == StatusCode::OK {
        let tokens: Tokens = answer.json()?;
        let subject = tokens
            .subject()
            .map_err(|NoTokens| Fault::Unexpected("tokens that are none"))?;
        return Ok(Grant::Right { subject });
    }
    if !matches!(answer.status.as_u16(), 400 | 401 | 403) {
        return Err(answer.fault());
    }
    let failure: Failure = answer.json()?;
    match failure.denial() {
        Denial::Credentials => Ok(Grant::Wrong),
        Denial::SecondFactor => Ok(Grant::SecondFactor),
        Denial::Policy => Ok(Grant::Policy),
        Denial::Client => Err(Fault::Credentials("client_id and client_secret")),
        Denial::Setup => Err(Fault::Setup(
            "the application may not use the resource owner password grant with the scope openid",
        )),
        Denial::Other => Err(Fault::Unexpected("an error that is not of OAuth")),
    }
}

impl Call {
    /// The label in metrics.
    const fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::User => "user",
            Self::Groups => "groups",
        }
    }
}

impl Fault {
    /// The label in metrics.
    const fn label(&self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::RateLimited(_) => "rate_limited",
            Self::Credentials(_) => "credentials",
            Self::Setup(_) => "setup",
            Self::Failed(_) => "failed",
            Self::Unexpected(_) => "unexpected",
        }
    }
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let json = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .is_some_and(|kind| {
                kind.split(';')
                    .next()
                    .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
            });
        if !json {
            return Err(Fault::Unexpected("what is not JSON"));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| Fault::Unexpected("JSON of another form than is documented"))
    }

    /// What an answer means that is none of the documented good ones.
    fn fault(&self) -> Fault {
        match self.status.as_u16() {
            300..=399 => Fault::Unexpected(
                "a redirect, which is not followed; endpoint must be the tenant itself",
            ),
            401 => Fault::Credentials("api_token"),
            403 => Fault::Setup("api_token may not read users and groups"),
            _ => Fault::Failed(self.status),
        }
    }
}

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("aaa-login/", env!("CARGO_PKG_VERSION")));

/// Between 50 and 200 ms, so that those who were turned away together do not come back together.
fn jitter() -> Duration {
    let mut random = [0; 2];
    // Without random numbers all wait the same.
    let _ = rand::fill(&mut random);
    Duration::from_millis(50 + u64::from(u16::from_le_bytes(random)) % 151)
}

/// A body that is wiped when the last who holds it lets go: it holds a password.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
