//! Questions and writes to the store, with patience; and one user whom no database takes set apart from the others.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::retry::Patience;
use super::{Failure, Stopped};
use crate::clerk::{Change, ClerkId};
use crate::shutdown::Shutdown;
use crate::store::{KnownUser, Store, StoreError, Write};

/// Users who are asked for in one statement: two for a page of Clerk's list, side by side.
const ASKED_AT_ONCE: usize = 250;

/// The store, waited for.
pub struct Writer<'a> {
    pub store: &'a Store,
    pub patience: Duration,
    pub stop: &'a Shutdown,
}

impl Writer<'_> {
    /// What is known of these users.
    pub async fn known(&self, ids: &[ClerkId]) -> Result<HashMap<ClerkId, KnownUser>, Stopped> {
        let parts = ids.chunks(ASKED_AT_ONCE).map(async |part| {
            self.persist(async || self.store.known(part).await)
                .await?
                .map_err(Stopped::Store)
        });
        let known = try_join_all(parts).await?;
        Ok(known
            .into_iter()
            .flatten()
            .map(|user| (user.clerk_id.clone(), user))
            .collect())
    }

    /// Applies the changes, one a user and sorted. What the database refuses is halved until it stands alone.
    pub async fn apply(&self, changes: Vec<Change>) -> Result<Vec<Failure>, Stopped> {
        let (mut parts, mut failures) = (vec![changes], Vec::new());
        while let Some(changes) = parts.pop().filter(|part| !part.is_empty()) {
            let mut write = Write {
                changes,
                records: Vec::new(),
            };
            match self
                .persist(async || self.store.apply(&write).await)
                .await?
            {
                Ok(_) => {}
                Err(StoreError::Rejected { code, text }) if write.changes.len() == 1 => {
                    let clerk_id = Some(write.changes[0].clerk_id.to_string());
                    failures.push(Failure {
                        clerk_id,
                        error_code: code,
                        error: text,
                    });
                }
                Err(_) => {
                    let second = write.changes.split_off(write.changes.len() / 2);
                    parts.extend([second, write.changes]);
                }
            }
        }
        Ok(failures)
    }

    /// Tries until it is done. The inner error is one that neither time nor a person mends: `Rejected`.
    pub async fn persist<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, StoreError>,
    ) -> Result<Result<T, StoreError>, Stopped> {
        let mut patience = Patience::new(self.patience, self.stop);
        loop {
            match attempt().await {
                Ok(done) => return Ok(Ok(done)),
                Err(error @ StoreError::Unavailable(_)) => {
                    patience.wait(&error.to_string(), None).await?
                }
                Err(error @ StoreError::Incompatible(_)) => return Err(Stopped::Store(error)),
                Err(error @ StoreError::Rejected { .. }) => return Ok(Err(error)),
            }
        }
    }
}
