//! What clients may take of us.

use std::time::Duration;

use crate::config::Document;

/// Descriptors that are left for files, the log, the broker.
const SPARE_FILES: usize = 64;

/// How many, and how long.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) header: Duration,
    pub(crate) body: Duration,
    pub(crate) idle: Duration,
    pub(crate) drain: Duration,
}

impl Limits {
    /// Reads them; what is wrong goes to the document's problems.
    pub(crate) fn read(document: &Document) -> Self {
        let top = document.top();
        let time = |key: &str, positive: bool| {
            let time = top.duration(key);
            if positive && time == Some(Duration::ZERO) {
                top.problem(key, "wants more than nothing");
            }
            time.unwrap_or(Duration::from_secs(10))
        };
        let connections = top.integer("max_connections").unwrap_or(1);
        let mut connections = usize::try_from(connections).unwrap_or(1);
        if let Some(files) = open_files()
            && connections > files.saturating_sub(SPARE_FILES)
        {
            if top.has("max_connections") {
                top.warn(
                    "max_connections",
                    format!(
                        "{connections} is more than the limit of {files} open files allows; raise LimitNOFILE of the unit, or ulimit -n"
                    ),
                );
            }
            connections = files.saturating_sub(SPARE_FILES).max(1);
        }
        Self {
            connections,
            header: time("header_timeout", true),
            body: time("body_timeout", true),
            idle: time("idle_timeout", true),
            drain: time("drain_timeout", false),
        }
    }

    /// Those of the admin port: whoever monitors needs few connections and is near.
    pub(crate) fn admin() -> Self {
        Self {
            connections: 32,
            header: Duration::from_secs(5),
            body: Duration::from_secs(5),
            idle: Duration::from_mins(1),
            drain: Duration::ZERO,
        }
    }
}

/// The soft limit of open files, where the system tells.
fn open_files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_and_are_checked() {
        let document = Document::parse(
            "a.json",
            br#"{"max_connections": 5, "header_timeout": "0s", "drain_timeout": "0"}"#,
        )
        .unwrap();
        let limits = Limits::read(&document);
        assert_eq!((limits.connections, limits.drain), (5, Duration::ZERO));
        assert_eq!(limits.idle, Duration::from_secs(90));
        assert_eq!(
            document.finish().unwrap_err().to_string(),
            "a.json: 1 problem\n  header_timeout   wants more than nothing"
        );
    }

    #[test]
    fn connections_stay_below_the_limit_of_open_files() {
        let document = Document::parse("a.json", br#"{"max_connections": 1000000}"#).unwrap();
        let limits = Limits::read(&document);
        if open_files().is_some_and(|files| files < 1_000_000) {
            assert!(limits.connections < 1_000_000);
            assert_eq!(document.problems().warnings().len(), 1);
        }
    }
}
