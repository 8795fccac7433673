//! Takes rows out of the queue file, in batches.
//!
//! - One read at a time, over all consumers: what is read after the cursor is nobody else's until the cursor has moved.
//! - A read goes on when the call that began it is dropped, and the next call has what it found: to begin anew would cost the
//!   connection, since SQLite's answers cannot be left half read, and the work.
//! - Nothing else is taken ahead of a call. What was taken for a consumer that is stopped or dropped is given back.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, Row};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::Shared;
use super::crash_guard::Session;
use super::file::QueueFile;
use super::in_flight::Lease;
use super::writer::Ack;
use crate::backoff::Backoff;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp, TraceContext};
use crate::queue::batch::{BATCH_BYTES_MAX, Batch, Lease as BatchLease, Source};
use crate::queue::error::Unavailable;
use crate::tasks;

/// How often an idle consumer looks for rows of another process (`events replay`), which can't wake it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

const AFTER: &str = "select seq, event_id, event_type, sent_at, received_at, body, traceparent, tracestate from queue
     where seq > ?1 order by seq limit ?2";

const AGAIN: &str = "select seq, event_id, event_type, sent_at, received_at, body, traceparent, tracestate from queue
     where seq in (select value from json_each(?1)) order by seq limit ?2";

/// The connection that reads: opened when needed, and anew after an error.
pub(super) struct Reader {
    file: QueueFile,
    connection: Option<SqliteConnection>,
    session: Session,
}

impl Reader {
    pub(super) fn new(file: QueueFile) -> Mutex<Self> {
        let session = Session::new(file.clone());
        Mutex::new(Self {
            file,
            connection: None,
            session,
        })
    }

    pub(super) async fn close(&mut self) {
        let closed = async {
            self.session.end().await?;
            match self.connection.take() {
                Some(connection) => connection.close().await,
                None => Ok(()),
            }
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the queue file could not be closed in good order; nothing is lost");
        }
    }

    /// How many rows wait.
    pub(super) async fn depth(&mut self) -> Result<u64, sqlx::Error> {
        let mut connection = self.take().await?;
        let events: i64 = sqlx::query_scalar("select events from depth")
            .fetch_one(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(u64::try_from(events).unwrap_or(0))
    }

    /// When the oldest row was received.
    pub(super) async fn oldest_received_at(&mut self) -> Result<Option<Timestamp>, sqlx::Error> {
        let mut connection = self.take().await?;
        let oldest =
            sqlx::query_scalar::<_, i64>("select received_at from queue order by seq limit 1");
        let oldest = oldest.fetch_optional(&mut connection).await?;
        self.connection = Some(connection);
        Ok(oldest.and_then(Timestamp::from_ms))
    }

    /// The rows that a query finds, until the batch is full.
    async fn read<'q, T>(
        &mut self,
        sql: &'static str,
        which: T,
        count: i64,
    ) -> Result<Read, sqlx::Error>
    where
        T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'q,
    {
        let mut connection = self.take().await?;
        let mut read = Read::default();
        let mut bytes = 0;
        let mut rows = sqlx::query(sql)
            .bind(which)
            .bind(count)
            .fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            let row = Found::read(&row)?;
            bytes += row.event.as_ref().map_or(0, |event| event.body().len());
            read.rows.push(row);
            if bytes >= BATCH_BYTES_MAX {
                read.full = true;
                break;
            }
        }
        drop(rows);
        self.connection = Some(connection);
        Ok(read)
    }

    /// The caller puts it back after a good end; otherwise it is dropped, and the next one is a new one.
    async fn take(&mut self) -> Result<SqliteConnection, sqlx::Error> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.file.connect_reader().await,
        }
    }
}

/// Rows in the order of `seq`.
#[derive(Default)]
struct Read {
    rows: Vec<Found>,
    /// Whether there may be more that did not fit.
    full: bool,
}

