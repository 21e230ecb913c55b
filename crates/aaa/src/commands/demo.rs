//! `aaa demo`: the main job from nothing, each step done by the command that is shown.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::failure::{Exit, Failure, reason};
use crate::files;
use crate::screen::{self, Paint, printable};

/// Watch a login, an allowed request, a refused one, and the record of both happen
///
/// Everything is made in a directory and stays there. Each step runs the command that it shows; the services are stopped at the end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where everything is made; a directory of an earlier demo is used again
    #[arg(long, value_name = "DIR", default_value = "demo")]
    dir: PathBuf,
}

/// The nodes of the request that is allowed.
const NODES: [&str; 3] = ["web1.example.net", "web2.example.net", "web3.example.net"];

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let demo = Demo {
        program: std::env::current_exe()
            .map_err(|error| Failure::failed(format!("cannot find myself: {}", reason(&error))))?,
        directory: args.dir.display().to_string(),
        paint: Paint::stdout(),
    };
    let audit = args.dir.join("audit.log");
    let before = fs::metadata(&audit).map_or(0, |metadata| metadata.len());
    let mut services = demo.services()?;
    demo.login()?;
    demo.signed()?;
    demo.refused()?;
    demo.on_record(&audit, before)?;
    services.stop()?;
    screen::data(&format!(
        "Everything above is in {0}. Next: docs/tutorial.md, or point a Choria client at {0}/client.conf.\n",
        demo.directory
    ))?;
    Ok(Exit::Done)
}

struct Demo {
    program: PathBuf,
    directory: String,
    paint: Paint,
}

impl Demo {
    /// Steps 1 and 2: keys, and the services.
    fn services(&self) -> Result<Services, Failure> {
        let arguments = ["serve", "--dev", "--dir", &self.directory];
        let mut services = Services::start(self.command(&arguments))?;
        let keys = services.line()?;
        self.step(1, "keys", &keys)?;
        self.shown(&arguments)?;
        let ready = services.line()?;
        self.step(2, "services", &ready)?;
        Ok(services)
    }

    fn login(&self) -> Result<(), Failure> {
        let (config, password) = (self.path("client.conf"), self.path("alice.password"));
        let arguments = [
            "login",
            "--config",
            &config,
            "--username",
            "alice",
            "--password-file",
            &password,
        ];
        self.succeed(&arguments, None)?;
        let who = self.succeed(&["whoami", "--config", &config, "--json"], None)?;
        let who: Value = serde_json::from_slice(&who)
            .map_err(|error| unexpected("whoami", &error.to_string()))?;
        let text = |key: &str| who.get(key).and_then(Value::as_str).unwrap_or_default();
        let left = who.get("expires_in_seconds").and_then(Value::as_i64);
        let (caller, key) = (text("caller"), Path::new(text("seed_file")));
        if caller != "up=alice" || !key.exists() {
            return Err(unexpected("login", caller));
        }
        self.step(
            3,
            "login",
            &format!(
                "{caller}, valid {}, bound to {}",
                crate::describe::roughly(left.unwrap_or_default().saturating_add(59)),
                self.path("alice.key")
            ),
        )?;
        self.shown(&arguments)
    }

    fn signed(&self) -> Result<(), Failure> {
        let config = self.path("client.conf");
        let mut sign = vec![
            "sign", "--config", &config, "--agent", "puppet", "--action", "status",
        ];
        for node in NODES {
            sign.extend(["-I", node]);
        }
        let verify = ["verify", "--config", &config];
        let secure = self.succeed(&sign, None)?;
        let verdict = self.succeed(&verify, Some(&secure))?;
        let verdict = String::from_utf8_lossy(&verdict);
        let verdict = verdict.trim();
        if !verdict.starts_with("chain ok · delegator ok · caller up=alice · ") {
            return Err(unexpected("verify", verdict));
        }
        self.step(
            4,
            "signed",
            &format!("puppet.status on {} nodes", NODES.len()),
        )?;
        more(&format!("as a node would: {verdict}"))?;
        self.shown_piped(&[&sign, &verify])
    }

    fn refused(&self) -> Result<(), Failure> {
        let config = self.path("client.conf");
        let sign = [
            "sign", "--config", &config, "--agent", "puppet", "--action", "disable",
        ];
        let output = self.output(&sign, None)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let said = printable(said.trim().trim_start_matches("aaa: "));
        let as_hoped = said.contains("up=alice may not puppet.disable");
        if output.status.code() != Some(1) || !output.stdout.is_empty() || !as_hoped {
            return Err(unexpected("sign", &said));
        }
        self.step(5, "refused", &said)?;
        self.shown(&sign)
    }

