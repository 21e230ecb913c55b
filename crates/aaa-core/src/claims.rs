//! What tokens say: the claims of Choria's client and server tokens, by their names on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::caller::CallerId;

/// The organization that a token without one belongs to.
pub const DEFAULT_ORGANIZATION: &str = "choria";

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Purpose {
    /// Identifies a person or a program that sends requests.
    #[serde(rename = "choria_client_id")]
    Client,
    /// Identifies a node, a broker, or a service that answers requests.
    #[serde(rename = "choria_server")]
    Server,
    /// Anything else.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What every token has: the registered claims of RFC 7519 and Choria's own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Standard {
    /// What the token is for.
    #[serde(default)]
    pub purpose: Purpose,
    /// Trust chain signatures, in hexadecimal: one for a token of the organization issuer, two joined by a dot in a chain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tcs: String,
    /// The Ed25519 key that the bearer proves to hold, in hexadecimal; empty for a token that is not bound to one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// Until when the chain issuer may issue, in unix seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "seconds"
    )]
    pub issexp: Option<i64>,
    /// Who issued it: `I-<organization issuer's key>`, `C-<chain issuer's id>.<its key>`, or a name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub iss: String,
    /// RFC 7519, unused by Choria.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sub: String,
    /// RFC 7519, unused by Choria.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<serde_json::Value>,
    /// Until when it is valid, in unix seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "seconds"
    )]
    pub exp: Option<i64>,
    /// From when it is valid, in unix seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "seconds"
    )]
    pub nbf: Option<i64>,
    /// When it was made, in unix seconds.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "seconds"
    )]
    pub iat: Option<i64>,
    /// Its id, a KSUID made from `iat`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub jti: String,
}

impl Standard {
    /// When the token ends, in unix seconds: the earlier of its own expiry and its issuer's; `None` when it has no expiry.
    pub fn expires(&self) -> Option<i64> {
        let own = self.exp?;
        Some(self.issexp.map_or(own, |issuer| own.min(issuer)))
    }
}

/// A numeric date (RFC 7519, section 2), which may have a fraction; we compare whole seconds.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Date {
        Whole(i64),
        Fraction(f64),
    }
    Ok(match Option::<Date>::deserialize(deserializer)? {
        None => None,
        Some(Date::Whole(seconds)) => Some(seconds),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a cast of a float saturates, and dates out there are refused as such"
        )]
        Some(Date::Fraction(seconds)) => Some(seconds.floor() as i64),
    })
}

/// The claims of a client token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ClientClaims {
    /// Who the bearer is, `<provider>=<name>`.
    #[serde(default)]
    pub callerid: String,
    /// Action list: `*`, `agent.*` or `agent.action`.
    #[serde(
        default,
        deserialize_with = "or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub agents: Vec<String>,
    /// The organization that the bearer belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ou: String,
    /// Free-form facts about the bearer that policies can read.
    #[serde(
        default,
        deserialize_with = "or_null",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub user_properties: BTreeMap<String, String>,
    /// Rego policy of the bearer, package `io.choria.aaasvc`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub opa_policy: String,
    /// Rights on the network; absent in tokens made without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<ClientPermissions>,
    /// Subjects that the bearer may publish to besides the usual.
    #[serde(
        default,
        deserialize_with = "or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub pub_subjects: Vec<String>,
    /// Subjects that the bearer may subscribe to besides the usual.
    #[serde(
        default,
        deserialize_with = "or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub sub_subjects: Vec<String>,
    /// What every token has.
    #[serde(flatten)]
    pub standard: Standard,
}

impl ClientClaims {
    /// Who the bearer is. Empty ids never verify, so a verified token always has one.
    pub fn caller(&self) -> CallerId {
        CallerId::new(self.callerid.clone())
    }

    /// The rights of the bearer; none when the token has none.
    pub fn permissions(&self) -> ClientPermissions {
        self.permissions.unwrap_or_default()
    }

    /// The organization, with its default.
    pub fn organization(&self) -> &str {
        if self.ou.is_empty() {
            DEFAULT_ORGANIZATION
        } else {
            &self.ou
        }
    }
}

