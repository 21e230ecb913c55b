//! `aaa config reference`: every setting that there is, from the tables with which the services read them.

use std::fmt::Write as _;

use aaa_service::choria::CHORIA;
use aaa_service::config::{Described, Kind, Setting};

use crate::failure::{Exit, Failure};
use crate::screen;

/// Print the reference of all settings
///
/// In Markdown, made from the tables with which the services read their configuration: what each setting does, what it holds, its
/// default, and an example.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

const INTRODUCTION: &str = "\
# Every setting

The configuration is one JSON object. Login service and signer read the same file and know the same settings; each looks at its own
sections. `aaa config check FILE` names everything that is wrong in a file, `aaa doctor FILE` also what is unsafe.

- *Path*: of a file or directory. *Followed* files are taken anew when they change, without a restart.
- *Duration*: a number and a unit, also several: `300ms`, `90s`, `1h30m`.
- *Words*: a list of texts, or one text with commas between them.
- A setting that is `null` or an empty text is as good as absent.

This page is printed by `aaa config reference`, a table for each section of the file.
";

const HEAD: &str = "\n| setting | what it says | what it holds |\n|---|---|---|\n";

const CHORIA_CONFIG: &str = "
## In the Choria configuration

What a signer reads of the file that `choria_config` names, which has lines of `key = value`, and of the files of `plugin.d` beside it.
";

pub(super) fn run(_: &Args) -> Result<Exit, Failure> {
    screen::data(&page()).map(|()| Exit::Done)
}

/// All sections, in the order of the page.
fn sections() -> impl Iterator<Item = &'static Described> {
    [
        aaa_service::config::SECTIONS,
        aaa_login::settings::SECTIONS,
        aaa_signer::settings::SECTIONS,
    ]
    .into_iter()
    .flatten()
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (path, table) in sections() {
        let _infallible = match *path {
            "" => writeln!(page, "\n## At the top"),
            path => writeln!(page, "\n## {path}\n\n{}", doc(path)),
        };
        page.push_str(HEAD);
        for setting in *table {
            row(&mut page, setting);
        }
    }
    page.push_str(CHORIA_CONFIG);
    page.push_str(HEAD);
    for setting in CHORIA {
        row(&mut page, setting);
    }
    page
}

/// What the section around says of a section.
fn doc(path: &str) -> &'static str {
    let path = path.trim_end_matches("[]");
    let (around, key) = path.rsplit_once('.').unwrap_or(("", path));
    sections()
        .find(|(other, _)| *other == around)
        .and_then(|(_, table)| table.iter().find(|setting| setting.key == key))
        .map_or("", |setting| setting.doc)
}

/// A setting as a row of the table of its section.
fn row(page: &mut String, setting: &Setting) {
    let mut holds = kind(setting.kind);
    if let Some(default) = setting.default {
        let _infallible = write!(holds, ". Default: `{default}`");
    }
    if !setting.example.is_empty() {
        let _infallible = write!(holds, ". Example: `{}`", setting.example);
    }
    let cells = [&format!("`{}`", setting.key), setting.doc, &holds];
    // A bar would end the cell, in code too.
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    let _infallible = writeln!(page, "| {} |", cells.join(" | "));
}

