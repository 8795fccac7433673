//! A write as the arrays that `apply.sql` takes, and the outcomes it gives.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Error, Row};

use super::pool::Pool;
use super::{connection, error};
use crate::clerk::tables::users;
use crate::clerk::{Change, ClerkId, EventId, Kind, Timestamp};
use crate::store::template::PARAMETERS_BEFORE_COLUMNS;
use crate::store::{Keep, OnDelete, Outcome, Parsed, Payloads, Record, Write};

/// The conditions of `apply.sql`, by the marks that stand for them.
pub const CONDITIONS: [(&str, &str); 5] = [
    // Whether a change has anything for its row; made of the two below.
    (
        "<alters>",
        "((least(row.deleted_at, excluded.deleted_at) is distinct from row.deleted_at
             or case when <gone> then row.erased_at is null
                     else excluded.event_id is not null and <newer> end) is true)",
    ),
    (
        "<newer>",
        "(row.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (row.updated_at, row.occurred_at, row.event_id))",
    ),
    (
        "<gone>",
        "(row.erased_at is not null or $21 and (row.deleted_at is not null or excluded.deleted_at is not null))",
    ),
    // Of a record: whose user is gone keeps no payload, but for a delete's. `old` has no row of a user of whom
    // this write has nothing but events that cannot be read.
    (
        "<withheld>",
        "(event_type not in (<deletes>) and (coalesce(written.erased_at, old.erased_at) is not null
             or error_code is not null and exists (
                    select from clerk.<table> as gone
                     where gone.clerk_id = record.clerk_id and gone.erased_at is not null)))",
    ),
    // A failed event is never taken for a duplicate. A discarded one comes back only to succeed.
    (
        "<tried>",
        "(line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed')",
    ),
];

/// About as many bytes as the parameters of a write take: most are in the user's object, which the columns repeat some parts of.
fn bytes(write: &Write) -> usize {
    const BESIDE_THE_OBJECT: usize = 1024;
    let objects = write
        .changes
        .iter()
        .filter_map(|change| change.profile.as_ref())
        .map(|(_, profile)| profile.data.len());
    objects.sum::<usize>() * 5 / 4
        + (write.changes.len() + write.records.len()) * BESIDE_THE_OBJECT / 2
}

/// How often a write is repeated in which a user's row is missing. Another write has to come between each time: a row that is
/// missing in all of them was dropped by the database.
const REPEATS: usize = 4;

/// Applies and records; one outcome a record, in order.
pub async fn apply(pool: &Pool, write: &Write, keep: Keep) -> Result<Vec<Outcome>, Error> {
    for _ in 0..REPEATS {
        match apply_once(pool, write, keep).await {
            Err(error) if error::is_user_missing(&error) => {}
            done => return done,
        }
    }
    apply_once(pool, write, keep).await
}

async fn apply_once(pool: &Pool, write: &Write, keep: Keep) -> Result<Vec<Outcome>, Error> {
    let table = &users::TABLE;
    // Grown by doubling it would be copied several times, and take up to twice the memory.
    let mut arguments = PgArguments::default();
    arguments.reserve(
        PARAMETERS_BEFORE_COLUMNS + table.columns.len(),
        bytes(write),
    );

    // Every array below is as long as `changes` or as `records`: PostgreSQL would fill up a shorter one with nulls.
    let of_changes = write.changes.iter();
    let versions = of_changes.clone().map(Change::version);
    let data = of_changes.clone().map(|change| {
        let (_, profile) = change.profile.as_ref()?;
        Some(&*profile.data)
    });
    let query = sqlx::query_with(pool.sql().apply.clone(), arguments)
        .bind(all(of_changes
            .clone()
            .map(|change| change.clerk_id.as_str())))
        .bind(all(versions
            .clone()
            .map(|version| version.map(|v| utc(v.updated_at)))))
        .bind(all(of_changes
            .clone()
            .map(|change| change.deleted_at.map(utc))))
        .bind(all(data))
        .bind(all(versions
            .clone()
            .map(|version| version.map(|v| v.event_id.as_str()))))
        .bind(all(
            versions.map(|version| version.map(|v| utc(v.occurred_at)))
        ));

    let records = write.records.iter();
    let events = records.clone().map(|record| &record.event);
    let changes = records.clone().map(|record| match &record.parsed {
        Parsed::Readable { clerk_id, .. } => write.change(clerk_id),
        Parsed::Failed { .. } => None,
    });
    let failures = records.clone().map(Record::failure);
    let keeps = |record: &Record| keep.payloads == Payloads::All || record.failure().is_some();
    let mut query = query
        .bind(all(events.clone().map(|event| event.id().as_str())))
        .bind(all(events.clone().map(|event| event.event_type().as_str())))
        .bind(all(records
            .clone()
            .map(|record| record.clerk_id().map(ClerkId::as_str))))
        .bind(all(records
            .clone()
            .map(|record| record.occurred_at().map(utc))))
        .bind(all(events.clone().map(|event| utc(event.sent_at()))))
        .bind(all(events.map(|event| utc(event.received_at()))))
        .bind(all(records
            .clone()
            .map(|record| record.version().map(|v| utc(v.updated_at)))))
        .bind(all(records.clone().map(|record| {
            matches!(
                record.parsed,
                Parsed::Readable {
                    changed_within_write: true,
                    ..
                }
            )
        })))
        .bind(all(changes
            .clone()
            .map(|change| Some(change?.version()?.event_id.as_str()))))
        .bind(all(records
            .clone()
            .map(|record| i64::from(record.deliveries))))
        .bind(all(failures
            .clone()
            .map(|failure| failure.map(|failure| &*failure.text))))
        .bind(all(
            failures.map(|failure| failure.map(|failure| &*failure.code))
        ))
        .bind(all(records.map(|record| {
            keeps(record).then_some(&record.event.body()[..])
        })))
        .bind(all(changes.map(|change| change?.deleted_at.map(utc))))
        .bind(keep.on_delete == OnDelete::Scrub);

    for (place, column) in table.columns.iter().enumerate() {
        let values = write.changes.iter().map(|change| {
            let (_, profile) = change.profile.as_ref()?;
            Some(&profile.values[place])
        });
        query = match column.kind {
            Kind::Text => query.bind(all(values.map(|value| value?.as_text()))),
            Kind::Json => query.bind(all(values.map(|value| value?.as_json()))),
            Kind::Boolean => query.bind(all(values.map(|value| value?.as_bool()))),
            Kind::Integer => query.bind(all(values.map(|value| value?.as_integer()))),
            Kind::Time => query.bind(all(values.map(|value| value?.as_time().map(utc)))),
        };
    }
    let mut lines = connection::rows(pool, query).await?;
    lines.sort_unstable_by(|a, b| id_of(a).cmp(id_of(b)));
    lines.iter().map(outcome).collect()
}

