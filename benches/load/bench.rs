//! The shared state of a run, and the search for the highest rate that holds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use lapin::{Channel, Connection};
use sqlx::Row;

use crate::commits::{Lag, Sight, Watch};
use crate::crowd::Crowd;
use crate::figures::Figures;
use crate::place::{Database, Place};
use crate::program::{Program, Samples};
use crate::traffic::{Keep, Load, Pace, Tally};

/// Connections of a closed load.
pub const CONNECTIONS: usize = 64;

/// Connections of an open load: more than can be busy while the lag is bounded.
const OPEN_CONNECTIONS: usize = 256;

/// The lag is bounded while the 99th percentile is below this, in milliseconds.
const LAG_MAX_MS: f64 = 500.0;

/// Fewer than this say nothing of a 99th percentile.
const LAGS_MIN: u64 = 100;

/// A search ends when what holds and what does not are this close.
const CLOSE_ENOUGH: f64 = 1.06;

/// Longest wait for rows that should come.
const ROWS_TIMEOUT: Duration = Duration::from_secs(120);

/// How long and how large everything is.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub rounds: u32,
    /// Of a closed load, and of a limit.
    pub short: Duration,
    /// Of a load at a fixed rate whose latency is looked at.
    pub latency: Duration,
    /// Of one step in a search for the highest rate that holds.
    pub probe: Duration,
    /// Of the proof that it holds, in the first round.
    pub sustained: Duration,
    /// In the rounds after that.
    pub sustained_again: Duration,
    pub backlog: u32,
    /// Where only two sides are compared by it.
    pub backlog_compared: u32,
    pub users: u32,
    pub many_users: u32,
    /// Users in Clerk's list, for a backfill.
    pub listed_users: u32,
}

impl Scale {
    pub const FULL: Self = Self {
        rounds: 3,
        short: Duration::from_secs(4),
        latency: Duration::from_secs(8),
        probe: Duration::from_secs(5),
        sustained: Duration::from_secs(60),
        sustained_again: Duration::from_secs(15),
        backlog: 100_000,
        backlog_compared: 40_000,
        users: 5000,
        many_users: 1_000_000,
        listed_users: 100_000,
    };

    /// For trying: the figures are rough.
    pub const QUICK: Self = Self {
        rounds: 1,
        short: Duration::from_secs(3),
        latency: Duration::from_secs(4),
        probe: Duration::from_secs(3),
        sustained: Duration::from_secs(6),
        sustained_again: Duration::from_secs(6),
        backlog: 20_000,
        backlog_compared: 10_000,
        users: 5000,
        many_users: 50_000,
        listed_users: 20_000,
    };
}

pub struct Bench {
    pub scale: Scale,
    /// Makes the IDs of this run's events unique.
    pub run: u64,
    pub round: u32,
    pub place: Place,
    pub crowd: Arc<Crowd>,
    pub database: Database,
    pub broker: (Connection, Channel),
    pub figures: Figures,
    /// Made when it is first wanted, since it takes its time.
    pub many: Option<(Database, Arc<Crowd>)>,
    /// The database that a backfill fills.
    pub filled: Option<Database>,
    /// The rate from which a search begins: what an earlier round found.
    pub found: HashMap<String, f64>,
}

/// Where a run was before it went to another broker.
pub struct Before {
    place: Place,
    broker: (Connection, Channel),
}

/// The result of an offered rate.
pub struct Offered {
    pub tally: Tally,
    pub lag: Lag,
    pub usage: Samples,
    /// Processor time of the servers for each event, until everything was committed.
    pub broker_us: Option<f64>,
    pub postgresql_us: Option<f64>,
}

impl Offered {
    pub fn held(&self) -> bool {
        let is_known = self.lag.micros.len() >= LAGS_MIN;
        self.tally.refused == 0
            && self.lag.missing == 0
            && is_known
            && self.lag.ms(99.0) < LAG_MAX_MS
    }
}

impl Bench {
    /// Goes on at another broker.
    pub async fn go_to(&mut self, place: Place) -> anyhow::Result<Before> {
        let broker = std::mem::replace(&mut self.broker, place.broker().await?);
        let place = std::mem::replace(&mut self.place, place);
        Ok(Before { place, broker })
    }

    pub async fn go_back(&mut self, before: Before) {
        self.place = before.place;
        let (connection, _) = std::mem::replace(&mut self.broker, before.broker);
        // The other broker ends next, whatever it answers.
        drop(connection.close(200, "done".into()).await);
    }

    /// Empties one of clerk-sync's queues.
    pub async fn purge(&self, queue: &str) -> anyhow::Result<()> {
        let queue = self.place.queue(queue);
        self.place.purge(&self.broker.1, &queue).await
    }

    /// Sides that are compared, in the order of this round: none is always the first.
    pub fn in_turn<T>(&self, mut sides: Vec<T>) -> Vec<T> {
        let first = self.round as usize % sides.len();
        sides.rotate_left(first);
        sides
    }

    /// How long a rate must hold at the end of a search.
    pub fn proof(&self) -> Duration {
        if self.round <= 1 {
            self.scale.sustained
        } else {
            self.scale.sustained_again
        }
    }

