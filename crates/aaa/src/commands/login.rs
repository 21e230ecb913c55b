//! `aaa login`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use aaa_api::client::Client;
use aaa_api::rest::{LoginRequest, PASSWORD_LIMIT};
use aaa_core::claims::ClientClaims;
use aaa_core::clock::{Clock, SystemClock};
use aaa_core::key::Ed25519Key;
use aaa_core::secret::Secret;
use aaa_core::token;
use serde_json::json;

use crate::client_config::{ClientConfig, ConfigArgs, LOGIN_URL};
use crate::failure::{Exit, Failure, reason};
use crate::prompt::Terminal;
use crate::reach::{ReachArgs, explain};
use crate::screen::{self, Paint, printable};
use crate::session::Session;
use crate::{describe, files};

/// Log in, so that requests can be signed
///
/// Asks for name and password, or shows a certificate, makes a new key, and keeps token and key where the configuration of the Choria
/// client says. Every login service of the configuration is tried until one decides.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa login
  aaa login --username bob --password-file - < secret
  aaa login --certificate
  aaa login --certificate bob.crt --key bob.key
  aaa login --shell")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Who logs in; asked for when absent
    #[arg(long, short, value_name = "NAME")]
    username: Option<String>,
    /// A file whose first line is the password, or - for standard input; asked for when absent
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Log in with a certificate instead of a name and a password: with this one, or with that of the configuration
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["username", "password_file"]
    )]
    certificate: Option<OsString>,
    /// The private key of --certificate FILE; in the same file when absent
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Log in at this URL instead of those of the configuration
    #[arg(long, value_name = "URL")]
    url: Vec<String>,
    #[command(flatten)]
    reach: ReachArgs,
    // In words of its own: help has no use for the marks of documentation.
    #[arg(
        long,
        conflicts_with = "json",
        help = "Go on as a shell that has the token in CHORIA_TOKEN"
    )]
    shell: bool,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

const NO_TERMINAL: &str =
    "login needs a terminal, or --username with --password-file FILE (or - for standard input)";

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let config = args.config.load()?;
    let urls = args.urls(&config)?;
    let session = Session::of(&config)?;
    let client = match args.identity(&config)? {
        Some(files) => args.reach.client_as(&config, &files)?,
        None => args.reach.client(&config)?,
    };
    let who = args.who()?;
    let key = Ed25519Key::generate()
        .map_err(|_| Failure::failed("the system gave no random numbers to make a key from"))?;
    let token = runtime()?.block_on(ask(&client, &urls, &who, &key, &SystemClock))?;
    // A service that answers with something else must not replace a login that works.
    let claims: ClientClaims = token::unverified(&token).map_err(|error| {
        Failure::failed(format!(
            "the login service gave out something else than a token: {error}"
        ))
    })?;
    session.keep(&token, &key.seed_hex())?;
    if !config.names_token_file() {
        screen::warn(&format!(
            "{} does not say where the token goes, and the stock client will not find it there: set plugin.security.choria.token_file",
            config.name()
        ));
    }
    report(args, &session, &claims)?;
    if args.shell {
        return Err(shell(config.token_variable(), &token));
    }
    Ok(Exit::Done)
}

/// A runtime for one exchange over the network.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))
}

/// Name and password; both empty for whom their certificate speaks.
struct Who {
    username: String,
    password: Secret<String>,
}

impl Args {
    fn urls(&self, config: &ClientConfig) -> Result<Vec<String>, Failure> {
        let urls = if self.url.is_empty() {
            config.login_urls()
        } else {
            self.url.clone()
        };
        if urls.is_empty() {
            return Err(Failure::usage(format!(
                "no login service is known: set {LOGIN_URL} in {}, or give --url URL",
                config.name()
            )));
        }
        for url in &urls {
            self.reach.check(url)?;
        }
        Ok(urls)
    }

    /// The files of the certificate that is to log in, and of its key.
    fn identity(&self, config: &ClientConfig) -> Result<Option<[PathBuf; 2]>, Failure> {
        let Some(certificate) = &self.certificate else {
            return Ok(None);
        };
        if !certificate.is_empty() {
            let certificate = PathBuf::from(certificate);
            let key = self.key.clone().unwrap_or_else(|| certificate.clone());
            return Ok(Some([certificate, key]));
        }
        if self.key.is_some() {
            return Err(Failure::usage("--key belongs to --certificate FILE"));
        }
        config.certificate_files().map(Some).ok_or_else(|| {
            Failure::usage(format!(
                "there is no certificate to log in with: set plugin.security.file.certificate and plugin.security.file.key in {}, or give --certificate FILE --key FILE",
                config.name()
            ))
        })
    }

