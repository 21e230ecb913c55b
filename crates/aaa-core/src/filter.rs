//! Which nodes a request is for.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{JsonError, Object, Strict};

/// The nodes that a request selects: all that match every part. An empty filter selects the whole collective.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Filter {
    /// Facts that a node must have.
    pub fact: Vec<FactFilter>,
    /// Puppet classes that a node must have.
    pub cf_class: Vec<String>,
    /// Agents that a node must have. Clients put the addressed agent there; it narrows nothing.
    pub agent: Vec<String>,
    /// Names of nodes, or regular expressions over them.
    pub identity: Vec<String>,
    /// Compound expressions, each in a list of maps as older versions had them: `[[{"expr": "country=mt and apache"}]]`.
    pub compound: Vec<Vec<BTreeMap<String, String>>>,
}

/// One fact that a node must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactFilter {
    /// Its name.
    pub fact: String,
    /// How it is compared: `==`, `=~`, `<=`, `>=`, `<`, `>`, `!=`.
    pub operator: String,
    /// What it is compared with.
    pub value: String,
}

impl Filter {
    /// Whether it selects nothing out, so that every node of the collective is meant.
    pub fn is_empty(&self) -> bool {
        self.fact.is_empty()
            && self.cf_class.is_empty()
            && self.agent.is_empty()
            && self.identity.is_empty()
            && self.compound.is_empty()
    }

    /// Reads a filter from a request; absent and `null` parts are empty, as a node reads them.
    ///
    /// # Errors
    /// When it, or a fact in it, is not what a node would read the same way.
    pub(crate) fn read(object: &Object<'_>) -> Result<Self, JsonError> {
        let facts: Vec<&RawValue> = object.optional("fact")?;
        Ok(Self {
            fact: facts
                .into_iter()
                .map(FactFilter::read)
                .collect::<Result<_, _>>()?,
            cf_class: object.optional("cf_class")?,
            agent: object.optional("agent")?,
            identity: object.optional("identity")?,
            compound: compound(object)?,
        })
    }

    /// The names that a node knows in a filter.
    pub(crate) const MEMBERS: &[&str] = &["fact", "cf_class", "agent", "identity", "compound"];
}

/// Compound expressions. Read strictly first, so that a repeated member cannot hide one from us.
fn compound(object: &Object<'_>) -> Result<Vec<Vec<BTreeMap<String, String>>>, JsonError> {
    let Strict(value) = object.optional("compound")?;
    if value.is_null() {
        return Ok(Vec::new());
    }
    serde_json::from_value(value).map_err(|_| JsonError::Wrong {
        name: "compound",
        problem: "a list of lists of objects of strings is wanted".to_owned(),
    })
}

impl FactFilter {
    fn read(value: &RawValue) -> Result<Self, JsonError> {
        let object = Object::parse(value.get().as_bytes(), &["fact", "operator", "value"])?;
        Ok(Self {
            fact: object.optional("fact")?,
            operator: object.optional("operator")?,
            value: object.optional("value")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Filter, JsonError> {
        Filter::read(&Object::parse(json.as_bytes(), Filter::MEMBERS)?)
    }

    #[test]
    fn reads_every_part() {
        let filter = read(
            r#"{"fact":[{"fact":"country","operator":"==","value":"mt"}],"cf_class":["apache"],"agent":["rpcutil"],
                "identity":["web1"],"compound":[[{"expr":"a and b"}]]}"#,
        )
        .unwrap();
        assert_eq!(filter.fact[0].value, "mt");
        assert_eq!(filter.cf_class, ["apache"]);
        assert_eq!(filter.identity, ["web1"]);
        assert_eq!(filter.compound[0][0]["expr"], "a and b");
        assert!(!filter.is_empty());
    }

    #[test]
    fn absent_and_null_are_empty() {
        assert!(read("{}").unwrap().is_empty());
        let nulls = r#"{"fact":null,"cf_class":null,"agent":null,"identity":null,"compound":null}"#;
        assert!(read(nulls).unwrap().is_empty());
    }

    #[test]
    fn two_readings_of_a_filter_are_refused() {
        for json in [
            r#"{"fact":[],"Fact":[{"fact":"a","operator":"==","value":"b"}]}"#,
            r#"{"fact":[{"fact":"country","value":"mt","operator":"==","Value":"de"}]}"#,
            r#"{"compound":[[{"expr":"a","expr":"b"}]]}"#,
            r#"{"Compound":[]}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn wrong_kinds_are_refused() {
        for json in [
            r#"{"fact":{}}"#,
            r#"{"fact":[1]}"#,
            r#"{"cf_class":"apache"}"#,
            r#"{"identity":[1]}"#,
            r#"{"compound":[{"expr":"a"}]}"#,
        ] {
            assert!(read(json).is_err(), "{json}");
        }
    }
}
