//! A write as the arrays that `apply.sql` takes, and the outcomes it gives.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Error, Row};

use super::pool::Pool;
use super::{connection, error};
use crate::clerk::{ClerkId, EventId, Timestamp, UserProfile};
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
        "(row.erased_at is not null or $41 and (row.deleted_at is not null or excluded.deleted_at is not null))",
    ),
    // Of a record: whose user is gone keeps no payload, but for a delete's. `old` has no row of a user of whom
    // this write has nothing but events that cannot be read.
    (
        "<withheld>",
        "(event_type <> 'user.deleted' and (coalesce(written.erased_at, old.erased_at) is not null
             or error_code is not null and exists (
                    select from clerk.users as gone
                     where gone.clerk_id = record.clerk_id and gone.erased_at is not null)))",
    ),
    // A failed event is never taken for a duplicate. A discarded one comes back only to succeed.
    (
        "<tried>",
        "(line.status = 'failed' or line.status = 'discarded' and excluded.status <> 'failed')",
    ),
];

const PARAMETERS: usize = 42;

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
    // Every array below is as long as `changes` or as `records`: PostgreSQL would fill up a shorter one with nulls.
    let changes = &write.changes;
    let text = |read: fn(&UserProfile) -> Option<&str>| profiles(write, read);
    let truth = |read: fn(&UserProfile) -> Option<bool>| profiles(write, read);
    let time = |read: fn(&UserProfile) -> Option<Timestamp>| {
        profiles(write, move |profile| read(profile).map(utc))
    };
    let version = changes
        .iter()
        .map(|change| change.profile.as_ref().map(|(version, _)| version));
    let updated_at: Vec<_> = version
        .clone()
        .map(|version| version.map(|v| utc(v.updated_at)))
        .collect();
    let occurred_at: Vec<_> = version
        .clone()
        .map(|version| version.map(|v| utc(v.occurred_at)))
        .collect();
    let event_id: Vec<_> = version
        .map(|version| version.map(|v| v.event_id.as_str()))
        .collect();

    // Grown by doubling it would be copied several times, and take up to twice the memory.
    let mut arguments = PgArguments::default();
    arguments.reserve(PARAMETERS, bytes(write));
    let query = sqlx::query_with(pool.sql().apply.clone(), arguments)
        .bind(
            changes
                .iter()
                .map(|change| change.clerk_id.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(text(|p| p.email.as_deref()))
        .bind(truth(|p| p.email_verified))
        .bind(text(|p| p.phone.as_deref()))
        .bind(truth(|p| p.phone_verified))
        .bind(text(|p| p.username.as_deref()))
        .bind(text(|p| p.first_name.as_deref()))
        .bind(text(|p| p.last_name.as_deref()))
        .bind(text(|p| p.image_url.as_deref()))
        .bind(text(|p| p.external_id.as_deref()))
        .bind(text(|p| p.locale.as_deref()))
        .bind(truth(|p| p.banned))
        .bind(truth(|p| p.locked))
        .bind(truth(|p| p.two_factor_enabled))
        .bind(truth(|p| p.password_enabled))
        .bind(text(|p| p.public_metadata.as_deref()))
        .bind(text(|p| p.private_metadata.as_deref()))
        .bind(text(|p| p.unsafe_metadata.as_deref()))
        .bind(time(|p| p.last_sign_in_at))
        .bind(time(|p| p.last_active_at))
        .bind(time(|p| p.legal_accepted_at))
        .bind(time(|p| p.created_at))
        .bind(updated_at)
        .bind(
            changes
                .iter()
                .map(|change| change.deleted_at.map(utc))
                .collect::<Vec<_>>(),
        )
        .bind(text(|p| Some(&p.data)))
        .bind(event_id)
        .bind(occurred_at);

    let records = &write.records;
    let readable: Vec<_> = records
        .iter()
        .map(|record| Readable::of(record, write))
        .collect();
    let keeps = |record: &Record| {
        keep.payloads == Payloads::All || matches!(record.parsed, Parsed::Failed { .. })
    };
    let query = query
        .bind(
            records
                .iter()
                .map(|record| record.event.id().as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| record.event.event_type().as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            readable
                .iter()
                .map(|record| record.clerk_id)
                .collect::<Vec<_>>(),
        )
        .bind(
            readable
                .iter()
                .map(|record| record.occurred_at)
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| utc(record.event.sent_at()))
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| utc(record.event.received_at()))
                .collect::<Vec<_>>(),
        )
        .bind(
            readable
                .iter()
                .map(|record| record.updated_at)
                .collect::<Vec<_>>(),
        )
        .bind(
            readable
                .iter()
                .map(|record| record.changed_within_write)
                .collect::<Vec<_>>(),
        )
        .bind(
            readable
                .iter()
                .map(|record| record.newest)
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| i64::from(record.deliveries))
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| failure(record).map(|(_, text)| text))
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| failure(record).map(|(code, _)| code))
                .collect::<Vec<_>>(),
        )
        .bind(
            records
                .iter()
                .map(|record| keeps(record).then_some(&record.event.body()[..]))
                .collect::<Vec<_>>(),
        )
        .bind(keep.on_delete == OnDelete::Scrub)
        .bind(
            readable
                .iter()
                .map(|record| record.earliest)
                .collect::<Vec<_>>(),
        );

    let mut lines = connection::rows(pool, query).await?;
    lines.sort_unstable_by(|a, b| id_of(a).cmp(id_of(b)));
    lines.iter().map(outcome).collect()
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

/// One element a change: what `read` finds in its profile, nothing where it has none.
fn profiles<'a, T>(
    write: &'a Write,
    read: impl Fn(&'a UserProfile) -> Option<T>,
) -> Vec<Option<T>> {
    write
        .changes
        .iter()
        .map(|change| {
            change
                .profile
                .as_ref()
                .and_then(|(_, profile)| read(profile))
        })
        .collect()
}

/// The columns of a record that only a readable event has.
#[derive(Default)]
struct Readable<'a> {
    clerk_id: Option<&'a str>,
    occurred_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    changed_within_write: bool,
    newest: Option<&'a str>,
    earliest: Option<DateTime<Utc>>,
}

impl<'a> Readable<'a> {
    fn of(record: &'a Record, write: &'a Write) -> Self {
        match &record.parsed {
            Parsed::Readable {
                clerk_id,
                occurred_at,
                updated_at,
                changed_within_write,
            } => Self {
                clerk_id: Some(clerk_id.as_str()),
                occurred_at: Some(utc(*occurred_at)),
                updated_at: updated_at.map(utc),
                changed_within_write: *changed_within_write,
                newest: write.newest(clerk_id).map(|id| id.as_str()),
                earliest: write.earliest_delete(clerk_id).map(utc),
            },
            Parsed::Failed { clerk_id, .. } => Self {
                clerk_id: clerk_id.as_ref().map(|id| id.as_str()),
                ..Self::default()
            },
        }
    }
}

/// The error code and the error of a failed event.
fn failure(record: &Record) -> Option<(&str, &str)> {
    match &record.parsed {
        Parsed::Readable { .. } => None,
        Parsed::Failed { failure, .. } => Some((&failure.code, &failure.text)),
    }
}

fn utc(time: Timestamp) -> DateTime<Utc> {
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
