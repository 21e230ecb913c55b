//! `aaa sign`, and `aaa verify` of what comes out of it.

use serde_json::{Value, json};

use super::support::{Home, LOGIN, Services};

const CONFIG: [&str; 2] = ["--config", "site/client.conf"];

fn sign<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["sign"], &CONFIG[..], arguments].concat()
}

fn verify<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["verify"], &CONFIG[..], arguments].concat()
}

/// The request inside a v2 secure request.
fn request(secure: &Value) -> Value {
    use base64::Engine as _;
    let text = secure["request"].as_str().unwrap();
    serde_json::from_slice(
        &base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap(),
    )
    .unwrap()
}

#[test]
fn a_signed_request_is_one_that_nodes_obey() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&sign(&["--agent", "puppet", "--action", "status"]))
        .ends(4)
        .without_data()
        .says("aaa login");
    home.aaa(&LOGIN).ends(0);
    let signed = home
        .aaa(&sign(&[
            "--agent",
            "puppet",
            "--action",
            "status",
            "--data",
            "a=b",
            "--data",
            "n:=3",
            "-F",
            "country=mt",
            "-C",
            "apache",
            "-I",
            "web1.example.net",
            "--ttl",
            "30",
        ]))
        .ends(0);
    assert_eq!(signed.stderr, "");
    let secure = signed.json();
    assert_eq!(
        secure["caller"].as_str().unwrap(),
        home.read("site/alice.jwt")
    );
    let inside = request(&secure);
    assert_eq!(
        (inside["caller"].as_str(), inside["ttl"].as_i64()),
        (Some("up=alice"), Some(30))
    );
    assert_eq!(
        inside["filter"],
        json!({
            "fact": [{"fact": "country", "operator": "==", "value": "mt"}], "cf_class": ["apache"], "agent": ["puppet"],
            "identity": ["web1.example.net"], "compound": [],
        })
    );
    // As the signer answers it, before the caller's token is in it.
    let mut answered = secure.clone();
    answered["caller"] = answered["signer"].clone();
    home.aaa_with(&verify(&[]), answered.to_string())
        .ends(1)
        .says("put your own into \"caller\"");
    let verdict = home.aaa_with(&verify(&[]), &signed.stdout).ends(0).stdout;
    assert!(
        verdict.starts_with("chain ok · delegator ok · caller up=alice · "),
        "{verdict}"
    );
    let verdict = home
        .aaa_with(&verify(&["--json", "-T", "choria"]), &signed.stdout)
        .ends(0)
        .json();
    assert_eq!(
        (verdict["agent"].as_str(), verdict["action"].as_str()),
        (Some("puppet"), Some("status"))
    );
    home.aaa_with(
        &["verify", "--issuer", "site/issuer.public"],
        &signed.stdout,
    )
    .ends(0);
    home.aaa_with(&["verify", "--issuer", "site/login.jwt"], &signed.stdout)
        .ends(64);

    home.aaa_with(&verify(&["-T", "other"]), &signed.stdout)
        .ends(1)
        .without_data()
        .says("aaa: a node would refuse it: it is for collective choria");
    home.aaa_with(&["verify"], &signed.stdout)
        .ends(64)
        .says("give --issuer KEY for v2");
    let discovery = home.aaa(&sign(&["--agent", "discovery"])).ends(0);
    home.aaa_with(&verify(&[]), &discovery.stdout).ends(0);
    drop(services);
}

#[test]
fn a_tampered_request_is_refused() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&LOGIN).ends(0);
    let secure = home
        .aaa(&sign(&["--agent", "rpcutil", "--action", "ping"]))
        .ends(0)
        .json();
    let tampered = |change: &dyn Fn(&mut Value)| {
        let mut secure = secure.clone();
        change(&mut secure);
        home.aaa_with(&verify(&[]), secure.to_string())
            .ends(1)
            .without_data()
            .stderr
    };
    let other = |secure: &mut Value| {
        use base64::Engine as _;
        let mut inside = request(secure);
        inside["caller"] = "up=root".into();
        secure["request"] = base64::engine::general_purpose::STANDARD
            .encode(inside.to_string())
            .into();
    };
    assert!(tampered(&other).contains("the signature was not made by the signer's key"));
    assert!(
        tampered(&|s| s["signer"] = s["caller"].clone())
            .contains("signer's token has no authentication_delegator")
    );
    assert!(tampered(&|s| s["caller"] = "x.y.z".into()).contains("the caller's token is refused"));
    assert!(tampered(&|s| s["protocol"] = "x".into()).contains("it is no secure request"));
    home.aaa_with(&verify(&[]), "nonsense")
        .ends(1)
        .says("it is no secure request");
    drop(services);
}

