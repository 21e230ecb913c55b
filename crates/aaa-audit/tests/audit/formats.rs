//! Golden lines of every format, and the promises of each.

use std::fmt::Write as _;

use aaa_audit::Scribe;
use aaa_audit::formats::{Format, Formatter, RequestEncoding};
use aaa_core::audit::{Record, Subject};
use aaa_core::decision::Reason;
use aaa_core::request::Request;
use serde_json::{Value, json};

use crate::fixtures::{self, allowed, record, refused};

fn formatter(format: Format) -> Scribe {
    scribe(format, RequestEncoding::String)
}

fn scribe(format: Format, request_encoding: RequestEncoding) -> Scribe {
    let formatter = Formatter {
        format,
        request_encoding,
        ..Formatter::default()
    };
    Scribe::new(formatter, None)
}

fn objects() -> Scribe {
    scribe(Format::SignatureAudit, RequestEncoding::Object)
}

fn line(formatter: &Scribe, record: &Record) -> String {
    String::from_utf8(formatter.line(record).unwrap()).unwrap()
}

fn value(formatter: &Scribe, record: &Record) -> Value {
    serde_json::from_str(&line(formatter, record)).unwrap()
}

/// All lines of a format, each under the name of what happened.
fn gallery(formatter: &Scribe) -> String {
    let mut gallery = String::new();
    for (name, record) in fixtures::all() {
        match formatter.line(&record) {
            Some(_) => write!(gallery, "{name}\n{}", line(formatter, &record)).unwrap(),
            None => writeln!(gallery, "{name}\nnot carried").unwrap(),
        }
    }
    gallery
}

#[test]
fn aaasvc_lines() {
    insta::assert_snapshot!(gallery(&formatter(Format::Aaasvc)));
}

#[test]
fn signature_audit_lines() {
    insta::assert_snapshot!(gallery(&formatter(Format::SignatureAudit)));
}

#[test]
fn signature_audit_lines_with_objects() {
    insta::assert_snapshot!(gallery(&objects()));
}

#[test]
fn choria_lines() {
    insta::assert_snapshot!(gallery(&formatter(Format::Choria)));
}

#[test]
fn mcollective_lines() {
    insta::assert_snapshot!(gallery(&formatter(Format::Mcollective)));
}

#[test]
fn an_aaasvc_line_holds_the_request_as_the_node_sees_it() {
    let audited = value(&formatter(Format::Aaasvc), &fixtures::all()[0].1);
    let members: Vec<&String> = audited.as_object().unwrap().keys().collect();
    let alphabetical = [
        "action", "auditor", "caller", "level", "msg", "site", "time",
    ];
    assert_eq!(members, alphabetical);
    assert_eq!(audited["caller"], "up=alice@example.net");
    assert_eq!(audited["time"], "2026-11-22T11:22:36Z");
    let request: Value = serde_json::from_str(audited["msg"].as_str().unwrap()).unwrap();
    assert_eq!(request["envelope"]["callerid"], "up=alice_example_net");
}

