//! The section `login_throttle`.

use std::net::IpAddr;
use std::time::Duration;

use aaa_service::config::{Document, Kind, Section, Setting, Table};
use ipnet::IpNet;

use super::Delays;

/// The section's name.
pub const SECTION: &str = "login_throttle";

/// The most attempts that can be free.
const MOST: i64 = 1_000_000;

/// Its settings.
pub static THROTTLE: &Table = &[
    Setting::new(
        "enabled",
        Kind::Bool,
        "Whether failed logins hold back the next ones. `false` only where something in front of the service does it.",
    )
    .default("true")
    .example("false"),
    Setting::new(
        "account_attempts",
        Kind::Integer { min: 1, max: MOST },
        "How many logins may fail under one name before the next ones have to wait.",
    )
    .default("5")
    .example("10"),
    Setting::new(
        "address_attempts",
        Kind::Integer { min: 1, max: MOST },
        "How many logins may fail from one address before the next ones have to wait. Of IPv6 a network of /64 counts as one address.",
    )
    .default("50")
    .example("20"),
    Setting::new(
        "first_delay",
        Kind::Duration,
        "How long to wait after the first failure too many. Each further one doubles it.",
    )
    .default("1s")
    .example("\"2s\""),
    Setting::new("max_delay", Kind::Duration, "The longest wait.")
        .default("15m")
        .example("\"5m\""),
    Setting::new(
        "forget_after",
        Kind::Duration,
        "After this time without a failure all failures are forgotten. No shorter than `max_delay`.",
    )
    .default("1h")
    .example("\"2h\""),
    Setting::new(
        "remember_addresses",
        Kind::Duration,
        "How long an address from which somebody has logged in is known as theirs. From there the failures of others do not hold them back.",
    )
    .default("720h")
    .example("\"168h\""),
    Setting::new(
        "shared_networks",
        Kind::Sections,
        "Networks whose addresses stand for many people each, such as proxies, load balancers and NAT gateways: each with `network` and `attempts`.",
    )
    .example("[{\"network\": \"192.0.2.0/28\", \"attempts\": 1000}]"),
    Setting::new(
        "exempt_networks",
        Kind::Words,
        "Networks from which any number of logins may fail. The limit for each name holds there too.",
    )
    .example("[\"10.1.2.0/24\"]"),
];

/// The settings of one network in `shared_networks`.
pub static SHARED_NETWORK: &Table = &[
    Setting::new(
        "network",
        Kind::Text,
        "The network, such as `192.0.2.0/28` or `2001:db8::/48`, or one address.",
    )
    .example("\"192.0.2.0/28\""),
    Setting::new(
        "attempts",
        Kind::Integer { min: 1, max: MOST },
        "Takes the place of `address_attempts` for each address in it.",
    )
    .example("1000"),
];

/// What is held back, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) enabled: bool,
    pub(crate) account_attempts: u32,
    pub(crate) address_attempts: u32,
    pub(crate) delays: Delays,
    /// How long a name is known at an address.
    pub(crate) remember: Duration,
    /// Networks with the attempts that are free in them, `None` for any number; the smallest networks first.
    pub(crate) networks: Vec<(IpNet, Option<u32>)>,
}

impl Default for Rules {
    /// What holds when nothing is said; a test keeps it equal to the table.
    fn default() -> Self {
        Self {
            enabled: true,
            account_attempts: 5,
            address_attempts: 50,
            delays: Delays {
                first: Duration::from_secs(1),
                longest: Duration::from_mins(15),
                forget: Duration::from_hours(1),
            },
            remember: Duration::from_hours(720),
            networks: Vec::new(),
        }
    }
}

impl Rules {
    /// Reads the section. What is wrong goes to the document.
    pub(crate) fn read(document: &Document) -> Self {
        match document.section(SECTION, THROTTLE) {
            Some(section) => Self::of(&section),
            None => Self::default(),
        }
    }

    fn of(section: &Section<'_>) -> Self {
        let default = Self::default();
        let delays = Delays {
            first: positive(section, "first_delay").unwrap_or(default.delays.first),
            longest: positive(section, "max_delay").unwrap_or(default.delays.longest),
            forget: positive(section, "forget_after").unwrap_or(default.delays.forget),
        };
        if delays.longest < delays.first {
            section.problem("max_delay", "is shorter than first_delay");
        }
        if delays.forget < delays.longest {
            section.problem(
                "forget_after",
                "is shorter than max_delay; then a wait would end with everything forgotten",
            );
        }
        let rules = Self {
            enabled: section.boolean("enabled"),
            account_attempts: attempts(section, "account_attempts")
                .unwrap_or(default.account_attempts),
            address_attempts: attempts(section, "address_attempts")
                .unwrap_or(default.address_attempts),
            delays,
            remember: section
                .duration("remember_addresses")
                .unwrap_or(default.remember),
            networks: networks(section),
        };
        if !rules.enabled {
            section.warn(
                "enabled",
                "nothing here holds back whoever guesses passwords; something in front of the service must",
            );
        }
        rules
    }

    /// The attempts that are free for one address; `None` for any number.
    pub(crate) fn attempts_from(&self, address: IpAddr) -> Option<u32> {
        let address = address.to_canonical();
        self.networks
            .iter()
            .find(|(network, _)| network.contains(&address))
            .map_or(Some(self.address_attempts), |(_, attempts)| *attempts)
    }
}

fn attempts(section: &Section<'_>, key: &str) -> Option<u32> {
    section
        .integer(key)
        .and_then(|number| u32::try_from(number).ok())
}

fn positive(section: &Section<'_>, key: &str) -> Option<Duration> {
    let duration = section.duration(key)?;
    if duration.is_zero() {
        section.problem(key, "wants more than nothing");
        return None;
    }
    Some(duration)
}

fn networks(section: &Section<'_>) -> Vec<(IpNet, Option<u32>)> {
    let mut networks = Vec::new();
    for shared in section.sections("shared_networks", SHARED_NETWORK) {
        shared.require("attempts");
        let attempts = attempts(&shared, "attempts");
        if let Some(text) = shared.required_string("network") {
            match network(&text) {
                Ok(network) => networks.push((network, attempts)),
                Err(problem) => shared.problem("network", problem),
            }
        }
    }
    for (index, text) in section.list("exempt_networks").iter().enumerate() {
        match network(text) {
            Ok(network) => networks.push((network, None)),
            Err(problem) => section.problem(&format!("exempt_networks[{index}]"), problem),
        }
    }
    networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
    for pair in networks.windows(2) {
        if let [(one, _), (other, _)] = pair
            && one == other
        {
            section.problem(
                "shared_networks",
                format!("{one} is there twice, also in exempt_networks"),
            );
        }
    }
    networks
}

/// Reads a network, or an address as the network of it alone.
fn network(text: &str) -> Result<IpNet, String> {
    let wrong =
        || "wants a network such as 192.0.2.0/28 or 2001:db8::/48, or one address".to_owned();
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| wrong())?,
    };
    let whole = network.trunc();
    if whole != network {
        return Err(format!(
            "names an address within a network; the network is {whole}"
        ));
    }
    if matches!(network, IpNet::V6(_)) && network.prefix_len() > 64 {
        return Err("is smaller than /64, which counts as one address; wants its /64".to_owned());
    }
    Ok(network)
}
