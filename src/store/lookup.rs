//! What is known of many users at once: for whoever compares the table with Clerk's list.

use std::num::NonZeroU32;

use super::{Store, StoreError};
use crate::clerk::api_object::Outline;
use crate::clerk::{ClerkId, Timestamp, Version};

/// A row, as far as it tells whether a change would alter it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownUser {
    pub clerk_id: ClerkId,
    /// Nothing where no profile has reached the row.
    pub version: Option<Version>,
    pub deleted_at: Option<Timestamp>,
    /// Whether its data was erased for good.
    pub is_erased: bool,
    pub outline: Outline,
}

/// A row that is not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveUser {
    pub clerk_id: ClerkId,
    /// Nothing where no profile has reached the row.
    pub created_at: Option<Timestamp>,
}

impl Store {
    /// What is known of these users, in no order; nothing of those who have no row.
    pub async fn known(&self, ids: &[ClerkId]) -> Result<Vec<KnownUser>, StoreError> {
        match self {
            Self::Postgres(store) => store.known(ids).await,
            Self::Sqlite(store) => store.known(ids).await,
        }
    }

    /// Up to `limit` users that are not deleted, by `clerk_id`, after this one.
    pub async fn live(
        &self,
        after: Option<&ClerkId>,
        limit: NonZeroU32,
    ) -> Result<Vec<LiveUser>, StoreError> {
        match self {
            Self::Postgres(store) => store.live(after, limit).await,
            Self::Sqlite(store) => store.live(after, limit).await,
        }
    }
}
