//! Guards: rules of a site that hold for every request before any authorizer is asked, whatever a token says.
//!
//! They only take away. Each that does not hold is named, with what is missing, so that a caller need not try one after the other.

use std::time::Duration;

use aaa_core::decision::Decision;
use aaa_core::duration;
use aaa_core::filter::Filter;
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use crate::pattern::Pattern;
use crate::{Authorizer, Look, Question};

/// The minutes of a day.
const DAY: u16 = 24 * 60;

/// What must hold of a request. The default demands nothing.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    /// Actions (`agent.action`) that are never sent to all nodes of a collective at once.
    pub require_filter: Vec<Pattern>,
    /// The longest time to live of a request.
    pub max_ttl: Option<Duration>,
    /// The collectives that callers are held to. A caller whom several patterns mean is held to each of them; one whom none means
    /// is free.
    pub collectives: Vec<Confinement>,
    /// When things may be done.
    pub business_hours: Option<BusinessHours>,
    /// Agents that nobody may use.
    pub deny_agents: Vec<Pattern>,
}

/// Callers, and the collectives that they may address.
#[derive(Debug, Clone)]
pub struct Confinement {
    /// Whom it means.
    pub callers: Pattern,
    /// The names of the collectives.
    pub collectives: Vec<String>,
}

/// The hours of the week at which certain actions may be asked for.
#[derive(Debug, Clone)]
pub struct BusinessHours {
    /// Whose clock counts.
    pub zone: TimeZone,
    /// The days, as that clock has them.
    pub days: Vec<Weekday>,
    /// The time of those days.
    pub hours: Hours,
    /// The actions (`agent.action`) that are meant.
    pub actions: Vec<Pattern>,
}

/// A part of a day: from a minute on until before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    to: u16,
}

impl Hours {
    /// From `08:00` until before `18:00`, say; `24:00` is the end of the day. `None` when one is no such time, or nothing lies between.
    pub fn read(from: &str, to: &str) -> Option<Self> {
        let (from, to) = (minutes(from)?, minutes(to)?);
        (from < to).then_some(Self { from, to })
    }
}

/// The minutes since midnight of a time such as `08:00`.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let two = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        two.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY).then_some(all)
}

impl BusinessHours {
    /// Whether it is one of the hours.
    fn hold(&self, now: Timestamp) -> bool {
        let local = self.zone.to_datetime(now);
        let minute =
            u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        self.days.contains(&local.weekday()) && (self.hours.from..self.hours.to).contains(&minute)
    }

    /// `mon tue, 08:00 to 18:00 Europe/Malta`.
    fn describe(&self) -> String {
        let days: Vec<&str> = self.days.iter().copied().map(day_name).collect();
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!(
            "{}, {} to {} {}",
            days.join(" "),
            time(self.hours.from),
            time(self.hours.to),
            self.zone.iana_name().unwrap_or("UTC"),
        )
    }
}

/// The days of the week by their names in settings.
pub const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

fn day_name(day: Weekday) -> &'static str {
    DAYS.iter()
        .find(|(_, known)| *known == day)
        .map_or("", |(name, _)| name)
}

/// A guard that does not hold: its setting, and what is missing.
struct Broken {
    guard: &'static str,
    missing: String,
}

impl Guards {
    /// Whether there is nothing to hold.
    pub fn is_empty(&self) -> bool {
        self.require_filter.is_empty()
            && self.max_ttl.is_none()
            && self.collectives.is_empty()
            && self.business_hours.is_none()
            && self.deny_agents.is_empty()
    }

    /// Those that do not hold.
    fn broken(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Vec<Broken> {
        let request = question.request;
        let action = format!("{}.{}", request.agent(), question.action);
        let means = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(&action));
        let mut broken = Vec::new();
        let mut look = |guard: &'static str, holds: bool, missing: &dyn Fn() -> String| {
            let missing = (!holds).then(missing);
            seen(&Look {
                rule: guard,
                text: &"",
                decided: !holds,
                found: &missing.as_deref().unwrap_or("holds"),
            });
            broken.extend(missing.map(|missing| Broken { guard, missing }));
        };
        if !self.deny_agents.is_empty() {
            let mut denied = self.deny_agents.iter();
            let holds = !denied.any(|agent| agent.matches(request.agent()));
            look("deny_agents", holds, &|| {
                "nobody may use this agent".to_owned()
            });
        }
        for Confinement {
            callers,
            collectives,
        } in &self.collectives
        {
            let free = !callers.matches(&question.claims.callerid);
            let holds = free || collectives.iter().any(|one| one == request.collective());
            look("collectives", holds, &|| {
                format!("needs one of the collectives {}", collectives.join(", "))
            });
        }
        if let Some(longest) = self.max_ttl {
            let holds = !u64::try_from(request.ttl()).is_ok_and(|ttl| ttl > longest.as_secs());
            look("max_ttl", holds, &|| {
                format!("needs a ttl of {} at most", duration::human(longest))
            });
        }
        if let Some(hours) = &self.business_hours {
            let holds = !means(&hours.actions) || hours.hold(question.now);
            look("business_hours", holds, &|| {
                format!("only {}", hours.describe())
            });
        }
        if !self.require_filter.is_empty() {
            let holds = !means(&self.require_filter) || narrows(request.filter());
            look("require_filter", holds, &|| {
                "needs a filter: a fact, a class, an identity or a compound one".to_owned()
            });
        }
        broken
    }
}

impl Authorizer for Guards {
    fn name(&self) -> &'static str {
        "guards"
    }

    fn authorize(&self, question: &Question<'_>, seen: &mut dyn FnMut(&Look<'_>)) -> Decision {
        let broken = self.broken(question, seen);
        let Some(first) = broken.first() else {
            return Decision::allow("guards");
        };
        let all: Vec<String> = broken
            .iter()
            .map(|Broken { guard, missing }| format!("{guard}: {missing}"))
            .collect();
        Decision::Deny {
            rule: first.guard.into(),
            hint: Some(all.join("; ")),
        }
    }
}

/// Whether a filter can leave out a node. The agent's name is in every request, and an empty compound expression asks for nothing.
pub(crate) fn narrows(filter: &Filter) -> bool {
    let says_something = |text: &String| !text.trim().is_empty();
    !filter.fact.is_empty()
        || filter.cf_class.iter().any(says_something)
        || filter.identity.iter().any(says_something)
        || filter
            .compound
            .iter()
            .flatten()
            .any(|part| part.get("expr").is_some_and(says_something))
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
