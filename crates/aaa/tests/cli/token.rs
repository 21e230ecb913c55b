//! `aaa token`: tokens are what verifiers, ours and others, take for good.

use aaa_core::claims::ClientClaims;
use aaa_core::key::VerifyingKey;
use aaa_core::token::{Rules, TokenError, Verifier, unverified};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::support::Home;

/// A home with the keys of an organization.
fn organization() -> Home {
    let home = Home::new();
    for name in ["issuer", "login", "signer", "user"] {
        let (seed, public) = (format!("{name}.seed"), format!("{name}.public"));
        home.aaa(&["keys", "generate", "--seed", &seed, "--public", &public])
            .ends(0);
    }
    home
}

fn verifier(home: &Home, name: &str) -> Verifier {
    Verifier::new(vec![
        VerifyingKey::parse(home.read(name).as_bytes()).unwrap(),
    ])
}

fn claims(token: &str) -> Value {
    unverified(token.trim()).unwrap()
}

fn now() -> Timestamp {
    use aaa_core::clock::{Clock as _, SystemClock};
    SystemClock.now()
}

fn chain_issuer(home: &Home) {
    home.aaa(&[
        "token",
        "issue",
        "chain-issuer",
        "--issuer-seed",
        "issuer.seed",
        "--public-key",
        "login.public",
        "--output",
        "login.jwt",
    ])
    .ends(0)
    .without_data()
    .says("token of choria=aaa-login written to login.jwt, expires in");
    assert_eq!(home.mode("login.jwt"), 0o600);
}

#[test]
fn a_chain_from_the_organization_issuer_to_a_client() {
    let home = organization();
    chain_issuer(&home);
    let issuer = claims(&home.read("login.jwt"));
    let token = home
        .aaa(&[
            "token",
            "issue",
            "client",
            "up=alice",
            "--signing-key",
            "login.seed",
            "--chain-token",
            "login.jwt",
            "--public-key",
            "user.public",
            "--agent",
            "rpcutil.*,puppet.status",
            "--property",
            "team=web",
        ])
        .ends(0)
        .stdout;
    let (token, read) = (token.trim(), claims(&token));
    let verified = verifier(&home, "issuer.public")
        .authenticate(token)
        .unwrap();
    let rules = Rules {
        max_validity: std::time::Duration::from_hours(1),
    };
    assert_eq!(
        verified.valid_at(now(), Some(rules)).unwrap().callerid,
        "up=alice"
    );
    assert_eq!(
        read["iss"],
        json!(format!(
            "C-{}.{}",
            issuer["jti"].as_str().unwrap(),
            home.read("login.public")
        ))
    );
    assert_eq!(read["issexp"], issuer["exp"]);
    assert!(
        read["tcs"]
            .as_str()
            .unwrap()
            .starts_with(issuer["tcs"].as_str().unwrap())
    );
    assert_eq!(read["agents"], json!(["rpcutil.*", "puppet.status"]));
    assert_eq!(read["user_properties"], json!({"team": "web"}));
    assert_eq!(read["permissions"], json!({"fleet_management": true}));
    assert_eq!(read["public_key"], json!(home.read("user.public")));
    home.write("alice.jwt", token);
    let run = home
        .aaa(&["token", "verify", "--issuer", "issuer.public", "alice.jwt"])
        .ends(0);
    assert!(
        run.stdout.starts_with("verified      with issuer.public\n"),
        "{}",
        run.stdout
    );
    home.aaa(&["token", "verify", "--issuer", "login.public", "alice.jwt"])
        .ends(1)
        .without_data()
        .says("aaa: the token is refused: its chain of trust is broken: the organization issuer does not vouch for the issuer");
}

#[test]
fn the_claims_are_those_of_the_stock_tools() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/tokens.json")).unwrap();
    let names = |claims: &Value| {
        let mut names: Vec<_> = claims.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    let vector = |name: &str| {
        let cases = vectors["cases"].as_array().unwrap();
        names(&cases.iter().find(|case| case["name"] == name).unwrap()["claims"])
    };
    let home = organization();
    chain_issuer(&home);
    let client = |arguments: &[&str]| {
        let common = [
            "token",
            "issue",
            "client",
            "up=alice",
            "--agent",
            "rpcutil.*",
            "--public-key",
            "user.public",
        ];
        names(&claims(
            &home.aaa(&[&common, arguments].concat()).ends(0).stdout,
        ))
    };
    assert_eq!(
        client(&["--signing-key", "login.seed", "--chain-token", "login.jwt"]),
        vector("chain valid")
    );
    assert_eq!(
        client(&["--signing-key", "login.seed"]),
        vector("eddsa valid")
    );
    // A chain issuer's token has what lets its holder issue: the organization issuer's signature over its id and key.
    let mut issuer = vector("org issuer signs client");
    issuer.retain(|name| name != "agents");
    assert_eq!(names(&claims(&home.read("login.jwt"))), issuer);
}

