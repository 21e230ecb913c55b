//! The section `certificate_authenticator`.

use aaa_service::config::{Kind, Section, Setting, Table};

use super::names::Names;
use crate::authenticator::Rights;
use crate::grants::{self, Grants};
use crate::settings::{SIGNING_KEY, SIGNING_TOKEN, VALIDITY};

/// The section's name.
pub const SECTION: &str = "certificate_authenticator";

/// Its settings.
pub static CERTIFICATE: &Table = &[
    SIGNING_KEY,
    SIGNING_TOKEN,
    VALIDITY,
    Setting::new(
        "allowed_certnames",
        Kind::Words,
        "Whose certificates log in: names, and regular expressions between slashes. Never one with a name that matches `/.privileged.mcollective$/`.",
    )
    .default("/\\.mcollective$/, /\\.choria$/")
    .example("\"bob, jill, /\\\\.mcollective$/\""),
    Setting::new(
        "rights",
        Kind::Sections,
        "Who has which rights, each with `certnames` and what it gives: `acls`, `opa_policy` or `opa_policy_file`, `properties`, `broker_permissions`, `organization`. Somebody whose name is in none of them is not let in.",
    )
    .example("[{\"certnames\": \"bob, /^ops-/\", \"acls\": [\"puppet.*\"], \"broker_permissions\": {\"fleet_management\": true}}]"),
];

/// The settings of one item in `rights`.
pub static RIGHTS: &Table = &[
    Setting::new(
        "certnames",
        Kind::Words,
        "Who has these rights: names, and regular expressions between slashes.",
    )
    .example("\"bob, /^ops-/\""),
    grants::ORGANIZATION,
    grants::ACLS,
    grants::OPA_POLICY,
    grants::OPA_POLICY_FILE,
    grants::PROPERTIES,
    grants::BROKER_PERMISSIONS,
];

/// The section, read to the end.
pub(crate) struct Settings {
    pub(super) allowed: Names,
    pub(super) grants: Grants,
    /// Whom each of the grants is for.
    holders: Vec<Names>,
}

impl Settings {
    /// Reads what only this authenticator has. What is wrong goes to the document.
    pub(crate) fn read(section: &Section<'_>) -> Self {
        let allowed = Names::read(section, "allowed_certnames");
        let mut reader = grants::Reader::default();
        let (mut holders, mut list) = (Vec::new(), Vec::new());
        for one in section.sections("rights", RIGHTS) {
            one.require("certnames");
            holders.push(Names::read(&one, "certnames"));
            list.push(reader.read(&one));
        }
        if list.is_empty() {
            section.warn(
                "rights",
                "nobody has any, so nobody can log in with a certificate",
            );
        }
        Self {
            allowed,
            grants: reader.finish(list),
            holders,
        }
    }

    /// All that somebody has a right to; `None` for whoever is in no list.
    pub(super) fn rights(&self, name: &str) -> Option<Rights> {
        let places = self
            .holders
            .iter()
            .enumerate()
            .filter(|(_, names)| names.matches(name));
        self.grants.union(places.map(|(place, _)| place))
    }
}
