//! A write as the arrays that `apply.sql` takes, and the outcomes it gives.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgPool;
use sqlx::{Error, Row};

use super::connection;
use crate::clerk::{Timestamp, UserProfile};
use crate::store::{Outcome, Payloads, Record, Verdict, Write};

/// Applies and records; one outcome a record, in order.
pub async fn apply(pool: &PgPool, write: &Write, payloads: Payloads) -> Result<Vec<Outcome>, Error> {
    if write.records.is_empty() && write.changes.is_empty() {
        return Ok(Vec::new());
    }
    // Every array below is as long as `changes` or as `records`: PostgreSQL would fill up a shorter one with nulls.
    let changes = &write.changes;
    let text = |read: fn(&UserProfile) -> Option<&str>| profiles(write, read);
    let truth = |read: fn(&UserProfile) -> Option<bool>| profiles(write, read);
    let time = |read: fn(&UserProfile) -> Option<Timestamp>| profiles(write, move |profile| read(profile).map(utc));
    let version = changes.iter().map(|change| change.profile.as_ref().map(|(version, _)| version));
    let updated_at: Vec<_> = version.clone().map(|version| version.map(|v| utc(v.updated_at))).collect();
    let occurred_at: Vec<_> = version.clone().map(|version| version.map(|v| utc(v.occurred_at))).collect();
    let event_id: Vec<_> = version.map(|version| version.map(|v| v.event_id.as_str())).collect();

    let query = sqlx::query(include_str!("apply.sql"))
        .bind(changes.iter().map(|change| change.clerk_id.as_str()).collect::<Vec<_>>())
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
        .bind(changes.iter().map(|change| change.deleted_at.map(utc)).collect::<Vec<_>>())
        .bind(text(|p| Some(&p.data)))
        .bind(event_id)
        .bind(occurred_at);

    let records = &write.records;
    let readable: Vec<_> = records.iter().map(|record| Readable::of(record, write)).collect();
    let keeps = |record: &Record| payloads == Payloads::All || matches!(record.verdict, Verdict::Failed { .. });
    let query = query
        .bind(records.iter().map(|record| record.event.id().as_str()).collect::<Vec<_>>())
        .bind(records.iter().map(|record| record.event.event_type().as_str()).collect::<Vec<_>>())
        .bind(readable.iter().map(|record| record.clerk_id).collect::<Vec<_>>())
        .bind(readable.iter().map(|record| record.occurred_at).collect::<Vec<_>>())
        .bind(records.iter().map(|record| utc(record.event.sent_at())).collect::<Vec<_>>())
        .bind(records.iter().map(|record| utc(record.event.received_at())).collect::<Vec<_>>())
        .bind(readable.iter().map(|record| record.updated_at).collect::<Vec<_>>())
        .bind(readable.iter().map(|record| record.leads).collect::<Vec<_>>())
        .bind(readable.iter().map(|record| record.newest).collect::<Vec<_>>())
        .bind(records.iter().map(|record| i64::from(record.deliveries)).collect::<Vec<_>>())
        .bind(records.iter().map(|record| failure(record).map(|(_, text)| text)).collect::<Vec<_>>())
        .bind(records.iter().map(|record| failure(record).map(|(code, _)| code)).collect::<Vec<_>>())
        .bind(records.iter().map(|record| keeps(record).then_some(&record.event.body()[..])).collect::<Vec<_>>());

    let mut lines = connection::rows(pool, query).await?;
    lines.sort_unstable_by(|a, b| id_of(a).cmp(id_of(b)));
    lines.iter().map(outcome).collect()
}

/// Deletes old lines; how many.
pub async fn prune(pool: &PgPool, older_than: Timestamp, limit: u32) -> Result<u64, Error> {
    let prune = sqlx::query(include_str!("prune.sql")).bind(utc(older_than)).bind(i64::from(limit));
    let rows = connection::rows(pool, prune).await?;
    let lines: i64 = rows.first().map_or(Ok(0), |row| row.try_get("lines"))?;
    Ok(lines.unsigned_abs())
}

/// One element a change: what `read` finds in its profile, nothing where it has none.
fn profiles<'a, T>(write: &'a Write, read: impl Fn(&'a UserProfile) -> Option<T>) -> Vec<Option<T>> {
    write.changes.iter().map(|change| change.profile.as_ref().and_then(|(_, profile)| read(profile))).collect()
}

/// The columns of a record that only a readable event has.
#[derive(Default)]
struct Readable<'a> {
    clerk_id: Option<&'a str>,
    occurred_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    leads: bool,
    newest: Option<&'a str>,
}

impl<'a> Readable<'a> {
    fn of(record: &'a Record, write: &'a Write) -> Self {
        match &record.verdict {
            Verdict::Readable { clerk_id, occurred_at, updated_at, leads } => Self {
                clerk_id: Some(clerk_id.as_str()),
                occurred_at: Some(utc(*occurred_at)),
                updated_at: updated_at.map(utc),
                leads: *leads,
                newest: write.newest(clerk_id).map(|id| id.as_str()),
            },
            Verdict::Failed { clerk_id, .. } => {
                Self { clerk_id: clerk_id.as_ref().map(|id| id.as_str()), ..Self::default() }
            }
        }
    }
}

/// The error code and the error of a failed event.
fn failure(record: &Record) -> Option<(&str, &str)> {
    match &record.verdict {
        Verdict::Readable { .. } => None,
        Verdict::Failed { failure, .. } => Some((&failure.code, &failure.text)),
    }
}

fn utc(time: Timestamp) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(time.ms()).expect("chrono can hold every time up to the year 9999")
}

fn id_of(line: &sqlx::postgres::PgRow) -> &str {
    line.try_get("event_id").unwrap_or_default()
}

fn outcome(line: &sqlx::postgres::PgRow) -> Result<Outcome, Error> {
    Ok(match (line.try_get("tried")?, line.try_get("status")?) {
        (false, _) => Outcome::Repeated,
        (true, "applied") => Outcome::Applied,
        (true, "failed") => Outcome::Failed,
        (true, _) => Outcome::Stale,
    })
}
