//! Compares the table with Clerk's list, and fixes the drift.
//!
//! Missing and old rows are fixed page by page, in the same way as a backfill. A user is marked as
//! deleted only if
//!
//! 1. the whole list was read, and the user is not on it;
//! 2. no more users are missing than a limit allows: the key of another instance must neither mark
//!    all users as deleted (`within_limit`) nor import the users of that instance
//!    (`check_instance`);
//! 3. Clerk, asked for this one user, answers in its own form that there is none.
//!
//! Of the users of the list only a digest is kept, 8 bytes each: 8 MB for a million. Two users with
//! the same digest (a chance of one in a million with six million users) would hide one deleted
//! user, and could not delete any.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::clerk_api::ClerkApi;
use super::drift::{RowState, row_state};
use super::failure::{NAMED_MAX, Stopped, UserFailure, name_more};
use super::pages::{ListPage, Pages};
use super::store::{PatientStore, sorted};
use crate::clerk::{Change, ClerkId, Timestamp, api_object};
use crate::shutdown::Shutdown;
use crate::store::Store;

/// What to do about drift. Plain data.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileOptions {
    /// Whether to fix it.
    pub fix: bool,
    /// Most users to mark as deleted; `None` for the default of `within_limit`.
    pub deletes_max: Option<u64>,
}

/// Users with one kind of drift.
#[derive(Debug, Default, Serialize)]
pub struct DriftedUsers {
    /// How many there are.
    pub count: u64,
    /// The first ones.
    pub ids: Vec<String>,
}

impl DriftedUsers {
    fn add(&mut self, id: &ClerkId) {
        self.count += 1;
        name_more(&mut self.ids, [id.to_string()]);
    }
}

/// How the table differs from Clerk's list.
#[derive(Debug, Default, Serialize)]
pub struct Drift {
    /// Users read from Clerk.
    pub seen: u64,
    /// Rows that are not deleted.
    pub live: u64,
    /// At Clerk, and not in the table.
    pub missing: DriftedUsers,
    /// The table has an older profile, or none.
    pub stale: DriftedUsers,
    /// The table has the same `updated_at` and other values: something else wrote them.
    pub different: DriftedUsers,
    /// In the table and not at Clerk. Clerk confirmed each one, unless `unconfirmed`.
    pub deleted_at_clerk: DriftedUsers,
    /// Whether `deleted_at_clerk` has more users than the limit, so that they were not confirmed
    /// with Clerk.
    pub unconfirmed: bool,
    /// Deleted in the table, and still at Clerk: a delete is never undone.
    pub deleted_here: DriftedUsers,
    /// Users who could not be read or written.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<UserFailure>,
    /// Rows that were fixed.
    #[serde(rename = "mended")]
    pub fixed: u64,
    /// Why no user is marked as deleted; `None` if they may be.
    pub refused: Option<String>,
}

impl Drift {
    /// Returns how many users have drifted.
    pub fn found(&self) -> u64 {
        let kinds = [
            &self.missing,
            &self.stale,
            &self.different,
            &self.deleted_at_clerk,
            &self.deleted_here,
        ];
        kinds.iter().map(|kind| kind.count).sum()
    }

    fn failed(&mut self, failures: Vec<UserFailure>) {
        self.failed += failures.len() as u64;
        name_more(&mut self.failures, failures);
    }
}

/// Rows per query.
const ROWS_PER_QUERY: NonZeroU32 = NonZeroU32::new(5000).expect("5000 is not 0");

/// Users kept as candidates for deletion, some 6 MB. One run never marks more.
const CANDIDATES_MAX: usize = 100_000;

/// Requests for single users at the same time, within the rate of the API.
const REQUESTS_AT_ONCE: usize = 8;

/// Users who are confirmed before they are marked, so that a stop loses little.
const CONFIRMED_AT_ONCE: usize = 200;

/// Users created shortly before the run, or since, are left for the next run: Clerk's list may lag
/// behind its events.
const YOUNG_MS: i64 = 5 * 60 * 1000;

/// Most tombstones that are looked up at Clerk. More than a few mean that the table is that of
/// another instance.
const REVIVED_MAX: usize = 1000;

/// Reads Clerk's users and compares. If it stops early, the drift has what was found and fixed
/// until then.
pub async fn reconcile(
    api: Arc<ClerkApi>,
    store: &Store,
    options: ReconcileOptions,
    stop: &Shutdown,
    mut notify: impl FnMut(&Drift),
) -> (Drift, Result<(), Stopped>) {
    let patience = api.options().patience;
    let store = PatientStore {
        store,
        patience,
        stop,
    };
    let mut run = Run {
        api,
        store,
        options,
        drift: Drift::default(),
        listed: Vec::new(),
        shared: 0,
        revived: Vec::new(),
    };
    let end = run.run(&mut notify).await;
    (run.drift, end)
}

