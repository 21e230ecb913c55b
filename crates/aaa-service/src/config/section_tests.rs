use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

static USER: &[Setting] = &[
    Setting::new("username", Kind::Text, "Who.").example("\"bob\""),
    Setting::new("password", Kind::Secret, "The hash.").example("\"$2a$…\""),
];

static SIGNER: &[Setting] = &[
    Setting::new("max_validity", Kind::Duration, "How long.").example("\"2h\""),
    Setting::new("signing_seed", Kind::Path, "The seed."),
    Setting::new("choria_service", Kind::Bool, "On the network."),
    Setting::new("port", Kind::Port, "A port."),
    Setting::new("count", Kind::Integer { min: 1, max: 10 }, "How many.").default("3"),
    Setting::new("ratio", Kind::Ratio, "How much."),
    Setting::new("format", Kind::OneOf(&["json", "text"]), "How.").default("json"),
    Setting::new("list", Kind::List, "A list."),
    Setting::new("words", Kind::Words, "Words."),
    Setting::new("properties", Kind::Map, "Texts."),
    Setting::new("users", Kind::Sections, "Users."),
    Setting::new(
        "cluster_id",
        Kind::Obsolete("NATS Streaming is gone"),
        "Nothing.",
    ),
];

/// Reads a `basicjwt_signer` section and shows what `read` finds wrong with it.
fn problems(section: &str, read: impl FnOnce(&Section<'_>)) -> String {
    let text = format!("{{\"basicjwt_signer\": {section}}}");
    let document = Document::parse("signer.json", text.as_bytes()).unwrap();
    if let Some(section) = document.section("basicjwt_signer", SIGNER) {
        read(&section);
    }
    let problems = document.problems();
    let mut text = problems.to_string();
    for warning in problems.warnings() {
        let _ = write!(text, "\nwarning: {}: {}", warning.key, warning.text);
    }
    text
}

#[test]
fn all_is_reported_at_once() {
    let text = r#"{
        "max_validty": "2h", "flavour": 1, "max_validity": 7200, "choria_service": "yes", "port": "http", "count": 11,
        "ratio": 1.5, "format": "jsn", "list": "a", "words": [1, "b"], "properties": {"a": 1, "b": "c"}, "users": [{"usernam": "x"}, 7]
    }"#;
    let shown = problems(text, |s| {
        assert_eq!(s.duration("max_validity"), None);
        assert!(!s.boolean("choria_service"));
        assert_eq!(s.port("port"), None);
        assert_eq!(s.integer("count"), None);
        assert_eq!(s.ratio("ratio"), None);
        assert_eq!(s.string("format"), None);
        assert!(s.list("list").is_empty());
        assert_eq!(s.list("words"), ["b"]);
        assert_eq!(s.map("properties"), [("b".to_owned(), "c".to_owned())]);
        assert_eq!(s.sections("users", USER).len(), 1);
    });
    assert_eq!(
        shown,
        r#"signer.json: 13 problems
  basicjwt_signer.max_validty        unknown; did you mean max_validity?
  basicjwt_signer.flavour            unknown
  basicjwt_signer.max_validity       wants a duration such as "1h", "90m", "1h30m" or "300ms"; this is a number
  basicjwt_signer.choria_service     wants true or false; this is a text
  basicjwt_signer.port               http: wants a port, a number from 0 to 65535
  basicjwt_signer.count              11: wants a whole number from 1 to 10
  basicjwt_signer.ratio              1.5: wants a number from 0 to 1
  basicjwt_signer.format             "jsn": wants json or text; did you mean json?
  basicjwt_signer.list               wants a list of texts; this is a text
  basicjwt_signer.words              wants a list of texts, or one text with commas between them; one item is a number
  basicjwt_signer.properties.a       wants a text; this is a number
  basicjwt_signer.users[0].usernam   unknown; did you mean username?
  basicjwt_signer.users[1]           wants an object {…}; this is a number"#
    );
}

