//! Where rows live: the users table and the record of every event.
//!
//! One of the two seams of the house. Both stores keep the same promises; `tests/it/contract/store.rs` holds them to it.
//!
//! - `apply` joins every change of a write to its row (`clerk::change` is the rule) and records every event, in one
//!   transaction: all of it or none of it.
//! - Applying a write twice, or any writes in any order, gives the same rows; `synced_at`, `deliveries` and `attempts`
//!   aside.
//! - A change that alters nothing writes nothing to `users`.

mod bind;
mod database_row;
mod event_status;
mod history;
mod lookup;
pub mod postgres;
mod queries;
mod query;
mod read;
mod rows;
mod search;
mod settings;
pub mod sqlite;
mod stats;
pub mod template;
mod time;
mod write;

use std::num::NonZeroU32;
use std::time::Duration;

use crate::clerk::{ClerkId, EventId, Timestamp};
use queries::Queries;

pub use event_status::Status;
pub use history::HistoryRow;
pub use lookup::{KnownRow, LiveRow};
pub use query::{Cursor, EventFilter, Listing, Page, UserFilter, read_time};
pub use rows::{EventRow, TableRow};
pub use stats::{Failed, Lag, LagSince, Minute, Recent, Totals};
pub use time::Time;
pub use write::{EventFailure, Outcome, Parsed, Record, Write};

/// Where rows live.
#[derive(Clone)]
pub enum Store {
    Postgres(postgres::Store),
    Sqlite(sqlite::Store),
}

/// Which database to open. Plain data.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made once a process")]
pub enum Options {
    Postgres(postgres::Options),
    Sqlite(sqlite::Options),
}

/// How much of an event `events` keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payloads {
    /// The payloads of failed events.
    #[default]
    Failed,
    All,
}

/// What stays of a deleted user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDelete {
    /// The profile.
    #[default]
    Keep,
    /// The ID and the time of the delete.
    Scrub,
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    pub payloads: Payloads,
    pub on_delete: OnDelete,
}

/// What was erased of a user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// The columns that held something.
    pub columns: Vec<&'static str>,
    /// Payloads of the user's events.
    pub payloads: u64,
    /// Whether the row is never filled again: that of a deleted user.
    pub is_final: bool,
}

/// Named for what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Wait and try again: the database is away, busy or full.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// Take the write apart: something in it can never be stored.
    #[error("the database refuses the write: {text}")]
    Rejected {
        /// `events.error_code`, such as `sqlstate_22P05`.
        code: String,
        text: String,
    },
    /// A person must mend something: the schema, a grant, a password, a certificate. A remedy in the text stands behind a `; `.
    #[error("the database cannot be used: {0}")]
    Incompatible(String),
}

/// What every error says first, and some alone, where the schema is not this program's.
const NO_SCHEMA: &str = "its schema is missing or old: run `clerk-sync migrate`";

impl StoreError {
    /// The fault itself: the same for two statements that meet one, whatever code and place the server names.
    pub fn fault(&self) -> String {
        match self {
            Self::Incompatible(text) if text.starts_with(NO_SCHEMA) => NO_SCHEMA.into(),
            _ => self.to_string(),
        }
    }

    /// A word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Rejected { .. } => "rejected",
            Self::Incompatible(_) => "incompatible",
        }
    }
}

/// The schema of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaVersion {
    /// The newest migration in the database; nothing in a database that has none.
    pub found: Option<i64>,
    /// The newest migration in this program.
    pub wanted: i64,
}

impl SchemaVersion {
    /// Whether this program can work with the schema, or what to do first.
    pub fn check(self) -> Result<(), StoreError> {
        match self.found {
            Some(found) if found == self.wanted => Ok(()),
            Some(found) if found > self.wanted => Err(StoreError::Incompatible(format!(
                "its schema has version {found}, newer than this program's {}: use a newer clerk-sync",
                self.wanted
            ))),
            _ => Err(StoreError::Incompatible(NO_SCHEMA.into())),
        }
    }
}

