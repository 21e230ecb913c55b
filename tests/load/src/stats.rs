//! Counting and timing: what each connection keeps for itself, and what they add up to.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The longest time that is told from longer ones, in microseconds: two minutes.
const LONGEST: u64 = 120_000_000;
/// Times are kept to three digits.
const DIGITS: u8 = 3;
/// Kinds of errors that are kept apart; the rest are counted together.
const KINDS: usize = 20;

/// What one connection counts.
pub(crate) struct Tally {
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, Failure> {
        let latency = Histogram::new_with_bounds(1, LONGEST, DIGITS)
            .map_err(|error| Failure::while_doing("histogram", error))?;
        Ok(Self {
            latency,
            errors: BTreeMap::new(),
        })
    }

    /// An answer that is what was asked for, and how long it took.
    pub(crate) fn succeeded(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        self.latency.saturating_record(micros.max(1));
    }

    /// Anything else.
    pub(crate) fn failed(&mut self, why: impl Into<String>) {
        self.failed_times(why.into(), 1);
    }

    fn failed_times(&mut self, why: String, times: u64) {
        let room = self.errors.len() < KINDS || self.errors.contains_key(&why);
        let kind = if room { why } else { "other".to_owned() };
        *self.errors.entry(kind).or_default() += times;
    }

    pub(crate) fn add(&mut self, other: Self) -> Result<(), Failure> {
        self.latency
            .add(&other.latency)
            .map_err(|error| Failure::while_doing("histogram", error))?;
        for (why, times) in other.errors {
            self.failed_times(why, times);
        }
        Ok(())
    }

    pub(crate) fn count(&self) -> u64 {
        self.latency.len()
    }

    pub(crate) fn errors(&self) -> &BTreeMap<String, u64> {
        &self.errors
    }

    pub(crate) fn latency(&self) -> Latency {
        let at = |quantile| float(self.latency.value_at_quantile(quantile)) / 1000.0;
        Latency {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: float(self.latency.max()) / 1000.0,
        }
    }
}

/// How long answers took, in milliseconds: half of them no longer than `p50`, and so on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// The value in the middle; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(middle.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// Counts and times become ratios; what is lost below 1 in 10¹⁵ is not missed.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(micros: impl IntoIterator<Item = u64>) -> Tally {
        let mut tally = Tally::new().unwrap();
        for micros in micros {
            tally.succeeded(Duration::from_micros(micros));
        }
        tally
    }

    /// Within what three digits allow.
    fn near(measured: f64, expected: f64) -> bool {
        (measured - expected).abs() <= expected * 0.001
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latency = tally(1..=10_000).latency();
        assert!(near(latency.p50, 5.0), "{latency:?}");
        assert!(near(latency.p90, 9.0), "{latency:?}");
        assert!(near(latency.p99, 9.9), "{latency:?}");
        assert!(near(latency.p999, 9.99), "{latency:?}");
        assert!(near(latency.max, 10.0), "{latency:?}");
    }

    #[test]
    fn one_slow_answer_in_a_thousand_shows_in_the_maximum_only() {
        let latency = tally((0..999).map(|_| 100).chain([1_000_000])).latency();
        assert!(near(latency.p99, 0.1), "{latency:?}");
        assert!(near(latency.p999, 0.1), "{latency:?}");
        assert!(near(latency.max, 1000.0), "{latency:?}");
    }

    #[test]
    fn connections_add_up_to_what_one_would_have_counted() {
        let mut sum = tally(1..=500);
        sum.failed("status 503");
        let mut other = tally(501..=1000);
        other.failed("status 503");
        other.failed("status 500");
        sum.add(other).unwrap();
        assert_eq!(sum.count(), 1000);
        assert_eq!(sum.latency(), tally(1..=1000).latency());
        let errors: Vec<_> = sum
            .errors()
            .iter()
            .map(|(why, n)| (why.as_str(), *n))
            .collect();
        assert_eq!(errors, [("status 500", 1), ("status 503", 2)]);
    }

    #[test]
    fn nothing_that_fails_counts_as_an_answer() {
        let mut tally = tally([]);
        tally.failed("status 500");
        assert_eq!(tally.count(), 0);
        assert_eq!(tally.latency(), Latency::default());
    }

    #[test]
    fn kinds_of_errors_are_bounded() {
        let mut tally = tally([]);
        for number in 0..100 {
            tally.failed(format!("error {number}"));
        }
        assert_eq!(tally.errors().len(), KINDS + 1);
        assert_eq!(tally.errors().values().sum::<u64>(), 100);
    }

    #[test]
    fn what_takes_forever_is_as_long_as_can_be_told() {
        let latency = tally([u64::MAX]).latency();
        assert!(near(latency.max, 120_000.0), "{latency:?}");
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
