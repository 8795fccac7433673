//! Compares the tables with Clerk's lists, and fixes the drift.
//!
//! Missing and old rows are fixed page by page, in the same way as a backfill. A row is marked as
//! deleted only if
//!
//! 1. the whole list was read, every object at Clerk is on it (`List::is_whole`), and this one is
//!    not;
//! 2. no more objects of its table are missing than a limit allows: the key of another instance must
//!    neither mark all rows as deleted (`within_limit`) nor import the objects of that instance
//!    (`check_instance`);
//! 3. Clerk, asked for this one object, answers in its own form that there is none.
//!
//! Of the objects of a list only a digest is kept, 8 bytes each: 8 MB for a million. Two objects
//! with the same digest (a chance of one in a million with six million objects) would hide one
//! deleted object, and could not delete any.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::confirm::{Subject, is_at_clerk};
use super::drift::{RowState, row_state};
use super::failure::{NAMED_MAX, ObjectFailure, Stopped};
use super::pages::{Pages, ReadPage};
use super::place::Place;
use super::request::Listing;
use super::run::{Notice, Run, State};
use super::store::{PatientStore, sorted};
use super::table_drift::{Drift, DriftedObjects};
use super::tally::Tally;
use crate::clerk::{Change, ClerkId, Table, Timestamp, Value, api_object};

/// What to do about drift. Plain data.
#[derive(Debug, Clone, Copy)]
pub struct ReconcileOptions {
    /// Whether to fix it.
    pub fix: bool,
    /// Most rows of a table to mark as deleted; `None` for the default of `within_limit`.
    pub deletes_max: Option<u64>,
}

