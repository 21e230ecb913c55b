//! Where records are read from: files, or a stream.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aaa_audit::reading::{Entry, LONGEST_LINE, Line, Next, StreamReader};
use aaa_service::audit::Kept;
use aaa_service::config::Document;
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;

use super::server::{ServerArgs, kept, usage};
use crate::failure::{Exit, Failure};
use crate::files;
use crate::screen;

/// How often a file that is followed is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Where records are
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where records are")]
pub(super) struct SourceArgs {
    /// Files with one record a line, also as rotation has compressed them with gzip and in any order; or - for standard input
    #[arg(value_name = "FILE", conflicts_with_all = ["config", "server", "stream"])]
    files: Vec<PathBuf>,
    /// The configuration of a service: its stream, or its file
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    config: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// The stream there
    #[arg(long, value_name = "NAME", help_heading = "Where records are")]
    stream: Option<String>,
}

/// Records to read.
pub(super) enum Source {
    Files(Vec<PathBuf>),
    Stream(Box<StreamReader>),
}

impl SourceArgs {
    /// Opens what they name.
    pub(super) async fn open(&self) -> Result<Source, Failure> {
        if !self.files.is_empty() {
            return by_their_records(&self.files).map(Source::Files);
        }
        match kept(&self.document()?)? {
            None => Err(Failure::usage(
                "the configuration keeps no records in a stream or a file",
            )),
            Some(Kept::File(_)) if self.stream.is_some() => Err(Failure::usage(
                "the configuration keeps records in a file: there is no --stream",
            )),
            Some(Kept::File(path)) => Ok(Source::Files(vec![path])),
            Some(Kept::Stream {
                connection,
                name,
                topic,
            }) => {
                let name = self.stream.as_deref().or(name.as_deref());
                let reader = StreamReader::open(&connection, name, &topic).await;
                let reader = reader.map_err(Failure::failed)?;
                Ok(Source::Stream(Box::new(reader)))
            }
        }
    }

    fn document(&self) -> Result<Document, Failure> {
        if let Some(config) = &self.config {
            return Document::load(config).map_err(|problems| usage(&problems));
        }
        match (&self.server.server, &self.stream) {
            (None, _) => Err(Failure::usage(
                "where are the records? Give FILE, --config FILE, or --server URL with --stream NAME",
            )),
            (Some(_), None) => Err(Failure::usage("which stream there? Give --stream NAME")),
            (Some(_), Some(stream)) => self.server.document(stream),
        }
    }
}

impl Source {
    /// Gives every line to `each`, from those that arrived at a time on where that is known.
    pub(super) async fn read(
        &self,
        since: Option<Timestamp>,
        each: &mut dyn FnMut(Line),
    ) -> Result<(), Failure> {
        let mut all = |next| {
            if let Next::Line(line) = next {
                each(line);
            }
            ControlFlow::Continue(())
        };
        self.walk(since, false, &mut all).await
    }

    /// The same, but says when it has come to the end; when it is followed it then goes on with what comes.
    pub(super) async fn walk(
        &self,
        since: Option<Timestamp>,
        follow: bool,
        each: &mut dyn FnMut(Next) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        let files = match self {
            Self::Stream(reader) => {
                let read = reader.read(since, follow, each).await;
                return read.map_err(Failure::failed);
            }
            Self::Files(files) => files,
        };
        let followed = match files.as_slice() {
            _ if !follow => None,
            [path] if path.as_os_str() != "-" => Some(path),
            _ => {
                let text = "--follow is for one file, or a stream";
                return Err(Failure::usage(text));
            }
        };
        let mut last = None;
        for path in files {
            let mut file = Followed::open(path)?;
            if file.rest(each)?.is_break() {
                return Ok(());
            }
            last = Some(file);
        }
        if each(Next::CaughtUp).is_break() {
            return Ok(());
        }
        match last.filter(|_| followed.is_some()) {
            Some(file) => file.follow(each).await,
            None => Ok(()),
        }
    }
}

/// The files in the order of the records that they begin with: a shell gives rotated ones by their names. Those without a record stay
/// behind, and so does standard input, which can be read once.
fn by_their_records(files: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let [_, _, ..] = files else {
        return Ok(files.to_vec());
    };
    let mut dated = Vec::with_capacity(files.len());
    for path in files {
        let mut begins = None;
        if path.as_os_str() != "-" {
            let mut first = |next| {
                if let Next::Line(line) = next {
                    begins = Entry::read(&line).ok().map(|entry| entry.time);
                }
                match begins {
                    Some(_) => ControlFlow::Break(()),
                    None => ControlFlow::Continue(()),
                }
            };
            let _broken_off = Followed::open(path)?.rest(&mut first)?;
        }
        dated.push((begins.is_none(), begins, path.clone()));
    }
    // Files that begin with the same record stay as they were given.
    dated.sort_by_key(|(undated, begins, _)| (*undated, *begins));
    Ok(dated.into_iter().map(|(_, _, path)| path).collect())
}

