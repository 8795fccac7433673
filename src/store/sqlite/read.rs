//! Questions and their rows.

use serde_json::value::RawValue;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Error, Row};

use super::lowercase::fold;
use crate::clerk::{ClerkId, EventId, EventType, SignedEvent, Timestamp};
use crate::store::history::COMPARED_BYTES_MAX;
use crate::store::search::{COMMON_FROM, Search, end_of};
use crate::store::{
    Cursor, EventFilter, EventRow, HistoryRow, Listing, Page, Status, Time, User, UserFilter,
};

pub async fn user(pool: &SqlitePool, id: &ClerkId) -> Result<Option<User>, Error> {
    let row = sqlx::query(include_str!("user.sql"))
        .bind(id.as_str())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(read_user).transpose()
}

pub async fn users(
    pool: &SqlitePool,
    filter: &UserFilter,
    page: &Page,
) -> Result<Listing<User>, Error> {
    let after = match &page.after {
        Some(Cursor::User { clerk_id }) => Some(clerk_id.as_str()),
        _ => None,
    };
    let search = filter.q.as_deref().and_then(Search::of);
    let phone = search
        .as_ref()
        .map(|search| search.phone.as_deref().unwrap_or(&search.text));
    let folded = search.as_ref().map(|search| fold(&search.text));
    let names = search.as_ref().and_then(|search| search.names.as_ref());
    let (first, last) = names.map(|(first, last)| (fold(first), fold(last))).unzip();
    let statement = match &search {
        Some(search) if is_common(pool, search).await? => {
            include_str!("users_by_search_in_order.sql")
        }
        Some(_) => include_str!("users_by_search.sql"),
        None => users_statement(filter),
    };
    let rows = sqlx::query(statement)
        .bind(filter.email.as_deref().map(fold))
        .bind(filter.phone.as_deref())
        .bind(filter.username.as_deref())
        .bind(filter.external_id.as_deref())
        .bind(filter.deleted)
        .bind(after)
        .bind(i64::from(page.limit.get()) + 1)
        .bind(search.as_ref().map(|search| search.text.clone()))
        .bind(search.as_ref().map(|search| end_of(&search.text)))
        .bind(phone)
        .bind(phone.map(end_of))
        .bind(&first)
        .bind(first.as_deref().map(end_of))
        .bind(&last)
        .bind(last.as_deref().map(end_of))
        .bind(&folded)
        .bind(folded.as_deref().map(end_of))
        .fetch_all(pool)
        .await?;
    let rows = rows.iter().map(read_user).collect::<Result<_, _>>()?;
    Ok(Listing::of(rows, page, User::cursor))
}

pub async fn event(pool: &SqlitePool, id: &EventId) -> Result<Option<EventRow>, Error> {
    let row = sqlx::query(include_str!("event.sql"))
        .bind(id.as_str())
        .fetch_optional(pool)
        .await?;
    row.as_ref().map(read_event).transpose()
}

pub async fn events(
    pool: &SqlitePool,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listing<EventRow>, Error> {
    let (after_time, after_id) = match &page.after {
        Some(Cursor::Event {
            received_at,
            event_id,
        }) => (Some(received_at.ms()), Some(event_id.as_str())),
        _ => (None, None),
    };
    let rows = sqlx::query(events_statement(filter))
        .bind(filter.status.map(Status::as_str))
        .bind(filter.event_type.as_deref())
        .bind(filter.clerk_id.as_deref())
        .bind(filter.since.map(Timestamp::ms))
        .bind(filter.until.map(Timestamp::ms))
        .bind(after_time)
        .bind(after_id)
        .bind(i64::from(page.limit.get()) + 1)
        .bind(filter.error_code.as_deref())
        .fetch_all(pool)
        .await?;
    let rows = rows.iter().map(read_event).collect::<Result<_, _>>()?;
    Ok(Listing::of(rows, page, EventRow::cursor))
}

pub async fn history(
    pool: &SqlitePool,
    id: &ClerkId,
    page: &Page,
) -> Result<Listing<HistoryRow>, Error> {
    let (after_time, after_id) = match &page.after {
        Some(Cursor::Event {
            received_at,
            event_id,
        }) => (Some(received_at.ms()), Some(event_id.as_str())),
        _ => (None, None),
    };
    let rows = sqlx::query(include_str!("history.sql"))
        .bind(id.as_str())
        .bind(after_time)
        .bind(after_id)
        .bind(i64::from(page.limit.get()) + 1)
        .fetch_all(pool)
        .await?;
    let read = |row: &SqliteRow| {
        Ok::<_, Error>(HistoryRow::of(
            read_event(row)?,
            time(row, "superseded_at")?,
            row.try_get("has_payload")?,
        ))
    };
    let rows = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Listing::of(rows, page, HistoryRow::cursor))
}

