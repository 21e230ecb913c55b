//! The example service as a program: what it prints, how it ends.
//!
//! The test starts itself: with [`PROGRAM`] set it is the program, otherwise the tests of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails should say where"
)]

#[path = "../examples/aaa_echo.rs"]
mod aaa_echo;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

/// Makes this the program instead of its tests.
const PROGRAM: &str = "AAA_TEST_PROGRAM";

const TESTS: &[(&str, fn())] = &[
    ("a_good_configuration_is_ok", a_good_configuration_is_ok),
    (
        "a_wrong_one_tells_all_and_starts_nothing",
        a_wrong_one_tells_all_and_starts_nothing,
    ),
    (
        "bad_usage_is_64_and_a_missing_file_says_so",
        bad_usage_is_64_and_a_missing_file_says_so,
    ),
    (
        "an_address_that_is_taken_is_a_failure_while_running",
        an_address_that_is_taken_is_a_failure_while_running,
    ),
    (
        "a_service_reloads_on_hangup_and_ends_well_on_terminate",
        a_service_reloads_on_hangup_and_ends_well_on_terminate,
    ),
];

fn main() -> ExitCode {
    if std::env::var_os(PROGRAM).is_some() {
        return aaa_echo::main();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in TESTS {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS {
        if wanted.is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let result = std::panic::catch_unwind(test);
        let (counter, word) = if result.is_ok() {
            (&mut passed, "ok")
        } else {
            (&mut failed, "FAILED")
        };
        *counter += 1;
        println!("test {name} ... {word}");
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let filtered = TESTS.len() - passed - failed;
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; {filtered} filtered out"
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The example, as a program with nothing in its environment.
fn example() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_clear().env(PROGRAM, "1");
    command
}

struct Config {
    dir: TempDir,
}

impl Config {
    fn new(text: &str) -> Self {
        let config = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        config.write(text);
        config
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).unwrap();
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("service.json")
    }

    /// Runs to the end in the directory of the file.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = example();
        command.current_dir(self.dir.path()).args(arguments);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

fn shown(output: &Output) -> (String, String, i32) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap(),
    )
}

fn a_good_configuration_is_ok() {
    let config =
        Config::new("{\"port\": \"8443\", \"basicjwt_signer\": {\"max_validity\": \"2h\"}}");
    let output = config.run(&[
        "--config",
        "service.json",
        "--check-config",
        "--disable-tls",
    ]);
    assert_eq!(
        shown(&output),
        ("service.json: ok\n".to_owned(), String::new(), 0)
    );

    config.write("{\"Port\": 8443}");
    let output = config.run(&[
        "run",
        "--config",
        "service.json",
        "--check-config",
        "--disable-tls",
    ]);
    assert_eq!(
        shown(&output),
        (
            "service.json: ok\n".to_owned(),
            "service.json: 1 warning\n  Port   read as port; write it like that\n".to_owned(),
            0
        )
    );
}

fn a_wrong_one_tells_all_and_starts_nothing() {
    let config = Config::new("{\"prot\": 1, \"basicjwt_signer\": {\"max_validty\": \"2h\"}}");
    let problems = "service.json: 2 problems\n  \
        prot                          unknown; did you mean port?\n  \
        basicjwt_signer.max_validty   unknown; did you mean max_validity?\n";
    let output = config.run(&["--config", "service.json"]);
    assert_eq!(
        shown(&output),
        (
            String::new(),
            format!("{problems}nothing was started\n"),
            64
        )
    );
    let output = config.run(&["--config", "service.json", "--check-config"]);
    assert_eq!(shown(&output), (String::new(), problems.to_owned(), 64));
}

fn bad_usage_is_64_and_a_missing_file_says_so() {
    let config = Config::new("{");
    assert_eq!(shown(&config.run(&[])).2, 64);
    assert_eq!(shown(&config.run(&["--flavour"])).2, 64);
    let (_, problem, code) = shown(&config.run(&["--config", "none.json"]));
    assert_eq!(code, 64);
    assert_eq!(
        problem,
        "none.json: 1 problem\n  file   no such file\nnothing was started\n"
    );
    let (_, problem, _) = shown(&config.run(&["--config", "service.json"]));
    assert_eq!(
        problem,
        "service.json: 1 problem\n  line 1, column 1   EOF while parsing an object\nnothing was started\n"
    );
    let (version, _, code) = shown(&config.run(&["-V"]));
    assert!(
        version.starts_with("aaa-echo 0.1.0 (") && code == 0,
        "{version}"
    );
}

fn an_address_that_is_taken_is_a_failure_while_running() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Config::new("{}");
    let output = config.run(&[
        "--config",
        "service.json",
        "--disable-tls",
        "--listen",
        &address,
    ]);
    let (_, problem, code) = shown(&output);
    assert_eq!(code, 1);
    let wanted = format!("aaa-echo: cannot listen on {address}: another program listens there\n");
    assert_eq!(problem, wanted);
}

struct Started {
    child: Child,
    log: Receiver<String>,
}

impl Started {
    fn new(config: &Path, pid: &Path) -> Self {
        let mut child = example()
            .args(["--listen", "127.0.0.1:0", "--disable-tls", "--config"])
            .arg(config)
            .arg("--pid")
            .arg(pid)
            .env("NOTIFY_SOCKET", pid.with_extension("notify"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (tell, log) = channel();
        std::thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .try_for_each(|line| tell.send(line))
        });
        Self { child, log }
    }

    /// Reads the log up to the line with this message.
    fn line(&mut self, message: &str) -> serde_json::Value {
        let mut all = Vec::new();
        loop {
            // Long enough for any machine; nothing waits for it to pass.
            let Ok(line) = self.log.recv_timeout(Duration::from_secs(30)) else {
                panic!("no {message:?} in {all:?}");
            };
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            if parsed["message"] == message {
                return parsed;
            }
            all.push(line);
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill")
            .arg(name)
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn a_service_reloads_on_hangup_and_ends_well_on_terminate() {
    let config = Config::new("{\"loglevel\": \"info\"}");
    let pid = config.dir.path().join("pid");
    let manager = UnixDatagram::bind(pid.with_extension("notify")).unwrap();
    let limit = Some(Duration::from_secs(30));
    manager.set_read_timeout(limit).unwrap();
    let told = || {
        let mut text = [0; 32];
        let length = manager.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };
    let mut service = Started::new(&config.path(), &pid);
    let address = service.line("listening")["address"]
        .as_str()
        .unwrap()
        .to_owned();
    service.line("started");
    assert_eq!(told(), "READY=1");

    let mut client = TcpStream::connect(address).unwrap();
    let body = "{\"token\":\"t\",\"request\":\"e30=\"}";
    write!(
        client,
        "POST /choria/v1/sign HTTP/1.1\r\nHost: a\r\nx-request-id: it\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(service.line("signed")["request_id"], "it");
    let written = std::fs::read_to_string(&pid).unwrap();
    assert_eq!(written, format!("{}\n", service.child.id()));

    service.signal("-HUP");
    service.line("reloaded");
    config.write("{\"loglevel\": 1}");
    service.signal("-HUP");
    let problem = service.line("cannot be reloaded; the old one goes on");
    assert_eq!(
        problem["problem"],
        "loglevel: wants debug, info, warn, error or fatal; this is a number"
    );

    service.signal("-TERM");
    service.line("stopping");
    assert_eq!(told(), "STOPPING=1");
    service.line("drained");
    service.line("stopped");
    assert!(service.child.wait().unwrap().success());
    assert!(!pid.exists());
}
