use super::*;

fn detail<T>(result: Result<T, ApiError>) -> String {
    result.err().unwrap().detail().to_owned()
}

#[test]
fn a_login_of_the_stock_client_is_read() {
    let body = br#"{"password":"s3cret:with:colons","public_key":"ABC7b758f1a9ec9f100a37920764906823bba7314dcbe87a81dea298e0acd944","signature":"","timestamp":"1795346537","username":"\u00fcn\u00efcode"}"#;
    let login = LoginRequest::parse(body).unwrap();
    assert_eq!(login.username, "ünïcode");
    assert_eq!(login.password.expose(), "s3cret:with:colons");
    assert_eq!(login.timestamp, "1795346537");
    assert_eq!(login.public_key.len(), PUBLIC_KEY_LENGTH);
    assert!(login.signature.is_empty());
}

#[test]
fn the_form_of_a_login_is_checked_member_by_member() {
    let cases = [
        (
            "username",
            "x".repeat(257),
            "username is longer than 256 bytes",
        ),
        (
            "password",
            "x".repeat(1025),
            "password is longer than 1024 bytes",
        ),
        (
            "public_key",
            "0".repeat(63),
            "public_key must be 64 hexadecimal characters",
        ),
        (
            "public_key",
            "g".repeat(64),
            "public_key must be 64 hexadecimal characters",
        ),
        (
            "timestamp",
            "-1".to_owned(),
            "timestamp must be the seconds of the unix epoch in decimal digits",
        ),
        (
            "timestamp",
            "1e9".to_owned(),
            "timestamp must be the seconds of the unix epoch in decimal digits",
        ),
        (
            "timestamp",
            "٣".to_owned(),
            "timestamp must be the seconds of the unix epoch in decimal digits",
        ),
        (
            "timestamp",
            "1".repeat(13),
            "timestamp must be the seconds of the unix epoch in decimal digits",
        ),
        (
            "signature",
            "0".repeat(129),
            "signature must be 128 hexadecimal characters",
        ),
    ];
    for (member, value, expected) in cases {
        let body = serde_json::json!({ member: value }).to_string();
        assert_eq!(detail(LoginRequest::parse(body.as_bytes())), expected);
    }
}

#[test]
fn base64_is_strict() {
    let parse = |text: &str| {
        let body = serde_json::json!({ "request": text }).to_string();
        SignRequest::parse(body.as_bytes()).map(|sign| sign.request)
    };
    assert_eq!(parse("").unwrap(), b"");
    assert_eq!(parse("e30=").unwrap(), b"{}");
    for text in [
        "e30",
        "e30 ",
        " e30=",
        "e3\n0=",
        "e31=",
        "e30==",
        "e_0=",
        "=",
        "e3=0",
        "\u{e9}30=",
    ] {
        assert_eq!(
            detail(parse(text)),
            "request must be standard base64 with padding and without line breaks",
            "{text:?}"
        );
    }
}

#[test]
fn the_longest_of_everything_fits_a_body_and_more_does_not() {
    let longest = SignRequest {
        token: "t".repeat(TOKEN_LIMIT),
        request: vec![b'r'; REQUEST_LIMIT],
        signature: "0".repeat(SIGNATURE_LENGTH),
    };
    let body = longest.to_json();
    assert!(body.len() <= BODY_LIMIT);
    assert_eq!(
        SignRequest::parse(&body).unwrap().request.len(),
        REQUEST_LIMIT
    );

    for more in 1..4 {
        let sign = SignRequest {
            request: vec![b'r'; REQUEST_LIMIT + more],
            ..SignRequest::default()
        };
        assert_eq!(
            detail(SignRequest::parse(&sign.to_json())),
            "request is longer than 524288 bytes"
        );
    }
    let sign = SignRequest {
        token: "t".repeat(TOKEN_LIMIT + 1),
        ..SignRequest::default()
    };
    assert_eq!(
        detail(SignRequest::parse(&sign.to_json())),
        "token is longer than 262144 bytes"
    );
}

#[test]
fn answers_are_strings_and_nothing_that_is_absent() {
    let text = |body: Vec<u8>| String::from_utf8(body).unwrap();
    for length in 0..5 {
        let signed = SignResponse::from(SignOutcome::Signed(vec![0xff; length]));
        let expected = format!(
            "{{\"secure_request\":\"{}\"}}",
            STANDARD.encode(vec![0xff; length])
        );
        assert_eq!(text(signed.to_json()), expected);
    }
    let refused = SignOutcome::Refused {
        error: "no \"way\"".to_owned(),
        detail: String::new(),
    };
    assert_eq!(
        text(SignResponse::from(refused).to_json()),
        r#"{"error":"no \"way\""}"#
    );
    let refused = LoginOutcome::Refused {
        error: "no".to_owned(),
        detail: "why".to_owned(),
    };
    assert_eq!(
        text(LoginResponse::from(refused).to_json()),
        r#"{"error":"no","detail":"why"}"#
    );
    let token = LoginOutcome::Token("a.b.c".to_owned());
    assert_eq!(
        text(LoginResponse::from(token).to_json()),
        r#"{"token":"a.b.c"}"#
    );
}

#[test]
fn what_a_client_writes_is_what_the_service_reads() {
    let key = Ed25519Key::generate().unwrap();
    let now = Timestamp::from_second(1_795_346_537).unwrap();
    let password = "p\u{0}\"\\ü:".to_owned();
    let login = LoginRequest::signed("bob", Secret::new(password.clone()), &key, now);
    let read = LoginRequest::parse(&login.to_json()).unwrap();
    assert_eq!(read.password.expose(), &password);
    assert_eq!(read.timestamp, "1795346537");
    assert_eq!(read.public_key, key.public().to_hex());
    let signature: [u8; 64] = hex::decode(&read.signature).unwrap().try_into().unwrap();
    let message = LoginRequest::signed_bytes(&read.timestamp, "bob", &password);
    assert_eq!(&**message, format!("1795346537:bob:{password}").as_bytes());
    assert!(key.public().verify(&message, &signature));
}

#[test]
fn the_buffer_of_a_login_never_grows() {
    let login = LoginRequest {
        username: "\u{1}".repeat(USERNAME_LIMIT),
        password: Secret::new("\u{1}".repeat(PASSWORD_LIMIT)),
        public_key: "0".repeat(PUBLIC_KEY_LENGTH),
        timestamp: "1".repeat(TIMESTAMP_LIMIT),
        signature: "0".repeat(SIGNATURE_LENGTH),
    };
    let room = 6 * (USERNAME_LIMIT + PASSWORD_LIMIT) + 512;
    let body = login.to_json();
    assert!(body.len() <= room);
    assert!(body.capacity() < 2 * room);
}
