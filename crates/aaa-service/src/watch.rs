//! Follows files: whoever needs a file's content hears when it has changed, and only then.
//!
//! A file may be written in place, replaced by a rename, or be a link that is pointed elsewhere (as Kubernetes swaps the
//! directory behind secrets and config maps). So directories are watched, of the file and of each link on the way to it, and
//! what counts is the content. Where the system cannot watch (network file systems, no watches left) files are looked at from
//! time to time. All of it runs on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::config::{Digest, FileContent, files_in};
use crate::telemetry::metrics::reload_error;

/// How long it must be quiet before files are looked at: certificate and key are written one after the other.
const QUIET: Duration = Duration::from_millis(100);
/// How long to wait for quiet at most.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often files are looked at when nothing was heard.
const LOOK: Duration = Duration::from_secs(30);
/// The same where nothing can be heard.
const LOOK_WITHOUT_WATCH: Duration = Duration::from_secs(2);
/// Links on the way to a file, at most.
const LINKS: usize = 16;

/// Files that are followed together, and who hears of them.
pub(crate) struct Follow {
    what: String,
    limit: u64,
    files: Following,
    changed: Changed,
}

/// What is followed; whoever takes over other settings points it to other files. Clones speak of the same.
#[derive(Clone)]
pub struct Following(Arc<Mutex<Files>>);

struct Files {
    paths: Vec<PathBuf>,
    directories: Vec<Directory>,
    seen: BTreeMap<PathBuf, Seen>,
}

/// A directory of which all files with certain endings or names are followed, also those that are added later.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// The endings, without the dot.
    pub endings: &'static [&'static str],
    /// Whole names that are meant, too.
    pub names: &'static [&'static str],
    /// The most entries that it may have.
    pub most: usize,
}

impl Directory {
    /// Its files now, by name.
    ///
    /// # Errors
    /// When it cannot be read, or has too many entries.
    pub fn files(&self) -> std::io::Result<Vec<PathBuf>> {
        files_in(&self.path, self.endings, self.names, self.most)
    }
}

/// Takes the new content of all the files. An error says why it could not be taken.
type Changed = Box<dyn FnMut(&[FileContent]) -> Result<(), String> + Send>;

/// What was found at a path.
#[derive(Clone, PartialEq, Eq)]
enum Seen {
    Content(Digest),
    Problem(String),
}

impl Follow {
    /// Follows what was read, from the state it had then, and the files of directories, of which what was read from them is a part.
    /// `what` is the setting or the thing, for log and metrics.
    pub(crate) fn new(
        what: impl Into<String>,
        read: Vec<(PathBuf, Digest)>,
        directories: Vec<Directory>,
        limit: u64,
        changed: impl FnMut(&[FileContent]) -> Result<(), String> + Send + 'static,
    ) -> Self {
        Self {
            what: what.into(),
            limit,
            files: Following(Arc::new(Mutex::new(Files::read(read, directories)))),
            changed: Box::new(changed),
        }
    }

    /// To point it elsewhere.
    pub(crate) fn following(&self) -> Following {
        self.files.clone()
    }

    /// Looks at the files and passes them on if they changed. What cannot be read or taken is said once.
    fn look(&mut self, site: &str) {
        let mut found = Vec::new();
        let mut files = self.files.lock();
        for directory in &files.directories {
            if let Err(error) = directory.files() {
                let problem = format!("{}: {error}", directory.path.display());
                found.push((directory.path.clone(), Err(problem)));
            }
        }
        for path in files.all() {
            let content = read(&path, self.limit);
            found.push((path, content));
        }
        let seen: BTreeMap<_, _> = found
            .iter()
            .map(|(path, read)| (path.clone(), Seen::of(read)))
            .collect();
        if seen == files.seen {
            return;
        }
        files.seen = seen;
        drop(files);
        let outcome = found
            .into_iter()
            .map(|(_, read)| read)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|contents| (self.changed)(&contents));
        match outcome {
            Ok(()) => tracing::info!(what = self.what, "changed, and taken"),
            Err(problem) => {
                reload_error(site, &self.what);
                tracing::warn!(
                    what = self.what,
                    problem,
                    "changed, and cannot be taken; the old one goes on"
                );
            }
        }
    }
}

