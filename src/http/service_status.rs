//! The state of the queue, the database and the worker for `/readyz`, `/metrics`, `/api/stats` and
//! the dashboard. Each query is cached, so that any number of clients costs the servers little.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OnceCell, watch};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::cache::{Answer, Cached, Reason};
use super::change_feed_status::ChangeFeedStatus;
use super::deliveries::Deliveries;
use crate::clock::now;
use crate::metrics;
use crate::queue::Queue;
use crate::shutdown::Shutdown;
use crate::store::{ChangeFeedState, Control, Failed, Range, Recent, Store, Time, Totals};

/// How old an answer may be for a page or a program that asks every few seconds.
pub const CURRENT: Duration = Duration::from_millis(500);
const READINESS_AGE: Duration = Duration::from_secs(1);
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
    deliveries: Arc<Deliveries>,
    answers: Arc<Answers>,
}

/// Why the worker of this process applies nothing; `None` while it applies events.
type WorkerStatus = watch::Receiver<Option<Reason>>;

struct Answers {
    database: Arc<Cached<()>>,
    control: Arc<Cached<Control>>,
    waiting: Arc<Cached<Waiting>>,
    failed: Arc<Cached<Failed>>,
    failed_count: Arc<Cached<u64>>,
    change_feed: Arc<Cached<ChangeFeedState>>,
    /// One for each range.
    recent: [Arc<Cached<Recent>>; Range::ALL.len()],
    totals: Arc<Cached<Totals>>,
    /// Set once the metrics know the newest event: from then on this process sees new ones itself.
    newest: OnceCell<()>,
}

/// Events that wait in the queue.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Waiting {
    /// How many wait to be taken; null if the queue does not say. The embedded queue counts those
    /// that are taken and not applied yet too.
    pub depth: Option<u64>,
    /// When the oldest of them was received; null if none waits or the queue does not say.
    pub oldest_received_at: Option<Time>,
    /// How many this process has taken from RabbitMQ and not applied yet, such as while the database
    /// is away; null for the embedded queue.
    pub taken: Option<u64>,
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
            deliveries: Arc::default(),
            answers: Arc::new(Answers {
                database: Cached::timed(),
                control: Cached::timed(),
                waiting: Cached::timed(),
                failed: Cached::costly(),
                failed_count: Cached::timed(),
                change_feed: Cached::timed(),
                recent: Range::ALL.map(|_| Cached::costly()),
                totals: Cached::costly(),
                newest: OnceCell::new(),
            }),
        }
    }

    /// The deliveries to this process, counted.
    pub fn deliveries(&self) -> &Arc<Deliveries> {
        &self.deliveries
    }

    /// Returns whether the process is shutting down.
    pub fn is_stopping(&self) -> bool {
        self.shutdown.is_requested()
    }

    /// Returns when the process shuts down. Cancel-safe.
    pub async fn stopping(&self) {
        self.shutdown.requested().await;
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

    /// Whether applying is paused, and its rate limit, at most this long ago; `None` for a receiver,
    /// and if the database does not say within 2 s. Nothing is asked of one that does not answer.
    pub async fn control(&self, max_age: Duration) -> Option<Control> {
        let (store, _) = self.worker.clone()?;
        self.database().await?.ok()?;
        let ask = || async move { in_time(store.control()).await };
        let answer = self.answers.control.get(max_age, ask).await;
        Some(answer.ok()??.value)
    }

    /// Forgets the last answer about the control: this process has changed it.
    pub fn control_has_changed(&self) {
        self.answers.control.forget();
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
        Waiting {
            // Known without a question.
            taken: self.queue.taken(),
            ..answer.map(|answer| answer.value).unwrap_or_default()
        }
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

    /// Age of the oldest change of a row that is not published yet, zero if there is none; `None` if
    /// this process publishes no changes, or if the database does not say.
    pub async fn change_feed_lag(&self) -> Option<Duration> {
        let (store, _) = self.worker.as_ref()?;
        if !self.publishes_changes() || !store.has_change_feed() {
            return None;
        }
        let feed = self.change_feed(store, METRICS_AGE).await.ok()??;
        feed.lag_ms.map(Duration::from_millis)
    }

    /// How far the change feed is, by what the database said at most this long ago. Returns `None`
    /// if the feed is off, here and in the worker that started last.
    ///
    /// # Errors
    ///
    /// If the feed is on here, and the database does not answer.
    pub async fn change_feed(
        &self,
        store: &Store,
        max_age: Duration,
    ) -> Result<Option<ChangeFeedStatus>, Reason> {
        let is_on_here = store.has_change_feed();
        let store = store.clone();
        let ask = || async move { in_time(store.change_feed_state()).await };
        let state = match self.answers.change_feed.get(max_age, ask).await {
            Ok(Some(state)) => state.value,
            Ok(None) => return Ok(None),
            // Without the feed the role may have no right to read it.
            Err(_) if !is_on_here => return Ok(None),
            Err(error) => return Err(error),
        };
        let status = ChangeFeedStatus::of(&state, self.publishes_changes(), now());
        // This process is a worker, too.
        let recording = state.is_on && is_on_here;
        let is_on = state.is_on || is_on_here;
        Ok(is_on.then_some(ChangeFeedStatus {
            recording,
            ..status
        }))
    }

    /// Whether changes of rows go to an exchange, if they are recorded.
    fn publishes_changes(&self) -> bool {
        !matches!(self.queue, Queue::Embedded(_))
    }

    /// What was received in a range, counted.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn recent(&self, store: &Store, range: Range) -> Result<Counted<Recent>, Reason> {
        let store = store.clone();
        let recent = &self.answers.recent[range as usize];
        // A thirtieth of a bucket: no difference can be seen.
        let max_age = Duration::from_millis(range.bucket_ms().unsigned_abs() / 30);
        recent
            .get(max_age, || async move {
                store.recent(range, now()).await.map_err(reason)
            })
            .await
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

    /// The failed events by code, and everything, each counted.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn counts(
        &self,
        store: &Store,
    ) -> Result<(Counted<Failed>, Counted<Totals>), Reason> {
        let for_totals = store.clone();
        let ask = || async move { for_totals.totals().await.map_err(reason) };
        tokio::try_join!(self.failed(store), self.answers.totals.get(TOTALS_AGE, ask))
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
        taken: None,
        depth: depth.ok(),
        oldest_received_at: oldest.ok().flatten().map(Time),
    }
}
