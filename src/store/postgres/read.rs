//! Questions and their rows.

use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row, SqlStr};

use super::connection;
use super::pool::Pool;
use crate::clerk::{ClerkId, EventId, EventType, SignedEvent, Timestamp};
use crate::store::history::COMPARED_BYTES_MAX;
use crate::store::search::{COMMON_FROM, Search, escaped};
use crate::store::{
    Cursor, EventFilter, EventRow, HistoryRow, Listing, Page, Status, Time, User, UserFilter,
};

/// The first column of the first row.
pub async fn value<T>(pool: &Pool, sql: &SqlStr) -> Result<Option<T>, Error>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let rows = connection::rows(pool, sqlx::query(sql.clone())).await?;
    rows.first().map_or(Ok(None), |row| row.try_get(0))
}

pub async fn user(pool: &Pool, id: &ClerkId) -> Result<Option<User>, Error> {
    let rows =
        connection::rows(pool, sqlx::query(pool.sql().user.clone()).bind(id.as_str())).await?;
    rows.first().map(read_user).transpose()
}

pub async fn users(pool: &Pool, filter: &UserFilter, page: &Page) -> Result<Listing<User>, Error> {
    let after = match &page.after {
        Some(Cursor::User { clerk_id }) => Some(clerk_id.as_str()),
        _ => None,
    };
    let search = filter.q.as_deref().and_then(Search::of);
    let statement = match &search {
        Some(search) if is_common(pool, search).await? => {
            pool.sql().users_by_search_in_order.clone()
        }
        Some(_) => pool.sql().users_by_search.clone(),
        None => pool.sql().users.clone(),
    };
    let mut query = sqlx::query(statement)
        .bind(filter.email.as_deref())
        .bind(filter.phone.as_deref())
        .bind(filter.username.as_deref())
        .bind(filter.external_id.as_deref())
        .bind(filter.deleted)
        .bind(after)
        .bind(i64::from(page.limit.get()) + 1);
    if let Some(search) = &search {
        let names = search.names.as_ref();
        query = query
            .bind(&search.text)
            .bind(escaped(&search.text))
            .bind(escaped(search.phone.as_deref().unwrap_or(&search.text)))
            .bind(names.map(|(first, _)| escaped(first)))
            .bind(names.map(|(_, last)| escaped(last)))
            .bind(COMMON_FROM);
    }
    let rows = connection::rows(pool, query).await?;
    let rows = rows.iter().map(read_user).collect::<Result<_, _>>()?;
    Ok(Listing::of(rows, page, User::cursor))
}

async fn is_common(pool: &Pool, search: &Search) -> Result<bool, Error> {
    let query = sqlx::query(pool.sql().search_is_common.clone())
        .bind(escaped(&search.text))
        .bind(escaped(search.phone.as_deref().unwrap_or(&search.text)))
        .bind(search.names.as_ref().map(|(_, last)| escaped(last)))
        .bind(COMMON_FROM);
    let rows = connection::rows(pool, query).await?;
    rows.first()
        .map_or(Ok(false), |row| row.try_get("is_common"))
}

pub async fn event(pool: &Pool, id: &EventId) -> Result<Option<EventRow>, Error> {
    let rows = connection::rows(
        pool,
        sqlx::query(pool.sql().event.clone()).bind(id.as_str()),
    )
    .await?;
    rows.first().map(read_event).transpose()
}

pub async fn events(
    pool: &Pool,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listing<EventRow>, Error> {
    let (after_time, after_id) = match &page.after {
        Some(Cursor::Event {
            received_at,
            event_id,
        }) => (utc(*received_at), Some(event_id.as_str())),
        _ => (None, None),
    };
    let query = sqlx::query(pool.sql().events.clone())
        .bind(filter.status.map(Status::as_str))
        .bind(filter.event_type.as_deref())
        .bind(filter.clerk_id.as_deref())
        .bind(filter.since.and_then(utc))
        .bind(filter.until.and_then(utc))
        .bind(after_time)
        .bind(after_id)
        .bind(i64::from(page.limit.get()) + 1)
        .bind(filter.error_code.as_deref());
    let rows = connection::rows(pool, query).await?;
    let rows = rows.iter().map(read_event).collect::<Result<_, _>>()?;
    Ok(Listing::of(rows, page, EventRow::cursor))
}

pub async fn events_by_id(
    pool: &Pool,
    ids: &[EventId],
    payload_max: u32,
) -> Result<Vec<EventRow>, Error> {
    let ids: Vec<_> = ids.iter().map(EventId::as_str).collect();
    let query = sqlx::query(pool.sql().events_by_id.clone())
        .bind(ids)
        .bind(i64::from(payload_max));
    connection::rows(pool, query)
        .await?
        .iter()
        .map(read_event)
        .collect()
}

/// How many events of the user are kept, and how many of them with a payload.
pub async fn count_events_of_user(pool: &Pool, id: &ClerkId) -> Result<(u64, u64), Error> {
    let query = sqlx::query(pool.sql().count_events_of_user.clone()).bind(id.as_str());
    let rows = connection::rows(pool, query).await?;
    let count = |name| {
        rows.first()
            .map_or(Ok(0), |row| row.try_get::<i64, _>(name))
            .map(i64::unsigned_abs)
    };
    Ok((count("events")?, count("payloads")?))
}

pub async fn setting(pool: &Pool, name: &str) -> Result<Option<String>, Error> {
    let rows = connection::rows(pool, sqlx::query(pool.sql().setting.clone()).bind(name)).await?;
    rows.first().map(|row| row.try_get("value")).transpose()
}

/// How many events are failed, counted up to `limit`.
pub async fn failed_count(pool: &Pool, limit: u32) -> Result<u64, Error> {
    let count = sqlx::query(pool.sql().failed_count.clone()).bind(i64::from(limit));
    let rows = connection::rows(pool, count).await?;
    let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get("events"))?;
    Ok(count.unsigned_abs())
}

