//! Rules in files: how they are read, and what becomes of a change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aaa_core::decision::Decision;
use aaa_policy::actionpolicy::MAX_FILE;
use aaa_policy::{Authorizer, Line, Look, Question};
use aaa_service::config::{Document, FileContent};
use aaa_service::shell::{Directory, Following, Shell};
use arc_swap::{ArcSwap, ArcSwapOption};

/// Files that rules are read from.
pub(crate) trait Source: Clone + Send + Sync + 'static {
    /// The section that names them, and what they are called in the log.
    const SECTION: &'static str;
    /// What they come to.
    type Rules: Authorizer + 'static;

    /// Reads the rules.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    fn load(&self) -> Result<Loaded<Self::Rules>, Vec<FilesProblem>>;

    /// What is followed as a whole.
    fn directories(&self) -> Vec<Directory>;

    /// Says in the log what is to be known of rules that decide from now on.
    fn taken(_: &Self::Rules) {}
}

/// Something that is wrong: the setting that led there, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesProblem {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong with which file.
    pub text: String,
}

/// Rules that were read, and what was read for them.
pub struct Loaded<R> {
    /// The rules.
    pub rules: Arc<R>,
    /// The files, as they were.
    pub contents: Vec<FileContent>,
}

/// Reads files, and collects what is wrong with them.
#[derive(Default)]
pub(crate) struct Reader {
    contents: Vec<FileContent>,
    problems: Vec<FilesProblem>,
}

impl Reader {
    pub(crate) fn problem(&mut self, setting: &'static str, text: String) {
        self.problems.push(FilesProblem { setting, text });
    }

    /// Whether something was wrong so far.
    pub(crate) fn failed(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Reads a file, and hands on its name and what stands in it.
    pub(crate) fn file(
        &mut self,
        setting: &'static str,
        path: &Path,
        take: impl FnOnce(&str, &[u8]),
    ) {
        match FileContent::read(path, MAX_FILE as u64) {
            Ok(content) => {
                take(&path.display().to_string(), content.bytes());
                self.contents.push(content);
            }
            Err(error) => self.problem(setting, format!("{}: {error}", path.display())),
        }
    }

    /// What was built of the files, if nothing is wrong with any.
    pub(crate) fn finish<R>(
        mut self,
        built: Result<R, Vec<FilesProblem>>,
    ) -> Result<Loaded<R>, Vec<FilesProblem>> {
        match built {
            Ok(rules) if self.problems.is_empty() => Ok(Loaded {
                rules: Arc::new(rules),
                contents: self.contents,
            }),
            Ok(_) => Err(self.problems),
            Err(wrong) => {
                self.problems.extend(wrong);
                Err(self.problems)
            }
        }
    }
}

/// Files, and the rules as they were read from them.
pub(crate) struct Configured<S: Source> {
    pub(crate) files: S,
    pub(crate) loaded: Loaded<S::Rules>,
}

impl<S: Source> Configured<S> {
    /// Reads the rules; what is wrong is for the document.
    pub(crate) fn load(document: &Document, files: S) -> Option<Self> {
        match files.load() {
            Ok(loaded) => Some(Self { files, loaded }),
            Err(problems) => {
                for problem in problems {
                    let key = format!("{}.{}", S::SECTION, problem.setting);
                    document.problem(key, problem.text);
                }
                None
            }
        }
    }
}

/// Rules that change with their files.
pub(crate) struct Followed<S: Source> {
    pub(crate) rules: Arc<ArcSwap<S::Rules>>,
    files: Arc<S>,
}

impl<S: Source> Clone for Followed<S> {
    fn clone(&self) -> Self {
        Self {
            rules: Arc::clone(&self.rules),
            files: Arc::clone(&self.files),
        }
    }
}

impl<S: Source> Followed<S> {
    /// Decides by what was read.
    pub(crate) fn new(configured: &Configured<S>) -> Self {
        Self {
            rules: Arc::new(ArcSwap::new(Arc::clone(&configured.loaded.rules))),
            files: Arc::new(configured.files.clone()),
        }
    }

    /// Reads the rules anew; what cannot be read keeps the old ones.
    pub(crate) fn renew(&self) -> Result<(), String> {
        let loaded = self.files.load().map_err(|problems| {
            let texts: Vec<_> = problems.into_iter().map(|problem| problem.text).collect();
            texts.join("; ")
        })?;
        S::taken(&loaded.rules);
        self.rules.store(loaded.rules);
        Ok(())
    }
}

/// Renews the rules in use when one of their files is changed, added or removed.
pub(crate) struct Follower<S: Source> {
    in_use: Arc<ArcSwapOption<Followed<S>>>,
    following: Following,
}

impl<S: Source> Clone for Follower<S> {
    fn clone(&self) -> Self {
        Self {
            in_use: Arc::clone(&self.in_use),
            following: self.following.clone(),
        }
    }
}

impl<S: Source> Follower<S> {
    /// Follows nothing yet.
    pub(crate) fn start(shell: &mut Shell) -> Self {
        let in_use = Arc::new(ArcSwapOption::<Followed<S>>::empty());
        let renewed = Arc::clone(&in_use);
        let following = shell.follow_all(S::SECTION, &[], MAX_FILE as u64, move |_| {
            renewed
                .load()
                .as_ref()
                .map_or(Ok(()), |rules| rules.renew())
        });
        Self { in_use, following }
    }

    /// Follows these rules from now on, from the state in which they were read, or none.
    pub(crate) fn turn_to(&self, rules: Option<&Followed<S>>, configured: Option<&Configured<S>>) {
        let contents = configured.iter().flat_map(|read| &read.loaded.contents);
        let directories = configured.map(|read| read.files.directories());
        if let Some(rules) = rules {
            S::taken(&rules.rules.load());
        }
        self.in_use.store(rules.cloned().map(Arc::new));
        self.following.point_to(
            &contents.collect::<Vec<_>>(),
            directories.unwrap_or_default(),
        );
    }
}

impl<S: Source> Authorizer for Followed<S> {
    fn name(&self) -> &'static str {
        self.rules.load().name()
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        self.rules.load().authorize(question, seen)
    }

    fn lines(&self, question: &Question<'_>) -> Vec<Line> {
        self.rules.load().lines(question)
    }
}

/// Those of several paths that are directories, as they are followed.
pub(crate) fn directories_in(paths: &[PathBuf], of: fn(&Path) -> Directory) -> Vec<Directory> {
    let directories = paths.iter().filter(|path| path.is_dir());
    directories.map(|path| of(path)).collect()
}