    pub fn load(&self, program: &Program, path: &'static str, pace: Pace, keep: Keep) -> Load {
        let connections = match pace {
            Pace::Closed { .. } => CONNECTIONS,
            Pace::Open { .. } => OPEN_CONNECTIONS,
        };
        Load {
            crowd: Arc::clone(&self.crowd),
            address: program.address,
            path,
            connections,
            pace,
            keep,
        }
    }

    /// Waits until so many lines are in the record, and says which transaction wrote each.
    pub async fn recorded(
        &self,
        database: &Database,
        count: u64,
    ) -> anyhow::Result<HashMap<String, u32>> {
        let began = Instant::now();
        while u64::try_from(rows_in(database).await?)? < count {
            if began.elapsed() > ROWS_TIMEOUT {
                bail!(
                    "of {count} events {} are recorded",
                    rows_in(database).await?
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        written(
            database,
            "select event_id, xmin::text::bigint from clerk.events",
        )
        .await
    }

    /// Offers clerk-sync a rate and waits until everything is committed.
    pub async fn offer(
        &self,
        program: &Program,
        rate: f64,
        lasts: Duration,
        sight: Sight,
    ) -> anyhow::Result<Offered> {
        self.database.forget_events().await?;
        let watch = Watch::start(&self.database.options, sight);
        let (usage, broker) = (program.watch(), self.place.broker_time());
        let server = self.database.processor_time().await?;
        let pace = Pace::Open { rate, lasts };
        let tally = self
            .load(program, crate::own::PATH, pace, Keep::Events)
            .run()
            .await?;
        let wrote = self.recorded(&self.database, tally.accepted).await?;
        let usage = usage.samples();
        let broker_us = micros_each(broker, self.place.broker_time(), tally.accepted);
        let postgresql_us = micros_each(
            server,
            self.database.processor_time().await?,
            tally.accepted,
        );
        let lag = watch.stop()?.lag(&tally.sent, &wrote);
        Ok(Offered {
            tally,
            lag,
            usage,
            broker_us,
            postgresql_us,
        })
    }

    /// The highest rate that holds: steps of a probe each, then the proof. Begins at what an
    /// earlier round found.
    pub async fn highest(
        &mut self,
        name: &str,
        guess: f64,
        proof: Duration,
        mut offer: impl AsyncFnMut(&Self, f64, Duration) -> anyhow::Result<Offered>,
    ) -> anyhow::Result<(f64, Offered)> {
        let (mut rate, mut holds, mut fails) = (
            self.found.get(name).copied().unwrap_or(guess),
            0.0_f64,
            f64::INFINITY,
        );
        let mut step = if self.found.contains_key(name) {
            CLOSE_ENOUGH
        } else {
            1.3
        };
        while fails / holds > CLOSE_ENOUGH {
            let offered = offer(self, rate, self.scale.probe).await?;
            eprintln!(
                "  {name}: {rate:.0} a second: p99 {:.0} ms",
                offered.lag.ms(99.0)
            );
            if offered.held() {
                holds = rate
            } else {
                fails = rate
            }
            rate = match (holds > 0.0, fails.is_finite()) {
                (true, true) => (holds * fails).sqrt(),
                (true, false) => rate * step,
                _ => rate / step,
            };
            step = step.powf(1.2);
            if rate < 50.0 {
                bail!("{name}: no rate holds");
            }
        }
        let mut rate = holds;
        loop {
            let offered = offer(self, rate, proof).await?;
            if offered.held() {
                self.found.insert(name.to_owned(), rate);
                return Ok((rate, offered));
            }
            eprintln!(
                "  {name}: {rate:.0} a second does not hold: p99 {:.0} ms",
                offered.lag.ms(99.0)
            );
            rate /= CLOSE_ENOUGH;
            if rate < 50.0 {
                bail!("{name}: no rate holds");
            }
        }
    }

    /// How fast the backlog that waits is committed by a program that is started now; events a
    /// second.
    pub async fn drained(
        &self,
        watch: Watch,
        database: &Database,
        count: u64,
    ) -> anyhow::Result<f64> {
        let wrote = self.recorded(database, count).await?;
        let ended = watch.stop()?;
        let rows: Vec<u32> = wrote.into_values().collect();
        ended.rate(&rows)
    }
}

/// Processor time between two readings, in microseconds, for each of `events`.
pub fn micros_each(before: Option<Duration>, after: Option<Duration>, events: u64) -> Option<f64> {
    Some(after?.saturating_sub(before?).as_micros() as f64 / events as f64)
}

async fn rows_in(database: &Database) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from clerk.events")
        .fetch_one(&database.pool)
        .await?)
}

/// Key and writing transaction of rows.
pub async fn written(
    database: &Database,
    query: &'static str,
) -> anyhow::Result<HashMap<String, u32>> {
    let rows = sqlx::query(query).fetch_all(&database.pool).await?;
    rows.iter()
        .map(|row| {
            let xid: i64 = row.try_get(1)?;
            Ok((
                row.try_get(0)?,
                u32::try_from(xid).context("xmin has 32 bits")?,
            ))
        })
        .collect()
}
