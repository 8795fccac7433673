//! The change feed: what applications read of the changes of rows.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::Serialize;
use sqlx::Error;
use utoipa::ToSchema;

use super::database_row::{DatabaseRow, decode};
use super::read::first;
use super::time::Time;
use super::{Store, StoreError, dispatch};
use crate::clerk::{ChangeKind, ClerkId, Table, Timestamp};

/// A change of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ChangeRow {
    /// Ascending. Of two changes of one row the later one has the greater.
    pub id: i64,
    /// The table of the row, as it is called in the database.
    pub table_name: String,
    /// The row's Clerk ID.
    pub clerk_id: String,
    /// What happened to the row.
    pub change: ChangeKind,
    /// The names of the columns that changed; never a value.
    pub fields: Vec<String>,
    /// The event that changed the row; null if no event did.
    pub event_id: Option<String>,
    /// When the row was changed.
    pub committed_at: Time,
}

impl ChangeRow {
    fn read(row: &DatabaseRow) -> Result<Self, Error> {
        let change = ChangeKind::named(row.get("change")?);
        let fields: &str = row.get("fields")?;
        Ok(Self {
            id: row.get("id")?,
            table_name: row.get("table_name")?,
            clerk_id: row.get("clerk_id")?,
            change: change.ok_or_else(|| decode("change", "it has no name that is known"))?,
            fields: serde_json::from_str(fields).map_err(|error| decode("fields", error))?,
            event_id: row.get("event_id")?,
            committed_at: row.required_time("committed_at")?,
        })
    }
}

/// Which change a reader has seen last. Its text is opaque to readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeCursor {
    /// The generation of the feed when the cursor was made.
    generation: i64,
    id: i64,
}

impl ChangeCursor {
    /// The cursor of a reader that has seen this change last, of the same feed.
    #[must_use]
    pub fn at(self, change: &ChangeRow) -> Self {
        Self {
            id: change.id,
            ..self
        }
    }
}

impl fmt::Display for ChangeCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, id } = self;
        write!(f, "c.{generation}.{id}")
    }
}

impl FromStr for ChangeCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (generation, id) = text.strip_prefix("c.")?.split_once('.')?;
            let number = |text: &str| {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<i64>().ok().filter(|_| is_number)
            };
            Some(Self {
                generation: number(generation)?,
                id: number(id)?,
            })
        };
        read().ok_or("give a cursor that an answer had, or `latest`")
    }
}

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// With what comes from now on: `latest`.
    Latest,
    /// After a change that it has seen.
    Cursor(ChangeCursor),
}

impl FromStr for ReadFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "latest" => Ok(Self::Latest),
            _ => text.parse().map(Self::Cursor),
        }
    }
}

/// What is wrong with an expired cursor, for a person.
pub const CURSOR_EXPIRED: &str = "changes after this cursor are missing: they are not kept any more, or the feed was off in between. Read the tables again; docs/changes.md says how to start again";

/// What a reader finds after its cursor.
#[derive(Debug, Clone, PartialEq)]
pub enum ChangePage {
    /// The next changes, oldest first.
    Changes {
        /// None if there are no more now.
        changes: Vec<ChangeRow>,
        /// The cursor to continue with. It moves on even if no change is of the table that was asked
        /// for.
        next: ChangeCursor,
        /// Whether these may not be all that were committed: the limit is reached, or a transaction
        /// that is not at its end holds the next ones up. The reader asks again at once.
        has_more: bool,
    },
    /// Changes after the cursor are not kept any more, or were never recorded: the reader must read
    /// the tables again.
    Expired,
}

/// How far the feed is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChangeFeedState {
    /// Whether the last worker that started records changes.
    pub is_on: bool,
    /// When the oldest change that is kept was made; `None` without one.
    pub oldest_kept_at: Option<Time>,
    /// When the newest one was made; `None` without one.
    pub newest_at: Option<Time>,
    /// When the oldest one was made that is not published; `None` if all are.
    pub oldest_unpublished_at: Option<Time>,
}

/// Where the feed begins and ends.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Marks {
    /// The ID of the newest change, committed; 0 without one.
    pub newest: i64,
    /// Changes up to this ID are not kept.
    pub expired: i64,
    /// The changes up to this ID are published.
    pub published: i64,
    /// See `change_generation`; below zero while the feed is off.
    pub generation: i64,
}

/// How far the feed is settled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    /// Every change up to this ID is committed, or never will be.
    pub id: i64,
    /// Whether that is all that was committed when it was asked for.
    pub is_all: bool,
    /// Whether it was more before.
    pub went_back: bool,
}

impl Store {
    /// Whether changes of rows are recorded.
    pub fn has_change_feed(&self) -> bool {
        dispatch!(self, store => store.change_feed)
    }

