//! What the program says of itself.

use super::support::{Home, run};

/// Every command with all that are above it: `token`, `token issue`, `token issue client`.
fn commands(command: &clap::Command, above: &[String], into: &mut Vec<Vec<String>>) {
    for below in command.get_subcommands() {
        let mut path = above.to_vec();
        path.push(below.get_name().to_owned());
        into.push(path.clone());
        commands(below, &path, into);
    }
}

fn all() -> Vec<Vec<String>> {
    let mut all = Vec::new();
    commands(&aaa::command(), &[], &mut all);
    all
}

#[test]
fn the_first_page() {
    let help = Home::new().aaa(&["--help"]).ends(0).stdout;
    insta::assert_snapshot!(help);
}

#[test]
fn every_command_has_help_that_says_something() {
    let home = Home::new();
    let all = all();
    assert!(all.len() >= 18, "{all:?}");
    for path in all {
        let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
        arguments.push("--help");
        let run = home.aaa(&arguments).ends(0);
        assert_eq!(run.stderr, "", "{path:?}");
        let usage = format!("Usage: aaa {}", path.join(" "));
        assert!(run.stdout.contains(&usage), "{path:?}: {}", run.stdout);
        assert!(
            !run.stdout.contains('`') && !run.stdout.contains("\x1b["),
            "{path:?}"
        );
        let longest = run.stdout.lines().map(|line| line.chars().count()).max();
        assert!(
            longest <= Some(130),
            "{path:?}: {longest:?}\n{}",
            run.stdout
        );
    }
}

#[test]
fn every_option_says_what_it_is_for() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let told = argument.get_help().is_some() || argument.is_hide_set();
            assert!(told, "{}: {}", command.get_name(), argument.get_id());
        }
        assert!(command.get_about().is_some(), "{}", command.get_name());
        command.get_subcommands().for_each(check);
    }
    check(&aaa::command());
}

#[test]
fn the_version_has_the_commit() {
    let version = Home::new().aaa(&["-V"]).ends(0).stdout;
    let expected = concat!("aaa ", env!("CARGO_PKG_VERSION"), " (");
    assert!(version.starts_with(expected), "{version}");
}

#[test]
fn one_program_is_all_of_them() {
    use std::os::unix::process::CommandExt as _;
    let home = Home::new();
    for name in ["aaa-login", "/usr/bin/aaa-signer"] {
        let called = run(home.command(&["--version"]).arg0(name), b"").ends(0);
        let expected = format!("{} ", name.rsplit('/').next().unwrap());
        assert!(called.stdout.starts_with(&expected), "{called:?}");
        run(home.command(&["run", "--config", "none"]).arg0(name), b"")
            .ends(64)
            .says("nothing was started");
    }
}

#[test]
fn wrong_usage_ends_with_64() {
    let home = Home::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["login", "--nonsense"],
        &["token", "verify", "x"],
        &["sign"],
        &["serve"],
        &["keys", "generate"],
        &["token", "issue", "client", "up=bob"],
        &["serve", "--dev", "--config", "x"],
        &["completions", "tcsh"],
    ] {
        let run = home.aaa(arguments).ends(64).without_data();
        assert!(
            run.stderr.starts_with("aaa: ") || run.stderr.contains("Usage: aaa"),
            "{arguments:?}: {}",
            run.stderr
        );
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = home.aaa(&["completions", shell]).ends(0).stdout;
        assert!(
            script.contains("whoami") && script.contains("argon2id"),
            "{shell}"
        );
    }
    let page = home.aaa(&["man"]).ends(0).stdout;
    assert!(page.contains(".TH aaa 1"), "{page}");
    let page = home.aaa(&["man", "aaa-signer"]).ends(0).stdout;
    assert!(page.contains(".TH aaa-signer 8") && page.contains("check\\-config"));
    let written = home.aaa(&["man", "--dir", "man/man1"]).ends(0).stdout;
    assert_eq!(written.lines().count(), all().len() + 1);
    for path in all() {
        let page = home.read(&format!("man/man1/aaa-{}.1", path.join("-")));
        assert!(page.contains(".SH SYNOPSIS"), "{path:?}");
    }
}

#[test]
fn colour_is_for_terminals() {
    let home = Home::new();
    let help = home.aaa(&["--help"]).stdout;
    assert!(!help.contains('\x1b'));
    let error = home.aaa(&["frobnicate"]).stderr;
    assert!(!error.contains('\x1b'));
}
