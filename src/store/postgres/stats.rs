//! Counts. `store::stats` says what they come to.

use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::connection;
use super::pool::Pool;
use super::read::{required, time, utc};
use crate::clerk::Timestamp;
use crate::store::stats::{self, FAILED_MAX, FailedGroup, Group, RECENT_MAX, RecentGroup};
use crate::store::{Failed, Recent, Status, Time, Totals};

pub async fn totals(pool: &Pool) -> Result<Totals, Error> {
    let users = connection::rows(pool, sqlx::query(pool.sql().totals_of_users.clone())).await?;
    let (users, deleted_users) = users.first().map_or(Ok((0, 0)), |row| {
        Ok::<_, Error>((count(row, "users")?, count(row, "deleted_users")?))
    })?;
    let read = |row: &PgRow| {
        Ok::<_, Error>(Group {
            status: status(row)?,
            event_type: row.try_get("event_type")?,
            count: count(row, "lines")?,
        })
    };
    let groups = connection::rows(pool, sqlx::query(pool.sql().totals.clone())).await?;
    Ok(Totals::of(
        users,
        deleted_users,
        groups.iter().map(read).collect::<Result<_, _>>()?,
    ))
}

pub async fn failed(pool: &Pool) -> Result<Failed, Error> {
    let query = sqlx::query(pool.sql().failed.clone()).bind(i64::from(FAILED_MAX) + 1);
    let read = |row: &PgRow| {
        let oldest_received_at = time(row, "oldest")?;
        Ok::<_, Error>(FailedGroup {
            code: row.try_get("code")?,
            count: count(row, "lines")?,
            oldest_received_at,
        })
    };
    let groups = connection::rows(pool, query).await?;
    Ok(Failed::of(
        groups.iter().map(read).collect::<Result<_, _>>()?,
    ))
}

pub async fn recent(pool: &Pool, now: Timestamp) -> Result<Recent, Error> {
    let since = stats::an_hour_before(now);
    let query = sqlx::query(pool.sql().recent.clone())
        .bind(utc(since))
        .bind(i64::from(RECENT_MAX) + 1);
    let read = |row: &PgRow| {
        let lag_ms: Option<i64> = row.try_get("lag_ms")?;
        Ok::<_, Error>(RecentGroup {
            at: required(time(row, "minute")?, "minute")?.0,
            status: status(row)?,
            lag_ms: lag_ms.map(i64::unsigned_abs),
            count: count(row, "lines")?,
        })
    };
    let groups = connection::rows(pool, query).await?;
    Ok(Recent::of(
        &groups.iter().map(read).collect::<Result<Vec<_>, _>>()?,
        since,
        now,
    ))
}

pub async fn last_received_at(pool: &Pool) -> Result<Option<Time>, Error> {
    let rows = connection::rows(pool, sqlx::query(pool.sql().last_received.clone())).await?;
    rows.first()
        .map_or(Ok(None), |row| time(row, "received_at"))
}

fn count(row: &PgRow, column: &str) -> Result<u64, Error> {
    Ok(row.try_get::<i64, _>(column)?.unsigned_abs())
}

fn status(row: &PgRow) -> Result<Status, Error> {
    required(Status::named(row.try_get("status")?), "status")
}
