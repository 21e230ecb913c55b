//! Both fronts as a client sees them: the real router, in memory where the moment matters and over loopback where the
//! connection does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop and say where"
)]

mod bad_input;
mod client;
mod fronts;
mod limits;
mod openapi;
mod standard;
mod stream;
mod support;
