//! The wire: what the services say to the world, and nothing of what they decide.
//!
//! Two fronts on one port, with the same calls, the same checks and one table of errors: the HTTP API that stock Choria clients
//! speak ([`rest`], described by [`openapi`]) and gRPC ([`grpc`], described by `proto/choria/aaa/v1`). A service implements
//! [`handler::LoginHandler`] or [`handler::SignHandler`] and hands it to [`server::router`]; a client uses [`client::Client`].

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod client;
pub mod error;
pub mod grpc;
pub mod handler;
mod json;
pub mod openapi;
pub mod rest;
pub mod server;
