//! What an operator sees of a signer's configuration: what starts, what does not, and why.

use std::time::Duration;

use aaa_core::key::{Ed25519Key, SigningKey};
use serde_json::{Value, json};

use crate::site::{Site, lines};

#[tokio::test]
async fn a_signer_starts_signs_and_keeps_the_record() {
    let site = Site::new();
    let running = site.start().await.unwrap();
    site.sign(&running, "status").await.unwrap();
    let refused = site.sign(&running, "disable").await.unwrap_err();
    assert!(
        refused.contains("up=bob may not puppet.disable"),
        "{refused}"
    );
    // What was answered is in the file already.
    let records = lines(&site.path("audit.log"));
    let actions: Vec<_> = records
        .iter()
        .map(|record| record["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["allow", "deny"]);
    assert!(
        records
            .iter()
            .all(|record| record["caller"] == "up=bob" && record["site"] == "london")
    );
    running.shutdown().await;
}

#[tokio::test]
async fn key_files_that_cannot_be_used_are_named_with_what_is_wanted() {
    let mut site = Site::new();
    site.write("long.seed", &"a".repeat(65));
    let foreign = Ed25519Key::generate().unwrap();
    site.secret("foreign.seed", foreign.seed_hex().expose());
    let plain = site.delegator(&foreign, |grant| grant.permissions = None);
    site.secret("plain.jwt", &plain);
    std::fs::create_dir(site.path("directory")).unwrap();
    for (setting, file, says) in [
        ("signing_seed", "absent", "DIR/absent: no such file"),
        (
            "signing_seed",
            "long.seed",
            "DIR/long.seed: 65 characters; a seed is 64 hexadecimal characters (make one: aaa keys generate)",
        ),
        (
            "signing_seed",
            "foreign.seed",
            "DIR/foreign.seed: is not the seed of the key that signing_token is bound to",
        ),
        ("signing_seed", "directory", "DIR/directory: is a directory"),
        (
            "signing_token",
            "plain.jwt",
            "DIR/plain.jwt: has no authentication_delegator permission",
        ),
        (
            "signing_token",
            "issuer.public",
            "DIR/issuer.public: it is no token: it does not have three parts",
        ),
        (
            "signing_certificate",
            "signer.jwt",
            "a public key is 64 hexadecimal characters",
        ),
        ("signing_certificate", "absent", "DIR/absent: no such file"),
    ] {
        let good = site.config["basicjwt_signer"][setting].clone();
        site.config["basicjwt_signer"][setting] = json!(site.path(file));
        let problems = site.problems().await;
        let line = problems
            .lines()
            .find(|line| line.contains(&format!("basicjwt_signer.{setting}")));
        assert!(
            line.unwrap_or_else(|| panic!("{problems}")).contains(says),
            "{problems}"
        );
        assert!(
            !problems.contains(foreign.seed_hex().expose()),
            "{problems}"
        );
        site.config["basicjwt_signer"][setting] = good;
    }
}

#[tokio::test]
async fn everything_wrong_is_said_at_once() {
    let mut site = Site::new();
    site.config["authorizer"] = json!("opaa");
    site.config["auditors"] = json!(["logfile", "syslog"]);
    site.config["logfile_auditor"]["mode"] = json!("rw");
    site.config["basicjwt_signer"]["signing_seed"] = json!(site.path("absent"));
    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.remove("max_validity");
    signer.insert("max_validty".into(), json!("2h"));
    signer.insert("max_request_ttl".into(), json!("1ms"));
    let problems = site.problems().await;
    for key in [
        "authorizer ",
        "auditors ",
        "logfile_auditor.mode ",
        "basicjwt_signer.max_validty ",
        "basicjwt_signer.signing_seed ",
        "basicjwt_signer.max_request_ttl ",
    ] {
        assert!(problems.contains(key), "{key} is not in:\n{problems}");
    }
    assert!(
        problems.contains("did you mean max_validity?"),
        "{problems}"
    );
    assert!(!problems.contains("required"), "{problems}");
}

#[tokio::test]
async fn a_signer_needs_something_to_sign_with() {
    let mut site = Site::new();
    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.remove("signing_token");
    signer.remove("signing_seed");
    let problems = site.problems().await;
    assert!(
        problems.contains("plugin.security.provider is file"),
        "{problems}"
    );

    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.insert("signing_token".into(), json!("x"));
    assert!(
        site.problems()
            .await
            .contains("basicjwt_signer.signing_seed")
    );
}

#[tokio::test]
async fn an_expired_delegator_does_not_start() {
    let mut site = Site::new();
    let key = Ed25519Key::generate().unwrap();
    let token = site.delegator(&key, |grant| grant.validity = Duration::ZERO);
    site.secret("old.seed", key.seed_hex().expose());
    site.secret("old.jwt", &token);
    site.config["basicjwt_signer"]["signing_seed"] = json!(site.path("old.seed"));
    site.config["basicjwt_signer"]["signing_token"] = json!(site.path("old.jwt"));
    assert!(
        site.problems()
            .await
            .contains("has expired; nodes refuse what it signs")
    );
}

#[tokio::test]
async fn an_audit_file_that_cannot_be_written_does_not_start() {
    let mut site = Site::new();
    site.config["logfile_auditor"]["logfile"] = json!(site.path("absent/audit.log"));
    let problems = site.problems().await;
    assert!(
        problems.contains("logfile_auditor.logfile") && problems.contains("DIR/absent/audit.log"),
        "{problems}"
    );
}

#[tokio::test]
async fn in_ca_mode_the_certificate_comes_from_the_choria_configuration() {
    let vectors = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/vectors/secure_requests.json"
    );
    let vectors: Value = serde_json::from_slice(&std::fs::read(vectors).unwrap()).unwrap();
    let mut site = Site::new();
    let certificate = site.write("aaa.pem", vectors["privileged_cert_pem"].as_str().unwrap());
    let key = site.secret("aaa.key", vectors["privileged_key_pem"].as_str().unwrap());
    let choria = format!(
        "plugin.security.provider = file\nplugin.security.file.certificate = {}\nplugin.security.file.key = {}\n",
        certificate.display(),
        key.display()
    );
    site.config["choria_config"] = json!(site.write("choria.cfg", &choria));
    let signer = site.config["basicjwt_signer"].as_object_mut().unwrap();
    signer.remove("signing_token");
    signer.remove("signing_seed");
    let running = site.start().await.unwrap();
    let refused = site.sign(&running, "status").await.unwrap_err();
    assert!(refused.contains("signs no v2 requests"), "{refused}");
    running.shutdown().await;

    let other = site.secret(
        "other.key",
        Ed25519Key::generate().unwrap().seed_hex().expose(),
    );
    site.write(
        "choria.cfg",
        &choria.replace(&key.display().to_string(), &other.display().to_string()),
    );
    let problems = site.problems().await;
    assert!(
        problems.contains("plugin.security.file.key")
            && problems.contains("an RSA private key is wanted"),
        "{problems}"
    );
    assert!(matches!(
        SigningKey::parse(&std::fs::read(key).unwrap()),
        Ok(SigningKey::Rsa(_))
    ));
}

#[tokio::test]
async fn guards_of_the_file_hold() {
    let mut site = Site::new();
    site.config["guards"] = json!({"deny_agents": ["puppet"]});
    let running = site.start().await.unwrap();
    let refused = site.sign(&running, "status").await.unwrap_err();
    assert!(
        refused.contains("here (guards): deny_agents: nobody may use this agent"),
        "{refused}"
    );
    running.shutdown().await;
    site.config["guards"] = json!({"deny_agent": ["puppet"]});
    let problems = site.problems().await;
    assert!(problems.contains("guards.deny_agent "), "{problems}");
}
