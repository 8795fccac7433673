//! The state of the queue, the database and the worker for `/readyz`, `/metrics`, `/api/stats` and
//! the dashboard. Each query is cached, so that any number of clients costs the servers little.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::cache::{Answer, Cached, Reason};
use crate::clock::now;
use crate::metrics;
use crate::queue::Queue;
use crate::shutdown::Shutdown;
use crate::store::{Failed, Recent, Store, Time, Totals};

/// How old an answer may be for a page or a program that asks every few seconds.
pub const CURRENT: Duration = Duration::from_millis(500);
const READINESS_AGE: Duration = Duration::from_secs(1);
const RECENT_AGE: Duration = Duration::from_secs(2);
const TOTALS_AGE: Duration = Duration::from_secs(10);

/// How old an answer may be for Prometheus, which asks every 15 s or so.
pub const METRICS_AGE: Duration = Duration::from_secs(5);

/// Longest wait for one answer, well below the 10 s after which Prometheus gives up.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Most failed events that are counted: a hundredth of a second's work.
const FAILED_MAX: u32 = 100_000;

/// Whether a part works, or why not.
pub type PartStatus = Result<(), Reason>;

/// A count; `None` while it is made for the first time.
pub type Counted<T> = Option<Answer<T>>;

/// The parts of this process and their last answers. Clones share the answers.
#[derive(Clone)]
pub struct ServiceStatus {
    queue: Queue,
    /// `None` for a receiver: it works while the database is away.
    worker: Option<(Store, WorkerStatus)>,
    shutdown: Shutdown,
    answers: Arc<Answers>,
}

/// Why the worker of this process applies nothing; `None` while it applies events.
type WorkerStatus = watch::Receiver<Option<Reason>>;

struct Answers {
    database: Arc<Cached<()>>,
    waiting: Arc<Cached<Waiting>>,
    failed: Arc<Cached<Failed>>,
    failed_count: Arc<Cached<u64>>,
    recent: Arc<Cached<Recent>>,
    totals: Arc<Cached<Totals>>,
    /// Set once the metrics know the newest event: from then on this process sees new ones itself.
    newest: OnceCell<()>,
}

/// Events that wait in the queue.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Waiting {
    /// How many; null if the queue does not say.
    pub depth: Option<u64>,
    /// When the oldest of them was received; null if none waits or the queue does not say.
    pub oldest_received_at: Option<Time>,
    /// Why one of these is not known.
    pub unknown: Option<String>,
}

impl ServiceStatus {
    /// The status of a process. `worker` is the database and the worker's own status, `None` for a
    /// receiver.
    pub fn new(queue: Queue, worker: Option<(Store, WorkerStatus)>, shutdown: Shutdown) -> Self {
        Self {
            queue,
            worker,
            shutdown,
            answers: Arc::new(Answers {
                database: Cached::timed(),
                waiting: Cached::timed(),
                failed: Cached::costly(),
                failed_count: Cached::timed(),
                recent: Cached::costly(),
                totals: Cached::costly(),
                newest: OnceCell::new(),
            }),
        }
    }

    /// Returns whether the process is shutting down.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_requested()
    }

    /// Returns whether a publish could succeed now.
    ///
    /// # Errors
    /// Says why it could not.
    pub fn queue(&self) -> PartStatus {
        self.queue.ready().map_err(reason)
    }

    /// Returns whether the database answered, at most a second ago; `None` for a receiver. The
    /// result is cached, so any number of calls is cheap.
    pub async fn database(&self) -> Option<PartStatus> {
        let (store, _) = self.worker.clone()?;
        let ask = || async move { store.ping().await.map_err(reason) };
        let answer = self.answers.database.get(READINESS_AGE, ask).await;
        Some(answer.and_then(|answer| match answer {
            Some(_) => Ok(()),
            None => Err("the database does not answer".into()),
        }))
    }

    /// Returns whether the worker applies events; `None` for a receiver.
    pub fn worker(&self) -> Option<PartStatus> {
        let (_, status) = self.worker.as_ref()?;
        Some(status.borrow().clone().map_or(Ok(()), Err))
    }

    /// The events in the queue, at most this long ago. What the queue does not say is no error.
    pub async fn waiting(&self, max_age: Duration) -> Waiting {
        let queue = self.queue.clone();
        let ask = || async move { Ok(ask_queue(&queue).await) };
        let answer = self.answers.waiting.get(max_age, ask).await.ok().flatten();
        answer.map(|answer| answer.value).unwrap_or_default()
    }

    /// The number of failed events, for the metrics; `None` if the database does not say. Also
    /// makes the newest event known to the metrics, once.
    pub async fn failed_count(&self) -> Option<u64> {
        let (store, _) = self.worker.clone()?;
        let answers = Arc::clone(&self.answers);
        let ask = || async move {
            let newest = answers.newest.get_or_try_init(async || {
                let newest = in_time(store.last_received_at()).await?;
                if let Some(Time(received_at)) = newest {
                    metrics::event_received(received_at.ms());
                }
                Ok::<_, Reason>(())
            });
            tokio::join!(newest, in_time(store.failed_count(FAILED_MAX))).1
        };
        let answer = self.answers.failed_count.get(METRICS_AGE, ask).await;
        Some(answer.ok()??.value)
    }

    /// The failed events by code, counted.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn failed(&self, store: &Store) -> Result<Counted<Failed>, Reason> {
        let store = store.clone();
        let ask = || async move { store.failed().await.map_err(reason) };
        self.answers.failed.get(CURRENT, ask).await
    }

    /// The failed events by code, the last hour minute by minute, and everything, each counted.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn counts(
        &self,
        store: &Store,
    ) -> Result<(Counted<Failed>, Counted<Recent>, Counted<Totals>), Reason> {
        let [for_recent, for_totals] = [store; 2].map(Store::clone);
        let Answers { recent, totals, .. } = &*self.answers;
        tokio::try_join!(
            self.failed(store),
            recent.get(RECENT_AGE, || async move {
                for_recent.recent(now()).await.map_err(reason)
            }),
            totals.get(TOTALS_AGE, || async move {
                for_totals.totals().await.map_err(reason)
            }),
        )
    }
}

fn reason(error: impl ToString) -> Reason {
    error.to_string().into()
}

/// The answer of a server, or why there is none within 2 s.
async fn in_time<T, E: ToString>(answer: impl Future<Output = Result<T, E>>) -> Result<T, Reason> {
    let answer = timeout(TIMEOUT, answer).await;
    answer.map_err(reason)?.map_err(reason)
}

async fn ask_queue(queue: &Queue) -> Waiting {
    let depth = in_time(queue.depth()).await;
    let oldest = if matches!(depth, Ok(0)) {
        Ok(None)
    } else {
        in_time(queue.oldest_received_at()).await
    };
    let error = depth.as_ref().err().or(oldest.as_ref().err());
    Waiting {
        unknown: error.map(ToString::to_string),
        depth: depth.ok(),
        oldest_received_at: oldest.ok().flatten().map(Time),
    }
}
