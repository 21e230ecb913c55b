//! Files in a gzipped tar archive, which anybody may have made: read into memory, within limits, and never put anywhere.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read};

use flate2::bufread::GzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::problem::Problem;

/// The most that an archive may unpack to, in bytes, with what is between its files.
const MOST_UNPACKED: u64 = 16 << 20;

/// The most entries that it may have, directories among them.
const MOST_ENTRIES: usize = 1000;

/// The longest path in it, in bytes.
const LONGEST_PATH: usize = 255;

/// The most names that a path may be made of.
const DEEPEST: usize = 32;

/// What gzip files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Whether a file is a bundle, by what it begins with. No text begins like that.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP)
}

/// A file in an archive, as problems name it.
pub(super) fn within(archive: &str, path: &str) -> String {
    format!("{archive}: {path}")
}

/// The files in an archive of that name, by their paths from its top, without a slash before them.
///
/// # Errors
/// When it is no whole archive, holds more than the limits, or anything but files and directories.
pub(super) fn files(name: &str, bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
    let wrong = |text| Problem::of_file(name, text);
    let tar = unpacked(bytes).map_err(wrong)?;
    let mut archive = Archive::new(tar.as_slice());
    let mut files = BTreeMap::new();
    let broken = |error: io::Error| wrong(format!("is no whole tar archive: {error}"));
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        if count >= MOST_ENTRIES {
            return Err(wrong(format!("has more than {MOST_ENTRIES} entries")));
        }
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        // What `git archive` says about the whole, and what tar says about directories, is of no use here.
        if kind == EntryType::Directory || kind == EntryType::XGlobalHeader {
            continue;
        }
        let raw = entry.path_bytes().into_owned();
        let path = path(&raw).map(ToOwned::to_owned);
        let shown = path.clone().unwrap_or_else(|| shown(&raw));
        let of_entry = |text: &str| Problem::of_file(&within(name, &shown), text);
        let path = path.ok_or_else(|| of_entry("is no path that can be taken"))?;
        if kind != EntryType::Regular || is_sparse(&mut entry).map_err(broken)? {
            return Err(of_entry("is neither a file nor a directory"));
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        if files.insert(path, content).is_some() {
            return Err(of_entry("is in it twice"));
        }
    }
    if archive.into_inner().iter().any(|byte| *byte != 0) {
        return Err(wrong("something follows the end of the archive".to_owned()));
    }
    Ok(files)
}

/// What was compressed, if it is all there and nothing follows.
fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if !is_archive(bytes) {
        return Err(
            "is neither a directory nor a bundle, as it is not compressed with gzip".to_owned(),
        );
    }
    let mut gzip = GzDecoder::new(bytes);
    let mut tar = Vec::new();
    let read = gzip.by_ref().take(MOST_UNPACKED + 1).read_to_end(&mut tar);
    let read = read.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => "is cut short".to_owned(),
        _ => format!("is no gzip file that can be taken: {error}"),
    })?;
    if read as u64 > MOST_UNPACKED {
        return Err(format!("unpacks to more than {MOST_UNPACKED} bytes"));
    }
    if gzip.into_inner().is_empty() {
        Ok(tar)
    } else {
        Err("something follows the end of the gzip file".to_owned())
    }
}

/// The path of an entry, if it is a plain one: whoever reads it, in a log or an archive, sees the same.
fn path(raw: &[u8]) -> Option<&str> {
    let path = std::str::from_utf8(raw).ok()?;
    // `opa build` writes a slash before each, and `tar` of a directory a dot as well.
    let path = path
        .strip_prefix("./")
        .or(path.strip_prefix('/'))
        .unwrap_or(path);
    let mut names = path.split('/');
    let is_plain = path.len() <= LONGEST_PATH
        && !path.chars().any(char::is_control)
        && names.clone().count() <= DEEPEST
        && names.all(|name| !matches!(name, "" | "." | ".."));
    is_plain.then_some(path)
}

/// Any other, as far as it is shown.
fn shown(raw: &[u8]) -> String {
    raw.get(..LONGEST_PATH)
        .unwrap_or(raw)
        .escape_ascii()
        .to_string()
}

/// Whether it is a file with holes, in the way of newer archives, which Go fills.
fn is_sparse<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else {
        return Ok(false);
    };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse.") {
            return Ok(true);
        }
    }
    Ok(false)
}
