//! A row of an answer, read in the same way from both databases.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Error, Postgres, Row, Sqlite, Type};

use super::event_status::Status;
use super::time::Time;
use crate::clerk::{ClerkId, Column, EventId, Kind, RowVersion, Timestamp, Value, Version};

/// A row of either database.
pub enum DatabaseRow {
    Postgres(PgRow),
    Sqlite(SqliteRow),
}

impl DatabaseRow {
    /// The value of a column that both databases write alike.
    pub fn get<'r, T>(&'r self, column: &str) -> Result<T, Error>
    where
        T: Decode<'r, Postgres> + Type<Postgres> + Decode<'r, Sqlite> + Type<Sqlite>,
    {
        match self {
            Self::Postgres(row) => row.try_get(column),
            Self::Sqlite(row) => row.try_get(column),
        }
    }

    /// PostgreSQL's times have microseconds; ours are whole milliseconds.
    pub fn time(&self, column: &str) -> Result<Option<Timestamp>, Error> {
        let ms = match self {
            Self::Postgres(row) => row
                .try_get::<Option<DateTime<Utc>>, _>(column)?
                .map(|time| time.timestamp_millis()),
            Self::Sqlite(row) => row.try_get(column)?,
        };
        Ok(ms.and_then(Timestamp::from_ms))
    }

    /// A time for programs.
    pub fn display_time(&self, column: &str) -> Result<Option<Time>, Error> {
        Ok(self.time(column)?.map(Time))
    }

    /// A time that is never null.
    pub fn required_time(&self, column: &str) -> Result<Time, Error> {
        required(self.display_time(column)?, column)
    }

    /// A JSON text.
    pub fn json(&self, column: &str) -> Result<Option<Box<RawValue>>, Error> {
        let text: Option<String> = self.get(column)?;
        let json = text.map(RawValue::from_string).transpose();
        json.map_err(|error| decode(column, error))
    }

    /// A count.
    pub fn count(&self, column: &str) -> Result<u64, Error> {
        Ok(self.get::<i64>(column)?.unsigned_abs())
    }

    /// The status of an event.
    pub fn status(&self) -> Result<Status, Error> {
        required(Status::named(self.get("status")?), "status")
    }

    /// The row's ID.
    pub fn clerk_id(&self) -> Result<ClerkId, Error> {
        required(ClerkId::new(self.get("clerk_id")?), "clerk_id")
    }

    /// The event's ID.
    pub fn event_id(&self) -> Result<EventId, Error> {
        required(EventId::new(self.get("event_id")?), "event_id")
    }

    /// The value of a table's own column.
    pub fn value(&self, column: &Column) -> Result<Value, Error> {
        let name = column.name;
        let value = match column.kind {
            Kind::Text => self
                .get::<Option<String>>(name)?
                .map(|text| Value::Text(text.into())),
            Kind::Json | Kind::Texts => self
                .get::<Option<String>>(name)?
                .map(|text| Value::Json(text.into())),
            Kind::Boolean => self.get::<Option<bool>>(name)?.map(Value::Boolean),
            Kind::Integer => self.get::<Option<i64>>(name)?.map(Value::Integer),
            Kind::Time => self.time(name)?.map(Value::Time),
        };
        Ok(value.unwrap_or_default())
    }

    /// What decides whether a change alters the row.
    pub fn state(&self) -> Result<RowVersion, Error> {
        let event_id = self.get::<Option<&str>>("event_id")?.and_then(EventId::new);
        let times = self.time("updated_at")?.zip(self.time("occurred_at")?);
        Ok(RowVersion {
            version: times
                .zip(event_id)
                .map(|((updated_at, occurred_at), event_id)| Version {
                    updated_at,
                    occurred_at,
                    event_id,
                }),
            deleted_at: self.time("deleted_at")?,
            is_erased: self.get("is_erased")?,
        })
    }
}

/// The value of a column that holds one in every row.
pub fn required<T>(value: Option<T>, column: &str) -> Result<T, Error> {
    value.ok_or_else(|| decode(column, "it holds what this program never writes"))
}

pub(super) fn decode(
    column: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::ColumnDecode {
        index: column.into(),
        source: source.into(),
    }
}
