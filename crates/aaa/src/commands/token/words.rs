//! A token as people read it: a name and a value on each line.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::Claims;
use crate::describe::{self, Issuer};
use crate::screen::printable;

/// Names and values.
type Lines = Vec<(&'static str, String)>;

/// All that a token says.
pub(super) fn lines(claims: &Claims, now: Timestamp) -> String {
    let mut lines = match claims {
        Claims::Client(client) => {
            let mut lines: Lines = vec![
                ("caller", printable(&client.callerid)),
                ("kind", kind(claims).to_owned()),
                ("organization", printable(client.organization())),
            ];
            lines.push(("may", describe::may(client)));
            lines.push(("broker", describe::broker(client)));
            for (name, value) in &client.user_properties {
                lines.push(("property", printable(&format!("{name}={value}"))));
            }
            subjects(&mut lines, "publishes", &client.pub_subjects);
            subjects(&mut lines, "subscribes", &client.sub_subjects);
            for line in client.opa_policy.lines() {
                lines.push(("policy", format!("| {}", printable(line))));
            }
            lines
        }
        Claims::Server(server) => {
            let given = server.permissions.unwrap_or_default().given();
            let mut lines: Lines = vec![
                ("identity", printable(&server.identity)),
                ("kind", kind(claims).to_owned()),
                ("organization", printable(&server.ou)),
                ("collectives", printable(&server.collectives.join(", "))),
            ];
            let rights = if given.is_empty() {
                "none".to_owned()
            } else {
                given.join(", ")
            };
            lines.push(("broker", rights));
            subjects(&mut lines, "publishes", &server.pub_subjects);
            lines
        }
    };
    let head = 3.min(lines.len());
    lines.splice(head..head, origin(claims, now));
    let mut text = String::new();
    for (name, value) in lines {
        // Writing into a string has no way to fail.
        let _ = writeln!(text, "{name:<14}{value}");
    }
    text
}

/// What kind of token it is; one that may issue others says so in its claims.
pub(super) fn kind(claims: &Claims) -> &'static str {
    match claims {
        Claims::Server(_) => "server",
        Claims::Client(client) => {
            let organization = matches!(Issuer::of(&client.standard), Issuer::Organization { .. });
            if organization && !client.standard.tcs.is_empty() {
                "chain issuer: its holder may issue tokens for anybody"
            } else if client.permissions().authentication_delegator {
                "delegator: its holder signs requests for others"
            } else {
                "client"
            }
        }
    }
}

/// From whom, for how long, for which key.
fn origin(claims: &Claims, now: Timestamp) -> Lines {
    let standard = claims.standard();
    let time = |second: Option<i64>| match second {
        Some(second) => describe::rfc3339(second).unwrap_or_else(|| format!("second {second}")),
        None => "-".to_owned(),
    };
    let bound = if standard.public_key.is_empty() {
        "no key: it works for whoever has it".to_owned()
    } else {
        format!("key {}", printable(&standard.public_key))
    };
    vec![
        ("id", printable(&standard.jti)),
        ("issued", time(standard.iat)),
        (
            "valid until",
            format!(
                "{} ({})",
                time(standard.expires()),
                describe::expiry(standard, now)
            ),
        ),
        ("issued by", Issuer::of(standard).words()),
        ("bound to", bound),
    ]
}

fn subjects(lines: &mut Lines, name: &'static str, subjects: &[String]) {
    if !subjects.is_empty() {
        lines.push((name, printable(&subjects.join(", "))));
    }
}
