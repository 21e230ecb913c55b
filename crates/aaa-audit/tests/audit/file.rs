//! Real files: everything that was acknowledged is there, once, whatever becomes of the file.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aaa_audit::file::{FileOptions, FileSink};
use aaa_audit::formats::Format;
use aaa_audit::reading::{Line, Verifier};
use aaa_audit::{Scribe, Sink, SinkError, Stored};
use futures_util::FutureExt as _;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::{Group, getegid, geteuid, mkfifo};
use tempfile::TempDir;

use crate::fixtures::{self, allowed, numbered};

fn at(path: impl AsRef<Path>) -> FileOptions {
    FileOptions {
        path: path.as_ref().to_owned(),
        ..FileOptions::default()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// The number of each record in a file that has nothing but whole records.
fn numbers(text: &str) -> Vec<usize> {
    let numbers = text.lines().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let site = record["site"].as_str().unwrap();
        site.split('-').nth(1).unwrap().parse().unwrap()
    });
    assert!(text.is_empty() || text.ends_with('\n'));
    numbers.collect()
}

#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    assert_eq!(sink.name(), "logfile");
    assert_eq!(sink.write(&numbered(1)).await, Ok(Stored::Kept));
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [1]);
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn an_old_file_is_added_to_and_keeps_its_mode() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    fs::write(&path, "{\"site\":\"old-0-\"}\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    sink.write(&numbered(1)).await.unwrap();
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [0, 1]);
    assert_eq!(mode(&path), 0o644);
}

#[tokio::test]
async fn a_line_that_a_crash_left_half_written_is_ended() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    fs::write(&path, "{\"action\":\"al").unwrap();
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    sink.write(&numbered(1)).await.unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let (torn, whole) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"action\":\"al");
    assert_eq!(numbers(whole), [1]);
}

#[test]
fn mode_and_group_are_as_configured_whatever_was_there() {
    let group = if geteuid().is_root() {
        Group::from_name("daemon").unwrap().unwrap()
    } else {
        Group::from_gid(getegid()).unwrap().unwrap()
    };
    let dir = TempDir::new().unwrap();
    for (name, mode_before) in [("new", None), ("old", Some(0o600))] {
        let path = dir.path().join(name);
        if let Some(before) = mode_before {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(before)).unwrap();
        }
        for text in [group.name.clone(), group.gid.to_string()] {
            let options = FileOptions {
                // More than the usual umask leaves.
                mode: Some(0o666),
                group: Some(text),
                ..at(&path)
            };
            options.probe().unwrap();
            drop(FileSink::open(options, Scribe::default()).unwrap());
            assert_eq!(mode(&path), 0o666, "{name}");
            assert_eq!(fs::metadata(&path).unwrap().gid(), group.gid.as_raw());
        }
    }
}

#[test]
fn what_cannot_be_opened_says_which_file_and_why() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("none/audit.log");
    let directory = dir.path().to_owned();
    let pipe = dir.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).unwrap();
    for (path, problem) in [
        (missing, "No such file or directory"),
        (directory, "directory"),
        (pipe, "is a pipe or socket that nobody reads"),
    ] {
        let error = FileSink::open(at(&path), Scribe::default())
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with(&format!("{}: ", path.display())),
            "{error}"
        );
        assert!(error.contains(problem), "{error}");
    }
    let path = dir.path().join("audit.log");
    let options = FileOptions {
        group: Some("no-such-group".to_owned()),
        ..at(&path)
    };
    let error = FileSink::open(options, Scribe::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.ends_with(": there is no group no-such-group"),
        "{error}"
    );
    assert!(!path.exists());
}

#[test]
fn probing_makes_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    at(&path).probe().unwrap();
    assert!(!path.exists());
    FileOptions::default().probe().unwrap();
    let error = at(dir.path().join("none/audit.log")).probe().unwrap_err();
    assert!(
        error.to_string().contains("is not writable: No such file"),
        "{error}"
    );
    let error = at(dir.path()).probe().unwrap_err();
    assert!(error.to_string().contains("is a directory"), "{error}");
}

#[tokio::test]
async fn after_a_rotation_records_go_to_the_new_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let rotated = dir.path().join("audit.log.1");
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    sink.write(&numbered(1)).await.unwrap();
    fs::rename(&path, &rotated).unwrap();
    sink.write(&numbered(2)).await.unwrap();
    sink.reopen().unwrap();
    sink.write(&numbered(3)).await.unwrap();
    assert_eq!(numbers(&fs::read_to_string(&rotated).unwrap()), [1, 2]);
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [3]);
    assert_eq!(mode(&path), 0o600);
}

