//! A table of counts with an end: when it is full, what says least makes room.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::{Delays, signed};

/// Parts with a lock each.
const SHARDS: usize = 1024;
/// Entries of a part: 102,400 in all, of 40 bytes.
const ROOM: usize = 100;
/// How long to wait for others of the same name or address that are being tried.
const OTHERS: Duration = Duration::from_secs(1);

/// Failures by key.
pub(super) struct Table {
    shards: Box<[Mutex<Vec<Entry>>]>,
}

/// How many attempts are free, and what the next ones wait for.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) attempts: u32,
    pub(super) delays: Delays,
}

/// Come back after this time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wait(pub(super) Duration);

#[derive(Clone, Copy)]
struct Entry {
    key: u64,
    failures: u32,
    /// Attempts that are being tried now.
    trying: u32,
    /// The attempts that are free, as they were when it was last asked.
    free: u32,
    /// When the next attempt may begin: milliseconds of the unix epoch.
    next: i64,
    /// When it last failed, or was right: the same.
    last: i64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Counts an attempt that begins, unless it has to wait.
    pub(super) fn begin(&self, key: u64, count: Count, now: Timestamp) -> Result<(), Wait> {
        let Count { attempts, delays } = count;
        let now = now.as_millisecond();
        let mut shard = self.shard(key);
        let entry = entry(&mut shard, key, delays, now);
        entry.free = attempts;
        if entry.failures > 0 && entry.is_forgotten(delays, now) {
            entry.failures = 0;
            entry.next = NEVER;
        }
        entry.last = entry.last.min(now);
        // A clock that was set back keeps nobody out for longer than the longest delay.
        entry.next = entry.next.min(now.saturating_add(millis(delays.longest)));
        let wait = entry.next.saturating_sub(now);
        if wait > 0 {
            return Err(Wait(Duration::from_millis(wait.unsigned_abs())));
        }
        // Whoever is past the free ones gets one try at a time.
        let at_once = attempts.saturating_sub(entry.failures).max(1);
        if entry.trying >= at_once {
            return Err(Wait(OTHERS));
        }
        entry.trying += 1;
        Ok(())
    }

    /// An attempt was wrong.
    pub(super) fn failed(&self, key: u64, delays: Delays, now: Timestamp) {
        let now = now.as_millisecond();
        let mut shard = self.shard(key);
        let entry = entry(&mut shard, key, delays, now);
        entry.trying = entry.trying.saturating_sub(1);
        entry.failures = entry.failures.saturating_add(1);
        let beyond = entry.failures.saturating_add(1).saturating_sub(entry.free);
        let delay = delays.after(beyond);
        entry.next = if delay.is_zero() {
            NEVER
        } else {
            now.saturating_add(millis(delay))
        };
        entry.last = now;
    }

    /// An attempt is not counted after all.
    pub(super) fn take_back(&self, key: u64) {
        let mut shard = self.shard(key);
        if let Some(place) = shard.iter().position(|entry| entry.key == key)
            && let Some(entry) = shard.get_mut(place)
        {
            entry.trying = entry.trying.saturating_sub(1);
            if entry.trying == 0 && entry.failures == 0 && entry.last == NEVER {
                shard.swap_remove(place);
            }
        }
    }

    /// Keeps a key without a failure.
    pub(super) fn remember(&self, key: u64, delays: Delays, now: Timestamp) {
        let now = now.as_millisecond();
        let mut shard = self.shard(key);
        let entry = entry(&mut shard, key, delays, now);
        entry.failures = 0;
        entry.next = NEVER;
        entry.last = now;
    }

    /// Whether a key is kept that was last seen no longer ago than this.
    pub(super) fn knows(&self, key: u64, within: Duration, now: Timestamp) -> bool {
        let oldest = now
            .checked_sub(signed(within))
            .map_or(i64::MIN, Timestamp::as_millisecond);
        self.shard(key)
            .iter()
            .any(|entry| entry.key == key && entry.last >= oldest)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().map_or(0, |shard| shard.len()))
            .sum()
    }

    fn shard(&self, key: u64) -> MutexGuard<'_, Vec<Entry>> {
        let place = usize::try_from(key % SHARDS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder of their number")]
        let shard = &self.shards[place];
        // Nothing panics while it holds the lock.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of what has not happened.
const NEVER: i64 = i64::MIN;

/// The entry of a key, made when there is none.
fn entry(shard: &mut Vec<Entry>, key: u64, delays: Delays, now: i64) -> &mut Entry {
    let fresh = Entry {
        key,
        failures: 0,
        trying: 0,
        free: 0,
        next: NEVER,
        last: NEVER,
    };
    let found = shard.iter().position(|entry| entry.key == key);
    let place = match found {
        Some(place) => place,
        None if shard.len() < ROOM => {
            shard.push(fresh);
            shard.len() - 1
        }
        None => {
            let least = shard
                .iter()
                .enumerate()
                .min_by_key(|(_, entry)| entry.worth(delays, now));
            least.map_or(0, |(place, _)| place)
        }
    };
    #[expect(
        clippy::indexing_slicing,
        reason = "the place was found above, in a shard that is not empty"
    )]
    let entry = &mut shard[place];
    if entry.key != key {
        *entry = fresh;
    }
    entry
}

impl Entry {
    /// Whether its failures are too long ago to hold anything back.
    fn is_forgotten(&self, delays: Delays, now: i64) -> bool {
        now.saturating_sub(self.last) >= millis(delays.forget)
    }

    /// What is lost with it: what has failed most goes last, and of equals what is newest. What is forgotten counts for nothing: else
    /// one flood would leave no room for what comes after it.
    fn worth(&self, delays: Delays, now: i64) -> (u64, i64) {
        let failures = if self.is_forgotten(delays, now) {
            0
        } else {
            self.failures
        };
        (u64::from(failures) + u64::from(self.trying), self.last)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
