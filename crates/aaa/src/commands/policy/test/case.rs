//! Cases as they are written, and what they stand for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::claims::{ClientClaims, ClientPermissions, Purpose};
use aaa_core::filter::Filter;
use aaa_core::request::{DISCOVERY, PROTOCOL_V2, Request};
use aaa_policy::actionpolicy::{Node, facts_file};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::beside;
use super::suite::Case;
use crate::commands::policy;
use crate::commands::sign::build::fact;
use crate::failure::Failure;
use crate::files;

/// What a caller's token holds, by the names of its claims.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Token {
    #[serde(deserialize_with = "several")]
    agents: Vec<String>,
    opa_policy: String,
    /// The policy's file.
    opa_policy_file: Option<PathBuf>,
    ou: String,
    user_properties: BTreeMap<String, String>,
    #[serde(deserialize_with = "several")]
    permissions: Vec<String>,
}

impl Token {
    pub(super) fn claims(self, caller: &str, suite: &Path) -> Result<ClientClaims, String> {
        let opa_policy = match self.opa_policy_file {
            None => self.opa_policy,
            Some(_) if !self.opa_policy.is_empty() => {
                return Err("has opa_policy and opa_policy_file; one of them must go".to_owned());
            }
            Some(file) => {
                files::read_text(&beside(suite, &file)).map_err(|failure| failure.to_string())?
            }
        };
        let mut permissions = ClientPermissions::default();
        for name in &self.permissions {
            if !permissions.give(name) {
                let known = ClientPermissions::NAMES.join(", ");
                return Err(format!("{name} is no permission; there are {known}"));
            }
        }
        Ok(ClientClaims {
            agents: self.agents,
            ou: self.ou,
            user_properties: self.user_properties,
            opa_policy,
            permissions: Some(permissions),
            ..nobody(caller)
        })
    }
}

/// What is expected of an answer.
pub(super) struct Expected {
    pub(super) verdict: Verdict,
    /// Who decides.
    pub(super) by: Option<String>,
    /// The rule that does.
    pub(super) rule: Option<String>,
    /// Words of the reason that the caller is given.
    pub(super) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Allow,
    Deny,
}

impl Verdict {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A case as it is written. Where it names several callers or actions, it stands for one of each.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asking {
    name: Option<String>,
    #[serde(default, deserialize_with = "several")]
    caller: Vec<String>,
    token: Option<PathBuf>,
    /// The file of a request, in place of all that makes one.
    request: Option<PathBuf>,
    agent: Option<String>,
    #[serde(default, deserialize_with = "several")]
    action: Vec<String>,
    collective: Option<String>,
    sender: Option<String>,
    ttl: Option<i64>,
    data: Option<Map<String, Value>>,
    filter: Option<Wanted>,
    node: Option<There>,
    at: Option<Timestamp>,
    expect: Verdict,
    by: Option<String>,
    rule: Option<String>,
    reason: Option<String>,
}

/// The nodes that a request is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    #[serde(deserialize_with = "several")]
    fact: Vec<String>,
    #[serde(deserialize_with = "several")]
    class: Vec<String>,
    #[serde(deserialize_with = "several")]
    identity: Vec<String>,
    #[serde(deserialize_with = "several")]
    compound: Vec<String>,
}

/// What a node has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct There {
    /// Its facts, or the name of their file.
    facts: Value,
    #[serde(deserialize_with = "several")]
    classes: Vec<String>,
}

