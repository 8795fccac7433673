//! What the file says of the process that takes events: whether it ended in good order, and if not, at which event.
//!
//! Without a delivery limit an event that kills the process would do so for ever. RabbitMQ counts deliveries. Here that
//! would cost a write a batch, so nothing is counted until there is a reason:
//!
//! - After `UNCLEAN_ENDS_MAX` ends in a row that were not in good order, the oldest events are suspects.
//! - A suspect is handed out while no other event is, and the file says which one it is. So an end that follows was at this
//!   event, and counts as a death against it.
//! - After `DEATHS_MAX` deaths it is lethal: a dead letter, which is recorded as failed and applied no more.
//! - Once no suspect is left, or nothing waits, the count of unclean ends starts anew.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::file::QueueFile;

/// Unclean ends in a row that are taken for chance: power cuts, impatient operators.
const UNCLEAN_ENDS_MAX: i64 = 3;

/// Deaths of the process that are taken for chance though this event was alone in hand.
const DEATHS_MAX: i64 = 5;

/// How many events can be suspects, oldest first. Events are handed out in order, so those that were in hand are among
/// the oldest; this is more than can be in hand (`WORKER_BATCH` times `WORKER_CONCURRENCY`, by default 1,000).
const SUSPECTS_MAX: i64 = 20_000;

const FOUND: &str = "select running, unclean_ends, alone from session";

const BEGIN: &str = "update session set running = 1, unclean_ends = ?1, alone = null";

const DIED: &str = "update queue set deaths = deaths + 1 where seq = ?1";

const LETHAL: &str = "select seq from queue where deaths >= ?1 order by seq";

const LAST_SUSPECT: &str = "select max(seq) from (select seq from queue order by seq limit ?1)";

const ALONE: &str = "update session set alone = ?1";

const CLEARED: &str = "update session set unclean_ends = 0, alone = null";

const END: &str = "update session set running = 0, unclean_ends = 0, alone = null";

/// The session of this process.
pub(super) struct Session {
    file: QueueFile,
    /// Kept while there are suspects: each is written down. Nothing after an error.
    connection: Option<SqliteConnection>,
    /// Set before the file says so, lest a call that is dropped in between leave it unsaid that the end was in good order.
    is_open: bool,
    has_begun: bool,
    /// Whether the file still counts unclean ends before this process.
    has_unclean_ends: bool,
}

/// What a session begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    /// Every row up to this `seq` is a suspect.
    pub(super) last_suspect: Option<i64>,
    /// The rows that are dead letters.
    pub(super) lethal: Vec<i64>,
}

impl Session {
    pub(super) fn new(file: QueueFile) -> Self {
        Self {
            file,
            connection: None,
            is_open: false,
            has_begun: false,
            has_unclean_ends: false,
        }
    }

    /// Begins when the first event is asked for: a process that only publishes has no session. Nothing if it has begun.
    pub(super) async fn begin(&mut self) -> Result<Option<Beginning>, sqlx::Error> {
        if self.has_begun {
            return Ok(None);
        }
        self.is_open = true;
        let mut connection = self.file.connect().await?;
        let mut transaction = connection.begin_with("begin immediate").await?;
        let (was_running, before, alone): (bool, i64, Option<i64>) =
            sqlx::query_as(FOUND).fetch_one(&mut *transaction).await?;
        let unclean_ends = if was_running { before + 1 } else { 0 };
        if let Some(seq) = alone.filter(|_| was_running) {
            sqlx::query(DIED)
                .bind(seq)
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(BEGIN)
            .bind(unclean_ends)
            .execute(&mut *transaction)
            .await?;
        let lethal: Vec<i64> = sqlx::query_scalar(LETHAL)
            .bind(DEATHS_MAX)
            .fetch_all(&mut *transaction)
            .await?;
        let mut last_suspect = None;
        if unclean_ends >= UNCLEAN_ENDS_MAX {
            last_suspect = sqlx::query_scalar(LAST_SUSPECT)
                .bind(SUSPECTS_MAX)
                .fetch_one(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        connection.close().await?;
        (self.has_begun, self.has_unclean_ends) = (true, unclean_ends > 0);
        if last_suspect.is_some() {
            tracing::warn!(
                unclean_ends,
                "the process was ended by force again and again; the oldest events are taken one at a time, to find the one that does it"
            );
        }
        Ok(Some(Beginning {
            last_suspect,
            lethal,
        }))
    }

    /// Writes down, before it is handed out, which suspect will be in hand.
    pub(super) async fn has_alone(&mut self, seq: i64) -> Result<(), sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.connect().await?,
        };
        sqlx::query(ALONE)
            .bind(seq)
            .execute(&mut connection)
            .await?;
        self.connection = Some(connection);
        Ok(())
    }

    /// To be said when no suspect is left. Writes nothing where nothing was counted.
    pub(super) async fn cleared(&mut self) -> Result<(), sqlx::Error> {
        if self.has_unclean_ends {
            self.write_last(CLEARED).await?;
            self.has_unclean_ends = false;
        }
        Ok(())
    }

    pub(super) fn has_unclean_ends(&self) -> bool {
        self.has_unclean_ends
    }

    /// Ends in good order.
    pub(super) async fn end(&mut self) -> Result<(), sqlx::Error> {
        if self.is_open {
            self.write_last(END).await?;
            (self.is_open, self.has_begun) = (false, false);
        }
        Ok(())
    }

    async fn write_last(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.file.connect().await?,
        };
        sqlx::query(statement).execute(&mut connection).await?;
        connection.close().await
    }
}
