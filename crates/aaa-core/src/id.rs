//! Identifiers of tokens, v2 requests and audit records: KSUIDs, 27 characters whose first part is the second they were made in.

use std::str::FromStr;

use jiff::Timestamp;
use svix_ksuid::{KSUID_EPOCH, Ksuid};

/// A new id made in this second. The rest of it is random.
///
/// Seconds outside what a KSUID holds (May 2014 to 2150) are moved to the nearest one that it holds.
pub fn at(time: Timestamp) -> String {
    let since_epoch = time
        .as_second()
        .saturating_sub(KSUID_EPOCH)
        .clamp(0, i64::from(u32::MAX));
    Ksuid::new_raw(u32::try_from(since_epoch).unwrap_or(u32::MAX), None).to_string()
}

/// The second that an id was made in, in unix time; `None` when it is no KSUID.
pub fn made_in(id: &str) -> Option<i64> {
    let ksuid = Ksuid::from_str(id).ok()?;
    // The decoder drops what overflows; only the canonical text is what everybody else compares.
    (ksuid.to_string() == id).then(|| i64::from(ksuid.timestamp_raw()) + KSUID_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_when_it_was_made() {
        let time = Timestamp::from_second(1_795_347_644).unwrap();
        let id = at(time);
        assert_eq!(id.len(), 27);
        assert_eq!(made_in(&id), Some(1_795_347_644));
        assert_ne!(id, at(time));
    }

    #[test]
    fn reads_those_of_choria() {
        assert_eq!(made_in("3MScw6FciyQvaNKhi4NTbHiSZTx"), Some(1_795_347_644));
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "vector",
            "3MScw6FciyQvaNKhi4NTbHiSZT",
            "3MScw6FciyQvaNKhi4NTbHiSZT-",
            "zzzzzzzzzzzzzzzzzzzzzzzzzzz",
            "3MScw6FciyQvaNKhi4NTbHiSZTé",
        ] {
            assert_eq!(made_in(text), None, "{text}");
        }
    }

    #[test]
    fn times_outside_are_moved_inside() {
        assert_eq!(made_in(&at(Timestamp::UNIX_EPOCH)), Some(KSUID_EPOCH));
    }
}
