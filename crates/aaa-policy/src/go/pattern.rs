//! Patterns as Go's `regexp` reads them.
//!
//! Both engines match in time that grows with the text, and prefer the same match. Their languages differ: `\w` means ASCII to Go, a
//! brace may be a letter, `&&` in a class is two of them. So a pattern is read by Go's rules, and written down in what means the same here.

use std::fmt::Write as _;

use regex::{Regex, RegexBuilder};

use super::classes::{CATEGORIES, PERL, POSIX, SCRIPTS};

/// Why there is no pattern; each is a part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is none to Go, too.
    Wrong(&'static str),
    /// It is one to Go, and cannot be said here.
    NotHere(&'static str),
}

/// A pattern that is ready to be matched.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    compiled: Regex,
}

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// What finds the matches; in another language than [`Pattern::as_str`].
    pub(crate) fn regex(&self) -> &Regex {
        &self.compiled
    }
}

/// Compiles a pattern that takes no more memory than so many bytes; with `fold`, the case of letters does not matter to it.
///
/// # Errors
/// When it is no pattern to Go, or one that there is not here.
pub(crate) fn pattern(text: &str, fold: bool, bytes: usize) -> Result<Pattern, Bad> {
    let compiled = RegexBuilder::new(&translated(text, fold)?)
        .size_limit(bytes)
        .dfa_size_limit(bytes)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => Bad::NotHere("is too large"),
            _ => Bad::NotHere("is nested too deep, or names a group twice"),
        })?;
    Ok(Pattern {
        text: text.to_owned(),
        compiled,
    })
}

/// What is set at a place of a pattern.
#[derive(Debug, Clone, Copy, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a letter of the language"
)]
struct Flags {
    /// `i`: the case of letters does not matter.
    fold: bool,
    /// `m`: `^` and `$` are about lines.
    lines: bool,
    /// `s`: `.` is any character.
    all: bool,
    /// `U`: repetitions take as little as they can.
    lazy: bool,
}

/// A part that can be repeated.
struct Item {
    text: String,
    repeated: bool,
    /// How often the innermost parts of it are repeated.
    times: u32,
}

/// A group, or the whole, as far as it is read.
struct Group {
    /// Before what is in it, and its branches so far.
    text: String,
    /// The branch that is being read.
    items: Vec<Item>,
    times: u32,
    /// To be set again behind it.
    flags: Flags,
}

struct Reader<'a> {
    rest: &'a str,
    flags: Flags,
    open: Vec<Group>,
    group: Group,
}

impl Group {
    fn new(start: &str, flags: Flags) -> Self {
        Self {
            text: start.to_owned(),
            items: Vec::new(),
            times: 1,
            flags,
        }
    }

    fn end_branch(&mut self) {
        for item in self.items.drain(..) {
            self.text.push_str(&item.text);
            self.times = self.times.max(item.times);
        }
    }
}

/// The pattern in the language of this engine.
fn translated(text: &str, fold: bool) -> Result<String, Bad> {
    let flags = Flags {
        fold,
        ..Flags::default()
    };
    let mut reader = Reader {
        rest: text,
        flags,
        open: Vec::new(),
        group: Group::new("", flags),
    };
    // Whether a repetition stands right before.
    let mut repeated = false;
    while let Some(c) = reader.rest.chars().next() {
        repeated = reader.one(c, repeated)?;
    }
    if !reader.open.is_empty() {
        return Err(Bad::Wrong("unclosed group"));
    }
    reader.group.end_branch();
    Ok(reader.group.text)
}

