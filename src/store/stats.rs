//! Statistics of the tables: totals, the failed events, and the last hour minute by minute.
//!
//! The databases count; these functions combine the counts, once for both.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::event_status::Status;
use super::time::Time;
use super::{Store, StoreError};
use crate::clerk::Timestamp;

/// The number of all rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Totals {
    /// Rows of users, deleted ones too.
    pub users: u64,
    /// Users who are deleted.
    pub deleted_users: u64,
    /// Rows of `events`.
    pub events: u64,
    /// The same by status, with every status.
    pub by_status: BTreeMap<&'static str, u64>,
    /// The same by type and status.
    pub by_type: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

/// The failed events, which wait for an operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failed {
    /// How many.
    pub count: u64,
    /// How many by error code.
    pub by_code: BTreeMap<String, u64>,
    /// When the oldest of them was received.
    pub oldest_received_at: Option<Time>,
    /// Whether there are more than were counted.
    pub capped: bool,
}

/// The events received lately, and their outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recent {
    /// The start of the first minute.
    pub since: Time,
    /// Every minute since then, also those without events; the last one is not over.
    pub minutes: Vec<Minute>,
    /// From receipt to commit, of all of them.
    pub lag: Lag,
    /// The same for every two minutes.
    pub lag_series: Vec<LagSince>,
    /// Whether more was received than was counted: then `since` is later than was asked for.
    pub capped: bool,
}

/// Events that were received in one minute, by outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Minute {
    /// The time.
    pub at: Time,
    /// How many were applied.
    pub applied: u64,
    /// How many were stale.
    pub stale: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were discarded.
    pub discarded: u64,
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

/// The lag of what was received in the minutes from `at` on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LagSince {
    /// The time.
    pub at: Time,
    /// The lag.
    #[serde(flatten)]
    pub lag: Lag,
}

/// Most failed events that are counted.
const FAILED_MAX: u32 = 100_000;

/// Most events of the last hour that are counted: 277 per second. If there are more, the newest
/// million describes the present.
const RECENT_MAX: u32 = 1_000_000;

/// Minutes that `Recent` looks back, the one that is not over among them.
const MINUTES: i64 = 60;

/// Minutes of one point of `lag_series`.
const LAG_STEP: usize = 2;

const MINUTE_MS: i64 = 60_000;

/// The start of the first minute of the last hour.
fn an_hour_before(now: Timestamp) -> Timestamp {
    let minute = now.ms() / MINUTE_MS;
    Timestamp::from_ms((minute - MINUTES + 1) * MINUTE_MS).unwrap_or(now)
}

impl Totals {
    /// From the numbers of rows, and of events by status and type.
    fn of((users, deleted_users): (u64, u64), groups: Vec<(Status, String, u64)>) -> Self {
        let zeros = Status::ALL.map(|status| (status.as_str(), 0));
        let mut totals = Self {
            users,
            deleted_users,
            events: 0,
            by_status: zeros.into(),
            by_type: BTreeMap::new(),
        };
        for (status, event_type, count) in groups {
            let of_type = totals.by_type.entry(event_type).or_default();
            for counts in [&mut totals.by_status, of_type] {
                *counts.entry(status.as_str()).or_default() += count;
            }
            totals.events += count;
        }
        totals
    }
}

impl Failed {
    /// From counts by code, each with the time of the oldest event, of up to `FAILED_MAX + 1` rows:
    /// the last one shows that there are more.
    fn of(groups: Vec<(String, u64, Option<Time>)>) -> Self {
        let count = groups.iter().map(|(_, count, _)| count).sum();
        Self {
            count,
            oldest_received_at: groups.iter().filter_map(|(.., oldest)| *oldest).min(),
            capped: count > u64::from(FAILED_MAX),
            by_code: groups
                .into_iter()
                .map(|(code, count, _)| (code, count))
                .collect(),
        }
    }
}

/// Events of one minute with one status and one lag.
struct RecentGroup {
    /// The start of the minute.
    pub at: Timestamp,
    pub status: Status,
    /// To two digits; `None` for an event that does not count for the lag.
    pub lag_ms: Option<u64>,
    pub count: u64,
}

impl Recent {
    /// From up to `RECENT_MAX + 1` events, the newest: if there are more, the oldest minute is not
    /// whole and is left out.
    fn of(groups: &[RecentGroup], since: Timestamp, now: Timestamp) -> Self {
        let counted: u64 = groups.iter().map(|group| group.count).sum();
        let capped = counted > u64::from(RECENT_MAX);
        let oldest = groups.iter().map(|group| group.at.ms()).min();
        let first = oldest
            .filter(|_| capped)
            .map_or(since.ms(), |oldest| oldest + MINUTE_MS);
        // Events that were received by a process whose clock is ahead are counted in the last
        // minute.
        let last = now.ms() - now.ms() % MINUTE_MS;
        let starts: Vec<i64> = (first / MINUTE_MS..=last / MINUTE_MS)
            .map(|minute| minute * MINUTE_MS)
            .collect();
        let time = |ms| Time(Timestamp::from_ms(ms).unwrap_or(since));
        let quiet = |at| Minute {
            at,
            applied: 0,
            stale: 0,
            failed: 0,
            discarded: 0,
        };
        let mut minutes: Vec<_> = starts.iter().map(|ms| quiet(time(*ms))).collect();
        let mut lags = vec![BTreeMap::new(); minutes.len()];
        for group in groups.iter().filter(|group| group.at.ms() >= first) {
            let place = usize::try_from((group.at.ms() - first) / MINUTE_MS)
                .unwrap_or(0)
                .min(starts.len().saturating_sub(1));
            let Some(minute) = minutes.get_mut(place) else {
                continue;
            };
            *minute.of(group.status) += group.count;
            if let Some(lag_ms) = group.lag_ms {
                *lags[place].entry(lag_ms).or_default() += group.count;
            }
        }
        let lag_series = lags.chunks(LAG_STEP).zip(starts.iter().step_by(LAG_STEP));
        Self {
            since: time(first),
            lag_series: lag_series
                .map(|(lags, ms)| LagSince {
                    at: time(*ms),
                    lag: Lag::of(lags),
                })
                .collect(),
            lag: Lag::of(&lags),
            minutes,
            capped,
        }
    }
}

