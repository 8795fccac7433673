//! The rule: what any set of events about one user comes to.
//!
//! A change joins with another: the newest profile, the earliest delete. The join is commutative, associative and
//! idempotent, so order, repeats, batches, replays and several workers at once cannot alter the result. Each store's
//! upsert is this join in SQL.

use super::id::{ClerkId, EventId, Timestamp};
use super::user::UserProfile;

/// How new a profile is. The order of the fields is the order of comparison.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `data.updated_at`.
    pub updated_at: Timestamp,
    /// The event's own time.
    pub occurred_at: Timestamp,
    /// Decides between two events of the same millisecond: any order will do, as long as it is the same everywhere.
    pub event_id: EventId,
}

/// What one or more events say of one user.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub clerk_id: ClerkId,
    /// The newest profile, where an event brought one.
    pub profile: Option<(Version, UserProfile)>,
    /// The earliest delete, where an event was one.
    pub deleted_at: Option<Timestamp>,
}

impl Change {
    /// Joins two changes to the same user: newest profile, earliest delete.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        debug_assert_eq!(
            self.clerk_id, other.clerk_id,
            "changes to two users cannot be joined"
        );
        Self {
            clerk_id: self.clerk_id,
            profile: newest(self.profile, other.profile),
            deleted_at: [self.deleted_at, other.deleted_at]
                .into_iter()
                .flatten()
                .min(),
        }
    }

    /// Whether joining `self` to `before` would alter it.
    pub fn alters(&self, before: &Self) -> bool {
        let newer = match (&self.profile, &before.profile) {
            (Some((ours, _)), Some((theirs, _))) => ours > theirs,
            (ours, _) => ours.is_some(),
        };
        let earlier = match (self.deleted_at, before.deleted_at) {
            (Some(ours), Some(theirs)) => ours < theirs,
            (ours, _) => ours.is_some(),
        };
        newer || earlier
    }
}

fn newest(
    a: Option<(Version, UserProfile)>,
    b: Option<(Version, UserProfile)>,
) -> Option<(Version, UserProfile)> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 > a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
