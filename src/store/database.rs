//! `Store`: PostgreSQL or SQLite, and the operations that both have.

use std::time::Duration;

use super::act::{Act, Action, Actor};
use super::error::StoreError;
use super::keep::OnDelete;
use super::queries::Queries;
use super::schema_version::SchemaVersion;
use super::write::{Outcome, Write};
use super::{postgres, sqlite};
use crate::clerk::{ClerkId, EventId, Timestamp};

/// The same expression for the store of either database.
macro_rules! dispatch {
    ($of:ident, $store:ident => $call:expr) => {
        match $of {
            $crate::store::Store::Postgres($store) => $call,
            $crate::store::Store::Sqlite($store) => $call,
        }
    };
}

pub(super) use dispatch;

/// A database. Clones share its connections.
#[derive(Clone)]
pub enum Store {
    /// PostgreSQL.
    Postgres(postgres::Store),
    /// SQLite.
    Sqlite(sqlite::Store),
}

/// Which database to open. Plain data.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made once a process")]
pub enum Options {
    /// PostgreSQL.
    Postgres(postgres::Options),
    /// SQLite.
    Sqlite(sqlite::Options),
}

impl Options {
    /// Whether changes of rows are recorded for applications.
    pub fn change_feed(&self) -> bool {
        match self {
            Self::Postgres(options) => options.change_feed,
            Self::Sqlite(options) => options.change_feed,
        }
    }
}

/// What a database is like: for the person who sets it up.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made once, by `check`")]
pub enum DatabaseReport {
    /// PostgreSQL.
    Postgres(postgres::ServerReport),
    /// SQLite.
    Sqlite(sqlite::FileReport),
}

/// Longest wait of `usable`.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl Store {
    /// Opens a database, which need not answer yet.
    ///
    /// # Errors
    /// Fails for a file of TLS that cannot be used.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        match options {
            Options::Postgres(options) => Ok(Self::Postgres(postgres::Store::open(options)?)),
            Options::Sqlite(options) => Ok(Self::Sqlite(sqlite::Store::open(options))),
        }
    }

    /// Brings the schema up to date. Any number of processes may do it at once.
    ///
    /// # Errors
    /// Fails if a migration cannot be made.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        dispatch!(self, store => store.migrate().await)
    }

    /// Checks a SQLite file for damage, before it is used. A server checks its own files.
    ///
    /// # Errors
    /// Fails for a damaged file.
    pub async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(store) => store.check().await,
        }
    }

    /// The version of the schema.
    ///
    /// # Errors
    /// Fails if the database does not answer, or its schema is that of another program.
    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        dispatch!(self, store => store.schema_version().await)
    }

    /// Inspects the database without changing anything.
    ///
    /// # Errors
    /// Fails at once if the database does not answer.
    pub async fn inspect(&self) -> Result<DatabaseReport, StoreError> {
        match self {
            Self::Postgres(store) => store.inspect().await.map(DatabaseReport::Postgres),
            Self::Sqlite(store) => store.inspect().await.map(DatabaseReport::Sqlite),
        }
    }

    /// Where it is, without a user or a password.
    pub fn place(&self) -> String {
        dispatch!(self, store => store.place())
    }

    /// Applies all of `write` or none of it, in one transaction. Returns one outcome per record, in
    /// order.
    ///
    /// A future that is dropped before it ends may have applied the write or not.
    ///
    /// # Errors
    /// Fails if the write was not applied; the error says whether to retry, to isolate or to stop.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        debug_assert!(
            write.is_in_order(),
            "a write has one change a row of its table and one record an event, sorted"
        );
        let keep = dispatch!(self, store => store.keep);
        let whole = write;
        let scrubs = keep.scrubs(write.table)
            && write
                .changes
                .iter()
                .any(|change| change.deleted_at.is_some());
        let write = if scrubs {
            &write.without_profiles_of_deleted()
        } else {
            write
        };
        // Before the row of the user, which has the addresses, is erased; and afterwards what was
        // written in between.
        let owners = self.owners_scrubbed_by(whole).await?;
        if let Some(owners) = &owners {
            self.erase_owned(owners, true).await?;
        }
        let outcomes = dispatch!(self, store => store.apply(write).await)?;
        self.wake_for(write);
        if let Some(owners) = &owners {
            self.erase_owned(owners, true).await?;
        }
        self.erase_late(write).await?;
        Ok(outcomes)
    }

    /// The name of the database system in traces.
    pub fn system(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgresql",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Whether two writes can run at once.
    pub fn writes_side_by_side(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// What is kept of a deleted user.
    pub fn on_delete(&self) -> OnDelete {
        dispatch!(self, store => store.keep.on_delete)
    }

    /// Checks that a worker may take a batch: the database answers, its schema is this program's
    /// (or was, before the migration of the next version), and it accepts writes as far as that can
    /// be tried. Takes 2 s at most.
    ///
    /// # Errors
    /// Fails if a worker must not take a batch.
    pub async fn usable(&self) -> Result<(), StoreError> {
        let answer = async {
            match self {
                Self::Postgres(store) => {
                    store.check_schema().await?;
                    store.writable().await
                }
                Self::Sqlite(store) => {
                    store.schema_version().await?.check()?;
                    store.writable().await
                }
            }
        };
        let answer = tokio::time::timeout(PING_TIMEOUT, answer).await;
        answer.unwrap_or_else(|_| Err(StoreError::Unavailable("it does not answer".into())))
    }

    /// As `usable`, and the last batch was written. Not for a worker, which would then never write
    /// again: only the next batch can show that the database accepts writes, and it is the one that
    /// was not written.
    ///
    /// # Errors
    /// Fails for both reasons.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.usable().await?;
        match self {
            Self::Postgres(store) => store.last_fault(),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Deletes up to `limit` rows of `events` that were received before `older_than` and are not
    /// failed. Returns how many.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        dispatch!(self, store => store.prune(older_than, limit).await)
    }

    /// Sets failed events to discarded, by their IDs, and records who did. Returns the type of each
    /// that was failed; others stay as they are. Calls for the same act count together.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn discard(&self, ids: &[EventId], act: &Act) -> Result<Vec<String>, StoreError> {
        dispatch!(self, store => store.discard(ids, act).await)
    }

    /// Deletes a user's row and all of the user's events, and records who did. Returns how many of
    /// each. Rows of other tables keep the user's ID; see `erase`.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn forget(&self, id: &ClerkId, by: &Actor) -> Result<(u64, u64), StoreError> {
        let act = Act::new(Action::Forgotten, by).about_user(id);
        dispatch!(self, store => store.forget(id, &act).await)
    }

    /// Returns the rows.
    ///
    /// # Errors
    /// Fails if there are none and the role does not see every row.
    pub(super) async fn check_visible<T>(
        &self,
        table: &str,
        rows: Vec<T>,
    ) -> Result<Vec<T>, StoreError> {
        if let Self::Postgres(store) = self {
            store.unless_hidden(table, rows.is_empty()).await?;
        }
        Ok(rows)
    }

    /// The statements that both databases have.
    pub(super) fn queries(&self) -> &Queries {
        match self {
            Self::Postgres(store) => store.queries(),
            Self::Sqlite(_) => &sqlite::statements::QUERIES,
        }
    }

    /// An error of the driver, as what the caller can do.
    pub(super) fn error(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Postgres(_) => postgres::error::of(error),
            Self::Sqlite(store) => store.fault(error),
        }
    }

    /// Closes the connections in order.
    pub async fn close(&self) {
        dispatch!(self, store => store.close().await)
    }
}
