//! The queue on SQLite: one file, for one serving process. Other processes may publish into it.
//!
//! - A publish returns after the commit, and a commit is on disk: a confirmed event is there after
//!   a kill.
//! - One task writes (`writer.rs`), all others hand it what to write. `in_flight.rs` knows which
//!   rows are leased.
//! - A row leaves the file only by an acknowledgement.
//! - An event that kills the process again and again is found and becomes a dead letter
//!   (`crash_guard.rs`).
//! - The file must be on a local disk: SQLite's write-ahead log needs memory that all its processes
//!   share.

mod consumer;
mod crash_guard;
mod directory_lock;
mod file;
pub(super) mod in_flight;
mod kept_connection;
mod reader;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::batch::Source;
use super::error::{OpenError, PublishError, Unavailable};
use crate::backoff::Backoff;
use crate::clerk::{SignedEvent, Timestamp};
use crate::tasks;

pub use consumer::Consumer;
pub use directory_lock::DirectoryLock;
pub use file::FileInspection;

use file::QueueFile;
use kept_connection::KeptConnection;
use reader::Reader;
use shared::{Shared, advice};
use writer::{Ack, Publish, Writer};

/// Most events that wait for the writer. It writes more than this per second; a sender that would
/// wait longer had better try again.
const WAITING_MAX: usize = 2048;

/// Most bytes of bodies that wait for the writer: 64 MiB. One larger body is accepted when nothing
/// else waits.
const WAITING_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Batches whose acknowledgement waits for the writer: more than there are consumers.
const ACKS_WAITING_MAX: usize = 64;

/// Where the queue is.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file, `DATA_DIR/queue.db`. SQLite keeps two more beside it while it is open, `-wal` and
    /// `-shm`: they belong to it.
    pub path: PathBuf,
}

/// A handle on the open queue. Clones share it.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
    publishes: mpsc::Sender<Publish>,
    acks: mpsc::Sender<Ack>,
    /// Memory for bodies, in bytes.
    memory: Arc<Semaphore>,
    /// Fails once the writer has ended.
    ended: watch::Receiver<()>,
}

/// Inspects the file without creating or changing it.
///
/// # Errors
/// Fails for a file that is not a usable queue.
pub async fn inspect(options: &Options) -> Result<FileInspection, OpenError> {
    QueueFile::at(&options.path).inspect().await
}

/// The ID of the file; `None` if there is no queue yet. Creates and changes nothing.
///
/// # Errors
/// Fails for a file that is not a usable queue.
pub async fn identity(options: &Options) -> Result<Option<String>, OpenError> {
    Ok(inspect(options).await?.id)
}

impl Queue {
    /// Opens the file; creates it if it is missing. Needs no lock: a process that takes events
    /// holds a `DirectoryLock` too.
    ///
    /// # Errors
    /// Fails for a file that is not a usable queue.
    pub async fn open(options: &Options) -> Result<Self, OpenError> {
        Self::open_file(QueueFile::at(&options.path)).await
    }

    async fn open_file(file: QueueFile) -> Result<Self, OpenError> {
        let connection = file.prepare().await?;
        let (publishes, publishes_in) = mpsc::channel(WAITING_MAX);
        let (acks, acks_in) = mpsc::channel(ACKS_WAITING_MAX);
        let (ending, ended) = watch::channel(());
        let shared = Shared::new(file.clone());
        watch_writer(Writer {
            shared: shared.clone(),
            connection: KeptConnection::writer(file, Some(connection)),
            publishes: publishes_in,
            acks: acks_in,
            trials: Backoff::for_repair(),
            next_trial: tokio::time::Instant::now(),
            ended: Some(ending),
        });
        Ok(Self {
            shared,
            publishes,
            acks,
            memory: Arc::new(Semaphore::new(WAITING_BYTES_MAX as usize)),
            ended,
        })
    }

    /// See `queue::Queue::publish`.
    ///
    /// # Errors
    /// Returns `Busy` at once if too much waits already.
    pub async fn publish(&self, event: SignedEvent) -> Result<(), PublishError> {
        let bytes = u32::try_from(event.body().len()).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.memory);
        let memory = memory.try_acquire_many_owned(bytes.min(WAITING_BYTES_MAX));
        let _memory = memory.map_err(|_| PublishError::Busy)?;
        let (answer, answered) = oneshot::channel();
        let publish = Publish {
            event,
            answer,
            _memory,
        };
        let handed_over = self.publishes.try_send(publish);
        handed_over.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => PublishError::Busy,
            mpsc::error::TrySendError::Closed(_) => PublishError::Unavailable,
        })?;
        answered.await.unwrap_or(Err(PublishError::Unavailable))
    }

    /// See `queue::Queue::consume`.
    pub fn consume(&self, source: Source, batch_max: NonZeroUsize) -> Consumer {
        Consumer::new(self.shared.clone(), self.acks.clone(), source, batch_max)
    }

    /// How many events are not acknowledged, those in flight too. Takes the same time for any
    /// number.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub async fn depth(&self) -> Result<u64, Unavailable> {
        let mut reader = self.reader().await?;
        reader.depth().await.map_err(unavailable)
    }

    /// See `queue::Queue::oldest_received_at`.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub async fn oldest_received_at(&self) -> Result<Option<Timestamp>, Unavailable> {
        let mut reader = self.reader().await?;
        reader.oldest_received_at().await.map_err(unavailable)
    }

    async fn reader(&self) -> Result<tokio::sync::MutexGuard<'_, Reader>, Unavailable> {
        let reader = self.shared.reader.lock().await;
        if self.shared.closing.is_requested() {
            return Err(Unavailable::new("the queue is closed"));
        }
        Ok(reader)
    }

    /// Whether the last write succeeded.
    ///
    /// # Errors
    /// Returns the reason if it did not.
    pub fn ready(&self) -> Result<(), Unavailable> {
        if self.publishes.is_closed() {
            return Err(Unavailable::new("the queue is closed"));
        }
        self.shared.health.get()
    }

    /// Writes what waits, then closes the file. Consumers get no more events; their events in
    /// flight are delivered again after the next start.
    pub async fn close(&self) {
        self.shared.closing.request();
        self.shared.in_flight.wake();
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
    }
}

fn unavailable(error: sqlx::Error) -> Unavailable {
    Unavailable::new(advice(&error))
}

/// Runs the writer until it is no longer needed. A panic drops the current group: its events are
/// refused, its rows are delivered again.
fn watch_writer(writer: Writer) {
    let (working, dying) = (Arc::clone(&writer.shared), Arc::clone(&writer.shared));
    let writer = Arc::new(tokio::sync::Mutex::new(writer));
    let work = move || {
        let writer = Arc::clone(&writer);
        async move { writer.lock().await.run().await }
    };
    let died = move || dying.health.panicked();
    // The writer returns only after `close`, which marks the queue as closing.
    let is_asked_to_end = move || working.closing.is_requested();
    tasks::brief(tasks::restarted(
        "writer of the queue file",
        is_asked_to_end,
        died,
        work,
    ));
}
