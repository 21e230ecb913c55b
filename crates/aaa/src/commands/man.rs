//! `aaa man`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap_mangen::Man;

use crate::failure::{Exit, Failure};
use crate::files::{self, Mode};
use crate::screen;

/// Print the manual page, or write those of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa man | man -l -
  aaa man --dir /usr/local/share/man/man1")]
pub(crate) struct Args {
    /// Write a page for each command into this directory, and print their paths
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut command = crate::command();
    command.build();
    let Some(directory) = &args.dir else {
        screen::data(&String::from_utf8_lossy(&page(command)?))?;
        return Ok(Exit::Done);
    };
    let mut pages = Vec::new();
    collect(command, &mut pages);
    let mut written = String::new();
    for command in pages {
        let name = command.get_display_name().unwrap_or("aaa").to_owned();
        let path = directory.join(format!("{name}.1"));
        files::write(&path, Mode::Public, &page(command)?)?;
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

fn page(command: clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command)
        .source(concat!("aaa ", env!("CARGO_PKG_VERSION")))
        .manual("Choria AAA")
        .render(&mut page)
        .map_err(|error| Failure::failed(format!("cannot make the manual page: {error}")))?;
    Ok(page)
}
