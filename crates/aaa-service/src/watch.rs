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
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
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
    places: Places,
    limit: u64,
    seen: BTreeMap<PathBuf, Seen>,
    changed: Changed,
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

/// Which files are followed together: some by their paths, and all that directories hold. Whoever has this may name others later, which are
/// followed from the next look on; a reload ends with one.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<ArcSwap<(Vec<PathBuf>, Vec<Directory>)>>);

impl Places {
    /// Files that were read, some of them from directories, and these.
    pub fn set(&self, read: &[&FileContent], directories: Vec<Directory>) {
        let paths = read.iter().map(|file| file.path().to_owned());
        self.put(paths.collect(), directories);
    }

    fn put(&self, mut paths: Vec<PathBuf>, directories: Vec<Directory>) {
        paths.retain(|path| !directories.iter().any(|directory| directory.holds(path)));
        self.0.store(Arc::new((paths, directories)));
    }

    fn directories(&self) -> Vec<Directory> {
        self.0.load().1.clone()
    }

    /// The files that there are now.
    fn files(&self) -> Vec<PathBuf> {
        let places = self.0.load();
        let listed = places.1.iter().map(Directory::files);
        let listed = listed.filter_map(Result::ok).flatten();
        places.0.iter().cloned().chain(listed).collect()
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
    /// Follows what was read, from the state it had then. `what` is the setting or the thing, for log and metrics.
    pub(crate) fn new(
        what: impl Into<String>,
        read: &[&FileContent],
        limit: u64,
        changed: impl FnMut(&[FileContent]) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let read = read
            .iter()
            .map(|file| (file.path().to_owned(), file.digest()));
        Self::of_digests(what, read.collect(), limit, changed)
    }

    /// Follows the files of directories, too. What was read from them before is among what was read.
    #[must_use]
    pub(crate) fn in_directories(self, directories: Vec<Directory>) -> Self {
        self.places.put(self.places.files(), directories);
        self
    }

    /// Follows files of which only the digests were kept.
    pub(crate) fn of_digests(
        what: impl Into<String>,
        read: Vec<(PathBuf, Digest)>,
        limit: u64,
        changed: impl FnMut(&[FileContent]) -> Result<(), String> + Send + 'static,
    ) -> Self {
        let places = Places::default();
        places.put(
            read.iter().map(|(path, _)| path.clone()).collect(),
            Vec::new(),
        );
        Self {
            what: what.into(),
            places,
            seen: read
                .into_iter()
                .map(|(path, digest)| (path, Seen::Content(digest)))
                .collect(),
            limit,
            changed: Box::new(changed),
        }
    }

    /// Which files these are, to name others.
    pub(crate) fn places(&self) -> Places {
        self.places.clone()
    }

    /// Looks at the files and passes them on if they changed. What cannot be read or taken is said once.
    fn look(&mut self, site: &str) {
        let mut found = Vec::new();
        for directory in self.places.directories() {
            if let Err(error) = directory.files() {
                let problem = format!("{}: {error}", directory.path.display());
                found.push((directory.path, Err(problem)));
            }
        }
        for path in self.places.files() {
            let content = read(&path, self.limit);
            found.push((path, content));
        }
        let seen: BTreeMap<_, _> = found
            .iter()
            .map(|(path, read)| (path.clone(), Seen::of(read)))
            .collect();
        if seen == self.seen {
            return;
        }
        self.seen = seen;
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

impl Directory {
    fn holds(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let ending = path.extension().and_then(|ending| ending.to_str());
        path.parent() == Some(&self.path)
            && (name.is_some_and(|name| self.names.contains(&name))
                || ending.is_some_and(|ending| self.endings.contains(&ending)))
    }
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
        let follower = Follower {
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
        Ok(Self { orders })
    }

    /// Looks at all files now; returns when it is done. Blocks.
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
        for path in self.files() {
            places(&path, &mut wanted, &mut self.names);
        }
        for directory in self.whole_directories() {
            places(&directory.path, &mut wanted, &mut self.names);
            if let Ok(path) = directory.path.canonicalize() {
                wanted.insert(path.clone());
                self.whole.insert(path);
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
        let directories = self.whole_directories().into_iter();
        let directories = directories.map(|directory| directory.path);
        let stamped = |path: PathBuf| {
            let metadata = std::fs::metadata(&path).ok();
            (path, metadata.as_ref().map(stamp))
        };
        directories.chain(self.files()).map(stamped).collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let files = self.follows.iter().map(|follow| follow.places.files());
        files.flatten().collect()
    }

    fn whole_directories(&self) -> Vec<Directory> {
        let directories = self.follows.iter();
        let directories = directories.map(|follow| follow.places.directories());
        directories.flatten().collect()
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
