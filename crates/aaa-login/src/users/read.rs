//! Reading users from the configuration and from the users file, and everything that is wrong with them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::Value;
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::entry::Entry;
use super::fault::Place;
use super::json::Json;
use super::policies::{Policies, Stamps};
use super::{Fault, Faults, Origin, User, Users, alike};
use crate::authenticator::Rights;

/// The text of a users file.
#[derive(Clone, Copy)]
pub(crate) struct FileText<'a>(pub(crate) &'a str);

/// Reads users from several places into one list.
#[derive(Default)]
pub(crate) struct Reader {
    users: HashMap<Box<str>, User>,
    policies: Policies,
    faults: Faults,
    warnings: Faults,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) users: Result<Users, Faults>,
    pub(crate) warnings: Faults,
    /// The policy files that users name, also those that could not be read.
    pub(crate) policy_files: Stamps,
}

impl Reader {
    /// The users that stand in the configuration itself.
    pub(crate) fn inline(&mut self, items: &[Value]) {
        for (index, item) in items.iter().enumerate() {
            // A value that was read once is one that can be read.
            let item = Json::deserialize(item).unwrap_or(Json::Null);
            self.item(item, Origin::Inline(index), None);
        }
    }

    /// The users of the users file: a JSON list of objects.
    pub(crate) fn file(&mut self, text: FileText<'_>) {
        let FileText(all) = text;
        let body = all.trim_start_matches('\u{feff}').trim_start();
        if body.is_empty() {
            let text = "is empty; wants a list of users [{…}]; for nobody, []".to_owned();
            return self.fault(Place::File, None, None, text);
        }
        if !body.starts_with('[') {
            let text = "wants a list of users [{…}]".to_owned();
            return self.fault(Place::File, None, None, text);
        }
        let start = all.len() - body.len();
        let items: Vec<&RawValue> = match serde_json::from_str(body) {
            Ok(items) => items,
            Err(error) => {
                let line = text.line_of(start) + error.line().saturating_sub(1);
                return self.fault(Place::Line(line), None, None, complaint(&error));
            }
        };
        if !items.is_empty() {
            self.users.reserve(items.len());
        }
        for item in items {
            self.raw(item, text);
        }
    }

    fn raw(&mut self, item: &RawValue, text: FileText<'_>) {
        let offset = text.offset_of(item.get());
        match serde_json::from_str(item.get()) {
            Ok(item) => self.item(item, Origin::File(offset), Some(text)),
            Err(error) => {
                let line = text.line_of(offset) + error.line().saturating_sub(1);
                self.fault(Place::Line(line), None, None, complaint(&error));
            }
        }
    }

    fn item(&mut self, item: Json<'_>, origin: Origin, text: Option<FileText<'_>>) {
        match item {
            Json::Object(members) => self.entry(Entry::read(members), origin, text),
            other => {
                let problem = format!("a user is an object {{…}}; this is {}", other.kind());
                self.fault(origin.place(text), None, None, problem);
            }
        }
    }

    /// Takes a user into the list, or says what is wrong.
    fn entry(&mut self, mut entry: Entry<'_>, origin: Origin, text: Option<FileText<'_>>) {
        let mut faults = std::mem::take(&mut entry.faults);
        let policy = self.policy(&entry).unwrap_or_else(|fault| {
            faults.push(fault);
            None
        });
        for (key, problem) in entry.warnings {
            self.warnings.push(Fault {
                place: origin.place(text),
                user: entry.username.clone(),
                key,
                text: problem,
            });
        }
        let (Some(username), Some(hash), true) = (&entry.username, entry.hash, faults.is_empty())
        else {
            for (key, problem) in faults {
                self.fault(origin.place(text), entry.username.clone(), key, problem);
            }
            return;
        };
        if let Some(first) = self.users.get(username.as_str()) {
            let problem = format!(
                "a user of this name is there already ({})",
                first.origin.place(text)
            );
            let user = Some(username.clone());
            return self.fault(
                origin.place(text),
                user,
                Some("username".to_owned()),
                problem,
            );
        }
        let rights = Rights {
            organization: entry.organization,
            agents: entry.acls,
            policy,
            properties: entry.properties,
            permissions: entry.permissions,
        };
        let user = User::new(hash, rights, origin);
        self.users.insert(username.as_str().into(), user);
    }

    /// The policy of a user, compiled once.
    fn policy(&mut self, entry: &Entry<'_>) -> Result<Option<Arc<str>>, (Option<String>, String)> {
        let (key, outcome) = if !entry.opa_policy.is_empty() {
            ("opa_policy", self.policies.inline(&entry.opa_policy))
        } else if !entry.opa_policy_file.is_empty() {
            let path = Path::new(&*entry.opa_policy_file);
            ("opa_policy_file", self.policies.file(path))
        } else {
            return Ok(None);
        };
        outcome
            .map(Some)
            .map_err(|problem| (Some(key.to_owned()), problem))
    }

    fn fault(&mut self, place: Place, user: Option<String>, key: Option<String>, text: String) {
        self.faults.push(Fault {
            place,
            user,
            key,
            text,
        });
    }

    /// The users, if nothing is wrong.
    pub(crate) fn finish(mut self) -> Outcome {
        let policy_files = self.policies.files();
        for (first, second) in alike(&self.users) {
            self.warnings.push(Fault {
                place: Place::List,
                user: Some(first),
                key: None,
                text: format!("the network takes {second:?} for the same caller: @ and . become _"),
            });
        }
        let users = if self.faults.is_empty() {
            Users::new(self.users, policy_files.clone()).map_err(|error| {
                let mut faults = Faults::default();
                faults.push(Fault {
                    place: Place::List,
                    user: None,
                    key: None,
                    text: error.to_string(),
                });
                faults
            })
        } else {
            Err(self.faults)
        };
        Outcome {
            users,
            warnings: self.warnings,
            policy_files,
        }
    }
}

impl Origin {
    fn place(self, text: Option<FileText<'_>>) -> Place {
        match (self, text) {
            (Self::Inline(index), _) => Place::Index(index),
            (Self::File(offset), Some(text)) => Place::Line(text.line_of(offset)),
            (Self::File(_), None) => Place::File,
        }
    }
}

impl FileText<'_> {
    /// The line that a byte stands on, from 1.
    fn line_of(self, offset: usize) -> usize {
        let before = self.0.get(..offset).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Where a part of the text begins.
    fn offset_of(self, part: &str) -> usize {
        part.as_ptr().addr().saturating_sub(self.0.as_ptr().addr())
    }
}

/// A parser's complaint without quoting the input.
fn complaint(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => "ends before the list is complete".to_owned(),
        Category::Syntax => {
            let text = error.to_string();
            let text = text
                .rsplit_once(" at line ")
                .map_or(&*text, |(text, _)| text);
            format!("is no JSON: {text} (column {})", error.column())
        }
        Category::Data | Category::Io => "holds what cannot be read".to_owned(),
    }
}
