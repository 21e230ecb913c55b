//! Who asks: caller ids of the form `<provider>=<name>`.

use std::fmt;

/// Who asks, such as `up=bob`, `okta=bob@example.net` or `choria=bob.mcollective`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerId(String);

impl CallerId {
    /// Takes the id as it stands, from a verified token.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as the token has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as it goes into a request: subjects of the network are split at dots, so `@` and `.` become `_`.
    pub fn on_the_wire(&self) -> String {
        self.0.replace(['@', '.'], "_")
    }
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_not_split_by_a_caller() {
        let caller = CallerId::new("okta=bob@example.net");
        assert_eq!(caller.on_the_wire(), "okta=bob_example_net");
        assert_eq!(caller.as_str(), "okta=bob@example.net");
    }
}
