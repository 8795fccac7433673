//! A write in one transaction: the same rule and the same statuses as `postgres/apply.sql`.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Error};

use super::json_texts::json;
use super::multi_insert::Rows;
use super::payloads::empty_payloads_of;
use super::record_changes::Recording;
use super::{lowercase, record_changes, statements};
use crate::clerk::{Change, ClerkId, EventId, RowVersion, Timestamp, Value};
use crate::clock::now;
use crate::store::database_row::DatabaseRow;
use crate::store::{Keep, Outcome, Parsed, Payloads, Record, Status, Write};

/// Applies and records. Returns one outcome per record, in order.
pub async fn apply(
    connection: &mut SqliteConnection,
    write: &Write,
    keep: Keep,
    change_feed: bool,
) -> Result<Vec<Outcome>, Error> {
    // Immediate: a transaction that only becomes a writer later fails at once where another process
    // writes.
    let mut transaction = connection.begin_with("begin immediate").await?;
    let rows = rows_before(&mut transaction, write).await?;
    let before = statuses_before(&mut transaction, write).await?;
    let now_ms = now().ms();
    let recording = Recording::start(&mut transaction, change_feed).await?;
    if change_feed {
        record_changes::set_deleting(&mut transaction, write).await?;
    }
    let written = join(&mut transaction, write, now_ms, keep).await?;
    recording.count(&mut transaction, write.table).await?;
    for (id, row) in &written {
        if row.is_erased {
            empty_payloads_of(&mut transaction, write.table, id.as_str()).await?;
        }
    }
    let none = RowVersion::default();
    let with_status = |record| {
        let id = Record::clerk_id(record);
        let before = id.and_then(|id| rows.get(id)).unwrap_or(&none);
        let row = id.and_then(|id| written.get(id));
        // The events of an erased row have no payloads, but for a delete's, which has no personal
        // data.
        let is_erased = row.map_or(before.is_erased, |row| row.is_erased);
        // Failed events of rows that belong to users: see failed_payloads.rs.
        let is_kept = record.failure().is_some() && !write.table.is_erased_whole();
        let withheld = is_erased && !is_kept && !record.event.event_type().is_bare_delete();
        let status = match status(record, before, row, write) {
            // A replay would change nothing.
            Status::Failed if withheld => Status::Discarded,
            status => status,
        };
        let keeps = keep.payloads == Payloads::All || record.failure().is_some();
        NewEvent {
            record,
            status,
            superseded_by: current(record, before, row).filter(|_| status == Status::Stale),
            keeps: keeps && !withheld,
        }
    };
    let recorded: Vec<_> = write.records.iter().map(with_status).collect();
    let now = record_events(&mut transaction, &recorded, now_ms).await?;
    transaction.commit().await?;
    let outcome = |event: &NewEvent<'_>| {
        let id = event.record.event.id();
        outcome(
            before.get(id).copied(),
            now.get(id).copied().unwrap_or(event.status),
        )
    };
    Ok(recorded.iter().map(outcome).collect())
}

/// A row after a change that altered it.
struct Joined {
    event_id: Option<EventId>,
    is_erased: bool,
}

/// The rows, as they were, that a write is about.
async fn rows_before(
    connection: &mut SqliteConnection,
    write: &Write,
) -> Result<HashMap<ClerkId, RowVersion>, Error> {
    let ids = write.records.iter().filter_map(Record::clerk_id);
    let rows = sqlx::query(statements::of(write.table).rows_before.clone())
        .bind(json(ids.map(ClerkId::as_str)))
        .fetch_all(connection)
        .await?;
    let read = |row: DatabaseRow| Ok((row.clerk_id()?, row.state()?));
    rows.into_iter()
        .map(DatabaseRow::Sqlite)
        .map(read)
        .collect()
}

/// The statuses of all events of a write that were recorded before.
async fn statuses_before(
    connection: &mut SqliteConnection,
    write: &Write,
) -> Result<HashMap<EventId, Status>, Error> {
    let ids = write
        .records
        .iter()
        .map(|record| record.event.id().as_str());
    let rows = sqlx::query(include_str!("statuses_before.sql"))
        .bind(json(ids))
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(recorded_status).collect()
}

fn recorded_status(row: SqliteRow) -> Result<(EventId, Status), Error> {
    let row = DatabaseRow::Sqlite(row);
    Ok((row.event_id()?, row.status()?))
}

static RECORD: LazyLock<Rows> = LazyLock::new(|| {
    const COLUMNS: usize = 14;
    let tried =
        "(events.status = 'failed' or events.status = 'discarded' and excluded.status <> 'failed')";
    Rows::of(
        &statements::render(include_str!("record_events.sql"), &[("<tried>", tried)]),
        COLUMNS,
    )
});

