//! How far the change feed is, as `/api/stats`, the dashboard, the metrics and the command `status`
//! report it. Pure.

use serde::Serialize;
use utoipa::ToSchema;

use crate::clerk::Timestamp;
use crate::store::{ChangeFeedState, Time};

/// How far the change feed is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangeFeedStatus {
    /// Whether the workers record changes: false if the one that started last, or this one, has not
    /// `CHANGE_FEED=on`. Then the feed misses changes.
    pub recording: bool,
    /// When the newest change of a row was made that is kept; null without one.
    pub newest_at: Option<Time>,
    /// When the oldest one was made that is kept; null without one.
    pub oldest_kept_at: Option<Time>,
    /// When the oldest one was made that is not published to RabbitMQ yet; null if all are, and
    /// with the embedded queue, where none is published.
    pub oldest_unpublished_at: Option<Time>,
    /// The age of that change, 0 if all are published; null with the embedded queue.
    pub lag_ms: Option<u64>,
}

/// A lag of publishing that is a warning, in milliseconds: far above what a restart of the broker
/// takes.
const LATE_MS: u64 = 60_000;

impl ChangeFeedStatus {
    /// The state of the feed at `now`; with the embedded queue nothing is published.
    pub fn of(state: &ChangeFeedState, is_published: bool, now: Timestamp) -> Self {
        let oldest = state.oldest_unpublished_at.filter(|_| is_published);
        // The clock of the database may be ahead of this one.
        let age_ms = |oldest: Time| now.ms().saturating_sub(oldest.0.ms()).max(0).unsigned_abs();
        Self {
            recording: state.is_on,
            newest_at: state.newest_at,
            oldest_kept_at: state.oldest_kept_at,
            oldest_unpublished_at: oldest,
            lag_ms: is_published.then(|| oldest.map_or(0, age_ms)),
        }
    }

    /// The oldest change that is not published, and its age in milliseconds. Returns `None` if all
    /// are, or if none ever is.
    pub fn behind(&self) -> Option<(Time, u64)> {
        self.oldest_unpublished_at.zip(self.lag_ms)
    }

    /// The same, if it is so old that somebody should look.
    pub fn late(&self) -> Option<(Time, u64)> {
        self.behind().filter(|(_, lag_ms)| *lag_ms > LATE_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Time {
        Time(Timestamp::from_ms(ms).unwrap())
    }

    #[test]
    fn the_lag_is_the_age_of_the_oldest_change_that_is_not_published() {
        let state = ChangeFeedState {
            is_on: true,
            oldest_kept_at: Some(at(1_000)),
            newest_at: Some(at(90_000)),
            oldest_unpublished_at: Some(at(30_000)),
        };
        let seen_at = |ms| ChangeFeedStatus::of(&state, true, at(ms).0);
        assert_eq!(seen_at(90_000).behind(), Some((at(30_000), 60_000)));
        assert_eq!(seen_at(90_000).late(), None);
        assert_eq!(seen_at(90_001).late(), Some((at(30_000), 60_001)));
        // A clock that is behind.
        assert_eq!(seen_at(20_000).lag_ms, Some(0));
        assert!(seen_at(20_000).recording);
        let published = ChangeFeedState {
            oldest_unpublished_at: None,
            ..state
        };
        let all = ChangeFeedStatus::of(&published, true, at(900_000).0);
        assert_eq!((all.lag_ms, all.behind()), (Some(0), None));
    }

    #[test]
    fn what_is_never_published_is_never_late() {
        let state = ChangeFeedState {
            oldest_unpublished_at: Some(at(1)),
            newest_at: Some(at(2)),
            ..ChangeFeedState::default()
        };
        let embedded = ChangeFeedStatus::of(&state, false, at(900_000).0);
        assert_eq!(
            (
                embedded.oldest_unpublished_at,
                embedded.lag_ms,
                embedded.late()
            ),
            (None, None, None)
        );
        assert_eq!(embedded.newest_at, Some(at(2)));
        assert!(!embedded.recording);
    }
}
