//! Bundles of OPA: what is taken of them as OPA takes it, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod common;

use aaa_core::decision::Decision;
use aaa_policy::rego::site::Sources;
use aaa_policy::rego::{Limits, lint};
use common::bundle::{NAME, OPEN, bundle, gzip, ping, read, refused, tar, with};
use common::policy;
use tar::EntryType;

#[test]
fn each_policy_in_it_must_allow_and_the_one_that_does_not_is_named_by_its_path() {
    let closed = "default allow := false\nallow if input.agent != \"rpcutil\"";
    // With slashes as `opa build` writes them, with dots as `tar` does, or with neither.
    for (one, other) in [
        ("/a.rego", "/deep/b.rego"),
        ("./a.rego", "./deep/b.rego"),
        ("a.rego", "deep/b.rego"),
    ] {
        let open = bundle(&[(one, OPEN), (other, OPEN), ("README.md", "\u{fffd}")]).unwrap();
        assert_eq!(ping(&open), Decision::allow("2 site policies"));
        let site = bundle(&[(one, OPEN), (other, closed)]).unwrap();
        assert_eq!(ping(&site), Decision::deny("deep/b.rego allow (line 4)"));
    }
    let site = bundle(&[("/a.rego", OPEN)]).unwrap();
    assert_eq!(
        (ping(&site), site.revision()),
        (Decision::allow("a.rego allow"), None)
    );
}

