//! `io.choria.aaa.v2.audit`: golden lines, the published schema, and what stands in no record.

use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};

use aaa_audit::Scribe;
use aaa_audit::chain::ChainKey;
use aaa_audit::formats::{Format, Formatter, Redaction};
use aaa_core::audit::{Effect, Record, Subject};
use aaa_core::decision::Reason;
use aaa_core::request::Request;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::fixtures::{self, allowed, install, record, refused};

const SCHEMA: &str = include_str!("../../../../docs/audit-records.schema.json");

static VALIDATOR: LazyLock<Validator> =
    LazyLock::new(|| jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap());

/// Fails when a record is not as the schema has it.
pub(crate) fn check(record: &Value) {
    let problems: Vec<String> = VALIDATOR
        .iter_errors(record)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:?} in {record:#}");
}

fn key() -> ChainKey {
    ChainKey::parse(&"5a".repeat(32)).unwrap()
}

fn scribe(rules: &[(&str, &str)]) -> Scribe {
    let formatter = Formatter {
        format: Format::V2,
        instance: "signer-1".into(),
        redaction: Arc::new(Redaction::parse(rules.iter().copied(), Some(&key())).unwrap()),
        ..Formatter::default()
    };
    Scribe::new(formatter, Some(key()))
}

fn value(scribe: &Scribe, record: &Record) -> Value {
    let value = serde_json::from_slice(&scribe.line(record).unwrap()).unwrap();
    check(&value);
    value
}

fn filtered() -> Record {
    let message = json!({"agent": "bolt_tasks", "action": "run_no_wait", "data": {"task": "puppet_conf", "Password": "hunter2"}});
    let request = json!({"protocol": "choria:request:1", "message": message.to_string(), "envelope": {
        "requestid": "06f6e517b5f340fa99e03fdba053bc00", "senderid": "dev1.example.net", "callerid": fixtures::CLAIMED,
        "collective": "mcollective", "agent": "bolt_tasks", "ttl": 60, "time": 1_795_346_555,
        "filter": {"fact": [{"fact": "country", "operator": "==", "value": "mt"}], "cf_class": ["apache"], "agent": ["bolt_tasks"],
                   "identity": ["/web/"], "compound": [[{"expr": "a and b"}]]}}});
    let request = Arc::new(Request::parse(request.to_string().as_bytes()).unwrap());
    let mut record = record(Subject::Sign(request), Some("up=bob"), allowed());
    record.action = Some("puppet_conf".to_owned());
    Arc::make_mut(&mut record.exchange).trace = Some("0af7651916cd43dd8448eb211c80319c".to_owned());
    record
}

#[test]
fn lines() {
    let rules = [("*.*.password", "drop"), ("package.install.n", "hmac")];
    let scribe = scribe(&rules);
    let mut gallery = String::new();
    let task = ("task", filtered());
    let mut failed = record(Subject::Sign(install()), Some("up=alice"), allowed());
    failed.effect = Effect::Failed;
    for (name, record) in fixtures::all()
        .into_iter()
        .chain([task, ("failed", failed)])
    {
        let mut value = value(&scribe, &record);
        // These are new in every run, and tests of their own look at them.
        value["chain"]["run"] = json!("<run>");
        for code in ["previous", "code"] {
            value["chain"][code] = json!("<code>");
        }
        writeln!(gallery, "{name}\n{value}").unwrap();
    }
    insta::assert_snapshot!(gallery);
}

#[test]
fn what_is_redacted_is_nowhere_in_the_line() {
    let scribe = scribe(&[("*.*.password", "drop")]);
    let line = String::from_utf8(scribe.line(&filtered()).unwrap()).unwrap();
    assert!(!line.contains("hunter2"), "{line}");
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["request"]["redacted"], json!({"Password": "dropped"}));
    assert_eq!(value["request"]["inputs"], json!({"task": "puppet_conf"}));
}

#[test]
fn claims_are_apart_from_what_is_verified() {
    let refused = record(
        Subject::Sign(install()),
        None,
        refused(Reason::InvalidToken),
    );
    let value = value(&scribe(&[]), &refused);
    assert_eq!(value["caller"], Value::Null);
    assert_eq!(value["claimed"], fixtures::CLAIMED);
    assert_eq!(
        (&value["decision"], &value["outcome"]),
        (&json!("deny"), &json!("refused"))
    );
}
