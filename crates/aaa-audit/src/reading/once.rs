//! Each record once. What is delivered again carries the id that it had.

use std::collections::{HashSet, VecDeque};

/// How many ids are remembered. A record that is delivered again comes soon after the first time: what lies between is what waited in
/// spools and in regions meanwhile.
const REMEMBERED: usize = 1_000_000;

/// Tells what was there before.
#[derive(Debug, Default)]
pub struct Once {
    seen: HashSet<String>,
    order: VecDeque<String>,
    /// How many were there before.
    pub again: u64,
}

impl Once {
    /// Whether this is the first record with this id. One without an id is always the first.
    pub fn is_first(&mut self, id: Option<&str>) -> bool {
        let Some(id) = id else { return true };
        if self.seen.contains(id) {
            self.again += 1;
            return false;
        }
        if self.order.len() == REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(id.to_owned());
        self.order.push_back(id.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_once_and_records_without_one_every_time() {
        let mut once = Once::default();
        assert!(once.is_first(Some("a")) && once.is_first(Some("b")));
        assert!(!once.is_first(Some("a")));
        assert!(once.is_first(None) && once.is_first(None));
        assert_eq!(once.again, 1);
    }

    #[test]
    fn memory_is_bounded() {
        let mut once = Once::default();
        for id in 0..=REMEMBERED {
            assert!(once.is_first(Some(&id.to_string())));
        }
        assert_eq!(once.seen.len(), REMEMBERED);
        assert!(once.is_first(Some("0")));
    }
}
