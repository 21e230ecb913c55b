//! The configuration file: one JSON object, read through static tables of settings.
//!
//! [`Document`] is the file, [`Section`] one object of it read through a [`Table`], and [`Problems`] all that is wrong with it,
//! reported at once. Files of existing sites hold the settings of login and signer together, so both programs know the same top
//! table ([`TOP`]) and each opens only its own sections.

mod file;
mod json;
mod problems;
mod section;
mod setting;
mod top;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

pub(crate) use file::{Digest, sha256};
pub use file::{FileContent, FileError, MAX_FILE_BYTES, files_in};
pub(crate) use problems::write_lines;
pub use problems::{Problem, Problems, Topic};
pub use section::Section;
pub use setting::{Described, Kind, Setting, Table};
pub use top::{TELEMETRY, TOP};

use crate::audit::{JETSTREAM_AUDITOR, LOGFILE_AUDITOR, STREAM};

/// The sections that every service has.
pub static SECTIONS: &[Described] = &[
    ("", TOP),
    ("telemetry", TELEMETRY),
    ("logfile_auditor", LOGFILE_AUDITOR),
    ("jetstream_auditor", JETSTREAM_AUDITOR),
    ("jetstream_auditor.stream", STREAM),
];

use section::Place;

/// One configuration file and what was found wrong with it so far.
pub struct Document {
    map: Map<String, Value>,
    problems: Mutex<Problems>,
}

impl Document {
    /// Reads a file of at most 1 MiB.
    ///
    /// # Errors
    /// When it cannot be read, is no JSON object, or has a key twice.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let name = path.display().to_string();
        match FileContent::read(path, json::MAX_BYTES) {
            Ok(content) => Self::parse(&name, content.bytes()),
            Err(error) => {
                let mut problems = Problems::new(name);
                let text = match error {
                    FileError::TooLarge(_) => json::too_large(),
                    other => other.to_string(),
                };
                problems.push("file", text);
                Err(problems)
            }
        }
    }

    /// Reads the text of a file; `name` is what problems call it.
    ///
    /// # Errors
    /// When it is no JSON object, is too large, or has a key twice.
    pub fn parse(name: &str, text: &[u8]) -> Result<Self, Problems> {
        Ok(Self {
            map: json::parse(name, text)?,
            problems: Mutex::new(Problems::new(name)),
        })
    }

    /// The name of the file, as it was given.
    pub fn name(&self) -> String {
        self.lock().file().to_owned()
    }

    /// The settings at the top, read through [`TOP`].
    pub fn top(&self) -> Section<'_> {
        let place = Place {
            key: "".into(),
            index: None,
        };
        Section::open(self, place, &self.map, TOP)
    }

    /// A section of the top level, read through its table.
    pub fn section(&self, key: &str, table: &'static Table) -> Option<Section<'_>> {
        self.top().section(key, table)
    }

    /// Says that something is wrong; `key` is the full one.
    pub fn problem(&self, key: impl AsRef<str>, text: impl Into<String>) {
        self.lock().push(key, text);
    }

    /// Says a word that does not keep the service from starting.
    pub fn warn(&self, key: impl AsRef<str>, text: impl Into<String>) {
        self.warn_of(Topic::Setting, key, text);
    }

    /// The same, about this.
    pub fn warn_of(&self, topic: Topic, key: impl AsRef<str>, text: impl Into<String>) {
        self.lock().warn_of(topic, key, text);
    }

    /// All problems and warnings found so far.
    pub fn problems(&self) -> Problems {
        self.lock().clone()
    }

    /// An error with all problems, when there is one that keeps the service from starting.
    pub fn finish(&self) -> Result<(), Problems> {
        let problems = self.problems();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Problems> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
