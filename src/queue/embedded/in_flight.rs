//! Which rows of the queue are with a consumer. In memory only: after a restart every row is handed out anew.
//!
//! A row is in one of four states, and every way out of the second leads to one of the others:
//! - not seen: its `seq` is greater than the cursor;
//! - handed out: its `seq` is in a `Lease`;
//! - given back: its lease was dropped; the next batch takes it before anything new;
//! - acknowledged: it is no longer in the file.
//!
//! Lethal rows (session.rs) are in none of them: they are with the consumers of dead letters, or wait for one.
//!
//! Why the cursor passes over no row: SQLite lets one transaction write at a time, over all processes. It gives a row its
//! `seq` inside that transaction, greater than every one before (`autoincrement` remembers the greatest ever, deleted
//! rows too). So rows become visible in the order of `seq`: whoever sees row n sees every row before n that will ever be.
//! The numbers of a transaction that was rolled back are given again, but nobody saw them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::crash_guard::Beginning;

/// Shared by all consumers of a queue.
pub(super) struct Ledger {
    state: Mutex<State>,
    /// Changes when there may be something to take.
    news: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    /// Every row up to this `seq` was handed out before.
    cursor: i64,
    /// The greatest `seq` that this process knows of; nothing while rows from before its time may be there.
    newest: Option<i64>,
    given_back: BTreeSet<i64>,
    /// Every row up to this `seq` is handed out alone.
    last_suspect: Option<i64>,
    /// Whether a suspect is handed out.
    has_alone: bool,
    lethal: BTreeSet<i64>,
    /// Those of the lethal ones that nobody has.
    lethal_waiting: BTreeSet<i64>,
}

