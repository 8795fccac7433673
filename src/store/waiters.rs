//! Who waits in this process for a row or for changes, and what wakes them. Knows no database: one
//! task of the store follows it and wakes (`wait.rs`).
//!
//! A row is woken for by its ID alone: Clerk's IDs differ from table to table. Who is woken looks by
//! itself, so waking too often is no fault, and waking too rarely is one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::clerk::{ClerkId, Table};
use crate::tasks;

/// Longest time for the task to end at a stop.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause of one who still waits for changes after the store was closed.
const PAUSE_IF_CLOSED: Duration = Duration::from_millis(100);

/// All who wait, and whether a task follows the database for them.
pub struct Waiters {
    state: Mutex<State>,
    /// Counts commits that may have written changes.
    changes: watch::Sender<u64>,
    /// Wakes the task: to query, or because something of the state has changed.
    notify: Notify,
    /// Where the task runs. A request runs on a thread that may stop before the process does.
    runtime: Option<Handle>,
}

struct State {
    rows: HashMap<Box<str>, Vec<Waiting>>,
    /// How many wait, for rows and for changes.
    waiting: Waits,
    /// Since when no one waits.
    idle_since: Instant,
    /// The number of the last wait, and of the last task.
    last: u64,
    /// The number of the task that runs; `None` if there is none.
    task: Option<u64>,
    handle: Option<JoinHandle<()>>,
    /// Whether rows may be there whose waiters were not woken.
    is_query_wanted: bool,
    is_closed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waits {
    rows: usize,
    changes: usize,
}

/// One who waits for a row.
struct Waiting {
    number: u64,
    table: &'static Table,
    wake: Arc<Notify>,
}

impl Default for Waiters {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                rows: HashMap::new(),
                waiting: Waits {
                    rows: 0,
                    changes: 0,
                },
                idle_since: Instant::now(),
                last: 0,
                task: None,
                handle: None,
                is_query_wanted: false,
                is_closed: false,
            }),
            changes: watch::Sender::new(0),
            notify: Notify::new(),
            runtime: Handle::try_current().ok(),
        }
    }
}

impl Waiters {
    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a row until the value is dropped. To be called before the row is first looked for.
    pub fn for_row(self: &Arc<Self>, table: &'static Table, id: &ClerkId) -> RowWait {
        let wake = Arc::new(Notify::new());
        let mut state = self.state();
        state.last += 1;
        let number = state.last;
        state.waiting.rows += 1;
        let waiting = Waiting {
            number,
            table,
            wake: Arc::clone(&wake),
        };
        let of_row = state.rows.entry(id.as_str().into()).or_default();
        of_row.push(waiting);
        RowWait {
            waiters: Arc::clone(self),
            id: id.clone(),
            number,
            wake,
        }
    }

    /// Waits for changes until the value is dropped. To be called before the feed is first read.
    pub fn for_changes(self: &Arc<Self>) -> ChangeSignal {
        self.state().waiting.changes += 1;
        ChangeSignal {
            commits: self.changes.subscribe(),
            waiters: Arc::clone(self),
        }
    }

    /// Whether anybody waits for a row.
    pub fn has_rows(&self) -> bool {
        self.state().waiting.rows > 0
    }

    /// The rows that are waited for, by table.
    pub fn rows(&self) -> Vec<(&'static Table, Vec<String>)> {
        let mut tables: Vec<(&'static Table, Vec<String>)> = Vec::new();
        for (id, waiting) in &self.state().rows {
            for (place, one) in waiting.iter().enumerate() {
                if waiting[..place].iter().any(|it| it.table == one.table) {
                    continue;
                }
                match tables.iter_mut().find(|(table, _)| *table == one.table) {
                    Some((_, ids)) => ids.push(id.to_string()),
                    None => tables.push((one.table, vec![id.to_string()])),
                }
            }
        }
        tables
    }

    /// Wakes those who wait for these rows.
    pub fn wake_rows<'i>(&self, ids: impl IntoIterator<Item = &'i str>) {
        let state = self.state();
        if state.waiting.rows == 0 {
            return;
        }
        for id in ids {
            for waiting in state.rows.get(id).into_iter().flatten() {
                waiting.wake.notify_one();
            }
        }
    }

