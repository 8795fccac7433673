//! Payloads of failed events that hold data of users who are erased: an event that failed may have no
//! row, so its body says whose it is.
//!
//! A delete is kept without all that is personal, since it must still be replayed. Any other event is
//! discarded: what it would bring is erased.

use std::collections::HashSet;

use super::database_row::DatabaseRow;
use super::erasure::Owners;
use super::sqlite::lowercase::fold;
use super::write::{Record, Write};
use super::{Store, StoreError, dispatch};
use crate::clerk::tables::users;
use crate::clerk::{ClerkId, EventId, SignedEvent, Table, owners};

/// Payloads that are read at once.
const AT_ONCE: usize = 100;

/// Longer ones are not compared, and go with their row alone.
const BYTES_MAX: i64 = 4 << 20;

/// What becomes of the payloads of failed events.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    /// Events that are discarded.
    discarded: Vec<String>,
    /// Deletes, with the bodies that are kept of them.
    bare: Vec<(String, String)>,
}

impl Payloads {
    fn add(&mut self, event: &SignedEvent) {
        let id = event.id().to_string();
        let bare = event.event_type().is_delete();
        match bare.then(|| owners::bare(event.body())).flatten() {
            Some(body) => self.bare.push((id, body)),
            None => self.discarded.push(id),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        (self.discarded.len() + self.bare.len()) as u64
    }

    /// As the statements take them: the discarded ones; the deletes and their bodies.
    pub fn texts(&self) -> [Vec<&str>; 3] {
        let bare = self.bare.iter();
        [
            self.discarded.iter().map(String::as_str).collect(),
            bare.clone().map(|(id, _)| &**id).collect(),
            bare.map(|(_, body)| &**body).collect(),
        ]
    }
}

impl Store {
    /// The failed events of a table that belong to these users: by their row, which is one of `rows`,
    /// or by what they name.
    pub(super) async fn failed_of(
        &self,
        table: &Table,
        owners: &Owners,
        rows: &HashSet<String>,
    ) -> Result<Payloads, StoreError> {
        let read = DatabaseRow::event_id;
        let ids: Vec<EventId> = self
            .query(|sql| &sql.of(table).failed_events, &[], read)
            .await?;
        let mut payloads = Payloads::default();
        for ids in ids.chunks(AT_ONCE) {
            for event in self.payloads(ids, BYTES_MAX).await? {
                let row = event.clerk_id();
                let is_of_row = row.is_some_and(|id| rows.contains(id.as_str()));
                if is_of_row || owners.are_named(table, event.body()) {
                    payloads.add(&event);
                }
            }
        }
        Ok(payloads)
    }

    /// Empties those payloads.
    pub(super) async fn empty_failed(&self, payloads: &Payloads) -> Result<u64, StoreError> {
        if payloads.count() == 0 {
            return Ok(0);
        }
        dispatch!(self, store => store.empty_failed(payloads).await)
    }

    /// Empties the payloads of those failed events of a write that belong to users or rows which were
    /// erased before.
    pub(super) async fn empty_late(&self, write: &Write) -> Result<(), StoreError> {
        let failed = write.records.iter().filter(|it| it.failure().is_some());
        let failed: Vec<_> = failed.collect();
        if write.table.erased_with.is_empty() || failed.is_empty() {
            return Ok(());
        }
        let named = |record: &&Record| owners::named(write.table, record.event.body()).ids;
        let ids = failed.iter().flat_map(named);
        let ids: Vec<_> = ids.filter_map(|id| ClerkId::new(&id)).collect();
        let rows = failed
            .iter()
            .filter_map(|record| record.clerk_id().cloned());
        let rows = self.erased(write.table, &rows.collect::<Vec<_>>()).await?;
        let users = self.erased(&users::TABLE, &ids).await?;
        let users = Owners {
            ids: users.into_iter().collect(),
            addresses: Vec::new(),
        };
        let mut payloads = Payloads::default();
        for record in failed {
            let is_of_row = record
                .clerk_id()
                .is_some_and(|id| rows.contains(id.as_str()));
            if is_of_row || users.are_named(write.table, record.event.body()) {
                payloads.add(&record.event);
            }
        }
        self.empty_failed(&payloads).await.map(drop)
    }

    /// Those of these rows that are erased.
    pub(super) async fn erased(
        &self,
        table: &Table,
        ids: &[ClerkId],
    ) -> Result<HashSet<String>, StoreError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let known = self.known(table, ids).await?;
        let erased = known.into_iter().filter(|row| row.is_erased);
        Ok(erased.map(|row| row.clerk_id.to_string()).collect())
    }
}

impl Owners {
    /// Whether a body names one of these users. Where it names another user by an ID, an address does
    /// not count: people delete an account and sign up again with the same address.
    fn are_named(&self, table: &Table, body: &[u8]) -> bool {
        let named = owners::named(table, body);
        let is_ours = |id: &String| self.ids.contains(id);
        let is_our_address = |address: &String| {
            let address = fold(address);
            self.addresses.iter().any(|ours| fold(ours) == address)
        };
        match named.ids.is_empty() {
            true => named.addresses.iter().any(is_our_address),
            false => named.ids.iter().any(is_ours),
        }
    }
}