impl Minute {
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
    /// The number of all rows. Reads whole tables: to be asked seldom.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let read = |row: &DatabaseRow| Ok((row.count("rows")?, row.count("deleted_rows")?));
        let rows = self.query(|sql| &sql.totals_of_rows, &[], read).await?;
        let read =
            |row: &DatabaseRow| Ok((row.status()?, row.get("event_type")?, row.count("lines")?));
        let groups = self.query(|sql| &sql.totals, &[], read).await?;
        Ok(Totals::of(
            rows.first().copied().unwrap_or_default(),
            groups,
        ))
    }

    /// The failed events by code, counted up to 100,000.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn failed(&self) -> Result<Failed, StoreError> {
        let read = |row: &DatabaseRow| {
            Ok((
                row.get("code")?,
                row.count("lines")?,
                row.display_time("oldest")?,
            ))
        };
        let binds = [(FAILED_MAX + 1).into()];
        Ok(Failed::of(
            self.query(|sql| &sql.failed, &binds, read).await?,
        ))
    }

    /// The last hour minute by minute, counted up to 1,000,000 events, the newest. Reads so many
    /// rows: to be asked seldom.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn recent(&self, now: Timestamp) -> Result<Recent, StoreError> {
        let since = an_hour_before(now);
        let read = |row: &DatabaseRow| {
            Ok(RecentGroup {
                at: row.required_time("minute")?.0,
                status: row.status()?,
                lag_ms: row.get::<Option<i64>>("lag_ms")?.map(i64::unsigned_abs),
                count: row.count("lines")?,
            })
        };
        let binds = [since.into(), (RECENT_MAX + 1).into()];
        let groups = self.query(|sql| &sql.recent, &binds, read).await?;
        Ok(Recent::of(&groups, since, now))
    }

    /// When the last event was received, of those that are recorded. Returns `None` if none is.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn last_received_at(&self) -> Result<Option<Time>, StoreError> {
        let read = |row: &DatabaseRow| row.display_time("received_at");
        let times = self.query(|sql| &sql.last_received, &[], read).await?;
        Ok(times.first().copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_ms((30_000_000 + minute) * MINUTE_MS).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_ms(at(59).ms() + 1_234).unwrap()
    }

    fn group(minute: i64, lag_ms: u64, count: u64) -> RecentGroup {
        RecentGroup {
            at: at(minute),
            status: Status::Applied,
            lag_ms: Some(lag_ms),
            count,
        }
    }

    #[test]
    fn every_minute_of_the_hour_is_there() {
        let since = an_hour_before(now());
        assert_eq!(since, at(0));
        let failed = RecentGroup {
            at: at(58),
            status: Status::Failed,
            lag_ms: None,
            count: 4,
        };
        let recent = Recent::of(&[group(0, 2, 3), failed, group(60, 5, 1)], since, now());
        assert_eq!(
            (recent.minutes.len(), recent.lag_series.len(), recent.capped),
            (60, 30, false)
        );
        assert_eq!(
            recent.minutes[0],
            Minute {
                at: Time(at(0)),
                applied: 3,
                stale: 0,
                failed: 0,
                discarded: 0
            }
        );
        assert_eq!(
            (recent.minutes[58].failed, recent.minutes[58].applied),
            (4, 0)
        );
        assert_eq!(recent.minutes[59].applied, 1, "a clock that is ahead");
        assert_eq!(
            recent.lag_series[29].lag,
            Lag {
                count: 1,
                p50_ms: Some(5),
                p95_ms: Some(5),
                p99_ms: Some(5)
            }
        );
        assert_eq!(recent.lag_series[10].lag, Lag::default());
        assert_eq!(recent.lag.count, 4);
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
    fn what_is_capped_begins_with_the_first_whole_minute() {
        let recent = Recent::of(
            &[group(50, 1, 1), group(51, 1, u64::from(RECENT_MAX))],
            an_hour_before(now()),
            now(),
        );
        assert!(recent.capped);
        assert_eq!((recent.since, recent.minutes.len()), (Time(at(51)), 9));
        assert_eq!(recent.lag.count, u64::from(RECENT_MAX));
        // So many in this very minute that no whole one is left.
        let recent = Recent::of(
            &[group(59, 1, u64::from(RECENT_MAX) + 1)],
            an_hour_before(now()),
            now(),
        );
        assert_eq!((recent.minutes.len(), recent.lag.count), (0, 0));
    }
}
