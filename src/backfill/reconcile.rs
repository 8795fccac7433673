//! The table held against Clerk's list: what has drifted, and the mending of it.
//!
//! What is missing or old is mended page by page, by the same way as a backfill. A user is marked as deleted only
//!
//! 1. after a walk that is complete, of which the list did not have the user;
//! 2. where not more would go than a limit: who sets the key of another instance must not lose everybody (`within_limit`), nor get the
//!    users of that one (`must_be_ours`);
//! 3. when Clerk, asked for this one user, answers in its own form that there is none.
//!
//! Of the users of the list only a digest is kept, 8 bytes each: 8 MB for a million. Two users with the same digest (a chance of one
//! in a million with six million users) would hide that one of them is deleted, and could not delete anybody.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::drift::{self, Standing};
use super::store_retry::Writer;
use super::walk::{Page, Walk};
use super::{Api, Failure, NAMED_MAX, Stopped};
use crate::clerk::{Change, ClerkId, Timestamp, api_object};
use crate::shutdown::Shutdown;
use crate::store::Store;

/// What to do about a drift. Plain data.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub fix: bool,
    /// Most users to be marked as deleted; nothing for the default of `within_limit`.
    pub deletes_max: Option<u64>,
}

/// Users of one kind.
#[derive(Debug, Default, Serialize)]
pub struct Kind {
    pub count: u64,
    /// The first ones.
    pub ids: Vec<String>,
}

impl Kind {
    fn add(&mut self, id: &ClerkId) {
        self.count += 1;
        if self.ids.len() < NAMED_MAX {
            self.ids.push(id.to_string());
        }
    }
}

/// How the table stands to Clerk's list.
#[derive(Debug, Default, Serialize)]
pub struct Drift {
    /// Users read from Clerk.
    pub seen: u64,
    /// Rows that are not deleted.
    pub live: u64,
    /// At Clerk, and not in the table.
    pub missing: Kind,
    /// Of whom the table has an older profile, or none.
    pub stale: Kind,
    /// Of whom the table has the same `updated_at` and another content: altered past the rule.
    pub different: Kind,
    /// In the table, and not at Clerk: asked for one by one, unless `unconfirmed` says otherwise.
    pub deleted_at_clerk: Kind,
    /// Whether those are more than the limit, and so were not asked for.
    pub unconfirmed: bool,
    /// Deleted in the table, and at Clerk all the same: a delete is never taken back.
    pub deleted_here: Kind,
    /// Who could not be read or written.
    pub failed: u64,
    pub failures: Vec<Failure>,
    /// Rows that were mended.
    pub mended: u64,
    /// Why nobody is marked as deleted.
    pub refused: Option<String>,
}

impl Drift {
    /// What was found.
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

    fn failed(&mut self, failures: Vec<Failure>) {
        self.failed += failures.len() as u64;
        self.failures.extend(
            failures
                .into_iter()
                .take(NAMED_MAX.saturating_sub(self.failures.len())),
        );
    }
}

/// Rows that are read at once.
const ROWS: NonZeroU32 = NonZeroU32::new(5000).expect("5000 is not 0");

/// Candidates that are remembered, some 6 MB: more than that are never marked in one run.
const CANDIDATES_MAX: usize = 100_000;

/// Users who are asked for at once, within the pace of the API.
const QUESTIONS: usize = 8;

/// Users who are asked for before they are marked, so that little is lost with a stop.
const PORTION: usize = 200;

/// Who was created so shortly before the walk, or since, is left for the next run: Clerk's list may be a moment behind its events.
const YOUNG_MS: i64 = 5 * 60 * 1000;

/// Tombstones that are asked for: more than a few of them are a table of another instance.
const REVIVED_MAX: usize = 1000;

/// Walks Clerk's users and compares. The drift holds what was found and mended up to an end that came too early.
pub async fn reconcile(
    api: Arc<Api>,
    store: &Store,
    plan: Plan,
    stop: &Shutdown,
    mut tell: impl FnMut(&Drift),
) -> (Drift, Result<(), Stopped>) {
    let writer = Writer {
        store,
        patience: api.options().patience,
        stop,
    };
    let mut work = Work {
        api,
        writer,
        plan,
        drift: Drift::default(),
        seen: Vec::new(),
        shared: 0,
        revived: Vec::new(),
    };
    let end = work.run(stop, &mut tell).await;
    (work.drift, end)
}

