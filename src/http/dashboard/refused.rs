//! The card of refused deliveries. Pure.

use super::view_models::{When, WithCode};
use crate::clerk::Timestamp;
use crate::format;
use crate::http::deliveries::{Refused, remedy};

/// The deliveries that this process refused.
pub struct RefusedCard {
    pub since: When,
    /// `None` if none was accepted.
    pub last_accepted: Option<When>,
    /// Whether they say that something is set up wrong.
    pub is_alarming: bool,
    pub reasons: Vec<Reason>,
}

/// Those of one reason.
pub struct Reason {
    pub name: String,
    pub count: String,
    pub last: When,
    pub remedy: WithCode,
}

impl RefusedCard {
    /// The card as it looks at `now`, the newest reason first. Returns `None` if none was refused.
    pub fn of(refused: &Refused, now: Timestamp) -> Option<Self> {
        let mut reasons: Vec<_> = refused.by_reason.iter().collect();
        reasons.sort_by_key(|(_, refusals)| std::cmp::Reverse(refusals.last_at));
        let reasons = reasons.into_iter().map(|(name, refusals)| Reason {
            count: format::number(refusals.count),
            last: When::at(refusals.last_at, now),
            remedy: WithCode::of(remedy(name)),
            name: name.clone(),
        });
        (!refused.by_reason.is_empty()).then(|| Self {
            since: When::at(refused.since, now),
            last_accepted: refused.last_accepted_at.map(|time| When::at(time, now)),
            is_alarming: refused.alarming(now).is_some(),
            reasons: reasons.collect(),
        })
    }
}
