//! The manual is right: its links lead somewhere, its commands do what it says that they do.
//!
//! In a page, what stands in a block `console` is typed: lines that begin with `$ ` are commands, the others what they say. `…` in them
//! stands for any text, and alone on a line for any lines; times, ids and keys are any. A command that fails is followed by
//! `$ echo $?`. A block with a title is a file: `json title="login.json"`. Pages begin in an empty directory, which is also the home.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

mod likeness;
mod links;
mod page;
mod terminal;

use std::path::{Path, PathBuf};

use page::{Block, Page};
use terminal::Terminal;

/// The root of the repository.
fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// What is written in Markdown for people, with its place under the root.
fn pages() -> Vec<Page> {
    let mut paths = vec![PathBuf::from("README.md"), PathBuf::from("ARCHITECTURE.md")];
    let mut directories = vec![root().join("docs")];
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(&root(), path)).collect()
}

/// Types a page: what was not as it says.
fn follow(page: &Page) -> Result<usize, String> {
    let mut terminal = Terminal::new();
    let mut commands = 0;
    for block in &page.blocks {
        match block {
            Block::File { name, text } => terminal.write(name, text),
            Block::Console(steps) => {
                for step in steps {
                    commands += 1;
                    terminal
                        .run(step)
                        .map_err(|wrong| format!("{}:{}: {wrong}", page.name(), step.line))?;
                }
            }
        }
    }
    terminal.close()?;
    Ok(commands)
}

#[test]
fn what_the_manual_says_to_type_does_what_it_says() {
    let pages = pages();
    let followed: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = pages
            .iter()
            .map(|page| (page, scope.spawn(|| follow(page))))
            .collect();
        threads
            .into_iter()
            .map(|(page, thread)| (page.name(), thread.join().unwrap()))
            .collect()
    });
    let wrong: Vec<&String> = followed
        .iter()
        .filter_map(|(_, r)| r.as_ref().err())
        .collect();
    assert!(
        wrong.is_empty(),
        "{}",
        wrong
            .iter()
            .map(|w| w.as_str())
            .collect::<Vec<_>>()
            .join("\n\n")
    );
    // A page whose blocks are not found is a page that nobody tries.
    for name in [
        "README.md",
        "docs/tutorial.md",
        "docs/policy.md",
        "docs/audit.md",
        "docs/login.md",
    ] {
        let typed = followed.iter().find(|(page, _)| page == name);
        assert!(matches!(typed, Some((_, Ok(1..)))), "{name}: {typed:?}");
    }
    let guides = followed
        .iter()
        .filter(|(page, _)| page.starts_with("docs/howto/"));
    for guide in guides {
        assert!(matches!(guide, (_, Ok(1..))), "{guide:?}");
    }
}

#[test]
fn links_lead_to_pages_and_headings_that_there_are() {
    let wrong = links::wrong(&root(), &pages());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_of_the_manual_is_in_its_summary() {
    let pages = pages();
    let summary = pages
        .iter()
        .find(|page| page.name() == "docs/SUMMARY.md")
        .unwrap();
    let listed = links::targets(summary);
    for page in &pages {
        if let Some(name) = page.name().strip_prefix("docs/")
            && name != "SUMMARY.md"
            && !name.starts_with("examples/")
        {
            assert!(
                listed.iter().any(|target| target == name),
                "{name} is not in SUMMARY.md"
            );
        }
    }
}
