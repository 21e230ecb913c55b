//! What people and programs see: data on standard output, everything else on standard error, colour only where somebody looks.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Prints data: text that ends with a line break.
///
/// # Errors
/// When nobody reads it any more, or the disk is full.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::unheard(),
            _ => Failure::failed(format!("cannot write the output: {error}")),
        })
}

/// Prints data as a JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot write the output: {error}")))?;
    data(&format!("{text}\n"))
}

/// Says something beside the data. That nobody may hear it is no reason to stop.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Says that something is not as it should be, and goes on.
pub(crate) fn warn(text: &str) {
    say(&format!("aaa: {text}"));
}

/// Colours for one of the two streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For what goes to standard output.
    pub(crate) fn stdout() -> Self {
        Self(wanted(io::stdout().is_terminal()))
    }

    /// For what goes to standard error.
    pub(crate) fn stderr() -> Self {
        Self(wanted(io::stderr().is_terminal()))
    }

    /// No colours.
    pub(crate) fn none() -> Self {
        Self(false)
    }

    /// Whether there is colour at all.
    pub(crate) fn is_on(self) -> bool {
        self.0
    }

    /// What is good.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What is bad.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What matters less.
    pub(crate) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// What matters most.
    pub(crate) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Colour is for a terminal, and for those who did not say no (<https://no-color.org>).
fn wanted(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    terminal && !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text from outside, fit for a terminal: control characters become spaces.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paint_only_where_it_is_seen() {
        assert_eq!(Paint(false).good("ok"), "ok");
        assert_eq!(Paint(true).bad("no"), "\x1b[31mno\x1b[0m");
        assert!(!wanted(false));
    }

    #[test]
    fn text_from_outside_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c"), "a [2Jb c");
    }
}
