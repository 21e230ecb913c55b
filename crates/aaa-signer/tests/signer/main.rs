//! The signer as a service, made from its configuration.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

mod action_policy;
mod configuration;
mod network;
mod reload;
mod site;
mod site_policies;