impl Asking {
    /// The cases that it stands for.
    pub(super) fn cases(
        self,
        line: usize,
        suite: &Path,
        callers: &BTreeMap<String, Arc<ClientClaims>>,
        now: Timestamp,
    ) -> Result<Vec<Case>, String> {
        if self.expect == Verdict::Allow && self.reason.is_some() {
            return Err("reason is for what is denied; name a rule".to_owned());
        }
        let (said, at) = (
            |failure: Failure| failure.to_string(),
            self.at.unwrap_or(now),
        );
        let tokens = match (&self.token, self.caller.as_slice()) {
            (None, []) => return Err("needs a caller, or a token".to_owned()),
            (Some(_), [_, ..]) => return Err("has a caller and a token; one must go".to_owned()),
            (Some(file), []) => {
                vec![Arc::new(
                    policy::claims(&beside(suite, file)).map_err(said)?,
                )]
            }
            (None, ids) => {
                let known = ids.iter().map(|id| match callers.get(id) {
                    Some(claims) => Arc::clone(claims),
                    None => Arc::new(nobody(id)),
                });
                known.collect()
            }
        };
        let requests = self.requests(suite, at)?;
        let node = match self.node {
            None => None,
            Some(there) => Some(Arc::new(there.node(suite)?)),
        };
        let many = tokens.len() * requests.len() > 1;
        let mut cases = Vec::with_capacity(tokens.len() * requests.len());
        for claims in &tokens {
            for request in &requests {
                let asks = format!("{} {}", claims.callerid, request.agent_action());
                cases.push(Case {
                    line,
                    name: match &self.name {
                        None => asks,
                        Some(name) if many => format!("{name}: {asks}"),
                        Some(name) => name.clone(),
                    },
                    claims: Arc::clone(claims),
                    request: request.clone(),
                    node: node.clone(),
                    at,
                    expected: Expected {
                        verdict: self.expect,
                        by: self.by.clone(),
                        rule: self.rule.clone(),
                        reason: self.reason.clone(),
                    },
                });
            }
        }
        Ok(cases)
    }

    fn requests(&self, suite: &Path, at: Timestamp) -> Result<Vec<Request>, String> {
        let wrong = |error| format!("no request: {error}");
        if let Some(file) = &self.request {
            let path = beside(suite, file);
            let bytes = files::read(&path).map_err(|failure| failure.to_string())?;
            let request = Request::parse(bytes.trim_ascii()).map_err(wrong)?;
            return Ok(vec![request]);
        }
        let agent = self
            .agent
            .as_deref()
            .ok_or("needs an agent, or a request")?;
        let filter = self.filter(agent)?;
        let body = |action: &str| {
            let data = self.data.clone().unwrap_or_default();
            json!({"agent": agent, "action": action, "data": data}).to_string()
        };
        let bodies: Vec<String> = match self.action.as_slice() {
            [] if agent == DISCOVERY => vec!["ping".to_owned()],
            [] => return Err("needs an action".to_owned()),
            actions => actions.iter().map(|action| body(action)).collect(),
        };
        let request = |message: &String| {
            let request = json!({
                "protocol": PROTOCOL_V2,
                "message": STANDARD.encode(message),
                "id": aaa_core::id::at(at),
                "sender": self.sender.as_deref().unwrap_or("client.example.net"),
                "caller": "choria=claimed",
                "collective": self.collective.as_deref().unwrap_or("mcollective"),
                "agent": agent,
                "ttl": self.ttl.unwrap_or(60),
                "time": i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX),
                "filter": filter,
            });
            Request::parse(request.to_string().as_bytes()).map_err(wrong)
        };
        bodies.iter().map(request).collect()
    }

    fn filter(&self, agent: &str) -> Result<Filter, String> {
        let mut filter = Filter {
            agent: vec![agent.to_owned()],
            ..Filter::default()
        };
        if let Some(wanted) = &self.filter {
            let facts = wanted.fact.iter().map(|text| fact(text));
            filter.fact = facts
                .collect::<Result<_, _>>()
                .map_err(|text| format!("filter: {text}"))?;
            filter.cf_class.clone_from(&wanted.class);
            filter.identity.clone_from(&wanted.identity);
            let compound = wanted.compound.iter();
            filter.compound = compound
                .map(|text| vec![BTreeMap::from([("expr".to_owned(), text.clone())])])
                .collect();
        }
        Ok(filter)
    }
}

impl There {
    fn node(self, suite: &Path) -> Result<Node, String> {
        let facts = match self.facts {
            Value::String(file) => {
                let path = beside(suite, Path::new(&file));
                let bytes = files::read(&path).map_err(|failure| failure.to_string())?;
                facts_file(&path.display().to_string(), &bytes)
                    .map_err(|problem| problem.to_string())?
            }
            facts => facts,
        };
        Ok(Node {
            facts,
            classes: self.classes.into_iter().collect::<BTreeSet<_>>(),
        })
    }
}

/// A caller whose token says nothing but who it is.
fn nobody(id: &str) -> ClientClaims {
    let mut claims = ClientClaims {
        callerid: id.to_owned(),
        ..ClientClaims::default()
    };
    claims.standard.purpose = Purpose::Client;
    claims
}

/// A list of texts; a text alone is a list of one.
pub(super) fn several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a text or a list of texts is wanted")]
    enum Several {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Several::deserialize(deserializer)? {
        Several::One(text) => vec![text],
        Several::Many(texts) => texts,
    })
}
