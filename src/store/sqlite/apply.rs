//! A write, row by row in one transaction: the same rule and the same statuses as `postgres/apply.sql`.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Error, Row};

use crate::clerk::{ClerkId, EventId, EventType, Timestamp, UserChange, UserProfile, Version};
use crate::clock::now;
use crate::store::{Keep, OnDelete, Outcome, Payloads, Record, Status, Verdict, Write, statement};

/// Applies and records; one outcome a record, in order.
pub async fn apply(connection: &mut SqliteConnection, write: &Write, keep: Keep) -> Result<Vec<Outcome>, Error> {
    // Immediate: a transaction that only becomes a writer later fails at once where another process writes.
    let mut transaction = connection.begin_with("begin immediate").await?;
    let mut before = Vec::with_capacity(write.records.len());
    for record in &write.records {
        before.push(read_before(&mut transaction, record).await?);
    }
    let now_ms = now().ms();
    let mut written = HashMap::new();
    for change in &write.changes {
        if let Some(row) = join_user(&mut transaction, change, now_ms, keep.on_delete).await? {
            if row.erased {
                empty_payloads(&mut transaction, &change.clerk_id).await?;
            }
            written.insert(&change.clerk_id, row);
        }
    }
    let mut outcomes = Vec::with_capacity(write.records.len());
    for (record, before) in write.records.iter().zip(before) {
        let is_gone =
            clerk_id(record).map_or(before.erased, |id| written.get(id).map_or(before.erased, |row| row.erased));
        // Whose user is gone keeps no payload, but for a delete's, which holds nothing personal.
        let withheld = is_gone && *record.event.event_type() != EventType::UserDeleted;
        let status = match status(record, &before, &written, write) {
            // It could not be replayed, and would change nothing.
            Status::Failed if withheld => Status::Discarded,
            status => status,
        };
        let keeps = !withheld && (keep.payloads == Payloads::All || matches!(record.verdict, Verdict::Failed { .. }));
        let line = Line {
            status,
            superseded_by: current(record, &before, &written).filter(|_| status == Status::Stale),
            keeps,
        };
        let now = record_event(&mut transaction, record, &line, now_ms).await?;
        outcomes.push(outcome(before.line, now));
    }
    transaction.commit().await?;
    Ok(outcomes)
}

/// A user's row and an event's line as they were.
struct Before {
    version: Option<Version>,
    deleted_at: Option<Timestamp>,
    erased: bool,
    line: Option<Status>,
}

/// A user's row after a change that altered it.
struct Joined {
    event_id: Option<EventId>,
    erased: bool,
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
        erased: row.try_get("erased")?,
        line: row.try_get::<Option<&str>, _>("line")?.and_then(Status::named),
    })
}

static JOIN: LazyLock<String> = LazyLock::new(|| {
    statement::assemble(
        include_str!("join_user.sql"),
        &[
            (
                "<newer>",
                "(users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id))",
            ),
            (
                "<gone>",
                "(users.erased_at is not null or ?29 and (users.deleted_at is not null or excluded.deleted_at is not null))",
            ),
        ],
    )
});

static RECORD: LazyLock<String> = LazyLock::new(|| {
    let tried = "(events.status = 'failed' or events.status = 'discarded' and excluded.status <> 'failed')";
    statement::assemble(include_str!("record.sql"), &[("<tried>", tried)])
});

static ERASE: LazyLock<String> = LazyLock::new(|| statement::assemble(include_str!("erase.sql"), &[]));

/// Nothing where the change altered nothing.
async fn join_user(
    connection: &mut SqliteConnection,
    change: &UserChange,
    now_ms: i64,
    on_delete: OnDelete,
) -> Result<Option<Joined>, Error> {
    let version = change.profile.as_ref().map(|(version, _)| version);
    let none = UserProfile::default();
    let profile = change.profile.as_ref().map_or(&none, |(_, profile)| profile);
    let ms = |time: Option<Timestamp>| time.map(Timestamp::ms);
    let row = sqlx::query(AssertSqlSafe(JOIN.as_str()))
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
        .bind(on_delete == OnDelete::Scrub)
        .fetch_optional(connection)
        .await?;
    let joined = |row: SqliteRow| {
        let event_id = row.try_get::<Option<&str>, _>("event_id")?.and_then(EventId::new);
        Ok(Joined { event_id, erased: row.try_get("erased")? })
    };
    row.map(joined).transpose()
}

async fn empty_payloads(connection: &mut SqliteConnection, id: &ClerkId) -> Result<u64, Error> {
    let emptied = sqlx::query(include_str!("empty_payloads.sql")).bind(id.as_str()).execute(connection).await?;
    Ok(emptied.rows_affected())
}

