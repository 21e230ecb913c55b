//! The settings of a signer: its sections of the configuration file, read and checked.

use std::path::PathBuf;
use std::time::Duration;

use aaa_core::choria_config::ChoriaConfig;
use aaa_core::request::TimeLimits;
use aaa_core::token::Rules;
use aaa_policy::guards::Guards;
use aaa_policy::task_rules::TaskRules;
use aaa_service::config::{Described, Document, Kind, Section, Setting};
use jiff::Timestamp;

use crate::action_policy::{self, ACTIONPOLICY_AUTHORIZER};
use crate::followed::Configured;
use crate::key_files::{KeyFile, KeyFiles, certificate_of};
use crate::{network, site_policies};

mod rules;

pub use rules::{BUSINESS_HOURS, GUARDS, TASK};

/// The section `basicjwt_signer`.
pub static BASICJWT_SIGNER: &[Setting] = &[
    Setting::new(
        "signing_certificate",
        Kind::Path,
        "What verifies tokens: an RSA public key or a certificate in PEM, or a public file. For tokens of a chain, the organization \
         issuer's public file, never the login service's. Followed.",
    )
    .example("\"/etc/aaa/issuer.public\""),
    Setting::new(
        "signing_certificates",
        Kind::List,
        "More of them: a token that any of them verifies is good. To rotate keys, list old and new. Followed.",
    )
    .example("[\"/etc/aaa/issuer.public\", \"/etc/aaa/next-issuer.public\"]"),
    Setting::new(
        "max_validity",
        Kind::Duration,
        "The furthest that a token's expiry may be away. Tokens with the `service` permission may live longer.",
    )
    .example("\"2h\""),
    Setting::new(
        "signing_token",
        Kind::Path,
        "The delegator's token, which lets nodes take what this signer signs (v2). Followed.",
    )
    .example("\"/etc/aaa/signer.jwt\""),
    Setting::new(
        "signing_seed",
        Kind::Path,
        "The seed file of the key that `signing_token` is bound to. Followed.",
    )
    .example("\"/etc/aaa/signer.seed\""),
    Setting::new(
        "choria_service",
        Kind::Bool,
        "Whether to sign over the Choria network that `choria_config` describes, as the service `aaa_signer`. Without `port` it is the only way in.",
    )
    .default("false")
    .example("true"),
    Setting::new(
        "allow_bearer_tokens",
        Kind::Bool,
        "Whether a request without a signature is taken: whoever has a token can then use it.",
    )
    .default("false")
    .example("false"),
    Setting::new(
        "max_clock_skew",
        Kind::Duration,
        "The furthest that a request may be dated ahead.",
    )
    .default("60s")
    .example("\"30s\""),
    Setting::new(
        "max_request_ttl",
        Kind::Duration,
        "The longest time to live that a request may have: it can outlive its token by that.",
    )
    .default("1h")
    .example("\"10m\""),
];

/// The sections of a signer.
pub static SECTIONS: &[Described] = &[
    ("basicjwt_signer", BASICJWT_SIGNER),
    ("actionpolicy_authorizer", ACTIONPOLICY_AUTHORIZER),
    ("opa_authorizer", site_policies::OPA_AUTHORIZER),
    ("guards", GUARDS),
    ("guards.business_hours", BUSINESS_HOURS),
    ("tasks[]", TASK),
];

/// What a signer needs to know.
pub struct Settings {
    /// Where its keys are.
    pub files: KeyFiles,
    /// How it is reached over the Choria network, if it is.
    pub(crate) network: Option<network::Settings>,
    /// What is demanded of tokens.
    pub rules: Rules,
    /// What is demanded of a request's own times.
    pub limits: TimeLimits,
    /// Whether requests without a signature are taken.
    pub allow_bearer_tokens: bool,
    /// What must hold of every request.
    pub guards: Guards,
    /// What is demanded of the inputs of Puppet Tasks.
    pub tasks: TaskRules,
    /// Who decides.
    pub authorizers: Vec<Authorizer>,
    /// The rules of [`Authorizer::ActionPolicy`], if it is one of them.
    pub(crate) action_policy: Option<Configured<action_policy::Files>>,
    /// The site's own policies beside [`Authorizer::Opa`], if it has any.
    pub(crate) site_policies: Option<site_policies::Settings>,
}

/// The kinds of authorizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorizer {
    /// On the action list in the token.
    ActionList,
    /// On the Rego policy in the token.
    Opa,
    /// On the site's rules.
    ActionPolicy,
}