struct Work<'a> {
    api: Arc<Api>,
    writer: Writer<'a>,
    plan: Plan,
    drift: Drift,
    /// Digests of the users of the list.
    seen: Vec<u64>,
    /// How many of them had a row before.
    shared: u64,
    /// Tombstones whose users are on the list.
    revived: Vec<ClerkId>,
}

impl Work<'_> {
    async fn run(&mut self, stop: &Shutdown, tell: &mut impl FnMut(&Drift)) -> Result<(), Stopped> {
        let began = (self.api.options().now)();
        let mut walk = Walk::start(Arc::clone(&self.api), Vec::new(), stop.clone());
        while let Some(page) = walk.next().await? {
            self.take(page).await?;
            tell(&self.drift);
            if stop.is_requested() {
                return Err(Stopped::Requested);
            }
        }
        // From here on the walk is complete.
        self.seen.sort_unstable();
        self.look_for_revived().await?;
        let (candidates, count) = self.candidates(began).await?;
        // Whom this run has added says nothing of whose table it is.
        let added = if self.plan.fix {
            self.drift.missing.count
        } else {
            0
        };
        let before = self.drift.live.saturating_sub(added);
        match within_limit(count, before, self.shared, self.plan.deletes_max) {
            Ok(()) => self.take_deleted(candidates).await,
            Err(why) => {
                self.drift.unconfirmed = true;
                self.drift.refused = Some(why);
                candidates
                    .iter()
                    .take(NAMED_MAX)
                    .for_each(|id| self.drift.deleted_at_clerk.add(id));
                self.drift.deleted_at_clerk.count = count;
                Ok(())
            }
        }
    }

    /// Compares a page, and mends what it shows.
    async fn take(&mut self, page: Page) -> Result<(), Stopped> {
        self.drift.seen += page.users.len() as u64;
        let (mut changes, mut failures) = (Vec::with_capacity(page.users.len()), Vec::new());
        for user in page.users {
            self.seen.extend(user.id.as_ref().map(digest));
            match user.read {
                Ok(change) => changes.push(change),
                Err(rejection) => failures.push(Failure::rejected(user.id.as_ref(), &rejection)),
            }
        }
        self.drift.failed(failures);
        let changes = drift::in_order(changes);
        let ids: Vec<_> = changes
            .iter()
            .map(|change| change.clerk_id.clone())
            .collect();
        let known = self.writer.known(&ids).await?;
        self.shared += known.len() as u64;
        self.must_be_ours(&ids).await?;
        let mut mending: Vec<Change> = Vec::new();
        for change in changes {
            let (kind, change) = match drift::standing(&change, known.get(&change.clerk_id)) {
                Standing::Missing => (&mut self.drift.missing, change),
                Standing::Older => (&mut self.drift.stale, change),
                Standing::Different => (
                    &mut self.drift.different,
                    api_object::overruling(change, page.read_at),
                ),
                Standing::Current => continue,
                Standing::Deleted => {
                    if self.revived.len() < REVIVED_MAX {
                        self.revived.push(change.clerk_id);
                    }
                    continue;
                }
            };
            kind.add(&change.clerk_id);
            mending.push(change);
        }
        self.mend(mending).await
    }

    /// Before the first row is mended: a list whose oldest users the table does not know is that of another instance, or the table was never
    /// filled.
    async fn must_be_ours(&self, listed: &[ClerkId]) -> Result<(), Stopped> {
        let is_meant = !self.plan.fix || self.plan.deletes_max.is_some();
        if is_meant || self.shared > 0 || listed.is_empty() {
            return Ok(());
        }
        let store = self.writer.store;
        let rows = self
            .writer
            .persist(async || store.live(None, NonZeroU32::MIN).await)
            .await?;
        if rows.map_err(Stopped::Store)?.is_empty() {
            return Ok(());
        }
        Err(Stopped::Refused(format!(
            "the table has none of the first {} users of Clerk's list, but others: is CLERK_SECRET_KEY that of another instance? Nothing was changed. If it is right, run `clerk-sync backfill` first",
            listed.len()
        )))
    }

    async fn mend(&mut self, changes: Vec<Change>) -> Result<(), Stopped> {
        if !self.plan.fix {
            return Ok(());
        }
        let count = changes.len() as u64;
        let refused = self.writer.apply(changes).await?;
        self.drift.mended += count - refused.len() as u64;
        self.drift.failed(refused);
        Ok(())
    }

    /// A tombstone whose user is on the list was mostly written since the page was read, and then Clerk has no such user now.
    async fn look_for_revived(&mut self) -> Result<(), Stopped> {
        let revived = std::mem::take(&mut self.revived);
        for (id, is_there) in self.ask(&revived).await? {
            if is_there {
                self.drift.deleted_here.add(&id);
            }
        }
        Ok(())
    }

    /// Rows that are not deleted and whose users the list does not have: up to a number of them, and how many.
    async fn candidates(&mut self, began: Timestamp) -> Result<(Vec<ClerkId>, u64), Stopped> {
        let kept = self
            .plan
            .deletes_max
            .and_then(|most| usize::try_from(most).ok())
            .unwrap_or(CANDIDATES_MAX);
        let (mut candidates, mut count, mut after) = (Vec::new(), 0, None);
        loop {
            let store = self.writer.store;
            let rows = self
                .writer
                .persist(async || store.live(after.as_ref(), ROWS).await)
                .await?;
            let rows = rows.map_err(Stopped::Store)?;
            let Some(last) = rows.last() else {
                return Ok((candidates, count));
            };
            after = Some(last.clerk_id.clone());
            for row in rows {
                self.drift.live += 1;
                let is_young = row
                    .created_at
                    .is_some_and(|created_at| created_at.ms() > began.ms() - YOUNG_MS);
                if is_young || self.seen.binary_search(&digest(&row.clerk_id)).is_ok() {
                    continue;
                }
                count += 1;
                if candidates.len() < kept.max(NAMED_MAX) {
                    candidates.push(row.clerk_id);
                }
            }
        }
    }

    /// Asks for each candidate, and marks those of whom Clerk knows nothing.
    async fn take_deleted(&mut self, candidates: Vec<ClerkId>) -> Result<(), Stopped> {
        for portion in candidates.chunks(PORTION) {
            let answers = self.ask(portion).await?;
            let missed_at = (self.api.options().now)();
            let gone: Vec<_> = answers
                .into_iter()
                .filter(|(_, is_there)| !is_there)
                .map(|(id, _)| id)
                .collect();
            gone.iter()
                .for_each(|id| self.drift.deleted_at_clerk.add(id));
            let changes = gone
                .into_iter()
                .map(|id| api_object::deleted(id, missed_at))
                .collect();
            self.mend(drift::in_order(changes)).await?;
        }
        Ok(())
    }

    /// Whether Clerk has these users now.
    async fn ask(&self, ids: &[ClerkId]) -> Result<Vec<(ClerkId, bool)>, Stopped> {
        let ask = async |id: ClerkId| {
            let is_there = self.api.has(&id, self.writer.stop).await?;
            Ok((id, is_there))
        };
        stream::iter(ids.iter().cloned())
            .map(ask)
            .buffer_unordered(QUESTIONS)
            .try_collect()
            .await
    }
}

