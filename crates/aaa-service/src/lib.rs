//! The shell round a service: its configuration file, listener and TLS, admin port, telemetry, readiness, reload and drain.
//!
//! A service gives [`shell::run`] a function that builds its handlers from a [`config::Document`]; everything else that a
//! program needs to run for years is here.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod audit;
pub mod choria;
pub mod config;

mod admin;
pub mod readiness;
mod server;
pub mod shell;
pub mod telemetry;
mod watch;
