//! How a table differs from Clerk's list: what `reconcile` found and fixed.

use serde::Serialize;

use super::failure::{ObjectFailure, name_more};
use crate::clerk::ClerkId;

/// Objects with one kind of drift.
#[derive(Debug, Default, Serialize)]
pub struct DriftedObjects {
    /// How many there are.
    pub count: u64,
    /// The first ones.
    pub ids: Vec<String>,
}

impl DriftedObjects {
    pub(super) fn add(&mut self, id: &ClerkId) {
        self.count += 1;
        name_more(&mut self.ids, [id.to_string()]);
    }
}

/// How a table differs from Clerk's list.
#[derive(Debug, Default, Serialize)]
pub struct Drift {
    /// Objects read from Clerk.
    pub seen: u64,
    /// Rows that are not deleted.
    pub live: u64,
    /// At Clerk, and not in the table.
    pub missing: DriftedObjects,
    /// The table has an older profile, or none.
    pub stale: DriftedObjects,
    /// The table has the same `updated_at` and other values: something else wrote them.
    pub different: DriftedObjects,
    /// In the table and not at Clerk. Clerk confirmed each one, unless `unconfirmed`.
    pub deleted_at_clerk: DriftedObjects,
    /// Whether `deleted_at_clerk` has more rows than the limit, so that they were not confirmed
    /// with Clerk.
    pub unconfirmed: bool,
    /// Deleted in the table, and still at Clerk: a delete is never undone.
    pub deleted_here: DriftedObjects,
    /// Objects that could not be read, written or confirmed.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<ObjectFailure>,
    /// Rows that were fixed.
    pub fixed: u64,
    /// Why no row is marked as deleted; `None` if they may be.
    pub refused: Option<String>,
}

impl Drift {
    /// Returns how many objects have drifted.
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

    pub(super) fn failed(&mut self, failures: Vec<ObjectFailure>) {
        self.failed += failures.len() as u64;
        name_more(&mut self.failures, failures);
    }
}
