use std::path::Path;

use serde_json::json;

use super::*;
use crate::conformance::words;
use crate::testing::{SECRET, read};

const POLICY: &str = "package io.choria.aaasvc\nallow { input.agent == \"puppet\" }\n";

/// A userlist with a users file, and a user of its own called `inline`.
fn userlist(path: &Path) -> Userlist {
    let source = Source {
        inline: vec![json!({"username": "inline", "password": SECRET})],
        users_file: Some(path.to_owned()),
    };
    let content = read(path);
    let mut reader = Reader::default();
    reader.inline(&source.inline);
    reader.file(FileText(content.text().unwrap()));
    let users = reader
        .finish()
        .users
        .unwrap_or_else(|faults| panic!("{faults:?}"));
    let pool = Arc::new(HashPool::start(1).unwrap());
    Userlist::new(source, users, pool, Meter::new("test".into()))
}

fn names(userlist: &Userlist, names: &[&str]) -> Vec<bool> {
    let users = userlist.users.load();
    names.iter().map(|name| users.get(name).is_some()).collect()
}

fn write(path: &Path, users: &Value) {
    std::fs::write(path, users.to_string()).unwrap();
}

#[test]
fn a_changed_file_is_taken_whole_and_a_broken_one_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users.json");
    write(&path, &json!([{"username": "bob", "password": SECRET}]));
    let userlist = userlist(&path);
    assert_eq!(
        names(&userlist, &["inline", "bob", "jill"]),
        [true, true, false]
    );

    write(&path, &json!([{"username": "jill", "password": SECRET}]));
    userlist.file_changed(&read(&path)).unwrap();
    assert_eq!(
        names(&userlist, &["inline", "bob", "jill"]),
        [true, false, true]
    );

    for (text, expected) in [
        ("[", ":1: ends before the list is complete"),
        (
            "",
            ": is empty; wants a list of users [{…}]; for nobody, []",
        ),
        (
            r#"[{"username": "eve", "password": "plain"}]"#,
            ":1: user \"eve\": password: is not a password hash; wants bcrypt ($2a$, $2b$, $2y$) or Argon2id ($argon2id$): make one with aaa crypt",
        ),
        (
            r#"[{"username": "inline", "password": "$2a$04$03iVfTlChFMEjPVW6kiQu.zQHzbsP5ZIduygrARtA6dEhLEa3jYgu"}]"#,
            ":1: user \"inline\": username: a user of this name is there already (users[0])",
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let problem = userlist.file_changed(&read(&path)).unwrap_err();
        assert_eq!(problem, format!("{}{expected}", path.display()));
        assert_eq!(
            names(&userlist, &["inline", "bob", "jill"]),
            [true, false, true]
        );
    }
    std::fs::write(&path, b"[\xff]").unwrap();
    assert!(
        userlist
            .file_changed(&read(&path))
            .unwrap_err()
            .ends_with("is not UTF-8")
    );
    assert_eq!(
        names(&userlist, &["inline", "bob", "jill"]),
        [true, false, true]
    );

    std::fs::write(&path, "[]").unwrap();
    userlist.file_changed(&read(&path)).unwrap();
    assert_eq!(
        names(&userlist, &["inline", "bob", "jill"]),
        [true, false, false]
    );
}

#[test]
fn changed_policies_are_taken_and_broken_ones_not() {
    let dir = tempfile::tempdir().unwrap();
    let (path, policy, other) = (
        dir.path().join("users.json"),
        dir.path().join("a.rego"),
        dir.path().join("b.rego"),
    );
    std::fs::write(&policy, POLICY).unwrap();
    let with =
        |policy: &Path| json!([{"username": "bob", "password": SECRET, "opa_policy_file": policy}]);
    write(&path, &with(&policy));
    let userlist = userlist(&path);
    let in_use = || {
        userlist
            .users
            .load()
            .get("bob")
            .unwrap()
            .rights
            .policy
            .clone()
            .unwrap()
            .to_string()
    };
    assert_eq!(userlist.look_at_policies(), Ok(false));
    assert_eq!(in_use(), POLICY);

    let changed = POLICY.replace("puppet", "service");
    std::fs::write(&policy, &changed).unwrap();
    assert_eq!(userlist.look_at_policies(), Ok(true));
    assert_eq!(in_use(), changed);

    std::fs::write(&policy, "package io.choria.aaasvc\nallow {\n").unwrap();
    let problem = userlist.look_at_policies().unwrap_err();
    assert!(
        problem.contains("user \"bob\": opa_policy_file: ") && problem.contains("a.rego"),
        "{problem}"
    );
    assert_eq!(in_use(), changed);
    // Said once.
    assert_eq!(userlist.look_at_policies(), Ok(false));

    std::fs::remove_file(&policy).unwrap();
    assert!(
        userlist
            .look_at_policies()
            .unwrap_err()
            .contains("no such file")
    );
    std::fs::write(&policy, POLICY).unwrap();
    assert_eq!(userlist.look_at_policies(), Ok(true));
    assert_eq!(in_use(), POLICY);

    // A users file names a policy that is not there yet: as soon as it is, the users are taken.
    write(&path, &with(&other));
    assert!(userlist.file_changed(&read(&path)).is_err());
    assert_eq!(in_use(), POLICY);
    std::fs::write(&other, &changed).unwrap();
    assert_eq!(userlist.look_at_policies(), Ok(true));
    assert_eq!(in_use(), changed);
}

#[test]
fn the_file_of_an_earlier_configuration_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.json"), dir.path().join("new.json"));
    write(&old, &json!([{"username": "bob", "password": SECRET}]));
    write(&new, &json!([{"username": "jill", "password": SECRET}]));
    let list = userlist(&old);
    let fresh = userlist(&new);
    let users = fresh.users.load_full();
    let source = fresh.lock().source.clone();
    drop(fresh);
    list.replace(source, Arc::into_inner(users).unwrap());
    list.file_changed(&read(&old)).unwrap();
    assert_eq!(names(&list, &["bob", "jill"]), [false, true]);
}

#[tokio::test]
async fn it_conforms() {
    let pool = Arc::new(HashPool::start(2).unwrap());
    let users = serde_json::json!([
        {"username": "bob", "password": SECRET},
        {"username": "ünï", "password": SECRET}
    ]);
    crate::conformance::Fixture {
        authenticator: crate::testing::userlist(users, pool),
        provider: PROVIDER,
        right: vec![
            (words("bob", "secret"), "up=bob"),
            (words("ünï", "secret"), "up=ünï"),
        ],
        wrong: vec![words("bob", "wrong"), words("ünï", "Secret")],
        unknown: vec![words("Bob", "secret"), words("eve", "secret")],
    }
    .check()
    .await;
}
