//! The one task that writes to the queue file.
//!
//! - It takes all that waits, publishes and acknowledgements, writes it in one transaction, and
//!   answers after the commit. The longer a commit takes, the more wait for the next one: the
//!   groups find their size without a timer.
//! - When a transaction fails, the acknowledgements of its group are tried once more without the
//!   publishes: a full disk must not keep the queue from being drained.
//! - After a failure `ready` reports it until a publish, or a trial in its place, has succeeded: if
//!   no events are sent to a queue that is not ready, no event could show that it is ready again.
//! - After a panic it starts again: its connection is dropped, with what was half done, and the
//!   callers try again.

use std::sync::{Arc, LazyLock};

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Error};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::file;
use super::in_flight::Lease;
use super::kept_connection::KeptConnection;
use super::reader::as_json;
use super::shared::{Shared, advice};
use crate::backoff::Backoff;
use crate::clerk::{SignedEvent, TraceContext};
use crate::queue::error::{PublishError, Unavailable};

/// Most publishes in one transaction. More lower the cost per event only little, and the first one
/// waits longer.
const GROUP_MAX: usize = 256;

/// Most acknowledgements in one transaction: more than there are consumers.
const ACKS_MAX: usize = 64;

/// Rows per statement, largest first. Many rows per statement are several times faster than one;
/// few sizes keep the number of prepared statements small.
const ROWS: [usize; 3] = [32, 8, 1];

static INSERTS: LazyLock<[Arc<str>; 3]> = LazyLock::new(|| {
    ROWS.map(|rows| {
        let values = vec!["(?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
        let columns = "event_id, event_type, sent_at, received_at, body, traceparent, tracestate";
        format!("insert into queue ({columns}) values {values}").into()
    })
});

const DELETE: &str = "delete from queue where seq in (select value from json_each(?1))";

/// A row of 32 KiB that is inserted and deleted in one transaction: it fails if an event would.
const TRIAL: [&str; 4] = [
    "begin immediate",
    "insert into queue (event_id, event_type, sent_at, received_at, body) values ('trial', 'trial', 1, 1, zeroblob(32768))",
    "delete from queue where seq = last_insert_rowid()",
    "commit",
];

/// An event that waits to be written.
pub struct Publish {
    pub event: SignedEvent,
    pub answer: oneshot::Sender<Result<(), PublishError>>,
    /// The memory that the body takes.
    pub _memory: OwnedSemaphorePermit,
}

/// Rows that wait to be deleted. If that fails the lease is dropped, and they are delivered again.
pub struct Ack {
    pub lease: Lease,
    pub answer: oneshot::Sender<Result<(), Unavailable>>,
}

/// Owns the connection that writes.
pub struct Writer {
    pub shared: Arc<Shared>,
    pub connection: KeptConnection,
    pub publishes: mpsc::Receiver<Publish>,
    pub acks: mpsc::Receiver<Ack>,
    /// When to try again whether a publish would succeed, after a failure. A successful trial does
    /// not reset the intervals: on a disk with little space left, trials and publishes could take
    /// turns.
    pub trials: Backoff,
    pub next_trial: Instant,
    /// Dropped when all is done.
    pub ended: Option<watch::Sender<()>>,
}

impl Writer {
    /// Runs until the queue is closed, or no handle and no consumer is left.
    pub async fn run(&mut self) {
        let (mut publishes, mut acks) =
            (Vec::with_capacity(GROUP_MAX), Vec::with_capacity(ACKS_MAX));
        let (mut publishing, mut acking, mut closing) = (true, true, false);
        // Each ends once it is closed, or all its senders are gone.
        while publishing || acking {
            let failing = self.shared.health.get().is_err();
            tokio::select! {
                () = self.shared.closing.requested(), if !closing => {
                    closing = true;
                    self.publishes.close();
                    self.acks.close();
                }
                count = self.publishes.recv_many(&mut publishes, GROUP_MAX), if publishing => publishing = count > 0,
                count = self.acks.recv_many(&mut acks, ACKS_MAX), if acking => acking = count > 0,
                () = sleep_until(self.next_trial), if failing && publishing && !closing => {
                    self.try_publish().await;
                    self.next_trial = Instant::now() + self.trials.next_interval();
                }
            }
            while publishes.len() < GROUP_MAX
                && let Ok(publish) = self.publishes.try_recv()
            {
                publishes.push(publish);
            }
            while acks.len() < ACKS_MAX
                && let Ok(ack) = self.acks.try_recv()
            {
                acks.push(ack);
            }
            self.write(&mut publishes, &mut acks).await;
        }
        self.close().await;
    }

    /// Writes a group and answers it. Leaves both empty.
    async fn write(&mut self, publishes: &mut Vec<Publish>, acks: &mut Vec<Ack>) {
        // A caller that gave up sends the event again.
        publishes.retain(|publish| !publish.answer.is_closed());
        if publishes.is_empty() && acks.is_empty() {
            return;
        }
        let leased = acks.iter().flat_map(|ack| ack.lease.seqs());
        let seqs: Vec<i64> = leased.copied().collect();
        let mut written = self.transaction(publishes, &seqs).await;
        match &written {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.trials.reset();
                self.shared.health.good();
            }
            Err(error) => {
                if self.shared.health.get().is_ok() {
                    self.next_trial = Instant::now() + self.trials.next_interval();
                }
                self.shared.health.failed(error);
            }
        }
        if !publishes.is_empty() {
            let answer = written.as_ref().map(drop).map_err(refusal);
            for publish in publishes.drain(..) {
                // The caller may be gone: the event is stored or will be sent again.
                let _gone = publish.answer.send(answer);
            }
            match written {
                Ok(Some(newest)) => self.shared.in_flight.published(newest),
                Err(_) if !acks.is_empty() => written = self.transaction(&[], &seqs).await,
                _ => {}
            }
        }
        let result = written.map(drop);
        let result = result.map_err(|error| Unavailable::new(advice(&error)));
        for Ack { lease, answer } in acks.drain(..) {
            if result.is_ok() {
                lease.acknowledged();
            }
            let _gone = answer.send(result.clone());
        }
    }

    /// Writes all or nothing. Returns the greatest `seq` of the published events; `None` without
    /// any.
    async fn transaction(
        &mut self,
        publishes: &[Publish],
        seqs: &[i64],
    ) -> Result<Option<i64>, Error> {
        let mut connection = self.connection.take().await?;
        execute(&mut connection, "begin immediate").await?;
        if !seqs.is_empty() {
            // First, so that the pages they free hold the new rows.
            let delete = sqlx::query(DELETE).bind(as_json(seqs));
            delete.execute(&mut connection).await?;
        }
        let newest = insert(&mut connection, publishes).await?;
        execute(&mut connection, "commit").await?;
        self.connection.keep(connection);
        Ok(newest)
    }

    /// Tests whether a publish would succeed.
    async fn try_publish(&mut self) {
        let tried = async {
            let mut connection = self.connection.take().await?;
            for statement in TRIAL {
                execute(&mut connection, statement).await?;
            }
            self.connection.keep(connection);
            Ok(())
        };
        match tried.await {
            Ok(()) => self.shared.health.good(),
            Err(error) => self.shared.health.failed(&error),
        }
    }

    /// Writes the log into the file, so that the file alone is the queue, and closes it.
    async fn close(&mut self) {
        // While the write-ahead log is cut, and after that, the file must not be read or opened
        // again.
        self.shared.closing.request();
        self.shared.reader.lock().await.close().await;
        let closed = async {
            let mut connection = self.connection.take().await?;
            execute(&mut connection, "pragma wal_checkpoint(truncate)").await?;
            self.connection.keep(connection);
            self.connection.close().await
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the queue file could not be closed in order; nothing is lost");
        }
        self.shared.in_flight.wake();
        self.ended = None;
    }
}

