//! `aaa crypt`.

use std::io::{self, BufRead as _, Read as _};

use aaa_api::rest::PASSWORD_LIMIT;
use aaa_core::secret::Secret;
use aaa_login::hash;
use zeroize::Zeroize as _;

use crate::failure::{Exit, Failure};
use crate::prompt::Terminal;
use crate::screen;

/// Make password hashes for the users of a userlist
///
/// On a terminal the password is asked for twice, and does not show. Otherwise each line of standard input is a password, and
/// its hash is printed on a line of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa crypt
  aaa crypt --argon2id < passwords.txt > hashes.txt")]
pub(crate) struct Args {
    /// Make Argon2id hashes (19 MiB, two passes) instead of bcrypt (cost 12); the older aaasvc cannot read them
    #[arg(long)]
    argon2id: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match Terminal::open() {
        Some(terminal) => screen::data(&hashed(args, &chosen(terminal)?, "")?)?,
        None => lines(args)?,
    }
    Ok(Exit::Done)
}

/// A password that the person typed twice alike.
fn chosen(mut terminal: Terminal) -> Result<Secret<String>, Failure> {
    let first = terminal.ask_secret("Password")?;
    let second = terminal.ask_secret("Again")?;
    if first.expose() != second.expose() {
        return Err(Failure::failed(
            "the two passwords differ; nothing was made",
        ));
    }
    Ok(first)
}

/// One hash for each line.
fn lines(args: &Args) -> Result<(), Failure> {
    let mut input = io::stdin().lock();
    let mut line = Vec::with_capacity(PASSWORD_LIMIT + 3);
    for number in 1_usize.. {
        // Longer lines are cut here and refused below; the room is never outgrown.
        let read = (&mut input)
            .take(PASSWORD_LIMIT as u64 + 2)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
        if read == 0 {
            break;
        }
        let place = format!("line {number}: ");
        let password = password(&line, &place)?;
        line.zeroize();
        screen::data(&hashed(args, &password, &place)?)?;
    }
    Ok(())
}

fn password(line: &[u8], place: &str) -> Result<Secret<String>, Failure> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > PASSWORD_LIMIT {
        return Err(Failure::failed(format!(
            "{place}the password is longer than the {PASSWORD_LIMIT} bytes that a login takes"
        )));
    }
    match std::str::from_utf8(line) {
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => Err(Failure::failed(format!("{place}the password is not UTF-8"))),
    }
}

fn hashed(args: &Args, password: &Secret<String>, place: &str) -> Result<String, Failure> {
    let password = password.expose().as_bytes();
    let hash = if args.argon2id {
        hash::argon2id(password)
    } else {
        hash::bcrypt(password)
    };
    hash.map(|hash| hash + "\n")
        .map_err(|error| Failure::failed(format!("{place}{error}")))
}
