//! `aaa demo`.

use super::support::Home;

/// The output with what differs from run to run replaced.
fn filtered(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<String> = Vec::new();
        for word in line.split(' ') {
            let number = word.trim_start_matches('(').parse::<f64>().is_ok();
            words.push(if word.starts_with("https://127.0.0.1:") {
                "https://127.0.0.1:PORT".to_owned()
            } else if number && words.len() > 3 && line.contains(" ms") {
                word.replace(|c: char| c.is_ascii_digit() || c == '.', "") + "N"
            } else {
                word.to_owned()
            });
        }
        lines.push(words.join(" "));
    }
    lines.join("\n")
}

#[test]
fn the_main_job_from_nothing_and_again() {
    let home = Home::new();
    let run = home.aaa(&["demo"]).ends(0);
    assert_eq!(run.stderr, "");
    insta::assert_snapshot!(filtered(&run.stdout));
    let again = home.aaa(&["demo"]).ends(0);
    let expected = filtered(&run.stdout).replace("keys made in", "keys found in");
    assert_eq!(filtered(&again.stdout), expected);
}

#[test]
fn a_step_that_goes_wrong_ends_it() {
    let home = Home::new();
    home.aaa(&["demo", "--dir", "d"]).ends(0);
    home.write("d/alice.password", "wrong");
    let run = home
        .aaa(&["demo", "--dir", "d"])
        .ends(1)
        .says("the demo did not go as expected: ");
    assert!(run.stderr.contains("Login failed"), "{}", run.stderr);
    home.write("d/config.json", "{}");
    home.aaa(&["demo", "--dir", "d"])
        .ends(1)
        .says("the services did not start:");
}