async fn execute(connection: &mut SqliteConnection, statement: &'static str) -> Result<(), Error> {
    sqlx::query(statement).execute(connection).await.map(drop)
}

/// Returns the `seq` of the last row; `None` without rows.
async fn insert(
    connection: &mut SqliteConnection,
    mut publishes: &[Publish],
) -> Result<Option<i64>, Error> {
    let mut last = None;
    for (rows, statement) in ROWS.iter().zip(INSERTS.iter()) {
        while let Some((now, later)) = publishes.split_at_checked(*rows) {
            let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
            for Publish { event, .. } in now {
                #[cfg(test)]
                assert!(event.id().as_str() != BUG, "a bug, made by a test");
                let state = event.trace().map(TraceContext::state);
                query = query
                    .bind(event.id().as_str())
                    .bind(event.event_type().as_str())
                    .bind(event.sent_at().ms())
                    .bind(event.received_at().ms())
                    .bind(&event.body()[..])
                    .bind(event.trace().map(TraceContext::parent))
                    .bind(state.filter(|state| !state.is_empty()));
            }
            last = Some(query.execute(&mut *connection).await?.last_insert_rowid());
            publishes = later;
            if publishes.is_empty() {
                return Ok(last);
            }
        }
    }
    Ok(last)
}

/// The writer panics at this event.
#[cfg(test)]
pub const BUG: &str = "msg_that_meets_a_bug";

/// The error of every publish in a transaction that failed.
fn refusal(error: &Error) -> PublishError {
    match file::primary_code(error) {
        Some(file::FULL | file::IO_ERROR) => PublishError::Refused,
        _ => PublishError::Unavailable,
    }
}