    /// The changes after a cursor, oldest first, at most `limit`; without one from the oldest that is
    /// kept. Changes of one table or of all. A change that commits later never has an ID at or below
    /// that of a returned cursor, whatever order transactions commit in.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn changes(
        &self,
        after: Option<ChangeCursor>,
        table: Option<&'static Table>,
        limit: NonZeroU32,
    ) -> Result<ChangePage, StoreError> {
        let (settled, is_all) = self.settled().await?;
        let seen = match after {
            Some(cursor) => cursor.id,
            None => self.change_marks().await?.expired,
        };
        let changes = self.changes_between(seen, settled, table, limit).await?;
        // After them: rows that were deleted in between would be missing.
        let marks = self.change_marks().await?;
        let generation = marks.generation.abs();
        // After the newest one is a cursor of a database that was restored since.
        let end = settled.max(marks.newest).max(marks.expired);
        if seen < marks.expired
            || seen > end
            || after.is_some_and(|cursor| cursor.generation != generation)
        {
            return Ok(ChangePage::Expired);
        }
        let is_full = changes.len() >= limit.get() as usize;
        let last = changes.last().filter(|_| is_full).map(|change| change.id);
        let id = last.unwrap_or(settled.max(seen));
        Ok(ChangePage::Changes {
            next: ChangeCursor { generation, id },
            changes,
            has_more: is_full || !is_all,
        })
    }

    /// The cursor to start with; `None` for the oldest change that is kept.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn cursor_from(
        &self,
        from: Option<ReadFrom>,
    ) -> Result<Option<ChangeCursor>, StoreError> {
        Ok(match from {
            None => None,
            Some(ReadFrom::Cursor(cursor)) => Some(cursor),
            Some(ReadFrom::Latest) => {
                let (settled, _) = self.settled().await?;
                let marks = self.change_marks().await?;
                Some(ChangeCursor {
                    generation: marks.generation.abs(),
                    id: settled.max(marks.expired),
                })
            }
        })
    }

    /// The changes of one row, newest first. Readers of the feed may not see the newest ones yet.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn changes_of_row(
        &self,
        table: &Table,
        id: &ClerkId,
        limit: NonZeroU32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let binds = [table.name.into(), id.as_str().into(), limit.get().into()];
        self.query(|sql| &sql.changes_of_row, &binds, ChangeRow::read)
            .await
    }

    /// How far the feed is.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn change_feed_state(&self) -> Result<ChangeFeedState, StoreError> {
        let read = |row: &DatabaseRow| {
            Ok(ChangeFeedState {
                is_on: row.get::<i64>("generation")? > 0,
                oldest_kept_at: row.display_time("oldest_kept_at")?,
                newest_at: row.display_time("newest_at")?,
                oldest_unpublished_at: row.display_time("oldest_unpublished_at")?,
            })
        };
        let states = self.query(|sql| &sql.change_feed_state, &[], read);
        Ok(first(states.await?).unwrap_or_default())
    }

    /// Deletes up to `limit` of the oldest changes that were made before `older_than`, on request
    /// only published ones. Returns how many. A cursor before them has expired.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn prune_changes(
        &self,
        older_than: Timestamp,
        keeps_unpublished: bool,
        limit: u32,
    ) -> Result<u64, StoreError> {
        dispatch!(self, store => store.prune_changes(older_than, keeps_unpublished, limit).await)
    }

    /// The ID up to which every change is committed, or never will be; and whether that is all that
    /// is committed now. If it went back, readers have seen changes that do not exist: every cursor
    /// expires.
    pub(super) async fn settled(&self) -> Result<(i64, bool), StoreError> {
        let settled = match self {
            Self::Postgres(store) => store.settled().await?,
            // Its writers commit one after the other.
            Self::Sqlite(_) => Settled {
                id: self.change_marks().await?.newest,
                is_all: true,
                went_back: false,
            },
        };
        if settled.went_back {
            self.begin_generation(settled.id).await?;
        }
        Ok((settled.id, settled.is_all))
    }

    pub(super) async fn change_marks(&self) -> Result<Marks, StoreError> {
        let read = |row: &DatabaseRow| {
            Ok(Marks {
                newest: row.get("newest")?,
                expired: row.get("expired")?,
                published: row.get("published")?,
                generation: row.get("generation")?,
            })
        };
        let marks = self.query(|sql| &sql.change_marks, &[], read);
        Ok(first(marks.await?).unwrap_or_default())
    }

    /// The changes after one ID, up to another, oldest first.
    pub(super) async fn changes_between(
        &self,
        after: i64,
        until: i64,
        table: Option<&'static Table>,
        limit: NonZeroU32,
    ) -> Result<Vec<ChangeRow>, StoreError> {
        let table = table.map(|table| table.name);
        let binds = [after.into(), until.into(), table.into(), limit.get().into()];
        self.query(|sql| &sql.changes, &binds, ChangeRow::read)
            .await
    }
}
