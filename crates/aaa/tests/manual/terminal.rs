//! A terminal in an empty home, with the program on its path.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Lines};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use regex::Regex;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tempfile::TempDir;

use crate::likeness::Likeness;
use crate::page::Step;

const AAA: &str = env!("CARGO_BIN_EXE_aaa");
/// The home of the reader in the manual.
const HOME: &str = "/home/bob";
/// How long a service may take until it says what it is to say.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Terminal {
    home: TempDir,
    /// The program, by all its names.
    programs: TempDir,
    likeness: Likeness,
    /// Ports of the manual, and the free ones that stand for them.
    ports: BTreeMap<String, String>,
    services: Vec<Service>,
    /// How the last command ended.
    code: i32,
    /// The last command, if it failed and nobody has asked yet.
    failed: Option<String>,
}

/// A service that runs in another terminal, and ends with this one.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        for name in ["aaa", "aaa-login", "aaa-signer"] {
            symlink(AAA, programs.path().join(name)).unwrap();
        }
        Self {
            home: tempfile::tempdir().unwrap(),
            programs,
            likeness: Likeness::new(),
            ports: BTreeMap::new(),
            services: Vec::new(),
            code: 0,
            failed: None,
        }
    }

    /// Writes a file.
    pub(crate) fn write(&mut self, name: &str, text: &str) {
        let path = self.home.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = self.typed(text);
        fs::write(path, text).unwrap();
    }

    /// Types a command, and compares what it says.
    pub(crate) fn run(&mut self, step: &Step) -> Result<(), String> {
        if step.command != "echo $?" {
            self.unasked()?;
        }
        let mut command = self.typed(&step.command);
        if is_service(&command) {
            if command.contains("--dev") {
                let port = self.port("8443");
                command = format!("{command} --listen 127.0.0.1:{port}");
            }
            return self.serve(step, &command);
        }
        let (mut child, screen) = self.start(&format!("(exit {})\n{command}", self.code));
        let lines: Vec<String> = screen
            .map_while(Result::ok)
            .map(|line| self.as_written(&line))
            .collect();
        self.code = child.wait().unwrap().code().unwrap_or(-1);
        if self.code != 0 {
            self.failed = Some(step.command.clone());
        }
        if step.command == "echo $?" {
            self.failed = None;
        }
        if self.likeness.holds(&step.output, &lines, true) {
            Ok(())
        } else {
            Err(different(step, &lines))
        }
    }

    /// Ends what runs. A command that failed, and the page does not say so, is an error.
    pub(crate) fn close(mut self) -> Result<(), String> {
        self.unasked()
    }

    fn unasked(&mut self) -> Result<(), String> {
        match self.failed.take() {
            None => Ok(()),
            Some(command) => Err(format!(
                "$ {command}\nfailed, and the page does not say so (echo $?)"
            )),
        }
    }

    /// Starts a service, and waits until it has said what it is to say.
    fn serve(&mut self, step: &Step, command: &str) -> Result<(), String> {
        let (child, screen) = self.start(&format!("exec {command}"));
        self.services.push(Service(child));
        let (send, receive) = mpsc::channel();
        // Ends with the service.
        std::thread::spawn(move || {
            for line in screen.map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let (mut lines, begun) = (Vec::new(), Instant::now());
        while !self.likeness.holds(&step.output, &lines, false) {
            match receive.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(line) => lines.push(self.as_written(&line)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return Err(different(step, &lines));
                }
            }
        }
        Ok(())
    }

    /// Starts a shell on a screen, and gives the lines that it shows.
    fn start(&self, script: &str) -> (Child, Lines<BufReader<File>>) {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let shown = OpenOptions::new()
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let child = self
            .shell(script)
            .stdout(shown.try_clone().unwrap())
            .stderr(shown)
            .process_group(0)
            .spawn()
            .unwrap();
        // Once nobody shows anything any more, reading ends with an error.
        (child, BufReader::new(File::from(screen)).lines())
    }

    fn shell(&self, script: &str) -> Command {
        let programs = self.programs.path().display();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command
            .args(["-o", "pipefail", "-c", script])
            .current_dir(self.home.path())
            .env_clear()
            .env("PATH", format!("{programs}:{path}"))
            .env("HOME", self.home.path())
            .env("USER", "bob")
            .env("TZ", "UTC")
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// What the manual says to type, with ports that are free and the home that there is.
    fn typed(&mut self, text: &str) -> String {
        let port = Regex::new(r"\b(127\.0\.0\.1|localhost):(\d{4})\b").unwrap();
        let text = port.replace_all(text, |found: &regex::Captures<'_>| {
            format!("{}:{}", &found[1], self.port(&found[2]))
        });
        text.replace(HOME, &self.home.path().display().to_string())
    }

    fn port(&mut self, written: &str) -> String {
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port().to_string()
        };
        self.ports
            .entry(written.to_owned())
            .or_insert_with(free)
            .clone()
    }

    /// A line that was said, as the manual would write it.
    fn as_written(&self, line: &str) -> String {
        let line = line.replace(&self.home.path().display().to_string(), HOME);
        self.ports.iter().fold(line, |line, (written, used)| {
            line.replace(&format!(":{used}"), &format!(":{written}"))
        })
    }
}

/// Whether a command runs until it is stopped.
fn is_service(command: &str) -> bool {
    ["aaa serve ", "aaa-login ", "aaa-signer "]
        .iter()
        .any(|service| command.starts_with(service))
        && !command.contains("--check-config")
}

fn different(step: &Step, lines: &[String]) -> String {
    format!(
        "$ {}\nshould say\n{}\nand says\n{}",
        step.command,
        step.output.join("\n"),
        lines.join("\n")
    )
}
