//! Requests made from the command line, as the stock client makes them.

use aaa_core::claims::ClientClaims;
use aaa_core::filter::{FactFilter, Filter};
use aaa_core::id;
use aaa_core::request::{DISCOVERY, PROTOCOL_V1, PROTOCOL_V2, Version};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::client_config::ClientConfig;
use crate::failure::Failure;

/// What the request asks, and of whom.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Making a request")]
pub(super) struct RequestArgs {
    /// The agent to ask
    #[arg(long)]
    agent: Option<String>,
    /// The action to ask for
    #[arg(long, requires = "agent", conflicts_with = "request")]
    action: Option<String>,
    /// An input of the action: name=text, or name:=JSON for numbers, lists and the like
    #[arg(long, value_name = "NAME=VALUE", requires = "agent", value_parser = input)]
    data: Vec<(String, Value)>,
    /// Only nodes with this fact: country=mt, with =, !=, <, >, <=, >= or =~
    #[arg(short = 'F', long = "fact", value_name = "FACT=VALUE", requires = "agent", value_parser = fact)]
    facts: Vec<FactFilter>,
    /// Only nodes with this Puppet class
    #[arg(short = 'C', long = "class", value_name = "CLASS", requires = "agent")]
    classes: Vec<String>,
    /// Only nodes with this name, or with a name that matches this /regular expression/
    #[arg(
        short = 'I',
        long = "identity",
        value_name = "NAME",
        requires = "agent"
    )]
    identities: Vec<String>,
    /// The collective whose nodes are meant [default: that of the configuration]
    #[arg(short = 'T', long, requires = "agent")]
    collective: Option<String>,
    /// How long the request is good for, in seconds
    #[arg(long, default_value = "60", requires = "agent", value_parser = clap::value_parser!(i64).range(1..))]
    ttl: i64,
    /// Make a request of protocol v1, which certificates sign [default: as plugin.security.provider says]
    #[arg(long, requires = "agent", conflicts_with = "v2")]
    v1: bool,
    /// Make a request of protocol v2, which delegators sign
    #[arg(long, requires = "agent")]
    v2: bool,
}

impl RequestArgs {
    /// The request's JSON.
    pub(super) fn request(
        &self,
        config: &ClientConfig,
        claims: &ClientClaims,
        now: Timestamp,
    ) -> Result<Vec<u8>, Failure> {
        let agent = self.agent.clone().unwrap_or_default();
        let message = self.message(&agent)?;
        let version = match (self.v1, self.v2) {
            (true, _) => Version::V1,
            (_, true) => Version::V2,
            _ => config.version(),
        };
        let collective = match &self.collective {
            Some(collective) => collective.clone(),
            None => config.collective(version),
        };
        let filter = self.filter(&agent);
        let (sender, caller, ttl) = (config.identity(), &claims.callerid, self.ttl);
        let request = match version {
            Version::V1 => json!({
                "protocol": PROTOCOL_V1,
                "message": message,
                "envelope": {
                    "requestid": request_id()?, "senderid": sender, "callerid": caller,
                    "collective": collective, "agent": agent, "ttl": ttl,
                    "time": now.as_second(), "filter": filter,
                },
            }),
            Version::V2 => json!({
                "protocol": PROTOCOL_V2, "message": STANDARD.encode(message), "id": id::at(now),
                "sender": sender, "caller": caller, "collective": collective, "agent": agent, "ttl": ttl,
                "time": i64::try_from(now.as_nanosecond()).unwrap_or(i64::MAX), "filter": filter,
            }),
        };
        Ok(request.to_string().into_bytes())
    }

    /// The body: agent, action and inputs; for discovery a single word.
    fn message(&self, agent: &str) -> Result<String, Failure> {
        if agent == DISCOVERY {
            return match &self.action {
                None => Ok("ping".to_owned()),
                Some(_) => Err(Failure::usage("the discovery agent has no actions")),
            };
        }
        let action = self.action.as_ref().ok_or_else(|| {
            Failure::usage(format!("--action is missing: what shall {agent} do?"))
        })?;
        let mut data = Map::new();
        for (name, value) in &self.data {
            if data.insert(name.clone(), value.clone()).is_some() {
                return Err(Failure::usage(format!("--data {name} is given twice")));
            }
        }
        Ok(json!({"agent": agent, "action": action, "data": data}).to_string())
    }

