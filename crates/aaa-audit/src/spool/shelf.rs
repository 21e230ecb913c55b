//! The files of a spool: segments of entries, oldest first, and a mark up to where they have been delivered.
//!
//! One thread owns it. An entry is added at the end of the newest segment and read from the mark on; a segment that is
//! delivered to its end is removed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::frame::{self, Entry, Found};

/// From this size on a new segment is begun.
const SEGMENT: u64 = 8 << 20;

/// The files in the directory.
const LOCK: &str = "lock";
const MARK: &str = "delivered";
const ENTRIES: &str = "records";
const DAMAGED: &str = "damaged";
const ASIDE: &str = "aside";

/// What was found when a spool was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Entries that wait to be delivered.
    pub records: u64,
    /// Files with what could not be read, kept aside for whoever wants to look: path and bytes.
    pub damaged: Vec<(PathBuf, u64)>,
}

pub(super) struct Shelf {
    directory: PathBuf,
    segments: VecDeque<Segment>,
    /// The newest segment, while it is being added to.
    open: Option<File>,
    /// How much of the oldest segment is delivered.
    mark: u64,
    /// The number of the next segment: none that was used before, so that no mark and no file kept aside is about another.
    next: u64,
    /// The file with the mark.
    marked: File,
    /// Held as long as the spool lives, so that no two services share one.
    _lock: File,
}

struct Segment {
    number: u64,
    bytes: u64,
}

impl Shelf {
    /// Opens the spool in a directory, which is made if it is not there. What a crash or a bad disk left is kept aside.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Opened)> {
        make_directory(directory)?;
        let lock = private()
            .create(true)
            .truncate(false)
            .open(directory.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                io::Error::other("another process uses this spool; each service needs its own")
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let mut shelf = Self {
            directory: directory.to_owned(),
            segments: VecDeque::new(),
            open: None,
            mark: 0,
            next: 0,
            marked: private()
                .read(true)
                .create(true)
                .truncate(false)
                .open(directory.join(MARK))?,
            _lock: lock,
        };
        let opened = shelf.recover()?;
        Ok((shelf, opened))
    }

    fn recover(&mut self) -> io::Result<Opened> {
        let mut opened = Opened::default();
        let mark = Mark::read(&self.marked);
        let used = numbers(&self.directory, DAMAGED)?.into_iter().next_back();
        self.next = used
            .max(mark.map(|mark| mark.number))
            .map_or(0, |number| number + 1);
        for number in numbers(&self.directory, ENTRIES)? {
            self.next = self.next.max(number + 1);
            if mark.is_some_and(|mark| number < mark.number) {
                fs::remove_file(self.path(number))?;
                continue;
            }
            let from = mark.filter(|mark| mark.number == number);
            let from = from.map_or(0, |mark| mark.offset);
            let found = self.check(number, from, &mut opened.damaged)?;
            if found.records == 0 {
                fs::remove_file(self.path(number))?;
                continue;
            }
            opened.records += found.records;
            if self.segments.is_empty() {
                self.mark = found.from;
            }
            let bytes = found.bytes;
            self.segments.push_back(Segment { number, bytes });
        }
        Ok(opened)
    }

    /// Counts the entries of a segment behind a mark, and cuts off what is none, and what was set aside for more.
    fn check(
        &self,
        number: u64,
        from: u64,
        damaged: &mut Vec<(PathBuf, u64)>,
    ) -> io::Result<Checked> {
        let path = self.path(number);
        let content = fs::read(&path)?;
        let mut checked = Checked::walk(&content, from);
        if checked.records == 0 && from != content.len() as u64 {
            // No entry begins there. Unless one ends there, the mark is not to be believed.
            let all = Checked::walk(&content, 0);
            if all.bytes != from {
                checked = all;
            }
        }
        let end = usize::try_from(checked.bytes).unwrap_or(usize::MAX);
        let bad = content.get(end..).unwrap_or_default();
        if !bad.is_empty() {
            let aside = path.with_extension(DAMAGED);
            keep_apart(&aside, bad)?;
            damaged.push((aside, bad.len() as u64));
        }
        private().open(&path)?.set_len(checked.bytes)?;
        Ok(checked)
    }