#[tokio::test]
async fn a_rotation_that_fails_keeps_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let rotated = dir.path().join("audit.log.1");
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    fs::rename(&path, &rotated).unwrap();
    fs::create_dir(&path).unwrap();
    let error = sink.reopen().unwrap_err().to_string();
    assert!(
        error.contains("audit.log") && error.contains("directory"),
        "{error}"
    );
    sink.write(&numbered(1)).await.unwrap();
    assert_eq!(numbers(&fs::read_to_string(&rotated).unwrap()), [1]);
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_recovers() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    for number in 0..3 {
        let error = sink.write(&numbered(number)).await.unwrap_err().to_string();
        assert!(
            error.contains("audit.log: No space left on device"),
            "{error}"
        );
    }
    fs::remove_file(&path).unwrap();
    sink.reopen().unwrap();
    sink.write(&numbered(3)).await.unwrap();
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [3]);
}

#[tokio::test]
async fn synced_records_are_in_the_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let options = FileOptions {
        sync: true,
        ..at(&path)
    };
    let sink = FileSink::open(options, Scribe::default()).unwrap();
    sink.write(&numbered(1)).await.unwrap();
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [1]);
}

#[tokio::test]
async fn a_format_without_words_for_a_login_says_so() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let sink = FileSink::open(at(&path), fixtures::scribe(Format::SignatureAudit)).unwrap();
    let login = Arc::new(fixtures::login(allowed(), Some("up=bob")));
    assert_eq!(sink.write(&login).await, Ok(Stored::NotCarried));
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

/// Reads a growing file and knows which records it has seen in it.
struct Follower {
    file: File,
    unfinished: Vec<u8>,
    seen: HashSet<usize>,
}

