//! A signer that decides by Action Policy.

use serde_json::json;

use crate::site::{Site, reload_errors};

fn site(policy: &str) -> Site {
    let mut site = Site::new();
    std::fs::create_dir(site.path("policies")).unwrap();
    site.write("policies/puppet.policy", policy);
    site.config["authorizer"] = json!(["actionpolicy"]);
    site.config["actionpolicy_authorizer"] = json!({"policies": [site.path("policies")]});
    site
}

#[tokio::test]
async fn rules_of_the_site_decide_and_say_what_is_missing() {
    let site = site("allow\tup=bob\tstatus\t*\t*\nallow\tup=bob\tdisable\tcountry=mt\t*\n");
    let running = site.start().await.unwrap();
    site.sign(&running, "status").await.unwrap();
    let refused = site.sign(&running, "disable").await.unwrap_err();
    assert!(
        refused.contains("needs a fact filter such as country=mt (puppet.policy:2)"),
        "{refused}"
    );
    let refused = site.sign(&running, "enable").await.unwrap_err();
    assert!(refused.contains("default of puppet.policy"), "{refused}");
    running.shutdown().await;
}

#[tokio::test]
async fn of_several_authorizers_all_must_allow() {
    let mut site = site("policy default allow\n");
    site.config["authorizer"] = json!(["actionpolicy", "actionlist"]);
    let running = site.start().await.unwrap();
    site.sign(&running, "status").await.unwrap();
    let refused = site.sign(&running, "disable").await.unwrap_err();
    assert!(refused.contains("not in the action list"), "{refused}");
    running.shutdown().await;
}

#[tokio::test]
async fn what_is_wrong_with_rules_is_said_at_the_start() {
    let mut site = site("allow * * * *\n");
    site.config["actionpolicy_authorizer"]["hiera"] = json!([site.path("absent.yaml")]);
    site.config["actionpolicy_authorizer"]["default"] = json!("maybe");
    let problems = site.problems().await;
    for says in [
        "DIR/policies/puppet.policy:1:6: columns are separated by tabs",
        "actionpolicy_authorizer.hiera",
        "DIR/absent.yaml: no such file",
        "actionpolicy_authorizer.default",
    ] {
        assert!(problems.contains(says), "{says}: {problems}");
    }
    site.config["actionpolicy_authorizer"] = json!({});
    assert!(
        site.problems()
            .await
            .contains("actionpolicy_authorizer.policies")
    );
    site.config
        .as_object_mut()
        .unwrap()
        .remove("actionpolicy_authorizer");
    assert!(site.problems().await.contains("authorizer is actionpolicy"));
}

#[tokio::test]
async fn files_are_followed_and_a_broken_change_keeps_the_old_rules() {
    let mut site = site("allow\tup=bob\tstatus\t*\t*\n");
    site.config["site"] = json!("followed-policies");
    let running = site.start().await.unwrap();
    let errors = async || {
        let what = "site=\"followed-policies\",what=\"actionpolicy_authorizer\"";
        reload_errors(&running, what).await
    };
    // What the system tells the signer of by and by, a reload without a configuration has it look for.
    let look = async || running.reload(None).await;
    let may = async |action: &str| site.sign(&running, action).await.is_ok();
    assert!(may("status").await && !may("disable").await);

    site.write("policies/puppet.policy", "allow\tops\tdisable\t*\t*\n");
    look().await;
    assert!(!may("status").await && !may("disable").await);
    // Another file, which was not there at the start.
    site.write("policies/groups", "ops up=bob\n");
    look().await;
    assert!(may("disable").await);
    assert_eq!(errors().await, 0);

    site.write("policies/package.policy", "allow * * * *\n");
    look().await;
    assert!(may("disable").await && !may("status").await);
    assert_eq!(errors().await, 1);
    std::fs::remove_file(site.path("policies/package.policy")).unwrap();
    site.write("policies/puppet.policy", "allow\tops\tstatus\t*\t*\n");
    look().await;
    assert!(may("status").await && !may("disable").await);

    // Rules that are gone are no rules that refuse everything.
    site.write("policies/puppet.policy", "allow\tup=bob\tstatus\t*\t*\n");
    std::fs::remove_file(site.path("policies/groups")).unwrap();
    look().await;
    std::fs::remove_file(site.path("policies/puppet.policy")).unwrap();
    look().await;
    assert!(may("status").await);
    assert_eq!(errors().await, 2);
    running.shutdown().await;
}

#[tokio::test]
async fn what_a_reload_names_is_followed_from_then_on() {
    let mut site = site("allow\tup=bob\tstatus\t*\t*\n");
    site.config["site"] = json!("renamed-policies");
    let running = site.start().await.unwrap();
    let errors = async || {
        let what = "site=\"renamed-policies\",what=\"actionpolicy_authorizer\"";
        reload_errors(&running, what).await
    };
    let look = async || running.reload(None).await;
    let may = async |site: &Site, action: &str| site.sign(&running, action).await.is_ok();

    // Other files, and Rego of the site, of which there was none at the start.
    std::fs::create_dir(site.path("others")).unwrap();
    std::fs::create_dir(site.path("rego")).unwrap();
    site.write("others/puppet.policy", "allow\tup=bob\tdisable\t*\t*\n");
    let rego = |allow: bool| format!("package io.choria.aaasvc\ndefault allow = {allow}\n");
    site.write("rego/all.rego", &rego(true));
    site.config["authorizer"] = json!(["actionpolicy", "opa"]);
    site.config["actionpolicy_authorizer"] = json!({"policies": [site.path("others")]});
    site.config["opa_authorizer"] =
        json!({"site_policies": site.path("rego"), "mode": "site-only"});
    let config = site.write("signer.json", &site.config.to_string());
    assert!(running.reload(Some(&config)).await);
    assert!(may(&site, "disable").await && !may(&site, "status").await);

    site.write("others/puppet.policy", "allow\tup=bob\tstatus\t*\t*\n");
    look().await;
    assert!(may(&site, "status").await && !may(&site, "disable").await);
    site.write("rego/more.rego", &rego(false));
    look().await;
    assert!(!may(&site, "status").await);
    std::fs::remove_file(site.path("rego/more.rego")).unwrap();

    // Nobody looks at the old ones any more, nor at any once none are named.
    site.write("policies/puppet.policy", "allow * * * *\n");
    look().await;
    assert!(may(&site, "status").await);
    site.config["authorizer"] = json!("actionlist");
    for gone in ["actionpolicy_authorizer", "opa_authorizer"] {
        site.config.as_object_mut().unwrap().remove(gone);
    }
    let config = site.write("signer.json", &site.config.to_string());
    assert!(running.reload(Some(&config)).await);
    site.write("others/puppet.policy", "allow * * * *\n");
    look().await;
    assert!(may(&site, "status").await && !may(&site, "disable").await);
    assert_eq!(errors().await, 0);
    running.shutdown().await;
}
