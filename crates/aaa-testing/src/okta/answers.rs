//! What the tenant says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

use super::strict::{Asked, What};
use super::{Fault, Policy, Shared, State, User};

type Answer = Response<Full<Bytes>>;

pub(super) fn bad_request() -> Answer {
    error(400, "E0000003", "The request body was not well-formed.")
}

/// The answer to a call, or the fault in its place.
pub(super) fn good(shared: &Shared, asked: &Asked, fault: Option<&Fault>) -> Answer {
    match fault {
        Some(Fault::Status(status)) => return error(*status, "E0000009", "Internal Server Error"),
        Some(Fault::RateLimit(reset)) => return rate_limit(*reset),
        Some(Fault::Html) => {
            return typed(
                200,
                "text/html; charset=utf-8",
                "<html><body>Sign in</body></html>",
            );
        }
        Some(Fault::Json(text)) => return typed(200, "application/json", text),
        Some(Fault::Huge) => {
            let huge = format!("[\"{}\"]", "x".repeat(10_000_000));
            return typed(200, "application/json", &huge);
        }
        Some(Fault::Redirect(to)) => {
            let mut answer = typed(302, "text/html", "");
            if let Ok(to) = HeaderValue::from_str(to) {
                answer.headers_mut().insert(header::LOCATION, to);
            }
            return answer;
        }
        _ => {}
    }
    let state = shared.lock();
    match &asked.what {
        What::Token { .. } if !asked.authorized => json_answer(
            401,
            &json!({"error": "invalid_client", "error_description": "The client secret supplied for a confidential client is invalid."}),
        ),
        What::Token { username, password } => {
            let opaque = matches!(fault, Some(Fault::OpaqueTokens));
            grant(&state, username, password, opaque)
        }
        _ if !asked.authorized => error(401, "E0000011", "Invalid token provided"),
        What::User(name) => {
            let name = match fault {
                Some(Fault::RecordOf(other)) => other,
                _ => name,
            };
            match find(&state, name) {
                Some(user) => json_answer(200, &record(user)),
                None => not_found(name),
            }
        }
        What::Groups { user: name, after } => match find(&state, name) {
            Some(user) => groups(shared, &state, user, *after, fault),
            None => not_found(name),
        },
    }
}

fn find<'a>(state: &'a State, name: &str) -> Option<&'a User> {
    let name = name.to_lowercase();
    state.users.iter().find(|user| {
        let login = user.login.to_lowercase();
        let short = login.split_once('@').map(|(short, _)| short);
        user.id.to_lowercase() == name || login == name || short == Some(name.as_str())
    })
}

fn grant(state: &State, username: &str, password: &str, opaque: bool) -> Answer {
    let denied = |status: u16, code: &str, description: &str| {
        json_answer(
            status,
            &json!({"error": code, "error_description": description}),
        )
    };
    let user = find(state, username)
        // An id is no name to log in with.
        .filter(|user| user.id != username)
        .filter(|user| user.password == password && user.status != "LOCKED_OUT");
    let Some(user) = user else {
        return denied(
            400,
            "invalid_grant",
            "The credentials provided were invalid.",
        );
    };
    match user.policy {
        Policy::SecondFactor => denied(
            400,
            "invalid_grant",
            "Resource owner password credentials authentication denied by sign on policy.",
        ),
        Policy::SecondFactorRequired => denied(
            403,
            "mfa_required",
            "MFA is required to access this authorization server.",
        ),
        Policy::Deny => denied(
            400,
            "access_denied",
            "Policy evaluation failed for this request, please check the policy configurations.",
        ),
        Policy::Password => {
            let access = token(&json!({"sub": user.login, "uid": user.id, "scp": ["openid"]}));
            let id = token(&json!({"sub": user.id, "ver": 1}));
            let mut tokens = json!({"token_type": "Bearer", "expires_in": 3600, "access_token": access, "scope": "openid", "id_token": id});
            if opaque && let Some(tokens) = tokens.as_object_mut() {
                tokens.insert("access_token".to_owned(), json!("opaque"));
                tokens.remove("id_token");
            }
            json_answer(200, &tokens)
        }
    }
}

/// A token of the right form. Nobody verifies its signature, as it never leaves the TLS connection.
fn token(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!(
        "{}.{}.{}",
        part(&json!({"alg": "RS256", "kid": "1"})),
        part(claims),
        "c2lnbmF0dXJl"
    )
}

fn record(user: &User) -> Value {
    json!({
        "id": user.id, "status": user.status, "created": "2026-01-01T00:00:00.000Z", "lastLogin": null,
        "profile": {"firstName": "F", "lastName": "L", "email": user.login, "login": user.login, "mobilePhone": null},
        "credentials": {"provider": {"type": "OKTA", "name": "OKTA"}}, "_links": {}
    })
}

fn groups(
    shared: &Shared,
    state: &State,
    user: &User,
    after: usize,
    fault: Option<&Fault>,
) -> Answer {
    let page: Vec<Value> = user
        .groups
        .iter()
        .enumerate()
        .skip(after)
        .take(state.page)
        .map(|(number, name)| {
            json!({"id": format!("00g{number}"), "type": "OKTA_GROUP", "objectClass": ["okta:user_group"], "profile": {"name": name, "description": null}})
        })
        .collect();
    let own = format!("{}/api/v1/users/{}/groups", shared.origin, user.id);
    let end = after + page.len();
    let mut answer = json_answer(200, &Value::Array(page));
    let mut links = vec![format!("<{own}?limit=200>; rel=\"self\"")];
    match fault {
        Some(Fault::Next(next)) => links.push(format!("<{next}>; rel=\"next\"")),
        _ if end < user.groups.len() => {
            links.push(format!("<{own}?after={end}&limit=200>; rel=\"next\""));
        }
        _ => {}
    }
    for link in links {
        if let Ok(link) = HeaderValue::from_str(&link) {
            answer.headers_mut().append(header::LINK, link);
        }
    }
    answer
}

fn not_found(name: &str) -> Answer {
    let text = format!("Not found: Resource not found: {name} (User)");
    error(404, "E0000007", &text)
}

fn rate_limit(reset: Option<i64>) -> Answer {
    let mut answer = error(
        429,
        "E0000047",
        "API call exceeded rate limit due to too many requests.",
    );
    if let Some(reset) = reset {
        let headers = answer.headers_mut();
        headers.insert("x-rate-limit-limit", HeaderValue::from_static("600"));
        headers.insert("x-rate-limit-remaining", HeaderValue::from_static("0"));
        headers.insert("x-rate-limit-reset", HeaderValue::from(reset));
    }
    answer
}

fn error(status: u16, code: &str, summary: &str) -> Answer {
    json_answer(
        status,
        &json!({"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": "oae1", "errorCauses": []}),
    )
}

fn json_answer(status: u16, value: &Value) -> Answer {
    typed(status, "application/json", &value.to_string())
}

fn typed(status: u16, kind: &'static str, text: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
