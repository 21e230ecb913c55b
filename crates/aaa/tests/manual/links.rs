//! Links of the manual.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::page::Page;

/// Where files are that are not part of the book.
const REPOSITORY: &str = "https://github.com/choria-io/aaa/tree/main/";

/// The links of a page with their lines, without those that lead elsewhere than to files.
fn links(page: &Page) -> Vec<(usize, String)> {
    let pattern = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let code = Regex::new(r"`[^`]*`").unwrap();
    let mut links = Vec::new();
    for (number, line) in &page.prose {
        let line = code.replace_all(line, "");
        for found in pattern.captures_iter(&line) {
            let target = &found[1];
            let elsewhere = target.contains("://") && !target.starts_with(REPOSITORY);
            if !elsewhere && !target.starts_with("mailto:") {
                links.push((*number, target.to_owned()));
            }
        }
    }
    links
}

/// What the links of a page lead to.
pub(crate) fn targets(page: &Page) -> Vec<String> {
    links(page).into_iter().map(|(_, target)| target).collect()
}

/// Links that lead nowhere.
pub(crate) fn wrong(root: &Path, pages: &[Page]) -> Vec<String> {
    let headings: BTreeMap<&Path, Vec<String>> = pages
        .iter()
        .map(|page| (page.path.as_path(), headings(page)))
        .collect();
    let mut wrong = Vec::new();
    for page in pages {
        for (number, link) in links(page) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match (file, file.strip_prefix(REPOSITORY)) {
                ("", _) => page.path.clone(),
                (_, Some(file)) => plain(Path::new(file)),
                (file, None) => plain(&page.path.parent().unwrap().join(file)),
            };
            let place = format!("{}:{number}: {link}", page.name());
            let of_the_book = |path: &Path| path.starts_with("docs");
            if !file.starts_with(REPOSITORY) && of_the_book(&page.path) && !of_the_book(&target) {
                wrong.push(format!("{place}: leads out of the book; say {REPOSITORY}…"));
            } else if !root.join(&target).exists() {
                wrong.push(format!("{place}: no such file"));
            } else if !heading.is_empty()
                && headings
                    .get(target.as_path())
                    .is_some_and(|known| !known.iter().any(|known| known == heading))
            {
                wrong.push(format!("{place}: no such heading"));
            }
        }
    }
    wrong
}

/// Headings as links name them.
fn headings(page: &Page) -> Vec<String> {
    let headings = page.prose.iter().filter(|(_, line)| line.starts_with('#'));
    headings
        .map(|(_, line)| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            text.chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || c == '_' || c == '-' => Some(c),
                    _ => None,
                })
                .collect()
        })
        .collect()
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}
