//! The queue on SQLite: one file, for one serving process. Other processes may publish into it.
//!
//! - A publish returns after the commit, and a commit is on disk: what was acknowledged is there after a kill.
//! - One task writes (`writer.rs`), everybody else hands it what to write. `ledger.rs` knows which rows are with whom.
//! - A row leaves the file only by an acknowledgement.
//! - What kills the process again and again is found and becomes a dead letter (`session.rs`).
//! - The file must lie on a local disk: SQLite's write-ahead log needs memory that all its processes share.

mod consumer;
mod crash_guard;
mod directory_lock;
mod file;
pub(super) mod in_flight;
#[cfg(test)]
mod tests;
mod writer;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::batch::Source;
use super::error::{OpenError, PublishError, Unavailable};
use crate::backoff::Backoff;
use crate::clerk::{SignedEvent, Timestamp};
use crate::shutdown::Shutdown;
use crate::tasks;

pub use consumer::Consumer;
pub use directory_lock::DirectoryLock;
pub use file::FileInspection;

use consumer::Reader;
use file::QueueFile;
use in_flight::Ledger;
use writer::{Publish, Writer};

/// Most events that wait for the writer. It writes more than this in a second; a sender who would wait longer is better
/// told to come again.
const WAITING_MAX: usize = 2048;

/// Most bytes of bodies that wait for the writer: 64 MiB. One larger body is taken when nothing else waits.
const WAITING_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Batches whose acknowledgement waits for the writer: more than there are consumers.
const ACKS_WAITING_MAX: usize = 64;

/// Where the queue lies. Plain data.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file, `DATA_DIR/queue.db`. SQLite keeps two more beside it while it is open, `-wal` and `-shm`: they belong
    /// to it.
    pub path: PathBuf,
}

/// A handle on the open queue. Clones share it.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
    publishes: mpsc::Sender<Publish>,
    acks: mpsc::Sender<writer::Ack>,
    /// Room in memory for bodies, in bytes.
    room: Arc<Semaphore>,
    /// Fails once the writer has ended.
    ended: watch::Receiver<()>,
}

/// What the file is like, asked without making or changing it.
pub async fn inspect(options: &Options) -> Result<FileInspection, OpenError> {
    QueueFile::at(&options.path).inspect().await
}

/// The ID of the file, asked without making or changing it; `None` if there is no queue yet.
pub async fn identity(options: &Options) -> Result<Option<String>, OpenError> {
    QueueFile::at(&options.path).identity().await
}

/// What the handles, the consumers and the writer have in common.
struct Shared {
    ledger: Arc<Ledger>,
    reader: tokio::sync::Mutex<Reader>,
    health: Health,
    closing: Shutdown,
}

