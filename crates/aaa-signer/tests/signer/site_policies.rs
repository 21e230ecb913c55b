//! A signer with Rego of its site.

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_service::config::Document;
use aaa_testing::archive::archive;
use serde_json::json;

use crate::site::{Site, reload_errors};

const OPEN: &str = "package io.choria.aaasvc\ndefault allow = true\n";
const FROZEN: &str = "package io.choria.aaasvc\nimport rego.v1\ndefault allow := false\n\
                      allow if not input.action in data.frozen\n";

/// A site whose tokens allow `puppet.status` and `puppet.disable`, or what `policy` says.
fn site(mode: &str) -> Site {
    let mut site = Site::new();
    std::fs::create_dir(site.path("rego")).unwrap();
    site.write("rego/freeze.rego", FROZEN);
    site.write("data.yaml", "frozen: [disable]\n");
    site.config["authorizer"] = json!("opa");
    site.config["opa_authorizer"] =
        json!({"site_policies": site.path("rego"), "data": [site.path("data.yaml")], "mode": mode});
    site
}

#[tokio::test]
async fn site_policies_alone_or_beside_those_of_tokens() {
    let site_only = site("site-only");
    let running = site_only.start().await.unwrap();
    site_only.sign(&running, "status").await.unwrap();
    let refused = site_only.sign(&running, "disable").await.unwrap_err();
    assert!(refused.contains("freeze.rego allow (line 4)"), "{refused}");
    running.shutdown().await;

    // A token without a policy is refused as it is without site policies.
    let both = site("and");
    let running = both.start().await.unwrap();
    let refused = both.sign(&running, "status").await.unwrap_err();
    assert!(
        refused.contains("(opa): the token has no policy"),
        "{refused}"
    );
    let refused = both.sign(&running, "disable").await.unwrap_err();
    assert!(
        refused.contains("(site_policies): freeze.rego"),
        "{refused}"
    );
    running.shutdown().await;

    let mut both = both;
    both.policy = OPEN.to_owned();
    let running = both.start().await.unwrap();
    both.sign(&running, "status").await.unwrap();
    assert!(both.sign(&running, "disable").await.is_err());
    running.shutdown().await;
}

#[test]
fn whoever_explains_asks_them_too() {
    for (mode, asked) in [
        ("and", ["site_policies", "opa"].as_slice()),
        ("site-only", &["site_policies"]),
    ] {
        let site = site(mode);
        let text = site.config.to_string();
        let document = Document::parse("signer.json", text.as_bytes()).unwrap();
        let site = aaa_signer::rules(&document, SystemClock.now());
        let site = site.map_err(|problems| problems.to_string()).unwrap();
        let names = site
            .chain
            .authorizers
            .iter()
            .map(|authorizer| authorizer.name());
        assert_eq!(names.collect::<Vec<_>>(), asked);
    }
}

#[tokio::test]
async fn changes_are_followed_and_broken_ones_keep_the_old_rules() {
    let mut site = site("site-only");
    site.config["site"] = json!("followed");
    let running = site.start().await.unwrap();
    let may = async |action| site.sign(&running, action).await.is_ok();
    // What the system tells the signer of by and by, a reload without a configuration has it look for.
    let look = async || running.reload(None).await;
    let errors = async || {
        let what = "site=\"followed\",what=\"opa_authorizer\"";
        reload_errors(&running, what).await
    };
    look().await;
    assert!(!may("disable").await);

    site.write("data.yaml", "frozen: [status]\n");
    look().await;
    assert!(may("disable").await && !may("status").await);

    site.write(
        "rego/more.rego",
        "package io.choria.aaasvc\ndefault allow = false\n",
    );
    look().await;
    assert!(!may("disable").await);
    site.write(
        "rego/more.rego",
        "package io.choria.aaasvc\ndefault allow = true\n",
    );
    look().await;
    assert!(may("disable").await);
    assert_eq!(errors().await, 0);

    site.write(
        "rego/more.rego",
        "package io.choria.aaasvc\nallow { nothing(1) }\n",
    );
    look().await;
    assert!(may("disable").await && !may("status").await);
    assert_eq!(errors().await, 1);
    std::fs::remove_file(site.path("rego/more.rego")).unwrap();
    look().await;
    assert!(may("disable").await);

    // Without any policy nothing would be forbidden any more, so the last one stays.
    std::fs::remove_file(site.path("rego/freeze.rego")).unwrap();
    look().await;
    assert!(!may("status").await);
    assert_eq!(errors().await, 2);
    running.shutdown().await;
}

/// A bundle of OPA in which this action is frozen.
fn bundle(frozen: &str) -> Vec<u8> {
    let data = json!({"frozen": [frozen]}).to_string();
    archive(&[("/rules/freeze.rego", FROZEN), ("/data.json", &data)]).unwrap()
}