impl Ledger {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            news: watch::Sender::new(()),
        })
    }

    pub(super) fn begin(&self, beginning: Beginning) {
        let mut state = self.state();
        state.last_suspect = beginning.last_suspect;
        state.lethal = beginning.lethal.into_iter().collect();
        state.lethal_waiting = state.lethal.clone();
    }

    /// How many of `count` rows may be handed out now: one while there are suspects, and none while one is out.
    pub(super) fn allowed(&self, count: usize) -> usize {
        let state = self.state();
        match state.last_suspect {
            None => count,
            Some(_) => usize::from(!state.has_alone),
        }
    }

    pub(super) fn has_suspects(&self) -> bool {
        self.state().last_suspect.is_some()
    }

    /// Marks what is handed out as the one suspect in hand. False where it is not a suspect.
    pub(super) fn set_alone(&self, lease: &mut Lease) -> bool {
        let mut state = self.state();
        let is_suspect = state
            .last_suspect
            .is_some_and(|last| lease.seqs.iter().any(|seq| *seq <= last));
        if is_suspect {
            state.has_alone = true;
            lease.kind = Kind::Alone;
        }
        is_suspect
    }

    /// No suspect is left.
    pub(super) fn clear_suspects(&self) {
        self.state().last_suspect = None;
        self.wake();
    }

    /// Up to `count` lethal rows that nobody has.
    pub(super) fn hand_out_lethal(self: &Arc<Self>, count: usize) -> Lease {
        let mut state = self.state();
        let seqs: Vec<i64> = state.lethal_waiting.iter().take(count).copied().collect();
        for seq in &seqs {
            state.lethal_waiting.remove(seq);
        }
        Lease {
            seqs,
            kind: Kind::Lethal,
            ledger: self.clone(),
        }
    }

    /// Rows that come after this `seq` were never handed out.
    pub(super) fn cursor(&self) -> i64 {
        self.state().cursor
    }

    /// Moves the cursor up to the last of the rows that were read after it, and gives them to the caller, without the
    /// lethal ones. They are all, or there may be more.
    pub(super) fn hand_out(self: &Arc<Self>, mut seqs: Vec<i64>, is_all: bool) -> Lease {
        let mut state = self.state();
        if let Some(last) = seqs.last() {
            state.cursor = *last;
        }
        if is_all {
            state.newest = state.newest.max(Some(state.cursor));
        }
        seqs.retain(|seq| !state.lethal.contains(seq));
        Lease {
            seqs,
            kind: Kind::Usual,
            ledger: self.clone(),
        }
    }

    /// Up to `count` rows that were given back, lowest first.
    pub(super) fn hand_out_again(self: &Arc<Self>, count: usize) -> Lease {
        let mut state = self.state();
        let seqs: Vec<i64> = state.given_back.iter().take(count).copied().collect();
        for seq in &seqs {
            state.given_back.remove(seq);
        }
        Lease {
            seqs,
            kind: Kind::Usual,
            ledger: self.clone(),
        }
    }

    /// Whether about so many rows can be handed out, as far as is known without a look: another process may have published more.
    /// Numbers follow each other without a gap, but for rows that were deleted by hand.
    pub(super) fn has(&self, count: usize) -> bool {
        let state = self.state();
        let Some(newest) = state.newest.filter(|_| count > 1) else {
            return true;
        };
        usize::try_from(newest - state.cursor).unwrap_or(0) + state.given_back.len() >= count
    }

    /// Rows up to this `seq` were published.
    pub(super) fn published(&self, seq: i64) {
        let mut state = self.state();
        state.newest = state.newest.map(|newest| newest.max(seq));
        drop(state);
        self.wake();
    }

    /// Wakes the consumers that wait.
    pub(super) fn wake(&self) {
        self.news.send_replace(());
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave the state half changed, so a panic elsewhere does no harm to it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that somebody has. Dropped, it gives them back.
pub struct Lease {
    /// In rising order.
    seqs: Vec<i64>,
    kind: Kind,
    ledger: Arc<Ledger>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usual,
    /// A suspect.
    Alone,
    Lethal,
}

impl Lease {
    pub(super) fn seqs(&self) -> &[i64] {
        &self.seqs
    }

    /// Gives the rows after this one back.
    pub(super) fn give_back_after(&mut self, seq: i64) {
        let kept = self.seqs.partition_point(|held| *held <= seq);
        drop(Self {
            seqs: self.seqs.split_off(kept),
            kind: self.kind,
            ledger: self.ledger.clone(),
        });
    }

    /// Forgets the rows that are not wanted: they are neither handed out again nor acknowledged.
    pub(super) fn retain(&mut self, wanted: impl FnMut(&i64) -> bool) {
        self.seqs.retain(wanted);
    }

    /// The rows are no longer in the file.
    pub(super) fn settle(mut self) {
        self.seqs.clear();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.seqs.is_empty() && self.kind != Kind::Alone {
            return;
        }
        let mut state = self.ledger.state();
        match self.kind {
            Kind::Usual => state.given_back.extend(self.seqs.drain(..)),
            Kind::Alone => {
                state.given_back.extend(self.seqs.drain(..));
                state.has_alone = false;
            }
            Kind::Lethal => state.lethal_waiting.extend(self.seqs.drain(..)),
        }
        drop(state);
        self.ledger.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_gives_its_rows_back_and_wakes_a_waiting_consumer() {
        let ledger = Ledger::new();
        let lease = ledger.hand_out(vec![1, 2, 3, 4], false);
        let news = ledger.news();
        assert!(!news.has_changed().unwrap());
        drop(lease);
        assert!(news.has_changed().unwrap());
        assert_eq!(ledger.cursor(), 4);

        let mut again = ledger.hand_out_again(3);
        assert_eq!(again.seqs(), [1, 2, 3]);
        again.give_back_after(1);
        assert_eq!(again.seqs(), [1]);
        again.settle();
        let mut rest = ledger.hand_out_again(10);
        assert_eq!(rest.seqs(), [2, 3, 4]);
        rest.retain(|seq| *seq != 3);
        drop(rest);
        assert_eq!(ledger.hand_out_again(10).seqs(), [2, 4]);
    }

    #[test]
    fn what_can_be_handed_out_is_known_once_all_that_was_there_is_read() {
        let ledger = Ledger::new();
        ledger.published(9);
        assert!(
            ledger.has(500),
            "a backlog of an earlier process may be there"
        );
        let first = ledger.hand_out(vec![1, 2, 3], false);
        assert!(ledger.has(500), "there may be more");
        let rest = ledger.hand_out(vec![8, 9], true);
        assert!(ledger.has(1), "another process may have published");
        assert!(!ledger.has(2));
        ledger.published(12);
        assert!(ledger.has(3) && !ledger.has(4));
        drop((first, rest));
        assert!(ledger.has(8) && !ledger.has(9), "given back and new ones");
    }
}