/// What a setting holds.
fn kind(kind: Kind) -> String {
    match kind {
        Kind::Text => "Text".to_owned(),
        Kind::Secret => "Text that nobody may see".to_owned(),
        Kind::OneOf(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("One of {}", words.join(", "))
        }
        Kind::Path => "Path".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Integer { min, max: i64::MAX } => format!("Whole number, {min} or more"),
        Kind::Integer { min, max } => format!("Whole number from {min} to {max}"),
        Kind::Ratio => "Number from 0 to 1".to_owned(),
        Kind::Port => "Port, as a number or a text".to_owned(),
        Kind::Duration => "Duration".to_owned(),
        Kind::List => "List of texts".to_owned(),
        Kind::Words => "Words".to_owned(),
        Kind::Map => "Object whose members are texts".to_owned(),
        Kind::Section => "Object".to_owned(),
        Kind::Sections => "List of objects".to_owned(),
        Kind::Obsolete(why) => format!("Ignored: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use aaa_service::config::Document;
    use serde_json::Value;

    use super::*;

    /// Objects whose members have names of the site's choosing, and what is read as another section.
    const WITHOUT_TABLE: [&str; 7] = [
        "certificate_authenticator.rights[].broker_permissions",
        "natsstream_auditor",
        "okta_authenticator.acls",
        "guards.collectives",
        "tasks[].forbidden_values",
        "userlist_authenticator.users[].broker_permissions",
        "okta_authenticator.groups[].broker_permissions",
    ];

    #[test]
    fn the_page_in_the_manual_is_the_one_that_is_printed() {
        let written = include_str!("../../../../../docs/reference/settings.md");
        assert!(
            written == page(),
            "run: aaa config reference > docs/reference/settings.md"
        );
    }

    #[test]
    fn every_section_that_can_be_opened_is_described() {
        let described: BTreeSet<&str> = sections().map(|(path, _)| *path).collect();
        let mut opened = BTreeSet::from([String::new()]);
        for (path, table) in sections() {
            let full = |key: &str| match *path {
                "" => key.to_owned(),
                path => format!("{path}.{key}"),
            };
            opened.extend(table.iter().filter_map(|setting| match setting.kind {
                Kind::Section => Some(full(setting.key)),
                Kind::Sections => Some(format!("{}[]", full(setting.key))),
                _ => None,
            }));
        }
        let without = WITHOUT_TABLE.iter().copied();
        let known: BTreeSet<&str> = described.iter().copied().chain(without).collect();
        let opened: BTreeSet<&str> = opened.iter().map(String::as_str).collect();
        assert_eq!(opened, known, "each belongs into SECTIONS of its crate");
    }

    #[test]
    fn what_is_read_of_a_choria_configuration_has_a_sentence_and_an_example() {
        let names: BTreeSet<&str> = CHORIA.iter().map(|setting| setting.key).collect();
        assert_eq!(names.len(), CHORIA.len());
        for setting in CHORIA {
            assert!(
                setting.doc.ends_with('.') && !setting.example.is_empty(),
                "{}",
                setting.key
            );
        }
    }

    #[test]
    fn every_setting_has_a_sentence_an_example_that_reads_and_a_name_of_its_own() {
        for (path, table) in sections() {
            let names: BTreeSet<&str> = table.iter().map(|setting| setting.key).collect();
            assert_eq!(names.len(), table.len(), "{path}");
            for setting in *table {
                let place = format!("{path}.{}", setting.key);
                assert!(setting.doc.ends_with('.'), "{place}: {}", setting.doc);
                if matches!(setting.kind, Kind::Obsolete(_)) {
                    continue;
                }
                let example: Value = serde_json::from_str(setting.example)
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
                reads(&place, table, setting, &example);
                if let Some(default) = setting.default {
                    reads(&place, table, setting, &as_json(setting.kind, default));
                }
            }
        }
    }

    /// A default as it would stand in a file.
    fn as_json(kind: Kind, default: &str) -> Value {
        match kind {
            Kind::Bool | Kind::Integer { .. } | Kind::Ratio | Kind::Port => {
                serde_json::from_str(default).unwrap()
            }
            _ => Value::from(default),
        }
    }

    /// The services' own reader finds nothing wrong with this value.
    fn reads(place: &str, table: &'static [Setting], setting: &Setting, value: &Value) {
        let text = serde_json::json!({"telemetry": {setting.key: value}}).to_string();
        let document = Document::parse("example", text.as_bytes()).unwrap();
        let section = document.section("telemetry", table).unwrap();
        let key = setting.key;
        match setting.kind {
            Kind::Text | Kind::Secret | Kind::OneOf(_) | Kind::Path => {
                assert!(section.string(key).is_some(), "{place}");
            }
            Kind::Bool => {
                section.boolean(key);
            }
            Kind::Integer { .. } => assert!(section.integer(key).is_some(), "{place}"),
            Kind::Ratio => assert!(section.ratio(key).is_some(), "{place}"),
            Kind::Port => assert!(section.port(key).is_some(), "{place}"),
            Kind::Duration => assert!(section.duration(key).is_some(), "{place}"),
            Kind::List | Kind::Words => assert!(!section.list(key).is_empty(), "{place}"),
            Kind::Map => assert!(!section.map(key).is_empty(), "{place}"),
            Kind::Section => assert!(value.is_object(), "{place}"),
            Kind::Sections => assert!(value.is_array(), "{place}"),
            Kind::Obsolete(_) => {}
        }
        let problems = document.problems();
        assert!(problems.is_empty(), "{place}: {problems}");
    }
}
