//! The one connection that reads the queue file, and how a row is read.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row};

use super::crash_guard::CrashGuard;
use super::file::QueueFile;
use super::kept_connection::KeptConnection;
use crate::clerk::{EventId, EventType, SignedEvent, Timestamp, TraceContext};
use crate::queue::batch::BATCH_BYTES_MAX;

const NEW: &str = "select seq, event_id, event_type, sent_at, received_at, body, traceparent, tracestate from queue
     where seq > ?1 order by seq limit ?2";

const THESE: &str = "select seq, event_id, event_type, sent_at, received_at, body, traceparent, tracestate from queue
     where seq in (select value from json_each(?1)) order by seq limit ?2";

/// Reads for all consumers, one at a time.
pub struct Reader {
    connection: KeptConnection,
    pub crash_guard: CrashGuard,
}

/// Rows, in the order of `seq`.
#[derive(Default)]
pub struct RowsRead {
    /// `None` if the row was altered and cannot be read.
    pub rows: Vec<(i64, Option<SignedEvent>)>,
    /// Whether the limit of bytes ended the read: there may be more.
    pub is_cut: bool,
}

impl Reader {
    pub fn new(file: QueueFile) -> Self {
        Self {
            crash_guard: CrashGuard::new(file.clone()),
            connection: KeptConnection::reader(file),
        }
    }

    pub async fn close(&mut self) {
        let closed = async {
            self.crash_guard.shut_down().await?;
            self.connection.close().await
        };
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the queue file could not be closed in order; nothing is lost");
        }
    }

    /// How many rows wait.
    pub async fn depth(&mut self) -> Result<u64, Error> {
        let events = self.number("select events from depth").await?;
        Ok(events
            .and_then(|events| events.try_into().ok())
            .unwrap_or(0))
    }

    /// When the oldest row was received; `None` if no row waits.
    pub async fn oldest_received_at(&mut self) -> Result<Option<Timestamp>, Error> {
        let oldest = "select received_at from queue order by seq limit 1";
        Ok(self.number(oldest).await?.and_then(Timestamp::from_ms))
    }

    async fn number(&mut self, sql: &'static str) -> Result<Option<i64>, Error> {
        let mut connection = self.connection.take().await?;
        let query = sqlx::query_scalar(sql);
        let number = query.fetch_optional(&mut connection).await?;
        self.connection.keep(connection);
        Ok(number)
    }

    /// Rows after `seq`.
    pub async fn read_new(&mut self, seq: i64, count: usize) -> Result<RowsRead, Error> {
        self.read(NEW, seq, count).await
    }

    /// These rows.
    pub async fn read_these(&mut self, seqs: &[i64]) -> Result<RowsRead, Error> {
        self.read(THESE, as_json(seqs), seqs.len()).await
    }

    async fn read<'q, T>(
        &mut self,
        sql: &'static str,
        which: T,
        count: usize,
    ) -> Result<RowsRead, Error>
    where
        T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'q,
    {
        let mut connection = self.connection.take().await?;
        let (mut read, mut bytes) = (RowsRead::default(), 0);
        let query = sqlx::query(sql)
            .bind(which)
            .bind(i64::try_from(count).unwrap_or(i64::MAX));
        let mut rows = query.fetch(&mut connection);
        while let Some(row) = rows.try_next().await? {
            let (seq, event) = (row.try_get(0)?, event(&row));
            if event.is_none() {
                tracing::error!(
                    seq,
                    "a row of the queue file was altered and cannot be read; it stays there, fix or delete it"
                );
            }
            bytes += event.as_ref().map_or(0, |event| event.body().len());
            read.rows.push((seq, event));
            if bytes >= BATCH_BYTES_MAX {
                read.is_cut = true;
                break;
            }
        }
        drop(rows);
        self.connection.keep(connection);
        Ok(read)
    }
}

fn event(row: &SqliteRow) -> Option<SignedEvent> {
    let text = |column: usize| row.try_get::<Option<&str>, _>(column).ok().flatten();
    let time = |column: usize| Timestamp::from_ms(row.try_get(column).ok()?);
    let trace = text(6).and_then(|parent| TraceContext::new(parent, text(7).unwrap_or("")));
    let event = SignedEvent::restored(
        EventId::new(text(1)?)?,
        EventType::named(text(2)?),
        time(3)?,
        time(4)?,
        Bytes::from(row.try_get::<Vec<u8>, _>(5).ok()?),
    );
    Some(event.with_trace(trace))
}

/// A list of numbers for SQLite's `json_each`: one statement for any length.
pub fn as_json(seqs: &[i64]) -> String {
    let numbers: Vec<String> = seqs.iter().map(i64::to_string).collect();
    format!("[{}]", numbers.join(","))
}
