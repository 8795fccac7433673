//! Replays of many events that were started in the dashboard: each runs in a task of its own, so
//! that no request waits for it, and is kept in this process for an hour, with its outcomes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clerk::Timestamp;
use crate::clock::now;
use crate::queue::Queue;
use crate::replay::{
    self, Outcome, OutcomeStatus, Published, ReplayReport, Selection, newly_published, update,
};
use crate::store::{Actor, Store, StoreError};
use crate::tasks;

/// How long a run is kept, and most runs: each has the IDs of a thousand events at most.
const KEPT_MS: i64 = 3_600_000;
const RUNS_MAX: usize = 20;

/// The runs of this process. Clones share them.
#[derive(Clone, Default)]
pub struct ReplayRuns(Arc<Mutex<VecDeque<Arc<ReplayRun>>>>);

/// A replay of many events.
pub struct ReplayRun {
    /// Random: it names the run in an address.
    pub id: String,
    pub started_at: Timestamp,
    /// How many events it is to publish, as they were counted at the start.
    pub expected: u64,
    /// The filter of the list that it was started from, as a query.
    pub from: String,
    progress: Mutex<Progress>,
    /// Of the published events, in their order; locked while they are asked for.
    outcomes: tokio::sync::Mutex<Vec<Outcome>>,
}

#[derive(Clone, Default)]
struct Progress {
    published: Vec<Published>,
    /// `None` while it publishes; then why it stopped before its end, if it did.
    ended: Option<Result<(), String>>,
}

/// A run as it is now.
pub struct Seen {
    /// How many events were published again.
    pub published: u64,
    /// `None` while it publishes; then why it stopped before its end, if it did.
    pub ended: Option<Result<(), String>>,
    /// Of the published events.
    pub outcomes: Vec<Outcome>,
    /// Why the newest outcomes are not known, if the database does not answer.
    pub unknown: Option<String>,
}

impl ReplayRuns {
    /// Starts a replay, and returns its run.
    pub fn start(
        &self,
        store: &Store,
        queue: &Queue,
        selection: Selection,
        actor: &Actor,
        expected: u64,
        from: String,
    ) -> Arc<ReplayRun> {
        let run = Arc::new(ReplayRun {
            id: format!("{:032x}", rand::random::<u128>()),
            started_at: now(),
            expected,
            from,
            progress: Mutex::default(),
            outcomes: tokio::sync::Mutex::default(),
        });
        let mut runs = self.runs();
        runs.push_back(Arc::clone(&run));
        if runs.len() > RUNS_MAX {
            runs.pop_front();
        }
        drop(runs);
        let publishing = Publishing(Arc::clone(&run));
        let (store, queue, actor) = (store.clone(), queue.clone(), actor.clone());
        tasks::brief(async move {
            let mut report = ReplayReport::default();
            let progress = &publishing.0.progress;
            let replay = replay::replay(
                &store,
                &queue,
                &selection,
                replay::RATE,
                &actor,
                &mut report,
                |_, published| lock(progress).published.push(published),
            );
            let ended = replay.await.map_err(|error| error.to_string());
            lock(progress).ended = Some(ended);
        });
        run
    }

    /// The run with this ID, if it is kept here.
    pub fn get(&self, id: &str) -> Option<Arc<ReplayRun>> {
        let mut runs = self.runs();
        let oldest = now().ms() - KEPT_MS;
        runs.retain(|run| run.started_at.ms() > oldest);
        runs.iter().find(|run| run.id == id).cloned()
    }

    fn runs(&self) -> MutexGuard<'_, VecDeque<Arc<ReplayRun>>> {
        lock(&self.0)
    }
}

/// No code that holds one of these locks can leave what it guards half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ReplayRun {
    /// Asks the database for the outcomes of the published events that no worker had tried yet.
    pub async fn look(&self, store: &Store) -> Seen {
        let Progress { published, ended } = lock(&self.progress).clone();
        let mut outcomes = self.outcomes.lock().await;
        let known = outcomes.len();
        outcomes.extend(published.iter().skip(known).map(newly_published));
        // Another request may have seen more of them meanwhile.
        let published = if outcomes.len() > published.len() {
            lock(&self.progress).published.clone()
        } else {
            published
        };
        let asked = update(store, &published, &mut outcomes).await;
        Seen {
            published: published.len() as u64,
            ended,
            outcomes: outcomes.clone(),
            unknown: asked.err().map(|error: StoreError| error.to_string()),
        }
    }
}

impl Seen {
    /// How many events have this outcome.
    pub fn count(&self, status: OutcomeStatus) -> u64 {
        let outcomes = self.outcomes.iter();
        outcomes.filter(|outcome| outcome.status == status).count() as u64
    }
}

/// A run that is being published. If its task ends in another way than it should, the run says so.
struct Publishing(Arc<ReplayRun>);

impl Drop for Publishing {
    fn drop(&mut self) {
        lock(&self.0.progress)
            .ended
            .get_or_insert_with(|| Err("it met a bug of clerk-sync: report it".into()));
    }
}
