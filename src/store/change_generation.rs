//! Generations of the change feed: within one, no change is missing. A cursor of another one has
//! expired.
//!
//! A new one begins when the feed is turned on, when the last worker stops that did not record
//! changes beside others that did, and when the database is another one than before: restored from
//! a backup, or without its last transactions after a failover.

use tracing::warn;

use super::changes::Marks;
use super::read::first;
use super::{Store, StoreError};
use crate::clock::now;

// The names of the settings that the feed keeps, as JSON.

/// The number of the generation. Below zero while the feed is off.
const GENERATION: &str = "changes_generation";
/// Changes up to this ID are not kept, or belong to the generation before.
const EXPIRED: &str = "changes_expired";
/// The changes up to this ID are published.
pub(super) const PUBLISHED: &str = "changes_published";
/// Whether a worker has been seen that does not record changes, in this generation.
const INCOMPLETE: &str = "changes_incomplete";
/// Which database the generation is of.
const DATABASE: &str = "changes_database";

impl Store {
    /// Notes whether changes are recorded from now on. If they were not before, readers have missed
    /// some, and a new generation begins. To be called when a worker starts.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn note_change_feed(&self) -> Result<(), StoreError> {
        let marks = match self.change_marks().await {
            Ok(marks) => marks,
            // A role without rights on `settings` can work without the feed.
            Err(StoreError::Incompatible(_)) if !self.has_change_feed() => return Ok(()),
            Err(error) => return Err(error),
        };
        let Marks {
            generation,
            published,
            ..
        } = marks;
        match (self.has_change_feed(), generation) {
            (true, 0) => {
                // The row is what a process locks while it publishes.
                self.set(PUBLISHED, &published.to_string()).await?;
                self.begin_generation(0).await
            }
            (true, ..0) => {
                let (settled, _) = self.settled().await?;
                self.begin_generation(settled).await
            }
            (false, 1..) => self.set(GENERATION, &(-generation).to_string()).await,
            _ => Ok(()),
        }
    }

    /// Begins a new generation if changes were missed in this one: by a worker without the feed, or
    /// because the database was restored. To be called now and then, with the feed on.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn watch_change_feed(&self) -> Result<(), StoreError> {
        let others = self.query(
            |sql| &sql.workers_without_feed,
            &[],
            |row| row.get::<Option<String>>("process_id"),
        );
        let other = first(others.await?).flatten();
        let is_incomplete = self.setting(INCOMPLETE).await?.as_deref() == Some("true");
        if let (Some(process), false) = (&other, is_incomplete) {
            warn!(
                %process,
                "a worker of this database runs without CHANGE_FEED=on: what it changes is missing in the change feed. Restart it with CHANGE_FEED=on; then cursors expire, and readers start again"
            );
            self.set(INCOMPLETE, "true").await?;
        }
        let database = match self {
            Self::Postgres(store) => Some(store.identity().await?),
            // A file has none.
            Self::Sqlite(_) => None,
        };
        let database = database.map(|database| serde_json::Value::from(database).to_string());
        let known = self.setting(DATABASE).await?;
        let is_restored = known.is_some() && database.is_some() && known != database;
        if is_restored || is_incomplete && other.is_none() {
            let (settled, _) = self.settled().await?;
            self.begin_generation(settled).await?;
            self.set(INCOMPLETE, "false").await?;
        }
        match database {
            Some(database) => self.set(DATABASE, &database).await,
            None => Ok(()),
        }
    }

    /// Begins a new generation behind this ID: every cursor expires.
    pub(super) async fn begin_generation(&self, after: i64) -> Result<(), StoreError> {
        let expired = after.max(self.change_marks().await?.expired);
        self.set(EXPIRED, &expired.to_string()).await?;
        // Greater than every one before, those of a backup too.
        self.set(GENERATION, &now().ms().to_string()).await
    }
}
