//! Whatever a client sends: one record, one line, and JSON that says what happened.

use std::sync::Arc;

use aaa_audit::Scribe;
use aaa_audit::formats::{Format, Formatter, RequestEncoding};
use aaa_core::audit::{Outcome, Record, Subject};
use aaa_core::caller::CallerId;
use aaa_core::decision::Reason;
use aaa_core::request::Request;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures;

/// Text with a leaning towards what breaks lines, strings and terminals.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "\n",
        "\r",
        "\0",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{85}",
        "\u{9b}",
        "\u{2028}",
        "\u{202e}",
        "\u{feff}",
        "\"",
        "\\",
        "\\n",
        "#{x}",
        " ",
        "=",
        "@",
        ": ",
        " data={",
        "</script>",
        "é",
        "😀",
        "\u{10ffff}",
    ]);
    let piece = prop_oneof![
        nasty.prop_map(str::to_owned),
        ".{0,4}",
        any::<char>().prop_map(String::from)
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn data() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

fn request() -> impl Strategy<Value = Arc<Request>> {
    let name = || text().prop_filter("not empty", |name| !name.is_empty());
    let parts = (name(), name(), vec(text(), 4), data(), data(), any::<i32>());
    (parts, any::<bool>()).prop_map(|((agent, action, words, data, extra, time), pretty)| {
        let message = json!({"agent": agent, "action": action, "data": data}).to_string();
        let request = json!({"protocol": "choria:request:1", "message": message, "x-extra": extra, "envelope": {
            "requestid": words[0], "senderid": words[1], "callerid": words[2], "collective": words[3],
            "agent": agent, "ttl": 60, "time": time}});
        let text = if pretty {
            serde_json::to_string_pretty(&request)
        } else {
            serde_json::to_string(&request)
        };
        Arc::new(Request::parse(text.unwrap().as_bytes()).unwrap())
    })
}

fn record() -> impl Strategy<Value = Record> {
    let subject = prop_oneof![
        4 => request().prop_map(Subject::Sign),
        1 => vec(any::<u8>(), 0..64).prop_map(|bytes| Subject::unreadable(&bytes)),
        1 => text().prop_map(|username| Subject::Login { username }),
    ];
    let outcome = prop_oneof![
        text().prop_map(|rule| Outcome::Allowed { rule }),
        text().prop_map(|detail| Outcome::Refused {
            reason: Reason::InvalidSignature,
            detail
        }),
    ];
    let caller = prop::option::of(text());
    (
        subject,
        caller,
        outcome,
        text(),
        text(),
        -9_999_999_999_i64..99_999_999_999,
    )
        .prop_map(|(subject, caller, outcome, site, exchange, second)| {
            let mut record = fixtures::record(subject, caller.as_deref(), outcome);
            record.site = site.into();
            Arc::make_mut(&mut record.exchange).id = exchange;
            record.time = jiff::Timestamp::from_second(second).unwrap();
            record
        })
}

/// Its one line without the line end, after looking for anything that could make it two, or be seen as something else.
fn one_line(formatter: Formatter, record: &Record) -> Option<String> {
    let line = String::from_utf8(Scribe::new(formatter, None).line(record)?).unwrap();
    let line = line.strip_suffix('\n').expect("a line end");
    let stray =
        |c: &char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202e}' | '\u{2066}');
    assert_eq!(line.chars().find(stray), None, "{line:?}");
    Some(line.to_owned())
}

fn json_line(format: Format, request_encoding: RequestEncoding, record: &Record) -> Option<Value> {
    let formatter = Formatter {
        format,
        request_encoding,
        ..Formatter::default()
    };
    let line = one_line(formatter, record)?;
    Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
}

proptest! {
    #[test]
    fn v2_lines_keep_to_their_schema(record in record()) {
        let line = json_line(Format::V2, RequestEncoding::String, &record).unwrap();
        crate::v2::check(&line);
        let caller = record.caller.as_ref().map(CallerId::as_str);
        prop_assert_eq!(line["caller"].as_str(), caller);
        prop_assert_eq!(&line["decision"], if record.outcome.is_allowed() { "allow" } else { "deny" });
    }

    #[test]
    fn json_formats_say_in_one_line_what_happened(record in record()) {
        let caller = record.caller.as_ref().map_or("unknown", |caller| caller.as_str());
        let action = match (&record.subject, record.outcome.is_allowed()) {
            (Subject::Unreadable { .. }, _) => "unknown",
            (_, true) => "allow",
            (_, false) => "deny",
        };
        for encoding in [RequestEncoding::String, RequestEncoding::Object] {
            let audited = json_line(Format::Aaasvc, encoding, &record).unwrap();
            prop_assert_eq!(&audited["caller"], caller);
            prop_assert_eq!(&audited["action"], action);
            prop_assert_eq!(&audited["site"], &*record.site);

            let audited = json_line(Format::Choria, encoding, &record).unwrap();
            prop_assert_eq!(&audited["caller"], caller);
            prop_assert_eq!(&audited["decision"], action);
            if let Subject::Sign(request) = &record.subject {
                prop_assert_eq!(&audited["sender"], request.sender());
                prop_assert_eq!(&audited["action"], request.action());
            }

            if let Some(audited) = json_line(Format::SignatureAudit, encoding, &record) {
                prop_assert_eq!(&audited["callerid"], caller);
                prop_assert_eq!(&audited["action"], action);
                prop_assert_eq!(audited["request"].is_string(), encoding == RequestEncoding::String);
            }
        }
    }

    #[test]
    fn an_unverified_request_is_kept_to_the_byte(request in request()) {
        let sign = Subject::Sign(Arc::clone(&request));
        let record = fixtures::record(sign, None, fixtures::refused(Reason::InvalidToken));
        let audited = json_line(Format::Aaasvc, RequestEncoding::String, &record).unwrap();
        prop_assert_eq!(audited["msg"].as_str().unwrap().as_bytes(), request.bytes());
        let audited = json_line(Format::SignatureAudit, RequestEncoding::Object, &record).unwrap();
        let given: Value = serde_json::from_slice(request.bytes()).unwrap();
        prop_assert_eq!(&audited["request"], &given);
    }

    #[test]
    fn native_lines_have_their_fields_and_no_others(record in record()) {
        let formatter = Formatter { format: Format::Mcollective, ..Formatter::default() };
        let line = one_line(formatter, &record).unwrap();
        let (head, _data) = line.split_once(" data=").unwrap();
        let names: Vec<&str> = head.split(' ').skip(3).map(|field| field.split('=').next().unwrap()).collect();
        let prefix = names.len() - 5;
        prop_assert_eq!(&names[prefix..], ["reqid", "reqtime", "caller", "agent", "action"]);
        let refused = head.contains("UTC] decision=") || head.contains("UTC] kind=login decision=");
        let unreadable = matches!(record.subject, Subject::Unreadable { .. });
        prop_assert_eq!(refused, unreadable || !record.outcome.is_allowed());
        let login = matches!(record.subject, Subject::Login { .. });
        prop_assert_eq!(head.contains("UTC] kind=login"), login);
    }
}
