//! What an operator may say about the file, and opening it so.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, Gid, Group, access};

use super::output::Output;

/// How records are kept in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Where; empty for standard output.
    pub path: PathBuf,
    /// The file's permissions, whatever the umask. Without it, a file that is there keeps its own and a new one gets
    /// [`DEFAULT_MODE`](Self::DEFAULT_MODE). See [`parse_mode`].
    pub mode: Option<u32>,
    /// The file's group, by name or number. Without it, a file keeps its own.
    pub group: Option<String>,
    /// Whether a record is kept only when it is on disk (fdatasync, once for all records that are written together).
    pub sync: bool,
    /// How many bytes of lines may wait to be written; whoever comes when there are more waits with its line in hand.
    pub queue_bytes: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            mode: None,
            group: None,
            sync: false,
            queue_bytes: Self::DEFAULT_QUEUE_BYTES,
        }
    }
}

/// Why records cannot be kept in a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct OpenError {
    path: String,
    problem: String,
}

/// Text that is no file mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a file mode: octal digits are wanted, such as 0600 or 0640")]
pub struct ModeError(String);

/// Reads a file mode, `0640` or `640`: permissions only, and the owner must be able to write.
///
/// # Errors
/// When it is anything else.
pub fn parse_mode(text: &str) -> Result<u32, ModeError> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = (3..=4).contains(&digits.len()) && digits.bytes().all(|b| matches!(b, b'0'..=b'7'));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if octal && mode <= 0o777 && mode & 0o200 != 0 => Ok(mode),
        _ => Err(ModeError(text.to_owned())),
    }
}

impl FileOptions {
    /// The permissions of a new file when nothing is said: the owner's alone.
    pub const DEFAULT_MODE: u32 = 0o600;
    /// How much waits when nothing is said: some thousand records.
    pub const DEFAULT_QUEUE_BYTES: usize = 8 << 20;

    /// Whether records go to standard output.
    pub fn is_stdout(&self) -> bool {
        self.path.as_os_str().is_empty()
    }

    /// Whether the file could be opened, without making or changing anything: for checking a configuration.
    ///
    /// # Errors
    /// What [`FileSink::open`](super::FileSink::open) would fail with, as far as can be seen before.
    pub fn probe(&self) -> Result<(), OpenError> {
        self.group_id()?;
        if self.is_stdout() {
            return Ok(());
        }
        match self.path.metadata() {
            Ok(there) if there.is_file() => self.accessible(&self.path),
            Ok(there) if there.is_dir() => Err(self.error("is a directory; a file is wanted")),
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.accessible(directory(&self.path)),
            Err(e) => Err(self.error(&e.to_string())),
        }
    }

    fn accessible(&self, path: &Path) -> Result<(), OpenError> {
        access(path, AccessFlags::W_OK)
            .map_err(|e| self.error(&format!("{} is not writable: {}", path.display(), e.desc())))
    }

    /// Opens the file, or makes it, with the mode and group wanted.
    pub(super) fn open(&self) -> Result<Output, OpenError> {
        let group = self.group_id()?;
        let fail = |e: io::Error| self.error(&e.to_string());
        let file = if self.is_stdout() {
            File::from(io::stdout().as_fd().try_clone_to_owned().map_err(fail)?)
        } else {
            self.open_path().map_err(fail)?
        };
        let mut output = Output::over(file, &self.shown());
        let metadata = output.file().metadata().map_err(fail)?;
        if !self.is_stdout() && metadata.is_file() {
            self.own(output.file(), &metadata, group)?;
            output.torn = metadata.len() > 0 && !ends_a_line(&self.path);
        }
        if self.sync && metadata.is_file() {
            output.sync = true;
            if !self.is_stdout() {
                // A file that a crash takes out of its directory is lost with all that was synced to it.
                let directory = File::open(directory(&self.path)).map_err(fail)?;
                directory.sync_all().map_err(fail)?;
            }
        }
        Ok(output)
    }

    fn open_path(&self) -> io::Result<File> {
        // Opening a pipe that nobody reads would wait for a reader, and a service for ever at its start.
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(self.mode.unwrap_or(Self::DEFAULT_MODE))
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(&self.path)
            .map_err(|e| match e.raw_os_error() {
                Some(n) if n == nix::errno::Errno::ENXIO as i32 => {
                    io::Error::other("is a pipe or socket that nobody reads")
                }
                _ => e,
            })?;
        if !file.metadata()?.file_type().is_file() {
            let kind = file.metadata()?.file_type();
            if kind.is_fifo() || kind.is_char_device() {
                let flags = OFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GETFL)?);
                fcntl(&file, FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK))?;
            }
        }
        Ok(file)
    }

    /// Gives a file the mode and group that were asked for.
    fn own(
        &self,
        file: &File,
        metadata: &std::fs::Metadata,
        group: Option<Gid>,
    ) -> Result<(), OpenError> {
        if let Some(group) = group.filter(|group| group.as_raw() != metadata.gid()) {
            fchown(file, None, Some(group.as_raw())).map_err(|e| {
                let name = self.group.as_deref().unwrap_or_default();
                self.error(&format!("cannot be given to group {name}: {e}"))
            })?;
        }
        if let Some(mode) = self.mode.filter(|mode| *mode != metadata.mode() & 0o7777) {
            file.set_permissions(Permissions::from_mode(mode))
                .map_err(|e| self.error(&format!("cannot be given mode {mode:04o}: {e}")))?;
        }
        Ok(())
    }

    fn group_id(&self) -> Result<Option<Gid>, OpenError> {
        let Some(name) = &self.group else {
            return Ok(None);
        };
        let found = Group::from_name(name)
            .map_err(|e| self.error(&format!("group {name} cannot be looked up: {}", e.desc())))?;
        match (found, name.parse()) {
            (Some(group), _) => Ok(Some(group.gid)),
            (None, Ok(number)) => Ok(Some(Gid::from_raw(number))),
            (None, Err(_)) => Err(self.error(&format!("there is no group {name}"))),
        }
    }

    pub(super) fn error(&self, problem: &str) -> OpenError {
        OpenError {
            path: self.shown(),
            problem: problem.to_owned(),
        }
    }

    /// The path, for people.
    pub(super) fn shown(&self) -> String {
        if self.is_stdout() {
            "standard output".to_owned()
        } else {
            self.path.display().to_string()
        }
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Whether a file stops where a line does. One that we may write and not read is taken for whole.
fn ends_a_line(path: &Path) -> bool {
    let last = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        Ok::<_, io::Error>(last)
    };
    last().map_or(true, |last| last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_leave_the_owner_writing() {
        assert_eq!(parse_mode("0600"), Ok(0o600));
        assert_eq!(parse_mode("640"), Ok(0o640));
        assert_eq!(parse_mode("0o644"), Ok(0o644));
        for text in [
            "",
            "6",
            "0440",
            "0x1a4",
            "rw-r-----",
            "+640",
            "0680",
            "4755",
            "00640",
            "-0600",
        ] {
            let error = parse_mode(text).unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn the_directory_of_a_bare_name_is_the_working_one() {
        assert_eq!(directory(Path::new("audit.log")), Path::new("."));
        assert_eq!(
            directory(Path::new("/var/log/audit.log")),
            Path::new("/var/log")
        );
    }
}
