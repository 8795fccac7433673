//! The one task that writes to the queue file.
//!
//! - After a panic it starts again: its connection is dropped, with what was half done, and who waited is told to try again.
//! - It takes what waits, publishes and acknowledgements, writes all of it in one transaction, and answers after the
//!   commit. The longer a commit takes, the more wait for the next one: the groups find their size without a timer.
//! - When a transaction fails, the acknowledgements of its group are tried once more without the publishes: a full disk
//!   must not keep the queue from being drained.
//! - After a failure `ready` says so until a publish, or a trial made in its place, has succeeded: where nobody sends
//!   events to a queue that is not ready, no event could ever show that it is ready again.

use std::sync::{Arc, LazyLock};

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::Shared;
use super::consumer::as_json;
use super::file::{self, QueueFile};
use super::in_flight::Lease;
use crate::backoff::Backoff;
use crate::clerk::{SignedEvent, TraceContext};
use crate::queue::error::{PublishError, Unavailable};

/// Most publishes in one transaction. Beyond this a commit's cost is spread thin enough, and the first one waits longer.
const GROUP_MAX: usize = 256;

/// Most acknowledgements in one transaction: more than there are consumers.
const ACKS_MAX: usize = 64;

/// Rows a statement, largest first. Many rows a statement are several times faster than one; few sizes keep the number
/// of prepared statements small.
const ROWS: [usize; 3] = [32, 8, 1];

static INSERTS: LazyLock<[Arc<str>; 3]> = LazyLock::new(|| {
    ROWS.map(|rows| {
        let values = vec!["(?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
        let columns = "event_id, event_type, sent_at, received_at, body, traceparent, tracestate";
        format!("insert into queue ({columns}) values {values}").into()
    })
});

const DELETE: &str = "delete from queue where seq in (select value from json_each(?1))";

/// A row of 32 KiB that comes and goes in one transaction: it fails where an event would.
const TRIAL: [&str; 2] = [
    "insert into queue (event_id, event_type, sent_at, received_at, body) values ('trial', 'trial', 1, 1, zeroblob(32768))",
    "delete from queue where seq = last_insert_rowid()",
];

/// An event that waits to be written.
pub(super) struct Publish {
    pub(super) event: SignedEvent,
    pub(super) answer: oneshot::Sender<Result<(), PublishError>>,
    /// Its share of what may wait in memory.
    pub(super) _room: OwnedSemaphorePermit,
}

/// Rows that wait to be deleted. Where that fails the lease is dropped, and they are handed out again.
pub(super) struct Ack {
    pub(super) lease: Lease,
    pub(super) answer: oneshot::Sender<Result<(), Unavailable>>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) file: QueueFile,
    /// Nothing after an error: the next transaction opens a new one, in which nothing is half done.
    pub(super) connection: Option<SqliteConnection>,
    pub(super) publishes: mpsc::Receiver<Publish>,
    pub(super) acks: mpsc::Receiver<Ack>,
    /// When to try again whether a publish would succeed, while the last one did not. A trial that succeeds does not
    /// reset the intervals: on a disk with little room left, trials and publishes could take turns.
    pub(super) trials: Backoff,
    pub(super) next_trial: Instant,
    /// Dropped when all is done.
    pub(super) ended: Option<watch::Sender<()>>,
}

impl Writer {
    /// Ends when the queue is closed, or when nobody is left who could publish or acknowledge.
    pub(super) async fn run(&mut self) {
        let (mut publishes, mut acks) =
            (Vec::with_capacity(GROUP_MAX), Vec::with_capacity(ACKS_MAX));
        let (mut publishing, mut acking, mut closing) = (true, true, false);
        // Each ends once it is closed, or all who could hand anything over are gone.
        while publishing || acking {
            let failing = self.shared.health.is_failing();
            tokio::select! {
                () = self.shared.closing.requested(), if !closing => {
                    closing = true;
                    self.publishes.close();
                    self.acks.close();
                }
                count = self.publishes.recv_many(&mut publishes, GROUP_MAX), if publishing => publishing = count > 0,
                count = self.acks.recv_many(&mut acks, ACKS_MAX), if acking => acking = count > 0,
                () = tokio::time::sleep_until(self.next_trial), if failing && publishing && !closing => {
                    self.try_out().await;
                    self.next_trial = Instant::now() + self.trials.next_interval();
                }
            }
            while let Some(publish) = room(&publishes, GROUP_MAX)
                .then(|| self.publishes.try_recv().ok())
                .flatten()
            {
                publishes.push(publish);
            }
            while let Some(ack) = room(&acks, ACKS_MAX)
                .then(|| self.acks.try_recv().ok())
                .flatten()
            {
                acks.push(ack);
            }
            self.commit(&mut publishes, &mut acks).await;
        }
        self.finish().await;
    }

