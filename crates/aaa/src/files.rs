//! Files of people: read with a limit, written whole or not at all.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, IsTerminal, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aaa_core::secret::Secret;

use crate::failure::{Exit, Failure};

/// The largest file that is read, in bytes. Keys, tokens and requests are far smaller.
pub(crate) const MAX_FILE: u64 = 1024 * 1024;

/// Who may read a file that we write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its owner: 0600.
    Private,
    /// Everybody: 0644.
    Public,
}

/// Reads a file that the command line or a configuration names: when it cannot be read, that is what is wrong.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| unread(path, &error))?;
    bounded(file, &path.display().to_string())
}

fn unread(path: &Path, error: &io::Error) -> Failure {
    Failure::file("read", path, error).with(Exit::Usage)
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    if path != Path::new("-") {
        return read(path);
    }
    let input = io::stdin();
    if input.is_terminal() {
        return Err(Failure::usage(
            "nothing to read: name a file, or send the data to standard input",
        ));
    }
    bounded(input.lock(), "standard input")
}

/// Reads a file that holds one secret.
pub(crate) fn read_secret(path: &Path) -> Result<Secret<Vec<u8>>, Failure> {
    read(path).map(Secret::new)
}

/// Reads a file of text.
pub(crate) fn read_text(path: &Path) -> Result<String, Failure> {
    text(read(path)?, path)
}

/// What was read from there, as text.
pub(crate) fn text(bytes: Vec<u8>, path: &Path) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{} is not text", path.display())))
}

fn bounded(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unread(Path::new(name), &error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Failure::usage(format!("{name} is larger than 1 MiB")));
    }
    Ok(bytes)
}

/// Writes a file whole or not at all: beside its place, then moved there. A directory that is missing is made for its owner alone.
pub(crate) fn write(path: &Path, mode: Mode, content: &[u8]) -> Result<(), Failure> {
    let staged = stage(path, mode, content)?;
    staged.over()
}

/// Writes a file where there is none; an existing one is left alone, and that is an error.
pub(crate) fn write_new(path: &Path, mode: Mode, content: &[u8]) -> Result<(), Failure> {
    let staged = stage(path, mode, content)?;
    staged
        .file
        .persist_noclobber(&staged.path)
        .map_err(|error| exists_or(&staged.path, &error.error))?;
    Ok(())
}

/// That a file is there already, and what to do about it.
pub(crate) fn exists(path: &Path) -> Failure {
    Failure::usage(format!(
        "{} exists already; --force replaces it",
        path.display()
    ))
}

fn exists_or(path: &Path, error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::AlreadyExists {
        exists(path)
    } else {
        Failure::file("write", path, error)
    }
}

/// A file that is written, and not yet in its place.
pub(crate) struct Staged {
    file: tempfile::NamedTempFile,
    path: PathBuf,
}

/// Writes the content beside the place that it is for.
pub(crate) fn stage(path: &Path, mode: Mode, content: &[u8]) -> Result<Staged, Failure> {
    let failed = |error: &io::Error| Failure::file("write", path, error);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| Failure::file("make the directory", directory, &error))?;
    let mut file = tempfile::Builder::new()
        .prefix(".aaa-")
        .tempfile_in(directory)
        .map_err(|error| failed(&error))?;
    let bits = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    file.as_file()
        .set_permissions(Permissions::from_mode(bits))
        .and_then(|()| file.write_all(content))
        .and_then(|()| file.as_file().sync_all())
        .map_err(|error| failed(&error))?;
    Ok(Staged {
        file,
        path: path.to_owned(),
    })
}

impl Staged {
    /// Moves the file to its place, over what is there.
    pub(crate) fn over(self) -> Result<(), Failure> {
        let Self { file, path } = self;
        file.persist(&path)
            .map_err(|error| Failure::file("write", &path, &error.error))?;
        Ok(())
    }
}

/// Removes a file; false when there was none.
pub(crate) fn remove(path: &Path) -> Result<bool, Failure> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::file("remove", path, &error)),
    }
}

/// What makes a file the one it is, whatever it is called.
pub(crate) fn identity(there: &Metadata) -> (u64, u64) {
    (there.dev(), there.ino())
}

/// The home directory, if the environment has one.
pub(crate) fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// A path as people write it, with `~` for their home.
pub(crate) fn short(path: &Path) -> String {
    let shortened = home().and_then(|home| {
        let rest = path.strip_prefix(home).ok()?;
        Some(format!("~/{}", rest.display()))
    });
    shortened.unwrap_or_else(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn writes_whole_and_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/client.jwt");
        write(&path, Mode::Private, b"one").unwrap();
        write(&path, Mode::Private, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        // Nothing is left beside it.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_exists_is_not_overwritten_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.seed");
        write_new(&path, Mode::Public, b"one").unwrap();
        let refused = write_new(&path, Mode::Private, b"two").unwrap_err();
        assert!(
            refused.to_string().ends_with("--force replaces it"),
            "{refused}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_never_ends_is_not_read() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero is larger than 1 MiB");
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(!remove(&directory.path().join("x")).unwrap());
    }
}
