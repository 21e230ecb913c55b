//! The real program, run as people run it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test that cannot go on should stop"
)]

mod audit;
mod certificate;
mod crypt;
mod demo;
mod doctor;
mod health;
mod help;
mod keys;
mod login;
mod policy;
mod policy_check;
mod policy_test;
mod prompt;
mod regions;
mod serve;
mod sign;
mod stream;
mod support;
mod token;
mod verify;
