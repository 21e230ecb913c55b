//! The keys in use: they change with their files, and with the configuration that names them.

use std::sync::Arc;

use aaa_service::config::{FileContent, MAX_FILE_BYTES};
use aaa_service::shell::{Following, Shell};
use arc_swap::ArcSwap;

use crate::expiry::{DELEGATOR, Expiry};
use crate::key_files::{KeyFiles, Loaded};
use crate::keys::Keys;

/// Holds the keys that the configuration names, and no others. Clones share them.
#[derive(Clone)]
pub(crate) struct KeyRing {
    pub(crate) keys: Arc<ArcSwap<Keys>>,
    files: Arc<ArcSwap<KeyFiles>>,
    expiry: Expiry,
    following: Following,
}

impl KeyRing {
    /// Uses these, and new ones when their files change and hold good ones.
    pub(crate) fn start(shell: &mut Shell, files: KeyFiles, loaded: Loaded) -> Self {
        let clock = shell.clock();
        let expiry = Expiry::watch(shell, DELEGATOR, loaded.delegator_expires);
        let contents = loaded.contents;
        let keys = Arc::new(ArcSwap::from_pointee(loaded.keys));
        let files = Arc::new(ArcSwap::from_pointee(files));
        let (renewed, read, left) = (Arc::clone(&keys), Arc::clone(&files), expiry.clone());
        let following = shell.follow_all(
            "basicjwt_signer.keys",
            &borrowed(&contents),
            MAX_FILE_BYTES,
            move |_| {
                let loaded = read.load().load(clock.now()).map_err(|problems| {
                    let lines = problems
                        .iter()
                        .map(|problem| format!("{}: {}", problem.setting, problem.text));
                    lines.collect::<Vec<_>>().join("; ")
                })?;
                renewed.store(Arc::new(loaded.keys));
                left.set(loaded.delegator_expires);
                tracing::info!("the signer's keys were reloaded");
                Ok(())
            },
        );
        Self {
            keys,
            files,
            expiry,
            following,
        }
    }

    /// Uses these instead: what they do not name is trusted no longer.
    pub(crate) fn replace(&self, files: KeyFiles, loaded: Loaded) {
        self.following
            .point_to(&borrowed(&loaded.contents), Vec::new());
        self.files.store(Arc::new(files));
        self.keys.store(Arc::new(loaded.keys));
        self.expiry.set(loaded.delegator_expires);
    }
}

fn borrowed(contents: &[Arc<FileContent>]) -> Vec<&FileContent> {
    contents.iter().map(AsRef::as_ref).collect()
}
