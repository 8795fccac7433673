//! Erases what is stored of a user: the user's row, what rows of other tables hold of the user, and
//! the payloads of the events of all these.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;

use super::act::{Act, Action, Actor};
use super::bind::Bind;
use super::database_row::DatabaseRow;
use super::filter::{EventFilter, Page};
use super::rows::TableRow;
use super::sqlite::lowercase::fold;
use super::write::Write;
use super::{Store, StoreError, dispatch};
use crate::clerk::tables::users;
use crate::clerk::{ClerkId, Table, tables};

/// What was erased of a user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// The columns of the user's row that were not null.
    pub columns: Vec<&'static str>,
    /// Rows of other tables that held something personal, by what the rows are called.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub other_rows: BTreeMap<&'static str, u64>,
    /// Payloads of the events of the user, and of those rows.
    pub payloads: u64,
    /// Whether the row is never filled again: that of a deleted user.
    pub is_final: bool,
}

impl Erased {
    fn of(user: Option<TableRow>, other_rows: BTreeMap<&'static str, u64>, payloads: u64) -> Self {
        let columns = user.as_ref().map(TableRow::filled_profile_columns);
        Self {
            columns: columns.unwrap_or_default(),
            other_rows,
            payloads,
            is_final: user.is_some_and(|user| user.deleted_at.is_some()),
        }
    }
}

/// Whose data is erased.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    /// Clerk's IDs of the users.
    pub ids: Vec<String>,
    /// Their e-mail addresses.
    pub addresses: Vec<String>,
}

impl Owners {
    /// As the statements take them.
    pub fn binds(&self) -> [Bind<'_>; 2] {
        [&self.ids, &self.addresses]
            .map(|texts| texts.iter().map(String::as_str).collect::<Vec<_>>().into())
    }
}

/// The tables whose rows belong to users.
fn owned_tables() -> impl Iterator<Item = &'static Table> {
    let tables = tables::ALL.iter().copied();
    tables.filter(|table| !table.erased_with.is_empty())
}

