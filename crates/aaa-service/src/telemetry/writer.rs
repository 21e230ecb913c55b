//! Where log lines go.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Standard error, or a file that can be opened anew. Clones share it.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Inner>);

struct Inner {
    path: Option<PathBuf>,
    /// `None` is standard error.
    target: Mutex<Target>,
}

enum Target {
    Stderr,
    File(File),
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl LogWriter {
    /// Opens the file, if there is one, to append to it.
    pub(super) fn open(path: Option<PathBuf>) -> Result<Self, String> {
        let target = match &path {
            None => Target::Stderr,
            Some(path) => Target::File(open(path)?),
        };
        Ok(Self(Arc::new(Inner {
            path,
            target: Mutex::new(target),
        })))
    }

    /// Writes one line.
    pub(super) fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut target = self.0.target.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *target {
            Target::Stderr => io::stderr().write_all(line),
            Target::File(file) => file.write_all(line),
            #[cfg(test)]
            Target::Memory(lines) => lines.write_all(line),
        }
    }

    pub(super) fn reopen(&self) -> Result<(), String> {
        let Some(path) = &self.0.path else {
            return Ok(());
        };
        let file = open(path)?;
        *self.0.target.lock().unwrap_or_else(PoisonError::into_inner) = Target::File(file);
        Ok(())
    }

    pub(super) fn flush(&self) {
        let mut target = self.0.target.lock().unwrap_or_else(PoisonError::into_inner);
        if let Target::File(file) = &mut *target {
            let _ = file.flush();
        }
    }
}

/// Log lines tell who did what: nobody but the owner and the group may read them.
fn open(path: &std::path::Path) -> Result<File, String> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
        .map_err(|e| {
            format!(
                "{}: cannot be opened for writing ({})",
                path.display(),
                e.kind()
            )
        })
}

#[cfg(test)]
impl LogWriter {
    pub(super) fn memory() -> Self {
        Self(Arc::new(Inner {
            path: None,
            target: Mutex::new(Target::Memory(Vec::new())),
        }))
    }

    pub(super) fn written(&self) -> String {
        match &*self.0.target.lock().unwrap() {
            Target::Memory(lines) => String::from_utf8(lines.clone()).unwrap(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_moved_away_is_made_anew_on_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aaa.log");
        let writer = LogWriter::open(Some(path.clone())).unwrap();
        writer.write(b"one\n").unwrap();
        std::fs::rename(&path, dir.path().join("aaa.log.1")).unwrap();
        writer.write(b"two\n").unwrap();
        writer.reopen().unwrap();
        writer.write(b"three\n").unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("aaa.log.1"), "one\ntwo\n");
        assert_eq!(read("aaa.log"), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_reopened_leaves_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        let writer = LogWriter::open(Some(logs.join("aaa.log"))).unwrap();
        let moved = dir.path().join("moved");
        std::fs::rename(&logs, &moved).unwrap();
        assert!(writer.reopen().unwrap_err().contains("cannot be opened"));
        writer.write(b"still here\n").unwrap();
        let text = std::fs::read_to_string(moved.join("aaa.log")).unwrap();
        assert_eq!(text, "still here\n");
    }
}
