//! Prompts, on a terminal of the tests' own.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::support::{Home, Services};

/// A program at a terminal.
struct Session {
    child: Child,
    terminal: File,
    seen: String,
}

impl Session {
    fn start(command: &mut Command) -> Self {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let other_end = OpenOptions::new()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let child = command
            .stdin(other_end.try_clone().unwrap())
            .stderr(other_end)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            child,
            terminal: File::from(terminal),
            seen: String::new(),
        }
    }

    /// Reads until this shows.
    fn until(&mut self, text: &str) {
        let mut buffer = [0; 1024];
        while !self.seen.contains(text) {
            let read = self.terminal.read(&mut buffer).unwrap_or(0);
            assert_ne!(read, 0, "{text:?} never showed: {:?}", self.seen);
            self.seen
                .push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    fn types(&mut self, keys: &str) {
        self.terminal.write_all(keys.as_bytes()).unwrap();
    }

    /// The exit code, all that showed, and standard output.
    fn end(mut self) -> (Option<i32>, String, String) {
        let mut buffer = [0; 1024];
        // A terminal whose other end is closed answers with an error.
        while let Ok(read @ 1..) = self.terminal.read(&mut buffer) {
            self.seen
                .push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let output = self.child.wait_with_output().unwrap();
        (
            output.status.code(),
            self.seen,
            String::from_utf8(output.stdout).unwrap(),
        )
    }
}

#[test]
fn a_login_at_a_terminal() {
    let home = Home::new();
    let _services = Services::start(&home);
    let password = home.read("site/alice.password");
    let mut session = Session::start(
        home.command(&["login", "--config", "site/client.conf"])
            .env("NO_COLOR", "1"),
    );
    session.until("Username (bob): ");
    session.types("alic\u{7f}ce\r");
    session.until("Password: ");
    session.types(&format!("{password}\r"));
    session.until("Token in ");
    let (code, seen, stdout) = session.end();
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{seen}");
    assert!(seen.contains("✔ Logged in as up=alice"), "{seen}");
    assert!(
        !seen.contains(&password) && !seen.contains('\x1b'),
        "{seen}"
    );
}

#[test]
fn colour_on_a_terminal() {
    let home = Home::new();
    let _services = Services::start(&home);
    let password = home.read("site/alice.password");
    let mut session = Session::start(&mut home.command(&[
        "login",
        "--config",
        "site/client.conf",
        "--username",
        "alice",
    ]));
    session.until("Password: ");
    session.types(&format!("{password}\r"));
    let (code, seen, _) = session.end();
    assert_eq!(code, Some(0), "{seen}");
    assert!(seen.contains("\x1b[32m✔\x1b[0m Logged in"), "{seen}");
}

#[test]
fn the_default_name_and_a_wrong_password() {
    let home = Home::new();
    let _services = Services::start(&home);
    let mut session = Session::start(&mut home.command(&["login", "--config", "site/client.conf"]));
    session.until("Username (bob): ");
    session.types("\r");
    session.until("Password: ");
    session.types("wrong\r");
    let (code, seen, _) = session.end();
    assert_eq!(code, Some(1), "{seen}");
    assert!(seen.contains("aaa: Login failed"), "{seen}");
}

#[test]
fn a_person_may_change_their_mind() {
    let home = Home::new();
    home.write(
        ".choriarc",
        "plugin.login.aaasvc.login.url = https://127.0.0.1:1/choria/v1/login\n",
    );
    for (first, second) in [("\u{3}", ""), ("\u{4}", ""), ("eve\r", "s3c\u{3}")] {
        let mut session = Session::start(&mut home.command(&["login"]));
        session.until("Username (bob): ");
        session.types(first);
        if !second.is_empty() {
            session.until("Password: ");
            session.types(second);
        }
        let (code, seen, _) = session.end();
        assert_eq!(code, Some(2), "{seen}");
        assert!(
            seen.contains("aaa: cancelled; nothing was changed"),
            "{seen}"
        );
        assert!(!seen.contains("s3c"), "{seen}");
    }
}

#[test]
fn a_password_for_a_hash_is_typed_twice() {
    let home = Home::new();
    for (second, code) in [("s3cret", 0), ("s3cert", 1)] {
        let mut session = Session::start(&mut home.command(&["crypt", "--argon2id"]));
        session.until("Password: ");
        session.types("s3cret\r");
        session.until("Again: ");
        session.types(&format!("{second}\r"));
        let (ended, seen, stdout) = session.end();
        assert_eq!(ended, Some(code), "{seen}");
        if code == 0 {
            let hash = aaa_login::hash::PasswordHash::parse(stdout.trim()).unwrap();
            assert!(hash.verify(b"s3cret").unwrap());
        } else {
            assert!(
                seen.contains("the two passwords differ") && stdout.is_empty(),
                "{seen}"
            );
        }
        assert!(!seen.contains("s3c"), "{seen}");
    }
}
