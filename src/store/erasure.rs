//! Erases what is stored of a user.

use std::num::NonZeroU32;

use super::act::{Act, Action, Actor};
use super::filter::{EventFilter, Page};
use super::rows::TableRow;
use super::{Store, StoreError, dispatch};
use crate::clerk::ClerkId;

/// What was erased of a user.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Erased {
    /// The columns that were not null.
    pub columns: Vec<&'static str>,
    /// Payloads of the user's events.
    pub payloads: u64,
    /// Whether the row is never filled again: that of a deleted user.
    pub is_final: bool,
}

impl Erased {
    fn of(user: Option<TableRow>, payloads: u64) -> Self {
        let columns = user.as_ref().map(TableRow::filled_profile_columns);
        Self {
            columns: columns.unwrap_or_default(),
            payloads,
            is_final: user.is_some_and(|user| user.deleted_at.is_some()),
        }
    }
}

impl Store {
    /// What `erase` would erase of a user, and how many events are kept. Returns `None` if there is
    /// neither a row nor an event.
    ///
    /// # Errors
    /// Fails if the database does not answer.
    pub async fn would_erase(&self, id: &ClerkId) -> Result<Option<(Erased, u64)>, StoreError> {
        let user = self.user(id).await?;
        let (events, payloads) = self.count_events_of_user(id).await?;
        let is_known = user.is_some() || events > 0;
        Ok(is_known.then(|| (Erased::of(user, payloads), events)))
    }

    /// Erases a user's row, but for the ID and the times of the delete and of the erasure, and the
    /// payloads of the user's events, and records who did. Returns `None` if there is neither a row nor an event: a user
    /// whose events all failed has no row.
    ///
    /// # Errors
    /// Fails if the database refuses it.
    pub async fn erase(&self, id: &ClerkId, by: &Actor) -> Result<Option<Erased>, StoreError> {
        let user = self.user(id).await?;
        let act = Act::new(Action::Erased, by).about_user(id);
        let (_, payloads) = dispatch!(self, store => store.erase(id, &act).await?);
        let is_known = user.is_some() || payloads > 0 || self.has_events(id).await?;
        Ok(is_known.then(|| Erased::of(user, payloads)))
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
}