impl Following {
    /// Follows these from now on, from the state in which they were read, and no others.
    pub fn point_to(&self, read: &[&FileContent], directories: Vec<Directory>) {
        *self.lock() = Files::read(digests(read), directories);
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    fn read(read: Vec<(PathBuf, Digest)>, directories: Vec<Directory>) -> Self {
        let (mut paths, mut seen) = (Vec::new(), BTreeMap::new());
        for (path, digest) in read {
            if !directories.iter().any(|directory| directory.holds(&path)) {
                paths.push(path.clone());
            }
            seen.insert(path, Seen::Content(digest));
        }
        Self {
            paths,
            directories,
            seen,
        }
    }

    /// The files that there are to follow now.
    fn all(&self) -> Vec<PathBuf> {
        let listed = self.directories.iter().map(Directory::files);
        let listed = listed.filter_map(Result::ok).flatten();
        self.paths.iter().cloned().chain(listed).collect()
    }

    /// The directories that are followed as a whole.
    fn whole(&self) -> impl Iterator<Item = PathBuf> {
        self.directories
            .iter()
            .map(|directory| directory.path.clone())
    }
}

impl Directory {
    fn holds(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let ending = path.extension().and_then(|ending| ending.to_str());
        path.parent() == Some(&self.path)
            && (name.is_some_and(|name| self.names.contains(&name))
                || ending.is_some_and(|ending| self.endings.contains(&ending)))
    }
}

/// What is known of files that were read.
pub(crate) fn digests(read: &[&FileContent]) -> Vec<(PathBuf, Digest)> {
    let known = |file: &&FileContent| (file.path().to_owned(), file.digest());
    read.iter().map(known).collect()
}

fn read(path: &Path, limit: u64) -> Result<FileContent, String> {
    FileContent::read(path, limit).map_err(|error| format!("{}: {error}", path.display()))
}

impl Seen {
    fn of(read: &Result<FileContent, String>) -> Self {
        match read {
            Ok(content) => Self::Content(content.digest()),
            Err(problem) => Self::Problem(problem.clone()),
        }
    }
}

/// The thread that follows files. It ends when this is dropped.
pub(crate) struct Watch {
    orders: Sender<Order>,
    turn: Arc<Mutex<()>>,
}

enum Order {
    Heard(notify::Result<Event>),
    /// Look at everything now, and say when it is done.
    Look(Sender<()>),
    Stop,
}

impl Watch {
    /// Starts to follow. Changes since the files were read are found at once.
    pub(crate) fn start(site: &str, follows: Vec<Follow>) -> std::io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let events = orders.clone();
        let watcher = notify::recommended_watcher(move |event| {
            // After the end nobody listens.
            let _ = events.send(Order::Heard(event));
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "files cannot be watched; they are looked at every {LOOK_WITHOUT_WATCH:?}");
        }
        let turn = Arc::new(Mutex::new(()));
        let follower = Follower {
            turn: Arc::clone(&turn),
            site: site.to_owned(),
            follows,
            watcher: watcher.ok(),
            directories: BTreeSet::new(),
            names: BTreeSet::new(),
            whole: BTreeSet::new(),
            stamps: BTreeMap::new(),
        };
        std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || follower.run(&received))?;
        Ok(Self { orders, turn })
    }

    /// As long as it is held, no change is read and passed on: whoever reads files and takes what they say does so in one turn, or
    /// one would put what it read earlier over what another read later.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn try_turn(&self) -> std::sync::TryLockResult<MutexGuard<'_, ()>> {
        self.turn.try_lock()
    }

    /// Looks at all files now; returns when it is done. Blocks, for ever in one's own turn.
    pub(crate) fn look(&self) {
        let (done, wait) = mpsc::channel();
        if self.orders.send(Order::Look(done)).is_ok() {
            let _ = wait.recv();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Stop);
    }
}

struct Follower {
    turn: Arc<Mutex<()>>,
    site: String,
    follows: Vec<Follow>,
    watcher: Option<RecommendedWatcher>,
    /// Directories that are watched.
    directories: BTreeSet<PathBuf>,
    /// Names in them whose events matter: the files, and the links to them.
    names: BTreeSet<PathBuf>,
    /// Directories in which every name matters.
    whole: BTreeSet<PathBuf>,
    /// What the files looked like from outside.
    stamps: BTreeMap<PathBuf, Option<Stamp>>,
}

