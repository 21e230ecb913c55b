//! Records that vouch for one another: each has its number in a run of an instance, the code of the one before it, and a code over all
//! that stands before its own. Who has not the key can take no record out, change none and put none in without its being seen.
//!
//! A run is what one auditor of one process writes, from its start on. A record that was not kept leaves a gap; the records after it say
//! so (`unkept`), until one that does is kept itself. The last records of a run are vouched for by none after them.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::{hmac, rand};

/// The name of the codes.
pub const ALGORITHM: &str = "hmac-sha256";

/// What stands where a key is named when there is none: everybody can make these codes.
pub const NO_KEY: &str = "none";

/// The most gaps that a record tells of. More than that happen at a time when nothing is kept in between, and those are one.
const MOST_GAPS: usize = 64;

/// What codes are made with.
#[derive(Clone)]
pub struct ChainKey {
    name: String,
    key: hmac::Key,
    redaction: hmac::Key,
}

/// Text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key of 64 hexadecimal characters is wanted; make one with: openssl rand -hex 32")]
pub struct KeyError;

impl ChainKey {
    /// Reads a key: 64 hexadecimal characters, and space around them.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = zeroize::Zeroizing::new(hex::decode(text.trim()).map_err(|_| KeyError)?);
        if bytes.len() != 32 {
            return Err(KeyError);
        }
        let root = hmac::Key::new(hmac::HMAC_SHA256, &bytes);
        let derived = |purpose: &str| {
            let derived = hmac::sign(&root, purpose.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())
        };
        let name = hmac::sign(&root, b"io.choria.aaa.v2.audit name");
        Ok(Self {
            name: hex::encode(name.as_ref().get(..4).unwrap_or_default()),
            key: derived("io.choria.aaa.v2.audit chain"),
            redaction: derived("io.choria.aaa.v2.audit redaction"),
        })
    }

    /// The key that everybody has: it shows what an accident did, and nothing that somebody did on purpose.
    pub fn none() -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[]);
        Self {
            name: NO_KEY.to_owned(),
            key: key.clone(),
            redaction: key,
        }
    }

    /// What records call it. It tells nothing of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The code over what stands before it in a record, in hexadecimal.
    pub fn code(&self, before: &[u8]) -> String {
        hex::encode(hmac::sign(&self.key, before).as_ref())
    }

    pub(crate) fn redaction(&self) -> hmac::Key {
        self.redaction.clone()
    }
}

/// The chain that one auditor writes.
pub(crate) struct Chain {
    key: ChainKey,
    /// Names the run: unique, and from nobody's clock.
    run: String,
    end: Mutex<End>,
    /// Whether there are gaps to tell of; a look at this spares the lock.
    gaps: AtomicBool,
}

/// Where a chain ends.
#[derive(Default)]
struct End {
    number: u64,
    code: String,
    /// Numbers of records that were not kept, from and to.
    unkept: Vec<(u64, u64)>,
    /// The number of the newest record when the last of them was added.
    told_after: u64,
}

impl Chain {
    /// A chain without a record yet.
    pub(crate) fn new(key: ChainKey) -> Self {
        let mut random = [0_u8; 16];
        // Without random numbers all runs have one name, and are seen to be more than one.
        let _ = rand::fill(&mut random);
        Self {
            key,
            run: hex::encode(random),
            end: Mutex::default(),
            gaps: AtomicBool::new(false),
        }
    }

    /// Ends a record, which lacks its last brace, with its place in the chain; and its number.
    pub(crate) fn append(&self, record: &mut String) -> u64 {
        // What is before the place is most of it, and needs no lock.
        let mut code = hmac::Context::with_key(&self.key.key);
        code.update(record.as_bytes());
        let begin = record.len();
        let mut end = self.end();
        end.number += 1;
        let _infallible = write!(
            record,
            ",\"chain\":{{\"algorithm\":\"{ALGORITHM}\",\"key\":\"{}\",\"run\":\"{}\",\"number\":{},\"previous\":\"{}\"",
            self.key.name, self.run, end.number, end.code
        );
        if !end.unkept.is_empty() {
            record.push_str(",\"unkept\":[");
            for (at, (from, to)) in end.unkept.iter().enumerate() {
                let comma = if at > 0 { "," } else { "" };
                let _infallible = write!(record, "{comma}[{from},{to}]");
            }
            record.push(']');
        }
        code.update(record.as_bytes().get(begin..).unwrap_or_default());
        end.code = hex::encode(code.sign().as_ref());
        let _infallible = write!(record, ",\"code\":\"{}\"}}}}", end.code);
        end.number
    }