/// A row.
struct Found {
    seq: i64,
    /// Nothing where the row holds what this program never writes.
    event: Option<SignedEvent>,
}

impl Found {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        let seq = row.try_get(0)?;
        let event = Self::event(row);
        if event.is_none() {
            tracing::error!(
                seq,
                "a row of the queue file was altered and cannot be read; it stays there, mend or delete it"
            );
        }
        Ok(Self { seq, event })
    }

    fn event(row: &SqliteRow) -> Option<SignedEvent> {
        let body: Vec<u8> = row.try_get(5).ok()?;
        let parent = row.try_get::<Option<&str>, _>(6).ok().flatten();
        let state = row.try_get::<Option<&str>, _>(7).ok().flatten();
        let trace = parent.and_then(|parent| TraceContext::new(parent, state.unwrap_or("")));
        let event = SignedEvent::restored(
            EventId::new(row.try_get(1).ok()?)?,
            EventType::named(row.try_get(2).ok()?),
            Timestamp::from_ms(row.try_get(3).ok()?)?,
            Timestamp::from_ms(row.try_get(4).ok()?)?,
            Bytes::from(body),
        );
        Some(event.with_trace(trace))
    }
}

/// Takes events in batches. Several share one queue.
pub struct Consumer {
    taker: Taker,
    acks: mpsc::Sender<Ack>,
    /// Kept over calls.
    taking: Option<JoinHandle<Taken>>,
    stopped: bool,
}

/// Nothing where nothing was there.
type Taken = Result<Option<Batch>, sqlx::Error>;

impl Consumer {
    pub(super) fn new(
        shared: Arc<Shared>,
        acks: mpsc::Sender<Ack>,
        source: Source,
        batch_max: NonZeroUsize,
    ) -> Self {
        // Nothing is routed here, so nothing is unrouted.
        let stopped = matches!(source, Source::Unrouted | Source::Rescued);
        Self {
            taker: Taker {
                shared,
                source,
                batch_max,
            },
            acks,
            taking: None,
            stopped,
        }
    }

