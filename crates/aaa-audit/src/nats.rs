//! How to reach a NATS server, and who to be there.

use std::sync::Arc;
use std::time::Duration;

use aaa_core::network::Bearer;
use aaa_core::secret::Secret;
use async_nats::{Auth, Client, ConnectOptions, Event, ServerAddr, ServerError, jetstream};

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A connection as configured.
#[derive(Clone, Default)]
pub struct Connection {
    /// Where servers are: `nats://host:port`, at least one.
    pub servers: Vec<String>,
    /// What the server is told about who this is.
    pub login: Login,
    /// How the connection is protected.
    pub tls: Tls,
    /// The name that the server lists.
    pub name: String,
    /// Hears what becomes of the connection.
    pub on_state: Option<OnState>,
    /// What subjects for answers begin with, where it is not `_INBOX`.
    pub inbox: Option<String>,
    /// What subjects of JetStream begin with, where it is not `$JS.API`.
    pub api: Option<String>,
}

/// Hears what becomes of a connection.
pub type OnState = Arc<dyn Fn(State) + Send + Sync>;

/// What becomes of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there.
    Connected,
    /// It is not.
    Lost,
    /// It is there, but the server does not let this client listen to something: what it says.
    Deaf(String),
}

/// Who to be.
#[derive(Clone, Default)]
pub enum Login {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// A user with a password.
    Password(String, Secret<String>),
    /// Whoever knows this token.
    Token(Secret<String>),
    /// The holder of this seed (`SU…`).
    Nkey(Secret<String>),
    /// The user of a credentials file, as `nsc` writes it: its content.
    Credentials(Secret<String>),
    /// The bearer of a Choria token.
    Choria(Arc<Bearer>),
}

/// How a connection is protected.
#[derive(Clone, Default)]
pub enum Tls {
    /// As the server wants it, with the authorities of the system.
    #[default]
    Usual,
    /// Always, and just so.
    Given(Box<rustls::ClientConfig>),
}

impl Connection {
    /// Connects, or gives up after a while: for those who wait for it.
    ///
    /// # Errors
    /// When what is configured cannot be used, or no server lets this client in.
    pub async fn connect_now(&self, patience: Duration) -> Result<Client, String> {
        let servers = self.servers.join(", ");
        let connecting = self
            .options()?
            .connection_timeout(patience)
            .connect(self.servers.clone());
        connecting
            .await
            .map_err(|error| format!("no server lets this client in at {servers}: {error}"))
    }

    /// Connects, and goes on trying in the background when that takes longer. What happens to it later is in the log.
    ///
    /// # Errors
    /// When what is configured cannot be used.
    pub async fn connect(&self) -> Result<Client, String> {
        let on_state = self.on_state.clone();
        self.options()?
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(5))
            .reconnect_delay_callback(pause)
            .event_callback(move |event| {
                tell(&event, on_state.as_ref());
                std::future::ready(())
            })
            .connect(self.servers.clone())
            .await
            .map_err(|error| error.to_string())
    }

    /// JetStream of those servers.
    pub fn jetstream(&self, client: Client) -> jetstream::Context {
        jetstream::with_prefix(client, self.api())
    }

    /// What subjects of JetStream begin with.
    pub(crate) fn api(&self) -> &str {
        self.api.as_deref().unwrap_or("$JS.API")
    }

    fn options(&self) -> Result<ConnectOptions, String> {
        let mut options = base(&self.login)?.name(&self.name);
        if let Some(inbox) = &self.inbox {
            options = options.custom_inbox_prefix(inbox);
        }
        Ok(match &self.tls {
            Tls::Usual => options,
            Tls::Given(config) => options.require_tls(true).tls_client_config(*config.clone()),
        })
    }
}

fn base(login: &Login) -> Result<ConnectOptions, String> {
    let options = ConnectOptions::new();
    Ok(match login {
        Login::Anonymous => options,
        Login::Password(user, password) => {
            options.user_and_password(user.clone(), password.expose().clone())
        }
        Login::Token(token) => options.token(token.expose().clone()),
        Login::Nkey(seed) => options.nkey(seed.expose().clone()),
        Login::Credentials(content) => options
            .credentials(content.expose())
            .map_err(|_| "these are no credentials as nsc writes them".to_owned())?,
        Login::Choria(bearer) => {
            let bearer = Arc::clone(bearer);
            ConnectOptions::with_auth_callback(move |nonce| {
                std::future::ready(Ok(authenticate(&bearer, &nonce)))
            })
        }
    })
}