/// Erases these users' rows and the payloads of their events; how many of each.
pub async fn erase(connection: &mut SqliteConnection, which: Which<'_>) -> Result<(u64, u64), Error> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    let ids = match which {
        Which::User(id) => vec![id.clone()],
        Which::Deleted { limit } => {
            let ids = sqlx::query_scalar::<_, String>(include_str!("deleted_not_erased.sql"));
            let ids = ids.bind(limit).fetch_all(&mut *transaction).await?;
            ids.iter().filter_map(|id| ClerkId::new(id)).collect()
        }
    };
    let (mut users, mut payloads) = (0, 0);
    for id in &ids {
        let erase = sqlx::query(AssertSqlSafe(ERASE.as_str())).bind(id.as_str()).bind(now().ms());
        users += erase.execute(&mut *transaction).await?.rows_affected();
        payloads += empty_payloads(&mut transaction, id).await?;
    }
    transaction.commit().await?;
    Ok((users, payloads))
}

/// Whose data is erased.
pub enum Which<'a> {
    User(&'a ClerkId),
    /// Deleted users that are not erased yet.
    Deleted {
        limit: u32,
    },
}

/// Deletes a user's row and events; how many of each.
pub async fn forget(connection: &mut SqliteConnection, id: &ClerkId) -> Result<(u64, u64), Error> {
    let mut transaction = connection.begin_with("begin immediate").await?;
    let users = sqlx::query("delete from users where clerk_id = ?1").bind(id.as_str());
    let users = users.execute(&mut *transaction).await?.rows_affected();
    let events = sqlx::query("delete from events where clerk_id = ?1").bind(id.as_str());
    let events = events.execute(&mut *transaction).await?.rows_affected();
    transaction.commit().await?;
    Ok((users, events))
}

/// What became of an event: the words are in `postgres/apply.sql`.
fn status(record: &Record, before: &Before, written: &HashMap<&ClerkId, Joined>, write: &Write) -> Status {
    let Verdict::Readable { clerk_id, occurred_at, updated_at, leads } = &record.verdict else {
        return Status::Failed;
    };
    let row = written.get(clerk_id);
    let altered = match updated_at {
        None => row.is_some() && before.deleted_at.is_none_or(|deleted_at| *occurred_at < deleted_at),
        Some(updated_at) => {
            let newest = write.newest(clerk_id);
            let won = newest.is_some() && row.is_some_and(|row| row.event_id.as_ref() == newest);
            let version =
                Version { updated_at: *updated_at, occurred_at: *occurred_at, event_id: record.event.id().clone() };
            won && before.version.as_ref().is_none_or(|before| version > *before)
        }
    };
    if *leads && altered { Status::Applied } else { Status::Stale }
}

/// For a profile that is stale: the version that is there now, which is no older.
fn current<'a>(record: &Record, before: &'a Before, written: &'a HashMap<&ClerkId, Joined>) -> Option<&'a EventId> {
    let Verdict::Readable { clerk_id, occurred_at, updated_at: Some(updated_at), .. } = &record.verdict else {
        return None;
    };
    let version = Version { updated_at: *updated_at, occurred_at: *occurred_at, event_id: record.event.id().clone() };
    let before = before.version.as_ref().filter(|before| **before >= version).map(|before| &before.event_id);
    written.get(clerk_id).and_then(|row| row.event_id.as_ref()).or(before)
}

/// What a line is to say beside the event.
struct Line<'a> {
    status: Status,
    superseded_by: Option<&'a EventId>,
    /// Whether the payload is kept.
    keeps: bool,
}

/// Inserts or updates the line; its status now.
async fn record_event(
    connection: &mut SqliteConnection,
    record: &Record,
    line: &Line<'_>,
    now_ms: i64,
) -> Result<Status, Error> {
    let (occurred_at, failure) = match &record.verdict {
        Verdict::Readable { occurred_at, .. } => (Some(occurred_at.ms()), None),
        Verdict::Failed { failure, .. } => (None, Some(failure)),
    };
    let row = sqlx::query(AssertSqlSafe(RECORD.as_str()))
        .bind(record.event.id().as_str())
        .bind(record.event.event_type().as_str())
        .bind(clerk_id(record).map(ClerkId::as_str))
        .bind(occurred_at)
        .bind(record.event.sent_at().ms())
        .bind(record.event.received_at().ms())
        .bind(now_ms)
        .bind(line.status.as_str())
        .bind(i64::from(record.deliveries))
        .bind(failure.map(|failure| failure.text.as_str()))
        .bind(failure.map(|failure| &*failure.code))
        .bind(line.keeps.then_some(&record.event.body()[..]))
        .bind(line.superseded_by.map(EventId::as_str))
        .fetch_one(connection)
        .await?;
    Ok(Status::named(row.try_get("status")?).unwrap_or(line.status))
}

fn outcome(before: Option<Status>, now: Status) -> Outcome {
    match (before, now) {
        (Some(Status::Applied | Status::Stale), _) | (Some(Status::Discarded), Status::Discarded) => Outcome::Repeated,
        (_, Status::Applied) => Outcome::Applied,
        (_, Status::Failed) => Outcome::Failed,
        (_, Status::Stale) => Outcome::Stale,
        (_, Status::Discarded) => Outcome::Discarded,
    }
}

fn clerk_id(record: &Record) -> Option<&ClerkId> {
    match &record.verdict {
        Verdict::Readable { clerk_id, .. } => Some(clerk_id),
        Verdict::Failed { clerk_id, .. } => clerk_id.as_ref(),
    }
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row.try_get::<Option<i64>, _>(column)?.and_then(Timestamp::from_ms))
}