#[test]
fn a_claimed_caller_stands_in_no_callers_place() {
    let unverified = record(
        Subject::Sign(fixtures::install()),
        None,
        refused(Reason::InvalidToken),
    );
    assert_eq!(
        value(&formatter(Format::Aaasvc), &unverified)["caller"],
        "unknown"
    );
    assert_eq!(
        value(&formatter(Format::SignatureAudit), &unverified)["callerid"],
        "unknown"
    );
    let choria = line(&formatter(Format::Choria), &unverified);
    assert!(choria.contains(r#""caller":"unknown""#));
    assert!(!choria.contains(fixtures::CLAIMED), "{choria}");
    let native = line(&formatter(Format::Mcollective), &unverified);
    assert!(native.contains(" caller=unknown@dev1.example.net "));
    assert!(!native.contains(fixtures::CLAIMED), "{native}");
    // The request itself is evidence, and left as it came.
    let kept = value(&formatter(Format::Aaasvc), &unverified);
    let request = kept["msg"].as_str().unwrap().as_bytes();
    assert_eq!(request, fixtures::install().bytes());
}

#[test]
fn unreadable_bytes_are_named_and_not_shown() {
    for format in Format::NAMES {
        let formatter = formatter(Format::parse(format).unwrap());
        let secret = record(
            Subject::unreadable(b"hunter2"),
            None,
            refused(Reason::MalformedRequest),
        );
        let line = line(&formatter, &secret);
        let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
        assert!(!line.contains("hunter2"), "{line}");
        assert!(line.contains(digest), "{line}");
        let nobody = ["unknown", "\"caller\":null"];
        assert!(nobody.iter().any(|words| line.contains(words)), "{line}");
    }
}

/// What <https://choria.io/schemas/choria/signer/v1/signature_audit.json> demands, without its prose.
fn published_schema() -> jsonschema::Validator {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-04/schema",
        "type": "object",
        "required": ["protocol", "callerid", "action", "site", "time", "request"],
        "properties": {
            "protocol": {"type": "string", "enum": ["io.choria.signer.v1.signature_audit"]},
            "callerid": {"type": "string"},
            "action": {"type": "string", "enum": ["unknown", "allow", "deny"]},
            "site": {"type": "string"},
            "time": {"type": "integer"},
            "request": {"type": "string"}
        }
    });
    jsonschema::draft4::new(&schema).unwrap()
}

#[test]
fn signature_audit_is_as_published() {
    let schema = published_schema();
    for (name, record) in fixtures::all() {
        let login = matches!(record.subject, Subject::Login { .. });
        assert_eq!(
            formatter(Format::SignatureAudit).line(&record).is_none(),
            login,
            "{name}"
        );
        if !login {
            let audited = value(&formatter(Format::SignatureAudit), &record);
            assert!(schema.is_valid(&audited), "{name}: {audited}");
            let as_sent = value(&objects(), &record);
            assert!(as_sent["request"].is_object(), "{name}");
            let inside: Value = serde_json::from_str(audited["request"].as_str().unwrap()).unwrap();
            assert_eq!(as_sent["request"], inside, "{name}");
        }
    }
}

/// A request with something in a member that nobody interprets.
fn with_extra(extra: &str) -> Record {
    let plain = String::from_utf8(fixtures::install().bytes().to_vec()).unwrap();
    let text = plain.replacen('{', &format!("{{\n\t\"extra\": {extra},\r\n"), 1);
    let request = Request::parse(text.as_bytes()).unwrap();
    record(Subject::Sign(request.into()), Some("up=eve"), allowed())
}

#[test]
fn embedded_requests_keep_their_text_on_one_line() {
    let line = line(
        &objects(),
        &with_extra("[ 1.50, \"a b\", 12345678901234567890123 ]"),
    );
    assert!(
        line.contains(r#""request":{"extra":[1.50,"a b",12345678901234567890123],"protocol":"#),
        "{line}"
    );
    assert_eq!(line.find('\n'), Some(line.len() - 1));
}

#[test]
fn a_request_that_would_spoil_the_record_is_kept_as_a_string() {
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for extra in [nested.as_str(), "1e999", r#""\ud800""#, r#"{"a":1,"a":2}"#] {
        let record = with_extra(extra);
        assert!(value(&objects(), &record)["request"].is_string(), "{extra}");
    }
}

#[test]
fn a_native_line_takes_no_fields_from_a_request() {
    let request = json!({"protocol": "choria:request:1", "message": r#"{"agent":"a b","action":"x\ty"}"#, "envelope": {
        "requestid": "1: caller=up=root@x", "senderid": "h@i agent=puppet \u{2028}\\", "callerid": "up=root",
        "collective": "c", "agent": "a b", "ttl": 60, "time": 1}});
    let request = Request::parse(request.to_string().as_bytes()).unwrap();
    let record = record(
        Subject::Sign(request.into()),
        Some("okta=bob@example.net"),
        allowed(),
    );
    assert_eq!(
        line(&formatter(Format::Mcollective), &record),
        "[2026-11-22 11:22:36 UTC] reqid=1:\\u0020caller=up=root@x: reqtime=1 \
         caller=okta=bob@example.net@h\\u0040i\\u0020agent=puppet\\u0020\\u2028\\u005C \
         agent=a\\u0020b action=x\\u0009y data=nil\n"
    );
}
