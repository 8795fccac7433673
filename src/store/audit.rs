//! The audit: who replayed, discarded, erased or paused, kept in the table `audit` and with each
//! event.
//!
//! An action is recorded with its effect or before it. What cannot be recorded is not done.

use super::act::{Act, Action, id_of};
use super::bind::Bind;
use super::filter::{Cursor, Listing, Page};
use super::{Store, StoreError, dispatch};
use crate::clerk::{EventId, Timestamp};

/// Selects rows of `audit`. Every part that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// What was done.
    pub action: Option<Action>,
    /// About this event alone.
    pub event_id: Option<String>,
    /// About this user.
    pub clerk_id: Option<String>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

impl Store {
    /// Records an action that has no effect on rows here. A replay, a discard and an erasure record
    /// themselves.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn record_act(&self, act: &Act) -> Result<(), StoreError> {
        dispatch!(self, store => store.record_act(act).await)
    }

    /// Records that failed events are about to be published again, with each of them and in
    /// `audit`. Calls for the same act count together.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn record_replay(&self, ids: &[EventId], act: &Act) -> Result<(), StoreError> {
        dispatch!(self, store => store.record_replay(ids, act).await)
    }

    /// Deletes up to `limit` rows of `audit` from before `older_than`. Those of erasures stay: they
    /// prove them. Returns how many.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn prune_audit(&self, older_than: Timestamp, limit: u32) -> Result<u64, StoreError> {
        dispatch!(self, store => store.prune_audit(&id_of(older_than), limit).await)
    }

    /// Rows of `audit`, the newest first.
    ///
    /// # Errors
    /// Fails if the database does not answer, or if row-level security hides rows.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        page: &Page,
    ) -> Result<Listing<Act>, StoreError> {
        let after = match &page.after {
            Some(Cursor::Act { id }) => Some(id.as_str()),
            _ => None,
        };
        let binds: [Bind<'_>; 7] = [
            filter.action.map(Action::as_str).into(),
            filter.event_id.as_deref().into(),
            filter.clerk_id.as_deref().into(),
            filter.since.map(id_of).into(),
            filter.until.map(id_of).into(),
            after.into(),
            (i64::from(page.limit.get()) + 1).into(),
        ];
        let rows = self.query(|sql| &sql.audit, &binds, Act::read).await?;
        let rows = self.check_visible("audit", rows).await?;
        Ok(Listing::of(rows, page, Act::cursor))
    }
}
