//! `aaa keys generate`.

use aaa_core::key::{Ed25519Key, SigningKey, VerifyingKey};

use super::support::Home;

#[test]
fn a_pair_that_belongs_together() {
    let home = Home::new();
    let run = home
        .aaa(&[
            "keys",
            "generate",
            "--seed",
            "new/issuer.seed",
            "--public",
            "new/issuer.public",
        ])
        .ends(0);
    let key = Ed25519Key::from_seed_file(home.read("new/issuer.seed").as_bytes()).unwrap();
    assert_eq!(run.stdout, format!("{}\n", key.public().to_hex()));
    // The stock tools read files of 64 characters and no more.
    assert_eq!(home.read("new/issuer.public"), key.public().to_hex());
    assert_eq!(home.read("new/issuer.seed").len(), 64);
    assert_eq!(
        (home.mode("new/issuer.seed"), home.mode("new/issuer.public")),
        (0o600, 0o644)
    );
    assert_eq!(run.stderr, "");
}

#[test]
fn nothing_is_overwritten_unasked_and_no_half_is_left() {
    let home = Home::new();
    home.write("a.public", "mine");
    home.aaa(&[
        "keys", "generate", "--seed", "a.seed", "--public", "a.public",
    ])
    .ends(64)
    .without_data()
    .says("aaa: a.public exists already; --force replaces it");
    assert!(!home.path("a.seed").exists());
    assert_eq!(home.read("a.public"), "mine");
    home.aaa(&[
        "keys", "generate", "--seed", "a.seed", "--public", "a.public", "--force",
    ])
    .ends(0);
    assert_ne!(home.read("a.public"), "mine");
    home.aaa(&["keys", "generate", "--seed", "b", "--public", "b"])
        .ends(64)
        .says("the same file");
}

#[test]
fn rsa_keys_are_read_where_keys_are_read() {
    let home = Home::new();
    let run = home
        .aaa(&[
            "keys",
            "generate",
            "--rsa",
            "--key",
            "login.pem",
            "--public",
            "login.public.pem",
            "--json",
        ])
        .ends(0);
    let made = run.json();
    assert_eq!(
        (made["kind"].as_str(), made["public_file"].as_str()),
        (Some("rsa"), Some("login.public.pem"))
    );
    assert!(matches!(
        SigningKey::parse(home.read("login.pem").as_bytes()),
        Ok(SigningKey::Rsa(_))
    ));
    let public = VerifyingKey::parse(home.read("login.public.pem").as_bytes()).unwrap();
    assert_eq!(public.describe(), "RSA 2048");
    assert_eq!(home.mode("login.pem"), 0o600);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let home = Home::new();
    home.write("file", "");
    home.aaa(&["keys", "generate", "--seed", "file/x.seed"])
        .ends(1)
        .says("aaa: cannot make the directory file");
}
