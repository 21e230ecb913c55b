//! Who are you? Names, passwords and keys in, tokens out.
//!
//! [`build`] makes the handler of logins from a configuration. One file for each kind of authenticator, behind the trait
//! [`authenticator::Authenticator`]; what is the same for all of them (the proof of the key, minting, counting, the record) is
//! in one place. Password hashes are checked on threads of their own ([`pool`]), so that logins never keep anything else
//! waiting.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

pub mod authenticator;
pub mod hash;
pub mod meter;
pub mod pool;
pub mod settings;
pub mod throttle;

mod build;
pub mod certificate;
#[cfg(test)]
mod conformance;
mod doors;
mod grants;
mod login;
mod mint;
pub mod okta;
mod proof;
#[cfg(test)]
mod testing;
mod userlist;
mod users;

pub use build::{Options, PROGRAM, build, run};
