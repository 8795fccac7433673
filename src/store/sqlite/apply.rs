//! A write in one transaction: the same rule and the same statuses as `postgres/apply.sql`.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Connection, Error, Row};

use super::lowercase;
use super::multi_insert::Rows;
use crate::clerk::{Change, ClerkId, EventId, EventType, Timestamp, UserProfile, Version};
use crate::clock::now;
use crate::store::{Keep, OnDelete, Outcome, Parsed, Payloads, Record, Status, Write, template};

/// Applies and records; one outcome a record, in order.
pub async fn apply(
    connection: &mut SqliteConnection,
    write: &Write,
    keep: Keep,
) -> Result<Vec<Outcome>, Error> {
    // Immediate: a transaction that only becomes a writer later fails at once where another process writes.
    let mut transaction = connection.begin_with("begin immediate").await?;
    let users = users_before(&mut transaction, write).await?;
    let lines = lines_before(&mut transaction, write).await?;
    let now_ms = now().ms();
    let written = join_users(&mut transaction, &write.changes, now_ms, keep.on_delete).await?;
    for (id, row) in &written {
        if row.erased {
            empty_payloads(&mut transaction, id).await?;
        }
    }
    let none = Before::default();
    let line = |record| {
        let user = clerk_id(record);
        let before = user.and_then(|id| users.get(id)).unwrap_or(&none);
        let row = user.and_then(|id| written.get(id));
        // Whose user is gone keeps no payload, but for a delete's, which holds nothing personal.
        let is_gone = row.map_or(before.erased, |row| row.erased);
        let withheld = is_gone && *record.event.event_type() != EventType::UserDeleted;
        let status = match status(record, before, row, write) {
            // It could not be replayed, and would change nothing.
            Status::Failed if withheld => Status::Discarded,
            status => status,
        };
        let keeps = !withheld
            && (keep.payloads == Payloads::All || matches!(record.parsed, Parsed::Failed { .. }));
        let superseded_by = current(record, before, row).filter(|_| status == Status::Stale);
        Line {
            record,
            status,
            superseded_by,
            keeps,
        }
    };
    let recorded: Vec<_> = write.records.iter().map(line).collect();
    let now = record_events(&mut transaction, &recorded, now_ms).await?;
    transaction.commit().await?;
    let outcome = |line: &Line<'_>| {
        let id = line.record.event.id();
        outcome(
            lines.get(id).copied(),
            now.get(id).copied().unwrap_or(line.status),
        )
    };
    Ok(recorded.iter().map(outcome).collect())
}

/// A user's row as it was: what a record needs to say whether its event altered anything.
#[derive(Default)]
struct Before {
    version: Option<Version>,
    deleted_at: Option<Timestamp>,
    erased: bool,
}

/// A user's row after a change that altered it.
struct Joined {
    event_id: Option<EventId>,
    erased: bool,
}

/// The rows of all users that a write is about.
async fn users_before(
    connection: &mut SqliteConnection,
    write: &Write,
) -> Result<HashMap<ClerkId, Before>, Error> {
    let ids = json(
        write
            .records
            .iter()
            .filter_map(clerk_id)
            .map(ClerkId::as_str),
    );
    let rows = sqlx::query(include_str!("users_before.sql"))
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let before = |row: &SqliteRow| {
        let event_id = row
            .try_get::<Option<&str>, _>("event_id")?
            .and_then(EventId::new);
        let version = time(row, "updated_at")?
            .zip(time(row, "occurred_at")?)
            .zip(event_id);
        let version = version.map(|((updated_at, occurred_at), event_id)| Version {
            updated_at,
            occurred_at,
            event_id,
        });
        Ok(Before {
            version,
            deleted_at: time(row, "deleted_at")?,
            erased: row.try_get("erased")?,
        })
    };
    by_key(&rows, "clerk_id", ClerkId::new, before)
}

