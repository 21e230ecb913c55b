//! What can be said of a value before it is there, as OPA's type checker says it.
//!
//! A type here is never narrower than OPA's of the same expression, so that two which have no value in common here have none in common
//! there.

use std::collections::BTreeMap;
use std::fmt;

use regorus::Value;

/// The most that a type is made of. What would be made of more is only known to be a collection, as types are compared part by part.
const LARGEST: usize = 64;

/// The most alternatives that are told apart.
const MOST_ALTERNATIVES: usize = 8;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Null,
    Boolean,
    Number,
    Text,
    /// The elements that are known one by one, and what all behind them are; there are none when that is `None`.
    Array(Vec<Type>, Option<Box<Type>>),
    Set(Box<Type>),
    /// The members that are known by their keys, and what all others are; there are none when that is `None`.
    Object(BTreeMap<Value, Type>, Option<Box<(Type, Type)>>),
    /// One of several, none of which is `Any` or has alternatives itself.
    OneOf(Vec<Type>),
}

impl Type {
    pub(super) fn array_of(of: Self) -> Self {
        Self::Array(Vec::new(), Some(Box::new(of)))
    }

    pub(super) fn object_of(key: Self, value: Self) -> Self {
        Self::Object(BTreeMap::new(), Some(Box::new((key, value))))
    }