    /// Wakes those who wait for changes.
    pub fn wake_changes(&self) {
        self.changes
            .send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// Asks the task for a query for the rows that are waited for.
    pub fn want_query(&self) {
        self.state().is_query_wanted = true;
        self.notify.notify_one();
    }

    /// Whether a query is wanted, and takes the request: rows that come from now on want another
    /// query.
    pub fn take_query(&self) -> bool {
        let mut state = self.state();
        std::mem::take(&mut state.is_query_wanted) && state.waiting.rows > 0
    }

    /// Whether a query is wanted; changes nothing.
    pub fn is_query_wanted(&self) -> bool {
        let state = self.state();
        state.is_query_wanted && state.waiting.rows > 0
    }

    /// Returns when the task has something to do. For the task alone. Cancel-safe.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Runs a task that follows the database, unless one runs. `follow` is given the number of the
    /// task, and is to return when [`Self::end_if_idle`] returns true.
    pub fn follow<F>(self: &Arc<Self>, follow: impl Fn(u64) -> F + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(runtime) = self.runtime.clone().or_else(|| Handle::try_current().ok()) else {
            return;
        };
        let mut state = self.state();
        if state.is_closed || state.task.is_some() {
            return;
        }
        state.last += 1;
        let number = state.last;
        state.task = Some(number);
        let waiters = Arc::clone(self);
        let task = async move {
            let has_ended = || waiters.state().task != Some(number);
            let follow = || follow(number);
            tasks::restarted("waiting", has_ended, || (), follow).await;
        };
        state.handle = Some(tasks::brief_on(&runtime, task));
    }

    /// Ends this task if the store is closed, or if no one has waited for `long`. Returns whether it
    /// has ended: the next who waits starts another.
    pub fn end_if_idle(&self, task: u64, long: Duration) -> bool {
        let mut state = self.state();
        if state.is_closed || state.is_idle_for(long) {
            state.task = state.task.filter(|running| *running != task);
        }
        state.task != Some(task)
    }

    /// Whether the store is closed.
    pub fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    /// Wakes everybody for the last time, and ends the task.
    pub async fn close(&self) {
        let handle = {
            let mut state = self.state();
            state.is_closed = true;
            for waiting in state.rows.values().flatten() {
                waiting.wake.notify_one();
            }
            state.handle.take()
        };
        self.wake_changes();
        self.notify.notify_one();
        if let Some(handle) = handle {
            // One that does not end in time has nothing that must be kept.
            drop(timeout(END_TIMEOUT, handle).await);
        }
    }

    /// To be called when one has left.
    fn left(&self, mut state: MutexGuard<'_, State>) {
        let Waits { rows, changes } = state.waiting;
        if rows + changes == 0 {
            state.idle_since = Instant::now();
        }
    }
}

impl State {
    fn is_idle_for(&self, long: Duration) -> bool {
        let Waits { rows, changes } = self.waiting;
        rows + changes == 0 && self.idle_since.elapsed() >= long
    }
}

/// A wait for one row.
pub struct RowWait {
    waiters: Arc<Waiters>,
    id: ClerkId,
    number: u64,
    wake: Arc<Notify>,
}

impl RowWait {
    /// Returns when the row may be there, and when the store is closed. Cancel-safe.
    pub async fn woken(&self) {
        if !self.waiters.is_closed() {
            self.wake.notified().await;
        }
    }
}

impl Drop for RowWait {
    fn drop(&mut self) {
        let mut state = self.waiters.state();
        if let Some(of_row) = state.rows.get_mut(self.id.as_str()) {
            of_row.retain(|waiting| waiting.number != self.number);
            if of_row.is_empty() {
                state.rows.remove(self.id.as_str());
            }
        }
        state.waiting.rows -= 1;
        self.waiters.left(state);
    }
}

/// A signal for those who read the change feed. Each has its own.
pub struct ChangeSignal {
    commits: watch::Receiver<u64>,
    waiters: Arc<Waiters>,
}

impl ChangeSignal {
    /// Returns after the next commit that may have written changes, or at once if there was one
    /// since the value was made or since the last call. After an outage it returns too, and soon
    /// when the store is closed: read the feed to learn what there is. Cancel-safe.
    pub async fn next(&mut self) {
        if self.waiters.is_closed() {
            // One who reads again and again in spite of the error must not do so without a pause.
            return sleep(PAUSE_IF_CLOSED).await;
        }
        // The sender is in `waiters`, so waiting cannot fail.
        let _stays_open = self.commits.changed().await;
    }
}

impl Drop for ChangeSignal {
    fn drop(&mut self) {
        let mut state = self.waiters.state();
        state.waiting.changes -= 1;
        self.waiters.left(state);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::clerk::tables::{organizations, users};

    fn id(text: &str) -> ClerkId {
        ClerkId::new(text).unwrap()
    }

    fn is_woken(wait: &RowWait) -> bool {
        wait.woken().now_or_never().is_some()
    }

    #[tokio::test]
    async fn those_who_wait_for_a_row_are_woken_and_no_others() {
        let waiters = Arc::new(Waiters::default());
        let [first, second, other] =
            ["user_1", "user_1", "user_2"].map(|row| waiters.for_row(&users::TABLE, &id(row)));
        waiters.wake_rows(["user_1", "user_3"]);
        assert!(is_woken(&first) && is_woken(&second) && !is_woken(&other));
        assert!(!is_woken(&first), "once for each time");
        waiters.wake_rows(["user_1"]);
        assert!(is_woken(&first), "woken before it waits again");
    }

    #[tokio::test]
    async fn each_row_is_looked_for_once_in_its_table() {
        let waiters = Arc::new(Waiters::default());
        let rows = ["user_1", "user_1", "user_2"].map(|row| (&users::TABLE, row));
        let _waits: Vec<_> = rows
            .into_iter()
            .chain([(&organizations::TABLE, "org_1")])
            .map(|(table, row)| waiters.for_row(table, &id(row)))
            .collect();
        let mut tables = waiters.rows();
        for (_, ids) in &mut tables {
            ids.sort();
        }
        tables.sort_by_key(|(table, _)| table.name);
        assert_eq!(
            tables,
            [
                (&organizations::TABLE, vec!["org_1".to_owned()]),
                (&users::TABLE, vec!["user_1".into(), "user_2".into()]),
            ]
        );
    }

    #[tokio::test]
    async fn one_who_leaves_is_forgotten() {
        let waiters = Arc::new(Waiters::default());
        let [first, second] = [(); 2].map(|()| waiters.for_row(&users::TABLE, &id("user_1")));
        let changes = waiters.for_changes();
        waiters.want_query();
        drop(first);
        assert!(waiters.is_query_wanted() && waiters.rows().len() == 1);
        drop(second);
        assert!(waiters.rows().is_empty() && !waiters.has_rows() && !waiters.take_query());
        assert!(!waiters.state().is_idle_for(Duration::ZERO));
        drop(changes);
        let state = waiters.state();
        assert!(state.rows.is_empty() && state.is_idle_for(Duration::ZERO));
        assert!(!state.is_idle_for(Duration::from_secs(3600)));
    }

    #[tokio::test]
    async fn a_signal_has_each_commit_since_the_last_once() {
        let waiters = Arc::new(Waiters::default());
        waiters.wake_changes();
        let mut signal = waiters.for_changes();
        assert!(
            signal.next().now_or_never().is_none(),
            "it was before the signal"
        );
        waiters.wake_changes();
        waiters.wake_changes();
        assert!(signal.next().now_or_never().is_some());
        assert!(signal.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn closing_wakes_everybody_and_ends_the_task() {
        let waiters = Arc::new(Waiters::default());
        let (row, mut changes) = (
            waiters.for_row(&users::TABLE, &id("user_1")),
            waiters.for_changes(),
        );
        let (runs, follows) = (Arc::new(Mutex::new(0)), Arc::clone(&waiters));
        let count = Arc::clone(&runs);
        let follow = move |task| {
            let waiters = Arc::clone(&follows);
            *count.lock().unwrap() += 1;
            async move {
                while !waiters.end_if_idle(task, Duration::ZERO) {
                    waiters.notified().await;
                }
            }
        };
        waiters.follow(follow.clone());
        waiters.follow(follow);
        waiters.close().await;
        assert_eq!(*runs.lock().unwrap(), 1, "one task at a time");
        for _ in 0..2 {
            assert!(is_woken(&row));
            changes.next().await;
        }
    }
}
