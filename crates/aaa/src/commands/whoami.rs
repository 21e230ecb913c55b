//! `aaa whoami`.

use aaa_core::clock::{Clock as _, SystemClock};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client_config::ConfigArgs;
use crate::describe::{self, Issuer};
use crate::failure::{Exit, Failure};
use crate::screen::{self, Paint, printable};
use crate::session::{Session, Token};

/// Show who is logged in, until when, and what they may do
///
/// What is shown are the token's own words: only services can verify them. Exit code 4 when nobody is logged in, or not any more.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  aaa whoami
  aaa whoami --json | jq -r .caller")]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print a JSON document
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let session = Session::of(&args.config.load()?)?;
    let token = session.token()?;
    let now = SystemClock.now();
    if args.json {
        screen::json(&document(&session, &token, now))?;
    }
    expired(&token, now)?;
    if !args.json {
        screen::data(&words(&token, now, Paint::stdout()))?;
    }
    session.key(&token.claims)?;
    Ok(Exit::Done)
}

/// An error when the token has ended.
pub(super) fn expired(token: &Token, now: Timestamp) -> Result<(), Failure> {
    match token.claims.standard.expires() {
        Some(end) if end <= now.as_second() => Err(Failure::login_needed(format!(
            "the login of {} ended at {} ({} ago); log in again with: aaa login",
            printable(&token.claims.callerid),
            describe::clock(end, now),
            describe::roughly(now.as_second().saturating_sub(end))
        ))),
        _ => Ok(()),
    }
}

fn words(token: &Token, now: Timestamp, paint: Paint) -> String {
    let claims = &token.claims;
    let caller = printable(&claims.callerid);
    let width = caller.chars().count().max(3) + 3;
    let padding = " ".repeat(width.saturating_sub(caller.chars().count()));
    let may = format!("{:<width$}", "may");
    format!(
        "{}{padding}organization {}   {}   issued by {}\n{}{}   broker: {}\n",
        paint.strong(&caller),
        printable(claims.organization()),
        describe::expiry(&claims.standard, now),
        Issuer::of(&claims.standard).words(),
        paint.faint(&may),
        describe::may(claims),
        describe::broker(claims),
    )
}

fn document(session: &Session, token: &Token, now: Timestamp) -> Value {
    let claims = &token.claims;
    let end = claims.standard.expires();
    let left = end.map(|end| end.saturating_sub(now.as_second()));
    json!({
        "caller": claims.callerid,
        "organization": claims.organization(),
        "id": claims.standard.jti,
        "expires": end.and_then(describe::rfc3339),
        "expires_in_seconds": left,
        "expired": left.is_some_and(|left| left <= 0),
        "issued_by": Issuer::of(&claims.standard),
        "agents": claims.agents,
        "policy": Some(&claims.opa_policy).filter(|policy| !policy.is_empty()),
        "permissions": claims.permissions().given(),
        "properties": claims.user_properties,
        "bound_to": Some(&claims.standard.public_key).filter(|key| !key.is_empty()),
        "verified": false,
        "token_file": session.token_file,
        "seed_file": session.seed_file,
    })
}

#[cfg(test)]
mod tests {
    use aaa_core::claims::{ClientClaims, ClientPermissions, Standard};

    use super::*;

    #[test]
    fn two_lines_say_it() {
        let token = Token {
            text: String::new(),
            claims: ClientClaims {
                callerid: "up=bob".into(),
                agents: vec!["puppet.status".into(), "puppet.enable".into()],
                opa_policy: "# frontend\npackage io.choria.aaasvc\n".into(),
                permissions: Some(ClientPermissions {
                    fleet_management: true,
                    ..ClientPermissions::default()
                }),
                standard: Standard {
                    iss: "C-3MSaLwgbPQ8xZ.abcd".into(),
                    exp: Some(1_000_000 + 58 * 60),
                    ..Standard::default()
                },
                ..ClientClaims::default()
            },
        };
        let now = Timestamp::from_second(1_000_000).unwrap();
        assert_eq!(
            words(&token, now, Paint::none()),
            "up=bob   organization choria   expires in 58 min   issued by login chain 3MSaLwgbP…\n\
             may      puppet.status, puppet.enable; policy \"frontend\" (opa, 2 lines)   broker: fleet_management\n"
        );
        assert!(expired(&token, now).is_ok());
        let later = Timestamp::from_second(1_000_000 + 3_600).unwrap();
        let ended = expired(&token, later).unwrap_err();
        assert_eq!(ended.exit, Exit::LoginNeeded);
    }
}