/// What a run found.
pub struct Reconciled {
    /// The tables that it came to.
    pub tables: Vec<(&'static Table, State, Drift)>,
    /// Whether all tables are complete, or why not.
    pub end: Result<(), Stopped>,
}

/// Rows per query.
const ROWS_PER_QUERY: NonZeroU32 = NonZeroU32::new(5000).expect("5000 is not 0");

/// Rows kept as candidates for deletion, some 6 MB. One run never marks more.
const CANDIDATES_MAX: usize = 100_000;

/// Requests for single objects at the same time, within the rate of the API.
const REQUESTS_AT_ONCE: usize = 8;

/// Rows that are confirmed before they are marked, so that a stop loses little.
const CONFIRMED_AT_ONCE: usize = 200;

/// Objects created shortly before the run, or since, are left for the next run: Clerk's list may
/// lag behind its events.
const YOUNG_MS: i64 = 5 * 60 * 1000;

/// Most tombstones that are looked up at Clerk. More than a few mean that the table is that of
/// another instance.
const REVIVED_MAX: usize = 1000;

/// Reads Clerk's objects and compares. If it stops early, the drift has what was found and fixed
/// until then.
pub async fn reconcile(
    run: Run<'_>,
    options: ReconcileOptions,
    mut notify: impl FnMut(Notice<'_>),
) -> Reconciled {
    let (mut tables, mut is_known) = (Vec::new(), false);
    for table in &run.tables {
        notify(Notice::Table(table, run.total(table).await));
        let mut of_table = OfTable {
            run: &run,
            store: run.store(table),
            options,
            is_known_instance: is_known,
            drift: Drift::default(),
            listed: Vec::new(),
            shared: 0,
            revived: Vec::new(),
        };
        let end = of_table.run(&mut notify).await;
        is_known |= of_table.shared > 0;
        let (state, end) = match end {
            Ok(state) => (state, Ok(())),
            Err(stopped) => (State::Incomplete, Err(stopped)),
        };
        tables.push((*table, state, of_table.drift));
        if end.is_err() {
            return Reconciled { tables, end };
        }
    }
    let end = Ok(());
    Reconciled { tables, end }
}

struct OfTable<'a> {
    run: &'a Run<'a>,
    store: PatientStore<'a>,
    options: ReconcileOptions,
    /// Whether a table before has objects of this instance.
    is_known_instance: bool,
    drift: Drift,
    /// Digests of the objects of the list.
    listed: Vec<u64>,
    /// How many of them had a row before.
    shared: u64,
    /// Tombstones whose objects are on the list.
    revived: Vec<Subject>,
}

impl OfTable<'_> {
    async fn run(&mut self, notify: &mut impl FnMut(Notice<'_>)) -> Result<State, Stopped> {
        let (started, stop) = (self.now(), self.store.stop.clone());
        let list = Listing::whole(self.store.table);
        let api = Arc::clone(&self.run.api);
        let mut pages = Pages::start(api, list, Place::default(), stop.clone());
        let mut pages_read = 0_u64;
        loop {
            let page = match pages.next().await {
                Ok(Some(page)) => page,
                Ok(None) => break,
                Err(Stopped::NotEnabled) if pages_read == 0 => return Ok(State::Skipped),
                Err(stopped) => return Err(stopped),
            };
            pages_read += 1;
            self.compare(page).await?;
            let seen = self.drift.seen;
            let tally = Tally {
                seen,
                ..Tally::default()
            };
            notify(Notice::Progress(self.store.table, tally));
            if stop.is_requested() {
                return Err(Stopped::Requested);
            }
        }
        // From here on the list is complete.
        self.listed.sort_unstable();
        // A tombstone of a listed object was mostly written since the page was read. Then Clerk does
        // not have the object now.
        let revived = std::mem::take(&mut self.revived);
        for (id, has) in self.confirm(&revived).await? {
            if has != Some(false) {
                self.drift.deleted_here.add(&id);
            }
        }
        let (candidates, count) = self.candidates(started).await?;
        // Rows that this run added do not prove whose table it is.
        let added = u64::from(self.options.fix) * self.drift.missing.count;
        let before = self.drift.live.saturating_sub(added);
        let (table, limit) = (self.store.table, self.options.deletes_max);
        match within_limit(table, count, before, self.shared, limit) {
            Ok(()) => self.mark_deleted(candidates).await?,
            Err(why) => {
                self.drift.unconfirmed = true;
                self.drift.refused = Some(why);
                let ids = candidates.iter().map(ToString::to_string);
                let ids = ids.take(NAMED_MAX).collect();
                self.drift.deleted_at_clerk = DriftedObjects { count, ids };
            }
        }
        Ok(State::Complete)
    }

    fn now(&self) -> Timestamp {
        (self.run.api.options().now)()
    }

    /// Compares a page, and fixes its drift.
    async fn compare(&mut self, page: ReadPage) -> Result<(), Stopped> {
        self.drift.seen += page.objects.len() as u64;
        let ids = page.objects.iter().filter_map(|object| object.id.as_ref());
        self.listed.extend(ids.map(digest));
        let compared = self.store.compare(page.objects).await?;
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
                        let compared = compared_values(&change);
                        self.revived.push(Subject { id, compared });
                    }
                    continue;
                }
            };
            kind.add(&id);
            fixes.push(fix);
        }
        self.fix(fixes).await
    }

    /// Fails before the first row is fixed if the table has other objects than the first ones of the
    /// list: then the list is that of another instance, or the table was never filled.
    async fn check_instance(&self, listed: usize) -> Result<(), Stopped> {
        let is_intended = !self.options.fix || self.options.deletes_max.is_some();
        // An empty table is filled: then its objects are those of the pages before.
        let is_known = self.is_known_instance || self.shared > 0 || self.drift.fixed > 0;
        if is_intended || is_known || listed == 0 {
            return Ok(());
        }
        if self.store.live(None, NonZeroU32::MIN).await?.is_empty() {
            return Ok(());
        }
        let plural = self.store.table.plural;
        Err(Stopped::Refused(format!(
            "the table has none of the first {listed} {plural} of Clerk's list, but others: is CLERK_SECRET_KEY that of another instance? Nothing was changed. If it is right, run `clerk-sync backfill` first"
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

    /// Returns objects whose rows are not deleted and that are missing on the list, if that says
    /// anything: some of them, and how many there are.
    async fn candidates(&mut self, started: Timestamp) -> Result<(Vec<ClerkId>, u64), Stopped> {
        let given = self.options.deletes_max.map(usize::try_from);
        let most = given
            .and_then(Result::ok)
            .unwrap_or(CANDIDATES_MAX)
            .max(NAMED_MAX);
        let is_whole = self.store.table.list.is_whole;
        let (mut candidates, mut count, mut after) = (Vec::new(), 0, None);
        loop {
            let rows = self.store.live(after.as_ref(), ROWS_PER_QUERY).await?;
            let Some(last) = rows.last() else {
                return Ok((candidates, count));
            };
            after = Some(last.clerk_id.clone());
            self.drift.live += rows.len() as u64;
            for row in rows.into_iter().filter(|_| is_whole) {
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

    /// Marks the candidates that Clerk does not have.
    async fn mark_deleted(&mut self, candidates: Vec<ClerkId>) -> Result<(), Stopped> {
        for part in candidates.chunks(CONFIRMED_AT_ONCE) {
            let rows = self.store.rows(part).await?.into_values();
            let subjects = rows.map(|row| Subject {
                id: row.clerk_id,
                compared: row.compared,
            });
            let answers = self.confirm(&subjects.collect::<Vec<_>>()).await?;
            let (table, missed_at) = (self.store.table, self.now());
            let mut changes = Vec::new();
            for (id, has) in answers {
                match has {
                    Some(true) => {}
                    None => self.drift.failed(vec![ObjectFailure::unconfirmed(&id)]),
                    Some(false) => {
                        self.drift.deleted_at_clerk.add(&id);
                        changes.push(api_object::deleted(table, id, missed_at));
                    }
                }
            }
            self.fix(sorted(changes)).await?;
        }
        Ok(())
    }

    /// Asks Clerk for each object, and returns whether it has the object now; `None` if it cannot
    /// be asked.
    async fn confirm(&self, subjects: &[Subject]) -> Result<Vec<(ClerkId, Option<bool>)>, Stopped> {
        let (api, table, stop) = (&self.run.api, self.store.table, self.store.stop);
        let confirm = async |subject: Subject| {
            let has = is_at_clerk(api, table, &subject, stop).await?;
            Ok((subject.id, has))
        };
        let requests = stream::iter(subjects.iter().cloned()).map(confirm);
        let answers = requests.buffer_unordered(REQUESTS_AT_ONCE);
        let mut answers: Vec<_> = answers.try_collect().await?;
        answers.sort_unstable();
        Ok(answers)
    }
}

/// Returns the values of the compared columns.
fn compared_values(change: &Change) -> Vec<Value> {
    let profile = change.profile.as_ref();
    let columns = change.table.columns.iter();
    let values = columns.zip(profile.into_iter().flat_map(|(_, profile)| &profile.values));
    let compared = values.filter(|(column, _)| column.is_compared);
    compared.map(|(_, value)| value.clone()).collect()
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
/// many objects. Without a given limit: one in twenty, ten in a small table, and none if the two
/// have no object in common.
fn within_limit(
    table: &Table,
    deletes: u64,
    live: u64,
    shared: u64,
    given: Option<u64>,
) -> Result<(), String> {
    let default = DELETES_FREE
        .max(live / DELETES_SHARE)
        .min(CANDIDATES_MAX as u64);
    let most = given.unwrap_or(default);
    let objects = if live == 1 {
        table.singular
    } else {
        table.plural
    };
    let why = if deletes > 0 && shared == 0 && given.is_none() {
        format!("Clerk's list has none of the table's {live} {objects}")
    } else if deletes > most {
        let are = if deletes == 1 { "is" } else { "are" };
        format!(
            "{deletes} of the table's {live} {objects} {are} not on Clerk's list, more than the {most} that may be marked as deleted"
        )
    } else {
        return Ok(());
    };
    Err(format!(
        "{why}: is CLERK_SECRET_KEY that of another instance? No {} was marked. If it is right, run `reconcile {} --fix --max-deletes {deletes}`",
        table.singular, table.plural
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::tables::users::TABLE;

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
                within_limit(&TABLE, deletes, live, live - deletes, None),
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
            let why = within_limit(&TABLE, deletes, live, live - deletes, None).unwrap_err();
            assert!(
                why.contains("another instance")
                    && why.contains(&format!("--max-deletes {deletes}")),
                "{why}"
            );
        }
        assert_eq!(within_limit(&TABLE, 5, 5, 0, Some(5)), Ok(()));
        assert!(
            within_limit(&TABLE, 6, 100, 94, Some(5)).is_err(),
            "a limit that was given is kept to"
        );
    }
}
