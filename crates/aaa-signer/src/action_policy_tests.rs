use std::fs;
use std::path::Path;

use aaa_policy::actionpolicy::{Asked, Node};

use super::*;
use crate::followed::Followed;

#[test]
fn a_change_is_taken_and_a_broken_one_keeps_the_old_rules() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
    write("puppet.policy", "policy default deny\n");
    let files = Files {
        policies: vec![directory.path().to_owned()],
        ..Files::default()
    };
    let loaded = files.load().unwrap();
    assert_eq!(loaded.contents.len(), 1);
    let followed = Followed::new(&Configured { files, loaded });
    let allowed = |agent| {
        let asked = Asked {
            caller: "up=bob",
            agent,
            action: "status",
        };
        let rules = followed.rules.load();
        rules.at_node(asked, &Node::default()).is_allowed()
    };
    assert!(!allowed("puppet"));
    write("puppet.policy", "policy default allow\n");
    write("package.policy", "policy default allow\n");
    followed.renew().unwrap();
    assert!(allowed("puppet") && allowed("package"));
    write("puppet.policy", "policy default deny\nallow * * * *\n");
    assert!(followed.renew().unwrap_err().contains("puppet.policy:2:6"));
    assert!(allowed("puppet"));
    // A second file of groups is no choice of ours.
    write("groups", "ops up=bob\n");
    write("puppet.policy", "");
    let twice = Files {
        policies: vec![directory.path().to_owned(), directory.path().to_owned()],
        ..Files::default()
    };
    let problems = twice.load().map(|_| ()).unwrap_err();
    let says = |text: &str| problems.iter().any(|problem| problem.text.contains(text));
    assert!(says("is a second file of groups") && says("has a policy already"));
}

/// What makes of a directory of policies one that cannot be read.
type Spoil = fn(&Path);

#[test]
fn whatever_stands_in_a_directory_the_old_rules_stay() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("puppet.policy"),
        "policy default allow\n",
    )
    .unwrap();
    let files = Files {
        policies: vec![directory.path().to_owned()],
        ..Files::default()
    };
    let loaded = files.load().unwrap();
    let followed = Followed::new(&Configured { files, loaded });
    let spoils: [(&str, Spoil, &str); 8] = [
        (
            "a.policy",
            |path| fs::create_dir(path).unwrap(),
            "a.policy: is a directory",
        ),
        (
            "groups",
            |path| fs::create_dir(path).unwrap(),
            "groups: is a directory",
        ),
        (
            "a.policy",
            |path| fs::File::create(path).unwrap().set_len(10 << 20).unwrap(),
            "a.policy: is larger than 1048576 bytes",
        ),
        (
            "a.policy",
            |path| fs::write(path, b"policy default deny\n\xff").unwrap(),
            "a.policy:2:1: is no text",
        ),
        (
            "a.policy",
            |path| fs::write(path, "allow * * * *\n").unwrap(),
            "a.policy:1:6: columns are separated by tabs",
        ),
        (
            "a.policy",
            |path| fs::write(path, "allow\t/[/\t*\t*\t*\n").unwrap(),
            "a.policy:1:7: is no pattern",
        ),
        (
            "groups",
            |path| fs::write(path, "a b\nb a\n").unwrap(),
            "groups:1:3: is a group",
        ),
        (
            "a.policy",
            |path| std::os::unix::fs::symlink("a.policy", path).unwrap(),
            "a.policy: cannot be read",
        ),
    ];
    for (name, spoil, says) in spoils {
        let path = directory.path().join(name);
        spoil(&path);
        let error = followed.renew().unwrap_err();
        assert!(error.contains(says), "{error}");
        let asked = Asked {
            caller: "up=bob",
            agent: "puppet",
            action: "status",
        };
        let rules = followed.rules.load();
        assert!(
            rules.at_node(asked, &Node::default()).is_allowed(),
            "{says}"
        );
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
        followed.renew().unwrap();
    }
}

#[test]
fn a_directory_is_no_file_and_one_without_rules_is_a_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let problem = |files: Files| {
        let problems = files.load().map(|_| ()).unwrap_err();
        (problems[0].setting, problems[0].text.clone())
    };
    let hiera = Files {
        hiera: vec![path.clone()],
        ..Files::default()
    };
    let (setting, text) = problem(hiera);
    assert!(setting == "hiera" && text.ends_with(": is a directory"));
    let policies = Files {
        policies: vec![path.clone()],
        ..Files::default()
    };
    let (setting, text) = problem(policies.clone());
    assert!(setting == "policies" && text.ends_with(": holds no .policy file"));
    // Rules may all be in Hiera, and groups here.
    fs::write(path.join("groups"), "ops up=bob\n").unwrap();
    assert!(policies.load().is_ok());
}
