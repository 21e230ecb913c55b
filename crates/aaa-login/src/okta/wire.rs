//! What is said to Okta, and what Okta says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::login::turns;

/// The longest login that Okta has, in characters.
const LOGIN_LIMIT: usize = 100;
/// The longest id that is taken for one.
const ID_LIMIT: usize = 64;

/// What is written otherwise in a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'@');
/// The same in a form.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'*');

/// What can stand between two slashes of a path, and means nothing but itself there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathSegment(String);

impl PathSegment {
    /// A login, percent-encoded. None for what could become another path on the way (what is decoded twice, a slash in either
    /// direction, dots alone), for what could be read as another login (blanks around it, what is not seen), and for what is no login of Okta's.
    pub(super) fn of(login: &str) -> Option<Self> {
        let strange =
            |c: char| c.is_control() || turns(c) || matches!(c, '/' | '\\' | '%' | '?' | '#' | ';');
        let dots = login.chars().all(|c| c == '.');
        // What a directory may leave out itself would be another name for the same login, with a count of failures of its own.
        let padded = login.trim() != login;
        if dots || padded || login.chars().count() > LOGIN_LIMIT || login.contains(strange) {
            return None;
        }
        Some(Self(utf8_percent_encode(login, SEGMENT).to_string()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The form of the password grant (RFC 6749 section 4.3.2).
pub(super) fn grant_form(username: &str, password: &str) -> Zeroizing<Vec<u8>> {
    let mut form = Zeroizing::new(Vec::with_capacity(
        64 + 3 * (username.len() + password.len()),
    ));
    form.extend_from_slice(b"grant_type=password&scope=openid&username=");
    form_encode(&mut form, username);
    form.extend_from_slice(b"&password=");
    form_encode(&mut form, password);
    form
}

/// `application/x-www-form-urlencoded`, in room that is there already, so that no copy of a password is left behind.
fn form_encode(form: &mut Vec<u8>, text: &str) {
    for part in utf8_percent_encode(text, FORM) {
        form.extend_from_slice(part.as_bytes());
    }
}

/// The answer to a password grant that was good.
#[derive(Deserialize)]
pub(super) struct Tokens {
    token_type: String,
    access_token: Zeroizing<String>,
    id_token: Option<Zeroizing<String>>,
}

/// The answer holds no tokens, or an id token of nobody.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoTokens;

/// The claims that say whose tokens they are.
#[derive(Deserialize)]
struct Whose {
    sub: Option<String>,
    uid: Option<String>,
}

impl Tokens {
    /// The id of the user whom the tokens name, when they name one.
    ///
    /// They come straight from the tenant, over TLS, and so need no other proof (`OpenID` Connect Core section 3.1.3.7, 6).
    pub(super) fn subject(&self) -> Result<Option<String>, NoTokens> {
        if !self.token_type.eq_ignore_ascii_case("bearer") || self.access_token.is_empty() {
            return Err(NoTokens);
        }
        // `sub` of an id token is the user's id; that of an access token is the login, and `uid` the id.
        if let Some(id_token) = self.id_token.as_deref() {
            let subject = whose(id_token).and_then(|whose| whose.sub);
            return subject.map(Some).ok_or(NoTokens);
        }
        Ok(whose(&self.access_token).and_then(|whose| whose.uid))
    }
}

fn whose(token: &str) -> Option<Whose> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// An error, in the form of OAuth or in that of Okta's own API.
#[derive(Deserialize, Default)]
pub(super) struct Failure {
    error: Option<String>,
    #[serde(rename = "errorCode")]
    code: Option<String>,
    error_description: Option<String>,
}

/// What an error of the token endpoint says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// The name or the password.
    Credentials,
    /// A second factor is demanded.
    SecondFactor,
    /// Policy says no.
    Policy,
    /// The application's own id and secret.
    Client,
    /// The application may not do this.
    Setup,
    /// Anything else.
    Other,
}

impl Failure {
    pub(super) fn denial(&self) -> Denial {
        let described = self.error_description.as_deref().unwrap_or_default();
        let described = described.to_ascii_lowercase();
        match self.error.as_deref().or(self.code.as_deref()) {
            Some("mfa_required") => Denial::SecondFactor,
            // A sign-on policy denies what it would want another factor for.
            Some("invalid_grant") if described.contains("sign on policy") => Denial::SecondFactor,
            Some("invalid_grant") => Denial::Credentials,
            Some("access_denied") => Denial::Policy,
            Some("invalid_client") => Denial::Client,
            Some("unauthorized_client" | "unsupported_grant_type" | "invalid_scope") => {
                Denial::Setup
            }
            _ => Denial::Other,
        }
    }
}

/// A user's record.
#[derive(Debug, Deserialize)]
pub(super) struct User {
    id: String,
    status: String,
    profile: UserProfile,
}

#[derive(Debug, Deserialize)]
struct UserProfile {
    login: String,
}

impl User {
    /// Whether it is the record of who logged in: by the id in their tokens and the name that was given, and by the whole name
    /// where the tokens have no id.
    pub(super) fn is(&self, username: &str, subject: Option<&str>) -> bool {
        match subject {
            Some(subject) => subject == self.id && self.is_called(username),
            None => self.is_called(username) && same(&self.profile.login, username),
        }
    }

    /// Whether its login is this name. A tenant may let people leave out what stands behind the `@`.
    pub(super) fn is_called(&self, username: &str) -> bool {
        let login = &self.profile.login;
        let sane = !login.is_empty()
            && login.chars().count() <= LOGIN_LIMIT
            && !login.contains(char::is_control);
        let short = login.split_once('@');
        sane && (same(login, username) || short.is_some_and(|(local, _)| same(local, username)))
    }

    pub(super) fn login(&self) -> &str {
        &self.profile.login
    }

    /// The id, when it can stand in a path.
    pub(super) fn id(&self) -> Option<PathSegment> {
        let fit = (1..=ID_LIMIT).contains(&self.id.len())
            && self.id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        fit.then(|| PathSegment(self.id.clone()))
    }

    pub(super) fn is_active(&self) -> bool {
        self.status == "ACTIVE"
    }

    pub(super) fn is_locked(&self) -> bool {
        self.status == "LOCKED_OUT"
    }
}

/// Logins are the same in any case.
fn same(login: &str, name: &str) -> bool {
    login.to_lowercase() == name.to_lowercase()
}

/// A group's record.
#[derive(Deserialize)]
pub(super) struct Group {
    pub(super) profile: GroupProfile,
}

#[derive(Deserialize)]
pub(super) struct GroupProfile {
    pub(super) name: String,
}

/// Why a next page is not asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoPage {
    /// There is none.
    Last,
    /// It lies elsewhere than the pages before.
    Elsewhere,
}

/// Where the next page is (RFC 8288): path and query. It must be of the same origin and path as this one, with another query.
pub(super) fn next_page(headers: &HeaderMap, origin: &str, path: &str) -> Result<String, NoPage> {
    for value in headers.get_all(header::LINK) {
        let Ok(value) = value.to_str() else { continue };
        for link in value.split(',') {
            let Some((target, parameters)) = link.trim().split_once('>') else {
                continue;
            };
            let next = parameters.split(';').any(|parameter| {
                let parameter = parameter.trim();
                parameter == "rel=\"next\"" || parameter == "rel=next"
            });
            if !next {
                continue;
            }
            let target = target.strip_prefix('<').unwrap_or_default();
            return same_path(target, origin, path).ok_or(NoPage::Elsewhere);
        }
    }
    Err(NoPage::Last)
}

fn same_path(target: &str, origin: &str, path: &str) -> Option<String> {
    let uri: Uri = target.parse().ok()?;
    let found = format!("{}://{}", uri.scheme_str()?, uri.authority()?);
    let same = found.eq_ignore_ascii_case(origin) && uri.path() == path;
    let query = uri.query()?;
    same.then(|| format!("{path}?{query}"))
}

#[cfg(test)]
mod tests;
