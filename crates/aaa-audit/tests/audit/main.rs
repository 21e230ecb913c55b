//! Records in every format, in real files, and along a trail of auditors that work, fail and hang.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod file;
mod fixtures;
mod formats;
mod properties;
mod reading;
mod regions;
mod stream;
mod trail;
mod v2;
