//! Guessing passwords is slow: after some failures each further attempt has to wait, twice as long each time.
//!
//! Failures are counted for the name, whoever has it or not, and for the address that they come from. Who has logged in from an
//! address before is *known* there: attempts with their name from that address have a count of their own, so that what others do
//! elsewhere, or under other names from the same address, does not keep them out.
//!
//! An attempt is counted when it begins and taken back when it was right. A thousand guesses that arrive together so are a
//! thousand guesses, and not one. Names and addresses are kept as keyed digests, in tables that have an end.

mod settings;
mod table;

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aaa_api::error::ApiError;
use aaa_core::clock::SharedClock;
use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};

use crate::meter::Meter;

pub(crate) use settings::Rules;
pub use settings::{SECTION, SHARED_NETWORK, THROTTLE};

use table::{Count, Table, Wait};

/// Holds back those who guess.
pub(crate) struct Throttle {
    rules: ArcSwap<Rules>,
    /// Digests differ in each process, so that nobody can prepare names that meet in a table.
    seed: RandomState,
    accounts: Table,
    addresses: Table,
    /// Names with the addresses at which they are known.
    known: Table,
    clock: SharedClock,
    meter: Meter,
}

/// What an attempt was held back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The failures under this name.
    Account,
    /// The failures from this address.
    Address,
}

impl Cause {
    /// The label in metrics.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Address => "address",
        }
    }
}

/// What came of an attempt that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempted {
    /// They are who they say.
    Right,
    /// It was a guess.
    Wrong,
    /// It said nothing about the password: nobody could be asked, or it was right and something else is missing.
    Neither,
}

/// An attempt that was let through. Dropped without a word it counts as wrong: whoever hangs up has guessed too.
pub(crate) struct Permit<'a> {
    throttle: &'a Throttle,
    places: Places,
    settled: bool,
}

/// Where an attempt is counted.
#[derive(Clone, Copy, Default)]
struct Places {
    account: Option<u64>,
    address: Option<u64>,
    pair: Option<u64>,
    /// Whether the name is known at the address.
    known: bool,
}

impl Throttle {
    pub(crate) fn new(rules: Rules, clock: SharedClock, meter: Meter) -> Self {
        meter.begin_throttle([Cause::Account, Cause::Address].map(Cause::label));
        Self {
            rules: ArcSwap::from_pointee(rules),
            seed: RandomState::new(),
            accounts: Table::new(),
            addresses: Table::new(),
            known: Table::new(),
            clock,
            meter,
        }
    }

    /// Takes over other rules. What was counted stays.
    pub(crate) fn replace(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Lets an attempt through, or says when to come back. An empty name is counted for its address alone.
    pub(crate) fn admit(
        &self,
        username: &str,
        address: Option<IpAddr>,
    ) -> Result<Permit<'_>, ApiError> {
        let rules = self.rules.load();
        let now = self.clock.now();
        let mut permit = Permit {
            throttle: self,
            places: Places::default(),
            settled: false,
        };
        if !rules.enabled {
            permit.settled = true;
            return Ok(permit);
        }
        let places = self.places(&rules, username, address, now);
        let own = Count {
            attempts: rules.account_attempts,
            delays: rules.delays,
        };
        if let (true, Some(pair)) = (places.known, places.pair) {
            self.count(Cause::Account, &self.known, pair, own, now)?;
            permit.places.pair = Some(pair);
            permit.places.known = true;
        } else {
            permit.places.pair = places.pair;
            if let Some(account) = places.account {
                self.count(Cause::Account, &self.accounts, account, own, now)?;
                permit.places.account = Some(account);
            }
            let attempts = address.and_then(|address| rules.attempts_from(address));
            if let (Some(address), Some(attempts)) = (places.address, attempts) {
                let count = Count {
                    attempts,
                    delays: rules.delays,
                };
                if let Err(error) = self.count(Cause::Address, &self.addresses, address, count, now)
                {
                    // It was not tried, so it is not held against the name.
                    permit.settle(Attempted::Neither);
                    return Err(error);
                }
                permit.places.address = Some(address);
            }
        }
        Ok(permit)
    }

    fn places(
        &self,
        rules: &Rules,
        username: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Places {
        let address = address.map(network);
        let named = !username.is_empty();
        // A directory may take a name in any case, and is not to be guessed at in each of them.
        let username = username.to_lowercase();
        let username = username.as_str();
        let pair = address
            .filter(|_| named)
            .map(|address| self.seed.hash_one(("pair", username, address)));
        Places {
            account: named.then(|| self.seed.hash_one(("account", username))),
            address: address.map(|address| self.seed.hash_one(("address", address))),
            pair,
            known: pair.is_some_and(|pair| self.known.knows(pair, rules.remember, now)),
        }
    }

    fn count(
        &self,
        cause: Cause,
        table: &Table,
        key: u64,
        count: Count,
        now: Timestamp,
    ) -> Result<(), ApiError> {
        table.begin(key, count, now).map_err(|Wait(wait)| {
            self.meter.throttled(cause.label());
            // Neither for whom nor where: the answer is the same for names that nobody has.
            ApiError::too_many_requests(
                "too many logins failed; wait before you try again, and look that the password is right",
                wait,
            )
        })
    }

    /// Names, addresses and known names that are kept now.
    #[cfg(test)]
    fn kept(&self) -> (usize, usize, usize) {
        (self.accounts.len(), self.addresses.len(), self.known.len())
    }
}

impl Permit<'_> {
    /// Says what came of the attempt.
    pub(crate) fn settle(mut self, attempted: Attempted) {
        self.end(attempted);
    }

    fn end(&mut self, attempted: Attempted) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let throttle = self.throttle;
        let rules = throttle.rules.load();
        let now = throttle.clock.now();
        let Places {
            account,
            address,
            pair,
            known,
        } = self.places;
        for (table, key) in [
            (&throttle.accounts, account),
            (&throttle.addresses, address),
            (&throttle.known, pair.filter(|_| known)),
        ] {
            let Some(key) = key else { continue };
            match attempted {
                Attempted::Wrong => table.failed(key, rules.delays, now),
                Attempted::Right | Attempted::Neither => table.take_back(key),
            }
        }
        if let (Attempted::Right, Some(pair)) = (attempted, pair) {
            throttle.known.remember(pair, rules.delays, now);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.end(Attempted::Wrong);
    }
}

/// What counts as one address: IPv4 as it is, of IPv6 the half that a provider gives to one customer at least.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address) >> 64 << 64,
    }
}

/// How long failures hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delays {
    /// After the first failure too many.
    pub(crate) first: Duration,
    /// The longest.
    pub(crate) longest: Duration,
    /// After this time without a failure all is forgotten.
    pub(crate) forget: Duration,
}

impl Delays {
    /// The delay after so many failures beyond those that are free; none for the last free one.
    fn after(self, beyond: u32) -> Duration {
        match beyond.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => self
                .first
                .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(self.longest),
        }
    }
}

/// A duration for the arithmetic of timestamps.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
