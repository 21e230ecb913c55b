//! What is on record, as people read it: from files, and from a stream.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use aaa_testing::nats;
use serde_json::{Value, json};

use super::support::{Home, LOGIN, Services};

/// A site with records of the format v2, of a login, of two signatures and of a refusal.
fn site(home: &Home, change: impl FnOnce(&mut Value)) {
    drop(Services::start(home));
    let mut config: Value = serde_json::from_str(&home.read("site/config.json")).unwrap();
    home.write("site/audit.key", &format!("{}\n", "5a".repeat(32)));
    config["logfile_auditor"] = json!({
        "logfile": home.path("site/v2.log"), "format": "v2", "chain_key": home.path("site/audit.key"),
    });
    change(&mut config);
    home.write("site/config.json", &config.to_string());
    let mut services = Services::start(home);
    home.aaa(&LOGIN).ends(0);
    for (action, code) in [("status", 0), ("status", 0), ("disable", 1)] {
        home.sign("site/client.conf", action).ends(code);
    }
    services.stop();
}

fn lines(run: &super::support::Run) -> Vec<Value> {
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn records_are_shown_counted_and_verified() {
    let home = Home::new();
    site(&home, |_| ());
    let shown = home.aaa(&["audit", "tail", "site/v2.log"]).ends(0);
    let decisions: Vec<_> = lines(&shown)
        .iter()
        .map(|record| record["decision"].clone())
        .collect();
    assert_eq!(decisions, ["allow", "allow", "allow", "deny"]);
    let last = home
        .aaa(&[
            "audit",
            "tail",
            "-n",
            "1",
            "--decision",
            "deny",
            "--config",
            "site/config.json",
        ])
        .ends(0);
    assert_eq!(lines(&last)[0]["request"]["action"], "disable");

    let counted = home
        .aaa(&["audit", "query", "--by", "kind,decision", "site/v2.log"])
        .ends(0);
    assert_eq!(
        counted.json(),
        json!([{"kind": "sign", "decision": "allow", "count": 2}, {"kind": "login", "decision": "allow", "count": 1},
               {"kind": "sign", "decision": "deny", "count": 1}])
    );
    let none = home
        .aaa(&["audit", "query", "--caller", "okta=*", "site/v2.log"])
        .ends(0);
    assert_eq!(none.json(), json!([]));

    let verify = ["audit", "verify", "--key", "site/audit.key", "site/v2.log"];
    home.aaa(&verify).ends(0).says("");
    let text = home.read("site/v2.log");
    let kept: Vec<&str> = text.lines().collect();
    home.write(
        "site/v2.log",
        &format!(
            "{}\n{}\n{}\n",
            kept[0],
            kept[2],
            kept[3].replace("disable", "status")
        ),
    );
    let found = home.aaa(&verify).ends(1).stdout;
    for words in [
        "record 2 is missing",
        "record 4 was altered after it was written",
    ] {
        assert!(found.contains(words), "{words} is not in {found}");
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    compressed.write_all(text).unwrap();
    compressed.finish().unwrap()
}

#[test]
fn rotated_files_are_read_in_the_order_of_their_records() {
    let home = Home::new();
    site(&home, |_| ());
    let text = home.read("site/v2.log");
    let kept: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    let write = |name: &str, content: &[u8]| std::fs::write(home.path(name), content).unwrap();
    // As two rotations leave them: the newest has the first name.
    let oldest = [gzip(kept[0].as_bytes()), gzip(kept[1].as_bytes())].concat();
    write("audit.log-20261113.gz", &oldest);
    write("audit.log-20261120", kept[2].as_bytes());
    write("audit.log", kept[3].as_bytes());
    let all = ["audit.log", "audit.log-20261113.gz", "audit.log-20261120"];
    let ask = |command: &[&str]| home.aaa(&[&["audit"], command, &all].concat());
    let ids = |text: &str| -> Vec<Value> {
        let lines = text.lines();
        let read = lines.map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone());
        read.collect()
    };
    assert_eq!(ids(&ask(&["tail"]).ends(0).stdout), ids(&text));
    let counted = ask(&["query", "--by", "kind"]).ends(0).json();
    assert_eq!(
        counted,
        json!([{"kind": "sign", "count": 3}, {"kind": "login", "count": 1}])
    );
    let verify = ["verify", "--key", "site/audit.key"];
    let verified = ask(&verify).ends(0).stdout;
    assert!(
        verified.contains("4 records, 1 to 4") && !verified.contains("later"),
        "{verified}"
    );
    home.aaa(&["audit", "verify", "--key", "site/audit.key", "audit.log"])
        .ends(1);

    // What the disk has lost of a compressed file is no end of the records.
    write("audit.log-20261113.gz", &oldest[..oldest.len() - 9]);
    ask(&verify)
        .ends(1)
        .says("cannot read audit.log-20261113.gz");
    // A line without an end takes no more memory than a record may.
    write("bomb.gz", &gzip(&vec![b'x'; 16 << 20]));
    home.aaa(&["audit", "query", "bomb.gz"])
        .ends(1)
        .says("bomb.gz:1: a line of more than");
}

#[test]
fn a_file_is_followed_through_a_rotation_and_nothing_is_shown_twice() {
    let record = |caller: &str| {
        format!(
            r#"{{"action":"allow","auditor":"logfile","caller":"{caller}","level":"info","msg":"{{}}","site":"home","time":"2026-11-22T11:22:36Z"}}"#
        ) + "\n"
    };
    let home = Home::new();
    home.write("audit.log", &(record("up=one") + &record("up=two")));
    let mut child = home
        .command(&["audit", "tail", "--follow", "-n", "1", "audit.log"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || {
        let line: Value = serde_json::from_str(&shown.next().unwrap().unwrap()).unwrap();
        line["caller"].as_str().unwrap().to_owned()
    };
    assert_eq!(next(), "up=two");
    let append = |text: &str| {
        let file = OpenOptions::new().append(true).open(home.path("audit.log"));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    };
    append(&record("up=three"));
    assert_eq!(next(), "up=three");
    // What is written before the file is moved away is shown, and then the new one from its first line on.
    append(&record("up=four"));
    std::fs::rename(home.path("audit.log"), home.path("audit.log.1")).unwrap();
    home.write("audit.log", &record("up=five"));
    assert_eq!(
        (next(), next()),
        ("up=four".to_owned(), "up=five".to_owned())
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_read_is_told() {
    let home = Home::new();
    home.write("audit.log", "no record\n");
    for command in ["tail", "query"] {
        home.aaa(&["audit", command, "audit.log"])
            .ends(1)
            .says("audit.log:1: is no record");
    }
    home.write("emptied.log", "");
    home.aaa(&["audit", "verify", "emptied.log"])
        .ends(1)
        .says("no record of the format v2");
    home.aaa(&["audit", "verify", "audit.log"]).ends(1);
    home.aaa(&["audit", "tail", "missing.log"])
        .ends(64)
        .says("cannot read missing.log");
    home.aaa(&["audit", "tail"])
        .ends(64)
        .says("where are the records?");
    home.aaa(&["audit", "tail", "--since", "yesterday", "audit.log"])
        .ends(64)
        .says("is no time");
    home.aaa(&["audit", "query", "--by", "color", "audit.log"])
        .ends(64);
    home.write("empty.log", "");
    for (asked, says) in [
        (
            &["query", "--decision", "maybe"][..],
            "there are allow, deny, unknown",
        ),
        (&["query", "--kind", "sign,logins"], "there are login, sign"),
        (&["query", "--stream", "AUDIT"], "cannot be used with"),
        (&["tail", "-n", "3", "--since", "1h"], "cannot be used with"),
        (
            &["tail", "--follow", "audit.log"],
            "--follow is for one file",
        ),
    ] {
        let command = [&["audit"], asked, &["empty.log"]].concat();
        home.aaa(&command).ends(64).without_data().says(says);
    }
    home.aaa(&[
        "audit",
        "query",
        "--decision",
        "a*,deny",
        "--kind",
        "*n",
        "empty.log",
    ])
    .ends(0);
    home.aaa(&["audit", "verify", "--key", "nowhere", "empty.log"])
        .ends(64);
    home.aaa(&[
        "audit",
        "tail",
        "--server",
        "nats://127.0.0.1:1",
        "--stream",
        "AUDIT",
    ])
    .ends(1)
    .says("nats://127.0.0.1:1");
}

#[test]
fn a_stream_is_read_like_a_file() {
    let home = Home::new();
    let Some(server) = nats::jetstream(&home.path("nats"), "").unwrap() else {
        return;
    };
    site(&home, |config| {
        config["auditors"] = json!(["jetstream"]);
        config["jetstream_auditor"] = json!({
            "servers": server.url(), "topic": "audit.home", "stream": {"name": "AUDIT"}, "format": "v2",
            "chain_key": home.path("site/audit.key"), "spool_dir": home.path("site/spool"),
        });
    });
    let (url, key) = (server.url(), "site/audit.key");
    let stream = ["--server", &url, "--stream", "AUDIT"];
    let with = |command: &[&str]| home.aaa(&[command, &stream[..]].concat()).ends(0);
    assert_eq!(lines(&with(&["audit", "tail"])).len(), 4);
    assert_eq!(
        with(&["audit", "query", "--decision", "deny"]).json()[0]["count"],
        1
    );
    with(&["audit", "verify", "--key", key]);
    let lag = with(&["audit", "lag"]).json();
    assert_eq!(lag["sites"][0]["records"], 4);
    assert!(lag["sites"][0]["delay_ms"].is_u64(), "{lag}");
    let configured = home
        .aaa(&["audit", "tail", "--config", "site/config.json"])
        .ends(0);
    assert_eq!(lines(&configured).len(), 4);
}