#[test]
fn a_refusal_says_what_is_missing() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&LOGIN).ends(0);
    let run = home
        .aaa(&sign(&["--agent", "puppet", "--action", "disable"]))
        .ends(1)
        .without_data();
    assert_eq!(
        run.stderr
            .matches("up=alice may not puppet.disable")
            .count(),
        1,
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.starts_with("aaa: Request denied: "),
        "{}",
        run.stderr
    );
    home.aaa(&sign(&[
        "--agent",
        "puppet",
        "--action",
        "disable",
        "-F",
        "country=mt",
    ]))
    .ends(0);
    drop(services);
}

#[test]
fn requests_are_read_as_they_are() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&LOGIN).ends(0);
    let signed = home
        .aaa(&sign(&["--agent", "rpcutil", "--action", "ping"]))
        .ends(0)
        .json();
    let mut inside = request(&signed);
    inside["new"] = json!([1.50, "\u{3c}"]);
    inside["caller"] = "up=somebody".into();
    home.write("request.json", &format!("{inside:#}\n"));
    let from_file = request(&home.aaa(&sign(&["request.json"])).ends(0).json());
    let from_stdin = request(
        &home
            .aaa_with(&sign(&["-"]), inside.to_string())
            .ends(0)
            .json(),
    );
    inside["caller"] = "up=alice".into();
    assert_eq!((&from_file, &from_stdin), (&inside, &inside));
    home.aaa_with(&sign(&["-"]), "{}")
        .ends(64)
        .says("this is no request that can be signed");
    home.aaa(&sign(&["nowhere.json"]))
        .ends(64)
        .says("cannot read nowhere.json");
    home.aaa(&sign(&["request.json", "--agent", "x"])).ends(64);
    home.aaa(&sign(&["--agent", "rpcutil"]))
        .ends(64)
        .says("--action is missing");
    home.aaa(&sign(&[
        "--agent", "a", "--action", "b", "--data", "x=1", "--data", "x=2",
    ]))
    .ends(64)
    .says("--data x is given twice");
    // These services sign v2 only.
    home.aaa(&sign(&["--agent", "rpcutil", "--action", "ping", "--v1"]))
        .ends(1)
        .without_data();
    drop(services);
}

#[test]
fn another_token_can_be_used() {
    let home = Home::new();
    let services = Services::start(&home);
    home.aaa(&[
        "keys",
        "generate",
        "--seed",
        "robot.key",
        "--public",
        "robot.public",
    ])
    .ends(0);
    home.aaa(&[
        "token",
        "issue",
        "client",
        "up=robot",
        "--issuer-seed",
        "site/issuer.seed",
        "--public-key",
        "robot.public",
        "--opa-policy",
        "site/policy.rego",
        "--output",
        "robot.jwt",
    ])
    .ends(0);
    let signed = home
        .aaa(&sign(&[
            "--token",
            "robot.jwt",
            "--agent",
            "rpcutil",
            "--action",
            "ping",
        ]))
        .ends(0);
    let verdict = home.aaa_with(&verify(&[]), &signed.stdout).ends(0).stdout;
    assert!(
        verdict.starts_with("issuer ok · delegator ok · caller up=robot · "),
        "{verdict}"
    );
    home.aaa(&sign(&[
        "--token",
        "robot.jwt",
        "--seed",
        "site/login.seed",
        "--agent",
        "rpcutil",
        "--action",
        "ping",
    ]))
    .ends(4)
    .says("holds another key");
    drop(services);
}