    fn on_record(&self, audit: &Path, before: u64) -> Result<(), Failure> {
        let text = files::read_text(audit)?;
        let new = usize::try_from(before)
            .ok()
            .and_then(|from| text.get(from..));
        let records: Vec<String> = new.unwrap_or_default().lines().filter_map(record).collect();
        let hoped = [
            "allow up=alice login",
            "allow up=alice puppet.status",
            "deny up=alice puppet.disable",
        ];
        if records != hoped {
            return Err(unexpected("the record", &records.join(" · ")));
        }
        self.step(6, "on record", &records.join(" · "))?;
        more(
            &self
                .paint
                .faint(&format!("$ tail -n 3 {}", self.path("audit.log"))),
        )
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // What is read here has no colours.
        command
            .args(arguments)
            .stdin(Stdio::null())
            .env("NO_COLOR", "1");
        command
    }

    fn output(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Output, Failure> {
        let failed = |error| Failure::failed(format!("cannot run aaa: {}", reason(&error)));
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(failed)?;
        if let (Some(bytes), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(bytes).map_err(failed)?;
        }
        child.wait_with_output().map_err(failed)
    }

    /// What the command printed; it has to end well.
    fn succeed(&self, arguments: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>, Failure> {
        let output = self.output(arguments, input)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(unexpected(
            &format!("aaa {}", arguments.join(" ")),
            said.trim(),
        ))
    }

    fn step(&self, number: u8, name: &str, text: &str) -> Result<(), Failure> {
        let name = format!("{name:<12}");
        screen::data(&format!(" {number} {}{text}\n", self.paint.strong(&name)))
    }

    fn shown(&self, arguments: &[&str]) -> Result<(), Failure> {
        self.shown_piped(&[arguments])
    }

    fn shown_piped(&self, commands: &[&[&str]]) -> Result<(), Failure> {
        let line = |arguments: &&[&str]| format!("aaa {}", arguments.join(" "));
        let lines: Vec<_> = commands.iter().map(line).collect();
        more(&self.paint.faint(&format!("$ {}", lines.join(" | "))))
    }
}

/// More of a step, on a line of its own.
fn more(text: &str) -> Result<(), Failure> {
    screen::data(&format!("               {text}\n"))
}

/// One line of the audit log in a few words.
fn record(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let what = match (text("kind"), text("agent"), text("action")) {
        ("login", ..) => "login".to_owned(),
        (_, agent, action) => format!("{agent}.{action}"),
    };
    Some(printable(&format!(
        "{} {} {what}",
        text("decision"),
        text("caller")
    )))
}

fn unexpected(what: &str, found: &str) -> Failure {
    Failure::failed(format!(
        "the demo did not go as expected: {what}: {}",
        printable(found)
    ))
}

/// The services, stopped when this goes.
struct Services {
    child: Child,
    output: BufReader<ChildStdout>,
    log: fs::File,
}

impl Services {
    fn start(mut command: Command) -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("cannot start aaa: {}", reason(&error)));
        let log = tempfile::tempfile().map_err(failed)?;
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log.try_clone().map_err(failed)?)
            .spawn()
            .map_err(failed)?;
        match child.stdout.take().map(BufReader::new) {
            Some(output) => Ok(Self { child, output, log }),
            None => Err(Failure::failed("cannot hear the services")),
        }
    }

    /// The next line that they print.
    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(1..) => Ok(printable(line.trim_end())),
            _ => Err(Failure::failed(format!(
                "the services did not start:\n{}",
                self.last_words()
            ))),
        }
    }

    /// What they said last.
    fn last_words(&mut self) -> String {
        let _ = self.child.wait();
        let mut text = String::new();
        let read = self.log.rewind().and_then(|()| {
            let log = (&mut self.log).take(files::MAX_FILE);
            BufReader::new(log).read_to_string(&mut text)
        });
        match read {
            Ok(_) => text.trim_end().to_owned(),
            Err(error) => reason(&error),
        }
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            Failure::failed(format!("the services do not stop: {}", reason(&error)))
        };
        let id = i32::try_from(self.child.id()).ok();
        if let Some(pid) = id.and_then(rustix::process::Pid::from_raw) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|error| failed(error.into()))?;
        }
        let status = self.child.wait().map_err(failed)?;
        if status.success() {
            Ok(())
        } else {
            Err(Failure::failed(format!("the services ended with {status}")))
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // After an orderly stop there is nothing left to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