#[test]
fn data_is_where_its_directory_says() {
    let rules = "default allow := false\n\
                 allow if data == {\"top\": 1, \"a\": {\"b\": {\"c\": [1, 2], \"d\": true}, \"list\": [\"x\"]}, \"e\": {\"f\": 2}}";
    let site = bundle(&[
        ("/a.rego", rules),
        ("/data.json", r#"{"top": 1, "a": {"b": {"c": [1, 2]}}}"#),
        ("/a/b/data.yaml", "d: true"),
        ("/a/list/data.json", r#"["x"]"#),
        ("/e/data.yml", "f: 2"),
        // Nothing to OPA.
        ("/a/more.json", r#"{"more": 1}"#),
        ("/policy.wasm", "\0asm"),
        ("/plan.json", "{}"),
    ]);
    assert_eq!(
        ping(&site.unwrap()),
        Decision::allow("a.rego allow (line 4)")
    );
    for (files, says) in [
        (
            [
                ("a.rego", OPEN),
                ("data.json", r#"{"a": {"b": 1}}"#),
                ("a/data.yaml", "b: 2"),
            ],
            "site.tar.gz: data.json: `a.b` is in another file of the bundle already",
        ),
        (
            [
                ("a.rego", OPEN),
                ("a/data.json", "1"),
                ("a/b/data.json", "{}"),
            ],
            "site.tar.gz: a/data.json: `a` is in another file",
        ),
        (
            [("a.rego", OPEN), ("data.json", "[]"), ("x", "")],
            "site.tar.gz: data.json: must hold an object",
        ),
        (
            [
                ("a.rego", OPEN),
                ("b/data.json", "{\n\"c\": 1,\n\"c\": 2}"),
                ("x", ""),
            ],
            "site.tar.gz: b/data.json:3:7: is no JSON that can be taken: a member is there twice",
        ),
        (
            [("a.rego", OPEN), ("b/data.yaml", "c: 1\nd: no"), ("x", "")],
            "site.tar.gz: b/data.yaml:2:1: `no` is read in two ways",
        ),
        (
            [
                ("a.rego", OPEN),
                ("io/choria/data.json", r#"{"aaasvc": {"allow": true}}"#),
                ("x", ""),
            ],
            "site.tar.gz: `io` is where the policies themselves are",
        ),
    ] {
        let said = refused(&files);
        assert!(said.contains(says), "{says}: {said}");
    }
}

#[test]
fn data_beside_the_bundle_is_seen_and_may_not_be_in_both() {
    let rules = policy("default allow := false\nallow if data.a + data.b == 3");
    let both = |beside: &str| {
        let mut sources = Sources::default();
        sources.bundle(
            NAME,
            &gzip(&tar(&[("r.rego", &rules), ("data.json", r#"{"a": 1}"#)])),
        );
        sources.data("data.yaml", beside.as_bytes());
        sources.build(Limits::default(), |work| work())
    };
    assert!(ping(&both("b: 2").unwrap()).is_allowed());
    let twice = both("a: 2").unwrap_err();
    assert!(
        twice
            .iter()
            .any(|problem| problem.text == "data.yaml: `a` is in site.tar.gz already"),
        "{twice:?}"
    );
}

#[test]
fn what_is_wrong_is_said_with_bundle_path_and_line() {
    let said = refused(&[
        ("a.rego", "allow if {"),
        ("x/b.rego", "allow if nothing(1)"),
        ("x/c.rego", "helper := 1"),
    ]);
    for says in [
        "site.tar.gz: a.rego:4:1: ",
        "site.tar.gz: x/b.rego:3:10: there is no function `nothing` for policies\n  allow if nothing(1)\n           ^",
        "site.tar.gz: x/c.rego: there is no rule `allow` in package io.choria.aaasvc",
    ] {
        assert!(said.contains(says), "{says}: {said}");
    }
    assert_eq!(refused(&[("data.json", "{}")]), "there is no policy in it");
    let latin = read(&with(b"b.rego", EntryType::Regular, b"package \xff")).unwrap_err();
    assert_eq!(
        latin,
        "site.tar.gz: b.rego:1:9: is no text: the byte here is not UTF-8\n  package \n          ^"
    );
}

#[test]
fn policies_of_a_bundle_that_count_on_one_another_are_refused() {
    for names in [
        "data.io.choria.aaasvc.frozen",
        "data[\"io\"].choria.aaasvc.frozen",
        "data[input.data.x].choria",
        "data[\"i\\u006f\"].choria",
        "[data][0].io",
        "count(data) > 3",
    ] {
        let counting = format!("default allow := false\nallow if not {names}");
        let said = refused(&[("a.rego", &counting), ("b.rego", OPEN)]);
        assert!(
            said.starts_with("site.tar.gz: a.rego:4:") && said.contains("do not see one another"),
            "{names}: {said}"
        );
    }
    let marked = format!(
        "\u{feff}{}",
        policy("default allow := false\nallow if not data.io.choria.aaasvc.frozen")
    );
    let both = tar(&[("a.rego", &marked), ("b.rego", &policy(OPEN))]);
    assert!(
        read(&gzip(&both))
            .unwrap_err()
            .contains("do not see one another")
    );
    let own = "default allow := false\nallow if { data.limits[\"io\"]; input.data.data.io != \"data.io\" }";
    assert!(bundle(&[("a.rego", own), ("b.rego", OPEN)]).is_ok());
    assert!(
        bundle(&[(
            "a.rego",
            "default allow := false\nallow if not data.io.choria.aaasvc.frozen\nfrozen := false"
        )])
        .is_ok()
    );
}

#[test]
fn the_manifest_is_read_as_opa_reads_it() {
    let manifest = r#"{"revision": "v7", "roots": ["/io/choria", "site/"], "rego_version": 1,
        "file_rego_versions": {"/a.rego": 1}, "metadata": {"by": "ci"}, "wasm": []}"#;
    let files = [
        ("a.rego", OPEN),
        (".manifest", manifest),
        ("site/data.json", "{}"),
    ];
    assert_eq!(bundle(&files).unwrap().revision(), Some("v7"));
    let long = format!(r#"{{"revision": "{}"}}"#, "x".repeat(1025));
    let many = serde_json::json!({"roots": (0..257).map(|n| n.to_string()).collect::<Vec<_>>()})
        .to_string();
    let manifests = [
        (
            r#"{"roots": ["site"]}"#,
            "the roots do not hold `io/choria/aaasvc`, where a.rego is",
        ),
        (
            r#"{"roots": ["io", "sit", "site/a/b"]}"#,
            "the roots do not hold the data at `site/a/c`",
        ),
        (
            r#"{"roots": ["io", "other"]}"#,
            "the roots do not hold the data at `site`",
        ),
        (
            r#"{"roots": []}"#,
            "the roots do not hold `io/choria/aaasvc`",
        ),
        (
            r#"{"roots": ["io", "site", "/io/choria/"]}"#,
            "the root `io/choria` is in another one, or holds it",
        ),
        (
            r#"{"roots": ["", "io"]}"#,
            "the root `io` is in another one",
        ),
        (r#"{"roots": [1]}"#, "`roots` is not what OPA has there"),
        (r#"{"roots": null}"#, "`roots` is not what OPA has there"),
        (r#"{"Roots": []}"#, "`Roots` is nothing that OPA knows"),
        (long.as_str(), "`revision` is longer than 1024 bytes"),
        (&many, "`roots` has more than 256 entries"),
        (r#"{"revision": 1}"#, "`revision` is not what OPA has there"),
        (
            r#"{"rego_version": 2}"#,
            "`rego_version` is not what OPA has there",
        ),
        (
            r#"{"file_rego_versions": {"/x": "1"}}"#,
            "`file_rego_versions` is not what OPA has there",
        ),
        (
            r#"{"file_rego_versions": {"/x/*.rego": 1}}"#,
            "has the pattern `/x/*.rego`; name each file",
        ),
        (
            r#"{"wasm": [{"entrypoint": "io/choria/aaasvc/allow", "module": "/policy.wasm"}]}"#,
            "opa build --target rego",
        ),
        ("[]", "must hold an object"),
        (
            "{\"revision\": \"a\",\n\"revision\": \"b\"}",
            "a member is there twice",
        ),
    ];
    for (manifest, says) in manifests {
        let said = refused(&[
            ("a.rego", OPEN),
            (".manifest", manifest),
            ("site/data.json", r#"{"a": {"b": 1, "c": 2}}"#),
        ]);
        assert!(
            said.starts_with("site.tar.gz: .manifest:") && said.contains(says),
            "{says}: {said}"
        );
    }
    for (file, says) in [
        (
            "x/.manifest",
            "x/.manifest: the manifest of a bundle is `.manifest` at its top",
        ),
        (
            ".signatures.json",
            ".signatures.json: the bundle is signed, and signatures are not checked here",
        ),
        (
            "patch.json",
            "patch.json: the bundle says what changes in another one",
        ),
    ] {
        let said = refused(&[("a.rego", OPEN), (file, "{}")]);
        assert!(
            said.starts_with(&format!("site.tar.gz: {says}")),
            "{says}: {said}"
        );
    }
}

#[test]
fn a_policy_is_read_in_the_version_that_the_manifest_says() {
    let v1 = "package io.choria.aaasvc\ndefault allow := false\nallow if { true }\n";
    let v0 = "package io.choria.aaasvc\ndefault allow = false\nallow { true }\n";
    let either = "package io.choria.aaasvc\ndefault allow = true\n";
    let imported = format!(
        "{}{}",
        "package io.choria.aaasvc\nimport rego.v1\n",
        "names contains \"x\"\nallow if names == {\"x\"}\n"
    );
    let keywords = "package io.choria.aaasvc\nimport future.keywords\nallow if { 1 in [1] }\n";
    for (text, in_none, in_v0, in_v1) in [
        (v1, true, false, true),
        (v0, true, true, false),
        (either, true, true, true),
        (&imported, true, true, true),
        (keywords, true, true, true),
    ] {
        for (manifest, fits) in [
            ("{}", in_none),
            (r#"{"rego_version": 0}"#, in_v0),
            (r#"{"rego_version": 1}"#, in_v1),
            (
                r#"{"rego_version": 1, "file_rego_versions": {"/x/a.rego": 0}}"#,
                in_v0,
            ),
            (
                r#"{"rego_version": 0, "file_rego_versions": {"/b.rego": 0, "/x/a.rego": 1}}"#,
                in_v1,
            ),
        ] {
            let read = read(&gzip(&tar(&[
                ("/x/a.rego", text),
                ("/.manifest", manifest),
            ])));
            assert_eq!(read.is_ok(), fits, "{manifest}\n{text}\n{read:?}");
        }
    }
}

#[test]
fn lint_looks_at_each_policy_in_it() {
    let bundle = gzip(&tar(&[
        ("/a.rego", &policy("allow if { x := input.agent }")),
        ("/x/b.rego", &policy("allow if nothing(1)")),
        ("/.manifest", r#"{"rego_version": 1}"#),
        ("/c.rego", "package io.choria.aaasvc\nallow { true }"),
    ]));
    let found = lint(NAME, &bundle).unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|finding| {
            (
                finding.kind,
                finding.problem.file.as_str(),
                finding.problem.line,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("unused", "site.tar.gz: a.rego", 3),
            ("unusable", "site.tar.gz: c.rego", 2),
            ("unusable", "site.tar.gz: x/b.rego", 3)
        ]
    );
    let of_none = lint(NAME, &gzip(&tar(&[("data.json", "{}")]))).unwrap_err();
    assert_eq!(
        of_none[0].to_string(),
        "site.tar.gz: there is no policy in it"
    );
    assert_eq!(
        lint(NAME, b"\x1f\x8b").unwrap_err()[0].to_string(),
        "site.tar.gz: is cut short"
    );
}