/// What stands in it, also when it is compressed with gzip, which its first bytes tell.
fn plain(mut from: impl Read + 'static) -> io::Result<Box<dyn BufRead>> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut begin = Vec::new();
    from.by_ref()
        .take(GZIP.len() as u64)
        .read_to_end(&mut begin)?;
    let compressed = begin == GZIP;
    let whole = Cursor::new(begin).chain(from);
    Ok(if compressed {
        // More than one, one after the other, is what a concatenation of such files has.
        Box::new(BufReader::new(MultiGzDecoder::new(whole)))
    } else {
        Box::new(BufReader::new(whole))
    })
}

/// A file that is read line by line.
struct Followed<'a> {
    path: &'a Path,
    name: String,
    reader: Box<dyn BufRead>,
    /// Which file it is, under whatever name.
    identity: Option<(u64, u64)>,
    /// The number of the last line.
    number: u64,
    /// A line that has begun.
    begun: Vec<u8>,
}

impl<'a> Followed<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        let fail = |error: io::Error| Failure::file("read", path, &error).with(Exit::Usage);
        let (name, reader, identity): (_, Box<dyn BufRead>, _) = if path.as_os_str() == "-" {
            let input = plain(io::stdin()).map_err(fail)?;
            ("standard input".to_owned(), input, None)
        } else {
            let file = File::open(path).map_err(fail)?;
            // Not of the path, under which there may be another one by now.
            let identity = files::identity(&file.metadata().map_err(fail)?);
            let name = path.display().to_string();
            (name, plain(file).map_err(fail)?, Some(identity))
        };
        Ok(Self {
            path,
            name,
            reader,
            identity,
            number: 0,
            begun: Vec::new(),
        })
    }

    /// The lines from here to the end, the last also without its end.
    fn rest(
        &mut self,
        each: &mut dyn FnMut(Next) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Failure> {
        if self.lines(each)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        Ok(self.give(each))
    }

    /// The whole lines from here to the end.
    fn lines(
        &mut self,
        each: &mut dyn FnMut(Next) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Failure> {
        loop {
            let room = LONGEST_LINE.saturating_sub(self.begun.len()) as u64;
            let taken = self
                .reader
                .by_ref()
                .take(room)
                .read_until(b'\n', &mut self.begun);
            taken.map_err(|error| Failure::file("read", self.path, &error))?;
            if self.begun.ends_with(b"\n") {
                if self.give(each).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            } else if self.begun.len() >= LONGEST_LINE {
                let (name, number) = (&self.name, self.number + 1);
                let text = format!("{name}:{number}: a line of more than {LONGEST_LINE} bytes");
                return Err(Failure::failed(text));
            } else {
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// The line that has begun, if it is one.
    fn give(&mut self, each: &mut dyn FnMut(Next) -> ControlFlow<()>) -> ControlFlow<()> {
        if self.begun.is_empty() {
            return ControlFlow::Continue(());
        }
        self.number += 1;
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.truncate(bytes.trim_ascii_end().len());
        if bytes.is_empty() {
            return ControlFlow::Continue(());
        }
        each(Next::Line(Line {
            bytes,
            place: format!("{}:{}", self.name, self.number),
            id: None,
            arrived: None,
        }))
    }

    /// Goes on with what is written, also to another file under this name.
    async fn follow(
        mut self,
        each: &mut dyn FnMut(Next) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        loop {
            let now = self.path.metadata().ok();
            let now = now.as_ref().map(files::identity);
            let moved = now.is_some() && now != self.identity;
            // Looked at before the rest is read: a file that was moved away is read to its end.
            let read = if moved {
                self.rest(each)?
            } else {
                self.lines(each)?
            };
            if read.is_break() {
                return Ok(());
            }
            if moved {
                self = Self::open(self.path)?;
            } else {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Says where lines are that are no record.
pub(super) fn warn(line: &Line, error: &aaa_audit::reading::NoRecord) {
    screen::warn(&format!("{}: {error}", line.place));
}