    /// Writes a group and answers it. Leaves both empty.
    async fn commit(&mut self, publishes: &mut Vec<Publish>, acks: &mut Vec<Ack>) {
        // Whoever gave up waiting was promised nothing, and sends the event again.
        publishes.retain(|publish| !publish.answer.is_closed());
        if publishes.is_empty() && acks.is_empty() {
            return;
        }
        let seqs: Vec<i64> = acks
            .iter()
            .flat_map(|ack| ack.lease.seqs())
            .copied()
            .collect();
        let mut written = self.transaction(publishes, &seqs).await;
        match &written {
            Ok(None) => {}
            Ok(Some(_)) => {
                self.trials.reset();
                self.shared.health.good();
            }
            Err(error) => {
                if !self.shared.health.is_failing() {
                    self.next_trial = Instant::now() + self.trials.next_interval();
                }
                self.shared.health.failed(error);
            }
        }
        if !publishes.is_empty() {
            let answer = match &written {
                Ok(_) => Ok(()),
                Err(error) => Err(refusal(error)),
            };
            for publish in publishes.drain(..) {
                // An answer that nobody waits for is no loss: the event is stored or will come again.
                let _gone = publish.answer.send(answer);
            }
            match written {
                Ok(Some(newest)) => self.shared.ledger.published(newest),
                Err(_) if !acks.is_empty() => written = self.transaction(&[], &seqs).await,
                _ => {}
            }
        }
        let answer = written
            .map(drop)
            .map_err(|error| Unavailable::new(advice(&error)));
        for Ack {
            lease,
            answer: asked,
        } in acks.drain(..)
        {
            if answer.is_ok() {
                lease.settle();
            }
            let _gone = asked.send(answer.clone());
        }
    }

    /// All of it or none of it. The greatest `seq` of what was published, if anything was.
    async fn transaction(
        &mut self,
        publishes: &[Publish],
        seqs: &[i64],
    ) -> Result<Option<i64>, sqlx::Error> {
        let mut connection = self.connect().await?;
        execute(&mut connection, "begin immediate").await?;
        if !seqs.is_empty() {
            // First, so that the pages they free hold the new rows.
            sqlx::query(DELETE)
                .bind(as_json(seqs))
                .execute(&mut connection)
                .await?;
        }
        let newest = insert(&mut connection, publishes).await?;
        execute(&mut connection, "commit").await?;
        self.connection = Some(connection);
        Ok(newest)
    }

    /// Whether a publish would succeed.
    async fn try_out(&mut self) {
        let tried = async {
            let mut connection = self.connect().await?;
            execute(&mut connection, "begin immediate").await?;
            for statement in TRIAL {
                execute(&mut connection, statement).await?;
            }
            execute(&mut connection, "commit").await?;
            Ok(connection)
        };
        match tried.await {
            Ok(connection) => {
                self.connection = Some(connection);
                self.shared.health.good();
            }
            Err(error) => self.shared.health.failed(&error),
        }
    }

    /// The caller puts it back after a commit. Dropped instead, SQLite rolls back what was open.
    async fn connect(&mut self) -> Result<SqliteConnection, sqlx::Error> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.file.connect().await,
        }
    }

    /// Brings the log into the file, so that the file alone is the queue, and lets go of it.
    async fn finish(&mut self) {
        // Nobody may read while the log is cut, nor open the file again after it.
        self.shared.closing.request();
        self.shared.reader.lock().await.close().await;
        let closed = async {
            let mut connection = self.connect().await?;
            execute(&mut connection, "pragma wal_checkpoint(truncate)").await?;
            connection.close().await
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the queue file could not be closed in good order; nothing is lost");
        }
        self.shared.ledger.wake();
        self.ended = None;
    }
}

fn room<T>(group: &[T], most: usize) -> bool {
    group.len() < most
}

async fn execute(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<(), sqlx::Error> {
    sqlx::query(statement).execute(connection).await.map(drop)
}

/// The `seq` of the last row, if there is one.
async fn insert(
    connection: &mut SqliteConnection,
    mut publishes: &[Publish],
) -> Result<Option<i64>, sqlx::Error> {
    let mut last = None;
    for (rows, statement) in ROWS.iter().zip(INSERTS.iter()) {
        while let Some((now, later)) = publishes.split_at_checked(*rows) {
            let mut query = sqlx::query(AssertSqlSafe(statement.clone()));
            for Publish { event, .. } in now {
                #[cfg(test)]
                super::tests::meet_a_bug(event);
                query = query
                    .bind(event.id().as_str())
                    .bind(event.event_type().as_str())
                    .bind(event.sent_at().ms())
                    .bind(event.received_at().ms())
                    .bind(&event.body()[..])
                    .bind(event.trace().map(TraceContext::parent))
                    .bind(
                        event
                            .trace()
                            .map(TraceContext::state)
                            .filter(|state| !state.is_empty()),
                    );
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

/// The error of every publish in a transaction that failed.
fn refusal(error: &sqlx::Error) -> PublishError {
    match file::primary_code(error) {
        Some(file::FULL | file::IO_ERROR) => PublishError::Refused,
        _ => PublishError::Unavailable,
    }
}

/// What is in the way and what to do.
pub(super) fn advice(error: &sqlx::Error) -> &'static str {
    match file::primary_code(error) {
        Some(file::FULL) => "the disk of the queue file is full: make room on it",
        Some(file::IO_ERROR) => {
            "the queue file cannot be written to its disk: make room (quotas and limits of a file's size count too), or look for the disk in the system's log"
        }
        Some(file::READ_ONLY) => {
            "the queue file is read-only: give it back its permissions, or mount its disk for writing"
        }
        Some(file::CORRUPT | file::NOT_A_DATABASE) => {
            "the queue file is damaged: stop, keep it with its -wal file, and start again for what to do"
        }
        _ => {
            "the queue file cannot be written: check its disk, its permissions, and that no other program holds it"
        }
    }
}
