//! `aaa serve` and `aaa config check`.

use std::fs;

use serde_json::Value;

use super::support::{Home, LOGIN, Services};

#[test]
fn development_services_from_nothing_and_again() {
    let home = Home::new();
    let mut services = Services::start(&home);
    assert_eq!(
        services.said[0],
        "issuer, login and signer keys made in site"
    );
    for secret in [
        "issuer.seed",
        "login.seed",
        "login.jwt",
        "signer.seed",
        "signer.jwt",
        "tls.key",
        "alice.password",
        "users.json",
    ] {
        assert_eq!(home.mode(&format!("site/{secret}")), 0o600, "{secret}");
    }
    // What it says to type works.
    let typed: Vec<_> = services
        .said
        .iter()
        .filter_map(|line| line.strip_prefix("  aaa "))
        .collect();
    assert_eq!(typed.len(), 5);
    for (line, code) in typed.iter().zip([0, 0, 0, 1, 0]) {
        let line = line.split(" | ").next().unwrap();
        home.aaa(&line.split(' ').collect::<Vec<_>>()).ends(code);
    }
    assert_eq!(services.stop(), Some(0));
    let (key, password) = (
        home.read("site/issuer.seed"),
        home.read("site/alice.password"),
    );
    home.write(
        "site/client.conf",
        &format!("{}# mine\n", home.read("site/client.conf")),
    );

    let mut again = Services::start(&home);
    assert_eq!(again.said[0], "issuer, login and signer keys found in site");
    assert_eq!(
        (
            home.read("site/issuer.seed"),
            home.read("site/alice.password")
        ),
        (key, password)
    );
    let config = home.read("site/client.conf");
    assert!(
        config.ends_with("# mine\n") && config.contains(&again.url),
        "{config}"
    );
    home.aaa(&LOGIN).ends(0);
    assert_eq!(again.stop(), Some(0));
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let home = Home::new();
    home.write("mine/letter.txt", "dear");
    home.aaa(&["serve", "--dev", "--dir", "mine"])
        .ends(64)
        .says("mine holds other files and no config.json: choose another directory with --dir");
    assert_eq!(fs::read_dir(home.path("mine")).unwrap().count(), 1);
}

#[test]
fn a_configuration_is_checked_without_starting() {
    let home = Home::new();
    drop(Services::start(&home));
    let config = "site/config.json";
    let text = home.read(config);
    let run = home.aaa(&["config", "check", config]).ends(0);
    assert_eq!(run.stdout, "site/config.json: ok\n");
    let audit = home.path("site/audit.log");
    fs::remove_file(&audit).unwrap();
    home.aaa(&["serve", "--config", config, "--check-config"])
        .ends(0);
    assert!(
        !audit.exists(),
        "whoever checks may not be who runs the service"
    );

    home.write(
        "bad.json",
        &text
            .replace("max_validity", "max_validty")
            .replace("users.json", "users.missing"),
    );
    let run = home
        .aaa(&["config", "check", "bad.json"])
        .ends(64)
        .without_data();
    assert!(run.stderr.starts_with("bad.json: "), "{}", run.stderr);
    assert!(
        run.stderr.contains("did you mean max_validity?"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("users.missing"), "{}", run.stderr);
    home.aaa(&["serve", "--config", "bad.json"])
        .ends(64)
        .says("nothing was started");
    home.write("empty.json", "{\"port\": 1}");
    home.aaa(&["config", "check", "empty.json"])
        .ends(64)
        .says("set authenticator for a login service, signer for a signer");
    home.aaa(&["config", "check", "nowhere.json"]).ends(64);
}

#[test]
fn one_of_the_two_services_alone_will_do() {
    let home = Home::new();
    drop(Services::start(&home));
    let whole: Value = serde_json::from_str(&home.read("site/config.json")).unwrap();
    for (name, gone) in [("login", "signer"), ("signer", "authenticator")] {
        let mut part = whole.clone();
        part.as_object_mut().unwrap().remove(gone);
        home.write(&format!("{name}.json"), &part.to_string());
        home.aaa(&["config", "check", &format!("{name}.json")])
            .ends(0);
    }
}

#[test]
fn development_services_that_cannot_start_say_why() {
    let home = Home::new();
    drop(Services::start(&home));
    home.write("site/login.seed", "broken");
    home.aaa(&["serve", "--dev", "--dir", "site", "--listen", "127.0.0.1:0"])
        .ends(64)
        .says("signing_key")
        .says("begin anew with another --dir than site");
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let home = Home::new();
    drop(Services::start(&home));
    let mut config: Value = serde_json::from_str(&home.read("site/config.json")).unwrap();
    home.write("long.seed", &"a".repeat(65));
    home.aaa(&["keys", "generate", "--rsa", "--seed", "other.pem"])
        .ends(0);
    let signer = config["basicjwt_signer"].as_object_mut().unwrap();
    let validity = signer.remove("max_validity").unwrap();
    signer.insert("max_validty".to_owned(), validity);
    signer.insert("signing_seed".to_owned(), "long.seed".into());
    config["tls_key"] = "other.pem".into();
    home.write("signer.json", &config.to_string());
    let key = regex::Regex::new(r"\w+ \d+ …[0-9a-f]{4}").unwrap();
    for command in [&["serve", "--config"][..], &["config", "check"]] {
        let command = [command, &["signer.json"]].concat();
        let run = home.aaa(&command).ends(64).without_data();
        let told = key.replace_all(&run.stderr, "KEY");
        let told = told.strip_suffix("nothing was started\n").unwrap_or(&told);
        assert_eq!(
            told,
            "signer.json: 3 problems\n  \
             basicjwt_signer.max_validty    unknown; did you mean max_validity?\n  \
             basicjwt_signer.signing_seed   long.seed: 65 characters; a seed is 64 hexadecimal characters (make one: aaa keys generate)\n  \
             tls_key                        does not belong to tls_certificate (certificate: KEY, key: KEY)\n"
        );
    }
}