#[test]
fn only_chain_issuers_can_issue() {
    let home = organization();
    let kinds: [&[&str]; 3] = [
        &["client", "up=user", "--public-key", "user.public"],
        &["delegator", "--public-key", "user.public"],
        &["server", "aaa.example.net", "--public-key", "user.public"],
    ];
    for kind in kinds {
        let token = home
            .aaa(&[&["token", "issue"], kind, &["--issuer-seed", "issuer.seed"]].concat())
            .ends(0)
            .stdout;
        let read = claims(&token);
        assert_eq!(read.get("tcs"), None, "{kind:?}");
        assert_eq!(
            read["iss"],
            json!(format!("I-{}", home.read("issuer.public")))
        );
        home.write("any.jwt", token.trim());
        home.aaa(&["token", "verify", "--issuer", "issuer.public", "any.jwt"])
            .ends(0);
        home.aaa(&[
            "token",
            "issue",
            "client",
            "up=root",
            "--public-key",
            "user.public",
            "--signing-key",
            "user.seed",
            "--chain-token",
            "any.jwt",
        ])
        .ends(64)
        .without_data()
        .says("any.jwt: ");
    }
}

#[test]
fn delegators_and_servers_have_their_rights() {
    let home = organization();
    let delegator = home
        .aaa(&[
            "token",
            "issue",
            "delegator",
            "--issuer-seed",
            "issuer.seed",
            "--public-key",
            "signer.public",
        ])
        .ends(0)
        .stdout;
    assert_eq!(
        claims(&delegator)["permissions"],
        json!({"authentication_delegator": true})
    );
    let server = home
        .aaa(&[
            "token",
            "issue",
            "server",
            "aaa.example.net",
            "--issuer-seed",
            "issuer.seed",
            "--public-key",
            "signer.public",
            "--collective",
            "choria,dev",
            "--permission",
            "service_host,submission",
        ])
        .ends(0)
        .stdout;
    let verified = verifier(&home, "issuer.public")
        .authenticate_server(server.trim())
        .unwrap();
    let verified = verified.valid_at(now(), None).unwrap();
    assert_eq!(
        (&*verified.identity, &*verified.ou),
        ("aaa.example.net", "choria")
    );
    assert_eq!(verified.collectives, ["choria", "dev"]);
    assert_eq!(
        verified.permissions.unwrap().given(),
        ["submission", "service_host"]
    );
    home.aaa(&[
        "token",
        "issue",
        "server",
        "x",
        "--issuer-seed",
        "issuer.seed",
        "--public-key",
        "signer.public",
        "--permission",
        "governor",
    ])
    .ends(64)
    .says("needs the streams permission too");
}

#[test]
fn an_rsa_issuer_and_a_token_that_is_not_bound() {
    let home = Home::new();
    home.aaa(&[
        "keys",
        "generate",
        "--rsa",
        "--seed",
        "login.pem",
        "--public",
        "login.public",
    ])
    .ends(0);
    let run = home
        .aaa(&[
            "token",
            "issue",
            "client",
            "up=bob",
            "--signing-key",
            "login.pem",
            "--issuer-name",
            "Site",
            "--validity",
            "90m",
            "--permission",
            "signed_fleet_management,service",
            "--json",
        ])
        .ends(0)
        .says("works for whoever has it");
    let made = run.json();
    assert_eq!(made["claims"]["iss"], "Site");
    assert_eq!(
        made["claims"]["permissions"],
        json!({"fleet_management": true, "signed_fleet_management": true, "service": true})
    );
    let token = made["token"].as_str().unwrap();
    let verified = verifier(&home, "login.public").authenticate(token).unwrap();
    assert_eq!(verified.public_key(), "");
    let short = Rules {
        max_validity: std::time::Duration::from_secs(1),
    };
    assert!(
        verified.valid_at(now(), Some(short)).is_ok(),
        "a program's token may live long"
    );
    let end: ClientClaims = unverified(token).unwrap();
    assert_eq!(
        end.standard.exp.unwrap() - end.standard.iat.unwrap(),
        90 * 60
    );
}