    /// Takes note that a record was not kept, so that the next ones tell of the gap.
    pub(crate) fn not_kept(&self, number: u64) {
        let mut end = self.end();
        end.told_after = end.number;
        self.gaps.store(true, Ordering::Relaxed);
        let mut gaps = end.unkept.clone();
        gaps.push((number, number));
        gaps.sort_unstable();
        gaps.dedup_by(|next, gap| {
            let joins = next.0 <= gap.1 + 1;
            if joins {
                gap.1 = gap.1.max(next.1);
            }
            joins
        });
        if gaps.len() <= MOST_GAPS {
            end.unkept = gaps;
        } else {
            // Untold, it is a gap that nobody explains: the safe side.
            tracing::warn!(
                number,
                "a record that is not kept leaves a gap in its chain"
            );
        }
    }

    /// Takes note that a record was kept: what it told of need not be told again.
    pub(crate) fn kept(&self, number: u64) {
        if !self.gaps.load(Ordering::Relaxed) {
            return;
        }
        let mut end = self.end();
        if number > end.told_after {
            end.unkept.clear();
            self.gaps.store(false, Ordering::Relaxed);
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn next(chain: &Chain) -> Value {
        let mut record = "{\"id\":1".to_owned();
        chain.append(&mut record);
        serde_json::from_str(&record).unwrap()
    }

    #[test]
    fn each_record_has_the_code_of_the_one_before() {
        let key = ChainKey::parse(&"ab".repeat(32)).unwrap();
        let chain = Chain::new(key.clone());
        let (mut one, mut two) = ("{\"id\":1".to_owned(), "{\"id\":2".to_owned());
        assert_eq!((chain.append(&mut one), chain.append(&mut two)), (1, 2));
        for (record, previous) in [(&one, None), (&two, Some(&one))] {
            let value: Value = serde_json::from_str(record).unwrap();
            let (before, code) = record.rsplit_once(",\"code\":\"").unwrap();
            assert_eq!(code, format!("{}\"}}}}", key.code(before.as_bytes())));
            let previous: Option<Value> = previous.map(|p| serde_json::from_str(p).unwrap());
            let code = previous.map_or(json!(""), |p| p["chain"]["code"].clone());
            assert_eq!(value["chain"]["previous"], code);
        }
    }

    #[test]
    fn gaps_are_told_until_a_record_that_tells_of_them_is_kept() {
        let chain = Chain::new(ChainKey::none());
        for _ in 0..9 {
            next(&chain);
        }
        for number in [2, 5, 3, 8, 4] {
            chain.not_kept(number);
        }
        chain.kept(9);
        let unkept = json!([[2, 5], [8, 8]]);
        assert_eq!(next(&chain)["chain"]["unkept"], unkept);
        chain.not_kept(10);
        assert_eq!(
            next(&chain)["chain"]["unkept"],
            json!([[2, 5], [8, 8], [10, 10]])
        );
        chain.kept(11);
        assert_eq!(next(&chain)["chain"].get("unkept"), None);
    }

    #[test]
    fn keys_are_named_without_being_told() {
        let key = ChainKey::parse(&format!(" {}\n", "0f".repeat(32))).unwrap();
        assert_eq!(key.name().len(), 8);
        assert_ne!(key.name(), "0f0f0f0f");
        for text in ["", "0f", &"0g".repeat(32), &"0f".repeat(33)] {
            assert_eq!(ChainKey::parse(text).err(), Some(KeyError));
        }
    }
}