/// The claims of a server token.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServerClaims {
    /// The name of the node.
    #[serde(default)]
    pub identity: String,
    /// The collectives that it belongs to.
    #[serde(default, deserialize_with = "or_null")]
    pub collectives: Vec<String>,
    /// Its rights on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<ServerPermissions>,
    /// The organization that it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ou: String,
    /// Subjects that it may publish to besides the usual.
    #[serde(
        default,
        deserialize_with = "or_null",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub pub_subjects: Vec<String>,
    /// What every token has.
    #[serde(flatten)]
    pub standard: Standard,
}

/// An absent list and a `null` one are the same to Go.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// False permissions are left out on the wire.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Declares a set of permissions: each a flag, absent when false.
macro_rules! permissions {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $flag:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "is_false")] pub $flag: bool,)*
        }

        impl $name {
            /// Every right by its name on the wire.
            pub const NAMES: &[&str] = &[$(stringify!($flag)),*];

            /// The rights that are given, by their names on the wire.
            pub fn given(&self) -> Vec<&'static str> {
                let mut given = Vec::new();
                $(if self.$flag { given.push(stringify!($flag)); })*
                given
            }

            /// Gives a right by its name on the wire; false when there is no such right.
            pub fn give(&mut self, name: &str) -> bool {
                match name {
                    $(stringify!($flag) => self.$flag = true,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

permissions! {
    /// The rights of a client.
    ClientPermissions {
        /// Full access to streams.
        streams_admin,
        /// Use of streams.
        streams_user,
        /// Sees lifecycle and autonomous agent events.
        events_viewer,
        /// Takes part in leader elections.
        election_user,
        /// Reaches the broker's system account.
        system_user,
        /// Uses governors; needs a streams right too.
        governor,
        /// All subjects and the system account.
        org_admin,
        /// Sends requests to the fleet.
        fleet_management,
        /// Sends requests to the fleet that a delegator has signed.
        signed_fleet_management,
        /// A program: its token may live longer than `max_validity`.
        service,
        /// Signs requests for others.
        authentication_delegator,
        /// Reaches nodes that are not provisioned yet.
        provisioner,
    }
}

permissions! {
    /// The rights of a server.
    ServerPermissions {
        /// Submits messages.
        submission,
        /// Reads streams.
        streams,
        /// Uses governors.
        governor,
        /// Listens for service requests.
        service_host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_survive_the_wire_and_false_is_left_out() {
        let json = serde_json::json!({
            "callerid": "up=alice", "agents": ["rpcutil.*"], "ou": "choria",
            "permissions": {"fleet_management": true, "service": true},
            "purpose": "choria_client_id", "public_key": "ab", "iss": "x", "exp": 3, "nbf": 1, "iat": 1, "jti": "j"
        });
        let claims: ClientClaims = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(
            claims.permissions().given(),
            ["fleet_management", "service"]
        );
        assert_eq!(serde_json::to_value(&claims).unwrap(), json);
    }

    #[test]
    fn a_token_ends_with_the_earlier_expiry() {
        let ends = |exp, issexp| {
            Standard {
                issexp,
                exp,
                ..Standard::default()
            }
            .expires()
        };
        assert_eq!(ends(Some(5), None), Some(5));
        assert_eq!(ends(Some(5), Some(3)), Some(3));
        assert_eq!(ends(Some(3), Some(5)), Some(3));
        assert_eq!(ends(None, Some(3)), None);
    }

    #[test]
    fn dates_may_have_fractions_and_nothing_else() {
        let read = |json: &str| serde_json::from_str::<Standard>(json).map(|s| s.exp);
        assert_eq!(read(r#"{"exp":1.9}"#).unwrap(), Some(1));
        assert_eq!(read(r#"{"exp":null}"#).unwrap(), None);
        assert!(read(r#"{"exp":"1"}"#).is_err());
    }

    #[test]
    fn rights_are_given_by_name() {
        let mut permissions = ServerPermissions::default();
        assert!(permissions.give("service_host"));
        assert!(!permissions.give("root"));
        assert_eq!(permissions.given(), ["service_host"]);
        assert!(ClientPermissions::NAMES.contains(&"provisioner"));
    }
}
