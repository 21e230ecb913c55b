//! Reading what came, and saying what the documents do not allow in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method, Request, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{API_TOKEN, CLIENT_ID, CLIENT_SECRET, Call};

/// A call that the documents allow.
pub(super) struct Asked {
    /// Path and query, as they came.
    pub(super) path: String,
    pub(super) what: What,
    /// Whether who calls has shown the right credentials of their own.
    pub(super) authorized: bool,
}

pub(super) enum What {
    Token {
        username: String,
        password: String,
    },
    /// By login, short name or id.
    User(String),
    Groups {
        user: String,
        after: usize,
    },
}

impl Asked {
    pub(super) fn call(&self) -> Call {
        match self.what {
            What::Token { .. } => Call::Token,
            What::User(_) => Call::User,
            What::Groups { .. } => Call::Groups,
        }
    }
}

pub(super) async fn read(request: Request<Incoming>) -> Result<Asked, String> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map_err(|error| format!("a body that breaks off: {error}"))?
        .to_bytes();
    let path = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let wrong = |what: &str| format!("{} {path}: {what}", parts.method);
    if parts.version == Version::HTTP_2 {
        if parts.uri.scheme_str() != Some("https") || parts.uri.authority().is_none() {
            return Err(wrong("no :authority, or not over https"));
        }
    } else if parts.uri.scheme().is_some() {
        return Err(wrong("a whole URL where a path is wanted"));
    } else if !parts.headers.contains_key(header::HOST) {
        return Err(wrong("no Host"));
    }
    if text(&parts.headers, header::ACCEPT) != Some("application/json") {
        return Err(wrong("Accept is not application/json"));
    }
    let authorization = text(&parts.headers, header::AUTHORIZATION).unwrap_or_default();
    let (what, scheme, expected) = if parts.uri.path() == "/oauth2/default/v1/token" {
        if parts.method != Method::POST || parts.uri.query().is_some() {
            return Err(wrong("wants POST without a query"));
        }
        if text(&parts.headers, header::CONTENT_TYPE) != Some("application/x-www-form-urlencoded") {
            return Err(wrong("Content-Type is not that of a form"));
        }
        let what = form(&body).map_err(|problem| wrong(&problem))?;
        let pair = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        (what, "Basic ", pair)
    } else {
        if parts.method != Method::GET || !body.is_empty() {
            return Err(wrong("wants GET without a body"));
        }
        let what = user(parts.uri.path(), parts.uri.query()).map_err(|problem| wrong(&problem))?;
        (what, "SSWS ", API_TOKEN.to_owned())
    };
    let shown = authorization
        .strip_prefix(scheme)
        .ok_or_else(|| wrong("another kind of Authorization"))?;
    Ok(Asked {
        authorized: shown == expected,
        path: path.clone(),
        what,
    })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok();
    if values.next().is_some() { None } else { value }
}

fn form(body: &[u8]) -> Result<What, String> {
    let body = std::str::from_utf8(body).map_err(|_| "a form that is no text")?;
    let mut fields = Vec::new();
    for pair in body.split('&') {
        let (name, value) = pair.split_once('=').ok_or("a field without a value")?;
        fields.push((name, decode(&value.replace('+', " "))?));
    }
    let field = |name: &str| -> Result<String, String> {
        let mut found = fields.iter().filter(|(known, _)| *known == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(value.clone()),
            _ => Err(format!("wants {name} once")),
        }
    };
    if fields.len() != 4 || field("grant_type")? != "password" || field("scope")? != "openid" {
        return Err("is no password grant with the scope openid".to_owned());
    }
    Ok(What::Token {
        username: field("username")?,
        password: field("password")?,
    })
}

fn user(path: &str, query: Option<&str>) -> Result<What, String> {
    let rest = path
        .strip_prefix("/api/v1/users/")
        .ok_or("there is no such endpoint")?;
    let parts: Vec<&str> = rest.split('/').collect();
    match (parts.as_slice(), query) {
        ([login], None) => Ok(What::User(segment(login)?)),
        ([id, "groups"], Some(query)) => {
            let mut after = 0;
            for pair in query.split('&') {
                match pair.split_once('=') {
                    Some(("limit", limit))
                        if limit.parse().is_ok_and(|limit: u16| limit <= 200) => {}
                    Some(("after", cursor)) => {
                        after = cursor
                            .parse()
                            .map_err(|_| "a cursor that was never given")?;
                    }
                    _ => return Err(format!("a parameter that there is not: {pair}")),
                }
            }
            Ok(What::Groups {
                user: segment(id)?,
                after,
            })
        }
        _ => Err("there is no such endpoint".to_owned()),
    }
}

/// One part of a path: encoded as it must be, and not a place of its own.
fn segment(encoded: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%".contains(&byte);
    let decoded = decode(encoded)?;
    let strange = decoded.is_empty()
        || decoded.contains(['/', '\\', '?', '#', '%'])
        || decoded.chars().any(char::is_control)
        || decoded.chars().all(|c| c == '.')
        || !encoded.bytes().all(plain);
    if strange {
        return Err(format!("a path that could be another: {encoded}"));
    }
    Ok(decoded)
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(rest.next()), digit(rest.next()));
        let value = high
            .zip(low)
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        bytes.push(value.ok_or_else(|| format!("is not percent-encoded: {text}"))?);
    }
    String::from_utf8(bytes).map_err(|_| format!("is not UTF-8: {text}"))
}