    fn who(&self) -> Result<Who, Failure> {
        if self.certificate.is_some() {
            return Ok(Who {
                username: String::new(),
                password: Secret::new(String::new()),
            });
        }
        if let Some(file) = &self.password_file {
            let username = self.username.clone().ok_or_else(|| {
                Failure::usage("--password-file needs --username NAME: whose password is it?")
            })?;
            let password = first_line(&Secret::new(files::read_input(file)?))?;
            return Ok(Who { username, password });
        }
        let mut terminal = Terminal::open().ok_or_else(|| Failure::usage(NO_TERMINAL))?;
        let username = if let Some(username) = &self.username {
            username.clone()
        } else {
            let me = std::env::var("USER").ok().filter(|user| !user.is_empty());
            terminal.ask("Username", me.as_deref())?
        };
        let password = terminal.ask_secret("Password")?;
        Ok(Who { username, password })
    }
}

/// The first line of a password file.
fn first_line(content: &Secret<Vec<u8>>) -> Result<Secret<String>, Failure> {
    let line = content.expose().split(|byte| *byte == b'\n').next();
    let line = line.unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::usage("the password is empty"));
    }
    if line.len() > PASSWORD_LIMIT {
        return Err(Failure::usage(format!(
            "the password is longer than the {PASSWORD_LIMIT} bytes that a login takes"
        )));
    }
    std::str::from_utf8(line)
        .map(|text| Secret::new(text.to_owned()))
        .map_err(|_| Failure::usage("the password is not UTF-8"))
}

/// Asks each service in turn. One that decides ends it; one that is out of reach or order is passed over.
///
/// Each gets a signature of its own: a login is good for a minute, and the wait for one that is out may take longer.
async fn ask(
    client: &Client,
    urls: &[String],
    who: &Who,
    key: &Ed25519Key,
    clock: &dyn Clock,
) -> Result<String, Failure> {
    let mut left = urls.iter();
    while let Some(url) = left.next() {
        let request =
            LoginRequest::signed(who.username.clone(), who.password.clone(), key, clock.now());
        match client.login(url, &request).await {
            Ok(token) => return Ok(token),
            Err(error) if error.is_outage() && left.len() > 0 => {
                screen::warn(&format!("{error}; trying the next"));
            }
            Err(error) => return Err(explain(&error)),
        }
    }
    Err(Failure::usage("no login service is known"))
}

fn report(args: &Args, session: &Session, claims: &ClientClaims) -> Result<(), Failure> {
    let now = SystemClock.now();
    let end = claims.standard.expires();
    if args.json {
        return screen::json(&json!({
            "caller": claims.callerid,
            "organization": claims.organization(),
            "expires": end.and_then(describe::rfc3339),
            "token_file": session.token_file,
            "seed_file": session.seed_file,
        }));
    }
    let until = match end {
        Some(end) => format!(
            " until {} ({})",
            describe::clock(end, now),
            describe::roughly(end.saturating_sub(now.as_second()))
        ),
        None => String::new(),
    };
    screen::say(&format!(
        "{} Logged in as {}{until}. Token in {}",
        Paint::stderr().good("✔"),
        printable(&claims.callerid),
        files::short(&session.token_file)
    ));
    Ok(())
}

/// Becomes a shell that has the token in its environment. Returns only when there is no such shell.
fn shell(variable: &str, token: &str) -> Failure {
    let program = std::env::var_os("SHELL")
        .filter(|shell| !shell.is_empty())
        .unwrap_or_else(|| OsString::from("/bin/sh"));
    screen::say(&format!(
        "A shell with {variable} follows; leave it with exit"
    ));
    let error = Command::new(&program).env(variable, token).exec();
    Failure::failed(format!(
        "cannot start {}: {}; check SHELL",
        program.to_string_lossy(),
        reason(&error)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line() {
        let read = |text: &[u8]| first_line(&Secret::new(text.to_vec()));
        for text in [&b"s3cret"[..], b"s3cret\n", b"s3cret\r\n", b"s3cret\nmore"] {
            assert_eq!(
                read(text).ok().map(|p| p.expose().clone()).as_deref(),
                Some("s3cret")
            );
        }
        assert_eq!(
            read(b" with spaces \n")
                .ok()
                .map(|p| p.expose().clone())
                .as_deref(),
            Some(" with spaces ")
        );
        for text in [&b""[..], b"\n", b"\xff", &[b'x'; PASSWORD_LIMIT + 1]] {
            assert!(read(text).is_err_and(|failure| failure.exit == Exit::Usage));
        }
    }
}
