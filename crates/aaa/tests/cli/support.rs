//! What the tests share: a home of their own, the program in it, and services that are gone at the end.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

/// The program.
pub(crate) const AAA: &str = env!("CARGO_BIN_EXE_aaa");

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// It has to end like this.
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard error has to hold this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in {self:#?}");
        self
    }

    /// Nothing goes to standard output.
    #[track_caller]
    pub(crate) fn without_data(self) -> Self {
        assert_eq!(self.stdout, "", "{self:#?}");
        self
    }

    /// Standard output is JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The id of the request in a secure request.
#[track_caller]
pub(crate) fn request_id(secure: &serde_json::Value) -> String {
    let request = STANDARD.decode(secure["request"].as_str().unwrap());
    let request: serde_json::Value = serde_json::from_slice(&request.unwrap()).unwrap();
    request["id"].as_str().unwrap().to_owned()
}

/// A home directory, which is the working directory too.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The permissions of a file.
    pub(crate) fn mode(&self, name: &str) -> u32 {
        mode(&self.path(name))
    }

    /// The program, with nothing of the tester's own environment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(AAA);
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_clear()
            .env("HOME", self.0.path())
            .env("USER", "bob")
            .env("TZ", "UTC");
        command
    }

    /// Runs the program with nothing to read.
    pub(crate) fn aaa(&self, arguments: &[&str]) -> Run {
        self.aaa_with(arguments, "")
    }

    /// Asks a signer to sign an action of the agent puppet.
    pub(crate) fn sign(&self, config: &str, action: &str) -> Run {
        self.aaa(&[
            "sign", "--config", config, "--agent", "puppet", "--action", action,
        ])
    }

    /// Runs the program with this on standard input.
    pub(crate) fn aaa_with(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Run {
        run(&mut self.command(arguments), input.as_ref())
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

pub(crate) fn run(command: &mut Command, input: &[u8]) -> Run {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused its arguments and be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().expect("ended by a signal"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `aaa serve --dev`, with its directory in a home, stopped at the end.
pub(crate) struct Services {
    child: Child,
    /// What it printed until it was ready.
    pub said: Vec<String>,
    /// Where it listens.
    pub url: String,
    /// Where it tells of its health.
    pub admin: String,
}

impl Services {
    /// In the directory `site`.
    pub(crate) fn start(home: &Home) -> Self {
        Self::start_in(home, "site")
    }

    pub(crate) fn start_in(home: &Home, dir: &str) -> Self {
        let free = "127.0.0.1:0";
        let log = home.path(&format!("{dir}.log"));
        let mut child = home
            .command(&["serve", "--dev", "--dir", dir])
            .args(["--listen", free, "--admin-listen", free])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(
                output.read_line(&mut line).unwrap(),
                0,
                "not ready: {said:?}"
            );
            said.push(line.trim_end().to_owned());
            if line.starts_with("Rules are in") {
                break;
            }
        }
        let ready = said
            .iter()
            .find(|line| line.contains(" ready on "))
            .unwrap();
        let url = ready.split(" ready on ").nth(1).unwrap();
        let url = url.split(' ').next().unwrap().to_owned();
        let log = fs::read_to_string(log).unwrap();
        let admin = log.lines().find(|line| line.contains("(admin)")).unwrap();
        let admin: serde_json::Value = serde_json::from_str(admin).unwrap();
        let admin = admin["address"].as_str().unwrap().to_owned();
        Self {
            child,
            said,
            url,
            admin,
        }
    }

    /// Tells it to stop: its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The arguments with which alice logs in.
pub(crate) const LOGIN: [&str; 7] = [
    "login",
    "--config",
    "site/client.conf",
    "--username",
    "alice",
    "--password-file",
    "site/alice.password",
];
