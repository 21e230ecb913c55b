//! Writes records down for one auditor: in its format, and in the chain that the format has.

use aaa_core::audit::Record;

use crate::chain::{Chain, ChainKey};
use crate::formats::{Format, Formatter};

/// Writes records down for one auditor.
pub struct Scribe {
    formatter: Formatter,
    chain: Option<Chain>,
}

impl Default for Scribe {
    fn default() -> Self {
        Self::new(Formatter::default(), None)
    }
}

/// A record, written down.
pub(crate) struct Written {
    /// One line, with its line end.
    pub(crate) line: Vec<u8>,
    /// Its number in the chain: what to [settle](Scribe::settle).
    pub(crate) number: Option<u64>,
}

impl Scribe {
    /// Whoever writes in this format. A format with chains begins one, with codes of this key; without a key, with those that everybody
    /// can make.
    pub fn new(formatter: Formatter, key: Option<ChainKey>) -> Self {
        let chained = formatter.format == Format::V2;
        Self {
            formatter,
            chain: chained.then(|| Chain::new(key.unwrap_or_else(ChainKey::none))),
        }
    }

    /// The record as one line with its line end; `None` when the format has no words for this kind of record.
    pub fn line(&self, record: &Record) -> Option<Vec<u8>> {
        self.write(record).map(|written| written.line)
    }

    /// Writes a record down; `None` when the format has no words for its kind. Whoever keeps it says whether it [is](Self::settle).
    pub(crate) fn write(&self, record: &Record) -> Option<Written> {
        let mut line = self.formatter.open(record)?;
        let number = self.chain.as_ref().map(|chain| chain.append(&mut line));
        line.push('\n');
        Some(Written {
            line: line.into_bytes(),
            number,
        })
    }

    /// Takes note of what became of a record: one that is not kept is missing from the chain, and the next ones say so.
    pub(crate) fn settle(&self, number: Option<u64>, kept: bool) {
        if let (Some(chain), Some(number)) = (&self.chain, number) {
            if kept {
                chain.kept(number);
            } else {
                chain.not_kept(number);
            }
        }
    }
}
