//! What is wrong with a file of rules: where, with the line and a caret under the place.

use std::fmt;
use std::path::Path;

use aaa_core::json::Strict;
use serde_json::Value;

/// The longest part of a line that is shown, in characters.
const SHOWN: usize = 120;

/// Something in a file that cannot be taken. It reads `puppet.policy:3:7: what is wrong`, then the line and a caret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the one who read it calls it.
    pub file: String,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong and what is wanted.
    pub text: String,
    /// The line as it stands in the file, or as much of it as is shown.
    pub source: String,
}

impl Problem {
    /// About a file as a whole.
    pub(crate) fn of_file(file: &str, text: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            text: text.into(),
            source: String::new(),
        }
    }

    /// At a byte of a line of it.
    pub(crate) fn at(
        file: &str,
        line: usize,
        source: &str,
        byte: usize,
        text: impl Into<String>,
    ) -> Self {
        let before = source.get(..byte).unwrap_or(source);
        Self {
            file: file.to_owned(),
            line,
            column: before.chars().count() + 1,
            text: text.into(),
            source: source.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.text);
        }
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.text
        )?;
        if self.source.is_empty() || self.column > SHOWN {
            return Ok(());
        }
        // A tab takes one place, so that the caret stands where it should.
        let place = |c: char| if c.is_control() { ' ' } else { c };
        let shown: String = self.source.chars().take(SHOWN).map(place).collect();
        write!(f, "\n  {shown}\n  {:>1$}", '^', self.column)
    }
}

impl std::error::Error for Problem {}

/// Whether a file is JSON by its name.
pub(crate) fn is_json(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|end| end == "json")
}

/// A file as JSON, no member of which is there twice.
pub(crate) fn json(file: &str, bytes: &[u8]) -> Result<Value, Problem> {
    let text = text(file, bytes)?;
    let read = serde_json::from_str(text).map(|Strict(value)| value);
    read.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let says = error.to_string();
        let says = says.split(" at line ").next().unwrap_or_default();
        let source = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let byte = column.saturating_sub(1);
        Problem::at(
            file,
            line.max(1),
            source,
            byte,
            format!("is no JSON that can be taken: {says}"),
        )
    })
}

/// A file as lines of text, without a byte order mark.
pub(crate) fn text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    let text = marked_text(file, bytes)?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// A file as lines of text, with the byte order mark where it has one.
pub(crate) fn marked_text<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, Problem> {
    if bytes.len() > crate::actionpolicy::MAX_FILE {
        let text = format!("is larger than {} bytes", crate::actionpolicy::MAX_FILE);
        return Err(Problem::of_file(file, text));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = good.split(|byte| *byte == b'\n').count();
            let start = good
                .rsplit(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            let start = String::from_utf8_lossy(start);
            Err(Problem::at(
                file,
                line,
                &start,
                start.len(),
                "is no text: the byte here is not UTF-8",
            ))
        }
    }
}
