//! The users of the `userlist` authenticator: who they are, what their passwords must hash to, what they may do.

mod entry;
mod fault;
mod json;
mod policies;
mod read;

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use crate::authenticator::Rights;
use crate::hash::{HashError, Kind, PasswordHash};

pub(crate) use entry::is_action;
pub(crate) use fault::{Fault, Faults, Origin};
pub(crate) use policies::{Policies, Stamps, stamp};
pub(crate) use read::{FileText, Reader};

/// The longest name of a user, in bytes; what a request may hold.
pub(crate) const USERNAME_LIMIT: usize = aaa_api::rest::USERNAME_LIMIT;

/// The largest users file, in bytes.
pub(crate) const USERS_FILE_LIMIT: u64 = 256 * 1024 * 1024;

/// All users at one moment.
pub(crate) struct Users {
    by_name: HashMap<Box<str>, User>,
    decoys: Decoys,
    policy_files: Stamps,
}

/// One user.
pub(crate) struct User {
    pub(crate) hash: PasswordHash,
    pub(crate) rights: Rights,
    origin: Origin,
}

impl Users {
    fn new(by_name: HashMap<Box<str>, User>, policy_files: Stamps) -> Result<Self, HashError> {
        let decoys = Decoys::like(by_name.values())?;
        Ok(Self {
            by_name,
            decoys,
            policy_files,
        })
    }

    /// The user with exactly this name.
    pub(crate) fn get(&self, name: &str) -> Option<&User> {
        self.by_name.get(name)
    }

    /// What the password of this name is checked against: the user's hash, or for a name that nobody has one that costs as
    /// much and that no password fits. The same name always gets the same one, as long as the seed and the users stay.
    pub(crate) fn hash_for(&self, name: &str, seed: &RandomState) -> &PasswordHash {
        self.get(name)
            .map_or_else(|| self.decoys.pick(seed.hash_one(name)), |user| &user.hash)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The files that policies were read from, and what they looked like before they were.
    pub(crate) fn policy_files(&self) -> &Stamps {
        &self.policy_files
    }

    /// A word about passwords that a thief of the file would find out too fast.
    pub(crate) fn weakness(&self) -> Option<String> {
        let mut weak = BTreeMap::<Kind, usize>::new();
        for (kind, count) in self.decoys.counts() {
            if kind.is_weak() {
                *weak.entry(kind).or_default() += count;
            }
        }
        let count: usize = weak.values().sum();
        let kinds: Vec<String> = weak
            .iter()
            .map(|(kind, count)| format!("{kind}: {count}"))
            .collect();
        (count > 0).then(|| {
            format!(
                "{count} of {} passwords are hashed too cheaply ({}); hash them again with aaa crypt",
                self.len(),
                kinds.join(", ")
            )
        })
    }
}

/// Hashes that nobody's password fits, one of each kind that users have, in proportion.
///
/// If all unknown names cost what most users cost, the time of an answer would give away the others.
struct Decoys {
    kinds: Vec<(usize, PasswordHash)>,
    total: usize,
    fallback: PasswordHash,
}

impl Decoys {
    fn like<'a>(users: impl Iterator<Item = &'a User>) -> Result<Self, HashError> {
        let mut counts = BTreeMap::<Kind, usize>::new();
        for user in users {
            *counts.entry(user.hash.kind()).or_default() += 1;
        }
        let total = counts.values().sum();
        let kinds = counts
            .into_iter()
            .map(|(kind, count)| Ok((count, PasswordHash::decoy(kind)?)))
            .collect::<Result<_, HashError>>()?;
        Ok(Self {
            kinds,
            total,
            fallback: PasswordHash::decoy(Kind::DEFAULT)?,
        })
    }

    fn pick(&self, number: u64) -> &PasswordHash {
        let mut rest = usize::try_from(number)
            .unwrap_or(usize::MAX)
            .checked_rem(self.total)
            .unwrap_or_default();
        for (count, hash) in &self.kinds {
            match rest.checked_sub(*count) {
                None => return hash,
                Some(less) => rest = less,
            }
        }
        &self.fallback
    }

    fn counts(&self) -> impl Iterator<Item = (Kind, usize)> {
        self.kinds.iter().map(|(count, hash)| (hash.kind(), *count))
    }
}

/// The names of users whose caller ids are the same on the wire, where `@` and `.` become `_`.
fn alike(users: &HashMap<Box<str>, User>) -> Vec<(String, String)> {
    let mut folded = HashMap::<String, &str>::new();
    let mut pairs = Vec::new();
    for name in users.keys().filter(|name| name.contains(['@', '.'])) {
        let wire = name.replace(['@', '.'], "_");
        let other = users.get_key_value(wire.as_str()).map(|(name, _)| &**name);
        let other = other.or_else(|| folded.get(&wire).copied());
        if let Some(other) = other {
            let mut pair = [other.to_owned(), name.to_string()];
            pair.sort();
            let [first, second] = pair;
            pairs.push((first, second));
        }
        folded.insert(wire, name);
    }
    pairs.sort();
    pairs
}

impl User {
    fn new(hash: PasswordHash, rights: Rights, origin: Origin) -> Self {
        Self {
            hash,
            rights,
            origin,
        }
    }
}

/// A policy that several users share.
type Policy = Arc<str>;

#[cfg(test)]
mod tests;
