//! The `aaa` command line: logging in and out, having requests signed, running the services, and the operator's tools.
//!
//! One file for each command under [`commands`]; what they share lies beside this one. A command returns how it ended or a
//! [`failure::Failure`]; nothing else ends the program.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing
    )
)]

mod cli;
mod client_config;
mod commands;
mod describe;
mod failure;
mod files;
mod prompt;
mod reach;
mod screen;
mod session;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use failure::{Exit, Failure};

/// The name under which the stock `choria login` looks for a program to do it.
const CHORIA_LOGIN: &str = "choria-login";

/// Runs the command that the arguments ask for. The first argument is the name that the program was called by: as
/// `choria-login` it logs in, as `aaa-login` and `aaa-signer` it is that service, so that one program is enough to install.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_stem);
    if called.is_some_and(|name| name == aaa_login::PROGRAM.name) {
        return aaa_login::run();
    }
    if called.is_some_and(|name| name == aaa_signer::PROGRAM.name) {
        return aaa_signer::run();
    }
    let outcome = match cli::Cli::try_parse_from(as_login(arguments)) {
        Ok(cli) => cli.command.run(),
        Err(error) => explain(&error),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                screen::warn(&message);
            }
            failure.exit.into()
        }
    }
}

/// What `choria-login` is asked: to log in. The stock client hands on its own arguments, `login` and its flag `--debug` among them, for
/// which a login has no use; a person types none.
fn as_login(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let name = arguments.first().map(Path::new).and_then(Path::file_stem);
    if name.is_some_and(|name| name == CHORIA_LOGIN) {
        arguments.retain(|argument| argument != "--debug");
        if arguments.get(1).is_none_or(|first| first != "login") {
            arguments.insert(1, "login".into());
        }
    }
    arguments
}

/// The command line as data, from which completions and man pages are made.
pub fn command() -> clap::Command {
    cli::Cli::command()
}

/// What the parser has to say: help that was asked for, or what is wrong with the arguments.
fn explain(error: &clap::Error) -> Result<ExitCode, Failure> {
    let text = error.render();
    if !error.use_stderr() {
        let shown = if screen::Paint::stdout().is_on() {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        screen::data(&shown)?;
        return Ok(Exit::Done.into());
    }
    let text = text.to_string();
    let text = text.trim_end();
    Err(Failure::usage(text.strip_prefix("error: ").unwrap_or(text)))
}
