//! Migrations: the version is read first, each is made in a transaction of its own, and one process makes them at a time. Those of a
//! schema that has none are made in one transaction: where one cannot be made, nothing is left behind.
//!
//! The lock belongs to the transaction. A lock of the session would stay with the server's session where a pooler hands that to
//! the next client, and every later migration would wait for it without an end.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use sqlx::migrate::{Migration, Migrator};
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection, Row};
use tracing::{info, warn};

use super::error;
use super::schema::{Fault, Schema};
use super::schema_name::SchemaName;
use super::statements::Statements;
use crate::store::{SchemaVersion, StoreError};

static EMBEDDED: Migrator = sqlx::migrate!("migrations/postgres");

/// What a migration may take. A change to a table that somebody holds must not make all others queue up behind it; otherwise it
/// takes its time.
const LIMITS: &str = "set local lock_timeout = '5s'; set local statement_timeout = 0; \
                      set local idle_in_transaction_session_timeout = 0";

/// Between two tries to get the lock.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Another process is waited for this long before it is named, and as long as it takes after that.
const SILENT_FOR: Duration = Duration::from_secs(1);

/// Between two lines of the log while another process is waited for.
const REMIND_EVERY: Duration = Duration::from_secs(30);

/// The newest migration of this program.
pub fn newest() -> i64 {
    EMBEDDED
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// A migration that the database has.
struct Applied {
    version: i64,
    checksum: Vec<u8>,
    is_finished: bool,
}

/// Makes what is missing. Takes no lock where nothing is.
pub async fn migrate(connection: &mut PgConnection, sql: &Statements) -> Result<(), StoreError> {
    let mut busy = None;
    loop {
        let (schema, applied) = ask(connection, sql).await?;
        if pending(&applied)?.is_none() {
            if let Err(error) = schema.check_encoding() {
                warn!(%error, "the schema is up to date, in a database that cannot hold every event");
            }
            return Ok(());
        }
        schema.check_encoding()?;
        match make_next(connection, sql).await? {
            Made::Some => busy = None,
            Made::NoneLeft => {}
            Made::Busy { holder } => busy.get_or_insert_with(Busy::new).wait(holder).await,
        }
    }
}

/// What is there, without a change.
async fn ask(
    connection: &mut PgConnection,
    sql: &Statements,
) -> Result<(Schema, Vec<Applied>), StoreError> {
    let asked = async {
        let row = sqlx::query(sql.schema_state.clone())
            .fetch_one(&mut *connection)
            .await?;
        let schema = Schema::of(&row, &sql.schema)?;
        if !schema.is_versioned {
            return Ok((schema, Vec::new()));
        }
        let rows = sqlx::query(sql.applied.clone())
            .fetch_all(&mut *connection)
            .await?;
        Ok((schema, read(&rows)?))
    };
    let (schema, applied) = asked.await.map_err(error::of)?;
    schema.check_versions()?;
    Ok((schema, applied))
}

/// Reads the answer to `applied.sql`.
fn read(rows: &[PgRow]) -> Result<Vec<Applied>, sqlx::Error> {
    let read = |row: &PgRow| {
        Ok(Applied {
            version: row.try_get("version")?,
            checksum: row.try_get("checksum")?,
            is_finished: row.try_get("success")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The newest migration of those that `applied.sql` gives, and what is wrong with them whatever their number.
pub fn version(rows: &[PgRow]) -> Result<(SchemaVersion, Option<Fault>), sqlx::Error> {
    let applied = read(rows)?;
    let found = applied.iter().map(|applied| applied.version).max();
    let wanted = newest();
    // One of a newer program that is newer than all of ours is told by the version.
    let fault = applied
        .iter()
        .filter(|applied| applied.version <= wanted)
        .find_map(fault);
    Ok((SchemaVersion { found, wanted }, fault))
}

/// Why the database's migration is not one of this program's.
fn fault(
    Applied {
        version,
        checksum,
        is_finished,
    }: &Applied,
) -> Option<Fault> {
    let (what, fix) = match EMBEDDED
        .iter()
        .find(|migration| migration.version == *version)
    {
        _ if !is_finished => (
            format!("its migration {version} was not finished"),
            "fix it by hand",
        ),
        None => (
            format!("its schema has migration {version}, which this program does not know"),
            "use a newer clerk-sync",
        ),
        Some(migration) if *migration.checksum != **checksum => (
            format!("its migration {version} is not the one of this program"),
            "use the clerk-sync that made the schema, or give clerk-sync another database where another program made it",
        ),
        Some(_) => return None,
    };
    Some(Fault {
        what,
        fix: fix.into(),
    })
}

/// The next migration to make.
///
/// # Errors
/// `Incompatible` where the database has what this program does not know.
fn pending(applied: &[Applied]) -> Result<Option<&'static Migration>, StoreError> {
    if let Some(fault) = applied.iter().find_map(fault) {
        return Err(fault.into());
    }
    let is_applied = |migration: &Migration| {
        applied
            .iter()
            .any(|applied| applied.version == migration.version)
    };
    Ok(EMBEDDED.iter().find(|migration| !is_applied(migration)))
}

enum Made {
    Some,
    NoneLeft,
    /// Another process migrates.
    Busy {
        holder: Option<String>,
    },
}

/// Makes the next migration, or all of them for a schema that has none, in one transaction with their records and the lock. What is there is asked again under the lock.
async fn make_next(connection: &mut PgConnection, sql: &Statements) -> Result<Made, StoreError> {
    let mut transaction = connection.begin().await.map_err(error::of)?;
    let key = lock_key(&mut transaction, &sql.schema)
        .await
        .map_err(error::of)?;
    let lock = sqlx::query_scalar("select pg_try_advisory_xact_lock($1)").bind(key);
    let is_ours: bool = lock.fetch_one(&mut *transaction).await.map_err(error::of)?;
    if !is_ours {
        let holder = holder(&mut transaction, &sql.schema)
            .await
            .map_err(error::of)?;
        transaction.rollback().await.map_err(error::of)?;
        return Ok(Made::Busy { holder });
    }
    let (schema, applied) = ask(&mut transaction, sql).await?;
    let Some(next) = pending(&applied)? else {
        return Ok(Made::NoneLeft);
    };
    let migrations: Vec<_> = if applied.is_empty() {
        EMBEDDED.iter().collect()
    } else {
        vec![next]
    };
    let made = async {
        transaction.execute(LIMITS).await?;
        if !schema.is_versioned {
            // `create schema if not exists` asks for the right to create one even where it exists.
            let exists = "select exists (select from pg_namespace where nspname = 'clerk')";
            let exists = sqlx::query_scalar::<_, bool>(sql.render(exists));
            if !exists.fetch_one(&mut *transaction).await? {
                transaction
                    .execute(sql.render("create schema clerk "))
                    .await?;
            }
            transaction.execute(sql.make_migrations.clone()).await?;
        }
        for migration in &migrations {
            let begun = Instant::now();
            transaction
                .execute(sql.render(migration.sql.as_str()))
                .await?;
            let record = sqlx::query(sql.record_migration.clone())
                .bind(migration.version)
                .bind(&*migration.description)
                .bind(&*migration.checksum)
                .bind(i64::try_from(begun.elapsed().as_nanos()).unwrap_or(i64::MAX));
            record.execute(&mut *transaction).await?;
        }
        transaction.commit().await
    };
    let version = applied.iter().map(|applied| applied.version).max();
    made.await
        .map_err(|error| error::of_migration(error, &sql.schema, version))?;
    for migration in migrations {
        info!(version = migration.version, description = %migration.description, "migration applied");
    }
    Ok(Made::Some)
}

/// Who holds the lock; `None` where nobody does.
pub async fn holder(
    connection: &mut PgConnection,
    schema: &SchemaName,
) -> Result<Option<String>, sqlx::Error> {
    let key = lock_key(&mut *connection, schema).await?;
    sqlx::query_scalar(include_str!("holder.sql"))
        .bind(key)
        .fetch_optional(connection)
        .await
}

/// The number of the lock, one for each schema. That of the default schema is the one of sqlx's migrator, so that whichever
/// holds it keeps the other out.
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
    let step = |crc: u32, _| {
        if crc & 1 == 1 {
            (crc >> 1) ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), step)
    })
}

/// The wait for another process that migrates.
struct Busy {
    since: Instant,
    logged: Option<Instant>,
}

impl Busy {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            logged: None,
        }
    }

    async fn wait(&mut self, holder: Option<String>) {
        let is_due = self
            .logged
            .map_or(self.since.elapsed() >= SILENT_FOR, |logged| {
                logged.elapsed() >= REMIND_EVERY
            });
        if is_due {
            let holder = holder.map_or(Cow::from("unknown"), Cow::from);
            warn!(%holder, "another process is migrating; waiting for it. If none is, end the session that holds the lock");
            self.logged = Some(Instant::now());
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(versions: &[i64]) -> Vec<Applied> {
        let checksum = |version: i64| {
            EMBEDDED
                .iter()
                .find(|known| known.version == version)
                .map_or_else(Vec::new, |known| known.checksum.to_vec())
        };
        versions
            .iter()
            .map(|&version| Applied {
                version,
                checksum: checksum(version),
                is_finished: true,
            })
            .collect()
    }

    #[test]
    fn the_next_migration_is_the_first_that_is_missing() {
        let next = |versions: &[i64]| {
            pending(&applied(versions))
                .unwrap()
                .map(|migration| migration.version)
        };
        let all: Vec<_> = EMBEDDED.iter().map(|migration| migration.version).collect();
        assert_eq!(next(&[]), Some(1));
        assert_eq!(next(&[1, 2]), Some(3));
        assert_eq!(next(&all), None);
        assert_eq!(all.last(), Some(&newest()));
    }

    #[test]
    fn what_this_program_does_not_know_is_refused() {
        let refused = |applied: &[Applied]| pending(applied).unwrap_err().to_string();
        assert!(
            refused(&applied(&[1, 9999]))
                .contains("migration 9999, which this program does not know")
        );
        let mut other = applied(&[1]);
        other[0].checksum = vec![0];
        assert!(refused(&other).contains("migration 1 is not the one of this program"));
        other[0].is_finished = false;
        assert!(refused(&other).contains("migration 1 was not finished"));
    }

    /// Nothing would be made where one of them is taken, and `check` says so before.
    #[test]
    fn every_name_that_the_migrations_use_is_looked_for_first() {
        let mut names = 0;
        for line in EMBEDDED
            .iter()
            .flat_map(|migration| migration.sql.as_str().lines())
        {
            let Some(rest) = [
                "create table clerk.",
                "create index ",
                "create view clerk.",
                "create type clerk.",
            ]
            .iter()
            .find_map(|start| line.strip_prefix(start)) else {
                assert!(
                    !line.starts_with("create ") || line.starts_with("create or replace view"),
                    "{line}"
                );
                continue;
            };
            let name = rest.split([' ', '(']).next().unwrap();
            assert!(
                include_str!("schema_state.sql").contains(&format!("'{name}'")),
                "{name} is not in schema_state.sql"
            );
            names += 1;
        }
        assert!(names > 20, "{names}");
    }

    /// The check value of the algorithm.
    #[test]
    fn the_lock_is_that_of_sqlx() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }
}
