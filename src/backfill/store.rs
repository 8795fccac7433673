//! The store with retries. An object that the database refuses is isolated from the others.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::failure::{ObjectFailure, Stopped};
use super::retry::Retry;
use crate::clerk::api_object::ListedObject;
use crate::clerk::{Change, ClerkId, Table};
use crate::shutdown::Shutdown;
use crate::store::{KnownRow, LiveRow, Store, StoreError, Write};

/// Objects per query: two queries for a page of Clerk's list, side by side.
const IDS_PER_QUERY: usize = 250;

/// One table of a store whose outages are waited for.
#[derive(Clone, Copy)]
pub struct PatientStore<'a> {
    pub store: &'a Store,
    pub table: &'static Table,
    pub patience: Duration,
    pub stop: &'a Shutdown,
}

/// The objects of a page beside their rows.
pub struct Compared {
    /// One per object, sorted.
    pub changes: Vec<Change>,
    pub rows: HashMap<ClerkId, KnownRow>,
    /// The objects that cannot be read.
    pub failures: Vec<ObjectFailure>,
}

impl PatientStore<'_> {
    /// Returns the objects of a page as changes, with the rows that the table has of them.
    pub async fn compare(&self, objects: Vec<ListedObject>) -> Result<Compared, Stopped> {
        let (mut changes, mut failures) = (Vec::with_capacity(objects.len()), Vec::new());
        for object in objects {
            match object.read {
                Ok(change) => changes.push(change),
                Err(why) => failures.push(ObjectFailure::rejected(object.id.as_ref(), &why)),
            }
        }
        let changes = sorted(changes);
        let ids: Vec<_> = changes.iter().map(|one| one.clerk_id.clone()).collect();
        Ok(Compared {
            rows: self.rows(&ids).await?,
            changes,
            failures,
        })
    }

    /// Returns the rows of these objects, without those that have none.
    pub async fn rows(&self, ids: &[ClerkId]) -> Result<HashMap<ClerkId, KnownRow>, Stopped> {
        let queries = ids.chunks(IDS_PER_QUERY);
        let rows = try_join_all(
            queries.map(|ids| self.retry(async || self.store.known(self.table, ids).await)),
        );
        let rows = rows.await?.into_iter().flatten();
        Ok(rows.map(|row| (row.clerk_id.clone(), row)).collect())
    }

    /// Returns the next rows that are not deleted, by ID.
    pub async fn live(
        &self,
        after: Option<&ClerkId>,
        limit: NonZeroU32,
    ) -> Result<Vec<LiveRow>, Stopped> {
        self.retry(async || self.store.live(self.table, after, limit).await)
            .await
    }

    /// Applies sorted changes, one per object, and returns the objects that the database refuses. A
    /// refused write is halved until the object is alone. Nothing is written during a pause.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<ObjectFailure>, Stopped> {
        let (mut parts, mut failures) = (vec![changes], Vec::new());
        while let Some(changes) = parts.pop().filter(|part| !part.is_empty()) {
            // Where it cannot be read, workers do not obey either.
            let control = self.store.control().await;
            if control.is_ok_and(|control| control.paused.is_some()) {
                return Err(Stopped::Paused);
            }
            let mut write = Write {
                table: self.table,
                changes,
                records: Vec::new(),
            };
            match self.retry(async || self.store.apply(&write).await).await {
                Ok(_) => {}
                Err(Stopped::Store(StoreError::Rejected { code, text })) => {
                    if let [change] = &*write.changes {
                        failures.push(ObjectFailure {
                            clerk_id: Some(change.clerk_id.to_string()),
                            error_code: code,
                            error: text,
                        });
                    } else {
                        let second = write.changes.split_off(write.changes.len() / 2);
                        parts.extend([second, write.changes]);
                    }
                }
                Err(stopped) => return Err(stopped),
            }
        }
        Ok(failures)
    }

    async fn retry<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<T, Stopped> {
        let mut retry = Retry::new(self.patience, self.stop);
        loop {
            match attempt().await {
                Err(error @ StoreError::Unavailable(_)) => {
                    retry.wait(&error.to_string(), None).await?;
                }
                done => return done.map_err(Stopped::Store),
            }
        }
    }
}

/// Returns the changes as a write needs them: one per object, sorted.
pub fn sorted(mut changes: Vec<Change>) -> Vec<Change> {
    changes.sort_by(|a, b| a.clerk_id.cmp(&b.clerk_id));
    let mut joined: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes {
        match joined.pop_if(|before| before.clerk_id == change.clerk_id) {
            Some(before) => joined.push(before.join(change)),
            None => joined.push(change),
        }
    }
    joined
}
