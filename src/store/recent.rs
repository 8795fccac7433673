//! What was received lately: outcomes and lag in buckets of time, over one of four ranges.
//!
//! The databases count; these functions combine the counts, once for both. Buckets begin at whole
//! multiples of their length since 1970, so a bucket is the same one in every answer.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::event_status::Status;
use super::time::Time;
use super::{Store, StoreError};
use crate::clerk::Timestamp;

/// How far back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub enum Range {
    /// An hour.
    #[default]
    #[serde(rename = "1h")]
    Hour,
    /// A day.
    #[serde(rename = "24h")]
    Day,
    /// A week.
    #[serde(rename = "7d")]
    Week,
    /// Thirty days.
    #[serde(rename = "30d")]
    Month,
}

impl Range {
    /// Every range, in the order of their length.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// Name, minutes of a bucket, number of buckets, and most events that are counted.
    ///
    /// A million in an hour are 277 per second. Two million take PostgreSQL some seconds, which is
    /// what a query may cost that runs for a fiftieth of the time. If there are more, the newest
    /// describe the present.
    fn row(self) -> (&'static str, i64, i64, u32) {
        match self {
            Self::Hour => ("1h", 1, 60, 1_000_000),
            Self::Day => ("24h", 30, 48, 2_000_000),
            Self::Week => ("7d", 180, 56, 2_000_000),
            Self::Month => ("30d", 720, 60, 2_000_000),
        }
    }

    /// The range as text.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The range with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|range| range.name() == name)
    }

    /// The length of a bucket in milliseconds.
    pub fn bucket_ms(self) -> i64 {
        self.row().1 * 60_000
    }

    fn events_max(self) -> u32 {
        self.row().3
    }

    /// The start of the first bucket. The last one is not over.
    fn since(self, now: Timestamp) -> Timestamp {
        let (bucket_ms, buckets) = (self.bucket_ms(), self.row().2);
        let last = now.ms() / bucket_ms;
        Timestamp::from_ms((last - buckets + 1) * bucket_ms).unwrap_or(now)
    }
}

/// The events received lately, and their outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recent {
    /// How far back was asked for.
    pub range: Range,
    /// The start of the first bucket.
    pub since: Time,
    /// The length of a bucket, in seconds.
    pub seconds: u64,
    /// Every bucket since then, also those without events; the last one is not over.
    pub buckets: Vec<Bucket>,
    /// From receipt to commit, of all of them.
    pub lag: Lag,
    /// Whether more was received than was counted: then `since` is later than was asked for.
    pub capped: bool,
}

/// Events that were received in one bucket of time, by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bucket {
    /// Its start.
    pub at: Time,
    /// How many were applied.
    pub applied: u64,
    /// How many were stale.
    pub stale: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were discarded.
    pub discarded: u64,
    /// From receipt to commit.
    pub lag: Lag,
}

/// Percentiles from receipt to commit in milliseconds, to two digits; null without events. Of
/// events that were applied or stale at the first attempt: what waited for an operator does not
/// describe the service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Lag {
    /// How many events.
    pub count: u64,
    /// The median, in milliseconds.
    pub p50_ms: Option<u64>,
    /// The 95th percentile, in milliseconds.
    pub p95_ms: Option<u64>,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: Option<u64>,
}

/// Events of one bucket with one status and one lag.
struct Group {
    /// The start of the bucket.
    at: Timestamp,
    status: Status,
    /// To two digits; `None` for an event that does not count for the lag.
    lag_ms: Option<u64>,
    count: u64,
}

impl Recent {
    /// From up to `events_max + 1` events, the newest: if there are more, the oldest bucket is not
    /// whole and is left out.
    fn of(range: Range, groups: &[Group], now: Timestamp) -> Self {
        let (bucket_ms, since) = (range.bucket_ms(), range.since(now));
        let counted: u64 = groups.iter().map(|group| group.count).sum();
        let capped = counted > u64::from(range.events_max());
        let oldest = groups.iter().map(|group| group.at.ms()).min();
        let first = oldest
            .filter(|_| capped)
            .map_or(since.ms(), |oldest| oldest + bucket_ms);
        let time = |ms| Time(Timestamp::from_ms(ms).unwrap_or(since));
        let mut buckets: Vec<_> = (first / bucket_ms..=now.ms() / bucket_ms)
            .map(|number| Bucket::empty(time(number * bucket_ms)))
            .collect();
        let mut lags = vec![BTreeMap::new(); buckets.len()];
        for group in groups.iter().filter(|group| group.at.ms() >= first) {
            // Events that were received by a process whose clock is ahead are counted in the last
            // bucket.
            let place = usize::try_from((group.at.ms() - first) / bucket_ms)
                .unwrap_or(0)
                .min(buckets.len().saturating_sub(1));
            let Some(bucket) = buckets.get_mut(place) else {
                continue;
            };
            *bucket.of(group.status) += group.count;
            if let Some(lag_ms) = group.lag_ms {
                *lags[place].entry(lag_ms).or_default() += group.count;
            }
        }
        for (bucket, lags) in buckets.iter_mut().zip(&lags) {
            bucket.lag = Lag::of(std::slice::from_ref(lags));
        }
        Self {
            range,
            since: time(first),
            seconds: bucket_ms.unsigned_abs() / 1000,
            lag: Lag::of(&lags),
            buckets,
            capped,
        }
    }
}

impl Bucket {
    fn empty(at: Time) -> Self {
        Self {
            at,
            applied: 0,
            stale: 0,
            failed: 0,
            discarded: 0,
            lag: Lag::default(),
        }
    }

