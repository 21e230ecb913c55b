//! `aaa login`, `aaa whoami` and `aaa logout`, against the real services over HTTPS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use aaa_core::claims::ClientClaims;
use aaa_core::key::{Ed25519Key, SigningKey};
use aaa_core::token::{Grant, Minter, unverified};
use jiff::Timestamp;

use super::support::{AAA, Home, LOGIN, Services, run};

const CONFIG: [&str; 2] = ["--config", "site/client.conf"];

fn with_config<'a>(command: &[&'a str]) -> Vec<&'a str> {
    [command, &CONFIG].concat()
}

/// Changes one setting of the client.
fn set(home: &Home, key: &str, value: &str) {
    let lines = home.read("site/client.conf");
    let mut kept: Vec<_> = lines
        .lines()
        .filter(|line| !line.starts_with(key))
        .collect();
    let setting = format!("{key} = {value}\n");
    kept.push(&setting);
    home.write("site/client.conf", &kept.join("\n"));
}

#[test]
fn in_and_out() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&with_config(&["whoami"]))
        .ends(4)
        .without_data()
        .says("not logged in")
        .says("aaa login");
    let run = home.aaa(&LOGIN).ends(0).without_data();
    let told = run.stderr.trim();
    assert!(
        told.starts_with("✔ Logged in as up=alice until ")
            && told.ends_with("Token in ~/site/alice.jwt"),
        "{told}"
    );
    assert_eq!(
        (home.mode("site/alice.jwt"), home.mode("site/alice.key")),
        (0o600, 0o600)
    );
    let claims: ClientClaims = unverified(&home.read("site/alice.jwt")).unwrap();
    let first = Ed25519Key::from_seed_hex(&home.read("site/alice.key")).unwrap();
    assert_eq!(claims.standard.public_key, first.public().to_hex());

    let who = home.aaa(&with_config(&["whoami"])).ends(0).stdout;
    assert!(
        who.starts_with("up=alice   organization choria   expires in "),
        "{who}"
    );
    assert!(
        who.contains("issued by login chain ") && who.contains("policy \"development\" (opa, "),
        "{who}"
    );
    assert!(
        who.ends_with("broker: fleet_management, signed_fleet_management\n"),
        "{who}"
    );
    let who = home.aaa(&with_config(&["whoami", "--json"])).ends(0).json();
    assert_eq!(
        (who["caller"].as_str(), who["expired"].as_bool()),
        (Some("up=alice"), Some(false))
    );
    assert_eq!(who["issued_by"]["kind"], "chain");

    // Each login has a key of its own.
    home.aaa(&LOGIN).ends(0);
    assert_ne!(
        home.read("site/alice.key"),
        first.seed_hex().expose().as_str()
    );

    home.aaa(&with_config(&["logout"]))
        .ends(0)
        .without_data()
        .says("removed ~/site/alice.jwt and ~/site/alice.key");
    assert!(!home.path("site/alice.jwt").exists() && !home.path("site/alice.key").exists());
    home.aaa(&with_config(&["logout"]))
        .ends(0)
        .says("Nobody is logged in");
    home.aaa(&with_config(&["whoami"])).ends(4);
    drop(services);
}

/// The stock client runs it from the path, with the arguments that it was given itself.
#[test]
fn called_choria_login_it_logs_in() {
    let home = Home::new();
    let _services = Services::start(&home);
    let program = home.path("choria-login");
    std::os::unix::fs::symlink(AAA, &program).unwrap();
    let whom = [
        "--username",
        "alice",
        "--password-file",
        "site/alice.password",
    ];
    for first in [
        &["login"][..],
        &[],
        &["login", "--debug"],
        &["--debug", "login"],
    ] {
        let token = home.path("site/alice.jwt");
        let _none_yet = fs::remove_file(&token);
        let command = home.command(&[]);
        let mut called = std::process::Command::new(&program);
        called
            .args([first, &CONFIG, &whom].concat())
            .current_dir(command.get_current_dir().unwrap())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
        run(&mut called, b"").ends(0);
        assert!(token.exists());
    }
}