pub async fn payloads(pool: &SqlitePool, ids: &[EventId]) -> Result<Vec<SignedEvent>, Error> {
    // An ID holds no character that JSON would have to escape.
    let ids: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    let query = sqlx::query(include_str!("payloads.sql"))
        .bind(format!("[{}]", ids.join(",")))
        .bind(COMPARED_BYTES_MAX);
    query
        .fetch_all(pool)
        .await?
        .iter()
        .map(read_payload)
        .collect()
}

pub async fn events_by_id(
    pool: &SqlitePool,
    ids: &[EventId],
    payload_max: u32,
) -> Result<Vec<EventRow>, Error> {
    // An ID holds no character that JSON would have to escape.
    let ids: Vec<_> = ids.iter().map(|id| format!("\"{id}\"")).collect();
    let query = sqlx::query(include_str!("events_by_id.sql"))
        .bind(format!("[{}]", ids.join(",")))
        .bind(payload_max);
    query
        .fetch_all(pool)
        .await?
        .iter()
        .map(read_event)
        .collect()
}

/// How many events of the user are kept, and how many of them with a payload.
pub async fn count_events_of_user(pool: &SqlitePool, id: &ClerkId) -> Result<(u64, u64), Error> {
    let row = sqlx::query(include_str!("count_events_of_user.sql"))
        .bind(id.as_str())
        .fetch_one(pool)
        .await?;
    let count = |name| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    Ok((count("events")?, count("payloads")?))
}

pub async fn setting(pool: &SqlitePool, name: &str) -> Result<Option<String>, Error> {
    sqlx::query_scalar(include_str!("setting.sql"))
        .bind(name)
        .fetch_optional(pool)
        .await
}

async fn is_common(pool: &SqlitePool, search: &Search) -> Result<bool, Error> {
    let phone = search.phone.as_deref().unwrap_or(&search.text);
    let last = search.names.as_ref().map(|(_, last)| fold(last));
    let folded = fold(&search.text);
    sqlx::query_scalar(include_str!("search_is_common.sql"))
        .bind(&search.text)
        .bind(end_of(&search.text))
        .bind(phone)
        .bind(end_of(phone))
        .bind(&last)
        .bind(last.as_deref().map(end_of))
        .bind(COMMON_FROM)
        .bind(&folded)
        .bind(end_of(&folded))
        .fetch_one(pool)
        .await
}

/// How many events are failed, counted up to `limit`.
pub async fn failed_count(pool: &SqlitePool, limit: u32) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(include_str!("failed_count.sql"))
        .bind(limit)
        .fetch_one(pool)
        .await?;
    Ok(count.unsigned_abs())
}

/// The statement whose index leads to the fewest rows. All take the same values, and each looks at the parts that this order
/// leaves to it.
fn users_statement(filter: &UserFilter) -> &'static str {
    match filter {
        UserFilter { email: Some(_), .. } => include_str!("users_by_email.sql"),
        UserFilter { phone: Some(_), .. } => include_str!("users_by_phone.sql"),
        UserFilter {
            external_id: Some(_),
            ..
        } => include_str!("users_by_external_id.sql"),
        UserFilter {
            username: Some(_), ..
        } => include_str!("users_by_username.sql"),
        UserFilter {
            deleted: Some(true),
            ..
        } => include_str!("users_deleted.sql"),
        _ => include_str!("users.sql"),
    }
}

/// The type that most events have; the index by type leaves it out.
const USUAL_TYPE: &str = "user.updated";

fn events_statement(filter: &EventFilter) -> &'static str {
    match filter {
        EventFilter {
            clerk_id: Some(_), ..
        } => include_str!("events_of_user.sql"),
        EventFilter {
            status: Some(Status::Failed),
            error_code: Some(_),
            ..
        } => include_str!("events_by_code.sql"),
        EventFilter {
            status: Some(Status::Stale | Status::Failed | Status::Discarded),
            ..
        } => {
            include_str!("events_by_status.sql")
        }
        EventFilter {
            event_type: Some(name),
            ..
        } if name != USUAL_TYPE => include_str!("events_by_type.sql"),
        _ => include_str!("events.sql"),
    }
}

fn read_user(row: &SqliteRow) -> Result<User, Error> {
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

fn read_event(row: &SqliteRow) -> Result<EventRow, Error> {
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

fn read_payload(row: &SqliteRow) -> Result<SignedEvent, Error> {
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

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Option<Time>, Error> {
    let ms: Option<i64> = row.try_get(column)?;
    Ok(ms.and_then(Timestamp::from_ms).map(Time))
}

fn json(row: &SqliteRow, column: &str) -> Result<Option<Box<RawValue>>, Error> {
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
