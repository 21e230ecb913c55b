//! The users of a site.

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::{FEW_USERS, POLICY, create};
use crate::failure::Failure;

/// Of so many users of a large site one has a policy, and the rest have action lists.
const POLICY_EVERY: u64 = 10;
/// So many policies differ.
const POLICIES: u64 = 20;

/// The name of a user.
pub(crate) fn username(user: u64) -> String {
    format!("user{user:06}")
}

/// The password of a user. In large sites users share them, as nobody wants to wait for 100,000 hashes.
pub(crate) fn password(user: u64) -> String {
    format!("correct horse, battery staple {}", user % FEW_USERS)
}

/// The hash of each password.
pub(super) fn hashes(cost: u32) -> Result<Vec<String>, Failure> {
    let passwords: Vec<String> = (0..FEW_USERS).map(password).collect();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let hashed: Result<Vec<Vec<String>>, _> = thread::scope(|scope| {
        let threads: Vec<_> = passwords
            .chunks(passwords.len().div_ceil(cores))
            .map(|part| {
                scope.spawn(move || {
                    let hashes = part.iter().map(|password| bcrypt::hash(password, cost));
                    hashes.collect::<Result<Vec<_>, _>>()
                })
            })
            .collect();
        let failed = || Failure::new("passwords could not be hashed");
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| failed()));
        joined.map(|part| part?.map_err(|_| failed())).collect()
    });
    Ok(hashed?.concat())
}

/// Writes a users file.
pub(super) fn write(path: &Path, count: u64, hashes: &[String]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::while_doing(path.display(), error);
    let mut file = BufWriter::new(create(path)?);
    for (number, hash) in (0..count).zip(hashes.iter().cycle()) {
        let separator = if number == 0 { "[\n" } else { ",\n" };
        write!(file, "{separator}{}", user(number, hash)).map_err(failed)?;
    }
    file.write_all(b"\n]\n")
        .and_then(|()| file.flush())
        .map_err(failed)
}

fn user(number: u64, hash: &str) -> Value {
    let mut user = json!({
        "username": username(number),
        "password": hash,
        "organization": "choria",
        "properties": {"group": "admins", "email": format!("{}@example.net", username(number))},
        "broker_permissions": {"fleet_management": true},
    });
    let (key, value) = if number.is_multiple_of(POLICY_EVERY) {
        let variant = (number / POLICY_EVERY) % POLICIES;
        (
            "opa_policy",
            json!(POLICY.replace("country=mt", &format!("rack=r{variant}"))),
        )
    } else {
        (
            "acls",
            json!([
                "puppet.status",
                "rpcutil.*",
                format!("team{}.*", number % 50)
            ]),
        )
    };
    if let Some(members) = user.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_can_log_in_with_their_password() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("users.json");
        let hashes: Vec<String> = (0..FEW_USERS)
            .map(|user| bcrypt::hash(password(user), 4).unwrap())
            .collect();
        write(&file, FEW_USERS + 8, &hashes).unwrap();
        let users: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(users.len(), 40);
        for number in [0, 7, 31, 32, 39] {
            let user = &users[usize::try_from(number).unwrap()];
            assert_eq!(user["username"], username(number));
            let hash = user["password"].as_str().unwrap();
            assert!(bcrypt::verify(password(number), hash).unwrap(), "{number}");
        }
    }

    #[test]
    fn policies_repeat_and_differ() {
        let policy = |number| user(number, "")["opa_policy"].as_str().map(str::to_owned);
        assert_ne!(policy(0), policy(10));
        assert_eq!(policy(0), policy(200));
        assert_eq!(policy(1), None);
    }
}
