//! `aaa completions`.

use crate::failure::{Exit, Failure};
use crate::screen;

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa completions bash > /etc/bash_completion.d/aaa
  aaa completions zsh > ~/.zfunc/_aaa
  aaa completions fish > ~/.config/fish/completions/aaa.fish")]
pub(crate) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::command(), "aaa", &mut script);
    screen::data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
