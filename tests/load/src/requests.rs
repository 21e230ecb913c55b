//! Distinct requests of one caller, all of the same length: they differ in their id, in their time (v2) and in their signature,
//! each at a fixed place. The signatures are made in advance, on all cores.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use aaa_core::id;
use aaa_core::key::Ed25519Key;
use aaa_core::request::{PROTOCOL_V1, PROTOCOL_V2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::Version;
use crate::failure::Failure;

/// How long a node may take a request, in seconds: longer than any run, shorter than any signer's limit.
const TTL: u32 = 900;
/// Digits of the nanoseconds of our time.
const NANOS: usize = 19;
/// Digits that tell the ids of one series apart.
const SUFFIX: usize = 8;

/// What the requests of a series have in common.
pub(crate) struct Subject<'a> {
    pub(crate) version: Version,
    /// The caller id of the token.
    pub(crate) caller: &'a str,
    /// The action of agent `puppet`.
    pub(crate) action: &'a str,
}

/// Requests, numbered from 0.
pub(crate) struct Series {
    template: Vec<u8>,
    /// Where in the template the id ends.
    id_end: usize,
    digits: &'static [u8],
    /// Where in the template the time starts, and the time of the first request in nanoseconds; each is one later.
    time: Option<(usize, i64)>,
    signatures: Vec<[u8; 64]>,
}

impl Series {
    /// Signs so many requests, the first of them dated now.
    pub(crate) fn new(
        subject: &Subject<'_>,
        key: &Ed25519Key,
        count: u64,
        now: Timestamp,
    ) -> Result<Arc<Self>, Failure> {
        let mut series = match subject.version {
            Version::V1 => Self::v1(subject, now),
            Version::V2 => Self::v2(subject, now),
        }?;
        let count = usize::try_from(count)
            .ok()
            .filter(|count| *count < 1 << 32)
            .ok_or_else(|| Failure::new("too many requests for one series"))?;
        series.signatures = series.sign(key, count);
        Ok(Arc::new(series))
    }

    fn v1(subject: &Subject<'_>, now: Timestamp) -> Result<Self, Failure> {
        let id = format!("{:016x}{:08x}{:08}", random(), random() >> 32, 0);
        let message = body(subject.action).to_string();
        let request = json!({
            "protocol": PROTOCOL_V1,
            "message": message,
            "envelope": {
                "requestid": id,
                "senderid": "dev1.example.net",
                "callerid": subject.caller,
                "collective": "mcollective",
                "agent": "puppet",
                "ttl": TTL,
                "time": now.as_second(),
                "filter": filter(),
            },
        });
        Self::of(&request, &id, b"0123456789abcdef", None)
    }

    fn v2(subject: &Subject<'_>, now: Timestamp) -> Result<Self, Failure> {
        let id = id::at(now);
        let nanos = i64::try_from(now.as_nanosecond())
            .ok()
            .filter(|nanos| nanos.to_string().len() == NANOS)
            .ok_or_else(|| Failure::new("the clock of this machine is far off"))?;
        let request = json!({
            "protocol": PROTOCOL_V2,
            "message": STANDARD.encode(body(subject.action).to_string()),
            "id": id,
            "sender": "dev1.example.net",
            "caller": subject.caller,
            "collective": "choria",
            "agent": "puppet",
            "ttl": TTL,
            "time": nanos,
            "filter": filter(),
        });
        let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        Self::of(&request, &id, digits, Some(nanos))
    }

    fn of(
        request: &serde_json::Value,
        id: &str,
        digits: &'static [u8],
        nanos: Option<i64>,
    ) -> Result<Self, Failure> {
        let template = request.to_string();
        let place = |text: &str| {
            let text = format!(":{text}");
            template
                .find(&text)
                .map(|at| at + 1)
                .ok_or_else(|| Failure::new("the request has no such member"))
        };
        let id_end = place(&format!("\"{id}\""))? + 1 + id.len();
        let time = match nanos {
            Some(nanos) => Some((place(&nanos.to_string())?, nanos)),
            None => None,
        };
        Ok(Self {
            template: template.into_bytes(),
            id_end,
            digits,
            time,
            signatures: Vec::new(),
        })
    }