#[test]
fn a_wrong_password_changes_nothing() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&LOGIN).ends(0);
    let (token, key) = (home.read("site/alice.jwt"), home.read("site/alice.key"));
    let wrong = [
        "login",
        "--config",
        "site/client.conf",
        "--username",
        "alice",
        "--password-file",
        "-",
    ];
    // A refusal ends it: the next service is not asked.
    set(
        &home,
        "plugin.login.aaasvc.login.url",
        &format!(
            "{}/choria/v1/login, https://127.0.0.1:1/choria/v1/login",
            services.url
        ),
    );
    let run = home.aaa_with(&wrong, "hunter2\n").ends(1).without_data();
    assert!(
        run.stderr.starts_with("aaa: Login failed"),
        "{}",
        run.stderr
    );
    assert!(
        !run.stderr.contains("127.0.0.1:1/") && !run.stderr.contains("hunter2"),
        "{}",
        run.stderr
    );
    assert_eq!(
        (home.read("site/alice.jwt"), home.read("site/alice.key")),
        (token, key)
    );
}

#[test]
fn the_next_service_is_tried_when_one_is_out() {
    let home = Home::new();
    let services = Services::start(&home);
    let url = format!(
        "https://127.0.0.1:1/choria/v1/login, {}/choria/v1/login",
        services.url
    );
    set(&home, "plugin.login.aaasvc.login.url", &url);
    home.aaa(&LOGIN)
        .ends(0)
        .says("aaa: cannot reach https://127.0.0.1:1/choria/v1/login: ")
        .says("; trying the next\n")
        .says("Logged in as up=alice");
    set(
        &home,
        "plugin.login.aaasvc.login.url",
        "https://127.0.0.1:1/choria/v1/login",
    );
    home.aaa(&LOGIN)
        .ends(1)
        .says("check the URL in the configuration");
}

#[test]
fn an_unknown_service_is_not_told_the_password() {
    let home = Home::new();
    let services = Services::start(&home);
    set(&home, "plugin.security.choria.ca", "");
    home.aaa(&LOGIN)
        .ends(1)
        .without_data()
        .says("no secure connection to ")
        .says("--ca FILE");
    assert!(!home.path("site/alice.jwt").exists());
    home.aaa(&[&LOGIN[..], &["--ca", "site/ca.pem"]].concat())
        .ends(0);
    home.aaa(&[&LOGIN[..], &["--insecure"]].concat())
        .ends(0)
        .says("aaa: --insecure: it is not checked who answers");
    home.aaa(&[&LOGIN[..], &["--ca", "site/tls.key"]].concat())
        .ends(64)
        .says("site/tls.key: ");
    home.aaa(
        &[
            &LOGIN[..],
            &["--url", "http://login.example.net/choria/v1/login"],
        ]
        .concat(),
    )
    .ends(64)
    .says("in the clear");
    drop(services);
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    let home = Home::new();
    home.write(
        ".choriarc",
        "plugin.login.aaasvc.login.url = https://127.0.0.1:1/choria/v1/login\n",
    );
    let expected = "aaa: login needs a terminal, or --username with --password-file FILE (or - for standard input)\n";
    for arguments in [&["login"][..], &["login", "--username", "bob"]] {
        let run = home.aaa(arguments).ends(64).without_data();
        assert_eq!(run.stderr, expected);
    }
    home.aaa(&["login", "--password-file", "-"])
        .ends(64)
        .says("--password-file needs --username");
    home.aaa(&["login", "--username", "bob", "--password-file", "-"])
        .ends(64)
        .says("the password is empty");
}

#[test]
fn a_configuration_that_does_not_do_is_named() {
    let home = Home::new();
    home.aaa(&["login", "--config", "none.conf"])
        .ends(64)
        .says("cannot read none.conf");
    home.write(".choriarc", "# empty\n");
    home.aaa(&["login"])
        .ends(64)
        .says("no login service is known: set plugin.login.aaasvc.login.url in ~/.choriarc");
    home.write(".choriarc", "plugin.security.choria.token_file = ~/x.key\n");
    home.aaa(&["whoami"]).ends(64).says("would both be");
    home.write("bytes.conf", "");
    fs::write(home.path("bytes.conf"), b"a = \xff\n").unwrap();
    home.aaa(&["whoami", "--config", "bytes.conf"])
        .ends(64)
        .says("bytes.conf is not text");
}

