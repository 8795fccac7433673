//! What is known of many users at once.

use std::num::NonZeroU32;

use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Error, Row};

use super::apply::time;
use crate::clerk::api_object::Outline;
use crate::clerk::{ClerkId, EventId, Version};
use crate::store::{KnownUser, LiveUser};

pub async fn known(pool: &SqlitePool, ids: &[ClerkId]) -> Result<Vec<KnownUser>, Error> {
    let ids: Vec<_> = ids.iter().map(ClerkId::as_str).collect();
    let ids = serde_json::to_string(&ids).map_err(|error| Error::Encode(error.into()))?;
    let rows = sqlx::query(include_str!("known_users.sql"))
        .bind(ids)
        .fetch_all(pool)
        .await?;
    rows.iter().map(read_known).collect()
}

pub async fn live(
    pool: &SqlitePool,
    after: Option<&ClerkId>,
    limit: NonZeroU32,
) -> Result<Vec<LiveUser>, Error> {
    let query = sqlx::query(include_str!("live_users.sql"));
    let rows = query
        .bind(after.map_or("", ClerkId::as_str))
        .bind(limit.get())
        .fetch_all(pool)
        .await?;
    let read = |row: &SqliteRow| {
        Ok(LiveUser {
            clerk_id: clerk_id(row)?,
            created_at: time(row, "created_at")?,
        })
    };
    rows.iter().map(read).collect()
}

fn clerk_id(row: &SqliteRow) -> Result<ClerkId, Error> {
    let id = ClerkId::new(row.try_get("clerk_id")?);
    id.ok_or_else(|| Error::Decode("clerk_id holds what this program never writes".into()))
}

fn read_known(row: &SqliteRow) -> Result<KnownUser, Error> {
    let event_id = row
        .try_get::<Option<&str>, _>("event_id")?
        .and_then(EventId::new);
    let version = time(row, "updated_at")?
        .zip(time(row, "occurred_at")?)
        .zip(event_id);
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
            updated_at,
            occurred_at,
            event_id,
        }),
        deleted_at: time(row, "deleted_at")?,
        is_erased: row.try_get("is_erased")?,
        outline,
    })
}
