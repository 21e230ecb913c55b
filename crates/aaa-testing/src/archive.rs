//! Archives, as bundles of OPA are.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

/// A `.tar.gz` of these files, with their paths as they are written here.
///
/// # Errors
/// When a path has no room in the header of an entry.
pub fn archive(files: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let gzip = GzEncoder::new(Vec::new(), Compression::fast());
    let mut tar = Builder::new(gzip);
    for (path, content) in files {
        let mut header = Header::new_ustar();
        let name = header.as_old_mut().name.get_mut(..path.len());
        name.ok_or(io::ErrorKind::InvalidFilename)?
            .copy_from_slice(path.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_bytes())?;
    }
    tar.into_inner()?.finish()
}