impl Settings {
    /// Reads the signer's part of the file; `None` when it has none. What is wrong is for the document, and is to be asked for there
    /// before anything is done with the rest: whoever reads on tells all that is wrong at once.
    pub fn read(document: &Document, now: Timestamp) -> Option<Self> {
        let top = document.top();
        match top.string("signer").as_deref() {
            None => return None,
            Some("basicjwt") => {}
            Some(_) => {
                top.problem("signer", "unknown; the one that there is: basicjwt");
                return None;
            }
        }
        let Some(section) = document.section("basicjwt_signer", BASICJWT_SIGNER) else {
            top.problem(
                "basicjwt_signer",
                "missing; signer is basicjwt, and these are its settings",
            );
            return None;
        };
        let choria = aaa_service::choria::config(document);
        let network = section
            .boolean("choria_service")
            .then(|| network::Settings::read(document, choria.as_ref(), now))
            .flatten();
        if network
            .as_ref()
            .is_some_and(network::Settings::trusts_any_broker)
            && section.boolean("allow_bearer_tokens")
        {
            section.problem(
                "allow_bearer_tokens",
                "whoever stands between signer and broker could take the tokens: set plugin.security.choria.ca in choria_config, or \
                 leave this out",
            );
        }
        let max_validity = section.required_duration("max_validity");
        let (guards, tasks) = rules::read(&top);
        let authorizers = authorizers(&top);
        let action_policy = authorizers
            .contains(&Authorizer::ActionPolicy)
            .then(|| action_policy::read(document))
            .flatten();
        let opa = authorizers.contains(&Authorizer::Opa);
        let site_policies = site_policies::Settings::read(document, opa);
        Some(Self {
            rules: Rules {
                max_validity: max_validity.unwrap_or_default(),
            },
            limits: limits(&section),
            allow_bearer_tokens: section.boolean("allow_bearer_tokens"),
            guards,
            tasks,
            authorizers,
            action_policy,
            site_policies,
            files: key_files(choria.as_ref(), &section),
            network,
        })
    }
}

fn limits(section: &Section<'_>) -> TimeLimits {
    let default = TimeLimits::default();
    let at_least_a_second = |key: &str, default: Duration| {
        let value = section.duration(key).unwrap_or(default);
        if value < Duration::from_secs(1) {
            section.problem(key, "must be at least 1s");
        }
        value
    };
    TimeLimits {
        max_clock_skew: at_least_a_second("max_clock_skew", default.max_clock_skew),
        max_ttl: at_least_a_second("max_request_ttl", default.max_ttl),
    }
}

fn authorizers(top: &Section<'_>) -> Vec<Authorizer> {
    let mut authorizers = Vec::new();
    let names = top.list("authorizer");
    for name in &names {
        match name.as_str() {
            "actionlist" => authorizers.push(Authorizer::ActionList),
            "opa" => authorizers.push(Authorizer::Opa),
            "actionpolicy" => authorizers.push(Authorizer::ActionPolicy),
            _ => top.problem(
                "authorizer",
                "unknown; choose actionlist, opa or actionpolicy",
            ),
        }
    }
    if names.is_empty() {
        top.problem(
            "authorizer",
            "missing; choose actionlist, opa or actionpolicy: without one nothing can be allowed",
        );
    }
    authorizers
}

fn key_files(choria: Option<&ChoriaConfig>, section: &Section<'_>) -> KeyFiles {
    let file = |setting| section.path(setting).map(|path| KeyFile { setting, path });
    let listed = section.list("signing_certificates").into_iter();
    let listed = listed.map(|path| KeyFile {
        setting: "signing_certificates",
        path: PathBuf::from(path),
    });
    let verifying: Vec<_> = file("signing_certificate")
        .into_iter()
        .chain(listed)
        .collect();
    if verifying.is_empty() {
        section.problem("signing_certificate", "missing; it is what verifies tokens");
    }
    let delegator = match (file("signing_token"), file("signing_seed")) {
        (Some(token), Some(seed)) => Some((token, seed)),
        (None, None) => None,
        (Some(_), None) => {
            section.problem(
                "signing_seed",
                "missing; it is the seed of signing_token's key",
            );
            None
        }
        (None, Some(_)) => {
            section.problem(
                "signing_token",
                "missing; signing_seed alone signs nothing that nodes take",
            );
            None
        }
    };
    let certificate = choria.and_then(certificate_of);
    if delegator.is_none()
        && certificate.is_none()
        && !section.has("signing_token")
        && !section.has("signing_seed")
    {
        section.problem(
            "signing_seed",
            "missing; a signer has signing_token and signing_seed (organization issuer), or a choria_config whose \
             plugin.security.provider is file, with plugin.security.file.certificate and .key (CA)",
        );
    }
    KeyFiles {
        verifying,
        delegator,
        certificate,
    }
}
