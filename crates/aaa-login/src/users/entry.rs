//! One user as it is written: the members of an object, checked one by one.

use std::borrow::Cow;

use super::USERNAME_LIMIT;
use super::json::{Json, Members, repeated};
use crate::hash::PasswordHash;
use aaa_core::claims::ClientPermissions;

/// The keys of a user.
const KEYS: &[&str] = &[
    "username",
    "password",
    "organization",
    "acls",
    "opa_policy",
    "opa_policy_file",
    "properties",
    "broker_permissions",
];

/// A user before the policies are looked at.
#[derive(Default)]
pub(super) struct Entry<'a> {
    pub(super) username: Option<String>,
    pub(super) hash: Option<PasswordHash>,
    pub(super) organization: String,
    pub(super) acls: Vec<String>,
    pub(super) opa_policy: Cow<'a, str>,
    pub(super) opa_policy_file: Cow<'a, str>,
    pub(super) properties: Vec<(String, String)>,
    pub(super) permissions: Option<ClientPermissions>,
    /// What is wrong: the key and the text.
    pub(super) faults: Vec<(Option<String>, String)>,
    /// What is worth a word.
    pub(super) warnings: Vec<(Option<String>, String)>,
}

impl<'a> Entry<'a> {
    /// Reads the members of one user. Go reads keys in any case, so files may spell them so.
    pub(super) fn read(members: Members<'a>) -> Self {
        let mut entry = Self::default();
        let mut seen = 0_u32;
        let mut password = false;
        for (name, value) in members {
            let known = KEYS
                .iter()
                .enumerate()
                .find(|(_, key)| key.eq_ignore_ascii_case(&name));
            let Some((place, key)) = known else {
                entry.fault(&name, unknown(&name, KEYS));
                continue;
            };
            if seen & (1 << place) != 0 {
                entry.fault(key, "is there twice");
                continue;
            }
            seen |= 1 << place;
            password |= *key == "password";
            if !matches!(value, Json::Null)
                && let Err(problem) = entry.member(key, value)
            {
                entry.fault(key, problem);
            }
        }
        entry.complete(password);
        entry
    }

    fn member(&mut self, key: &str, value: Json<'a>) -> Result<(), String> {
        match key {
            "username" => self.username = Some(username(&text(value)?)?),
            "password" => {
                let hash = PasswordHash::parse(&text(value)?).map_err(|error| error.to_string())?;
                self.hash = Some(hash);
            }
            "organization" => self.organization = text(value)?.into_owned(),
            "acls" => self.acls = texts(value)?,
            "opa_policy" => self.opa_policy = text(value)?,
            "opa_policy_file" => self.opa_policy_file = text(value)?,
            "properties" => self.properties = properties(value)?,
            _ => self.permissions(value)?,
        }
        Ok(())
    }

    fn permissions(&mut self, value: Json<'a>) -> Result<(), String> {
        let mut permissions = ClientPermissions::default();
        for (name, value) in object(value)? {
            let Json::Bool(given) = value else {
                let problem = format!("wants true or false; this is {}", value.kind());
                self.fault(&format!("broker_permissions.{name}"), problem);
                continue;
            };
            let mut tried = permissions;
            if !tried.give(&name) {
                self.fault(
                    &format!("broker_permissions.{name}"),
                    unknown(&name, ClientPermissions::NAMES),
                );
            } else if given {
                permissions = tried;
            }
        }
        self.permissions = Some(permissions);
        Ok(())
    }

    /// What can only be said of the whole.
    fn complete(&mut self, password: bool) {
        let complained = |faults: &[(Option<String>, String)], key: &str| {
            faults
                .iter()
                .any(|(about, _)| about.as_deref() == Some(key))
        };
        if self.username.is_none() && !complained(&self.faults, "username") {
            self.fault("username", "required");
        }
        if self.hash.is_none() && !complained(&self.faults, "password") {
            let problem = if password { "is null" } else { "required" };
            self.fault("password", format!("{problem}: a hash made with aaa crypt"));
        }
        if !self.opa_policy.is_empty() && !self.opa_policy_file.is_empty() {
            self.warn("opa_policy_file", "not used: opa_policy is set too");
            self.opa_policy_file = Cow::default();
        }
        let useless = self.acls.iter().find(|entry| !is_action(entry)).cloned();
        if let Some(entry) = useless {
            let entry: String = entry.chars().take(64).collect();
            self.warn(
                "acls",
                format!("{entry:?} is neither *, agent.* nor agent.action; the signer will refuse everything"),
            );
        }
    }

    fn fault(&mut self, key: &str, text: impl Into<String>) {
        self.faults.push((Some(shortened(key)), text.into()));
    }

    fn warn(&mut self, key: &str, text: impl Into<String>) {
        self.warnings.push((Some(key.to_owned()), text.into()));
    }
}

/// Whether the `actionlist` authorizer can do something with an entry.
pub(crate) fn is_action(entry: &str) -> bool {
    entry == "*" || entry.split_once('.').is_some()
}

/// A name that can stand in a caller id, a log and a terminal.
fn username(name: &str) -> Result<String, String> {
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if name.len() > USERNAME_LIMIT {
        return Err(format!("is longer than {USERNAME_LIMIT} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    Ok(name.to_owned())
}

fn text(value: Json<'_>) -> Result<Cow<'_, str>, String> {
    match value {
        Json::Text(text) => Ok(text),
        other => Err(format!("wants a text; this is {}", other.kind())),
    }
}

fn texts(value: Json<'_>) -> Result<Vec<String>, String> {
    let Json::List(items) = value else {
        return Err(format!("wants a list of texts; this is {}", value.kind()));
    };
    // Kept for as long as the user is, so without room to grow.
    let mut texts = Vec::with_capacity(items.len());
    for item in items {
        let text =
            text(item).map_err(|problem| format!("wants a list of texts; one item {problem}"))?;
        texts.push(text.into_owned());
    }
    Ok(texts)
}

fn properties(value: Json<'_>) -> Result<Vec<(String, String)>, String> {
    let members = object(value)?;
    let mut properties = Vec::with_capacity(members.len());
    for (name, value) in members {
        match text(value) {
            Ok(value) => properties.push((name.into_owned(), value.into_owned())),
            Err(problem) => return Err(format!("{:?} {problem}", shortened(&name))),
        }
    }
    Ok(properties)
}

fn object(value: Json<'_>) -> Result<Members<'_>, String> {
    let Json::Object(members) = value else {
        return Err(format!("wants an object {{…}}; this is {}", value.kind()));
    };
    match repeated(&members) {
        Some(name) => Err(format!("{:?} is there twice", shortened(name))),
        None => Ok(members),
    }
}

/// That a name is unknown, and which known one it resembles.
fn unknown(name: &str, known: &[&str]) -> String {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    known
        .iter()
        .map(|known| (strsim::osa_distance(&lower, known), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).max(1))
        .min()
        .map_or_else(
            || format!("unknown; known are {}", known.join(", ")),
            |(_, near)| format!("unknown; did you mean {near}?"),
        )
}

fn shortened(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}
