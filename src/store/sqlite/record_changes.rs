//! Records changes of rows: by triggers of the connection that writes.

use std::collections::HashMap;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Error, Executor, Row};

use super::json_texts::json;
use crate::clerk::{ChangeKind, ClerkId, EventId, Table, tables};
use crate::metrics;
use crate::store::Write;
use crate::store::template::{self, Dialect};

/// The events that delete, by the row: a row does not have them.
const DELETING: &str =
    "create temp table deleting (clerk_id text not null primary key, event_id text) strict";

/// Makes this connection record what it changes in synced rows.
///
/// # Errors
/// Fails if SQLite refuses it.
pub async fn install_triggers(connection: &mut SqliteConnection) -> Result<(), Error> {
    connection.execute(DELETING).await?;
    for table in tables::ALL {
        let triggers = template::render(
            include_str!("record_changes.sql"),
            table,
            Dialect::Sqlite,
            &[],
        );
        connection.execute(AssertSqlSafe(triggers)).await?;
    }
    Ok(())
}

/// Gives the triggers the events of the deletes of this write.
///
/// # Errors
/// Fails if SQLite refuses it.
pub async fn set_deleting(connection: &mut SqliteConnection, write: &Write) -> Result<(), Error> {
    let deleting: HashMap<&ClerkId, &EventId> = write.deleting_events();
    if deleting.is_empty() {
        return Ok(());
    }
    let (rows, events): (Vec<_>, Vec<_>) = deleting.into_iter().unzip();
    let set = sqlx::query(include_str!("set_deleting.sql"))
        .bind(json(rows.into_iter().map(ClerkId::as_str)))
        .bind(json(events.into_iter().map(EventId::as_str)));
    set.execute(connection).await.map(drop)
}

/// The changes that a transaction records, from its begin on.
pub struct Recording {
    /// The ID of the newest change before it; `None` without the feed.
    newest: Option<i64>,
}

impl Recording {
    /// To be made before the first write of the transaction.
    ///
    /// # Errors
    /// Fails if SQLite refuses it.
    pub async fn start(
        connection: &mut SqliteConnection,
        change_feed: bool,
    ) -> Result<Self, Error> {
        if !change_feed {
            return Ok(Self { newest: None });
        }
        let newest = sqlx::query_scalar("select coalesce(max(id), 0) from changes");
        let newest = Some(newest.fetch_one(connection).await?);
        Ok(Self { newest })
    }

    /// Counts them, all of this table, and forgets the events of the deletes.
    ///
    /// # Errors
    /// Fails if SQLite refuses it.
    pub async fn count(
        self,
        connection: &mut SqliteConnection,
        table: &Table,
    ) -> Result<(), Error> {
        let Some(newest) = self.newest else {
            return Ok(());
        };
        connection.execute("delete from temp.deleting").await?;
        let counts = sqlx::query(
            "select change, count(*) as changes from changes where id > ?1 group by change",
        );
        for row in counts.bind(newest).fetch_all(connection).await? {
            if let Some(kind) = ChangeKind::named(row.try_get("change")?) {
                let count: i64 = row.try_get("changes")?;
                metrics::changes(table, kind, count.unsigned_abs());
            }
        }
        Ok(())
    }
}
