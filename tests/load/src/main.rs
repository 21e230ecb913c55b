//! Load for the services, and what is needed to judge the numbers: a site to run them on, the time that they take to start, what
//! the bare cryptography allows on this machine, and a table of targets and measurements.
//!
//! The generator shares the machine with what it measures, so everything that can be done before the clock starts is done
//! before: signatures are made on all cores in advance, and a request goes out by patching a rendered one in a few places.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod answer;
mod bare;
mod blank;
mod cli;
mod connect;
mod failure;
mod frames;
mod grpc;
mod login;
mod network;
mod outcome;
mod plan;
mod process;
mod report;
mod requests;
mod rest;
mod sign;
mod site;
mod start;
mod stats;
#[cfg(test)]
mod tests;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Arguments, Command};
use failure::Failure;

/// The command line was wrong (`sysexits.h`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing is left to do when even this cannot be printed.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("aaa-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Sign(options) => sign::run(&options),
        Command::Login(options) => login::run(&options),
        Command::Mixed(options) => login::run_mixed(&options),
        Command::Site(options) => site::run(&options),
        Command::Start(options) => start::run(&options),
        Command::Memory(options) => process::run(&options),
        Command::Bare(options) => bare::run(&options),
        Command::Blank(options) => blank::run(&options),
        Command::Report(options) => report::run(&options),
    }
}
