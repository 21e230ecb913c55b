//! Bundles for tests, also such as nobody should make.

use std::io::Write as _;

use aaa_core::decision::Decision;
use aaa_policy::rego::Limits;
use aaa_policy::rego::site::{SitePolicies, Sources};
use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::{bearer, decide, plain, policy};

pub const NAME: &str = "site.tar.gz";
pub const OPEN: &str = "default allow := true";

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// An entry with the name as it stands there, whatever the builder thinks of it.
pub fn entry(tar: &mut Builder<Vec<u8>>, name: &[u8], kind: EntryType, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

pub fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, content) in files {
        entry(
            &mut tar,
            path.as_bytes(),
            EntryType::Regular,
            content.as_bytes(),
        );
    }
    tar.into_inner().unwrap()
}

/// With one more entry behind an open policy.
pub fn with(name: &[u8], kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    entry(
        &mut tar,
        b"/a.rego",
        EntryType::Regular,
        policy(OPEN).as_bytes(),
    );
    entry(&mut tar, name, kind, content);
    gzip(&tar.into_inner().unwrap())
}

pub fn read(bundle: &[u8]) -> Result<SitePolicies, String> {
    let mut sources = Sources::default();
    sources.bundle(NAME, bundle);
    let built = sources.build(Limits::default(), |work| work());
    built.map_err(|problems| {
        assert!(problems.iter().all(|problem| !problem.data));
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// Of these files; those of Rego without their package.
pub fn bundle(files: &[(&str, &str)]) -> Result<SitePolicies, String> {
    let texts: Vec<_> = files
        .iter()
        .map(|(path, text)| match path.rsplit_once('.') {
            Some((_, "rego")) => (*path, policy(text)),
            _ => (*path, (*text).to_owned()),
        })
        .collect();
    let files: Vec<_> = texts
        .iter()
        .map(|(path, text)| (*path, text.as_str()))
        .collect();
    read(&gzip(&tar(&files)))
}

pub fn refused(files: &[(&str, &str)]) -> String {
    bundle(files).unwrap_err()
}

pub fn ping(policies: &SitePolicies) -> Decision {
    decide(policies, &bearer(""), &plain("rpcutil", "ping"))
}
