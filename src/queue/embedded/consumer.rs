//! The consumer of the embedded queue: reads rows in batches and leases them (`in_flight.rs`). A
//! row leaves the file by its acknowledgement alone.
//!
//! - One read at a time, over all consumers: rows read after the cursor belong to one consumer.
//! - A read continues when the call that started it is dropped, and the next call has its result: a
//!   new read would cost the connection, since SQLite's answers cannot be left half read, and the
//!   work.
//! - Nothing else is read in advance. Rows that were read for a consumer that is stopped or dropped
//!   are returned.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::in_flight::Lease;
use super::reader::{Reader, RowsRead};
use super::shared::Shared;
use super::writer::Ack;
use crate::backoff::Backoff;
use crate::clerk::SignedEvent;
use crate::logged_state::LoggedState;
use crate::queue::batch::{Batch, Lease as BatchLease, Source};
use crate::queue::error::Unavailable;
use crate::tasks;

/// How often an idle consumer looks for rows of another process (`events replay`), which cannot
/// wake it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Takes events in batches. Several share one queue.
pub struct Consumer {
    taker: Taker,
    acks: mpsc::Sender<Ack>,
    /// A read in progress.
    taking: Option<JoinHandle<Taken>>,
    stopped: bool,
}

/// `None` if no row was there.
type Taken = Result<Option<Batch>, sqlx::Error>;

impl Consumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        acks: mpsc::Sender<Ack>,
        source: Source,
        batch_max: NonZeroUsize,
    ) -> Self {
        Self {
            taker: Taker {
                shared,
                source,
                batch_max,
            },
            acks,
            taking: None,
            // The embedded queue has no routing, so these sources have no events.
            stopped: matches!(source, Source::Unrouted | Source::Rescued),
        }
    }

    /// See `queue::Consumer::next_batch`. Returns `None` too once the queue is closed.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(1).await
    }

    /// See `queue::Consumer::next_full_batch`.
    pub async fn next_full_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(self.taker.batch_max.get()).await
    }

    async fn next_batch_of(&mut self, count: usize) -> Option<Batch> {
        let shared = Arc::clone(&self.taker.shared);
        let is_of_dead_letters = self.taker.source == Source::DeadLetters;
        let mut news = shared.in_flight.news();
        let (mut outage, logged) = (Backoff::for_outage(), LoggedState::default());
        loop {
            if self.stopped || shared.closing.is_requested() {
                return None;
            }
            // From here on a change is seen, even one that happens before the wait below.
            news.mark_unchanged();
            let has_rows =
                self.taking.is_some() || is_of_dead_letters || shared.in_flight.has(count);
            match if has_rows {
                self.take().await
            } else {
                Ok(None)
            } {
                Ok(Some(batch)) => return Some(batch),
                // Poison rows are known from the start.
                Ok(None) if is_of_dead_letters => return None,
                Ok(None) => {
                    // Rows or the timeout ended the wait: in either case the next turn of the loop
                    // reads again.
                    let _news_or_time = tokio::time::timeout(LOOK_EVERY, news.changed()).await;
                }
                Err(error) => {
                    if logged.changes_to(error.to_string()) {
                        tracing::error!(
                            %error,
                            "the queue file cannot be read; trying again. Check its disk and its permissions"
                        );
                    }
                    shared.closing.or(outage.wait()).await;
                }
            }
        }
    }

    /// Waits for the read in progress, or starts one. Cancel-safe.
    async fn take(&mut self) -> Taken {
        let taking = self
            .taking
            .get_or_insert_with(|| tasks::brief(self.taker.clone().take()));
        let taken = taking.await;
        self.taking = None;
        taken.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime shuts down.
            Err(_) => Ok(None),
        })
    }

    /// Returns once the rows are deleted on disk. If it is dropped before, the rows are deleted or
    /// delivered again.
    ///
    /// # Errors
    /// Fails if the rows could not be deleted: they are delivered again.
    pub async fn ack(&mut self, lease: Lease) -> Result<(), Unavailable> {
        let (answer, answered) = oneshot::channel();
        let closed = || Unavailable::new("the queue is closed");
        let sent = self.acks.send(Ack { lease, answer }).await;
        sent.map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// See `queue::Consumer::stop`.
    pub async fn stop(&mut self) {
        self.stopped = true;
        self.taking = None;
    }
}

