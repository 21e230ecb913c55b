//! Files that a configuration names: keys, certificates, lists of users.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aaa_core::secret::Secret;
use aws_lc_rs::digest;

/// The largest key or certificate file, in bytes, when nothing else is said.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What stood in a file when it was read. Taken for a secret: it has no `Debug`, and is wiped on drop.
pub struct FileContent {
    path: PathBuf,
    bytes: Secret<Vec<u8>>,
    digest: Digest,
    mode: u32,
}

/// The files of a directory with one of these endings, or names, by name. Hidden ones are left out: editors keep theirs there.
///
/// # Errors
/// When the directory cannot be read, or has more than `most` entries.
pub fn files_in(
    directory: &Path,
    endings: &[&str],
    names: &[&str],
    most: usize,
) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for (count, entry) in std::fs::read_dir(directory)?.enumerate() {
        if count >= most {
            return Err(io::Error::other(format!("more than {most} files")));
        }
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let ending = path.extension().and_then(|ending| ending.to_str());
        let meant = name.is_some_and(|name| names.contains(&name))
            || ending.is_some_and(|ending| endings.contains(&ending));
        if meant && name.is_some_and(|name| !name.starts_with('.')) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// SHA-256 of a file's content, to see whether it changed without keeping it.
pub(crate) type Digest = [u8; 32];

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("no such file")]
    Missing,
    /// Not a file.
    #[error("is a directory")]
    Directory,
    /// A pipe, a socket, a device: reading it could take for ever.
    #[error("is not a regular file")]
    NotRegular,
    /// Over the limit of this many bytes.
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    /// The system refuses, mostly for want of permission.
    #[error("cannot be read ({0})")]
    Unreadable(io::ErrorKind),
}

impl FileContent {
    /// Reads a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// When there is none, it is not a regular file, it is too large, or the system refuses.
    pub fn read(path: &Path, limit: u64) -> Result<Self, FileError> {
        // Looked at before it is opened, because opening a pipe waits for its other end.
        regular(&std::fs::metadata(path).map_err(|e| refused(&e))?)?;
        let mut file = File::open(path).map_err(|e| refused(&e))?;
        let metadata = file.metadata().map_err(|e| refused(&e))?;
        regular(&metadata)?;
        if metadata.len() > limit {
            return Err(FileError::TooLarge(limit));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        let read = file
            .by_ref()
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| refused(&e))?;
        if read as u64 > limit {
            return Err(FileError::TooLarge(limit));
        }
        Ok(Self {
            path: path.to_owned(),
            digest: sha256(&bytes),
            bytes: Secret::new(bytes),
            mode: metadata.permissions().mode() & 0o7777,
        })
    }

    /// Where it was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.expose()
    }

    /// What stands in it as a text, if it is one.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()).ok()
    }

    /// Whether everybody on the machine may read it.
    pub fn world_readable(&self) -> bool {
        self.mode & 0o004 != 0
    }

    /// Its permission bits.
    pub(crate) fn mode(&self) -> u32 {
        self.mode
    }

    /// SHA-256 of what stands in it.
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

/// SHA-256 of this.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    for (to, from) in out
        .iter_mut()
        .zip(digest::digest(&digest::SHA256, bytes).as_ref())
    {
        *to = *from;
    }
    out
}

fn regular(metadata: &Metadata) -> Result<(), FileError> {
    if metadata.is_dir() {
        Err(FileError::Directory)
    } else if metadata.is_file() {
        Ok(())
    } else {
        Err(FileError::NotRegular)
    }
}

fn refused(error: &io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing,
        kind => FileError::Unreadable(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_files_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("seed");
        std::fs::write(&path, "abc").unwrap();
        let content = FileContent::read(&path, 3).unwrap();
        assert_eq!(content.text(), Some("abc"));
        assert_eq!(content.path(), path);
        assert!(matches!(
            FileContent::read(&path, 2),
            Err(FileError::TooLarge(2))
        ));
        assert!(matches!(
            FileContent::read(dir.path(), 9),
            Err(FileError::Directory)
        ));
        assert!(matches!(
            FileContent::read(&dir.path().join("none"), 9),
            Err(FileError::Missing)
        ));
        assert!(matches!(
            FileContent::read(Path::new("/dev/zero"), 9),
            Err(FileError::NotRegular)
        ));
    }

    #[test]
    fn directories_are_listed_by_ending_without_what_is_hidden() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.json", ".#a.json", "a.json~", "yaml"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let found = files_in(dir.path(), &["json"], &["b.yaml"], 5).unwrap();
        assert_eq!(
            found,
            ["a.json", "b.yaml"].map(|name| dir.path().join(name))
        );
        assert!(files_in(dir.path(), &["json"], &[], 4).is_err());
        assert!(files_in(&dir.path().join("none"), &["json"], &[], 4).is_err());
    }
}
