//! The settings of logins: which there are, and from the configuration to what is checked.

use std::time::Duration;

use aaa_core::token::Minter;
use aaa_service::config::{Described, Document, FileContent, Kind, Section, Setting, Table, Topic};
use jiff::Timestamp;
use serde_json::Value;

use crate::certificate;
use crate::grants::{OPA_POLICY, OPA_POLICY_FILE};
use crate::mint::{Files, KEY_WANTED, TOKEN_WANTED};
use crate::okta;
use crate::throttle;
use crate::userlist::Source;
use crate::users::{FileText, Reader, USERS_FILE_LIMIT, Users};

/// The section of the `userlist` authenticator.
pub const SECTION: &str = "userlist_authenticator";

/// What signs tokens, for every authenticator.
pub(crate) const SIGNING_KEY: Setting = Setting::new(
    "signing_key",
    Kind::Path,
    "The key that signs tokens: an RSA private key in PEM (PKCS#1 or PKCS#8), or an Ed25519 seed file. Followed.",
)
.example("\"/etc/aaa/login.seed\"");
/// The right to, for every authenticator.
pub(crate) const SIGNING_TOKEN: Setting = Setting::new(
    "signing_token",
    Kind::Path,
    "The token of a chain issuer, for organization-issuer mode; `signing_key` is then the seed that it is bound to. Tokens end no later than it does. Followed.",
)
.example("\"/etc/aaa/login.jwt\"");
/// How long tokens last, for every authenticator.
pub(crate) const VALIDITY: Setting = Setting::new(
    "validity",
    Kind::Duration,
    "How long tokens are valid. No longer than `max_validity` of the signers.",
)
.example("\"1h\"");
/// Whether a key must be shown, for every authenticator.
pub(crate) const ALLOW_UNSIGNED: Setting = Setting::new(
    "allow_unsigned_logins",
    Kind::Bool,
    "Whether a name and a password alone are enough, as older clients send them. The token is then bound to no key: whoever has it can use it, where the signer has `allow_bearer_tokens`.",
)
.default("false")
.example("true");
/// Whether the next authenticator is asked when this one cannot decide.
pub(crate) const FALLBACK: Setting = Setting::new(
    "fallback",
    Kind::Bool,
    "Whether the next authenticator in `authenticator` is asked when this one cannot decide, because it is overloaded or what it depends on is away. Otherwise nobody is let in until it can.",
)
.default("false")
.example("true");

/// Its settings.
pub static USERLIST: &Table = &[
    SIGNING_KEY,
    SIGNING_TOKEN,
    VALIDITY,
    Setting::new(
        "users_file",
        Kind::Path,
        "A JSON list of users, in addition to those in `users`. Followed: a changed file is taken as a whole, and one with a fault in it not at all.",
    )
    .example("\"/etc/aaa/users.json\""),
    Setting::new(
        "users",
        Kind::Sections,
        "Users, each with `username`, `password` (a hash made by `aaa crypt`), `organization`, `acls`, `opa_policy` or `opa_policy_file`, `properties` and `broker_permissions`.",
    )
    .example(
        "[{\"username\": \"bob\", \"password\": \"$2b$12$5zNdfZwo9qHHuPSGWbqWc.NN3DyLzrM.0Gz13NQ0LbsQC4Lj1Wt7q\", \"acls\": [\"puppet.*\"]}]",
    ),
    ALLOW_UNSIGNED,
    FALLBACK,
];

/// The settings of one user in `users` or `users_file`, for the manual; they are read by [`crate::userlist`] itself.
pub static USER: &Table = &[
    Setting::new(
        "username",
        Kind::Text,
        "The name; the caller id is `up=<username>`.",
    )
    .example("\"bob\""),
    Setting::new(
        "password",
        Kind::Secret,
        "A hash of the password: bcrypt (`$2a$`, `$2b$`, `$2y$`) or Argon2id (`$argon2id$`). `aaa crypt` makes one.",
    )
    .example("\"$2b$12$5zNdfZwo9qHHuPSGWbqWc.NN3DyLzrM.0Gz13NQ0LbsQC4Lj1Wt7q\""),
    Setting::new("organization", Kind::Text, "The organization that the user belongs to.")
        .default("choria")
        .example("\"choria\""),
    Setting::new(
        "acls",
        Kind::List,
        "What the `actionlist` authorizer allows: `*`, `agent.*` or `agent.action`.",
    )
    .example("[\"puppet.*\", \"rpcutil.ping\"]"),
    OPA_POLICY,
    OPA_POLICY_FILE,
    Setting::new("properties", Kind::Map, "Free-form facts about the user, for policies.")
        .example("{\"group\": \"admins\"}"),
    Setting::new(
        "broker_permissions",
        Kind::Section,
        "Rights on the network, each `true` or `false`, such as `fleet_management` or `streams_user`.",
    )
    .example("{\"fleet_management\": true}"),
];

/// The sections of logins.
pub static SECTIONS: &[Described] = &[
    (SECTION, USERLIST),
    ("userlist_authenticator.users[]", USER),
    (okta::SECTION, okta::OKTA),
    ("okta_authenticator.groups[]", okta::GROUP),
    (certificate::SECTION, certificate::CERTIFICATE),
    ("certificate_authenticator.rights[]", certificate::RIGHTS),
    (throttle::SECTION, throttle::THROTTLE),
    ("login_throttle.shared_networks[]", throttle::SHARED_NETWORK),
];

