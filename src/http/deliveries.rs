//! The deliveries to this process since it started: when the last one was accepted,
//! and which were refused, by reason. In memory alone, in a fixed place for each reason.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Code;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::metrics::{self, EventType, WebhookResult};
use crate::store::Time;

/// A refusal is reported first while it is not older: Svix waits up to ten hours between two tries.
const LATELY_MS: i64 = 24 * 3_600_000;

/// Refusals that a delivery of Clerk's own can only meet while something is set up wrong, each with
/// what is wrong. Others are mostly of strangers who try the URL, or are reported elsewhere.
const SET_UP_WRONG: [(WebhookResult, &str); 3] = [
    (
        WebhookResult::InvalidSignature,
        "their signature does not match",
    ),
    (
        WebhookResult::TimestampOutOfTolerance,
        "their time is too far from the time of this machine",
    ),
    (
        WebhookResult::NotFound,
        "they come to a wrong path, or not by POST",
    ),
];

/// The deliveries to this process, counted.
pub struct Deliveries {
    since: Timestamp,
    /// In milliseconds since 1970; 0 before the first.
    accepted_at: AtomicI64,
    refused: [Counter; WebhookResult::COUNT],
}

#[derive(Default)]
struct Counter {
    count: AtomicU64,
    /// In milliseconds since 1970.
    last_at: AtomicI64,
}

/// Deliveries that this process has refused since it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refused {
    /// When this process started.
    pub since: Time,
    /// When it accepted a delivery last; null if it has accepted none.
    pub last_accepted_at: Option<Time>,
    /// The refused ones, by the code of the answer; `not_found` are signed ones to a wrong path.
    pub by_reason: BTreeMap<String, Refusals>,
}

/// Deliveries that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// When the last of them came.
    pub last_at: Time,
}

impl Default for Deliveries {
    fn default() -> Self {
        Self {
            since: now(),
            accepted_at: AtomicI64::new(0),
            refused: Default::default(),
        }
    }
}

impl Deliveries {
    /// Counts a delivery by its answer, for the metrics too.
    pub fn answered(&self, result: WebhookResult, event_type: EventType) {
        metrics::webhook(result, event_type);
        let now = now().ms();
        if matches!(result, WebhookResult::Queued | WebhookResult::Ignored) {
            self.accepted_at.fetch_max(now, Ordering::Relaxed);
        } else {
            let refused = &self.refused[result as usize];
            refused.count.fetch_add(1, Ordering::Relaxed);
            refused.last_at.fetch_max(now, Ordering::Relaxed);
        }
    }

    /// The refused ones until now.
    pub fn refused(&self) -> Refused {
        let time = |at: &AtomicI64| {
            let ms = Some(at.load(Ordering::Relaxed)).filter(|ms| *ms > 0)?;
            Timestamp::from_ms(ms).map(Time)
        };
        let reasons = WebhookResult::ALL.iter().zip(&self.refused);
        let by_reason = reasons.filter_map(|(reason, refused)| {
            let count = refused.count.load(Ordering::Relaxed);
            let last_at = time(&refused.last_at)?;
            Some((reason.name().to_owned(), Refusals { count, last_at }))
        });
        Refused {
            since: Time(self.since),
            last_accepted_at: time(&self.accepted_at),
            by_reason: by_reason.collect(),
        }
    }
}

impl Refused {
    /// The last refusals that say that something is set up wrong, if none was accepted after them
    /// and they are not old: what is wrong, and these.
    pub fn alarming(&self, now: Timestamp) -> Option<(&str, &'static str, &Refusals)> {
        let reasons = SET_UP_WRONG.iter().filter_map(|(reason, what)| {
            let (reason, refusals) = self.by_reason.get_key_value(reason.name())?;
            Some((&**reason, *what, refusals))
        });
        reasons
            .filter(|(.., refusals)| {
                self.last_accepted_at < Some(refusals.last_at)
                    && now.ms() - refusals.last_at.0.ms() < LATELY_MS
            })
            .max_by_key(|(.., refusals)| refusals.last_at)
    }
}

/// What to do about refusals for this reason; names of settings and paths stand between backticks.
pub fn remedy(reason: &str) -> &'static str {
    match reason {
        "invalid_signature" => {
            "Most often `CLERK_WEBHOOK_SIGNING_SECRET` is not the secret of this endpoint. In Clerk's dashboard open Configure → Webhooks, choose the endpoint, and copy its Signing Secret. Set the variable to it, and send SIGHUP or restart. A proxy that changes the body does the same."
        }
        "not_found" => {
            "These were signed by Clerk. In Clerk's dashboard set the URL of the endpoint to end in `/api/webhooks/clerk`."
        }
        _ => {
            let code = Code::ALL.into_iter().find(|code| code.name() == reason);
            code.map_or("", |code| code.help().1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_alarming_until_a_delivery_is_accepted() {
        let deliveries = Deliveries::default();
        let alarm = || {
            let refused = deliveries.refused();
            let alarm = refused.alarming(now());
            alarm.map(|(reason, _, refusals)| (reason.to_owned(), refusals.count))
        };
        assert_eq!(alarm(), None);
        // A stranger who tries the URL.
        deliveries.answered(WebhookResult::MissingHeader, EventType::OTHER);
        assert_eq!(alarm(), None);
        for _ in 0..2 {
            deliveries.answered(WebhookResult::InvalidSignature, EventType::OTHER);
        }
        assert_eq!(alarm(), Some(("invalid_signature".into(), 2)));
        let mut refused = deliveries.refused();
        let later = Timestamp::from_ms(now().ms() + LATELY_MS).unwrap();
        assert_eq!(refused.alarming(later), None, "a day later");
        deliveries.answered(WebhookResult::Queued, EventType::of("user.created"));
        assert_eq!(alarm(), None);
        assert_eq!(deliveries.refused().by_reason.len(), 2, "they still count");
        refused.last_accepted_at = Some(refused.since);
        let json = serde_json::to_value(&refused).unwrap();
        assert_eq!(serde_json::from_value::<Refused>(json).unwrap(), refused);
    }

    #[test]
    fn every_reason_has_its_remedy() {
        let accepted = [WebhookResult::Queued, WebhookResult::Ignored];
        for reason in WebhookResult::ALL {
            let is_refusal = !accepted.contains(reason) && *reason != WebhookResult::Other;
            assert_eq!(!remedy(reason.name()).is_empty(), is_refusal, "{reason:?}");
        }
    }
}
