//! Durations as the configuration files of Choria write them: `1h`, `90m`, `1h30m`, `300ms`, `1.5h`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing to read.
    #[error("empty; a duration is a number and a unit, such as 1h, 90m, 1h30m or 300ms")]
    Empty,
    /// A number without a unit, or a unit that nobody knows.
    #[error(
        "{0:?} is not a duration; write a number and a unit (h, m, s, ms, us, ns), such as 1h30m"
    )]
    Malformed(String),
    /// Durations here are never negative.
    #[error("{0:?} is negative; a duration here is zero or more")]
    Negative(String),
    /// More than about 292 years, which is the largest duration of Go.
    #[error("{0:?} is too long")]
    TooLong(String),
}

/// Reads a duration in the notation of Go's `time.ParseDuration`, without negative ones.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed(text.to_owned());
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text.starts_with('-') {
        return Err(DurationError::Negative(text.to_owned()));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(malformed());
    }
    let mut nanos = 0_u128;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(malformed)?;
        let (number, tail) = rest.split_at_checked(end).ok_or_else(malformed)?;
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit_end).ok_or_else(malformed)?;
        let part = scaled(number, unit_nanos(unit).ok_or_else(malformed)?).ok_or_else(malformed)?;
        nanos = nanos.saturating_add(part);
        rest = tail;
    }
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Duration::from_nanos(nanos.unsigned_abs())),
        Err(_) => Err(DurationError::TooLong(text.to_owned())),
    }
}

/// Nanoseconds in one unit.
fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point, and at least one digit) times `unit`, cut to whole nanoseconds.
fn scaled(number: &str, unit: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let digits = |text: &str| -> Option<u128> {
        if text.is_empty() {
            Some(0)
        } else {
            text.parse::<u64>().ok().map(u128::from)
        }
    };
    let mut nanos = digits(whole)?.checked_mul(unit)?;
    // More than 18 digits of a fraction are below a nanosecond of any unit.
    let fraction = fraction.get(..fraction.len().min(18))?;
    if !fraction.is_empty() {
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        nanos = nanos.checked_add(digits(fraction)?.checked_mul(unit)? / scale)?;
    }
    Some(nanos)
}

/// A duration for people: `2 h 5 min`, `59 min`, `41 s`, `300 ms`; at most two units, the smaller one only when it is not zero.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |big: u64, big_unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{big} {big_unit}")
        } else {
            format!("{big} {big_unit} {small} {small_unit}")
        }
    };
    match seconds {
        0 => format!("{} ms", duration.subsec_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, nanos) in [
            ("0", 0),
            ("1h", 3_600_000_000_000),
            ("90m", 5_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("300ms", 300_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5s", 5_000_000_000),
            ("2us3ns", 2_003),
            ("1µs", 1_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest_and_says_why() {
        assert_eq!(parse(""), Err(DurationError::Empty));
        assert_eq!(parse("-1h"), Err(DurationError::Negative("-1h".into())));
        for text in [
            "1",
            "h",
            "1x",
            "1h 2m",
            "+",
            ".",
            ".s",
            "1.2.3s",
            "١h",
            "3600",
            "1d",
            "99999999999999999999h",
        ] {
            assert_eq!(
                parse(text),
                Err(DurationError::Malformed(text.into())),
                "{text}"
            );
        }
        assert_eq!(
            parse("9999999h"),
            Err(DurationError::TooLong("9999999h".into()))
        );
    }

    #[test]
    fn tells_people() {
        for (seconds, text) in [
            (0, "0 ms"),
            (41, "41 s"),
            (3_540, "59 min"),
            (3_661, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }
}
