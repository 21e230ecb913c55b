//! Writing many lines at once, so that what fails halfway leaves no line that begins in the middle of another.

use std::fs::File;
use std::io::{self, Write};

use crate::sink::SPARE;

/// What lines are written to.
pub(super) struct Output<W = File> {
    to: W,
    shown: String,
    /// Whether what was written last is the beginning of a line only.
    pub(super) torn: bool,
    /// Whether lines must be on disk before they count as written.
    pub(super) sync: bool,
}

/// Something to write to that can be made to keep what it was given.
pub(super) trait Keep: Write {
    fn keep(&mut self) -> io::Result<()>;

    /// How many bytes more there is room for, where that can be known.
    fn room(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl Keep for File {
    fn keep(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn room(&self) -> io::Result<u64> {
        if !self.metadata()?.is_file() {
            return Ok(u64::MAX);
        }
        let free = rustix::fs::fstatvfs(self)?;
        Ok(free.f_bavail.saturating_mul(free.f_frsize))
    }
}

impl<W> Output<W> {
    pub(super) fn over(to: W, shown: &str) -> Self {
        Self {
            to,
            shown: shown.to_owned(),
            torn: false,
            sync: false,
        }
    }

    /// What it is, for people.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }
}

impl Output<File> {
    pub(super) fn file(&self) -> &File {
        &self.to
    }
}

impl<W: Keep> Output<W> {
    /// Tries whether lines could be written: with an empty one, which is none, when the file system has room for some.
    pub(super) fn try_out(&mut self) -> io::Result<()> {
        if self.to.room()? < SPARE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.torn = true;
        self.write_lines(b"")
    }

    /// Writes whole lines. Upon an error some of them may have been written, and one in part.
    pub(super) fn write_lines(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_once_all(b"\n")?;
        }
        self.write_once_all(lines)?;
        if self.sync {
            self.to.keep()?;
        }
        Ok(())
    }

    /// `write_all`, knowing at any time whether a line has been begun.
    fn write_once_all(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.to.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    let (done, left) = rest.split_at(n.min(rest.len()));
                    self.torn = !done.ends_with(b"\n");
                    rest = left;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A disk with so much room left, which somebody makes more of between the writes.
    #[derive(Default)]
    struct Disk {
        written: Vec<u8>,
        room: VecDeque<usize>,
        kept: usize,
        breaks: bool,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.room.pop_front() {
                Some(0) => Err(io::ErrorKind::StorageFull.into()),
                Some(room) => {
                    let n = room.min(bytes.len());
                    self.written.extend_from_slice(&bytes[..n]);
                    Ok(n)
                }
                None => {
                    self.written.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Keep for Disk {
        fn keep(&mut self) -> io::Result<()> {
            if self.breaks {
                return Err(io::Error::other("the disk is gone"));
            }
            self.kept = self.written.len();
            Ok(())
        }
    }

    fn disk(room: &[usize]) -> Output<Disk> {
        let disk = Disk {
            room: room.iter().copied().collect(),
            ..Disk::default()
        };
        Output::over(disk, "disk")
    }

    #[test]
    fn short_writes_are_completed() {
        let mut output = disk(&[3, 1]);
        output.write_lines(b"one\ntwo\n").unwrap();
        assert_eq!(output.to.written, b"one\ntwo\n");
        assert!(!output.torn);
    }

    #[test]
    fn after_a_torn_line_the_next_one_stands_alone() {
        let mut output = disk(&[6, 0]);
        let error = output.write_lines(b"one\ntwo\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        output.write_lines(b"three\n").unwrap();
        assert_eq!(output.to.written, b"one\ntw\nthree\n");
    }

    #[test]
    fn a_failure_between_lines_leaves_no_empty_one() {
        let mut output = disk(&[4, 0]);
        output.write_lines(b"one\ntwo\n").unwrap_err();
        output.write_lines(b"three\n").unwrap();
        assert_eq!(output.to.written, b"one\nthree\n");
    }

    #[test]
    fn a_disk_that_stays_full_fails_every_time_and_ends_the_line_once() {
        let mut output = disk(&[2, 0, 0, 0, 1, 0]);
        for _ in 0..4 {
            output.write_lines(b"one\n").unwrap_err();
        }
        output.write_lines(b"two\n").unwrap();
        assert_eq!(output.to.written, b"on\ntwo\n");
    }

    #[test]
    fn synced_lines_are_on_disk_or_not_written() {
        let mut output = disk(&[]);
        output.sync = true;
        output.write_lines(b"one\n").unwrap();
        assert_eq!(output.to.kept, 4);
        output.to.breaks = true;
        output.write_lines(b"two\n").unwrap_err();
    }
}