#[test]
fn without_a_place_for_the_token_it_goes_to_the_usual_one() {
    let home = Home::new();
    let services = Services::start(&home);
    home.write(
        ".choriarc",
        &format!(
            "plugin.login.aaasvc.login.url = {}/choria/v1/login\n",
            services.url
        ),
    );
    let run = home
        .aaa(&[
            "login",
            "--username",
            "alice",
            "--password-file",
            "site/alice.password",
            "--ca",
            "site/ca.pem",
            "--json",
        ])
        .ends(0)
        .says("the stock client will not find it");
    assert_eq!(
        run.json()["token_file"],
        home.path(".choria/client.jwt").to_str().unwrap()
    );
    assert_eq!(
        (home.mode(".choria"), home.mode(".choria/client.key")),
        (0o700, 0o600)
    );
    home.aaa(&["whoami"]).ends(0);
}

#[test]
fn a_shell_has_the_token() {
    let home = Home::new();
    let services = Services::start(&home);
    let shell = home.write(
        "shell",
        "#!/bin/sh\necho \"shell: $CHORIA_TOKEN\"\nexit 7\n",
    );
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = home.command(&[&LOGIN[..], &["--shell"]].concat());
    let run = run(command.env("SHELL", &shell), b"").ends(7);
    assert_eq!(
        run.stdout,
        format!("shell: {}\n", home.read("site/alice.jwt"))
    );
    let mut command = home.command(&[&LOGIN[..], &["--shell"]].concat());
    super::support::run(command.env("SHELL", "/no/shell"), b"")
        .ends(1)
        .says("check SHELL");
    drop(services);
}

/// A token that somebody issued at this time.
fn token(caller: &str, at: i64, key: Option<&Ed25519Key>) -> String {
    let issuer = SigningKey::Ed25519(Ed25519Key::generate().unwrap());
    let grant = Grant {
        caller: caller.to_owned(),
        public_key: key.map(Ed25519Key::public),
        validity: std::time::Duration::from_hours(24 * 365 * 20),
        ..Grant::default()
    };
    let then = Timestamp::from_second(at).unwrap();
    Minter::named(issuer, "Choria Userlist Authenticator")
        .client(grant, then)
        .unwrap()
}

#[test]
fn logins_that_are_no_good_any_more() {
    let home = Home::new();
    home.write(".choriarc", "plugin.security.choria.token_file = ~/t.jwt\n");
    let key = Ed25519Key::generate().unwrap();
    let good = token("up=bob", 1_790_000_000, Some(&key));
    home.write("t.jwt", &format!("{good}\n"));
    let needed = |text: &str| {
        home.aaa(&["whoami"]).ends(4).says(text).says("aaa login");
    };
    needed("~/t.key is missing");
    home.write("t.key", "not a key");
    needed("~/t.key holds no key");
    home.write("t.key", Ed25519Key::generate().unwrap().seed_hex().expose());
    needed("~/t.key holds another key");
    home.write("t.key", key.seed_hex().expose());
    let run = home.aaa(&["whoami"]).ends(0);
    assert!(
        run.stdout
            .contains("issued by Choria Userlist Authenticator"),
        "{}",
        run.stdout
    );
    home.write("t.jwt", &token("up=bob", 1_000_000_000, Some(&key)));
    needed("the login of up=bob ended at ");
    let expired = home.aaa(&["whoami", "--json"]).ends(4).json();
    assert_eq!(expired["expired"], true);
    home.write("t.jwt", "garbage");
    needed("~/t.jwt holds no token that can be used");
    // A token that is bound to no key needs none.
    fs::remove_file(home.path("t.key")).unwrap();
    home.write("t.jwt", &token("up=bob", 1_790_000_000, None));
    home.aaa(&["whoami"]).ends(0);
}
