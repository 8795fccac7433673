//! A write as the arrays that `apply.sql` takes, and the outcomes it gives.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Error, Row};

use super::pool::Pool;
use super::{connection, error};
use crate::clerk::tables::users;
use crate::clerk::{Change, ClerkId, Kind, Timestamp};
use crate::store::template::PARAMETERS_BEFORE_COLUMNS;
use crate::store::{Keep, OnDelete, Outcome, Parsed, Payloads, Record, Write};

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

/// A time as PostgreSQL takes it.
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