/// The statuses of all events of a write that were recorded before.
async fn lines_before(
    connection: &mut SqliteConnection,
    write: &Write,
) -> Result<HashMap<EventId, Status>, Error> {
    let ids = json(
        write
            .records
            .iter()
            .map(|record| record.event.id().as_str()),
    );
    let rows = sqlx::query(include_str!("lines_before.sql"))
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let statuses = by_key(&rows, "event_id", EventId::new, |row| {
        Ok(Status::named(row.try_get("status")?))
    })?;
    Ok(statuses
        .into_iter()
        .filter_map(|(id, status)| Some((id, status?)))
        .collect())
}

fn json<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::to_string(&texts.collect::<Vec<_>>()).expect("texts can always be written as JSON")
}

/// What each row says, by the key in `column`.
fn by_key<K: Eq + std::hash::Hash, V>(
    rows: &[SqliteRow],
    column: &str,
    key: fn(&str) -> Option<K>,
    read: impl Fn(&SqliteRow) -> Result<V, Error>,
) -> Result<HashMap<K, V>, Error> {
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        // Every key was written by us.
        if let Some(key) = key(row.try_get(column)?) {
            found.insert(key, read(row)?);
        }
    }
    Ok(found)
}

/// The statement without and with the erasure of those who are deleted.
static JOIN: LazyLock<[Rows; 2]> = LazyLock::new(|| {
    const COLUMNS: usize = 30;
    let newer = "(users.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (users.updated_at, users.occurred_at, users.event_id))";
    let deleted = "users.deleted_at is not null or excluded.deleted_at is not null";
    let gone = [
        "users.erased_at is not null".into(),
        format!("(users.erased_at is not null or {deleted})"),
    ];
    gone.map(|gone| {
        let conditions = [("<newer>", newer), ("<gone>", &gone)];
        Rows::of(
            &template::assemble(include_str!("join_users.sql"), &conditions),
            COLUMNS,
        )
    })
});

static RECORD: LazyLock<Rows> = LazyLock::new(|| {
    const COLUMNS: usize = 14;
    let tried =
        "(events.status = 'failed' or events.status = 'discarded' and excluded.status <> 'failed')";
    Rows::of(
        &template::assemble(include_str!("record_events.sql"), &[("<tried>", tried)]),
        COLUMNS,
    )
});

/// The rows that were altered.
async fn join_users(
    connection: &mut SqliteConnection,
    changes: &[Change],
    now_ms: i64,
    on_delete: OnDelete,
) -> Result<HashMap<ClerkId, Joined>, Error> {
    let scrubs = on_delete == OnDelete::Scrub;
    let none = UserProfile::default();
    let ms = |time: Option<Timestamp>| time.map(Timestamp::ms);
    let mut joined = HashMap::with_capacity(changes.len());
    for (statement, part) in JOIN[usize::from(scrubs)].parts(changes) {
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for change in part {
            let version = change.profile.as_ref().map(|(version, _)| version);
            let profile = change
                .profile
                .as_ref()
                .map_or(&none, |(_, profile)| profile);
            query = query
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
                .bind(change.deleted_at.filter(|_| scrubs).map(|_| now_ms))
                .bind(lowercase::of_profile(profile));
        }
        let rows = query.fetch_all(&mut *connection).await?;
        let read = |row: &SqliteRow| {
            let event_id = row
                .try_get::<Option<&str>, _>("event_id")?
                .and_then(EventId::new);
            Ok(Joined {
                event_id,
                erased: row.try_get("erased")?,
            })
        };
        joined.extend(by_key(&rows, "clerk_id", ClerkId::new, read)?);
    }
    Ok(joined)
}

async fn empty_payloads(connection: &mut SqliteConnection, id: &ClerkId) -> Result<u64, Error> {
    let emptied = sqlx::query(include_str!("empty_payloads.sql"))
        .bind(id.as_str())
        .execute(connection)
        .await?;
    Ok(emptied.rows_affected())
}

