//! Makes the migrations. The version is read first, each migration is made in a transaction of its
//! own, and one process makes them at a time. Those of a schema that has none are made in one
//! transaction: if one fails, nothing is left behind.
//!
//! The lock belongs to the transaction. A pooler could hand a session with a lock to the next
//! client, and every later migration would wait for it without an end.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};
use tracing::{info, warn};

use super::error;
use super::migrations;
use super::schema_name::SchemaName;
use super::schema_state::SchemaState;
use super::statements::Statements;
use crate::store::StoreError;
use crate::store::embedded_migrations::POSTGRES as EMBEDDED;

/// The limits of a migration. A change to a table that another session has locked must not make all
/// others queue up behind it; otherwise it may take any time.
const LIMITS: &str = "set local lock_timeout = '5s'; set local statement_timeout = 0; \
                      set local idle_in_transaction_session_timeout = 0";

/// Between two attempts to take the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// The first log line about another process that migrates comes after this time.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// Between two log lines while another process migrates.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// Makes what is missing. Takes no lock if nothing is.
///
/// # Errors
/// Fails for a schema that is not this program's, and for a migration that the database refuses.
pub async fn migrate(connection: &mut PgConnection, sql: &Statements) -> Result<(), StoreError> {
    let mut wait = None;
    loop {
        let state = read(connection, sql).await?;
        if migrations::pending(state.applied())?.is_none() {
            if let Err(error) = state.check_encoding() {
                warn!(%error, "the schema is up to date, in a database that cannot hold every event");
            }
            return Ok(());
        }
        state.check_encoding()?;
        match make_next(connection, sql).await? {
            Progress::Made => wait = None,
            Progress::NoneLeft => {}
            Progress::Locked { holder } => {
                wait.get_or_insert_with(LockWait::new).pause(holder).await
            }
        }
    }
}

async fn read(connection: &mut PgConnection, sql: &Statements) -> Result<SchemaState, StoreError> {
    let state = SchemaState::read(connection, sql, true)
        .await
        .map_err(error::of)?;
    state.check_versions()?;
    Ok(state)
}

enum Progress {
    Made,
    NoneLeft,
    /// Another process migrates.
    Locked {
        holder: Option<String>,
    },
}

/// Makes the next migration, or all of them for a schema that has none, in one transaction with
/// their records and the lock. The state is read again under the lock.
async fn make_next(
    connection: &mut PgConnection,
    sql: &Statements,
) -> Result<Progress, StoreError> {
    let mut transaction = connection.begin().await.map_err(error::of)?;
    let key = lock_key(&mut transaction, &sql.schema)
        .await
        .map_err(error::of)?;
    let lock = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(key);
    let is_locked: bool = lock.fetch_one(&mut *transaction).await.map_err(error::of)?;
    if !is_locked {
        let holder = lock_holder(&mut transaction, &sql.schema)
            .await
            .map_err(error::of)?;
        transaction.rollback().await.map_err(error::of)?;
        return Ok(Progress::Locked { holder });
    }
    let state = read(&mut transaction, sql).await?;
    let Some(next) = migrations::pending(state.applied())? else {
        return Ok(Progress::NoneLeft);
    };
    let pending: Vec<_> = if state.applied().is_empty() {
        EMBEDDED.iter().collect()
    } else {
        vec![next]
    };
    let made = async {
        transaction.execute(LIMITS).await?;
        if !state.is_versioned {
            // `create schema if not exists` asks for the right to create one even if it exists.
            let exists = "select exists (select from pg_namespace where nspname = 'clerk')";
            let exists = sqlx::query_scalar::<_, bool>(sql.render(exists));
            if !exists.fetch_one(&mut *transaction).await? {
                transaction
                    .execute(sql.render("create schema clerk "))
                    .await?;
            }
            transaction.execute(sql.make_migrations.clone()).await?;
        }
        for migration in &pending {
            let started = Instant::now();
            transaction
                .execute(sql.render(migration.sql.as_str()))
                .await?;
            let record = sqlx::query(sql.record_migration.clone())
                .bind(migration.version)
                .bind(&*migration.description)
                .bind(&*migration.checksum)
                .bind(i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX));
            record.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    };
    let version = migrations::version(state.applied()).0.found;
    made.await
        .map_err(|error| error::of_migration(error, &sql.schema, version))?;
    if state.applied().is_empty() {
        info!(
            version = EMBEDDED.iter().map(|it| it.version).max(),
            "schema created"
        );
    } else {
        for migration in pending {
            info!(version = migration.version, description = %migration.description, "migration applied");
        }
    }
    Ok(Progress::Made)
}

/// The session that holds the lock; `None` if none does.
///
/// # Errors
/// Fails if the server does not answer.
pub async fn lock_holder(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<Option<String>, sqlx::Error> {
    let key = lock_key(&mut *connection, schema).await?;
    sqlx::query_scalar(include_str!("lock_holder.sql"))
        .bind(key)
        .fetch_optional(connection)
        .await
}

/// The number of the lock, one for each schema. That of the default schema is the one of sqlx's
/// migrator, so that whichever holds it keeps the other out.
async fn lock_key(connection: &mut PgConnection, schema: &SchemaName) -> Result<i64, sqlx::Error> {
    let mut name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(connection)
        .await?;
    if !schema.is_default() {
        name = format!("{name}.{schema}");
    }
    Ok(0x3d32_ad9e * i64::from(crc32(name.as_bytes())))
}

/// CRC-32 of ISO 3309, as in Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), step)
    })
}

/// The wait for another process that migrates.
struct LockWait {
    since: Instant,
    logged: Option<Instant>,
}

impl LockWait {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            logged: None,
        }
    }

    async fn pause(&mut self, holder: Option<String>) {
        let is_due = match self.logged {
            None => self.since.elapsed() >= SILENT_FOR,
            Some(logged) => logged.elapsed() >= REMIND_EVERY,
        };
        if is_due {
            let holder = holder.as_deref().unwrap_or("unknown");
            warn!(%holder, "another process is migrating; waiting for it. If none is, end the session that holds the lock");
            self.logged = Some(Instant::now());
        }
        tokio::time::sleep(LOCK_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the algorithm.
    #[test]
    fn the_lock_is_that_of_sqlx() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
