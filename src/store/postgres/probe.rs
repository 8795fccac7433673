//! What a server says of itself and of the role, asked over one connection. Nothing is changed.

use sqlx::{Error, Row};

use super::connection::Server;
use super::migrate;
use super::pool::Pool;
use super::schema::{Fault, Schema};
use super::session::Pooling;
use crate::clerk::Timestamp;
use crate::clock::now;
use crate::store::SchemaVersion;

/// What is there.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// As the server writes it, such as `15.20 (Debian 15.20-0+deb12u1)`.
    pub version: String,
    /// 10,000 times the major version, and the minor one.
    pub version_number: i32,
    /// What the schema holds.
    pub tables: Schema,
    pub pooling: Pooling,
    pub fsync: bool,
    pub full_page_writes: bool,
    pub synchronous_commit: String,
    pub has_lz4: bool,
    pub is_read_only: bool,
    /// Whether the wire is safe from others: encrypted, or within this machine.
    pub is_private: bool,
    /// How many more the server takes.
    pub connections_left: i64,
    /// The server's clock, and ours in the middle of asking it.
    pub clock: Option<(Timestamp, Timestamp)>,
    /// Nothing where the role may not ask.
    pub schema: Option<SchemaVersion>,
    /// What is wrong with the migrations that were made.
    pub migrations: Option<Fault>,
    /// Who makes migrations now.
    pub migrating: Option<String>,
    pub rights: Rights,
}

/// What the role may do.
#[derive(Debug, Clone)]
pub struct Rights {
    /// Whether it can make the schema, or what the next migration brings.
    pub migrate: bool,
    /// Whether it can read and write the tables; nothing where there are none.
    pub apply: Option<bool>,
    /// Whether it can record which queue its workers use; nothing where there is no table for it.
    pub record: Option<bool>,
}

pub async fn inspect(server: &Server, readers: &Pool, wanted: i64) -> Result<Inspection, Error> {
    let mut lent = readers.lend().await?;
    let connection = lent.connection();
    let sql = readers.sql();
    let before = now();
    let row = sqlx::query(sql.inspect.clone())
        .fetch_one(&mut *connection)
        .await?;
    let after = now();
    let clock = Timestamp::from_ms(row.try_get("now_ms")?)
        .zip(Timestamp::from_ms((before.ms() + after.ms()) / 2));
    let has_schema: bool = row.try_get("has_schema")?;
    let may_use = row.try_get::<Option<bool>, _>("may_use")?.unwrap_or(false);
    let may_read = may_use
        && row
            .try_get::<Option<bool>, _>("may_read_migrations")?
            .unwrap_or(false);
    let tables = Schema::of(
        &sqlx::query(sql.schema_state.clone())
            .fetch_one(&mut *connection)
            .await?,
        &sql.schema,
    )?;
    let (schema, migrations) = match (tables.is_versioned, may_read) {
        (false, _) => (
            Some(SchemaVersion {
                found: None,
                wanted,
            }),
            None,
        ),
        (true, false) => (None, None),
        (true, true) => {
            let rows = sqlx::query(sql.applied.clone())
                .fetch_all(&mut *connection)
                .await?;
            let (version, fault) = migrate::version(&rows)?;
            (Some(version), fault)
        }
    };
    let is_old = schema.is_some_and(|schema| schema.found < Some(wanted));
    let migrating = if is_old {
        migrate::holder(&mut *connection, &sql.schema).await?
    } else {
        None
    };
    let may_extend = row
        .try_get::<Option<bool>, _>("may_extend")?
        .unwrap_or(false);
    let owns_tables = row
        .try_get::<Option<bool>, _>("owns_tables")?
        .unwrap_or(true);
    let rights = Rights {
        migrate: if has_schema {
            may_extend && owns_tables
        } else {
            row.try_get("may_create")?
        },
        apply: row
            .try_get::<Option<bool>, _>("may_write")?
            .map(|may| may && may_read),
        record: row.try_get("may_record")?,
    };
    let inspection = Inspection {
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
        migrations,
        migrating,
        rights,
    };
    lent.hand_back();
    Ok(inspection)
}