/// What a Choria broker wants to see: the token, and its challenge signed by the token's key.
fn authenticate(bearer: &Bearer, nonce: &[u8]) -> Auth {
    let mut auth = Auth::new();
    auth.token = Some(bearer.token.expose().clone());
    auth.jwt = Some(bearer.token.expose().clone());
    auth.signature = Some(bearer.key.sign(nonce).to_vec());
    auth
}

/// Whether a server can be named so.
///
/// # Errors
/// Why not. A password in it would be told to whoever reads the log, so there may be none.
pub fn check_server(address: &str) -> Result<(), String> {
    let scheme = address.split_once("://").map(|(scheme, _)| scheme);
    if address.contains('@') {
        return Err(
            "an address has no user and password in it; they have settings of their own".to_owned(),
        );
    }
    match address.parse::<ServerAddr>() {
        Ok(server)
            if !server.host().is_empty() && matches!(scheme, None | Some("nats" | "tls")) =>
        {
            Ok(())
        }
        _ => Err(format!(
            "{address:?} is no address such as nats://host:4222"
        )),
    }
}

/// Longer after each attempt, and not for all services of a site at the same time.
fn pause(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts.min(8)).unwrap_or(8);
    jittered(LONGEST_PAUSE.min(Duration::from_millis(50) * 2_u32.pow(doublings)))
}

/// Between half of a duration and all of it.
pub(crate) fn jittered(longest: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without randomness it is the longest.
    let random = aws_lc_rs::rand::fill(&mut byte).map_or(255, |()| byte[0]);
    longest / 2 + longest / 2 * u32::from(random) / 255
}

fn tell(event: &Event, on_state: Option<&OnState>) {
    let state = match event {
        Event::Connected => Some(State::Connected),
        Event::Disconnected | Event::Closed => Some(State::Lost),
        Event::ServerError(ServerError::Other(text)) if is_deaf(text) => {
            Some(State::Deaf(text.clone()))
        }
        _ => None,
    };
    if let (Some(on_state), Some(state)) = (on_state, state) {
        on_state(state);
    }
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; trying again"),
        Event::ServerError(error) => tracing::error!(%error, "the NATS server objects"),
        Event::ClientError(error) => tracing::warn!(%error, "NATS"),
        other => tracing::info!(event = %other, "NATS"),
    }
}

/// Whether a server says that a client may not listen to what it asked for. There is no code for it, only these words.
fn is_deaf(text: &str) -> bool {
    text.to_ascii_lowercase()
        .contains("permissions violation for subscription")
}

#[cfg(test)]
mod tests {
    use aaa_core::key::Ed25519Key;

    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        for attempts in [0, 1, 5, 100, usize::MAX] {
            assert!(pause(attempts) <= LONGEST_PAUSE);
        }
        assert!(pause(0) < Duration::from_millis(51));
        assert!(pause(100) >= LONGEST_PAUSE / 2);
        let many: std::collections::HashSet<Duration> = (0..100).map(|_| pause(100)).collect();
        assert!(many.len() > 1);
    }

    #[test]
    fn a_choria_token_comes_with_the_challenge_signed() {
        let key = Ed25519Key::generate().unwrap();
        let public = key.public();
        let bearer = Bearer {
            token: Secret::new("jwt".to_owned()),
            key,
        };
        let auth = authenticate(&bearer, b"nonce");
        assert_eq!(auth.token.as_deref(), Some("jwt"));
        assert!(public.verify(b"nonce", &auth.signature.unwrap()));
    }

    #[test]
    fn addresses_hold_no_secret() {
        for good in [
            "nats://a.example.net:4222",
            "tls://a:4222",
            "a.example.net:4222",
            "a",
        ] {
            check_server(good).unwrap();
        }
        for bad in [
            "",
            "http://a:4222",
            "nats://bob:secret@a:4222",
            "nats://token@a:4222",
        ] {
            let problem = check_server(bad).unwrap_err();
            assert!(
                !problem.contains("secret") && !problem.contains("token@"),
                "{problem}"
            );
        }
    }
}
