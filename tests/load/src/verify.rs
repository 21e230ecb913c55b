//! Whether a node would obey what the service signed: looked at for some of the answers, after the clock has stopped.

use std::path::Path;

use aaa_core::clock::{Clock as _, SystemClock};
use aaa_core::key::Ed25519Public;
use aaa_core::secure_request::{NodeTrust, published_by};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::cli::Version;
use crate::failure::{Failure, read, read_text};
use crate::requests::Series;

/// One answer in so many is kept.
pub(crate) const EVERY: u64 = 1000;

/// An answer that was kept: the number of its request, and the secure request.
pub(crate) type Sample = (u64, Vec<u8>);

/// What a node of the site trusts.
pub(crate) fn trust(version: Version, file: &Path) -> Result<NodeTrust, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::while_doing(file.display(), error);
    Ok(match version {
        Version::V1 => NodeTrust {
            authorities: CertificateDer::pem_slice_iter(&read(file)?)
                .collect::<Result<_, _>>()
                .map_err(|error| wrong(&error))?,
            ..NodeTrust::default()
        },
        Version::V2 => NodeTrust {
            issuer: Some(
                Ed25519Public::from_hex(&read_text(file)?).map_err(|error| wrong(&error))?,
            ),
            ..NodeTrust::default()
        },
    })
}

/// Checks samples as a node would, and that each is the answer to its request, for this caller, whose token clients put into it.
pub(crate) fn all(
    trust: &NodeTrust,
    series: &Series,
    caller: &str,
    token: &str,
    samples: &[Sample],
) -> Result<u64, Failure> {
    let now = SystemClock.now();
    for (number, secure) in samples {
        let wrong = |why: &dyn std::fmt::Display| {
            Failure::new(format!(
                "a node would not obey the answer to request {number}: {why}"
            ))
        };
        let published = published_by(secure.clone(), token);
        let accepted = trust.check(&published, now).map_err(|why| wrong(&why))?;
        if accepted.request.id() != series.id(*number) {
            return Err(wrong(&"it is the answer to another request"));
        }
        if accepted.caller != caller {
            return Err(wrong(&"it is for another caller"));
        }
    }
    Ok(samples.len() as u64)
}