/// Reads batches for a consumer.
#[derive(Clone)]
struct Taker {
    shared: Arc<Shared>,
    source: Source,
    batch_max: NonZeroUsize,
}

impl Taker {
    /// Takes the rows that are there now.
    async fn take(self) -> Taken {
        let Shared {
            in_flight,
            reader,
            closing,
            ..
        } = &*self.shared;
        let mut reader = reader.lock().await;
        if closing.is_requested() {
            return Ok(None);
        }
        if let Some(found) = reader.crash_guard.start().await? {
            in_flight.start(found);
        }
        while !closing.is_requested() {
            let (read, mut lease) = match self.source {
                Source::DeadLetters => {
                    let mut lease = in_flight.lease_poison(self.batch_max.get());
                    (read_leased(&mut reader, &mut lease).await?, lease)
                }
                Source::Events | Source::Unrouted | Source::Rescued => {
                    // Another consumer may have an isolated row.
                    let count = in_flight.allowed(self.batch_max.get());
                    if count == 0 {
                        return Ok(None);
                    }
                    self.take_rows(&mut reader, count).await?
                }
            };
            if read.rows.is_empty() && lease.seqs().is_empty() {
                return Ok(None);
            }
            let rows = read.rows.into_iter();
            let mut events: HashMap<i64, SignedEvent> = rows
                .filter_map(|(seq, event)| Some((seq, event?)))
                .collect();
            // The others cannot be read, or were deleted by an acknowledgement that seemed to fail.
            lease.retain(|seq| events.contains_key(seq));
            // The rows that are not leased are poison.
            let seqs = lease.seqs().iter();
            let events: Vec<_> = seqs.filter_map(|seq| events.remove(seq)).collect();
            if !events.is_empty() {
                return Ok(Some(Batch {
                    events,
                    may_be_poison: false,
                    lease: BatchLease::Embedded(lease),
                }));
            }
        }
        Ok(None)
    }

    /// Takes returned rows, or else new ones.
    async fn take_rows(
        &self,
        reader: &mut Reader,
        count: usize,
    ) -> Result<(RowsRead, Lease), sqlx::Error> {
        let in_flight = &self.shared.in_flight;
        let mut lease = in_flight.lease_returned(count);
        let read = if lease.seqs().is_empty() {
            let read = reader.read_new(in_flight.cursor(), count).await?;
            let is_all = !read.is_cut && read.rows.len() < count;
            let seqs = read.rows.iter().map(|(seq, _)| *seq).collect();
            lease = in_flight.lease_new(seqs, is_all);
            read
        } else {
            read_leased(reader, &mut lease).await?
        };
        if in_flight.isolates() {
            if in_flight.isolate(&mut lease) {
                reader.crash_guard.isolate(lease.seqs()[0]).await?;
            } else if read.rows.is_empty() || !lease.seqs().is_empty() {
                reader.crash_guard.forget().await?;
                in_flight.end_isolation();
            }
        } else if read.rows.is_empty()
            && reader.crash_guard.has_crashes()
            && reader.depth().await? == 0
        {
            reader.crash_guard.forget().await?;
        }
        Ok((read, lease))
    }
}

/// Reads leased rows. Returns those to the queue that do not fit.
async fn read_leased(reader: &mut Reader, lease: &mut Lease) -> Result<RowsRead, sqlx::Error> {
    let read = reader.read_these(lease.seqs()).await?;
    if let Some((last, _)) = read.rows.last().filter(|_| read.is_cut) {
        lease.return_after(*last);
    }
    Ok(read)
}