#[test]
fn a_view_says_that_nothing_is_verified() {
    let home = organization();
    home.write("p.rego", "# frontend\npackage io.choria.aaasvc\n");
    let token = home
        .aaa(&[
            "token",
            "issue",
            "client",
            "up=\u{1b}[2Jalice",
            "--signing-key",
            "login.seed",
            "--public-key",
            "user.public",
            "--opa-policy",
            "p.rego",
            "--permission",
            "none",
        ])
        .ends(0)
        .stdout;
    let run = home.aaa_with(&["token", "view"], &token).ends(0);
    assert!(run.stdout.starts_with("not verified  "), "{}", run.stdout);
    for line in [
        "caller        up= [2Jalice\n",
        "may           policy \"frontend\" (opa, 2 lines)\n",
        "broker        none\n",
        "issued by     Choria AAA\n",
        "policy        | package io.choria.aaasvc\n",
    ] {
        assert!(
            run.stdout.contains(line),
            "{line:?} is not in {}",
            run.stdout
        );
    }
    let json = home
        .aaa_with(&["token", "view", "--json", "-"], &token)
        .ends(0)
        .json();
    assert_eq!(json["verified"], false);
    assert_eq!(json["header"], json!({"typ": "JWT", "alg": "EdDSA"}));
    assert_eq!(json["claims"]["callerid"], "up=\u{1b}[2Jalice");
}

#[test]
fn what_is_no_good_token_is_refused_with_its_reason() {
    let home = organization();
    let ended = {
        use aaa_core::key::{Ed25519Key, SigningKey};
        use aaa_core::token::{Grant, Minter};
        let key = Ed25519Key::from_seed_hex(&home.read("login.seed")).unwrap();
        let grant = Grant {
            caller: "up=alice".into(),
            ..Grant::default()
        };
        let then = Timestamp::from_second(1_700_000_000).unwrap();
        Minter::named(SigningKey::Ed25519(key), "x")
            .client(grant, then)
            .unwrap()
    };
    let verify = ["token", "verify", "--issuer", "login.public", "-"];
    home.aaa_with(&verify, &ended)
        .ends(1)
        .without_data()
        .says(&format!("refused: {}", TokenError::Expired));
    let altered = format!("{ended}x");
    home.aaa_with(&verify, altered).ends(1).says("refused: ");
    home.aaa_with(&verify, "")
        .ends(1)
        .says("aaa: it is no token: it does not have three parts");
    home.aaa_with(&verify, "a.b.c")
        .ends(1)
        .says("aaa: it is no token: ");
    home.aaa_with(&["token", "verify", "--issuer", "nowhere", "-"], &ended)
        .ends(64)
        .says("aaa: cannot read nowhere: no such file or directory");
    home.aaa_with(
        &[
            "token",
            "verify",
            "--issuer",
            "login.seed",
            "--issuer",
            "issuer.public",
            "-",
        ],
        &ended,
    )
    .ends(1);
}

#[test]
fn wrong_files_are_named_with_what_is_wanted() {
    let home = organization();
    home.write("short.seed", &"a".repeat(63));
    home.aaa(&[
        "token",
        "issue",
        "client",
        "up=a",
        "--issuer-seed",
        "short.seed",
        "--public-key",
        "user.public",
    ])
    .ends(64)
    .says("aaa: short.seed: 63 characters; a seed is 64 hexadecimal characters");
    home.aaa(&[
        "token",
        "issue",
        "client",
        "up=a",
        "--signing-key",
        "login.seed",
        "--public-key",
        "xyz",
    ])
    .ends(64)
    .says("cannot read xyz");
    home.aaa(&[
        "token",
        "issue",
        "client",
        "alice",
        "--signing-key",
        "login.seed",
        "--public-key",
        "user.public",
    ])
    .ends(64)
    .says("a caller is written <provider>=<name>");
    home.aaa(&[
        "token",
        "issue",
        "client",
        "up=a",
        "--signing-key",
        "login.seed",
        "--validity",
        "1 day",
    ])
    .ends(64)
    .says("is not a duration");
    chain_issuer(&home);
    home.aaa(&[
        "token",
        "issue",
        "client",
        "up=a",
        "--signing-key",
        "user.seed",
        "--chain-token",
        "login.jwt",
        "--public-key",
        "user.public",
    ])
    .ends(64)
    .says("login.jwt: ");
}