    fn sign(&self, key: &Ed25519Key, count: usize) -> Vec<[u8; 64]> {
        let mut signatures = vec![[0; 64]; count];
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let share = count.div_ceil(cores).max(1);
        thread::scope(|scope| {
            for (place, part) in signatures.chunks_mut(share).enumerate() {
                scope.spawn(move || {
                    let mut request = self.template.clone();
                    for (number, signature) in (place * share..).zip(part) {
                        self.render(number as u64, &mut request);
                        *signature = key.sign(&request);
                    }
                });
            }
        });
        signatures
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.signatures.len() as u64
    }

    /// One of the requests, to be made another one with [`Series::render`].
    pub(crate) fn template(&self) -> Vec<u8> {
        self.template.clone()
    }

    /// Makes a request of this series the one of this number.
    pub(crate) fn render(&self, number: u64, request: &mut [u8]) {
        let base = self.digits.len() as u64;
        let mut left = number;
        let start = self.id_end - SUFFIX;
        if let Some(suffix) = request.get_mut(start..self.id_end) {
            for place in suffix.iter_mut().rev() {
                let digit = usize::try_from(left % base).unwrap_or_default();
                *place = self.digits.get(digit).copied().unwrap_or(b'0');
                left /= base;
            }
        }
        if let Some((at, nanos)) = self.time {
            let mut left = nanos.unsigned_abs().saturating_add(number);
            if let Some(time) = request.get_mut(at..at + NANOS) {
                for place in time.iter_mut().rev() {
                    *place = b'0' + u8::try_from(left % 10).unwrap_or_default();
                    left /= 10;
                }
            }
        }
    }

    /// The signature of a request.
    pub(crate) fn signature(&self, number: u64) -> [u8; 64] {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.signatures.get(number))
            .copied()
            .unwrap_or([0; 64])
    }

    /// The id of a request.
    pub(crate) fn id(&self, number: u64) -> String {
        let mut request = self.template();
        self.render(number, &mut request);
        let length = if self.time.is_some() { 27 } else { 32 };
        let id = request.get(self.id_end - length..self.id_end);
        String::from_utf8_lossy(id.unwrap_or_default()).into_owned()
    }
}

/// What the agent is to do.
fn body(action: &str) -> serde_json::Value {
    json!({"agent": "puppet", "action": action, "data": {"message": "for the maintenance of the load balancers"}})
}

/// The nodes that are meant.
fn filter() -> serde_json::Value {
    json!({
        "fact": [{"fact": "country", "operator": "==", "value": "mt"}],
        "cf_class": ["apache"],
        "agent": ["puppet"],
        "identity": [],
        "compound": [],
    })
}

/// Different in each process, and each time.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use aaa_core::request::{Request, Version as Protocol};

    use super::*;

    fn series(version: Version, count: u64) -> (Arc<Series>, Ed25519Key) {
        let key = Ed25519Key::generate().unwrap();
        let subject = Subject {
            version,
            caller: "up=bench",
            action: "status",
        };
        let now = Timestamp::from_second(1_795_347_644).unwrap();
        (Series::new(&subject, &key, count, now).unwrap(), key)
    }

    #[test]
    fn every_request_is_one_of_its_own_and_signed() {
        for (version, protocol) in [(Version::V1, Protocol::V1), (Version::V2, Protocol::V2)] {
            let (series, key) = series(version, 300);
            let mut ids = HashSet::new();
            let mut times = HashSet::new();
            let mut bytes = series.template();
            for number in 0..series.count() {
                series.render(number, &mut bytes);
                assert!(key.public().verify(&bytes, &series.signature(number)));
                let request = Request::parse(&bytes).unwrap();
                assert_eq!(request.version(), protocol);
                assert_eq!(request.id(), series.id(number));
                assert_eq!(request.time().as_second(), 1_795_347_644);
                assert_eq!(request.agent_action(), "puppet.status");
                ids.insert(request.id().to_owned());
                times.insert(request.time());
            }
            assert_eq!(ids.len(), 300);
            assert_eq!(times.len(), if version == Version::V2 { 300 } else { 1 });
        }
    }

    #[test]
    fn ids_have_the_form_of_their_version() {
        let (v1, _) = series(Version::V1, 1);
        assert_eq!(v1.id(0).len(), 32);
        assert!(v1.id(0).bytes().all(|b| b.is_ascii_hexdigit()));
        let (v2, _) = series(Version::V2, 1);
        assert_eq!(id::made_in(&v2.id(123_456)), Some(1_795_347_644));
    }

    #[test]
    fn two_series_share_no_id() {
        let (one, _) = series(Version::V1, 1);
        let (other, _) = series(Version::V1, 1);
        assert_ne!(one.id(0), other.id(0));
    }
}
