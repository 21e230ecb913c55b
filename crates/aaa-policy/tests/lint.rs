//! What is probably not meant in Action Policy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use aaa_policy::actionpolicy::{ActionPolicy, Options, Sources};

fn load(policy: &str, groups: &str) -> ActionPolicy {
    let mut sources = Sources::default();
    sources.policy("puppet.policy", policy.as_bytes());
    sources.groups("groups", groups.as_bytes());
    sources.build(&Options::default()).unwrap()
}

fn found(policy: &str, groups: &str) -> Vec<String> {
    let found = load(policy, groups).lint(&["up", "okta", "choria"]);
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_probably_not_meant_is_found() {
    let policy = "allow\t/bob/\tstatus\t*\t*\n\
                  allow\tops nobody\tstatus enable\tcpus>4 cpus<2\t*\n\
                  deny\tldap=ann\tenable\t*\t*\n\
                  allow\t*\t*\t*\t*\n\
                  deny\tup=ann\tdisable\tcountry=mt\t*\n";
    assert_eq!(
        found(policy, "ops up=bob krb=joe\n"),
        [
            "group ops: unknown-caller: no authenticator makes krb=joe",
            "puppet.policy:1: unanchored: /bob/ also matches a part of an id; begin it with ^ and end it with $",
            "puppet.policy:2: unknown-caller: nobody is no group, and no authenticator makes it",
            "puppet.policy:2: unmatched: no node can have cpus>4 and cpus<2",
            "puppet.policy:3: unknown-caller: ldap=ann is no group, and no authenticator makes it",
            "puppet.policy:4: allow-all: everybody may do everything",
            "puppet.policy:5: shadowed: puppet.policy:4 decides before it whenever it matches",
        ]
    );
    let good =
        "policy default deny\nallow\t/^up=b.*$/\tstatus\t*\t*\nallow\tup=ann\tstatus\t*\t*\n";
    assert_eq!(found(good, ""), [""; 0]);
}

#[test]
fn an_anchor_counts_where_it_holds_whichever_way_a_pattern_matches() {
    let kinds = |callers: &str, facts: &str, classes: &str| {
        let rule = format!("allow\t{callers}\tstatus\t{facts}\t{classes}\n");
        let found = load(&rule, "").lint(&["up"]);
        found.iter().map(|finding| finding.kind).collect::<Vec<_>>()
    };
    for anchored in [
        "/^up=bob$/",
        "/^(up=bob|up=ann)$/",
        "/^up=bob$|^up=ann$/",
        r"/\Aup=bob\z/",
    ] {
        assert_eq!(kinds(anchored, "*", "*"), [""; 0], "{anchored}");
    }
    for loose in [
        "/^up=bob|up=ann$/",
        "/^up=bob/",
        "/up=bob$/",
        r"/^up=bob\$/",
        "/(^up=)?bob$/",
    ] {
        assert_eq!(kinds(loose, "*", "*"), ["unanchored"], "{loose}");
    }
    // Of facts and classes a part is often meant, but seldom any part.
    for (facts, classes) in [
        ("fqdn=~^web", "/^role::/"),
        (r"fqdn=~\.example\.net$", "/::web$/"),
    ] {
        assert_eq!(
            kinds("up=bob", facts, classes),
            [""; 0],
            "{facts} {classes}"
        );
    }
    assert_eq!(kinds("up=bob", "fqdn=~web", "*"), ["unanchored"]);
    assert_eq!(kinds("up=bob", "x=1 or not /web/", "*"), ["unanchored"]);
}

#[test]
fn everybody_may_everything_however_it_is_written() {
    let all = "puppet.policy:1: allow-all: everybody may do everything";
    for callers in ["*", "/^.*$/", "up=bob /^.+$/"] {
        assert_eq!(found(&format!("allow\t{callers}\t*\t*\t*\n"), ""), [all]);
    }
    assert_eq!(
        found("policy default allow\n", ""),
        ["default of puppet.policy: allow-all: everybody may do what no rule is about"]
    );
}
