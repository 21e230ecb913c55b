//! Puts the commit that a release is built from into the program.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=AAA_COMMIT");
    println!("cargo::rustc-env=AAA_COMMIT={}", commit());
}

/// What the environment says; else, for a release, what git says. A development build would be rebuilt at each commit for it.
fn commit() -> String {
    if let Ok(commit) = std::env::var("AAA_COMMIT")
        && !commit.is_empty()
    {
        return commit;
    }
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return "development".to_owned();
    }
    for watched in ["HEAD", "logs/HEAD"] {
        // A path that does not exist would make cargo run this each time.
        if let Some(path) = git(&["rev-parse", "--git-path", watched])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
