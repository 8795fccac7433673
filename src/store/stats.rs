//! Statistics of the tables: totals, and the failed events. `recent.rs` has what was received lately.
//!
//! The databases count; these functions combine the counts, once for both.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::database_row::DatabaseRow;
use super::event_status::Status;
use super::time::Time;
use super::{Store, StoreError};
use crate::clerk::tables::{self, users};

/// The number of all rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Totals {
    /// Rows of users, deleted ones too.
    pub users: u64,
    /// Users who are deleted.
    pub deleted_users: u64,
    /// Rows of each synced table, by its name.
    pub tables: BTreeMap<&'static str, TableTotals>,
    /// Rows of `events`.
    pub events: u64,
    /// The same by status, with every status.
    pub by_status: BTreeMap<&'static str, u64>,
    /// The same by type and status.
    pub by_type: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

/// The number of rows of a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct TableTotals {
    /// Rows, deleted ones too.
    pub rows: u64,
    /// Rows that are deleted.
    pub deleted_rows: u64,
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

/// Most failed events that are counted.
const FAILED_MAX: u32 = 100_000;

impl Totals {
    /// From the numbers of rows, and of events by status and type.
    fn of(tables: BTreeMap<&'static str, TableTotals>, groups: Vec<(Status, String, u64)>) -> Self {
        let users = tables.get(users::TABLE.name).copied().unwrap_or_default();
        let zeros = Status::ALL.map(|status| (status.as_str(), 0));
        let mut totals = Self {
            users: users.rows,
            deleted_users: users.deleted_rows,
            tables,
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

impl Store {
    /// The number of all rows. Reads whole tables: to be asked seldom.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn totals(&self) -> Result<Totals, StoreError> {
        let read = |row: &DatabaseRow| {
            Ok(TableTotals {
                rows: row.count("rows")?,
                deleted_rows: row.count("deleted_rows")?,
            })
        };
        let mut of_tables = BTreeMap::new();
        for table in tables::ALL {
            let counted = self.query(|sql| &sql.of(table).totals_of_rows, &[], read);
            let counted = counted.await?.first().copied();
            of_tables.insert(table.name, counted.unwrap_or_default());
        }
        let read =
            |row: &DatabaseRow| Ok((row.status()?, row.get("event_type")?, row.count("lines")?));
        let groups = self.query(|sql| &sql.totals, &[], read).await?;
        Ok(Totals::of(of_tables, groups))
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