#[tokio::test]
async fn a_bundle_is_followed_and_taken_when_it_is_whole() {
    let mut site = Site::new();
    let file = site.path("rego.tar.gz");
    std::fs::write(&file, bundle("disable")).unwrap();
    site.config["site"] = json!("bundled");
    site.config["authorizer"] = json!("opa");
    site.config["opa_authorizer"] = json!({"site_policies": file, "mode": "site-only"});
    let running = site.start().await.unwrap();
    let frozen = async |action| site.sign(&running, action).await.err();
    let look = async || running.reload(None).await;
    let errors = async || {
        let what = "site=\"bundled\",what=\"opa_authorizer\"";
        reload_errors(&running, what).await
    };
    let refused = frozen("disable").await.unwrap();
    let says = "rules/freeze.rego allow (line 4)";
    assert!(refused.contains(says), "{refused}");
    assert_eq!(frozen("status").await, None);

    // Half of it is written, then all.
    let next = bundle("status");
    std::fs::write(&file, &next[..next.len() / 2]).unwrap();
    look().await;
    assert!(frozen("disable").await.is_some());
    assert_eq!((frozen("status").await, errors().await), (None, 1));
    std::fs::write(&file, &next).unwrap();
    look().await;
    assert!(frozen("status").await.is_some());
    assert_eq!((frozen("disable").await, errors().await), (None, 1));

    // Another file in its place, and none.
    std::fs::write(site.path("new"), bundle("disable")).unwrap();
    std::fs::rename(site.path("new"), &file).unwrap();
    look().await;
    assert_eq!(frozen("status").await, None);
    assert!(frozen("disable").await.is_some());
    std::fs::remove_file(&file).unwrap();
    look().await;
    assert!(frozen("disable").await.is_some());
    assert_eq!(errors().await, 2);
    running.shutdown().await;
}

#[tokio::test]
async fn a_reload_turns_from_a_directory_to_a_bundle_and_back() {
    let mut site = site("site-only");
    let running = site.start().await.unwrap();
    let directory = site.config["opa_authorizer"].clone();
    let file = site.path("rego.tar.gz");
    std::fs::write(&file, bundle("status")).unwrap();
    site.config["opa_authorizer"] = json!({"site_policies": file, "mode": "site-only"});
    let config = site.write("signer.json", &site.config.to_string());
    assert!(running.reload(Some(&config)).await);
    assert!(site.sign(&running, "status").await.is_err());
    std::fs::write(&file, bundle("disable")).unwrap();
    running.reload(None).await;
    assert!(site.sign(&running, "status").await.is_ok());

    site.config["opa_authorizer"] = directory;
    let config = site.write("signer.json", &site.config.to_string());
    assert!(running.reload(Some(&config)).await);
    std::fs::write(&file, bundle("status")).unwrap();
    site.write("rego/more.rego", OPEN);
    running.reload(None).await;
    assert!(site.sign(&running, "status").await.is_ok());
    assert!(site.sign(&running, "disable").await.is_err());
    running.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_is_said_at_the_start() {
    let mut broken = site("or");
    broken.write("rego/a.rego", "package other\nallow { true }\n");
    broken.write("data.yaml", "frozen: [x]\nfrozen: []\n");
    broken.config["opa_authorizer"]["polices"] = json!("x");
    let problems = broken.problems().await;
    for says in [
        "opa_authorizer.site_policies   DIR/rego/a.rego:1:1: the package is other",
        "opa_authorizer.data            DIR/data.yaml:2:1: the key \"frozen\" stands twice",
        "opa_authorizer.mode            \"or\": wants and or site-only",
        "opa_authorizer.polices         unknown",
    ] {
        assert!(problems.contains(says), "{says}: {problems}");
    }
    let mut elsewhere = site("and");
    elsewhere.config["authorizer"] = json!("actionlist");
    elsewhere.config["opa_authorizer"]["site_policies"] = json!(elsewhere.path("none"));
    let problems = elsewhere.problems().await;
    assert!(
        problems.contains("authorizer does not name opa"),
        "{problems}"
    );
    assert!(problems.contains("DIR/none: no such file"), "{problems}");
    assert!(!problems.contains("no policy"), "{problems}");
    let text = elsewhere.write("a.tar.gz", OPEN);
    elsewhere.config["opa_authorizer"]["site_policies"] = json!(text);
    let problems = elsewhere.problems().await;
    assert!(
        problems.contains("DIR/a.tar.gz: is neither a directory nor a bundle"),
        "{problems}"
    );
    elsewhere.config["opa_authorizer"] = json!({});
    assert!(
        elsewhere
            .problems()
            .await
            .contains("opa_authorizer.site_policies")
    );
}
