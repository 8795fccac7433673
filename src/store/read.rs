//! Reading rows and events: each query once for both databases.

use std::num::NonZeroU32;

use sqlx::{Error, SqlStr};

use super::bind::Bind;
use super::database_row::DatabaseRow;
use super::queries::Queries;
use super::rows::{EventRow, TableRow};
use super::search::{Search, end_of};
use super::{Store, StoreError};
use crate::clerk::tables::users;
use crate::clerk::{ClerkId, EventId, EventType, SignedEvent};

impl Store {
    /// The rows that a query returns, each read by `read`.
    pub(super) async fn query<T>(
        &self,
        statement: impl Fn(&Queries) -> &SqlStr,
        binds: &[Bind<'_>],
        read: impl Fn(&DatabaseRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, StoreError> {
        self.query_statement(statement(self.queries()).clone(), binds, read)
            .await
    }

    pub(super) async fn query_statement<T>(
        &self,
        statement: SqlStr,
        binds: &[Bind<'_>],
        read: impl Fn(&DatabaseRow) -> Result<T, Error>,
    ) -> Result<Vec<T>, StoreError> {
        let rows: Vec<_> = match self {
            Self::Postgres(store) => {
                let rows = store.query(statement, binds).await?;
                rows.into_iter().map(DatabaseRow::Postgres).collect()
            }
            Self::Sqlite(store) => {
                let rows = store.query(statement, binds).await?;
                rows.into_iter().map(DatabaseRow::Sqlite).collect()
            }
        };
        let read: Result<_, _> = rows.iter().map(read).collect();
        read.map_err(|error| self.error(error))
    }

    /// One user. Returns `None` if there is no row.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn user(&self, id: &ClerkId) -> Result<Option<TableRow>, StoreError> {
        self.row(&users::TABLE, id).await
    }

    /// Whether many users begin with what was typed.
    pub(super) async fn is_common(&self, search: &Search) -> Result<bool, StoreError> {
        let binds = search.binds_of_count(matches!(self, Self::Sqlite(_)));
        let answer = self.query(
            |sql| &sql.search_is_common,
            &binds,
            |row| row.get("is_common"),
        );
        Ok(first(answer.await?) == Some(true))
    }

    /// One row of `events`, with its payload. Returns `None` if there is none.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn event(&self, id: &EventId) -> Result<Option<EventRow>, StoreError> {
        let rows = self
            .query(|sql| &sql.event, &[id.as_str().into()], EventRow::read)
            .await?;
        self.check_visible("events", rows).await.map(first)
    }

    /// Events by their IDs, in no order, each with its payload unless that has more than
    /// `payload_max` bytes.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn events_by_id(
        &self,
        ids: &[EventId],
        payload_max: u32,
    ) -> Result<Vec<EventRow>, StoreError> {
        let binds = [texts(ids), payload_max.into()];
        self.query(|sql| &sql.events_by_id, &binds, EventRow::read)
            .await
    }

    /// Events whose ID begins with this text, by ID, without their payloads.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn events_that_begin(
        &self,
        beginning: &str,
        limit: NonZeroU32,
    ) -> Result<Vec<EventRow>, StoreError> {
        if EventId::new(beginning).is_none() {
            return Ok(Vec::new());
        }
        let end = end_of(beginning);
        let binds = [beginning.into(), (&*end).into(), limit.get().into()];
        self.query(|sql| &sql.events_that_begin, &binds, EventRow::read)
            .await
    }

    /// The events with these IDs whose payloads are kept and have at most `bytes_max` bytes.
    pub(super) async fn payloads(
        &self,
        ids: &[EventId],
        bytes_max: i64,
    ) -> Result<Vec<SignedEvent>, StoreError> {
        let read = |row: &DatabaseRow| {
            Ok(SignedEvent::restored(
                row.event_id()?,
                EventType::named(row.get("event_type")?),
                row.required_time("sent_at")?.0,
                row.required_time("received_at")?.0,
                row.get::<Vec<u8>>("payload")?.into(),
            ))
        };
        self.query(|sql| &sql.payloads, &[texts(ids), bytes_max.into()], read)
            .await
    }

    /// How many events of the user are kept, and how many of them with a payload that an erasure
    /// would empty.
    pub(super) async fn count_events_of_user(
        &self,
        id: &ClerkId,
    ) -> Result<(u64, u64), StoreError> {
        let read = |row: &DatabaseRow| Ok((row.count("events")?, row.count("payloads")?));
        let binds = [id.as_str().into()];
        let counts = self.query(|sql| &sql.count_events_of_user, &binds, read);
        Ok(first(counts.await?).unwrap_or_default())
    }

    /// How many events are failed, counted up to `limit`.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn failed_count(&self, limit: u32) -> Result<u64, StoreError> {
        let binds = [limit.into()];
        let counts = self.query(|sql| &sql.failed_count, &binds, |row| row.count("events"));
        Ok(first(counts.await?).unwrap_or_default())
    }
}

pub(super) fn read_user(row: &DatabaseRow) -> Result<TableRow, Error> {
    TableRow::read(row, &users::TABLE)
}

pub(super) fn first<T>(rows: Vec<T>) -> Option<T> {
    rows.into_iter().next()
}

pub(super) fn texts(ids: &[EventId]) -> Bind<'_> {
    ids.iter().map(EventId::as_str).collect::<Vec<_>>().into()
}