    /// Of a value that is written out.
    pub(super) fn of_scalar(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Boolean,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::Text,
            _ => Self::Any,
        }
    }

    /// Either of two.
    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        let mut all: Vec<Self> = Vec::new();
        for one in self
            .into_alternatives()
            .into_iter()
            .chain(other.into_alternatives())
        {
            if all.contains(&one) {
                continue;
            }
            match one {
                Self::Any => return Self::Any,
                // OPA makes one of such objects.
                Self::Object(fields, Some(rest)) if fields.is_empty() => {
                    if let Some(known) = all.iter_mut().find_map(Self::open_object) {
                        known.0 = std::mem::replace(&mut known.0, Self::Any).or(rest.0);
                        known.1 = std::mem::replace(&mut known.1, Self::Any).or(rest.1);
                    } else {
                        all.push(Self::Object(fields, Some(rest)));
                    }
                }
                one => all.push(one),
            }
        }
        match all.pop() {
            Some(only) if all.is_empty() => only,
            Some(last) if all.len() < MOST_ALTERNATIVES => {
                all.push(last);
                Self::OneOf(all).bounded()
            }
            _ => Self::Any,
        }
    }

    fn into_alternatives(self) -> Vec<Self> {
        match self {
            Self::OneOf(all) => all,
            one => vec![one],
        }
    }

    /// What the members of an object are of which none is known by its key.
    fn open_object(&mut self) -> Option<&mut (Self, Self)> {
        match self {
            Self::Object(fields, Some(rest)) if fields.is_empty() => Some(rest),
            _ => None,
        }
    }

    /// The same, or less where that would be too much to look at again and again.
    #[must_use]
    pub(super) fn bounded(self) -> Self {
        if self.size(LARGEST).is_some() {
            return self;
        }
        match self {
            Self::Array(..) => Self::array_of(Self::Any),
            Self::Set(_) => Self::Set(Box::new(Self::Any)),
            Self::Object(..) => Self::object_of(Self::Any, Self::Any),
            _ => Self::Any,
        }
    }

    /// What is left of so much after this type; `None` when it is more.
    fn size(&self, left: usize) -> Option<usize> {
        let left = left.checked_sub(1)?;
        let each = |left: usize, one: &Self| one.size(left);
        match self {
            Self::Array(items, rest) => items.iter().chain(rest.as_deref()).try_fold(left, each),
            Self::OneOf(all) => all.iter().try_fold(left, each),
            Self::Set(of) => of.size(left),
            Self::Object(fields, rest) => {
                let rest = rest.iter().flat_map(|rest| [&rest.0, &rest.1]);
                fields.values().chain(rest).try_fold(left, each)
            }
            _ => Some(left),
        }
    }

    pub(super) fn alternatives(&self) -> &[Self] {
        match self {
            Self::OneOf(all) => all,
            one => std::slice::from_ref(one),
        }
    }

    /// Whether a value can be of both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) | (_, Self::Any) => true,
            (Self::OneOf(_), _) | (_, Self::OneOf(_)) => self
                .alternatives()
                .iter()
                .any(|one| other.alternatives().iter().any(|other| one.meets(other))),
            (Self::Array(items, rest), Self::Array(others, others_rest)) => {
                let at = |items: &[Self], rest: &Option<Box<Self>>, place: usize| {
                    items.get(place).or(rest.as_deref()).cloned()
                };
                (0..items.len().max(others.len())).all(|place| {
                    match (at(items, rest, place), at(others, others_rest, place)) {
                        (Some(one), Some(other)) => one.meets(&other),
                        _ => false,
                    }
                }) && both_meet(rest.as_deref(), others_rest.as_deref())
            }
            (Self::Set(one), Self::Set(other)) => one.meets(other),
            (Self::Object(fields, rest), Self::Object(others, others_rest)) => {
                let open = rest.is_some() || others_rest.is_some();
                let there = |fields: &BTreeMap<Value, Self>, other: &Self| {
                    fields.iter().all(|(key, one)| match other.member(key) {
                        Some(other) => one.meets(&other),
                        None => open,
                    })
                };
                let value =
                    |rest: &'_ Option<Box<(Self, Self)>>| rest.as_ref().map(|rest| rest.1.clone());
                there(fields, other)
                    && there(others, self)
                    && both_meet(value(rest).as_ref(), value(others_rest).as_ref())
            }
            (one, other) => one == other,
        }
    }

    /// Whether this is a set or an object for sure, and the other may be the other of the two.
    pub(super) fn may_mix(&self, other: &Self) -> bool {
        let mut other = other.alternatives().iter();
        match self {
            Self::Set(_) => other.any(|other| matches!(other, Self::Any | Self::Object(..))),
            Self::Object(..) => other.any(|other| matches!(other, Self::Any | Self::Set(_))),
            _ => false,
        }
    }

    /// What stands at places of a collection; `None` for what has no places.
    pub(super) fn keys(&self) -> Option<Self> {
        match self {
            Self::Any => Some(Self::Any),
            Self::Array(..) => Some(Self::Number),
            Self::Set(of) => Some(of.as_ref().clone()),
            Self::Object(fields, rest) => {
                let known = fields.keys().map(Self::of_scalar);
                known
                    .chain(rest.as_ref().map(|rest| rest.0.clone()))
                    .reduce(Self::or)
            }
            Self::OneOf(all) => all.iter().filter_map(Self::keys).reduce(Self::or),
            _ => None,
        }
    }

    /// What a collection is made of; `None` for what is none.
    pub(super) fn values(&self) -> Option<Self> {
        match self {
            Self::Any => Some(Self::Any),
            Self::Array(items, rest) => items
                .iter()
                .chain(rest.as_deref())
                .cloned()
                .reduce(Self::or),
            Self::Set(of) => Some(of.as_ref().clone()),
            Self::Object(fields, rest) => {
                let rest = rest.as_ref().map(|rest| rest.1.clone());
                fields.values().cloned().chain(rest).reduce(Self::or)
            }
            Self::OneOf(all) => all.iter().filter_map(Self::values).reduce(Self::or),
            _ => None,
        }
    }

    /// What stands at this place; `None` where nothing ever does.
    pub(super) fn member(&self, key: &Value) -> Option<Self> {
        match self {
            Self::Any => Some(Self::Any),
            Self::Array(items, rest) => {
                let Value::Number(number) = key else {
                    return None;
                };
                let place = usize::try_from(number.as_i64()?).ok()?;
                items.get(place).or(rest.as_deref()).cloned()
            }
            Self::Set(of) => of
                .meets(&Self::of_scalar(key))
                .then(|| Self::of_scalar(key)),
            Self::Object(fields, rest) => fields.get(key).cloned().or_else(|| {
                let (keys, value) = rest.as_deref()?;
                keys.meets(&Self::of_scalar(key)).then(|| value.clone())
            }),
            Self::OneOf(all) => all
                .iter()
                .filter_map(|one| one.member(key))
                .reduce(Self::or),
            _ => None,
        }
    }
}

fn both_meet(one: Option<&Type>, other: Option<&Type>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.meets(other),
        _ => true,
    }
}

impl Type {
    /// What it is by itself, and what several of it are.
    fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::Any | Self::OneOf(_) => ("anything", ""),
            Self::Null => ("null", ""),
            Self::Boolean => ("a boolean", " of booleans"),
            Self::Number => ("a number", " of numbers"),
            Self::Text => ("a text", " of texts"),
            Self::Array(..) => ("an array", " of arrays"),
            Self::Set(_) => ("a set", " of sets"),
            Self::Object(..) => ("an object", " of objects"),
        }
    }

    /// With what a collection is made of.
    fn described(&self) -> String {
        let parts = match self {
            Self::Array(items, _) if !items.is_empty() => {
                let kinds: Vec<_> = items.iter().map(|item| item.kind().0).collect();
                return format!("an array of {}", kinds.join(", "));
            }
            Self::Array(_, Some(of)) | Self::Set(of) => of.kind().1,
            Self::Object(_, Some(rest)) => rest.1.kind().1,
            _ => "",
        };
        format!("{}{parts}", self.kind().0)
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.alternatives().iter().map(Self::described).collect();
        f.write_str(&all.join(" or "))
    }
}
