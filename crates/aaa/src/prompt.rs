//! Questions to the person at the terminal.
//!
//! A prompt is only for a person: when standard input is no terminal there is nobody to ask. While it waits, the terminal
//! hands over every key, so that Ctrl-C is an answer (`cancelled`) and the terminal is always put back as it was.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd as _;

use aaa_core::secret::Secret;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};

use crate::failure::Failure;

/// The longest answer, in bytes: no name and no password that a service takes is longer.
const LONGEST: usize = 1024;

/// A person at a terminal.
pub(crate) struct Terminal {
    input: io::Stdin,
    output: Box<dyn Write>,
}

impl Terminal {
    /// The terminal, if somebody sits at one.
    pub(crate) fn open() -> Option<Self> {
        let input = io::stdin();
        if !input.is_terminal() {
            return None;
        }
        let output: Box<dyn Write> = if io::stderr().is_terminal() {
            Box::new(io::stderr())
        } else {
            Box::new(OpenOptions::new().write(true).open("/dev/tty").ok()?)
        };
        Some(Self { input, output })
    }

    /// Asks for a line that others may see; the default is taken for an empty answer.
    pub(crate) fn ask(&mut self, question: &str, default: Option<&str>) -> Result<String, Failure> {
        let question = match default {
            Some(default) => format!("{question} ({default}): "),
            None => format!("{question}: "),
        };
        loop {
            let answer = self.answer(&question, Echo::On)?;
            match (answer.expose().trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// Asks for something that nobody may see. An empty answer is asked again.
    pub(crate) fn ask_secret(&mut self, question: &str) -> Result<Secret<String>, Failure> {
        loop {
            let answer = self.answer(&format!("{question}: "), Echo::Off)?;
            if !answer.expose().is_empty() {
                return Ok(answer);
            }
        }
    }

    fn answer(&mut self, question: &str, echo: Echo) -> Result<Secret<String>, Failure> {
        let broken = |error: io::Error| Failure::failed(format!("the terminal is gone: {error}"));
        let quiet = Quiet::begin(&self.input).map_err(broken)?;
        self.output
            .write_all(question.as_bytes())
            .and_then(|()| self.output.flush())
            .map_err(broken)?;
        let answer = edit(&mut &self.input, &mut *self.output, echo);
        drop(quiet);
        // The line break that ended the answer was not shown.
        let _ = self.output.write_all(b"\n");
        match answer.map_err(broken)? {
            Some(answer) => Ok(answer),
            None => Err(Failure::cancelled()),
        }
    }
}

/// Whether what is typed shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

/// A terminal that hands over every key and shows none, until this is dropped.
struct Quiet<'a> {
    input: &'a io::Stdin,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn begin(input: &'a io::Stdin) -> io::Result<Self> {
        let before = tcgetattr(input.as_fd())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO
            | LocalModes::ECHONL
            | LocalModes::ICANON
            | LocalModes::ISIG
            | LocalModes::IEXTEN;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(input.as_fd(), OptionalActions::Drain, &quiet)?;
        Ok(Self { input, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.input.as_fd(), OptionalActions::Drain, &self.before);
    }
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;
/// Back, over, and back again.
const RUB_OUT: &[u8] = b"\x08 \x08";

/// Reads a line, key by key; `None` when the person cancels.
fn edit(
    keys: &mut dyn Read,
    screen: &mut dyn Write,
    echo: Echo,
) -> io::Result<Option<Secret<String>>> {
    // Never grows, so that no copy of a secret is left behind.
    let mut line = Line(zeroize::Zeroizing::new(Vec::with_capacity(LONGEST + 4)));
    let mut key = [0_u8];
    let mut shown = |bytes: &[u8]| match echo {
        Echo::On => screen.write_all(bytes).and_then(|()| screen.flush()),
        Echo::Off => Ok(()),
    };
    loop {
        match keys.read(&mut key) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let [byte] = key;
        match byte {
            b'\r' | b'\n' => return line.take().map(Some),
            CTRL_C => return Ok(None),
            CTRL_D if line.0.is_empty() => return Ok(None),
            BACKSPACE | DELETE => {
                if line.pop() {
                    shown(RUB_OUT)?;
                }
            }
            CTRL_U => {
                while line.pop() {
                    shown(RUB_OUT)?;
                }
            }
            0..0x20 => {}
            _ if line.0.len() >= LONGEST => {}
            _ => {
                line.0.push(byte);
                shown(&key)?;
            }
        }
    }
}

/// What is typed so far, in UTF-8 as the terminal sends it.
struct Line(zeroize::Zeroizing<Vec<u8>>);

impl Line {
    /// Takes the last character back; false when there is none.
    fn pop(&mut self) -> bool {
        let continues = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
        while let Some(byte) = self.0.pop() {
            if !continues(byte) {
                return true;
            }
        }
        false
    }

    fn take(&self) -> io::Result<Secret<String>> {
        std::str::from_utf8(&self.0)
            .map(|text| Secret::new(text.to_owned()))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what was typed is not UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8], echo: Echo) -> (Option<String>, String) {
        let mut screen = Vec::new();
        let answer = edit(&mut &*keys, &mut screen, echo).unwrap();
        (
            answer.map(|answer| answer.expose().clone()),
            String::from_utf8(screen).unwrap(),
        )
    }

    #[test]
    fn a_password_does_not_show() {
        assert_eq!(
            typed(b"s3cret\r", Echo::Off),
            (Some("s3cret".into()), String::new())
        );
    }

    #[test]
    fn keys_do_what_they_do_elsewhere() {
        let line = |keys: &[u8]| typed(keys, Echo::Off).0;
        assert_eq!(line(b"abx\x7f\x08c\n"), Some("ac".into()));
        assert_eq!(line("aü\x7fb\n".as_bytes()), Some("ab".into()));
        assert_eq!(line(b"wrong\x15right\n"), Some("right".into()));
        assert_eq!(line(b"a\x1b\x01b\n"), Some("ab".into()));
        assert_eq!(line(b"abc\x03"), None);
        assert_eq!(line(b"\x04"), None);
        assert_eq!(line(b"a\x04b\n"), Some("ab".into()));
        assert_eq!(line(b"gone"), None);
    }

    #[test]
    fn a_name_shows_as_it_is_typed() {
        let (answer, screen) = typed(b"bobb\x7f\n", Echo::On);
        assert_eq!(answer.as_deref(), Some("bob"));
        assert_eq!(screen, "bobb\x08 \x08");
    }

    #[test]
    fn an_endless_answer_is_cut() {
        let mut keys = vec![b'x'; 5000];
        keys.push(b'\n');
        assert_eq!(typed(&keys, Echo::Off).0.map(|a| a.len()), Some(LONGEST));
    }
}