static ERASE: LazyLock<String> =
    LazyLock::new(|| template::assemble(include_str!("erase.sql"), &[]));

/// Erases these users' rows and the payloads of their events; how many of each.
pub async fn erase(
    connection: &mut SqliteConnection,
    which: Which<'_>,
) -> Result<(u64, u64), Error> {
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
        let erase = sqlx::query(AssertSqlSafe(ERASE.as_str()))
            .bind(id.as_str())
            .bind(now().ms());
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
fn status(record: &Record, before: &Before, row: Option<&Joined>, write: &Write) -> Status {
    let Parsed::Readable {
        clerk_id,
        occurred_at,
        updated_at,
        changed_within_write,
    } = &record.parsed
    else {
        return Status::Failed;
    };
    let altered = match updated_at {
        None => {
            row.is_some()
                && before
                    .deleted_at
                    .is_none_or(|deleted_at| *occurred_at < deleted_at)
        }
        Some(updated_at) => {
            let newest = write.newest(clerk_id);
            let won = newest.is_some() && row.is_some_and(|row| row.event_id.as_ref() == newest);
            let version = Version {
                updated_at: *updated_at,
                occurred_at: *occurred_at,
                event_id: record.event.id().clone(),
            };
            won && before
                .version
                .as_ref()
                .is_none_or(|before| version > *before)
        }
    };
    if *changed_within_write && altered {
        Status::Applied
    } else {
        Status::Stale
    }
}

/// For a profile that is stale: the version that is there now, which is no older.
fn current<'a>(
    record: &Record,
    before: &'a Before,
    row: Option<&'a Joined>,
) -> Option<&'a EventId> {
    let Parsed::Readable {
        occurred_at,
        updated_at: Some(updated_at),
        ..
    } = &record.parsed
    else {
        return None;
    };
    let version = Version {
        updated_at: *updated_at,
        occurred_at: *occurred_at,
        event_id: record.event.id().clone(),
    };
    let before = before
        .version
        .as_ref()
        .filter(|before| **before >= version)
        .map(|before| &before.event_id);
    row.and_then(|row| row.event_id.as_ref()).or(before)
}

/// A line to be.
struct Line<'a> {
    record: &'a Record,
    status: Status,
    superseded_by: Option<&'a EventId>,
    /// Whether the payload is kept.
    keeps: bool,
}

/// Inserts or updates the lines; their statuses now.
async fn record_events(
    connection: &mut SqliteConnection,
    lines: &[Line<'_>],
    now_ms: i64,
) -> Result<HashMap<EventId, Status>, Error> {
    let mut statuses = HashMap::with_capacity(lines.len());
    for (statement, part) in RECORD.parts(lines) {
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for Line {
            record,
            status,
            superseded_by,
            keeps,
        } in part
        {
            let (occurred_at, failure) = match &record.parsed {
                Parsed::Readable { occurred_at, .. } => (Some(occurred_at.ms()), None),
                Parsed::Failed { failure, .. } => (None, Some(failure)),
            };
            query = query
                .bind(record.event.id().as_str())
                .bind(record.event.event_type().as_str())
                .bind(clerk_id(record).map(ClerkId::as_str))
                .bind(occurred_at)
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
        let rows = query.fetch_all(&mut *connection).await?;
        let written = by_key(&rows, "event_id", EventId::new, |row| {
            Ok(Status::named(row.try_get("status")?))
        })?;
        statuses.extend(
            written
                .into_iter()
                .filter_map(|(id, status)| Some((id, status?))),
        );
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

fn clerk_id(record: &Record) -> Option<&ClerkId> {
    match &record.parsed {
        Parsed::Readable { clerk_id, .. } => Some(clerk_id),
        Parsed::Failed { clerk_id, .. } => clerk_id.as_ref(),
    }
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, Error> {
    Ok(row
        .try_get::<Option<i64>, _>(column)?
        .and_then(Timestamp::from_ms))
}
