//! Leases: which rows are taken by a consumer and not acknowledged yet. In memory only, nothing is
//! marked in the file: after a restart every row is delivered again.
//!
//! A row is in one of four states, and every way out of the second leads to one of the others:
//! - not seen: its `seq` is greater than the cursor;
//! - leased: its `seq` is in a `Lease`;
//! - returned: its lease was dropped; the next batch takes it before any new row;
//! - acknowledged: it is no longer in the file.
//!
//! Poison rows (`crash_guard.rs`) are in none of them: they are leased to the consumers of dead
//! letters, or wait for one.
//!
//! Why the cursor skips no row: SQLite lets one transaction write at a time, over all processes. It
//! gives a row its `seq` inside that transaction, greater than every one before (`autoincrement`
//! remembers the greatest ever, deleted rows too). So rows become visible in the order of `seq`: a
//! reader that sees row n sees every row before n that will ever be. The numbers of a transaction
//! that was rolled back are given again, but nothing has seen them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::crash_guard::CrashFindings;

/// Shared by all consumers of a queue.
pub struct InFlightRows {
    rows: Mutex<Rows>,
    /// Changes when there may be a row to take.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct Rows {
    /// Every row up to this `seq` was leased before.
    cursor: i64,
    /// The greatest known `seq`; `None` while rows from before this process may wait.
    newest: Option<i64>,
    returned: BTreeSet<i64>,
    /// Every row up to this `seq` is leased in isolation.
    isolated_up_to: Option<i64>,
    /// Whether a row is leased in isolation.
    has_isolated: bool,
    poison: BTreeSet<i64>,
    /// The poison rows that are not leased.
    poison_waiting: BTreeSet<i64>,
}

impl InFlightRows {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::default(),
            news: watch::Sender::new(()),
        })
    }

    /// To be called before the first lease.
    pub fn start(&self, found: CrashFindings) {
        let mut rows = self.rows();
        rows.isolated_up_to = found.isolated_up_to;
        rows.poison = found.poison.into_iter().collect();
        rows.poison_waiting = rows.poison.clone();
    }

    /// How many of `count` rows may be leased now: one in isolation, and none while that one is
    /// leased.
    pub fn allowed(&self, count: usize) -> usize {
        let rows = self.rows();
        match rows.isolated_up_to {
            None => count,
            Some(_) => usize::from(!rows.has_isolated),
        }
    }

    /// Whether rows are leased in isolation.
    pub fn isolates(&self) -> bool {
        self.rows().isolated_up_to.is_some()
    }

    /// Marks the lease as the isolated one. Returns false if its row need not be isolated.
    pub fn isolate(&self, lease: &mut Lease) -> bool {
        let mut rows = self.rows();
        let is_isolated = rows
            .isolated_up_to
            .is_some_and(|last| lease.seqs.iter().any(|seq| *seq <= last));
        if is_isolated {
            rows.has_isolated = true;
            lease.kind = LeaseKind::Isolated;
        }
        is_isolated
    }

    /// Ends the isolation.
    pub fn end_isolation(&self) {
        self.rows().isolated_up_to = None;
        self.wake();
    }

    /// Rows after this `seq` were never leased.
    pub fn cursor(&self) -> i64 {
        self.rows().cursor
    }

    /// Leases rows that were read after the cursor, except poison rows, and moves the cursor.
    /// `is_all` is true if there are no more.
    pub fn lease_new(self: &Arc<Self>, mut seqs: Vec<i64>, is_all: bool) -> Lease {
        let mut rows = self.rows();
        if let Some(last) = seqs.last() {
            rows.cursor = *last;
        }
        if is_all {
            rows.newest = rows.newest.max(Some(rows.cursor));
        }
        seqs.retain(|seq| !rows.poison.contains(seq));
        self.lease(seqs, LeaseKind::Normal)
    }

    /// Leases up to `count` returned rows, lowest first.
    pub fn lease_returned(self: &Arc<Self>, count: usize) -> Lease {
        self.lease(
            take_first(&mut self.rows().returned, count),
            LeaseKind::Normal,
        )
    }

    /// Leases up to `count` poison rows.
    pub fn lease_poison(self: &Arc<Self>, count: usize) -> Lease {
        let seqs = take_first(&mut self.rows().poison_waiting, count);
        self.lease(seqs, LeaseKind::Poison)
    }

    fn lease(self: &Arc<Self>, seqs: Vec<i64>, kind: LeaseKind) -> Lease {
        Lease {
            seqs,
            kind,
            in_flight: self.clone(),
        }
    }

    /// Whether about so many rows can be leased, without a read: another process may have published
    /// more. Numbers follow each other without a gap, except for rows that were deleted by hand.
    pub fn has(&self, count: usize) -> bool {
        let rows = self.rows();
        let Some(newest) = rows.newest.filter(|_| count > 1) else {
            return true;
        };
        usize::try_from(newest - rows.cursor).unwrap_or(0) + rows.returned.len() >= count
    }

    /// Notes that rows up to this `seq` were published.
    pub fn published(&self, seq: i64) {
        let mut rows = self.rows();
        rows.newest = rows.newest.map(|newest| newest.max(seq));
        drop(rows);
        self.wake();
    }

    /// Wakes the waiting consumers.
    pub fn wake(&self) {
        self.news.send_replace(());
    }

    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        // No code that holds the lock can leave the rows half changed, so a panic elsewhere does no
        // harm.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_first(seqs: &mut BTreeSet<i64>, count: usize) -> Vec<i64> {
    std::iter::from_fn(|| seqs.pop_first())
        .take(count)
        .collect()
}

