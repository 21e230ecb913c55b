//! Lifecycle events, by which `choria tool event` shows who is there: `CloudEvents` 1.0 in JSON.

use aaa_core::clock::SharedClock;
use aaa_core::id;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// It started.
    Startup,
    /// It is still there.
    Alive,
    /// It stops.
    Shutdown,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Alive => "alive",
            Self::Shutdown => "shutdown",
        }
    }

    /// Where it is told.
    pub(super) fn subject(self) -> String {
        format!("choria.lifecycle.event.{}.service_host", self.name())
    }

    /// The event of a service of this name.
    pub(super) fn message(self, identity: &str, clock: &SharedClock) -> Bytes {
        self.at(identity, clock.now()).to_string().into()
    }

    fn at(self, identity: &str, now: Timestamp) -> serde_json::Value {
        let kind = format!("io.choria.lifecycle.v1.{}", self.name());
        let event = id::at(now);
        let mut data = serde_json::Map::new();
        data.insert("protocol".to_owned(), kind.as_str().into());
        data.insert("id".to_owned(), event.as_str().into());
        data.insert("identity".to_owned(), identity.into());
        data.insert("component".to_owned(), "service_host".into());
        data.insert("timestamp".to_owned(), now.as_second().into());
        if self != Self::Shutdown {
            data.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
        }
        json!({
            "specversion": "1.0",
            "id": event,
            "source": "io.choria.lifecycle",
            "type": kind,
            "subject": identity,
            "datacontenttype": "application/json",
            "time": now.to_string(),
            "data": data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_those_of_a_service_host() {
        let now = Timestamp::from_second(1_795_347_644).unwrap();
        let event = Event::Startup.at("aaa.example.net", now);
        assert_eq!(
            Event::Startup.subject(),
            "choria.lifecycle.event.startup.service_host"
        );
        assert_eq!(event["type"], "io.choria.lifecycle.v1.startup");
        assert_eq!(event["time"], "2026-11-22T11:40:44Z");
        let data = &event["data"];
        assert_eq!(data["protocol"], event["type"]);
        assert_eq!(data["id"], event["id"]);
        assert_eq!(data["timestamp"], 1_795_347_644);
        assert_eq!(data["version"], env!("CARGO_PKG_VERSION"));
        let shutdown = Event::Shutdown.at("aaa.example.net", now);
        assert!(shutdown["data"].get("version").is_none());
    }
}
