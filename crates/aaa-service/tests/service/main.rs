//! Whole services, started in this process and as programs, and clients that behave well or badly.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

mod audit;
mod clients;
mod life;
mod revoked;
mod support;
mod tls;
mod traces;