impl Follower {
    fn sees(&mut self, number: usize) -> bool {
        // The last line may be half there, down to half a character.
        self.file.read_to_end(&mut self.unfinished).unwrap();
        let last = self.unfinished.iter().rposition(|b| *b == b'\n');
        let rest = self.unfinished.split_off(last.map_or(0, |end| end + 1));
        let lines = String::from_utf8(std::mem::replace(&mut self.unfinished, rest)).unwrap();
        for number in numbers(&lines) {
            assert!(self.seen.insert(number), "record {number} is there twice");
        }
        self.seen.contains(&number)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_of_many_is_there_once_when_it_is_acknowledged() {
    const TASKS: usize = 64;
    const RECORDS: usize = 10_000;
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let options = FileOptions {
        // So small that the tasks wait for room, too.
        queue_bytes: 16 << 10,
        ..at(&path)
    };
    let sink = Arc::new(FileSink::open(options, Scribe::default()).unwrap());
    let follower = Arc::new(Mutex::new(Follower {
        file: File::open(&path).unwrap(),
        unfinished: Vec::new(),
        seen: HashSet::new(),
    }));
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (sink, follower) = (Arc::clone(&sink), Arc::clone(&follower));
            tokio::spawn(async move {
                for number in (task..RECORDS).step_by(TASKS) {
                    sink.write(&numbered(number)).await.unwrap();
                    assert!(follower.lock().unwrap().sees(number));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(follower.lock().unwrap().seen.len(), RECORDS);
}

/// A pipe with a reader that does not read: a file that hangs. Reading ends when the sink does.
fn hanging(dir: &TempDir, queue_bytes: usize) -> (Arc<FileSink>, File) {
    hanging_with(dir, queue_bytes, Scribe::default())
}

fn hanging_with(dir: &TempDir, queue_bytes: usize, scribe: Scribe) -> (Arc<FileSink>, File) {
    let path = dir.path().join("pipe");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    // Neither end opens without the other, except for one that is both.
    let both = OpenOptions::new().read(true).write(true).open(&path);
    let reader = File::open(&path).unwrap();
    let options = FileOptions {
        queue_bytes,
        ..at(&path)
    };
    let sink = Arc::new(FileSink::open(options, scribe).unwrap());
    drop(both);
    (sink, reader)
}

fn read_all(mut reader: File) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(start_paused = true)]
async fn a_file_that_hangs_holds_no_more_than_it_may_and_loses_nothing() {
    const RECORDS: usize = 400;
    let dir = TempDir::new().unwrap();
    let room = 8 << 10;
    let (sink, reader) = hanging(&dir, room);
    let in_pipe = usize::try_from(fcntl(&reader, FcntlArg::F_GETPIPE_SZ).unwrap()).unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..RECORDS {
        // Time jumps ahead when nothing can go on, so those that hang give up at once.
        let limit = Duration::from_secs(1);
        if let Ok(written) = tokio::time::timeout(limit, sink.write(&numbered(number))).await {
            assert_eq!(written, Ok(Stored::Kept));
            acknowledged.push(number);
        }
    }
    let reading = std::thread::spawn(move || read_all(reader));
    drop(sink);
    let text = reading.join().unwrap();
    assert!(text.len() <= in_pipe + room, "{}", text.len());
    let read = numbers(&text);
    assert!(read.len() < RECORDS);
    let once: HashSet<usize> = read.iter().copied().collect();
    assert_eq!(once.len(), read.len());
    assert!(acknowledged.iter().all(|number| once.contains(number)));
}

#[tokio::test(start_paused = true)]
async fn records_that_nobody_waited_for_are_told_of_in_the_chain() {
    let dir = TempDir::new().unwrap();
    let (sink, reader) = hanging_with(&dir, 8 << 10, fixtures::scribe(Format::V2));
    let mut given_up = 0;
    while given_up < 5 {
        let limit = Duration::from_secs(1);
        let write = tokio::time::timeout(limit, sink.write(&numbered(1))).await;
        given_up += usize::from(write.is_err());
    }
    let reading = std::thread::spawn(move || read_all(reader));
    assert_eq!(sink.write(&numbered(2)).await, Ok(Stored::Kept));
    drop(sink);
    let mut verifier = Verifier::default();
    for line in reading.join().unwrap().lines() {
        verifier.add(&Line {
            bytes: line.into(),
            place: String::new(),
            id: None,
            arrived: None,
        });
    }
    let reports = verifier.finish(true);
    assert!(
        !reports[0].unkept.is_empty() && reports[0].findings.is_empty(),
        "{reports:?}"
    );
}

#[tokio::test]
async fn whether_a_line_could_be_written_is_tried() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let sink = FileSink::open(at(&path), Scribe::default()).unwrap();
    assert_eq!(sink.works().await, Ok(()));
    sink.write(&numbered(1)).await.unwrap();
    // A line without a record ends what a failure may have left.
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(numbers(text.strip_prefix('\n').unwrap()), [1]);
    // It takes nothing, as a full disk does.
    let full = FileSink::open(at(Path::new("/dev/full")), Scribe::default()).unwrap();
    full.works().await.unwrap_err();
    sink.close().await;
    assert_eq!(sink.works().await, Err(SinkError::Closed));
}

type Waiting = Pin<Box<dyn Future<Output = Result<Stored, SinkError>>>>;

/// So many records that have been given to a sink, and are waited for.
fn give(sink: &Arc<FileSink>, records: usize) -> Vec<Waiting> {
    let writes = (0..records).map(|number| {
        let sink = Arc::clone(sink);
        let write = async move { sink.write(&numbered(number)).await };
        // Out of the scheduler's budget, which would put off all but the first hundred or so.
        let mut write: Waiting = Box::pin(tokio::task::unconstrained(write));
        let _written_at_once = (&mut write).now_or_never();
        write
    });
    writes.collect()
}

#[tokio::test]
async fn closing_keeps_what_is_waiting_and_refuses_the_rest() {
    let dir = TempDir::new().unwrap();
    let (sink, reader) = hanging(&dir, 1 << 20);
    let waiting = give(&sink, 300);
    let reading = std::thread::spawn(move || read_all(reader));
    sink.close().await;
    assert_eq!(sink.write(&numbered(300)).await, Err(SinkError::Closed));
    sink.close().await;
    // The last one cannot have been answered before anybody read.
    let last = waiting.into_iter().next_back().unwrap();
    assert_eq!(last.await, Ok(Stored::Kept));
    drop(sink);
    let read = numbers(&reading.join().unwrap());
    assert_eq!(read, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropping_keeps_what_is_waiting() {
    let dir = TempDir::new().unwrap();
    let (sink, reader) = hanging(&dir, 1 << 20);
    drop(give(&sink, 300));
    let reading = std::thread::spawn(move || read_all(reader));
    drop(sink);
    let read = numbers(&reading.join().unwrap());
    assert_eq!(read, (0..300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_record_that_nobody_waits_for_any_more_is_written_all_the_same() {
    let dir = TempDir::new().unwrap();
    let (sink, reader) = hanging(&dir, 1 << 20);
    sink.write(&numbered(0)).await.unwrap();
    drop(give(&sink, 1));
    // The sink lives, so only the line itself ends this.
    let mut lines = BufReader::new(reader).lines();
    assert!(lines.next().is_some() && lines.next().is_some());
    drop(sink);
}

#[tokio::test]
async fn a_line_longer_than_the_queue_goes_through() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("audit.log");
    let options = FileOptions {
        queue_bytes: 10,
        ..at(&path)
    };
    let sink = FileSink::open(options, Scribe::default()).unwrap();
    sink.write(&numbered(1)).await.unwrap();
    sink.write(&numbered(2)).await.unwrap();
    assert_eq!(numbers(&fs::read_to_string(&path).unwrap()), [1, 2]);
}
