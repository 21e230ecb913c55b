//! `aaa login --certificate`, with certificates made by `openssl`.

use aaa_testing::pki::{Authority, Issued};
use serde_json::json;

use super::support::{Home, LOGIN, Run, Services};

/// Development services that ask for certificates of an authority, and two that it issued.
fn start(home: &Home, shown: &str) -> (Services, Issued, Issued) {
    drop(Services::start(home));
    let authority = Authority::new(&home.path(""), "ca").unwrap();
    let mut config: serde_json::Value =
        serde_json::from_str(&home.read("site/config.json")).unwrap();
    let userlist = config["userlist_authenticator"].clone();
    config["tls_ca"] = json!(authority.path());
    config["tls_client_certificate"] = json!(shown);
    config["authenticator"] = json!(["certificate", "userlist"]);
    config["certificate_authenticator"] = json!({
        "signing_key": userlist["signing_key"],
        "signing_token": userlist["signing_token"],
        "validity": userlist["validity"],
        "rights": [{"certnames": "bob.mcollective", "acls": ["puppet.*"]}],
    });
    home.write("site/config.json", &config.to_string());
    (
        Services::start(home),
        authority.client("bob.mcollective").unwrap(),
        authority.client("jill.mcollective").unwrap(),
    )
}

fn log_in(home: &Home, arguments: &[&str]) -> Run {
    home.aaa(&[&["login", "--config", "site/client.conf"], arguments].concat())
}

fn files(issued: &Issued) -> [String; 2] {
    ["crt", "key"].map(|end| issued.path.with_extension(end).display().to_string())
}

#[test]
fn the_certificate_says_who_it_is() {
    let home = Home::new();
    let (_services, bob, jill) = start(&home, "optional");
    let [certificate, key] = files(&bob);
    let (certificate, key) = (certificate.as_str(), key.as_str());
    log_in(&home, &["--certificate", certificate, "--key", key])
        .ends(0)
        .without_data()
        .says("✔ Logged in as choria=bob.mcollective until ");
    // Both in one file.
    let both = home.write("bob.pem", &format!("{}{}", bob.key, bob.certificate));
    log_in(&home, &["--json", "--certificate", both.to_str().unwrap()]).ends(0);
    // The one of the configuration.
    log_in(&home, &["--certificate"])
        .ends(64)
        .says("there is no certificate to log in with: set plugin.security.file.certificate");
    let config = home.read("site/client.conf");
    let named = format!(
        "{config}\nplugin.security.file.certificate = {certificate}\nplugin.security.file.key = {key}\n"
    );
    home.write("site/client.conf", &named);
    let run = log_in(&home, &["--certificate", "--json"]).ends(0);
    assert_eq!(run.json()["caller"], "choria=bob.mcollective");
    // Who gives a password is who it says, whatever the configuration names.
    home.aaa(&LOGIN).ends(0).says("Logged in as up=alice");

    let [certificate, key] = files(&jill);
    log_in(&home, &["--certificate", &certificate, "--key", &key])
        .ends(1)
        .says("the name of your certificate has no rights here");
    log_in(&home, &["--certificate", &certificate, "--key", "nowhere"])
        .ends(64)
        .says("cannot read nowhere");
    log_in(&home, &["--certificate", "--username", "bob"]).ends(64);
}

#[test]
fn where_certificates_are_required_that_of_the_configuration_is_shown_beside_a_password() {
    let home = Home::new();
    let (_services, bob, _) = start(&home, "required");
    home.aaa(&LOGIN).ends(1);
    let [certificate, key] = files(&bob);
    let config = home.read("site/client.conf");
    let named = format!(
        "{config}\nplugin.security.file.certificate = {certificate}\nplugin.security.file.key = {key}\n"
    );
    home.write("site/client.conf", &named);
    home.aaa(&LOGIN).ends(0).says("Logged in as up=alice");
    home.sign("site/client.conf", "status").ends(0);
}
