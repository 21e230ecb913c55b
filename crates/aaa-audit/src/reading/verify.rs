//! Whether the records of a chain are all there, and as they were written: see [`chain`](crate::chain).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::Line;
use crate::chain::{ALGORITHM, ChainKey, NO_KEY};
use crate::formats::v2;

/// Looks through the records of all chains. It keeps some hundred bytes for each.
#[derive(Default)]
pub struct Verifier {
    keys: Vec<ChainKey>,
    runs: BTreeMap<String, Run>,
    /// Where lines are that are no record of the format, though they lie among those.
    unreadable: Vec<String>,
}

/// What one chain is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// The site that wrote it.
    pub site: String,
    /// The service that wrote it.
    pub instance: String,
    /// The run.
    pub run: String,
    /// The first and the last number that are there.
    pub numbers: (u64, u64),
    /// How many records are there.
    pub records: usize,
    /// How many are there again, word for word.
    pub again: usize,
    /// How many are stored in another order than they were written in: what waited in a spool, or was written at the same time.
    pub reordered: usize,
    /// Whether every code was checked with a key of yours.
    pub checked: bool,
    /// What is wrong, in the order of numbers.
    pub findings: Vec<Finding>,
    /// Numbers that were not kept, as the service itself said: from and to.
    pub unkept: Vec<(u64, u64)>,
}

/// Something that is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// These are missing.
    Missing(u64, u64),
    /// This was altered after it was written.
    Altered(u64),
    /// This does not follow what stands before it.
    Unlinked(u64),
    /// There is more than one with this number.
    Twice(u64),
    /// This was written with a key that is none of yours.
    ForeignKey(u64, String),
    /// Everybody can make its codes, and a key was given to check them.
    Keyless(u64),
}

#[derive(Default)]
struct Run {
    site: String,
    instance: String,
    links: BTreeMap<u64, Link>,
    findings: Vec<(u64, Finding)>,
    unkept: Vec<(u64, u64)>,
    again: usize,
    reordered: usize,
    newest: u64,
    unchecked: bool,
}

struct Link {
    code: String,
    previous: String,
}

#[derive(Deserialize)]
struct Record {
    protocol: String,
    site: String,
    instance: String,
    chain: Chained,
}

#[derive(Deserialize)]
struct Chained {
    algorithm: String,
    key: String,
    run: String,
    number: u64,
    previous: String,
    #[serde(default)]
    unkept: Vec<(u64, u64)>,
    code: String,
}

impl Verifier {
    /// Whoever has these keys; without any, only numbers and links are checked.
    pub fn new(keys: Vec<ChainKey>) -> Self {
        Self {
            keys,
            ..Self::default()
        }
    }

    /// Takes a line.
    pub fn add(&mut self, line: &Line) {
        let record: Option<Record> = serde_json::from_slice(&line.bytes).ok();
        let known = record.filter(|record| {
            record.protocol == v2::PROTOCOL && record.chain.algorithm == ALGORITHM
        });
        let Some(record) = known else {
            self.unreadable.push(line.place.clone());
            return;
        };
        let chain = record.chain;
        let verdict = self.judge(&chain, &line.bytes);
        let run = self.runs.entry(chain.run.clone()).or_default();
        // Of its first record that is believed, or of the first at all.
        if run.links.is_empty() && (run.site.is_empty() || !matches!(verdict, Verdict::Wrong(_))) {
            run.site = record.site;
            run.instance = record.instance;
        }
        run.add(chain, verdict);
    }

    /// Where lines are that are no record of the format.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// What every chain is like. Records from before the first that there is are missing, unless it is said that not all were looked at.
    pub fn finish(self, from_the_first: bool) -> Vec<RunReport> {
        let runs = self.runs.into_iter();
        runs.map(|(name, run)| run.report(name, from_the_first))
            .collect()
    }

    fn judge(&self, chain: &Chained, line: &[u8]) -> Verdict {
        let number = chain.number;
        let keyless = ChainKey::none();
        let key = match (chain.key.as_str(), self.keys.as_slice()) {
            (NO_KEY, []) => Some(&keyless),
            (NO_KEY, _) => return Verdict::Wrong(Finding::Keyless(number)),
            (_, []) => return Verdict::Unknown,
            (name, keys) => keys.iter().find(|key| key.name() == name),
        };
        let Some(key) = key else {
            return Verdict::Wrong(Finding::ForeignKey(number, chain.key.clone()));
        };
        // The code is the last that stands in a record, whatever the record says before.
        let end = format!(",\"code\":\"{}\"}}}}", chain.code);
        match line.strip_suffix(end.as_bytes()) {
            Some(before) if key.code(before) == chain.code => match chain.key.as_str() {
                NO_KEY => Verdict::Unknown,
                _ => Verdict::Good,
            },
            _ => Verdict::Wrong(Finding::Altered(number)),
        }
    }
}

