//! `aaa crypt`.

use aaa_login::hash::{Kind, PasswordHash};

use super::support::Home;

#[test]
fn one_hash_for_each_line() {
    let home = Home::new();
    let run = home
        .aaa_with(&["crypt"], "first\nwith space \r\nlast without end")
        .ends(0);
    let hashes: Vec<_> = run
        .stdout
        .lines()
        .map(|line| PasswordHash::parse(line).unwrap())
        .collect();
    assert_eq!(hashes.len(), 3);
    for (hash, password) in hashes
        .iter()
        .zip(["first", "with space ", "last without end"])
    {
        assert_eq!(hash.kind(), Kind::Bcrypt { cost: 12 });
        assert!(hash.verify(password.as_bytes()).unwrap(), "{password}");
        assert!(!hash.verify(b"other").unwrap());
    }
    assert_eq!(run.stderr, "");
}

#[test]
fn argon2id_when_asked() {
    let run = Home::new()
        .aaa_with(&["crypt", "--argon2id"], "s3cret\n")
        .ends(0);
    let hash = PasswordHash::parse(run.stdout.trim()).unwrap();
    assert!(run.stdout.starts_with("$argon2id$"), "{}", run.stdout);
    assert!(hash.verify(b"s3cret").unwrap());
}

#[test]
fn what_is_no_password_is_named_by_its_line() {
    let home = Home::new();
    let run = home
        .aaa_with(&["crypt", "--argon2id"], "good\n\nmore\n")
        .ends(1);
    assert_eq!(run.stdout.lines().count(), 1);
    assert_eq!(run.stderr, "aaa: line 2: the password is empty\n");
    home.aaa_with(&["crypt"], "x".repeat(73))
        .ends(1)
        .says("line 1: bcrypt reads 72 bytes");
    home.aaa_with(&["crypt"], "x".repeat(100_000))
        .ends(1)
        .says("line 1: the password is longer");
    home.aaa_with(&["crypt"], b"\xff\xfe\n")
        .ends(1)
        .says("line 1: the password is not UTF-8");
    home.aaa_with(&["crypt"], "").ends(0).without_data();
}
