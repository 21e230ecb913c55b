//! Whose turn it is, and in which room: what is known of a policy from the times that it ran.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::lane::Deadline;

/// How often in a row what used its time up has to come to an end before it is taken for what it was before: often enough that using it up
/// again now and then is no way to hold up others.
pub(super) const WARY: u8 = 100;

/// Room for a number of pieces of work at a time.
#[derive(Debug)]
pub(super) struct Room {
    left: Mutex<usize>,
    freed: Condvar,
}

/// A place in a room, until it is dropped.
pub(super) struct Place<'a>(&'a Room);

impl Room {
    /// For as many.
    pub(super) fn of(places: usize) -> Self {
        Self {
            left: Mutex::new(places),
            freed: Condvar::new(),
        }
    }

    pub(super) fn enter(&self, deadline: Deadline) -> Option<Place<'_>> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut left, _) = self
            .freed
            .wait_timeout_while(left, deadline.left(), |left| *left == 0)
            .unwrap_or_else(PoisonError::into_inner);
        *left = left.checked_sub(1)?;
        Some(Place(self))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.left.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// What is known of a policy from the times that it ran.
#[derive(Debug)]
pub(super) struct Turns {
    /// For one at a time, so that what is slow keeps those waiting who ask for it.
    pub(super) room: Room,
    pub(super) past: Arc<Past>,
}

#[derive(Debug, Default)]
pub(super) struct Past {
    /// Whether it ever came to an end.
    ended: AtomicBool,
    /// How often it has still to come to an end before it is trusted again.
    wary: AtomicU8,
    /// Whether it goes on right now, after its time.
    pub(super) goes_on: AtomicBool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            room: Room::of(1),
            past: Arc::default(),
        }
    }
}

/// What a policy is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It came to an end whenever it ran.
    Known,
    /// It never ran, or to no end that counts.
    Stranger,
    /// It used its time up, not long ago.
    Endless,
}

impl Past {
    /// It came to an end.
    pub(super) fn ended(&self) {
        // Mostly it did before, and what is not written need not be shared.
        if !self.ended.load(Ordering::Relaxed) {
            self.ended.store(true, Ordering::Relaxed);
        }
        if self.wary.load(Ordering::Relaxed) > 0 {
            let less = |wary: u8| wary.checked_sub(1);
            let _there_already = self
                .wary
                .fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
        }
    }

    /// It used its time up.
    pub(super) fn used_up(&self) {
        self.wary.store(WARY, Ordering::Release);
    }

    pub(super) fn standing(&self) -> Standing {
        if self.wary.load(Ordering::Acquire) > 0 {
            Standing::Endless
        } else if self.ended.load(Ordering::Relaxed) {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }
}

impl Turns {
    /// It came to an end, here or elsewhere.
    pub(super) fn ended(&self) {
        self.past.ended();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn long() -> Deadline {
        Deadline::within(Duration::from_mins(1))
    }

    #[test]
    fn whoever_waits_for_a_place_gets_the_one_that_is_freed() {
        let room = Room::of(1);
        let place = room.enter(long()).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| room.enter(long()).is_some());
            drop(place);
            assert!(waiting.join().unwrap());
        });
    }

    #[test]
    fn trust_is_lost_at_once_and_slowly_won_back() {
        let turns = Turns::default();
        assert_eq!(turns.past.standing(), Standing::Stranger);
        turns.ended();
        assert_eq!(turns.past.standing(), Standing::Known);
        turns.past.used_up();
        for _ in 0..WARY {
            assert_eq!(turns.past.standing(), Standing::Endless);
            turns.ended();
        }
        assert_eq!(turns.past.standing(), Standing::Known);
        turns.ended();
        assert_eq!(turns.past.standing(), Standing::Known);
    }
}