fn all<T>(values: impl Iterator<Item = T>) -> Vec<T> {
    values.collect()
}

/// Deletes old lines; how many.
pub async fn prune(pool: &Pool, older_than: Timestamp, limit: u32) -> Result<u64, Error> {
    let prune = sqlx::query(pool.sql().prune.clone())
        .bind(utc(older_than))
        .bind(i64::from(limit));
    let rows = connection::rows(pool, prune).await?;
    count(&rows, "lines")
}

/// Sets failed lines to discarded; the type of each.
pub async fn discard(pool: &Pool, ids: &[EventId]) -> Result<Vec<String>, Error> {
    let ids: Vec<_> = ids.iter().map(EventId::as_str).collect();
    let rows = connection::rows(pool, sqlx::query(pool.sql().discard.clone()).bind(ids)).await?;
    rows.iter().map(|row| row.try_get("event_type")).collect()
}

/// Keeps a setting.
pub async fn set(pool: &Pool, name: &str, value: &str) -> Result<(), Error> {
    connection::rows(
        pool,
        sqlx::query(pool.sql().set.clone()).bind(name).bind(value),
    )
    .await
    .map(drop)
}

/// Erases a user's row and the payloads of the user's events; how many of each.
pub async fn erase(pool: &Pool, id: &ClerkId) -> Result<(u64, u64), Error> {
    let rows = connection::rows(
        pool,
        sqlx::query(pool.sql().erase.clone()).bind(id.as_str()),
    )
    .await?;
    Ok((count(&rows, "users")?, count(&rows, "payloads")?))
}

/// Erases rows of deleted users; how many.
pub async fn scrub(pool: &Pool, limit: u32) -> Result<u64, Error> {
    let rows = connection::rows(
        pool,
        sqlx::query(pool.sql().scrub.clone()).bind(i64::from(limit)),
    )
    .await?;
    count(&rows, "users")
}

/// Empties payloads that lie beside an erased row; how many.
pub async fn empty_payloads(pool: &Pool, limit: u32) -> Result<u64, Error> {
    let empty = sqlx::query(pool.sql().empty_payloads.clone()).bind(i64::from(limit));
    count(&connection::rows(pool, empty).await?, "payloads")
}

/// Deletes a user's row and events; how many of each.
pub async fn forget(pool: &Pool, id: &ClerkId) -> Result<(u64, u64), Error> {
    let rows = connection::rows(
        pool,
        sqlx::query(pool.sql().forget.clone()).bind(id.as_str()),
    )
    .await?;
    Ok((count(&rows, "users")?, count(&rows, "events")?))
}

fn count(rows: &[PgRow], column: &str) -> Result<u64, Error> {
    let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(column))?;
    Ok(count.unsigned_abs())
}

pub(super) fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.ms())
        .expect("chrono can hold every time up to the year 9999")
}

fn id_of(line: &sqlx::postgres::PgRow) -> &str {
    line.try_get("event_id").unwrap_or_default()
}

fn outcome(line: &sqlx::postgres::PgRow) -> Result<Outcome, Error> {
    Ok(match (line.try_get("tried")?, line.try_get("status")?) {
        (false, _) => Outcome::Repeated,
        (true, "applied") => Outcome::Applied,
        (true, "failed") => Outcome::Failed,
        (true, "discarded") => Outcome::Discarded,
        (true, _) => Outcome::Stale,
    })
}
