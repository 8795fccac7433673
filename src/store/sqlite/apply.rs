//! A write, row by row in one transaction: the same rule and the same statuses as `postgres/apply.sql`.

use std::collections::HashMap;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Error, Row};

use crate::clerk::{ClerkId, EventId, Timestamp, UserChange, UserProfile, Version};
use crate::clock::now;
use crate::store::{Outcome, Payloads, Record, Status, Verdict, Write};

/// Applies and records; one outcome a record, in order.
pub async fn apply(
    connection: &mut SqliteConnection,
    write: &Write,
    payloads: Payloads,
) -> Result<Vec<Outcome>, Error> {
    // Immediate: a transaction that only becomes a writer later fails at once where another process writes.
    let mut transaction = connection.begin_with("begin immediate").await?;
    let mut before = Vec::with_capacity(write.records.len());
    for record in &write.records {
        before.push(read_before(&mut transaction, record).await?);
    }
    let now_ms = now().ms();
    let mut written = HashMap::new();
    for change in &write.changes {
        if let Some(event_id) = join_user(&mut transaction, change, now_ms).await? {
            written.insert(&change.clerk_id, event_id);
        }
    }
    let mut outcomes = Vec::with_capacity(write.records.len());
    for (record, before) in write.records.iter().zip(before) {
        let status = status(record, &before, &written, write);
        let now = record_event(&mut transaction, record, status, now_ms, payloads).await?;
        outcomes.push(outcome(before.line, now));
    }
    transaction.commit().await?;
    Ok(outcomes)
}

/// A user's row and an event's line as they were.
struct Before {
    version: Option<Version>,
    deleted_at: Option<Timestamp>,
    line: Option<Status>,
}

async fn read_before(connection: &mut SqliteConnection, record: &Record) -> Result<Before, Error> {
    let row = sqlx::query(include_str!("before.sql"))
        .bind(clerk_id(record).map(ClerkId::as_str))
        .bind(record.event.id().as_str())
        .fetch_one(connection)
        .await?;
    let event_id = row.try_get::<Option<&str>, _>("event_id")?.and_then(EventId::new);
    let version = || {
        let (updated_at, occurred_at) = (time(&row, "updated_at")?, time(&row, "occurred_at")?);
        Ok::<_, Error>(updated_at.zip(occurred_at).zip(event_id.clone()))
    };
    Ok(Before {
        version: version()?.map(|((updated_at, occurred_at), event_id)| Version { updated_at, occurred_at, event_id }),
        deleted_at: time(&row, "deleted_at")?,
        line: row.try_get::<Option<&str>, _>("line")?.and_then(Status::named),
    })
}

/// The row's event after the join; nothing where the change altered nothing.
async fn join_user(
    connection: &mut SqliteConnection,
    change: &UserChange,
    now_ms: i64,
) -> Result<Option<Option<EventId>>, Error> {
    let version = change.profile.as_ref().map(|(version, _)| version);
    let none = UserProfile::default();
    let profile = change.profile.as_ref().map_or(&none, |(_, profile)| profile);
    let ms = |time: Option<Timestamp>| time.map(Timestamp::ms);
    let row = sqlx::query(include_str!("join_user.sql"))
        .bind(change.clerk_id.as_str())
        .bind(&profile.email)
        .bind(profile.email_verified)
        .bind(&profile.phone)
        .bind(profile.phone_verified)
        .bind(&profile.username)
        .bind(&profile.first_name)
        .bind(&profile.last_name)
        .bind(&profile.image_url)
        .bind(&profile.external_id)
        .bind(&profile.locale)
        .bind(profile.banned)
        .bind(profile.locked)
        .bind(profile.two_factor_enabled)
        .bind(profile.password_enabled)
        .bind(profile.public_metadata.as_deref())
        .bind(profile.private_metadata.as_deref())
        .bind(profile.unsafe_metadata.as_deref())
        .bind(ms(profile.last_sign_in_at))
        .bind(ms(profile.last_active_at))
        .bind(ms(profile.legal_accepted_at))
        .bind(ms(profile.created_at))
        .bind(version.map(|version| version.updated_at.ms()))
        .bind(ms(change.deleted_at))
        .bind(version.map(|_| &*profile.data))
        .bind(version.map(|version| version.event_id.as_str()))
        .bind(version.map(|version| version.occurred_at.ms()))
        .bind(now_ms)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok(row.try_get::<Option<&str>, _>("event_id")?.and_then(EventId::new))).transpose()
}

/// What became of an event: the words are in `postgres/apply.sql`.
fn status(record: &Record, before: &Before, written: &HashMap<&ClerkId, Option<EventId>>, write: &Write) -> Status {
    let Verdict::Readable { clerk_id, occurred_at, updated_at, leads } = &record.verdict else {
        return Status::Failed;
    };
    let row_event = written.get(clerk_id);
    let altered = match updated_at {
        None => row_event.is_some() && before.deleted_at.is_none_or(|deleted_at| *occurred_at < deleted_at),
        Some(updated_at) => {
            let won = row_event.is_some_and(|event| event.as_ref() == write.newest(clerk_id));
            let version =
                Version { updated_at: *updated_at, occurred_at: *occurred_at, event_id: record.event.id().clone() };
            won && before.version.as_ref().is_none_or(|before| version > *before)
        }
    };
    if *leads && altered { Status::Applied } else { Status::Stale }
}

/// Inserts or updates the line; its status now.
async fn record_event(
    connection: &mut SqliteConnection,
    record: &Record,
    status: Status,
    now_ms: i64,
    payloads: Payloads,
) -> Result<Status, Error> {
    let (occurred_at, failure) = match &record.verdict {
        Verdict::Readable { occurred_at, .. } => (Some(occurred_at.ms()), None),
        Verdict::Failed { failure, .. } => (None, Some(failure)),
    };
    let keeps = payloads == Payloads::All || failure.is_some();
    let row = sqlx::query(include_str!("record.sql"))
        .bind(record.event.id().as_str())
        .bind(record.event.event_type().as_str())
        .bind(clerk_id(record).map(ClerkId::as_str))
        .bind(occurred_at)
        .bind(record.event.sent_at().ms())
        .bind(record.event.received_at().ms())
        .bind(now_ms)
        .bind(status.as_str())
        .bind(i64::from(record.deliveries))
        .bind(failure.map(|failure| failure.text.as_str()))
        .bind(failure.map(|failure| &*failure.code))
        .bind(keeps.then_some(&record.event.body()[..]))
        .fetch_one(connection)
        .await?;
    Ok(Status::named(row.try_get("status")?).unwrap_or(status))
}

fn outcome(before: Option<Status>, now: Status) -> Outcome {
    match (before, now) {
        (Some(Status::Applied | Status::Stale), _) | (Some(Status::Discarded), Status::Discarded) => Outcome::Repeated,
        (_, Status::Applied) => Outcome::Applied,
        (_, Status::Failed) => Outcome::Failed,
        (_, Status::Stale | Status::Discarded) => Outcome::Stale,
    }
}

fn clerk_id(record: &Record) -> Option<&ClerkId> {
    match &record.verdict {
        Verdict::Readable { clerk_id, .. } => Some(clerk_id),
        Verdict::Failed { clerk_id, .. } => clerk_id.as_ref(),
    }
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(Timestamp::from_ms))
}