/// Rows that a consumer has. They are returned when it is dropped.
pub struct Lease {
    /// Ascending.
    seqs: Vec<i64>,
    kind: LeaseKind,
    in_flight: Arc<InFlightRows>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LeaseKind {
    Normal,
    Isolated,
    Poison,
}

impl Lease {
    pub(super) fn seqs(&self) -> &[i64] {
        &self.seqs
    }

    /// Returns the rows after this one.
    pub(super) fn return_after(&mut self, seq: i64) {
        let kept = self.seqs.partition_point(|leased| *leased <= seq);
        let rest = self.seqs.split_off(kept);
        drop(self.in_flight.lease(rest, self.kind));
    }

    /// Drops the other rows from the lease: they are neither leased again nor acknowledged.
    pub(super) fn retain(&mut self, wanted: impl FnMut(&i64) -> bool) {
        self.seqs.retain(wanted);
    }

    /// To be called when the rows are no longer in the file.
    pub(super) fn acknowledged(mut self) {
        self.seqs.clear();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.seqs.is_empty() && self.kind != LeaseKind::Isolated {
            return;
        }
        let mut rows = self.in_flight.rows();
        let returned = match self.kind {
            LeaseKind::Normal | LeaseKind::Isolated => &mut rows.returned,
            LeaseKind::Poison => &mut rows.poison_waiting,
        };
        returned.extend(self.seqs.drain(..));
        rows.has_isolated &= self.kind != LeaseKind::Isolated;
        drop(rows);
        self.in_flight.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_returns_its_rows_and_wakes_a_waiting_consumer() {
        let in_flight = InFlightRows::new();
        let lease = in_flight.lease_new(vec![1, 2, 3, 4], false);
        let news = in_flight.news();
        assert!(!news.has_changed().unwrap());
        drop(lease);
        assert!(news.has_changed().unwrap());
        assert_eq!(in_flight.cursor(), 4);

        let mut again = in_flight.lease_returned(3);
        assert_eq!(again.seqs(), [1, 2, 3]);
        again.return_after(1);
        assert_eq!(again.seqs(), [1]);
        again.acknowledged();
        let mut rest = in_flight.lease_returned(10);
        assert_eq!(rest.seqs(), [2, 3, 4]);
        rest.retain(|seq| *seq != 3);
        drop(rest);
        assert_eq!(in_flight.lease_returned(10).seqs(), [2, 4]);
    }

    #[test]
    fn the_number_of_rows_is_known_once_all_earlier_rows_are_read() {
        let in_flight = InFlightRows::new();
        in_flight.published(9);
        assert!(
            in_flight.has(500),
            "a backlog of an earlier process may be there"
        );
        let first = in_flight.lease_new(vec![1, 2, 3], false);
        assert!(in_flight.has(500), "there may be more");
        let rest = in_flight.lease_new(vec![8, 9], true);
        assert!(in_flight.has(1), "another process may have published");
        assert!(!in_flight.has(2));
        in_flight.published(12);
        assert!(in_flight.has(3) && !in_flight.has(4));
        drop((first, rest));
        assert!(in_flight.has(8) && !in_flight.has(9), "returned and new");
    }
}