    /// Bytes that the segments take up.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Puts frames on disk, all or none.
    pub(super) fn add(&mut self, frames: &[u8]) -> io::Result<()> {
        if self
            .segments
            .back()
            .is_none_or(|last| last.bytes >= SEGMENT)
        {
            self.open = None;
        }
        let begins = self.open.is_none();
        let file = match self.open.take() {
            Some(file) => file,
            None => self.begin()?,
        };
        let before = self.segments.back().map_or(0, |last| last.bytes);
        match write_durably(&file, frames) {
            Ok(()) => {
                if begins {
                    // The name must last as its content does.
                    File::open(&self.directory)?.sync_all()?;
                }
                if let Some(last) = self.segments.back_mut() {
                    last.bytes += frames.len() as u64;
                }
                self.open = Some(file);
                Ok(())
            }
            Err(error) => {
                // What was written in part is no entry: should it stay, the next start keeps it aside.
                let _cut = file.set_len(before);
                if begins {
                    let emptied = self.segments.pop_back();
                    if let Some(segment) = emptied {
                        let _removed = fs::remove_file(self.path(segment.number));
                    }
                }
                Err(error)
            }
        }
    }

    fn begin(&mut self) -> io::Result<File> {
        let number = self.next;
        let file = private()
            .create_new(true)
            .append(true)
            .open(self.path(number))?;
        self.next += 1;
        self.segments.push_back(Segment { number, bytes: 0 });
        // In space that it has already an entry waits half as long for the disk. A disk that cannot set space aside takes entries all
        // the same.
        let _slower = rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, SEGMENT);
        Ok(file)
    }

    /// The oldest entries that are not delivered, up to so many and about so many bytes; at least one if there is one.
    pub(super) fn read(&self, entries: usize, bytes: usize) -> io::Result<Vec<Entry>> {
        let mut read = Vec::new();
        let (mut size, mut from) = (0, self.mark);
        for segment in &self.segments {
            let content = self.content(segment, from, bytes)?;
            let whole = from + content.len() as u64 == segment.bytes;
            from = 0;
            let mut rest = content.as_slice();
            while read.len() < entries && size < bytes {
                match frame::read(rest) {
                    Found::Entry(entry, taken) => {
                        rest = rest.get(taken..).unwrap_or_default();
                        size += taken;
                        read.push(entry);
                    }
                    Found::End => break,
                    // The end of what was read is not the end of the segment.
                    Found::Damage if !whole && !read.is_empty() => return Ok(read),
                    Found::Damage => {
                        let name = self.path(segment.number);
                        let text = format!("{}: changed while in use", name.display());
                        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                    }
                }
            }
            if !whole || read.len() >= entries || size >= bytes {
                break;
            }
        }
        Ok(read)
    }

    /// About so many bytes of a segment, and the whole of the first entry.
    fn content(&self, segment: &Segment, from: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(segment.number))?;
        file.seek(SeekFrom::Start(from))?;
        let left = segment.bytes.saturating_sub(from);
        let mut content = Vec::new();
        let some = left.min(bytes as u64);
        (&file).take(some).read_to_end(&mut content)?;
        if let Some(first) = frame::size(&content).filter(|first| *first > content.len()) {
            let more = left.min(first as u64) - some;
            (&file).take(more).read_to_end(&mut content)?;
        }
        Ok(content)
    }

    /// Notes that the oldest entries have been delivered: so many bytes of frames.
    pub(super) fn release(&mut self, mut bytes: u64) -> io::Result<()> {
        let mut delivered = Vec::new();
        while let Some(oldest) = self.segments.front() {
            let left = oldest.bytes - self.mark;
            if bytes < left {
                break;
            }
            bytes -= left;
            delivered.push(oldest.number);
            self.segments.pop_front();
            self.mark = 0;
            if self.segments.is_empty() {
                self.open = None;
            }
        }
        self.mark += bytes;
        let number = self
            .segments
            .front()
            .map_or(self.next, |first| first.number);
        // Before they go: should this be the end, the next start removes what lies before the mark.
        let offset = self.mark;
        Mark { number, offset }.write(&self.marked)?;
        for number in delivered {
            fs::remove_file(self.path(number))?;
        }
        Ok(())
    }

    /// Keeps the oldest entry in a file of its own, for whoever wants to look: it is never delivered.
    pub(super) fn keep_aside(&mut self, entry: &Entry) -> io::Result<PathBuf> {
        let number = self.segments.front().map_or(0, |first| first.number);
        let name = format!("{number:016}-{}.{ASIDE}", self.mark);
        let path = self.directory.join(name);
        keep_apart(&path, &entry.line)?;
        File::open(&self.directory)?.sync_all()?;
        self.release(entry.size() as u64)?;
        Ok(path)
    }

    /// Whether the disk takes so many bytes.
    pub(super) fn try_disk(&self, bytes: u64) -> io::Result<()> {
        let path = self.directory.join("trial");
        let mut file = private().create(true).truncate(true).open(&path)?;
        let written =
            io::copy(&mut io::repeat(0).take(bytes), &mut file).and_then(|_| file.sync_all());
        fs::remove_file(path)?;
        written
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:016}.{ENTRIES}"))
    }
}

