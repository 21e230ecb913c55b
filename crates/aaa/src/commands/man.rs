//! `aaa man`.

use std::fmt::Write as _;
use std::path::PathBuf;

use aaa_service::shell;
use clap_mangen::Man;

use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};
use crate::screen;

/// Print the manual page, or write those of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa man | man -l -
  aaa man aaa-signer | man -l -
  aaa man --dir /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// The page of this service as a program of its own
    #[arg(value_parser = [aaa_login::PROGRAM.name, aaa_signer::PROGRAM.name], conflicts_with = "dir")]
    service: Option<String>,
    /// Write a page for each command into this directory, and print their paths
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    if let Some(name) = &args.service {
        let services = [aaa_login::PROGRAM, aaa_signer::PROGRAM];
        let service = services.iter().find(|service| service.name == name);
        let command = service.map_or_else(crate::command, shell::command);
        return print(Man::new(command).section("8"));
    }
    let mut command = crate::command();
    command.build();
    let Some(directory) = &args.dir else {
        return print(Man::new(command));
    };
    let mut pages = Vec::new();
    collect(command, &mut pages);
    let mut written = String::new();
    for command in pages {
        let name = command.get_display_name().unwrap_or("aaa").to_owned();
        let path = directory.join(format!("{name}.1"));
        files::write(&path, Mode::Public, &page(Man::new(command))?)?;
        writeln!(written, "{}", path.display()).map_err(|_| Failure::unheard())?;
    }
    screen::data(&written)?;
    Ok(Exit::Done)
}

/// The command and all below it that are not hidden.
fn collect(command: clap::Command, into: &mut Vec<clap::Command>) {
    let below: Vec<_> = command.get_subcommands().cloned().collect();
    into.push(command);
    for command in below {
        if !command.is_hide_set() {
            collect(command, into);
        }
    }
}

fn print(man: Man) -> Result<Exit, Failure> {
    screen::data(&String::from_utf8_lossy(&page(man)?))?;
    Ok(Exit::Done)
}

fn page(man: Man) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    man.source(concat!("aaa ", env!("CARGO_PKG_VERSION")))
        .manual("Choria AAA")
        .render(&mut page)
        .map_err(|error| Failure::failed(format!("cannot make the manual page: {error}")))?;
    Ok(page)
}
