//! Time as a parameter: whoever needs the time is given a clock, so that tests decide what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Tells the time of day.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// A clock that many share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the machine's time"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows this second of the unix epoch.
    pub fn at(unix_seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(unix_seconds.saturating_mul(1_000_000))))
    }

    /// Moves the clock, forwards or (negative) backwards.
    pub fn advance(&self, by: SignedDuration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the clock to this second of the unix epoch.
    pub fn set(&self, unix_seconds: i64) {
        self.0
            .store(unix_seconds.saturating_mul(1_000_000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.0.load(Ordering::SeqCst)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(1_000);
        assert_eq!(clock.now().as_second(), 1_000);
        clock.advance(SignedDuration::from_secs(5));
        assert_eq!(clock.now().as_second(), 1_005);
        clock.advance(SignedDuration::from_secs(-10));
        assert_eq!(clock.now().as_second(), 995);
        clock.set(7);
        assert_eq!(clock.now().as_second(), 7);
    }
}