pub async fn history(pool: &Pool, id: &ClerkId, page: &Page) -> Result<Listing<HistoryRow>, Error> {
    let (after_time, after_id) = match &page.after {
        Some(Cursor::Event {
            received_at,
            event_id,
        }) => (utc(*received_at), Some(event_id.as_str())),
        _ => (None, None),
    };
    let query = sqlx::query(pool.sql().history.clone())
        .bind(id.as_str())
        .bind(after_time)
        .bind(after_id)
        .bind(i64::from(page.limit.get()) + 1);
    let rows = connection::rows(pool, query).await?;
    let read = |row: &PgRow| {
        Ok::<_, Error>(HistoryRow::of(
            read_event(row)?,
            time(row, "superseded_at")?,
            row.try_get("has_payload")?,
        ))
    };
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Listing::of(rows, page, HistoryRow::cursor))
}

pub async fn payloads(pool: &Pool, ids: &[EventId]) -> Result<Vec<SignedEvent>, Error> {
    let ids: Vec<_> = ids.iter().map(EventId::as_str).collect();
    let query = sqlx::query(pool.sql().payloads.clone())
        .bind(ids)
        .bind(COMPARED_BYTES_MAX);
    connection::rows(pool, query)
        .await?
        .iter()
        .map(read_payload)
        .collect()
}

pub(super) fn utc(time: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(time.ms())
}

fn read_user(row: &PgRow) -> Result<User, Error> {
    Ok(User {
        clerk_id: row.try_get("clerk_id")?,
        email: row.try_get("email")?,
        email_verified: row.try_get("email_verified")?,
        phone: row.try_get("phone")?,
        phone_verified: row.try_get("phone_verified")?,
        username: row.try_get("username")?,
        first_name: row.try_get("first_name")?,
        last_name: row.try_get("last_name")?,
        image_url: row.try_get("image_url")?,
        external_id: row.try_get("external_id")?,
        locale: row.try_get("locale")?,
        banned: row.try_get("banned")?,
        locked: row.try_get("locked")?,
        two_factor_enabled: row.try_get("two_factor_enabled")?,
        password_enabled: row.try_get("password_enabled")?,
        public_metadata: json(row, "public_metadata")?,
        private_metadata: json(row, "private_metadata")?,
        unsafe_metadata: json(row, "unsafe_metadata")?,
        last_sign_in_at: time(row, "last_sign_in_at")?,
        last_active_at: time(row, "last_active_at")?,
        legal_accepted_at: time(row, "legal_accepted_at")?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
        deleted_at: time(row, "deleted_at")?,
        data: json(row, "data")?,
        event_id: row.try_get("event_id")?,
        occurred_at: time(row, "occurred_at")?,
        synced_at: required(time(row, "synced_at")?, "synced_at")?,
        erased_at: time(row, "erased_at")?,
    })
}

fn read_event(row: &PgRow) -> Result<EventRow, Error> {
    let status: &str = row.try_get("status")?;
    Ok(EventRow {
        event_id: row.try_get("event_id")?,
        event_type: row.try_get("event_type")?,
        clerk_id: row.try_get("clerk_id")?,
        occurred_at: time(row, "occurred_at")?,
        sent_at: required(time(row, "sent_at")?, "sent_at")?,
        received_at: required(time(row, "received_at")?, "received_at")?,
        processed_at: required(time(row, "processed_at")?, "processed_at")?,
        status: required(Status::named(status), "status")?,
        deliveries: row.try_get("deliveries")?,
        attempts: row.try_get("attempts")?,
        error: row.try_get("error")?,
        error_code: row.try_get("error_code")?,
        superseded_by: row.try_get("superseded_by")?,
        payload: row.try_get("payload")?,
    })
}

fn read_payload(row: &PgRow) -> Result<SignedEvent, Error> {
    let (id, payload) = (
        row.try_get("event_id")?,
        row.try_get::<Vec<u8>, _>("payload")?,
    );
    let [sent_at, received_at] = ["sent_at", "received_at"]
        .map(|column| time(row, column).and_then(|time| required(time, column)));
    Ok(SignedEvent::restored(
        required(EventId::new(id), "event_id")?,
        EventType::named(row.try_get("event_type")?),
        sent_at?.0,
        received_at?.0,
        payload.into(),
    ))
}

/// PostgreSQL's times have microseconds; ours are whole milliseconds.
pub(super) fn time(row: &PgRow, column: &str) -> Result<Option<Time>, Error> {
    let time: Option<DateTime<Utc>> = row.try_get(column)?;
    Ok(time
        .and_then(|time| Timestamp::from_ms(time.timestamp_millis()))
        .map(Time))
}

fn json(row: &PgRow, column: &str) -> Result<Option<Box<RawValue>>, Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| RawValue::from_string(text).map_err(|error| decode(column, error)))
        .transpose()
}

pub(super) fn required<T>(value: Option<T>, column: &str) -> Result<T, Error> {
    value.ok_or_else(|| decode(column, "it holds what this program never writes"))
}

fn decode(column: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ColumnDecode {
        index: column.into(),
        source: source.into(),
    }
}
