//! Refreshes a user: asks Clerk for this one and applies the answer, for commands and HTTP alike.
//!
//! The answer is applied like an object of Clerk's lists: under the version rule, with the lowest version of its
//! `updated_at`. So it changes no row that is newer, restores none that is deleted, and fills none
//! that is erased. Nothing is asked and nothing written during a pause.

mod error;
mod in_flight;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::{error, info};

pub use self::error::RefreshError;
use self::in_flight::InFlight;
use crate::backfill::{self, ClerkApi};
use crate::clerk::{ClerkId, SyncedTables, Table, tables};
use crate::logged_state::LoggedState;
use crate::metrics;
use crate::store::{Store, StoreError, TableRow, Write};

/// The table whose rows are refreshed.
const USERS: &Table = &tables::users::TABLE;

/// How old the number of processes may be, among which Clerk's rate limit is divided.
const PROCESSES_AGE: Duration = Duration::from_secs(10);

/// What a refresh needs.
#[derive(Clone)]
pub struct Parts {
    /// Where it writes.
    pub store: Store,
    /// Where it asks, as the secret key is read again; `None` without one.
    pub clerk_api: watch::Receiver<Option<Arc<ClerkApi>>>,
    /// The tables that are synced.
    pub synced: SyncedTables,
    /// The ID of this process among the workers of the database; empty if it is none of them.
    pub process_id: String,
}

/// Refreshes users. Clones share the requests that are in flight.
#[derive(Clone)]
pub struct Refresher(Arc<Shared>);

struct Shared {
    parts: Parts,
    in_flight: InFlight<ClerkId, Refreshed>,
    /// How many processes there are, and when that was read.
    processes: Mutex<(u32, Option<Instant>)>,
    /// What an operator must fix, as it was logged last.
    fault: LoggedState<Option<String>>,
}

/// The row after a refresh.
type Refreshed = Result<Arc<TableRow>, RefreshError>;

impl Refresher {
    /// Returns one that has asked nothing yet.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(Shared {
            parts,
            in_flight: InFlight::default(),
            processes: Mutex::new((1, None)),
            fault: LoggedState::new(None),
        }))
    }

    /// Refreshes a user and returns the row. Calls for one ID at the same time share one request to
    /// Clerk, and its result.
    ///
    /// # Errors
    /// Fails without an answer of Clerk that can be applied; says what to do.
    pub async fn refresh(&self, id: &str) -> Refreshed {
        let refreshed = self.shared_with_others(id).await;
        metrics::refreshed(match &refreshed {
            Ok(_) => metrics::RefreshResult::Refreshed,
            Err(error) => error.counted_as(),
        });
        refreshed
    }

    async fn shared_with_others(&self, id: &str) -> Refreshed {
        let id = user_id(id).ok_or(RefreshError::NoUserId)?;
        if !self.0.parts.synced.has(USERS) {
            return Err(RefreshError::NotSynced);
        }
        let api = self.0.parts.clerk_api.borrow().clone();
        let api = api.ok_or(RefreshError::KeyMissing)?;
        let shared = Arc::clone(&self.0);
        let start = {
            let id = id.clone();
            move || async move { shared.refresh(&api, id).await }
        };
        self.0.in_flight.join(id, start).await
    }
}

/// Reads the ID of a user. Returns `None` if Clerk cannot have given it to one.
fn user_id(id: &str) -> Option<ClerkId> {
    let own = id.strip_prefix(USERS.id_prefix)?.strip_prefix('_')?;
    let is_own = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let is_one = !own.is_empty() && own.bytes().all(is_own);
    ClerkId::new(id).filter(|_| is_one)
}

impl Shared {
    async fn refresh(&self, api: &ClerkApi, id: ClerkId) -> Refreshed {
        let store = &self.parts.store;
        match store.control().await {
            Ok(control) => refuse_if_paused(control.paused.is_some())?,
            // Then Clerk need not be asked.
            Err(error @ StoreError::Unavailable(_)) => return Err(error.into()),
            // A role that may not read it is not held up: its workers do not obey either.
            Err(_) => {}
        }
        let asked = backfill::object(api, USERS, &id, self.processes().await).await;
        let asked = asked.map_err(RefreshError::from);
        self.log(asked.as_ref().err());
        let change = asked?.ok_or(RefreshError::UnknownAtClerk)?;
        // Clerk may have taken seconds, and a pause is obeyed within one.
        let control = store.control_before_write().await;
        refuse_if_paused(control.is_ok_and(|control| control.paused.is_some()))?;
        let write = Write {
            table: USERS,
            changes: vec![change],
            records: Vec::new(),
        };
        store.apply(&write).await.map_err(RefreshError::of_write)?;
        let row = store.row(USERS, &id).await?;
        let row = row.ok_or_else(|| {
            let what = "the row was deleted while it was refreshed";
            StoreError::Unavailable(what.into())
        })?;
        Ok(Arc::new(row))
    }

    /// Returns how many processes refresh users in this database.
    async fn processes(&self) -> u32 {
        let (known, read_at) = *lock(&self.processes);
        if read_at.is_some_and(|at| at.elapsed() < PROCESSES_AGE) {
            return known;
        }
        let others = self.parts.store.other_workers(&self.parts.process_id).await;
        // Where it cannot be read, the number is as before.
        let count = others.map_or(known, |others| {
            u32::try_from(others).unwrap_or(u32::MAX).saturating_add(1)
        });
        *lock(&self.processes) = (count, Some(Instant::now()));
        count
    }

    /// Logs what an operator must fix, once, and that it is fixed.
    fn log(&self, error: Option<&RefreshError>) {
        let fault = match error {
            Some(RefreshError::ClerkRefuses(what)) => Some(what.clone()),
            None | Some(RefreshError::UnknownAtClerk | RefreshError::Unstorable { .. }) => None,
            // It says nothing of the key.
            Some(_) => return,
        };
        if self.fault.changes_to(fault.clone()) {
            match fault {
                Some(fault) => error!(error = fault, "users cannot be refreshed"),
                None => info!("users can be refreshed again"),
            }
        }
    }
}

fn refuse_if_paused(is_paused: bool) -> Result<(), RefreshError> {
    match is_paused {
        true => Err(RefreshError::Paused),
        false => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code that holds the lock can leave it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_a_user_can_have_is_asked_for() {
        for id in [
            "user_2abc",
            "user_x-1_Y",
            &format!("user_{}", "a".repeat(250)),
        ] {
            assert_eq!(user_id(id).unwrap().as_str(), id);
        }
        let long = format!("user_{}", "a".repeat(251));
        for id in [
            "", "user_", "user", "2abc", "org_1", "User_1", "user_1/2", "user_ä", "user_.", &long,
        ] {
            assert!(user_id(id).is_none(), "{id}");
        }
    }
}
