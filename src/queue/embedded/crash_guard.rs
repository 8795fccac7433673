//! Finds events that kill the process: the file stores whether the process that takes events shut
//! down in order, and if not, at which event it was.
//!
//! Without a delivery limit a poison event would kill every next process. RabbitMQ counts
//! deliveries. Here that would cost a write per batch, so nothing is counted until there is a
//! reason:
//!
//! - After `CRASHES_MAX` crashes in a row, the oldest events are isolated.
//! - An isolated event is leased while no other event is, and the file says which one it is. So the
//!   next crash was at this event, and counts against it.
//! - After `CRASHES_AT_EVENT_MAX` crashes it is a poison event: a dead letter, which is recorded as
//!   failed and not applied.
//! - Once all isolated events are done, or no event waits, the count of crashes starts again.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, Error};

use super::file::QueueFile;
use super::kept_connection::KeptConnection;

/// Crashes in a row that count as chance: power cuts, impatient operators.
const CRASHES_MAX: i64 = 3;

/// Crashes that count as chance though this event was isolated.
const CRASHES_AT_EVENT_MAX: i64 = 5;

/// How many events can be isolated, oldest first. Events are delivered in order, so those that were
/// in flight are among the oldest; this is more than can be in flight (`WORKER_BATCH` times
/// `WORKER_CONCURRENCY`, by default 1,000).
const ISOLATED_MAX: i64 = 20_000;

const FOUND: &str = "select running, unclean_ends, alone from session";

const START: &str = "update session set running = 1, unclean_ends = ?1, alone = null";

const CRASHED_AT: &str = "update queue set deaths = deaths + 1 where seq = ?1";

const POISON: &str = "select seq from queue where deaths >= ?1 order by seq";

const LAST_ISOLATED: &str = "select max(seq) from (select seq from queue order by seq limit ?1)";

const ISOLATE: &str = "update session set alone = ?1";

const FORGET: &str = "update session set unclean_ends = 0, alone = null";

const SHUT_DOWN: &str = "update session set running = 0, unclean_ends = 0, alone = null";

/// The guard of this process.
pub struct CrashGuard {
    file: QueueFile,
    /// Kept while events are isolated: each is written.
    connection: KeptConnection,
    /// Set before the file says so: a call that is dropped in between must not prevent the write at
    /// the shutdown.
    is_running: bool,
    has_started: bool,
    /// Whether the file still counts crashes before this process.
    has_crashes: bool,
}

/// What earlier crashes show.
#[derive(Debug, PartialEq, Eq)]
pub struct CrashFindings {
    /// Every row up to this `seq` is to be isolated; `None` if no row is.
    pub isolated_up_to: Option<i64>,
    /// The rows that are dead letters.
    pub poison: Vec<i64>,
}

impl CrashGuard {
    pub fn new(file: QueueFile) -> Self {
        Self {
            connection: KeptConnection::writer(file.clone(), None),
            file,
            is_running: false,
            has_started: false,
            has_crashes: false,
        }
    }

    /// Starts when the first event is asked for: a process that only publishes does not count.
    /// `None` if it has started.
    pub async fn start(&mut self) -> Result<Option<CrashFindings>, Error> {
        if self.has_started {
            return Ok(None);
        }
        self.is_running = true;
        let mut connection = self.file.connect().await?;
        let mut transaction = connection.begin_with("begin immediate").await?;
        let (was_running, before, isolated): (bool, i64, Option<i64>) =
            sqlx::query_as(FOUND).fetch_one(&mut *transaction).await?;
        let crashes = if was_running { before + 1 } else { 0 };
        if let Some(seq) = isolated.filter(|_| was_running) {
            run(&mut transaction, CRASHED_AT, seq).await?;
        }
        run(&mut transaction, START, crashes).await?;
        let poison: Vec<i64> = sqlx::query_scalar(POISON)
            .bind(CRASHES_AT_EVENT_MAX)
            .fetch_all(&mut *transaction)
            .await?;
        let mut isolated_up_to = None;
        if crashes >= CRASHES_MAX {
            isolated_up_to = sqlx::query_scalar(LAST_ISOLATED)
                .bind(ISOLATED_MAX)
                .fetch_one(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        connection.close().await?;
        (self.has_started, self.has_crashes) = (true, crashes > 0);
        if isolated_up_to.is_some() {
            tracing::warn!(
                unclean_ends = crashes,
                "the process crashed again and again; the oldest events are isolated, to find the one that causes it"
            );
        }
        Ok(Some(CrashFindings {
            isolated_up_to,
            poison,
        }))
    }

    /// Writes which isolated row is leased, before it is.
    pub async fn isolate(&mut self, seq: i64) -> Result<(), Error> {
        let mut connection = self.connection.take().await?;
        run(&mut connection, ISOLATE, seq).await?;
        self.connection.keep(connection);
        Ok(())
    }

    /// Forgets earlier crashes. Writes nothing if there were none.
    pub async fn forget(&mut self) -> Result<(), Error> {
        if self.has_crashes {
            self.write_last(FORGET).await?;
            self.has_crashes = false;
        }
        Ok(())
    }

    pub fn has_crashes(&self) -> bool {
        self.has_crashes
    }

    /// Shuts down in order.
    pub async fn shut_down(&mut self) -> Result<(), Error> {
        if self.is_running {
            self.write_last(SHUT_DOWN).await?;
            (self.is_running, self.has_started) = (false, false);
        }
        Ok(())
    }

    async fn write_last(&mut self, statement: &'static str) -> Result<(), Error> {
        let mut connection = self.connection.take().await?;
        sqlx::query(statement).execute(&mut connection).await?;
        connection.close().await
    }
}

async fn run(
    connection: &mut SqliteConnection,
    statement: &'static str,
    value: i64,
) -> Result<(), Error> {
    let query = sqlx::query(statement).bind(value);
    query.execute(connection).await.map(drop)
}