    fn filter(&self, agent: &str) -> Filter {
        Filter {
            fact: self.facts.clone(),
            cf_class: self.classes.clone(),
            agent: vec![agent.to_owned()],
            identity: self.identities.clone(),
            compound: Vec::new(),
        }
    }
}

/// 32 hexadecimal characters that nobody can guess.
fn request_id() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes).map_err(|_| Failure::failed("the system gave no random numbers"))?;
    Ok(hex::encode(bytes))
}

/// `name=text` or `name:=JSON`.
fn input(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, json)) if name.len() > 1 && name.ends_with(':') => {
            let value = serde_json::from_str(json).map_err(|error| format!("no JSON: {error}"))?;
            Ok((name.trim_end_matches(':').to_owned(), value))
        }
        Some((name, value)) if !name.is_empty() && name != ":" => {
            Ok((name.to_owned(), value.into()))
        }
        _ => Err("write name=text, or name:=JSON".to_owned()),
    }
}

/// `fact<operator>value`, as `choria req -F` takes it.
pub(in crate::commands) fn fact(text: &str) -> Result<FactFilter, String> {
    const OPERATORS: &[(&str, &str)] = &[
        ("=~", "=~"),
        ("==", "=="),
        ("!=", "!="),
        ("<=", "<="),
        ("=<", "<="),
        (">=", ">="),
        ("=>", ">="),
        ("=", "=="),
        ("<", "<"),
        (">", ">"),
    ];
    let at = text.find(['=', '!', '<', '>']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let found = OPERATORS
        .iter()
        .find_map(|(written, meant)| Some((rest.strip_prefix(written)?, *meant)));
    let Some((value, operator)) = found else {
        return Err("write fact=value, with =, !=, <, >, <=, >= or =~".to_owned());
    };
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() || value.is_empty() || value.starts_with(['=', '<', '>', '~']) {
        return Err("write fact=value, with =, !=, <, >, <=, >= or =~".to_owned());
    }
    let is_pattern = value.len() > 1 && value.starts_with('/') && value.ends_with('/');
    Ok(FactFilter {
        fact: name.to_owned(),
        operator: if is_pattern { "=~" } else { operator }.to_owned(),
        value: value.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_read_as_the_stock_client_reads_them() {
        for (text, name, operator, value) in [
            ("country=mt", "country", "==", "mt"),
            ("country==mt", "country", "==", "mt"),
            ("country != mt", "country", "!=", "mt"),
            ("cpus=>4", "cpus", ">=", "4"),
            ("cpus>=4", "cpus", ">=", "4"),
            ("cpus=<4", "cpus", "<=", "4"),
            ("cpus<4", "cpus", "<", "4"),
            ("os=~^deb", "os", "=~", "^deb"),
            ("os=/^deb/", "os", "=~", "/^deb/"),
        ] {
            let read = fact(text).unwrap();
            assert_eq!(
                (&*read.fact, &*read.operator, &*read.value),
                (name, operator, value),
                "{text}"
            );
        }
        for text in ["country", "=mt", "country=", "a!b", ""] {
            assert!(fact(text).is_err(), "{text}");
        }
    }

    #[test]
    fn inputs_are_text_or_json() {
        assert_eq!(input("a=b=c").unwrap(), ("a".into(), "b=c".into()));
        assert_eq!(input("n:=3").unwrap(), ("n".into(), 3.into()));
        assert_eq!(input("l:=[1,2]").unwrap().1, json!([1, 2]));
        for text in ["a", "=b", ":=1", "n:=x"] {
            assert!(input(text).is_err(), "{text}");
        }
    }
}
