//! How the signer is on the Choria network: the settings of a Choria configuration, read and checked.

use aaa_audit::nats::Connection;
use aaa_core::choria_config::ChoriaConfig;
use aaa_core::network::Replier;
use aaa_service::choria::{Network, Right, TOKEN, get};
use aaa_service::config::Document;
use jiff::Timestamp;

/// The collective of those who configure none.
const COLLECTIVE: &str = "mcollective";

/// A place on the Choria network.
pub(crate) struct Settings {
    pub(super) collectives: Vec<String>,
    pub(super) network: Network,
}

impl Settings {
    /// Whether the broker's certificate is not verified.
    pub(crate) fn trusts_any_broker(&self) -> bool {
        !self.network.verified
    }

    /// What of it ends, with its setting.
    pub(super) fn end(&self) -> (String, Option<i64>) {
        (format!("choria_config: {TOKEN}"), self.network.expires)
    }

    /// How the brokers are reached.
    pub(super) fn connection(&self) -> Connection {
        self.network.connection(self.network.identity.clone())
    }

    /// Reads what the Choria configuration says; `None` when something in it is wrong (the document says what).
    pub(crate) fn read(
        document: &Document,
        config: Option<&ChoriaConfig>,
        now: Timestamp,
    ) -> Option<Self> {
        let Some(config) = config else {
            if !document.top().has("choria_config") {
                let text = "missing; choria_service is on, and it says where the network is";
                document.problem("choria_config", text);
            }
            return None;
        };
        let network = Network::read(document, config, Right::ServiceHost, now);
        let collectives = collectives(document, config);
        Some(Self {
            collectives: collectives?,
            network: network?,
        })
    }

    /// What answers are signed with.
    pub(super) fn replier(&self) -> Replier {
        Replier {
            identity: self.network.identity.clone(),
            server: self.network.servers.first().cloned().unwrap_or_default(),
            proof: self.network.bearer.clone(),
        }
    }
}

fn collectives(document: &Document, config: &ChoriaConfig) -> Option<Vec<String>> {
    let mut collectives: Vec<String> = config
        .list("collectives")
        .into_iter()
        .map(str::to_owned)
        .collect();
    if collectives.is_empty() {
        collectives.push(
            get(config, "main_collective")
                .unwrap_or(COLLECTIVE)
                .to_owned(),
        );
    }
    let strange = |name: &&String| {
        !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    if let Some(name) = collectives.iter().find(strange) {
        document.problem(
            "choria_config: collectives",
            format!("{name:?} is no name of a collective"),
        );
        return None;
    }
    collectives.sort();
    collectives.dedup();
    Some(collectives)
}
