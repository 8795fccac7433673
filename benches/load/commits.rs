//! When each transaction of a PostgreSQL server became visible to others, seen from outside.
//!
//! `events.processed_at` is the time at which a statement began, so it says nothing of the commit.
//! Here a connection of its own asks for `pg_current_snapshot()` again and again: a transaction has
//! committed in the first snapshot that holds it as ended. The time counted is that at which the
//! answer was read, so a figure is too large by up to one interval and never too small. Afterwards
//! `xmin` of a row names the transaction that wrote it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use hdrhistogram::Histogram;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Row};

use crate::traffic::{Sent, micros};

/// What is sampled: often if milliseconds count, rarely if the processor is busy.
#[derive(Clone, Copy)]
pub enum Sight {
    Fine,
    Coarse,
}

impl Sight {
    fn interval(self) -> Duration {
        match self {
            Self::Fine => Duration::from_micros(200),
            Self::Coarse => Duration::from_millis(4),
        }
    }
}

/// Watches until it is stopped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<anyhow::Result<Vec<Seen>>>,
}

struct Seen {
    at: Instant,
    /// Every transaction from this one on has not begun.
    next: u64,
    /// Those before it that have not ended.
    running: Vec<u64>,
}

impl Watch {
    pub fn start(server: &PgConnectOptions, sight: Sight) -> Self {
        let (stop, server) = (Arc::new(AtomicBool::new(false)), server.clone());
        let stopped = Arc::clone(&stop);
        let seen = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(look_on(server, sight, &stopped))
        });
        Self { stop, seen }
    }

    /// When each transaction that ended meanwhile was seen to have ended, by the lower 32 bits of
    /// its number.
    pub fn stop(self) -> anyhow::Result<Ended> {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self
            .seen
            .join()
            .map_err(|_| anyhow!("the watch over commits broke"))?;
        Ok(Ended::of(&seen.context("commits could not be watched")?))
    }
}

async fn look_on(
    server: PgConnectOptions,
    sight: Sight,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Seen>> {
    let mut connection = server.connect().await?;
    let (mut seen, mut before) = (Vec::new(), String::new());
    while !stop.load(Ordering::Relaxed) {
        let row = sqlx::query("select pg_current_snapshot()::text")
            .fetch_one(&mut connection)
            .await?;
        let at = Instant::now();
        let text: String = row.try_get(0)?;
        if text != before {
            seen.push(
                Seen::read(at, &text)
                    .with_context(|| format!("a snapshot of another form: {text}"))?,
            );
            before = text;
        }
        std::thread::sleep(sight.interval());
    }
    connection.close().await?;
    Ok(seen)
}

impl Seen {
    /// `xmin:xmax:xip,xip`.
    fn read(at: Instant, text: &str) -> Option<Self> {
        let mut parts = text.split(':').skip(1);
        let next = parts.next()?.parse().ok()?;
        let running = parts
            .next()?
            .split(',')
            .filter(|xid| !xid.is_empty())
            .map(|xid| xid.parse().ok());
        Some(Self {
            at,
            next,
            running: running.collect::<Option<_>>()?,
        })
    }
}

pub struct Ended(HashMap<u32, Instant>);

impl Ended {
    fn of(seen: &[Seen]) -> Self {
        let mut ended = HashMap::new();
        let Some(first) = seen.first() else {
            return Self(ended);
        };
        let mut running: BTreeSet<u64> = first.running.iter().copied().collect();
        let mut next = first.next;
        for look in &seen[1..] {
            running.extend(next..look.next);
            next = look.next;
            let still: BTreeSet<u64> = look.running.iter().copied().collect();
            for xid in running.difference(&still) {
                ended.insert(*xid as u32, look.at);
            }
            running = still;
        }
        Self(ended)
    }

    /// From due to committed, of those whose transaction is known; `wrote` says which transaction
    /// wrote the row of each.
    pub fn lag(&self, sent: &[Sent], wrote: &HashMap<String, u32>) -> Lag {
        let mut lag = Lag {
            micros: micros(),
            missing: 0,
        };
        for Sent { id, due } in sent {
            match wrote.get(id).and_then(|xid| self.0.get(xid)) {
                Some(at) => lag.micros.saturating_record(
                    u64::try_from(at.saturating_duration_since(*due).as_micros())
                        .unwrap_or(u64::MAX),
                ),
                None => lag.missing += 1,
            }
        }
        lag
    }

    /// How many rows a second were committed between the first transaction and the last, without
    /// those of the first.
    pub fn rate(&self, rows: &[u32]) -> anyhow::Result<f64> {
        let mut by_time: BTreeMap<Instant, u64> = BTreeMap::new();
        for xid in rows {
            *by_time
                .entry(
                    *self
                        .0
                        .get(xid)
                        .context("a transaction was not seen to end")?,
                )
                .or_default() += 1;
        }
        let (first, last) = (by_time.first_key_value(), by_time.last_key_value());
        let (Some((first, in_first)), Some((last, _))) = (first, last) else {
            return Ok(0.0);
        };
        let rest = rows.len() as u64 - in_first;
        Ok(rest as f64 / (*last - *first).as_secs_f64())
    }
}

/// From due to committed.
pub struct Lag {
    pub micros: Histogram<u64>,
    /// Rows that are not there.
    pub missing: u64,
}

impl Lag {
    pub fn ms(&self, percentile: f64) -> f64 {
        self.micros.value_at_quantile(percentile / 100.0) as f64 / 1000.0
    }
}
