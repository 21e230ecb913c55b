//! A signer whose configuration is changed while it runs.

use aaa_core::key::Ed25519Key;
use aaa_service::shell::Running;
use serde_json::{Value, json};

use crate::site::{Site, reload_errors};

async fn reload(site: &Site, running: &Running) -> bool {
    let path = site.write("signer.json", &site.config.to_string());
    running.reload(Some(&path)).await
}

/// Takes over the keys of another organization, under other names.
fn move_to_another_organization(site: &mut Site) -> Ed25519Key {
    let old = std::mem::replace(&mut site.organization, Ed25519Key::generate().unwrap());
    let seed = Ed25519Key::generate().unwrap();
    site.secret("next.seed", seed.seed_hex().expose());
    site.secret("next.jwt", &site.delegator(&seed, |_| ()));
    site.write("next.public", &site.organization.public().to_hex());
    for (key, file) in [
        ("signing_certificate", "next.public"),
        ("signing_token", "next.jwt"),
        ("signing_seed", "next.seed"),
    ] {
        site.config["basicjwt_signer"][key] = json!(site.path(file));
    }
    old
}

#[tokio::test]
async fn keys_that_a_new_configuration_does_not_name_are_trusted_no_longer() {
    let mut site = Site::new();
    let running = site.start().await.unwrap();
    site.sign(&running, "status").await.unwrap();
    let new = move_to_another_organization(&mut site);
    // Known to the signer from before the reload, and so remembered.
    assert!(site.sign(&running, "status").await.is_err());
    assert!(reload(&site, &running).await);
    let signed = site.sign(&running, "status").await.unwrap();
    let secure: Value = serde_json::from_slice(&signed).unwrap();
    let delegator = std::fs::read_to_string(site.path("next.jwt")).unwrap();
    assert_eq!(secure["signer"], json!(delegator));
    let next = std::mem::replace(&mut site.organization, new);
    assert!(site.sign(&running, "status").await.is_err());

    // The new files are followed, and the old ones are not.
    site.write("issuer.public", "broken");
    assert!(running.reload(None).await);
    assert!(site.sign(&running, "status").await.is_err());
    site.write("next.public", &site.organization.public().to_hex());
    site.secret(
        "next.jwt",
        &site.delegator(&key(&site, "next.seed"), |_| ()),
    );
    running.reload(None).await;
    site.sign(&running, "status").await.unwrap();
    site.organization = next;
    assert!(site.sign(&running, "status").await.is_err());
    running.shutdown().await;
}

fn key(site: &Site, seed: &str) -> Ed25519Key {
    Ed25519Key::from_seed_file(&std::fs::read(site.path(seed)).unwrap()).unwrap()
}

#[tokio::test]
async fn one_of_several_issuers_can_be_taken_out() {
    let mut site = Site::new();
    let old = Ed25519Key::generate().unwrap();
    site.write("old.public", &old.public().to_hex());
    site.config["basicjwt_signer"]["signing_certificates"] = json!([site.path("old.public")]);
    let running = site.start().await.unwrap();
    let current = std::mem::replace(&mut site.organization, old);
    site.sign(&running, "status").await.unwrap();
    site.config["basicjwt_signer"]["signing_certificates"] = json!([]);
    assert!(reload(&site, &running).await);
    assert!(site.sign(&running, "status").await.is_err());
    site.organization = current;
    site.sign(&running, "status").await.unwrap();
    running.shutdown().await;
}

#[tokio::test]
async fn a_configuration_with_one_bad_key_changes_nothing() {
    let mut site = Site::new();
    site.config["site"] = json!("bad-reload");
    let running = site.start().await.unwrap();
    let good = site.config.clone();
    move_to_another_organization(&mut site);
    site.config["basicjwt_signer"]["signing_seed"] = json!(site.path("signer.seed"));
    site.config["guards"] = json!({"deny_agents": ["puppet"]});
    assert!(!reload(&site, &running).await);
    let what = "site=\"bad-reload\",what=\"basicjwt_signer\"";
    assert_eq!(reload_errors(&running, what).await, 1);
    assert!(site.sign(&running, "status").await.is_err());

    // Where records go is settled at the start; the rest is taken.
    site.config = good;
    site.config["logfile_auditor"]["logfile"] = json!(site.path("other.log"));
    site.config["guards"] = json!({"deny_agents": ["puppet"]});
    assert!(!reload(&site, &running).await);
    let what = "site=\"bad-reload\",what=\"logfile_auditor.logfile\"";
    assert_eq!(reload_errors(&running, what).await, 1);
    assert!(!site.path("other.log").exists());
    running.shutdown().await;
}

#[tokio::test]
async fn rules_that_a_new_configuration_names_are_followed() {
    let mut site = Site::new();
    let running = site.start().await.unwrap();
    site.sign(&running, "status").await.unwrap();
    std::fs::create_dir(site.path("policies")).unwrap();
    site.write("policies/puppet.policy", "allow\tup=bob\tdisable\t*\t*\n");
    site.config["authorizer"] = json!(["actionpolicy"]);
    site.config["actionpolicy_authorizer"] = json!({"policies": [site.path("policies")]});
    assert!(reload(&site, &running).await);
    site.sign(&running, "disable").await.unwrap();
    site.write("policies/puppet.policy", "allow\tup=bob\tstatus\t*\t*\n");
    assert!(running.reload(None).await);
    assert!(site.sign(&running, "disable").await.is_err());
    running.shutdown().await;
}
