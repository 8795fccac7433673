//! A write as the arrays that `apply.sql` takes, and the outcomes it gives.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments, Error, Row};

use super::pool::Pool;
use super::{connection, error};
use crate::clerk::{ChangeKind, ClerkId, Kind, Table, Timestamp, Version};
use crate::metrics;
use crate::store::template::PARAMETERS_BEFORE_COLUMNS;
use crate::store::{Keep, Outcome, Parsed, Payloads, Record, Write};

/// About as many bytes as the parameters of a write take: most are in the user's object, which the
/// columns repeat some parts of.
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

/// How often a write is repeated in which a row is missing. Another write has to come
/// between each time: a row that is missing in all of them was dropped by the database.
const REPEATS: usize = 4;

/// Applies and records; one outcome a record, in order.
pub async fn apply(pool: &Pool, write: &Write, keep: Keep) -> Result<Vec<Outcome>, Error> {
    for _ in 0..REPEATS {
        match apply_once(pool, write, keep).await {
            Err(error) if error::is_row_missing(&error) => {}
            done => return done,
        }
    }
    apply_once(pool, write, keep).await
}

async fn apply_once(pool: &Pool, write: &Write, keep: Keep) -> Result<Vec<Outcome>, Error> {
    let table = write.table;
    // Grown by doubling it would be copied several times, and take up to twice the memory.
    let mut arguments = PgArguments::default();
    arguments.reserve(
        PARAMETERS_BEFORE_COLUMNS + table.columns.len(),
        bytes(write),
    );

    // Every array below is as long as `changes` or as `records`: PostgreSQL would fill up a shorter
    // one with nulls.
    let changes = &write.changes;
    let version = |read: fn(&Version) -> DateTime<Utc>| {
        each(changes, move |change| change.version().map(read))
    };
    let query = sqlx::query_with(pool.sql().of(table).apply.clone(), arguments)
        .bind(each(changes, |change| change.clerk_id.as_str()))
        .bind(version(|version| utc(version.updated_at)))
        .bind(each(changes, |change| change.deleted_at.map(utc)))
        .bind(each(changes, |change| {
            Some(&*change.profile.as_ref()?.1.data)
        }))
        .bind(each(changes, |change| {
            Some(change.version()?.event_id.as_str())
        }))
        .bind(version(|version| utc(version.occurred_at)));

    let records = &write.records;
    let change_of = |record: &Record| match &record.parsed {
        Parsed::Readable { clerk_id, .. } => write.change(clerk_id),
        Parsed::Failed { .. } => None,
    };
    let keeps = |record: &Record| keep.payloads == Payloads::All || record.failure().is_some();
    let mut query = query
        .bind(each(records, |record| record.event.id().as_str()))
        .bind(each(records, |record| record.event.event_type().as_str()))
        .bind(each(records, |record| {
            record.clerk_id().map(ClerkId::as_str)
        }))
        .bind(each(records, |record| record.occurred_at().map(utc)))
        .bind(each(records, |record| utc(record.event.sent_at())))
        .bind(each(records, |record| utc(record.event.received_at())))
        .bind(each(records, |record| {
            Some(utc(record.version()?.updated_at))
        }))
        .bind(each(records, |record| record.altering().profile))
        .bind(each(records, |record| {
            Some(change_of(record)?.version()?.event_id.as_str())
        }))
        .bind(each(records, |record| i64::from(record.deliveries)))
        .bind(each(records, |record| Some(&*record.failure()?.text)))
        .bind(each(records, |record| Some(&*record.failure()?.code)))
        .bind(each(records, |record| {
            keeps(record).then_some(&record.event.body()[..])
        }))
        .bind(each(records, |record| {
            change_of(record)?.deleted_at.map(utc)
        }))
        .bind(keep.scrubs(table))
        .bind(each(records, |record| record.altering().delete));

    for (place, column) in table.columns.iter().enumerate() {
        query = match column.kind {
            Kind::Text => query.bind(each(changes, |change| change.value_at(place)?.as_text())),
            Kind::Json | Kind::Texts => {
                query.bind(each(changes, |change| change.value_at(place)?.as_json()))
            }
            Kind::Boolean => query.bind(each(changes, |change| change.value_at(place)?.as_bool())),
            Kind::Integer => {
                query.bind(each(changes, |change| change.value_at(place)?.as_integer()))
            }
            Kind::Time => query.bind(each(changes, |change| {
                change.value_at(place)?.as_time().map(utc)
            })),
        };
    }
    if pool.sql().has_change_feed {
        let deleting = write.deleting_events();
        query = query.bind(each(changes, |change| {
            Some(deleting.get(&change.clerk_id)?.as_str())
        }));
    }
    let mut lines = connection::rows(pool, query).await?;
    // Behind the outcomes are counts of changes, which have no event.
    for counted in lines.extract_if(.., |line| id_of(line).is_empty()) {
        count_changes(table, &counted)?;
    }
    lines.sort_unstable_by(|a, b| id_of(a).cmp(id_of(b)));
    lines.iter().map(outcome).collect()
}

fn count_changes(table: &Table, line: &PgRow) -> Result<(), Error> {
    if let Some(kind) = ChangeKind::named(line.try_get("change")?) {
        let count: i64 = line.try_get("changes")?;
        metrics::changes(table, kind, count.unsigned_abs());
    }
    Ok(())
}

fn each<'a, R, T>(rows: &'a [R], read: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(read).collect()
}

/// A time as PostgreSQL takes it.
pub(super) fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.ms())
        .expect("chrono can hold every time up to the year 9999")
}

fn id_of(line: &PgRow) -> &str {
    line.try_get("event_id").unwrap_or_default()
}

fn outcome(line: &PgRow) -> Result<Outcome, Error> {
    Ok(match (line.try_get("tried")?, line.try_get("status")?) {
        (false, _) => Outcome::Repeated,
        (true, "applied") => Outcome::Applied,
        (true, "failed") => Outcome::Failed,
        (true, "discarded") => Outcome::Discarded,
        (true, _) => Outcome::Stale,
    })
}