    fn of(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Applied => &mut self.applied,
            Status::Stale => &mut self.stale,
            Status::Failed => &mut self.failed,
            Status::Discarded => &mut self.discarded,
        }
    }
}

impl Lag {
    /// Computes the percentiles from counts by lag, which come in several parts.
    fn of(parts: &[BTreeMap<u64, u64>]) -> Self {
        let mut counts = BTreeMap::<u64, u64>::new();
        for (lag_ms, count) in parts.iter().flatten() {
            *counts.entry(*lag_ms).or_default() += count;
        }
        let count: u64 = counts.values().sum();
        // The least lag that so many of a hundred do not exceed.
        let percentile = |hundredths: u64| {
            let wanted = (count * hundredths).div_ceil(100);
            let mut seen = 0;
            counts.iter().find_map(|(lag_ms, count)| {
                seen += count;
                (seen >= wanted).then_some(*lag_ms)
            })
        };
        Self {
            count,
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
        }
    }
}

impl Store {
    /// What was received in the range before `now`: the newest 1,000,000 events of an hour, or the
    /// newest 2,000,000 of a longer range, at most. Reads so many rows: to be asked seldom.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn recent(&self, range: Range, now: Timestamp) -> Result<Recent, StoreError> {
        let read = |row: &DatabaseRow| {
            Ok(Group {
                at: row.required_time("bucket")?.0,
                status: row.status()?,
                lag_ms: row.get::<Option<i64>>("lag_ms")?.map(i64::unsigned_abs),
                count: row.count("lines")?,
            })
        };
        let binds = [
            range.since(now).into(),
            (range.events_max() + 1).into(),
            range.bucket_ms().into(),
        ];
        let groups = self.query(|sql| &sql.recent, &binds, read).await?;
        Ok(Recent::of(range, &groups, now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_ms((30_000_000 + minute) * MINUTE_MS).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_ms(at(59).ms() + 1_234).unwrap()
    }

    fn group(minute: i64, lag_ms: u64, count: u64) -> Group {
        Group {
            at: at(minute),
            status: Status::Applied,
            lag_ms: Some(lag_ms),
            count,
        }
    }

    fn hour(groups: &[Group]) -> Recent {
        Recent::of(Range::Hour, groups, now())
    }

    #[test]
    fn every_minute_of_the_hour_is_there() {
        let failed = Group {
            at: at(58),
            status: Status::Failed,
            lag_ms: None,
            count: 4,
        };
        let recent = hour(&[group(0, 2, 3), failed, group(60, 5, 1)]);
        assert_eq!(
            (
                recent.since,
                recent.buckets.len(),
                recent.seconds,
                recent.capped
            ),
            (Time(at(0)), 60, 60, false)
        );
        let buckets = &recent.buckets;
        assert_eq!((buckets[0].at, buckets[0].applied), (Time(at(0)), 3));
        assert_eq!((buckets[58].failed, buckets[58].applied), (4, 0));
        assert_eq!(buckets[59].applied, 1, "a clock that is ahead");
        let one = Lag {
            count: 1,
            p50_ms: Some(5),
            p95_ms: Some(5),
            p99_ms: Some(5),
        };
        assert_eq!(
            (&buckets[59].lag, &buckets[10].lag),
            (&one, &Lag::default())
        );
        assert_eq!(recent.lag.count, 4);
    }

    #[test]
    fn buckets_begin_at_whole_multiples_of_their_length() {
        for (range, length_ms, buckets) in [
            (Range::Hour, 60_000, 60),
            (Range::Day, 1_800_000, 48),
            (Range::Week, 10_800_000, 56),
            (Range::Month, 43_200_000, 60),
        ] {
            // Whenever it is asked, the buckets that both answers have are the same.
            let later = Timestamp::from_ms(now().ms() + length_ms - 1).unwrap();
            let [first, second] = [now(), later].map(|now| Recent::of(range, &[], now));
            assert_eq!(first.buckets.len(), buckets, "{range:?}");
            let start = first.buckets[1].at;
            assert_eq!(start.0.ms() % length_ms, 0, "{range:?}");
            assert!(second.buckets.iter().any(|bucket| bucket.at == start));
            assert_eq!(Range::named(range.name()), Some(range));
        }
        assert_eq!(Range::named("2h"), None);
    }

    #[test]
    fn a_percentile_is_the_least_lag_that_so_many_do_not_exceed() {
        let counts = |pairs: &[(u64, u64)]| Lag::of(&[pairs.iter().copied().collect()]);
        assert_eq!(counts(&[]), Lag::default());
        let even = counts(&(1..=100).map(|ms| (ms, 1)).collect::<Vec<_>>());
        assert_eq!(
            even,
            Lag {
                count: 100,
                p50_ms: Some(50),
                p95_ms: Some(95),
                p99_ms: Some(99)
            }
        );
        let two = counts(&[(1, 99), (900, 1)]);
        assert_eq!((two.p50_ms, two.p99_ms), (Some(1), Some(1)));
        let two = counts(&[(1, 98), (900, 2)]);
        assert_eq!((two.p95_ms, two.p99_ms), (Some(1), Some(900)));
    }

    #[test]
    fn what_is_capped_begins_with_the_first_whole_bucket() {
        let max = u64::from(Range::Hour.events_max());
        let recent = hour(&[group(50, 1, 1), group(51, 1, max)]);
        assert!(recent.capped);
        assert_eq!((recent.since, recent.buckets.len()), (Time(at(51)), 9));
        assert_eq!(recent.lag.count, max);
        // So many in this very minute that no whole one is left.
        let recent = hour(&[group(59, 1, max + 1)]);
        assert_eq!((recent.buckets.len(), recent.lag.count), (0, 0));
    }
}
