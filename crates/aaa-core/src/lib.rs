//! The words of the field as types: callers, requests, filters, claims, trust chains, secure requests, decisions, audit records;
//! minting and verifying of tokens.
//!
//! Nothing here does I/O, reads the time of its own accord or knows about async: what the rest of the house does is decided
//! by values that come from here. Facts about the wire are those of Choria's protocols v1 and v2 and of its tokens.

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
pub mod caller;
pub mod choria_config;
pub mod claims;
pub mod clock;
pub mod decision;
pub mod duration;
pub mod filter;
pub mod id;
pub mod json;
pub mod key;
pub mod network;
pub mod request;
pub mod secret;
pub mod secure_request;
pub mod stars;
pub mod token;
