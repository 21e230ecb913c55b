//! Whether a command said what the manual says.

use regex::Regex;

/// What is different each time, and what stands in its place.
const VARYING: [(&str, &str); 5] = [
    (
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d{4})?",
        "<time>",
    ),
    (r"\b\d\d:\d\d(:\d\d)?\b", "<time>"),
    (
        r"\b\d+(\.\d+)? (ms|µs|s|min|h|d)( \d+ (s|min|h))?\b",
        "<duration>",
    ),
    (r"\b[0-9a-f]{16,}\b", "<hex>"),
    (r"\b[0-3][0-9A-Za-z]{26}\b", "<id>"),
];

/// Compares lines, with what varies masked on both sides.
pub(crate) struct Likeness(Vec<(Regex, &'static str)>);

impl Likeness {
    pub(crate) fn new() -> Self {
        Self(
            VARYING
                .iter()
                .map(|(pattern, mask)| (Regex::new(pattern).unwrap(), *mask))
                .collect(),
        )
    }

    fn masked(&self, line: &str) -> String {
        let line = line.trim_end().to_owned();
        self.0.iter().fold(line, |line, (pattern, mask)| {
            pattern.replace_all(&line, *mask).into_owned()
        })
    }

    /// Whether these lines are what is expected, all of them or at least from the first on.
    pub(crate) fn holds(&self, expected: &[String], lines: &[String], to_the_end: bool) -> bool {
        let expected: Vec<String> = expected.iter().map(|line| self.masked(line)).collect();
        let lines: Vec<String> = lines.iter().map(|line| self.masked(line)).collect();
        all(&expected, &lines, to_the_end)
    }
}

fn all(expected: &[String], lines: &[String], to_the_end: bool) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, rest) => !to_the_end || rest.is_none(),
        (Some((any, after)), rest) if any == "…" => {
            all(after, lines, to_the_end)
                || rest.is_some_and(|(_, lines)| all(expected, lines, to_the_end))
        }
        (Some((pattern, after)), Some((line, lines))) => {
            one(pattern, line) && all(after, lines, to_the_end)
        }
        (Some(_), None) => false,
    }
}

/// Whether a line is like a pattern in which `…` stands for any text.
fn one(pattern: &str, line: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('…') else {
        return pattern == line;
    };
    let Some(line) = line.strip_prefix(head) else {
        return false;
    };
    let ends = line
        .char_indices()
        .map(|(place, _)| place)
        .chain([line.len()]);
    ends.into_iter().any(|place| one(rest, &line[place..]))
}

#[test]
fn what_differs_is_seen_and_what_varies_is_not() {
    let likeness = Likeness::new();
    let like = |expected: &str, said: &str| {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        likeness.holds(&lines(expected), &lines(said), true)
    };
    assert!(like("until 15:04 (59 min)", "until 08:30 (1 h 2 min)"));
    assert!(like(
        "id 3MScw6FciyQvaNKhi4NTbHiSZTx",
        "id 3Mh4ZCZFxqscW5RVjOPZWl0b495"
    ));
    assert!(like("a…c", "abbc") && like("a\n…\nz", "a\nb\nc\nz") && like("…\nz", "z"));
    assert!(!like("a…c", "abbd") && !like("a\n…\nz", "a\nb") && !like("a", "a\nb"));
    assert!(!like("allow", "deny") && !like("", "something"));
}