impl Reader<'_> {
    /// Reads what begins here; whether it was a repetition.
    fn one(&mut self, first: char, repeated: bool) -> Result<bool, Bad> {
        match first {
            '(' if self.take("(?") => self.flags_or_group()?,
            '*' | '+' | '?' => {
                self.skip(first);
                self.repeat(&first.to_string(), 1, repeated)?;
                return Ok(true);
            }
            '{' => {
                if let Some((bounds, times)) = self.bounds()? {
                    self.repeat(&bounds, times, repeated)?;
                    return Ok(true);
                }
                self.skip(first);
                self.literal(first);
            }
            '[' => {
                let class = self.class()?;
                self.push_folded(&class);
            }
            '\\' => self.backslash()?,
            _ => {
                self.skip(first);
                self.plain(first)?;
            }
        }
        Ok(false)
    }

    /// What is no escape, no class and no repetition.
    fn plain(&mut self, c: char) -> Result<(), Bad> {
        match c {
            '(' => self.begin("("),
            '|' => {
                self.group.end_branch();
                self.group.text.push('|');
            }
            ')' => {
                let outer = self.open.pop().ok_or(Bad::Wrong("unopened group"))?;
                let mut inner = std::mem::replace(&mut self.group, outer);
                inner.end_branch();
                inner.text.push(')');
                self.flags = inner.flags;
                self.group.items.push(Item {
                    text: inner.text,
                    repeated: false,
                    times: inner.times,
                });
            }
            '^' if self.flags.lines => self.push("(?m:^)"),
            '^' => self.push(r"(?:\A)"),
            '$' if self.flags.lines => self.push("(?m:$)"),
            '$' => self.push(r"(?:\z)"),
            '.' if self.flags.all => self.push("(?s:.)"),
            '.' => self.push(r"[^\n]"),
            c => self.literal(c),
        }
        Ok(())
    }

    fn skip(&mut self, c: char) {
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
    }

    fn take(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.skip(c);
        Some(c)
    }

    fn push(&mut self, text: &str) {
        self.group.items.push(Item {
            text: text.to_owned(),
            repeated: false,
            times: 1,
        });
    }

    fn push_folded(&mut self, text: &str) {
        if self.flags.fold {
            self.push(&format!("(?i:{text})"));
        } else {
            self.push(text);
        }
    }

    fn literal(&mut self, c: char) {
        let mut text = String::new();
        write_char(&mut text, c);
        self.push_folded(&text);
    }

    fn begin(&mut self, start: &str) {
        let group = Group::new(start, self.flags);
        self.open.push(std::mem::replace(&mut self.group, group));
    }

    /// Behind `(?`: a group with a name, one without a number, or flags.
    fn flags_or_group(&mut self) -> Result<(), Bad> {
        if self.take("P<") || self.take("<") {
            let (name, rest) = self
                .rest
                .split_once('>')
                .ok_or(Bad::Wrong("a name without end"))?;
            self.rest = rest;
            let good = |c: char| c == '_' || c.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(good) {
                return Err(Bad::Wrong("no name for a group"));
            }
            if name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(Bad::NotHere("names a group with a digit first"));
            }
            self.begin(&format!("(?P<{name}>"));
            return Ok(());
        }
        let unknown = Bad::Wrong("unknown kind of group");
        let mut flags = self.flags;
        // Whether flags are unset; whether one was named since that began.
        let (mut unset, mut named) = (false, false);
        while let Some(c) = self.next() {
            match c {
                'i' => flags.fold = !unset,
                'm' => flags.lines = !unset,
                's' => flags.all = !unset,
                'U' => flags.lazy = !unset,
                '-' if !unset => {
                    (unset, named) = (true, false);
                    continue;
                }
                ':' | ')' if !unset || named => {
                    if c == ':' {
                        self.begin("(?:");
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => return Err(unknown),
            }
            named = true;
        }
        Err(unknown)
    }

    /// Repeats the item before.
    fn repeat(&mut self, sign: &str, times: u32, repeated: bool) -> Result<(), Bad> {
        let lazy = self.take("?") != self.flags.lazy;
        if repeated {
            return Err(Bad::Wrong("a repetition of a repetition"));
        }
        let nothing = Bad::Wrong("a repetition of nothing");
        if times == 0 {
            // The groups in it have numbers to Go, and none here.
            return Err(Bad::NotHere("repeats a part no time at all"));
        }
        let item = self.group.items.last_mut().ok_or(nothing)?;
        if item.repeated {
            item.text = format!("(?:{})", item.text);
        }
        item.text.push_str(sign);
        if lazy {
            item.text.push('?');
        }
        item.repeated = true;
        item.times = item.times.saturating_mul(times);
        if times > 1 && item.times > MOST_TIMES {
            return Err(Bad::Wrong("more than 1000 repetitions"));
        }
        Ok(())
    }

    /// `{2}`, `{2,}`, `{2,3}`, and how often that is; `None` for a brace that stands for itself.
    fn bounds(&mut self) -> Result<Option<(String, u32)>, Bad> {
        let Some((inner, rest)) = self.rest.get(1..).and_then(|rest| rest.split_once('}')) else {
            return Ok(None);
        };
        let (least, most) = inner
            .split_once(',')
            .map_or((inner, None), |(a, b)| (a, Some(b)));
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let good = digits && (text == "0" || !text.starts_with('0'));
            good.then(|| text.parse().unwrap_or(u32::MAX))
        };
        let open = most == Some("");
        let (Some(least), Some(most)) = (
            number(least),
            match most {
                None => number(least),
                Some("") => Some(0),
                Some(most) => number(most),
            },
        ) else {
            return Ok(None);
        };
        if least > MOST_TIMES || most > MOST_TIMES || (!open && least > most) {
            return Err(Bad::Wrong(
                "more than 1000 repetitions, or more at least than at most",
            ));
        }
        self.rest = rest;
        let times = match (open, least, most) {
            (true, 0, _) => 1,
            (true, least, _) => least,
            (false, _, most) => most,
        };
        Ok(Some((format!("{{{inner}}}"), times)))
    }

    /// Outside of a class.
    fn backslash(&mut self) -> Result<(), Bad> {
        if self.take(r"\Q") {
            let (text, rest) = self.rest.split_once(r"\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            for c in text.chars() {
                self.literal(c);
            }
            return Ok(());
        }
        for (escape, means) in [
            (r"\A", r"(?:\A)"),
            (r"\z", r"(?:\z)"),
            (r"\b", r"(?-u:\b)"),
            (r"\B", r"(?-u:\B)"),
        ] {
            if self.take(escape) {
                self.push(means);
                return Ok(());
            }
        }
        if let Some(class) = self.named()? {
            self.push_folded(&format!("[{class}]"));
            return Ok(());
        }
        let c = self.escape()?;
        self.literal(c);
        Ok(())
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<String, Bad> {
        const OPEN: Bad = Bad::Wrong("unclosed character class");
        self.skip('[');
        let mut text = "[".to_owned();
        if self.take("^") {
            text.push('^');
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            if let Some(class) = self.posix()? {
                text.push_str(&class);
                continue;
            }
            if let Some(class) = self.named()? {
                text.push_str(&class);
                continue;
            }
            let low = self.class_char()?.ok_or(OPEN)?;
            let range =
                self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let mut high = low;
            if range {
                self.skip('-');
                high = self.class_char()?.ok_or(OPEN)?;
            }
            if high < low {
                return Err(Bad::Wrong("a range that ends before it begins"));
            }
            write_char(&mut text, low);
            text.push('-');
            write_char(&mut text, high);
        }
        self.skip(']');
        text.push(']');
        Ok(text)
    }

    fn class_char(&mut self) -> Result<Option<char>, Bad> {
        if self.rest.starts_with('\\') {
            self.escape().map(Some)
        } else {
            Ok(self.next())
        }
    }

    /// `[:alpha:]`, within a class.
    fn posix(&mut self) -> Result<Option<String>, Bad> {
        let Some((name, rest)) = self
            .rest
            .strip_prefix("[:")
            .and_then(|rest| rest.split_once(":]"))
        else {
            return Ok(None);
        };
        let (not, name) = name
            .strip_prefix('^')
            .map_or(("", name), |name| ("^", name));
        let class = POSIX.iter().find(|(known, _)| *known == name);
        let (_, means) = class.ok_or(Bad::Wrong("unknown character class"))?;
        self.rest = rest;
        Ok(Some(format!("[{not}{means}]")))
    }

    /// `\d` and its like, and `\pL`; it may stand in a class and alone.
    fn named(&mut self) -> Result<Option<String>, Bad> {
        for (escape, means) in PERL {
            if self.take(escape) {
                return Ok(Some(means.to_owned()));
            }
        }
        let negated = self.rest.starts_with(r"\P");
        if !self.take(r"\p") && !self.take(r"\P") {
            return Ok(None);
        }
        let name = if self.take("{") {
            let (name, rest) = self
                .rest
                .split_once('}')
                .ok_or(Bad::Wrong("a name without end"))?;
            self.rest = rest;
            name
        } else {
            let c = self
                .rest
                .chars()
                .next()
                .ok_or(Bad::Wrong("no name of a class"))?;
            let (name, rest) = self.rest.split_at_checked(c.len_utf8()).unwrap_or_default();
            self.rest = rest;
            name
        };
        let (other, name) = name
            .strip_prefix('^')
            .map_or((false, name), |name| (true, name));
        let property = if CATEGORIES.contains(&name) {
            "gc"
        } else if SCRIPTS.contains(&name) {
            "sc"
        } else {
            return Err(Bad::NotHere("names a class that there is not here"));
        };
        let letter = if negated == other { 'p' } else { 'P' };
        Ok(Some(format!(r"\{letter}{{{property}={name}}}")))
    }

    /// A backslash and what is behind it, where it stands for one character.
    fn escape(&mut self) -> Result<char, Bad> {
        const WRONG: Bad = Bad::Wrong("unknown escape");
        self.skip('\\');
        let c = self.next().ok_or(WRONG)?;
        let code = match c {
            'a' => 7,
            'f' => 0xc,
            'n' => 0xa,
            'r' => 0xd,
            't' => 9,
            'v' => 0xb,
            'x' => self.hex().ok_or(WRONG)?,
            '0' => self.octal(0),
            '1'..='7' if self.rest.starts_with(|c: char| c.is_digit(8)) => {
                self.octal(c.to_digit(8).unwrap_or_default())
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => u32::from(c),
            _ => return Err(WRONG),
        };
        if code > u32::from(char::MAX) {
            return Err(WRONG);
        }
        char::from_u32(code).ok_or(Bad::NotHere("has a character that is none in texts"))
    }

    fn octal(&mut self, mut code: u32) -> u32 {
        for _ in 0..2 {
            let Some(digit) = self.rest.chars().next().and_then(|c| c.to_digit(8)) else {
                break;
            };
            self.rest = self.rest.get(1..).unwrap_or_default();
            code = code * 8 + digit;
        }
        code
    }

    fn hex(&mut self) -> Option<u32> {
        if !self.take("{") {
            let mut digit = || self.next()?.to_digit(16);
            return Some(digit()? * 16 + digit()?);
        }
        let (digits, rest) = self.rest.split_once('}')?;
        self.rest = rest;
        let good = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let digits = digits.trim_start_matches('0');
        match (good, digits) {
            (true, "") => Some(0),
            (true, digits) => u32::from_str_radix(digits, 16).ok(),
            (false, _) => None,
        }
    }
}

fn write_char(text: &mut String, c: char) {
    if c.is_ascii_alphanumeric() {
        text.push(c);
    } else {
        let _infallible = write!(text, r"\x{{{:x}}}", u32::from(c));
    }
}

/// How often a part may be repeated, all repetitions around it taken together.
const MOST_TIMES: u32 = 1000;

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
