//! What is known of many users at once.

use std::num::NonZeroU32;

use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::connection;
use super::pool::Pool;
use super::read::{required, time};
use crate::clerk::api_object::Outline;
use crate::clerk::{ClerkId, EventId, Version};
use crate::store::{KnownUser, LiveUser};

pub async fn known(pool: &Pool, ids: &[ClerkId]) -> Result<Vec<KnownUser>, Error> {
    let ids: Vec<_> = ids.iter().map(ClerkId::as_str).collect();
    let rows =
        connection::rows(pool, sqlx::query(pool.sql().known_users.clone()).bind(ids)).await?;
    rows.iter().map(read_known).collect()
}

pub async fn live(
    pool: &Pool,
    after: Option<&ClerkId>,
    limit: NonZeroU32,
) -> Result<Vec<LiveUser>, Error> {
    let query = sqlx::query(pool.sql().live_users.clone())
        .bind(after.map(ClerkId::as_str))
        .bind(i64::from(limit.get()));
    let read = |row: &PgRow| {
        let created_at = time(row, "created_at")?.map(|time| time.0);
        Ok(LiveUser {
            clerk_id: clerk_id(row)?,
            created_at,
        })
    };
    connection::rows(pool, query)
        .await?
        .iter()
        .map(read)
        .collect()
}

fn clerk_id(row: &PgRow) -> Result<ClerkId, Error> {
    required(ClerkId::new(row.try_get("clerk_id")?), "clerk_id")
}

fn read_known(row: &PgRow) -> Result<KnownUser, Error> {
    let (updated_at, occurred_at) = (time(row, "updated_at")?, time(row, "occurred_at")?);
    let event_id = row
        .try_get::<Option<&str>, _>("event_id")?
        .and_then(EventId::new);
    let version = updated_at.zip(occurred_at).zip(event_id);
    let mut outline = Outline::default();
    for (text, column) in outline.texts.iter_mut().zip(Outline::TEXTS) {
        *text = row.try_get(column)?;
    }
    for (truth, column) in outline.truths.iter_mut().zip(Outline::TRUTHS) {
        *truth = row.try_get(column)?;
    }
    Ok(KnownUser {
        clerk_id: clerk_id(row)?,
        version: version.map(|((updated_at, occurred_at), event_id)| Version {
            updated_at: updated_at.0,
            occurred_at: occurred_at.0,
            event_id,
        }),
        deleted_at: time(row, "deleted_at")?.map(|time| time.0),
        is_erased: row.try_get("is_erased")?,
        outline,
    })
}