struct Run<'a> {
    api: Arc<ClerkApi>,
    store: PatientStore<'a>,
    options: ReconcileOptions,
    drift: Drift,
    /// Digests of the users of the list.
    listed: Vec<u64>,
    /// How many of them had a row before.
    shared: u64,
    /// Tombstones whose users are on the list.
    revived: Vec<ClerkId>,
}

impl Run<'_> {
    async fn run(&mut self, notify: &mut impl FnMut(&Drift)) -> Result<(), Stopped> {
        let (started, stop) = ((self.api.options().now)(), self.store.stop.clone());
        let mut pages = Pages::start(Arc::clone(&self.api), Vec::new(), stop.clone());
        while let Some(page) = pages.next().await? {
            self.compare(page).await?;
            notify(&self.drift);
            if stop.is_requested() {
                return Err(Stopped::Requested);
            }
        }
        // From here on the list is complete.
        self.listed.sort_unstable();
        // A tombstone of a listed user was mostly written since the page was read. Then Clerk does
        // not have the user now.
        let revived = std::mem::take(&mut self.revived);
        for (id, _) in self
            .confirm(&revived)
            .await?
            .into_iter()
            .filter(|(_, has)| *has)
        {
            self.drift.deleted_here.add(&id);
        }
        let (candidates, count) = self.candidates(started).await?;
        // Rows that this run added do not prove whose table it is.
        let added = u64::from(self.options.fix) * self.drift.missing.count;
        let before = self.drift.live.saturating_sub(added);
        let Err(why) = within_limit(count, before, self.shared, self.options.deletes_max) else {
            return self.mark_deleted(candidates).await;
        };
        self.drift.unconfirmed = true;
        self.drift.refused = Some(why);
        let ids = candidates
            .iter()
            .map(ToString::to_string)
            .take(NAMED_MAX)
            .collect();
        self.drift.deleted_at_clerk = DriftedUsers { count, ids };
        Ok(())
    }

    /// Compares a page, and fixes its drift.
    async fn compare(&mut self, page: ListPage) -> Result<(), Stopped> {
        self.drift.seen += page.users.len() as u64;
        let ids = page.users.iter().filter_map(|user| user.id.as_ref());
        self.listed.extend(ids.map(digest));
        let compared = self.store.compare(page.users).await?;
        self.drift.failed(compared.failures);
        self.shared += compared.rows.len() as u64;
        self.check_instance(compared.changes.len()).await?;
        let mut fixes: Vec<Change> = Vec::new();
        for change in compared.changes {
            let id = change.clerk_id.clone();
            let (kind, fix) = match row_state(&change, compared.rows.get(&id)) {
                RowState::Missing => (&mut self.drift.missing, change),
                RowState::Older => (&mut self.drift.stale, change),
                RowState::Different => (
                    &mut self.drift.different,
                    api_object::overruling(change, page.read_at),
                ),
                RowState::Current => continue,
                RowState::Deleted => {
                    if self.revived.len() < REVIVED_MAX {
                        self.revived.push(id);
                    }
                    continue;
                }
            };
            kind.add(&id);
            fixes.push(fix);
        }
        self.fix(fixes).await
    }

    /// Fails before the first row is fixed if the table has other users than the first ones of the
    /// list: then the list is that of another instance, or the table was never filled.
    async fn check_instance(&self, listed: usize) -> Result<(), Stopped> {
        let is_intended = !self.options.fix || self.options.deletes_max.is_some();
        // An empty table is filled: then its users are those of the pages before.
        if is_intended || self.shared > 0 || self.drift.fixed > 0 || listed == 0 {
            return Ok(());
        }
        if self.store.live(None, NonZeroU32::MIN).await?.is_empty() {
            return Ok(());
        }
        Err(Stopped::Refused(format!(
            "the table has none of the first {listed} users of Clerk's list, but others: is CLERK_SECRET_KEY that of another instance? Nothing was changed. If it is right, run `clerk-sync backfill` first"
        )))
    }

    async fn fix(&mut self, changes: Vec<Change>) -> Result<(), Stopped> {
        if self.options.fix {
            let count = changes.len() as u64;
            let refused = self.store.apply(changes).await?;
            self.drift.fixed += count - refused.len() as u64;
            self.drift.failed(refused);
        }
        Ok(())
    }

    /// Returns users whose rows are not deleted and who are not on the list: some of them, and how
    /// many there are.
    async fn candidates(&mut self, started: Timestamp) -> Result<(Vec<ClerkId>, u64), Stopped> {
        let given = self.options.deletes_max.map(usize::try_from);
        let most = given
            .and_then(Result::ok)
            .unwrap_or(CANDIDATES_MAX)
            .max(NAMED_MAX);
        let (mut candidates, mut count, mut after) = (Vec::new(), 0, None);
        loop {
            let rows = self.store.live(after.as_ref(), ROWS_PER_QUERY).await?;
            let Some(last) = rows.last() else {
                return Ok((candidates, count));
            };
            after = Some(last.clerk_id.clone());
            self.drift.live += rows.len() as u64;
            for row in rows {
                let young_from = started.ms() - YOUNG_MS;
                let is_young = row.created_at.is_some_and(|at| at.ms() > young_from);
                if is_young || self.listed.binary_search(&digest(&row.clerk_id)).is_ok() {
                    continue;
                }
                count += 1;
                if candidates.len() < most {
                    candidates.push(row.clerk_id);
                }
            }
        }
    }

    /// Marks the candidates whom Clerk does not have.
    async fn mark_deleted(&mut self, candidates: Vec<ClerkId>) -> Result<(), Stopped> {
        for part in candidates.chunks(CONFIRMED_AT_ONCE) {
            let answers = self.confirm(part).await?;
            let missed_at = (self.api.options().now)();
            let mut changes = Vec::new();
            for (id, _) in answers.into_iter().filter(|(_, has)| !has) {
                self.drift.deleted_at_clerk.add(&id);
                changes.push(api_object::deleted(id, missed_at));
            }
            self.fix(sorted(changes)).await?;
        }
        Ok(())
    }

    /// Asks Clerk for each user, and returns whether it has the user now.
    async fn confirm(&self, ids: &[ClerkId]) -> Result<Vec<(ClerkId, bool)>, Stopped> {
        let confirm = async |id: ClerkId| {
            let has = self.api.has(&id, self.store.stop).await?;
            Ok((id, has))
        };
        let requests = stream::iter(ids.iter().cloned()).map(confirm);
        requests
            .buffer_unordered(REQUESTS_AT_ONCE)
            .try_collect()
            .await
    }
}