/// Device, inode, size and the two times of a file: different when it was written or replaced.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Follower {
    fn run(mut self, orders: &Receiver<Order>) {
        // First the watches, then a look: what changed before is found now, what changes later is heard.
        self.look();
        loop {
            let every = if self.watcher.is_some() {
                LOOK
            } else {
                LOOK_WITHOUT_WATCH
            };
            match orders.recv_timeout(every) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Look(done)) => {
                    self.look();
                    let _ = done.send(());
                }
                Ok(Order::Heard(event)) => {
                    if self.matters(&event) && !self.settle(orders) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.stamps() != self.stamps {
                        self.look();
                    }
                }
            }
        }
    }

    /// Waits for quiet, then looks. `false` when it is time to end.
    fn settle(&mut self, orders: &Receiver<Order>) -> bool {
        let end = Instant::now() + PATIENCE;
        let mut waiting = Vec::new();
        let mut quiet = Instant::now() + QUIET;
        loop {
            let left = quiet.min(end).saturating_duration_since(Instant::now());
            match orders.recv_timeout(left) {
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Order::Look(done)) => waiting.push(done),
                Ok(Order::Heard(event)) if self.matters(&event) => quiet = Instant::now() + QUIET,
                Ok(Order::Heard(_)) => {}
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        self.look();
        for done in waiting {
            let _ = done.send(());
        }
        true
    }

    fn look(&mut self) {
        let turn = Arc::clone(&self.turn);
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.rewatch();
        self.stamps = self.stamps();
        for follow in &mut self.follows {
            follow.look(&self.site);
        }
    }

    /// Whether an event may be about a file that is followed. Our own reading makes events too, which must not.
    fn matters(&mut self, event: &notify::Result<Event>) -> bool {
        let Ok(event) = event else { return true };
        if let EventKind::Remove(_) = event.kind {
            // A directory that is gone is no longer watched, even if one of its name comes back.
            self.directories
                .retain(|directory| !event.paths.contains(directory));
        }
        let read_only = matches!(event.kind, EventKind::Access(kind)
            if kind != AccessKind::Close(AccessMode::Write));
        // A followed name, or a directory above one that came or went.
        let about = |path: &PathBuf| {
            self.names.contains(path)
                || path
                    .parent()
                    .is_some_and(|parent| self.whole.contains(parent))
                || (!self.directories.contains(path)
                    && self.names.iter().any(|name| name.starts_with(path)))
        };
        event.need_rescan() || (!read_only && event.paths.iter().any(about))
    }

    /// Watches the directories that matter now, and no others.
    fn rewatch(&mut self) {
        let mut wanted = BTreeSet::new();
        self.names.clear();
        self.whole.clear();
        for follow in &self.follows {
            let files = follow.files.lock();
            for path in files.all() {
                places(&path, &mut wanted, &mut self.names);
            }
            for directory in files.whole() {
                places(&directory, &mut wanted, &mut self.names);
                if let Ok(path) = directory.canonicalize() {
                    wanted.insert(path.clone());
                    self.whole.insert(path);
                }
            }
        }
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        self.directories
            .retain(|directory| wanted.contains(directory));
        for directory in wanted {
            if self.directories.contains(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory);
                }
                // The look from time to time remains, and tries again to watch.
                Err(error) => {
                    tracing::debug!(%error, directory = %directory.display(), "cannot watch");
                }
            }
        }
    }

    fn stamps(&self) -> BTreeMap<PathBuf, Option<Stamp>> {
        let paths = self.follows.iter().flat_map(|follow| {
            let files = follow.files.lock();
            files.whole().chain(files.all()).collect::<Vec<_>>()
        });
        let stamped = |path: PathBuf| {
            let metadata = std::fs::metadata(&path).ok();
            (path, metadata.as_ref().map(stamp))
        };
        paths.map(stamped).collect()
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    )
}

/// Collects the directories to watch for a path, and the names in them that matter: the file's own, and each link's on the way.
fn places(path: &Path, directories: &mut BTreeSet<PathBuf>, names: &mut BTreeSet<PathBuf>) {
    let mut next = std::path::absolute(path).ok();
    for _ in 0..LINKS {
        let Some(path) = next.take() else { return };
        place(&path, directories, names);
        // The outermost link on the way: the rest lies behind it.
        let outermost_first = path.ancestors().collect::<Vec<_>>();
        for prefix in outermost_first.into_iter().rev() {
            let (Ok(target), Some(parent)) = (std::fs::read_link(prefix), prefix.parent()) else {
                continue;
            };
            place(prefix, directories, names);
            let rest = path.strip_prefix(prefix).unwrap_or(Path::new(""));
            let mut resolved = parent.join(target);
            if !rest.as_os_str().is_empty() {
                resolved.push(rest);
            }
            next = Some(resolved);
            break;
        }
    }
}

fn place(path: &Path, directories: &mut BTreeSet<PathBuf>, names: &mut BTreeSet<PathBuf>) {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    if let Ok(parent) = parent.canonicalize() {
        names.insert(parent.join(name));
        directories.insert(parent);
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