    /// See `queue::Consumer::next_batch`. Nothing too once the queue is closed.
    pub async fn next_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(1).await
    }

    /// See `queue::Consumer::next_full_batch`.
    pub async fn next_full_batch(&mut self) -> Option<Batch> {
        self.next_batch_of(self.taker.batch_max.get()).await
    }

    async fn next_batch_of(&mut self, count: usize) -> Option<Batch> {
        let shared = Arc::clone(&self.taker.shared);
        let mut news = shared.ledger.news();
        let (mut outage, mut told) = (Backoff::for_outage(), None);
        loop {
            if self.stopped || shared.closing.is_requested() {
                return None;
            }
            // From here on a change is seen, even one that comes before the wait below.
            news.mark_unchanged();
            let is_worth_a_look = self.taking.is_some()
                || self.taker.source == Source::DeadLetters
                || shared.ledger.has(count);
            match if is_worth_a_look {
                self.take().await
            } else {
                Ok(None)
            } {
                Ok(Some(batch)) => return Some(batch),
                // What is lethal is known from the beginning.
                Ok(None) if self.taker.source == Source::DeadLetters => return None,
                Ok(None) => {
                    // What ended the wait does not matter: the next turn looks.
                    let _news_or_time = tokio::time::timeout(LOOK_AGAIN, news.changed()).await;
                }
                Err(error) => {
                    let error = error.to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::error!(
                            error,
                            "the queue file cannot be read; trying again. Check its disk and its permissions"
                        );
                        told = Some(error);
                    }
                    shared.closing.or(outage.wait()).await;
                }
            }
        }
    }

    /// Waits for the read that is under way, or begins one. Cancel-safe.
    async fn take(&mut self) -> Taken {
        let taking = self
            .taking
            .get_or_insert_with(|| tasks::brief(self.taker.clone().take()));
        let taken = taking.await;
        self.taking = None;
        taken.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is ending.
            Err(_) => Ok(None),
        })
    }

    /// Returns once the rows are deleted on disk. Dropped before that, the rows are deleted or handed out again.
    pub async fn ack(&mut self, lease: Lease) -> Result<(), Unavailable> {
        let (answer, answered) = oneshot::channel();
        let closed = || Unavailable::new("the queue is closed");
        self.acks
            .send(Ack { lease, answer })
            .await
            .map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

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
    /// What is there now.
    async fn take(self) -> Taken {
        let mut reader = self.shared.reader.lock().await;
        if self.shared.closing.is_requested() {
            return Ok(None);
        }
        if let Some(beginning) = reader.session.begin().await? {
            self.shared.ledger.begin(beginning);
        }
        while !self.shared.closing.is_requested() {
            let (mut rows, mut lease) = match self.source {
                Source::DeadLetters => self.take_lethal(&mut reader).await?,
                Source::Events | Source::Unrouted | Source::Rescued => {
                    match self.take_rows(&mut reader).await? {
                        Some(taken) => taken,
                        None => return Ok(None),
                    }
                }
            };
            if rows.is_empty() && lease.seqs().is_empty() {
                return Ok(None);
            }
            // The others were deleted by an acknowledgement that seemed to fail, or cannot be read.
            let readable: HashSet<i64> = rows
                .iter()
                .filter(|row| row.event.is_some())
                .map(|row| row.seq)
                .collect();
            lease.retain(|seq| readable.contains(seq));
            // The others are lethal.
            rows.retain(|row| lease.seqs().binary_search(&row.seq).is_ok());
            let events: Vec<SignedEvent> = rows.into_iter().filter_map(|row| row.event).collect();
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

    /// Rows that were given back, or else new ones; suspects alone. Nothing where somebody else has a suspect.
    async fn take_rows(
        &self,
        reader: &mut Reader,
    ) -> Result<Option<(Vec<Found>, Lease)>, sqlx::Error> {
        let ledger = &self.shared.ledger;
        let count = ledger.allowed(self.batch_max.get());
        if count == 0 {
            return Ok(None);
        }
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        let mut lease = ledger.hand_out_again(count);
        let rows = if lease.seqs().is_empty() {
            let read = reader.read(AFTER, ledger.cursor(), limit).await?;
            let is_all = !read.full && read.rows.len() < count;
            lease = ledger.hand_out(read.rows.iter().map(|row| row.seq).collect(), is_all);
            read.rows
        } else {
            let read = reader.read(AGAIN, as_json(lease.seqs()), limit).await?;
            if let Some(last) = read.rows.last().filter(|_| read.full) {
                lease.give_back_after(last.seq);
            }
            read.rows
        };
        if ledger.has_suspects() {
            if ledger.set_alone(&mut lease) {
                reader.session.has_alone(lease.seqs()[0]).await?;
            } else if rows.is_empty() || !lease.seqs().is_empty() {
                reader.session.cleared().await?;
                ledger.clear_suspects();
            }
        } else if rows.is_empty() && reader.session.has_unclean_ends() && reader.depth().await? == 0
        {
            reader.session.cleared().await?;
        }
        Ok(Some((rows, lease)))
    }

    /// Rows that are dead letters.
    async fn take_lethal(&self, reader: &mut Reader) -> Result<(Vec<Found>, Lease), sqlx::Error> {
        let mut lease = self.shared.ledger.hand_out_lethal(self.batch_max.get());
        let limit = i64::try_from(lease.seqs().len()).unwrap_or(i64::MAX);
        let read = reader.read(AGAIN, as_json(lease.seqs()), limit).await?;
        if let Some(last) = read.rows.last().filter(|_| read.full) {
            lease.give_back_after(last.seq);
        }
        Ok((read.rows, lease))
    }
}

/// A list of numbers as SQLite's `json_each` takes it: one statement for any length.
pub(super) fn as_json(seqs: &[i64]) -> String {
    let numbers: Vec<String> = seqs.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}