/// The rows that were altered.
async fn join(
    connection: &mut SqliteConnection,
    write: &Write,
    now_ms: i64,
    keep: Keep,
) -> Result<HashMap<ClerkId, Joined>, Error> {
    let scrubs = keep.scrubs(write.table);
    let mut joined = HashMap::with_capacity(write.changes.len());
    for (statement, part) in
        statements::of(write.table).join[usize::from(scrubs)].parts(&write.changes)
    {
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for change in part {
            let (version, profile) = change
                .profile
                .as_ref()
                .map(|(v, profile)| (v, profile))
                .unzip();
            let deleted_at = change.deleted_at.map(Timestamp::ms);
            query = query
                .bind(change.clerk_id.as_str())
                .bind(version.map(|version| version.updated_at.ms()))
                .bind(deleted_at)
                .bind(profile.map(|profile| &*profile.data))
                .bind(version.map(|version| version.event_id.as_str()))
                .bind(version.map(|version| version.occurred_at.ms()))
                .bind(now_ms)
                .bind(deleted_at.filter(|_| scrubs).map(|_| now_ms))
                .bind(profile.and_then(|profile| lowercase::of_profile(change.table, profile)));
            for place in 0..change.table.columns.len() {
                query = match change.value_at(place) {
                    None | Some(Value::Null) => query.bind(None::<i64>),
                    Some(Value::Text(text) | Value::Json(text)) => query.bind(&**text),
                    Some(Value::Boolean(value)) => query.bind(*value),
                    Some(Value::Integer(number)) => query.bind(*number),
                    Some(Value::Time(time)) => query.bind(time.ms()),
                };
            }
        }
        for row in query.fetch_all(&mut *connection).await? {
            let row = DatabaseRow::Sqlite(row);
            let event_id = row.get::<Option<&str>>("event_id")?.and_then(EventId::new);
            let is_erased = row.get("is_erased")?;
            joined.insert(
                row.clerk_id()?,
                Joined {
                    event_id,
                    is_erased,
                },
            );
        }
    }
    Ok(joined)
}

/// The status of an event, as `postgres/apply.sql` explains it.
fn status(record: &Record, before: &RowVersion, row: Option<&Joined>, write: &Write) -> Status {
    let Parsed::Readable {
        clerk_id, altering, ..
    } = &record.parsed
    else {
        return Status::Failed;
    };
    let newest = write.change(clerk_id).and_then(Change::version);
    // What is not personal is filled after an erasure too.
    let before = RowVersion {
        is_erased: before.is_erased && write.table.is_erased_whole(),
        ..before.clone()
    };
    let alters = before.altered_by(record.version().as_ref(), record.deleted_at());
    // If the row was altered, it has the newest profile of this write; the others are stale.
    let is_applied = row.is_some_and(|row| {
        let has_won =
            row.event_id.is_some() && row.event_id.as_ref() == newest.map(|v| &v.event_id);
        altering.delete && alters.delete || altering.profile && alters.profile && has_won
    });
    if is_applied {
        Status::Applied
    } else {
        Status::Stale
    }
}

/// The event whose version made a profile stale. Returns `None` for any other event.
fn current<'a>(
    record: &Record,
    before: &'a RowVersion,
    row: Option<&'a Joined>,
) -> Option<&'a EventId> {
    let is_delete = record.event.event_type().is_delete();
    let version = record.version().filter(|_| !is_delete)?;
    let before = before.version.as_ref().filter(|before| **before >= version);
    row.and_then(|row| row.event_id.as_ref())
        .or(before.map(|before| &before.event_id))
}

/// A row of `events` to write.
struct NewEvent<'a> {
    record: &'a Record,
    status: Status,
    superseded_by: Option<&'a EventId>,
    /// Whether the payload is kept.
    keeps: bool,
}

/// Inserts or updates rows of `events`. Returns their statuses now.
async fn record_events(
    connection: &mut SqliteConnection,
    events: &[NewEvent<'_>],
    now_ms: i64,
) -> Result<HashMap<EventId, Status>, Error> {
    let mut statuses = HashMap::with_capacity(events.len());
    for (statement, part) in RECORD.parts(events) {
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for NewEvent {
            record,
            status,
            superseded_by,
            keeps,
        } in part
        {
            let failure = record.failure();
            query = query
                .bind(record.event.id().as_str())
                .bind(record.event.event_type().as_str())
                .bind(record.clerk_id().map(ClerkId::as_str))
                .bind(record.occurred_at().map(Timestamp::ms))
                .bind(record.event.sent_at().ms())
                .bind(record.event.received_at().ms())
                .bind(now_ms)
                .bind(status.as_str())
                .bind(i64::from(record.deliveries))
                .bind(1_i64)
                .bind(failure.map(|failure| failure.text.as_str()))
                .bind(failure.map(|failure| &*failure.code))
                .bind(keeps.then_some(&record.event.body()[..]))
                .bind(superseded_by.map(EventId::as_str));
        }
        for row in query.fetch_all(&mut *connection).await? {
            statuses.extend([recorded_status(row)?]);
        }
    }
    Ok(statuses)
}

fn outcome(before: Option<Status>, now: Status) -> Outcome {
    match (before, now) {
        (Some(Status::Applied | Status::Stale), _)
        | (Some(Status::Discarded), Status::Discarded) => Outcome::Repeated,
        (_, Status::Applied) => Outcome::Applied,
        (_, Status::Failed) => Outcome::Failed,
        (_, Status::Stale) => Outcome::Stale,
        (_, Status::Discarded) => Outcome::Discarded,
    }
}
