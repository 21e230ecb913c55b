//! `aaa logout`.

use crate::client_config::ConfigArgs;
use crate::failure::{Exit, Failure};
use crate::session::Session;
use crate::{files, screen};

/// Log out: remove the token and its key
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let session = Session::of(&args.config.load()?)?;
    let removed = session.end()?;
    if removed.is_empty() {
        screen::say(&format!(
            "Nobody is logged in: there is nothing in {}",
            files::short(&session.token_file)
        ));
    } else {
        let removed: Vec<_> = removed.iter().map(|file| files::short(file)).collect();
        screen::say(&format!("Logged out: removed {}", removed.join(" and ")));
    }
    Ok(Exit::Done)
}