/// What is the same for every authenticator, read to the end: the files that it names are too.
pub(crate) struct Issue {
    pub(crate) files: Files,
    pub(crate) minter: Minter,
    /// `signing_key`, and `signing_token` if there is one, as they were read.
    pub(crate) key_files: Vec<FileContent>,
    pub(crate) validity: Duration,
    pub(crate) allow_unsigned: bool,
    pub(crate) fallback: bool,
}

/// The users of a `userlist`.
pub(crate) struct LoadedUsers {
    pub(crate) source: Source,
    pub(crate) users: Users,
    /// The users file, as it was read.
    pub(crate) users_file: Option<FileContent>,
}

/// The section of an authenticator that the configuration asks for. `None` when it is not there: the document knows.
pub(crate) fn section<'a>(
    document: &'a Document,
    key: &str,
    name: &str,
    table: &'static Table,
) -> Option<Section<'a>> {
    let top = document.top();
    let section = top.section(key, table);
    if section.is_none() && !top.has(key) {
        top.problem(key, format!("required with authenticator {name}"));
    }
    section
}

/// Reads what is the same for every authenticator.
pub(crate) fn issue(section: &Section<'_>, issuer: &'static str, now: Timestamp) -> Option<Issue> {
    let validity = validity(section);
    let switched = |setting: &Setting| section.knows(setting.key) && section.boolean(setting.key);
    let (allow_unsigned, fallback) = (switched(&ALLOW_UNSIGNED), switched(&FALLBACK));
    let keys = keys(section, issuer, now);
    if allow_unsigned && section.has("signing_token") {
        section.problem(
            "allow_unsigned_logins",
            "not possible with signing_token: every token in a chain of trust is bound to a key",
        );
    }
    let (files, minter, key_files) = keys?;
    Some(Issue {
        files,
        minter,
        key_files,
        validity: validity?,
        allow_unsigned,
        fallback,
    })
}

fn validity(section: &Section<'_>) -> Option<Duration> {
    let validity = section.required_duration("validity")?;
    if validity < Duration::from_secs(1) {
        section.problem("validity", "tokens must be valid for a second at least");
        return None;
    }
    Some(validity)
}

/// The key, and the right to sign with it.
fn keys(
    section: &Section<'_>,
    issuer: &'static str,
    now: Timestamp,
) -> Option<(Files, Minter, Vec<FileContent>)> {
    section.require("signing_key");
    let contents = [
        section.secret_file("signing_key", KEY_WANTED),
        section.file("signing_token", TOKEN_WANTED),
    ];
    let files = Files {
        signing_key: section.path("signing_key")?,
        signing_token: section.path("signing_token"),
        issuer,
    };
    let expected = 1 + usize::from(files.signing_token.is_some());
    let contents: Vec<FileContent> = contents.into_iter().flatten().collect();
    if contents.len() < expected {
        return None;
    }
    match files.minter(&contents, now) {
        Ok(minter) => Some((files, minter, contents)),
        Err(unfit) => {
            section.problem(unfit.key, unfit.text);
            None
        }
    }
}

/// The users of the section and of the users file.
pub(crate) fn users(section: &Section<'_>) -> Option<LoadedUsers> {
    let inline = inline(section);
    let path = section.path("users_file");
    let content = section.secret_file_up_to("users_file", "a JSON list of users", USERS_FILE_LIMIT);
    if path.is_some() && content.is_none() {
        return None;
    }
    let source = Source {
        inline: inline?,
        users_file: path,
    };
    let mut reader = Reader::default();
    reader.inline(&source.inline);
    if let Some(content) = &content {
        let Some(text) = content.text() else {
            let path = content.path().display();
            section.problem("users_file", format!("{path}: is not UTF-8"));
            return None;
        };
        reader.file(FileText(text));
    }
    let outcome = reader.finish();
    let file = source.users_file.as_deref();
    outcome
        .warnings
        .report(file, |key, text| section.warn(key, text));
    match outcome.users {
        Ok(users) => {
            warn_of(&users, section);
            Some(LoadedUsers {
                source,
                users,
                users_file: content,
            })
        }
        Err(faults) => {
            faults.report(file, |key, text| section.problem(key, text));
            None
        }
    }
}

/// The list of users in the section itself.
fn inline(section: &Section<'_>) -> Option<Vec<Value>> {
    match section.raw("users") {
        None => Some(Vec::new()),
        Some(Value::Array(users)) => Some(users.clone()),
        // Asked as what it should be, the section says what is wrong.
        Some(_) => {
            section.sections("users", USER);
            None
        }
    }
}

/// What is worth a word about all users together.
fn warn_of(users: &Users, section: &Section<'_>) {
    let key = if section.has("users_file") {
        "users_file"
    } else {
        "users"
    };
    if users.len() == 0 {
        section.warn(
            key,
            "there are no users, so nobody can log in; list them in users or users_file",
        );
    }
    if let Some(weakness) = users.weakness() {
        section.warn_of(Topic::Hashes, key, weakness);
    }
}