impl Queue {
    /// Opens the file; makes it where it is missing. Fails where it is not a queue that this program can use.
    ///
    /// Needs no lock: who hands out events holds a `DirectoryLock` beside it.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        Self::open_file(QueueFile::at(&options.path)).await
    }

    async fn open_file(file: QueueFile) -> Result<Self, OpenError> {
        let connection = file.prepare().await?;
        let (publishes, publishes_in) = mpsc::channel(WAITING_MAX);
        let (acks, acks_in) = mpsc::channel(ACKS_WAITING_MAX);
        let (ending, ended) = watch::channel(());
        let shared = Arc::new(Shared {
            ledger: Ledger::new(),
            reader: Reader::new(file.clone()),
            health: Health::default(),
            closing: Shutdown::default(),
        });
        let writer = Writer {
            shared: shared.clone(),
            file,
            connection: Some(connection),
            publishes: publishes_in,
            acks: acks_in,
            trials: Backoff::for_repair(),
            next_trial: tokio::time::Instant::now(),
            ended: Some(ending),
        };
        watch_writer(writer);
        Ok(Self {
            shared,
            publishes,
            acks,
            room: Arc::new(Semaphore::new(WAITING_BYTES_MAX as usize)),
            ended,
        })
    }

    /// See `queue::Queue::publish`. Says `Busy` at once where too much waits already.
    pub async fn publish(&self, event: SignedEvent) -> Result<(), PublishError> {
        let bytes = u32::try_from(event.body().len())
            .unwrap_or(u32::MAX)
            .min(WAITING_BYTES_MAX);
        let room = self
            .room
            .clone()
            .try_acquire_many_owned(bytes)
            .map_err(|_| PublishError::Busy)?;
        let (answer, answered) = oneshot::channel();
        self.publishes
            .try_send(Publish {
                event,
                answer,
                _room: room,
            })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => PublishError::Busy,
                mpsc::error::TrySendError::Closed(_) => PublishError::Unavailable,
            })?;
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    pub fn consume(&self, source: Source, batch_max: NonZeroUsize) -> Consumer {
        Consumer::new(self.shared.clone(), self.acks.clone(), source, batch_max)
    }

    /// How many events are not acknowledged, those in the hands of a consumer too. Does not depend on how many there are.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        let mut reader = self.shared.reader.lock().await;
        if self.shared.closing.is_requested() {
            return Err(Unavailable::new("the queue is closed"));
        }
        reader
            .depth()
            .await
            .map_err(|error| Unavailable::new(writer::advice(&error)))
    }

    pub async fn oldest_received_at(&self) -> Result<Option<Timestamp>, Unavailable> {
        let mut reader = self.shared.reader.lock().await;
        if self.shared.closing.is_requested() {
            return Err(Unavailable::new("the queue is closed"));
        }
        reader
            .oldest_received_at()
            .await
            .map_err(|error| Unavailable::new(writer::advice(&error)))
    }

    /// What the last write came to.
    pub fn ready(&self) -> Result<(), Unavailable> {
        if self.publishes.is_closed() {
            return Err(Unavailable::new("the queue is closed"));
        }
        self.shared.health.get()
    }

    /// Writes what waits, then closes the file. Consumers get nothing more, and what they have is handed out again after
    /// the next start.
    pub async fn close(&self) {
        self.shared.closing.request();
        self.shared.ledger.wake();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

/// Runs the writer until nobody needs it. A panic drops the group that it met: its events are refused, its receipts are handed
/// out again.
fn watch_writer(writer: Writer) {
    let shared = Arc::clone(&writer.shared);
    let writer = Arc::new(tokio::sync::Mutex::new(writer));
    let work = move || {
        let writer = Arc::clone(&writer);
        async move { writer.lock().await.run().await }
    };
    let died = {
        let shared = Arc::clone(&shared);
        move || {
            _ = shared.health.set(Some(
                "its writer met a bug of clerk-sync, and starts again within a minute: report it",
            ))
        }
    };
    // The writer returns only after `finish`, which marks the queue as closing.
    let is_asked_to_end = move || shared.closing.is_requested();
    tasks::brief(tasks::restarted(
        "writer of the queue file",
        is_asked_to_end,
        died,
        work,
    ));
}

/// Whether the last write succeeded.
#[derive(Default)]
struct Health(Mutex<Option<&'static str>>);

impl Health {
    fn get(&self) -> Result<(), Unavailable> {
        self.fault()
            .map_or(Ok(()), |fault| Err(Unavailable::new(fault)))
    }

    fn is_failing(&self) -> bool {
        self.fault().is_some()
    }

    fn good(&self) {
        if self.set(None).is_some() {
            tracing::info!("the queue file can be written again");
        }
    }

    /// Logs the beginning of a fault, not every event that meets it.
    fn failed(&self, error: &sqlx::Error) {
        let advice = writer::advice(error);
        if self.set(Some(advice)) != Some(advice) {
            tracing::error!(%error, "events are refused, and Clerk sends them again: {advice}");
        }
    }

    fn fault(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, fault: Option<&'static str>) -> Option<&'static str> {
        std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            fault,
        )
    }
}