/// What a database is like: for the person who sets it up.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "made once, by `check`")]
pub enum DatabaseReport {
    Postgres(postgres::ServerReport),
    Sqlite(sqlite::FileReport),
}

/// Longest wait of `usable`.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

impl Store {
    /// Makes a store. The database need not be there yet.
    pub fn open(options: &Options) -> Result<Self, StoreError> {
        match options {
            Options::Postgres(options) => Ok(Self::Postgres(postgres::Store::open(options)?)),
            Options::Sqlite(options) => Ok(Self::Sqlite(sqlite::Store::open(options))),
        }
    }

    /// Brings the schema up to date. Does nothing to one that is. Any number of processes may do it at once.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(store) => store.migrate().await,
            Self::Sqlite(store) => store.migrate().await,
        }
    }

    /// Whether what is there can be used at all, before anything is begun on it: a SQLite file that is damaged. A server looks
    /// after its own files.
    pub async fn check(&self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(_) => Ok(()),
            Self::Sqlite(store) => store.check().await,
        }
    }

    pub async fn schema_version(&self) -> Result<SchemaVersion, StoreError> {
        match self {
            Self::Postgres(store) => store.schema_version().await,
            Self::Sqlite(store) => store.schema_version().await,
        }
    }

    /// What is there, asked without a change. Fails at once, and says why, where nothing answers.
    pub async fn inspect(&self) -> Result<DatabaseReport, StoreError> {
        match self {
            Self::Postgres(store) => store.inspect().await.map(DatabaseReport::Postgres),
            Self::Sqlite(store) => store.inspect().await.map(DatabaseReport::Sqlite),
        }
    }

    /// Where it is, without a name or a password.
    pub fn place(&self) -> String {
        match self {
            Self::Postgres(store) => store.place(),
            Self::Sqlite(store) => store.place(),
        }
    }

    /// All of `write` or none of it, in one transaction. One outcome a record, in order.
    ///
    /// A future that is dropped before it ends may have applied the write or not.
    pub async fn apply(&self, write: &Write) -> Result<Vec<Outcome>, StoreError> {
        debug_assert!(
            write.is_in_order(),
            "a write has one change a user and one record an event, sorted"
        );
        let scrubs = self.on_delete() == OnDelete::Scrub
            && write
                .changes
                .iter()
                .any(|change| change.deleted_at.is_some());
        let write = if scrubs {
            &write.without_profiles_of_deleted()
        } else {
            write
        };
        match self {
            Self::Postgres(store) => store.apply(write).await,
            Self::Sqlite(store) => store.apply(write).await,
        }
    }

    /// What a trace calls it.
    pub fn system(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgresql",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Whether two writes can be made at once.
    pub fn writes_side_by_side(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub fn on_delete(&self) -> OnDelete {
        match self {
            Self::Postgres(store) => store.keep.on_delete,
            Self::Sqlite(store) => store.keep.on_delete,
        }
    }

    /// Whether a worker may take a batch: the database answers, its schema is this program's (or was, before the migration of
    /// the next version), and it takes writes as far as that can be tried. Takes 2 s at most.
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

    /// The same, and the last batch was written. Not for a worker, which would then write nothing: only the next batch can show
    /// that the database takes writes again. The batch that was not written is that one; it is in the queue until it is.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.usable().await?;
        match self {
            Self::Postgres(store) => store.last_fault(),
            Self::Sqlite(_) => Ok(()),
        }
    }

    /// Deletes up to `limit` lines of `events` that were received before `older_than` and are not failed; how many.
    pub async fn prune(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        match self {
            Self::Postgres(store) => store.prune(older_than, limit).await,
            Self::Sqlite(store) => store.prune(older_than, limit).await,
        }
    }

    /// Sets failed events to discarded, by their IDs; the type of each that was. Others stay as they are.
    pub async fn discard(&self, ids: &[EventId]) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Postgres(store) => store.discard(ids).await,
            Self::Sqlite(store) => store.discard(ids).await,
        }
    }

    /// Erases up to `limit` rows of deleted users, and the payloads of their events; how many rows. To be called where
    /// `ON_DELETE` is `scrub`.
    pub async fn scrub(&self, limit: u32) -> Result<u64, StoreError> {
        match self {
            Self::Postgres(store) => store.scrub(limit).await,
            Self::Sqlite(store) => store.scrub(limit).await,
        }
    }

    /// Empties up to `limit` payloads of events whose user is erased; how many. A delete empties those that it sees: one that is
    /// written by another worker in the same instant is left for this. To be called where `ON_DELETE` is `scrub`.
    pub async fn empty_payloads(&self, limit: u32) -> Result<u64, StoreError> {
        match self {
            Self::Postgres(store) => store.empty_payloads(limit).await,
            Self::Sqlite(store) => store.empty_payloads(limit).await,
        }
    }

    /// What `erase` would do to a user, and how many events are kept of them.
    pub async fn would_erase(&self, id: &ClerkId) -> Result<Option<(Erased, u64)>, StoreError> {
        let user = self.user(id).await?;
        let (events, payloads) = self.count_events_of_user(id).await?;
        if user.is_none() && events == 0 {
            return Ok(None);
        }
        let columns = user
            .as_ref()
            .map(TableRow::filled_profile_columns)
            .unwrap_or_default();
        Ok(Some((
            Erased {
                columns,
                payloads,
                is_final: user.is_some_and(|user| user.deleted_at.is_some()),
            },
            events,
        )))
    }

    /// Erases a user's row but for the ID and the times of the delete and of the erasure, and the payloads of the user's events;
    /// nothing where nothing is known of such a user. One whose events all failed has no row.
    pub async fn erase(&self, id: &ClerkId) -> Result<Option<Erased>, StoreError> {
        let user = self.user(id).await?;
        let (_, payloads) = match self {
            Self::Postgres(store) => store.erase(id).await?,
            Self::Sqlite(store) => store.erase(id).await?,
        };
        if user.is_none() && payloads == 0 && !self.has_events(id).await? {
            return Ok(None);
        }
        let columns = user
            .as_ref()
            .map(TableRow::filled_profile_columns)
            .unwrap_or_default();
        Ok(Some(Erased {
            columns,
            payloads,
            is_final: user.is_some_and(|user| user.deleted_at.is_some()),
        }))
    }

    async fn has_events(&self, id: &ClerkId) -> Result<bool, StoreError> {
        let filter = EventFilter {
            clerk_id: Some(id.as_str().into()),
            ..EventFilter::default()
        };
        let listing = self
            .events(
                &filter,
                &Page {
                    limit: NonZeroU32::MIN,
                    after: None,
                },
            )
            .await?;
        Ok(!listing.rows.is_empty())
    }

    /// Deletes a user's row and every line of the user's events, as if they had never been; how many of each.
    pub async fn forget(&self, id: &ClerkId) -> Result<(u64, u64), StoreError> {
        match self {
            Self::Postgres(store) => store.forget(id).await,
            Self::Sqlite(store) => store.forget(id).await,
        }
    }

    /// Fails if nothing was found, and may be there: the role does not see every row.
    async fn check_visible<T>(&self, table: &str, rows: Vec<T>) -> Result<Vec<T>, StoreError> {
        if let Self::Postgres(store) = self {
            store.unless_hidden(table, rows.is_empty()).await?;
        }
        Ok(rows)
    }

    fn queries(&self) -> &Queries {
        match self {
            Self::Postgres(store) => store.queries(),
            Self::Sqlite(_) => &sqlite::statements::QUERIES,
        }
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        match self {
            Self::Postgres(_) => postgres::error::of(error),
            Self::Sqlite(store) => store.fault(error),
        }
    }

    /// Closes the connections in good order.
    pub async fn close(&self) {
        match self {
            Self::Postgres(store) => store.close().await,
            Self::Sqlite(store) => store.close().await,
        }
    }
}
