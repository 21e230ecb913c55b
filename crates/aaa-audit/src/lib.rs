//! What happened, on record: how it is written down, where to, and the promise that nobody is answered before it is.
//!
//! A [`Trail`] gives each [`Record`](aaa_core::audit::Record) to its [`Sink`]s and hands out [`Recorded`] when all that are
//! [required](Delivery::Required) have stored it. There is no other way to come by a [`Recorded`], so whoever demands one
//! cannot answer first.
//!
//! - [`formats`]: one record as one line, in the formats that tools already read.
//! - [`file`]: lines appended to a file by a thread of its own, many at a time.
//! - [`stream`]: records published to a NATS stream, with a [`spool`] on disk for when that does not work.
//! - [`nats`]: how NATS is reached.
//! - [`chain`]: records that vouch for one another.
//! - [`reading`]: records read back.
//! - [`log`]: records as events of the service's own log.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod chain;
pub mod file;
pub mod formats;
pub mod log;
pub mod nats;
pub mod reading;
mod scribe;
mod sink;
pub mod spool;
pub mod stream;
mod trail;

pub use scribe::Scribe;
pub use sink::{Sink, SinkError, Stored};
pub use trail::{AuditError, Auditor, Delivery, Failure, Health, Recorded, Trail};
