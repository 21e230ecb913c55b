use http::HeaderValue;
use serde_json::json;

use super::*;

#[test]
fn a_login_stays_one_part_of_a_path_or_is_none() {
    for (login, encoded) in [
        ("bob@example.net", Some("bob@example.net")),
        ("o'neil+x@example.net", Some("o%27neil%2Bx@example.net")),
        ("ünï@example.net", Some("%C3%BCn%C3%AF@example.net")),
        ("a b&c=d", Some("a%20b%26c%3Dd")),
        ("a..b", Some("a..b")),
        ("", None),
        (".", None),
        ("..", None),
        ("bob/groups", None),
        ("..\\admin", None),
        ("bob?x=1", None),
        ("bob#x", None),
        ("bob%2f..", None),
        ("bob;x", None),
        ("bob\r\nX: y", None),
        ("bob\0", None),
        (" bob", None),
        ("bob\u{a0}", None),
        ("bo\u{200b}b", None),
        ("\u{202e}bob", None),
        (&"x".repeat(101), None),
        (&"ü".repeat(100), Some(&"%C3%BC".repeat(100))),
    ] {
        let segment = PathSegment::of(login);
        assert_eq!(
            segment.as_ref().map(PathSegment::as_str),
            encoded,
            "{login}"
        );
    }
}

#[test]
fn a_form_holds_what_it_was_given_and_no_more() {
    let form = grant_form("bob&scope=admin", "p=w&x +ü%\n");
    assert_eq!(
        std::str::from_utf8(&form).unwrap(),
        "grant_type=password&scope=openid&username=bob%26scope%3Dadmin&password=p%3Dw%26x%20%2B%C3%BC%25%0A"
    );
    // Never grown, so no half-filled copy was left behind.
    assert!(form.capacity() >= form.len());
}

fn token(claims: &serde_json::Value) -> String {
    let part = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{part}.c2ln")
}

#[test]
fn tokens_say_whose_they_are() {
    let id = token(&json!({"sub": "00u1"}));
    let access = token(&json!({"sub": "bob@example.net", "uid": "00u2"}));
    for (tokens, expected) in [
        (
            json!({"access_token": access, "id_token": id}),
            Ok(Some("00u1")),
        ),
        (json!({"access_token": access}), Ok(Some("00u2"))),
        (json!({"access_token": "opaque"}), Ok(None)),
        (json!({"access_token": ""}), Err(NoTokens)),
        (json!({"access_token": "x", "id_token": "x"}), Err(NoTokens)),
        (
            json!({"access_token": "x", "id_token": token(&json!({}))}),
            Err(NoTokens),
        ),
        (
            json!({"access_token": "x", "token_type": "mac"}),
            Err(NoTokens),
        ),
    ] {
        let mut tokens = tokens;
        if tokens.get("token_type").is_none() {
            tokens["token_type"] = json!("Bearer");
        }
        let read: Tokens = serde_json::from_value(tokens.clone()).unwrap();
        assert_eq!(
            read.subject(),
            expected.map(|id| id.map(str::to_owned)),
            "{tokens}"
        );
    }
}

#[test]
fn errors_are_told_apart() {
    for (failure, expected) in [
        (
            json!({"error": "invalid_grant", "error_description": "The credentials provided were invalid."}),
            Denial::Credentials,
        ),
        (
            json!({"error": "invalid_grant", "error_description": "Resource owner password credentials authentication denied by sign on policy."}),
            Denial::SecondFactor,
        ),
        (json!({"error": "mfa_required"}), Denial::SecondFactor),
        (json!({"error": "access_denied"}), Denial::Policy),
        (json!({"error": "invalid_client"}), Denial::Client),
        (json!({"errorCode": "invalid_client"}), Denial::Client),
        (json!({"error": "unauthorized_client"}), Denial::Setup),
        (json!({"errorCode": "E0000003"}), Denial::Other),
        (json!({}), Denial::Other),
    ] {
        let read: Failure = serde_json::from_value(failure.clone()).unwrap();
        assert_eq!(read.denial(), expected, "{failure}");
    }
}

#[test]
fn a_record_is_of_who_logged_in_or_of_somebody_else() {
    let user: User = serde_json::from_value(
        json!({"id": "00u1", "status": "ACTIVE", "profile": {"login": "Bob@Example.net"}}),
    )
    .unwrap();
    for (name, subject, expected) in [
        ("bob@example.net", Some("00u1"), true),
        ("BOB", Some("00u1"), true),
        ("bob@example.net", None, true),
        // Without an id nobody can say that the short name means this one.
        ("bob", None, false),
        ("bob@example.net", Some("00u2"), false),
        ("jill@example.net", Some("00u1"), false),
        ("00u1", Some("00u1"), false),
        ("", Some("00u1"), false),
    ] {
        assert_eq!(user.is(name, subject), expected, "{name} {subject:?}");
    }
    let strange: User = serde_json::from_value(
        json!({"id": "../x", "status": "ACTIVE", "profile": {"login": "b\nob"}}),
    )
    .unwrap();
    assert!(!strange.is("b\nob", Some("../x")));
    assert_eq!(strange.id(), None);
}

#[test]
fn the_next_page_lies_beside_this_one_or_there_is_none() {
    const ORIGIN: &str = "https://example.okta.com";
    const PATH: &str = "/api/v1/users/00u1/groups";
    let next = |links: &[&str]| {
        let mut headers = HeaderMap::new();
        for link in links {
            headers.append(header::LINK, HeaderValue::from_str(link).unwrap());
        }
        next_page(&headers, ORIGIN, PATH)
    };
    let own = format!("<{ORIGIN}{PATH}?limit=200>; rel=\"self\"");
    let good = format!("<{ORIGIN}{PATH}?after=x&limit=200>; rel=\"next\"");
    let page = Ok(format!("{PATH}?after=x&limit=200"));
    assert_eq!(next(&[&own, &good]), page);
    assert_eq!(next(&[&format!("{own}, {good}")]), page);
    assert_eq!(next(&[&own]), Err(NoPage::Last));
    assert_eq!(next(&[]), Err(NoPage::Last));
    for elsewhere in [
        "https://evil.example.com/api/v1/users/00u1/groups?after=x",
        "http://example.okta.com/api/v1/users/00u1/groups?after=x",
        "https://example.okta.com:444/api/v1/users/00u1/groups?after=x",
        "https://example.okta.com@evil.example.com/api/v1/users/00u1/groups?after=x",
        "https://example.okta.com.evil.example.com/api/v1/users/00u1/groups?after=x",
        "https://example.okta.com/api/v1/users/00u2/groups?after=x",
        "https://example.okta.com/api/v1/users/00u1/groups",
        "/api/v1/users/00u1/groups?after=x",
        "//evil.example.com/api/v1/users/00u1/groups?after=x",
        "",
    ] {
        let link = format!("<{elsewhere}>; rel=\"next\"");
        assert_eq!(next(&[&link]), Err(NoPage::Elsewhere), "{elsewhere}");
    }
}