fn digest(id: &ClerkId) -> u64 {
    // Its keys are fixed: the digest is the same for the whole run, and Clerk chooses the IDs.
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// As many rows can be checked by hand.
const DELETES_FREE: u64 = 10;

/// One in so many rows.
const DELETES_SHARE: u64 = 20;

/// Returns whether so many of the rows may be marked as deleted, if the list and the table share so
/// many users. Without a given limit: one in twenty, ten in a small table, and none if the two have
/// no user in common.
fn within_limit(deletes: u64, live: u64, shared: u64, given: Option<u64>) -> Result<(), String> {
    let default = DELETES_FREE
        .max(live / DELETES_SHARE)
        .min(CANDIDATES_MAX as u64);
    let most = given.unwrap_or(default);
    let users = if live == 1 { "user" } else { "users" };
    let why = if deletes > 0 && shared == 0 && given.is_none() {
        format!("Clerk's list has none of the table's {live} {users}")
    } else if deletes > most {
        let are = if deletes == 1 { "is" } else { "are" };
        format!(
            "{deletes} of the table's {live} {users} {are} not on Clerk's list, more than the {most} that may be marked as deleted"
        )
    } else {
        return Ok(());
    };
    Err(format!(
        "{why}: is CLERK_SECRET_KEY that of another instance? No user was marked. If it is right, run it again with --fix --max-deletes {deletes}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_instance_deletes_no_user() {
        for (deletes, live) in [
            (0, 0),
            (0, 5),
            (3, 5),
            (10, 11),
            (50, 1000),
            (50_000, 1_000_000),
        ] {
            assert_eq!(
                within_limit(deletes, live, live - deletes, None),
                Ok(()),
                "{deletes} of {live}"
            );
        }
        for (deletes, live) in [
            (1, 1),
            (5, 5),
            (11, 100),
            (51, 1000),
            (1_000_000, 1_000_000),
            (100_001, 9_000_000),
        ] {
            let why = within_limit(deletes, live, live - deletes, None).unwrap_err();
            assert!(
                why.contains("another instance")
                    && why.contains(&format!("--max-deletes {deletes}")),
                "{why}"
            );
        }
        assert_eq!(within_limit(5, 5, 0, Some(5)), Ok(()));
        assert!(
            within_limit(6, 100, 94, Some(5)).is_err(),
            "a limit that was given is kept to"
        );
    }
}