enum Verdict {
    /// Written by whoever has the key, and as it was written.
    Good,
    /// Nobody here can say.
    Unknown,
    Wrong(Finding),
}

impl Run {
    fn add(&mut self, chain: Chained, verdict: Verdict) {
        let number = chain.number;
        match verdict {
            Verdict::Good => {}
            Verdict::Unknown => self.unchecked = true,
            Verdict::Wrong(finding) => {
                self.findings.push((number, finding));
                // Nothing in it is believed, and it is no record of the chain.
                return;
            }
        }
        self.unkept.extend(chain.unkept);
        if number < self.newest {
            self.reordered += 1;
        }
        self.newest = self.newest.max(number);
        let link = Link {
            code: chain.code,
            previous: chain.previous,
        };
        match self.links.get(&number) {
            Some(there) if there.code == link.code => {
                self.again += 1;
                self.reordered = self.reordered.saturating_sub(1);
            }
            Some(_) => self.findings.push((number, Finding::Twice(number))),
            None => {
                self.links.insert(number, link);
            }
        }
    }

    fn report(mut self, run: String, from_the_first: bool) -> RunReport {
        let first = self.links.keys().next().copied().unwrap_or(1);
        let mut expected = if from_the_first { 1 } else { first };
        let mut before: Option<&Link> = None;
        let mut gaps = Vec::new();
        for (number, link) in &self.links {
            if *number > expected {
                gaps.push((expected, number - 1));
                before = None;
            }
            let follows = match before {
                Some(before) => before.code == link.previous,
                // The first of all follows nothing; what stood before another is not there to be compared.
                None => *number != 1 || link.previous.is_empty(),
            };
            if !follows {
                self.findings.push((*number, Finding::Unlinked(*number)));
            }
            before = Some(link);
            expected = number + 1;
        }
        self.unkept.sort_unstable();
        self.unkept.dedup();
        for (from, to) in gaps.iter().flat_map(|gap| unexplained(*gap, &self.unkept)) {
            // A record that is there and wrong has been told of.
            let wrong = from == to && self.findings.iter().any(|(number, _)| *number == from);
            if !wrong {
                self.findings.push((from, Finding::Missing(from, to)));
            }
        }
        self.findings.sort_by_key(|(number, _)| *number);
        let last = self.links.keys().next_back().copied().unwrap_or_default();
        RunReport {
            site: self.site,
            instance: self.instance,
            run,
            numbers: (first, last),
            records: self.links.len(),
            again: self.again,
            reordered: self.reordered,
            checked: !self.unchecked,
            findings: self
                .findings
                .into_iter()
                .map(|(_, finding)| finding)
                .collect(),
            unkept: self.unkept,
        }
    }
}

/// The parts of a gap that the service itself did not tell of.
fn unexplained((mut from, to): (u64, u64), unkept: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    for (first, last) in unkept {
        if *last < from || *first > to {
            continue;
        }
        if *first > from {
            parts.push((from, first - 1));
        }
        from = from.max(last.saturating_add(1));
    }
    if from <= to {
        parts.push((from, to));
    }
    parts
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(from, to) if from == to => write!(f, "record {from} is missing"),
            Self::Missing(from, to) => write!(f, "records {from} to {to} are missing"),
            Self::Altered(number) => write!(f, "record {number} was altered after it was written"),
            Self::Unlinked(number) => {
                write!(f, "record {number} does not follow the one before it")
            }
            Self::Twice(number) => write!(f, "there are two different records {number}"),
            Self::ForeignKey(number, key) => {
                write!(f, "record {number} was written with another key ({key:?})")
            }
            Self::Keyless(number) => write!(
                f,
                "record {number} was written without a key: anybody can have made it"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_told_of_is_no_gap() {
        assert_eq!(unexplained((3, 9), &[]), [(3, 9)]);
        assert_eq!(
            unexplained((3, 9), &[(1, 4), (6, 6), (9, 20)]),
            [(5, 5), (7, 8)]
        );
        assert_eq!(unexplained((3, 9), &[(1, 10)]), []);
        assert_eq!(unexplained((3, 9), &[(10, 12)]), [(3, 9)]);
    }
}
