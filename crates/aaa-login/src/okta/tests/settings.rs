//! What the section says, and what is wrong with it.

use super::*;

#[test]
fn the_endpoint_is_https_unless_it_is_this_machine() {
    for good in [
        "https://example.okta.com",
        "https://example.okta.com/",
        "HTTPS://Example.okta.com:8443",
        "http://127.0.0.1:80",
        "http://[::1]:80",
        "http://localhost",
    ] {
        settings(&section(good))
            .map_err(|told| panic!("{good}: {told}"))
            .ok();
    }
    for (bad, expected) in [
        (
            "http://example.okta.com",
            "wants https: passwords would travel in the open",
        ),
        ("http://localhost.example.com", "wants https"),
        ("http://127.0.0.1.example.com", "wants https"),
        ("example.okta.com", "wants the tenant's address alone"),
        (
            "https://example.okta.com/oauth2/default",
            "wants the tenant's address alone",
        ),
        (
            "https://example.okta.com/?x",
            "wants the tenant's address alone",
        ),
        (
            "https://bob@example.okta.com",
            "wants the tenant's address alone",
        ),
        ("ftp://example.okta.com", "wants the tenant's address alone"),
        ("https://", "wants the tenant's address alone"),
    ] {
        let told = settings(&section(bad)).err().unwrap();
        assert!(
            told.contains(&format!("okta_authenticator.endpoint   {expected}")),
            "{bad}: {told}"
        );
    }
}

#[test]
fn everything_wrong_with_the_section_is_told_at_once() {
    let told = settings(&json!({
        "endpont": "x", "client_secret": "a\nb", "timeout": "0s", "acls": {"a": ["x"], "b": "x", "c": [1]}, "endpoint_ca": "/nonexistent/ca",
        "groups": [{"group": "a"}, {"group": "a", "acl": []}, {}]
    }))
    .err()
    .unwrap();
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "endpont unknown; did you mean endpoint?",
        "client_id required",
        "api_token required",
        "timeout wants more than nothing",
        "endpoint_ca /nonexistent/ca: no such file",
        "acls.b wants a list of texts",
        "acls.c wants a list of texts",
        "groups[1].group is there twice",
        "groups[1].acl unknown; did you mean acls?",
        "groups[2].group required, for example \"Operations\"",
    ] {
        assert!(squeezed(&told).contains(expected), "{expected}\n{told}");
    }
    let told = settings(&{
        let mut section = section("https://example.okta.com");
        section["api_token"] = json!("a\nb");
        section
    })
    .err()
    .unwrap();
    assert!(
        told.contains("okta_authenticator.api_token   holds what cannot stand in a header"),
        "{told}"
    );
    assert!(!told.contains("a\nb"));
}

#[test]
fn every_example_is_json() {
    for setting in OKTA.iter().chain(GROUP) {
        serde_json::from_str::<Value>(setting.example)
            .unwrap_or_else(|error| panic!("{}: {error}", setting.key));
    }
}