#[test]
fn values_read_and_absent_ones_have_their_defaults() {
    let text = r#"{"max_validity": "1h30m", "choria_service": true, "port": "4222", "words": "a, b c", "ratio": 0.5, "list": ["x"],
                   "users": [{"username": "bob", "password": "hash"}], "format": null}"#;
    let shown = problems(text, |s| {
        assert_eq!(s.required_duration("max_validity").unwrap().as_secs(), 5400);
        assert!(s.boolean("choria_service"));
        assert_eq!(s.port("port"), Some(4222));
        assert_eq!(s.integer("count"), Some(3));
        assert_eq!(s.string("format").as_deref(), Some("json"));
        assert_eq!(s.list("words"), ["a", "b", "c"]);
        assert_eq!(s.ratio("ratio"), Some(0.5));
        let users = s.sections("users", USER);
        assert_eq!(users[0].string("username").as_deref(), Some("bob"));
        assert_eq!(users[0].secret("password").unwrap().expose(), "hash");
        assert_eq!(users[0].key("x"), "basicjwt_signer.users[0].x");
        assert!(s.has("port") && !s.has("format"));
    });
    assert_eq!(shown, "signer.json: 0 problems");
}

#[test]
fn what_is_required_says_so_with_an_example() {
    let shown = problems(r#"{"signing_seed": ""}"#, |s| {
        assert_eq!(s.required_duration("max_validity"), None);
        assert_eq!(s.required_string("signing_seed"), None);
        assert_eq!(s.required_string("format").as_deref(), Some("json"));
    });
    assert_eq!(
        shown,
        "signer.json: 2 problems\n  \
         basicjwt_signer.max_validity   required, for example \"2h\"\n  \
         basicjwt_signer.signing_seed   required"
    );
}

#[test]
fn keys_without_meaning_and_keys_in_other_case_are_warned_of() {
    let shown = problems(r#"{"cluster_id": "x", "Max_Validity": "1h"}"#, |s| {
        assert_eq!(s.duration("max_validity").unwrap().as_secs(), 3600);
    });
    assert_eq!(
        shown,
        "signer.json: 0 problems\n\
         warning: basicjwt_signer.cluster_id: ignored: NATS Streaming is gone\n\
         warning: basicjwt_signer.Max_Validity: read as max_validity; write it like that"
    );
    let twice = problems(r#"{"max_validity": "2h", "MAX_VALIDITY": "1h"}"#, |_| ());
    assert_eq!(
        twice,
        "signer.json: 1 problem\n  basicjwt_signer.MAX_VALIDITY   given twice: also as max_validity"
    );
}

#[test]
fn a_section_that_is_none_says_so_and_an_absent_one_is_none() {
    assert_eq!(
        problems("7", |_| ()),
        "signer.json: 1 problem\n  basicjwt_signer   wants an object {…}; this is a number"
    );
    let document = Document::parse("a.json", b"{}").unwrap();
    assert!(document.section("basicjwt_signer", SIGNER).is_none());
    document.finish().unwrap();
}

#[test]
fn files_are_read_or_what_is_wanted_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let seed = dir.path().join("seed");
    std::fs::write(&seed, "ab").unwrap();
    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o644)).unwrap();
    let json = |path: &std::path::Path| format!("{{\"signing_seed\": {path:?}}}");
    let read = |s: &Section<'_>| {
        s.secret_file("signing_seed", "64 hexadecimal characters")
            .is_some()
    };

    let shown = problems(&json(&seed), |s| assert!(read(s)));
    assert_eq!(
        shown,
        format!(
            "signer.json: 0 problems\nwarning: basicjwt_signer.signing_seed: {} can be read by everybody (mode 0644); make it 0600",
            seed.display()
        )
    );

    std::fs::set_permissions(&seed, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        problems(&json(&seed), |s| assert!(read(s))),
        "signer.json: 0 problems"
    );

    let shown = problems(&json(dir.path()), |s| assert!(!read(s)));
    assert!(
        shown.ends_with("is a directory; wants 64 hexadecimal characters"),
        "{shown}"
    );

    let shown = problems(&json(&dir.path().join("none")), |s| assert!(!read(s)));
    assert!(
        shown.ends_with("none: no such file; wants 64 hexadecimal characters"),
        "{shown}"
    );

    std::fs::write(&seed, vec![b'a'; 1024 * 1024 + 1]).unwrap();
    let shown = problems(&json(&seed), |s| assert!(!read(s)));
    assert!(
        shown.ends_with("is larger than 1048576 bytes; wants 64 hexadecimal characters"),
        "{shown}"
    );
}

#[test]
fn secrets_of_the_wrong_kind_are_not_quoted() {
    let shown = problems(r#"{"users": [{"password": 123456}]}"#, |s| {
        assert!(s.sections("users", USER)[0].secret("password").is_none());
    });
    assert_eq!(
        shown,
        "signer.json: 1 problem\n  basicjwt_signer.users[0].password   wants a text in quotes; this is a number"
    );
}