fn digest(id: &ClerkId) -> u64 {
    // With fixed keys: it is the same for the whole run, and Clerk chooses the IDs.
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Rows of which everybody can be checked by hand.
const DELETES_FREE: u64 = 10;

/// One in so many rows.
const DELETES_SHARE: u64 = 20;

/// Whether so many of the rows may be marked as deleted, where the list and the table share so many users. Without a limit of the caller's:
/// one in twenty, ten in a small table, and nobody where the two have nobody in common.
fn within_limit(deletes: u64, live: u64, shared: u64, given: Option<u64>) -> Result<(), String> {
    let most = given.unwrap_or_else(|| {
        DELETES_FREE
            .max(live / DELETES_SHARE)
            .min(CANDIDATES_MAX as u64)
    });
    let shares_nobody = deletes > 0 && shared == 0 && given.is_none();
    if deletes <= most && !shares_nobody {
        return Ok(());
    }
    let why = if shares_nobody {
        format!("Clerk's list has none of the table's {live} users")
    } else {
        format!(
            "{deletes} of the table's {live} users are not on Clerk's list, more than the {most} that may be marked as deleted"
        )
    };
    Err(format!(
        "{why}: is CLERK_SECRET_KEY that of another instance? Nobody was marked. If it is right, run it again with --fix --max-deletes {deletes}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_instance_deletes_nobody() {
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
