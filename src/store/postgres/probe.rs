//! Inspects the server, the database and the role for `check`, without changing anything.

use sqlx::{Error, Row};

use super::pool::Pool;
use super::schema_fault::SchemaFault;
use super::schema_state::SchemaState;
use super::session::{Pooling, Server};
use super::{migrate, migrations};
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::store::SchemaVersion;

/// What the server, the database and the role are like.
#[derive(Debug, Clone)]
pub struct ServerReport {
    /// As the server writes it, such as `15.20 (Debian 15.20-0+deb12u1)`.
    pub version: String,
    /// 10,000 times the major version, and the minor one.
    pub version_number: i32,
    /// What the schema holds.
    pub tables: SchemaState,
    /// How connections reach the server.
    pub pooling: Pooling,
    /// Whether the server syncs its files.
    pub fsync: bool,
    /// Whether the server logs whole pages.
    pub full_page_writes: bool,
    /// When the server answers a commit.
    pub synchronous_commit: String,
    /// Whether the server compresses with lz4.
    pub has_lz4: bool,
    /// Whether the server only reads.
    pub is_read_only: bool,
    /// Whether the connection is safe from others: encrypted, or within this machine.
    pub is_private: bool,
    /// How many more connections the server takes.
    pub connections_left: i64,
    /// The server's time, and ours at the same moment; `None` if either is implausible.
    pub clock: Option<(Timestamp, Timestamp)>,
    /// `None` if the role may not read it.
    pub schema: Option<SchemaVersion>,
    /// What is wrong with the migrations that were made; `None` if nothing is.
    pub migrations: Option<SchemaFault>,
    /// The session that migrates now; `None` if none does.
    pub migrating: Option<String>,
    /// The rights of the role.
    pub rights: Rights,
}

/// What the role may do.
#[derive(Debug, Clone)]
pub struct Rights {
    /// Whether it can create the schema, or change it.
    pub migrate: bool,
    /// Whether it can read and write the tables; `None` if there are none.
    pub apply: Option<bool>,
    /// Whether it can record which queue its workers use; `None` if there is no table for it.
    pub record: Option<bool>,
    /// Whether it can record who acts; `None` if there is no table for it.
    pub audit: Option<bool>,
    /// Whether it can record its processes; `None` if there is no table for it.
    pub be_seen: Option<bool>,
}

/// Inspects the server over one connection.
///
/// # Errors
/// Fails if it does not answer.
pub async fn inspect(server: &Server, readers: &Pool) -> Result<ServerReport, Error> {
    let mut pooled = readers.acquire().await?;
    let connection = pooled.connection();
    let sql = readers.sql();
    let before = now();
    let row = sqlx::query(sql.inspect.clone())
        .fetch_one(&mut *connection)
        .await?;
    let after = now();
    let clock = Timestamp::from_ms(row.try_get("now_ms")?)
        .zip(Timestamp::from_ms((before.ms() + after.ms()) / 2));
    let has_schema: bool = row.try_get("has_schema")?;
    let flag = |name| row.try_get::<Option<bool>, _>(name);
    let may_read = flag("may_use")? == Some(true) && flag("may_read_migrations")? == Some(true);
    let tables = SchemaState::read(&mut *connection, sql, may_read).await?;
    let version = tables.applied.as_deref().map(migrations::version);
    let schema = version.as_ref().map(|(version, _)| *version);
    let is_old = schema.is_some_and(|schema| schema.found < Some(schema.wanted));
    let migrating = if is_old {
        migrate::lock_holder(&mut *connection, &sql.schema).await?
    } else {
        None
    };
    let rights = Rights {
        migrate: if has_schema {
            flag("may_extend")? == Some(true) && flag("owns_tables")? != Some(false)
        } else {
            row.try_get("may_create")?
        },
        apply: flag("may_write")?.map(|may| may && may_read),
        record: flag("may_record")?,
        audit: flag("may_audit")?,
        be_seen: flag("may_be_seen")?,
    };
    let report = ServerReport {
        version: row.try_get("version")?,
        version_number: row.try_get("version_number")?,
        tables,
        pooling: server.pooling().await.unwrap_or(Pooling::Session),
        fsync: row.try_get("fsync")?,
        full_page_writes: row.try_get("full_page_writes")?,
        synchronous_commit: row.try_get("synchronous_commit")?,
        has_lz4: row.try_get("lz4")?,
        is_read_only: row.try_get("read_only")?,
        is_private: row.try_get::<bool, _>("encrypted")? || row.try_get("on_this_machine")?,
        connections_left: row.try_get("connections_left")?,
        clock,
        schema,
        migrations: version.and_then(|(_, fault)| fault),
        migrating,
        rights,
    };
    pooled.release();
    Ok(report)
}