impl Store {
    /// What `erase` would erase of a user, and how many events are kept. Returns `None` if there is
    /// neither a row nor an event.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn would_erase(&self, id: &ClerkId) -> Result<Option<(Erased, u64)>, StoreError> {
        let user = self.user(id).await?;
        let (events, mut payloads) = self.count_events_of_user(id).await?;
        let owners = self.owners(&[id], &[]).await?;
        let mut other_rows = BTreeMap::new();
        for table in owned_tables() {
            let rows = self.owned_rows(table, &owners).await?;
            payloads += rows.values().sum::<u64>();
            let count = rows.len() as u64;
            let rows = rows.into_keys().collect();
            payloads += self.failed_of(table, &owners, &rows).await?.count();
            if count > 0 {
                other_rows.insert(table.plural, count);
            }
        }
        let is_known = user.is_some() || events > 0 || payloads > 0 || !other_rows.is_empty();
        Ok(is_known.then(|| (Erased::of(user, other_rows, payloads), events)))
    }

    /// Erases a user's row, but for the ID and the times of the delete and of the erasure; what
    /// rows of other tables hold of the user; and the payloads of the events of all these; and
    /// records who did. Returns `None` if there is neither a row nor an event: a user whose events
    /// all failed has no row.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn erase(&self, id: &ClerkId, by: &Actor) -> Result<Option<Erased>, StoreError> {
        let user = self.user(id).await?;
        let is_final = user.as_ref().is_some_and(|user| user.deleted_at.is_some());
        // Before the user's row, which has the addresses: an erasure that fails between is repeated.
        let owners = self.owners(&[id], &[]).await?;
        let (mut other_rows, of_others) = self.erase_owned(&owners, is_final).await?;
        let act = Act::new(Action::Erased, by).about_user(id);
        let (_, payloads) = dispatch!(self, store => store.erase(id, &act).await?);
        // And what a worker has written in between; it may have deleted the user too.
        let now = self.user(id).await?;
        let is_final = now.is_some_and(|user| user.deleted_at.is_some());
        let (more, of_more) = self.erase_owned(&owners, is_final).await?;
        if is_final || other_rows.is_empty() {
            for (plural, rows) in more {
                let known = other_rows.entry(plural).or_default();
                *known = rows.max(*known);
            }
        }
        let payloads = payloads + of_others + of_more;
        let is_known =
            user.is_some() || payloads > 0 || !other_rows.is_empty() || self.has_events(id).await?;
        Ok(is_known.then(|| Erased::of(user, other_rows, payloads)))
    }

    async fn has_events(&self, id: &ClerkId) -> Result<bool, StoreError> {
        let filter = EventFilter {
            clerk_id: Some(id.as_str().into()),
            ..EventFilter::default()
        };
        let page = Page {
            limit: NonZeroU32::MIN,
            after: None,
        };
        Ok(!self.events(&filter, &page).await?.rows.is_empty())
    }

    /// Erases up to `limit` rows of users who were deleted before `ON_DELETE` was `scrub`, with all
    /// that is theirs. Returns how many rows.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn scrub(&self, limit: u32) -> Result<u64, StoreError> {
        let binds = [limit.into()];
        let deleted = self.queries().of(&users::TABLE).deleted_not_erased.clone();
        let ids = self.query_statement(deleted, &binds, DatabaseRow::clerk_id);
        let ids = ids.await?;
        if ids.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = ids.iter().collect();
        let owners = self.owners(&ids, &[]).await?;
        self.erase_owned(&owners, true).await?;
        let ids: Vec<_> = ids.into_iter().map(ClerkId::as_str).collect();
        let rows = dispatch!(self, store => store.scrub(&ids).await)?;
        // And what a worker has written in between.
        self.erase_owned(&owners, true).await?;
        Ok(rows)
    }

    /// Empties up to `limit` payloads of events whose row is erased, for `ON_DELETE=scrub`. Returns
    /// how many. An erasure empties those that it sees; one that another worker writes at the same
    /// moment is left for this.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn empty_payloads(&self, limit: u32) -> Result<u64, StoreError> {
        let mut emptied = 0;
        for table in owned_tables().chain([&users::TABLE]) {
            emptied += dispatch!(self, store => store.empty_payloads(table, limit).await?);
        }
        Ok(emptied)
    }

    /// The rows of a table that hold data of these users, each with the number of payloads that go
    /// with it.
    async fn owned_rows(
        &self,
        table: &Table,
        owners: &Owners,
    ) -> Result<HashMap<String, u64>, StoreError> {
        let read = |row: &DatabaseRow| Ok((row.get::<String>("clerk_id")?, row.count("payloads")?));
        let binds = owners.binds();
        let rows = self.query(|sql| &sql.of(table).owned, &binds, read).await?;
        Ok(rows.into_iter().collect())
    }

    /// The users that this write deletes, and those who were erased before and whose profile it
    /// brings, if their data is erased with it.
    pub(super) async fn owners_scrubbed_by(
        &self,
        write: &Write,
    ) -> Result<Option<Owners>, StoreError> {
        let keep = dispatch!(self, store => store.keep);
        if !keep.scrubs(write.table) {
            return Ok(None);
        }
        let brought = write.changes.iter().filter(|it| it.profile.is_some());
        let brought: Vec<_> = brought.map(|change| change.clerk_id.clone()).collect();
        let erased = self.erased(&users::TABLE, &brought).await?;
        let theirs = write.changes.iter().filter(|change| {
            change.deleted_at.is_some() || erased.contains(change.clerk_id.as_str())
        });
        let (mut ids, mut objects) = (Vec::new(), Vec::new());
        for change in theirs {
            ids.push(&change.clerk_id);
            objects.extend(change.profile.as_ref().map(|(_, profile)| &*profile.data));
        }
        if ids.is_empty() {
            return Ok(None);
        }
        self.owners(&ids, &objects).await.map(Some)
    }

    /// These users, with the addresses in their rows and in these objects.
    async fn owners(&self, ids: &[&ClerkId], objects: &[&str]) -> Result<Owners, StoreError> {
        let ids: Vec<_> = ids.iter().map(|id| id.as_str()).collect();
        let binds = [ids.clone().into()];
        let read = |row: &DatabaseRow| row.get::<String>("data");
        let rows = self.query(|sql| &sql.of(&users::TABLE).data_of_rows, &binds, read);
        let rows = rows.await?;
        let objects = objects
            .iter()
            .copied()
            .chain(rows.iter().map(String::as_str));
        let mut addresses: Vec<_> = objects.flat_map(users::addresses).collect();
        if matches!(self, Self::Sqlite(_)) {
            let folded: Vec<_> = addresses.iter().map(|address| fold(address)).collect();
            addresses.extend(folded);
        }
        Ok(Owners {
            ids: ids.into_iter().map(str::to_owned).collect(),
            addresses,
        })
    }

    /// Erases what rows of other tables hold of these users, for good or until the next event.
    /// Returns how many rows of each kind, and how many payloads.
    pub(super) async fn erase_owned(
        &self,
        owners: &Owners,
        is_final: bool,
    ) -> Result<(BTreeMap<&'static str, u64>, u64), StoreError> {
        let (mut rows, mut payloads) = (BTreeMap::new(), 0);
        for table in owned_tables() {
            let owned = self.owned_rows(table, owners).await?;
            let failed = self
                .failed_of(table, owners, &owned.into_keys().collect())
                .await?;
            let (erased, emptied) =
                dispatch!(self, store => store.erase_owned(table, owners, is_final).await?);
            payloads += emptied + self.empty_failed(&failed).await?;
            if erased > 0 {
                rows.insert(table.plural, erased);
            }
        }
        Ok((rows, payloads))
    }

    /// Erases those rows of a write whose user was erased before, and payloads of its failed events.
    pub(super) async fn erase_late(&self, write: &Write) -> Result<(), StoreError> {
        self.empty_late(write).await?;
        if write.table.erased_with.is_empty() || write.changes.is_empty() {
            return Ok(());
        }
        let ids = write.changes.iter().map(|change| change.clerk_id.as_str());
        let ids: Vec<_> = ids.collect();
        dispatch!(self, store => store.erase_late(write.table, &ids).await)
    }
}