/// What a segment holds.
struct Checked {
    /// Entries that are not delivered.
    records: u64,
    /// Where the first of them begins.
    from: u64,
    /// Where the last one ends.
    bytes: u64,
}

impl Checked {
    /// Goes from entry to entry.
    fn walk(content: &[u8], from: u64) -> Self {
        let mut at = usize::try_from(from).unwrap_or(usize::MAX);
        let mut records = 0;
        while let Some(rest) = content.get(at..)
            && let Found::Entry(_, size) = frame::read(rest)
        {
            records += 1;
            at += size;
        }
        let bytes = at.min(content.len()) as u64;
        Self {
            records,
            from,
            bytes,
        }
    }
}

/// Up to where entries are delivered: the segment, and the offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    number: u64,
    offset: u64,
}

impl Mark {
    /// Always as long, so that a new mark covers the old one wherever it ends.
    const LENGTH: usize = 20 + 1 + 20 + 1 + 8 + 1;

    /// The mark in a file; `None` when there is none that can be believed, and entries are delivered once more.
    fn read(file: &File) -> Option<Self> {
        let mut text = [0; Self::LENGTH];
        file.read_exact_at(&mut text, 0).ok()?;
        let mut words = str::from_utf8(&text).ok()?.split_whitespace();
        let (number, offset) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let mark = Self { number, offset };
        (mark.line().as_bytes() == text).then_some(mark)
    }

    fn write(self, file: &File) -> io::Result<()> {
        file.write_all_at(self.line().as_bytes(), 0)
    }

    fn line(self) -> String {
        let text = format!("{:020} {:020}", self.number, self.offset);
        format!("{text} {:08x}\n", crc32fast::hash(text.as_bytes()))
    }
}

/// Puts on disk what is not to be delivered.
fn keep_apart(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = private().create(true).truncate(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn write_durably(mut file: &File, frames: &[u8]) -> io::Result<()> {
    file.write_all(frames)?;
    file.sync_data()
}

/// Records name people: nobody but the service reads them.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn make_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
}

/// The numbers of the files of a kind in a directory, in their order.
fn numbers(directory: &Path, kind: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            let name = path.file_stem().and_then(|stem| stem.to_str());
            numbers.extend(name.and_then(|name| name.parse::<u64>().ok()));
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
impl Shelf {
    /// A segment that is this file.
    pub(super) fn write_to(&mut self, file: File) {
        self.begin().unwrap();
        self.open = Some(file);
    }
}

#[cfg(test)]
mod tests;
