//! clerk-sync with nothing beside it: the queue and the table in SQLite files.
//!
//! When a row is there for others is seen from outside: a connection that only reads asks again and
//! again for lines that are new. Lines are only added, so their row numbers grow.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use hdrhistogram::Histogram;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};

use crate::bare_sqlite;
use crate::bench::Bench;
use crate::own::PATH;
use crate::traffic::{Keep, Pace, Sent, micros};

/// How often lines are asked for where latency is looked at, and where it is not.
const FINE: Duration = Duration::from_micros(200);
const COARSE: Duration = Duration::from_millis(10);

/// Longest wait for rows that should come.
const ROWS_TIMEOUT: Duration = Duration::from_secs(120);

/// Fewer events than this say nothing of how fast they are worked off.
const FEW: f64 = 1000.0;

const WARM_UP: Duration = Duration::from_secs(2);

/// The rate at which the latency is looked at.
const RATE: f64 = 1000.0;

/// And what SQLite can do by itself.
pub async fn embedded(bench: &mut Bench) -> anyhow::Result<()> {
    let Bench {
        place,
        crowd,
        scale,
        ..
    } = bench;
    let insert = bare_sqlite::insert(place, crowd, scale.short).await?;
    let upsert = bare_sqlite::upsert(place, crowd, scale.users, scale.backlog / 2).await?;
    bench.figures.add("limit.sqlite_insert_64", insert);
    bench.figures.add("limit.sqlite_upsert_500", upsert);
    measure(bench).await
}

async fn measure(bench: &mut Bench) -> anyhow::Result<()> {
    bench.place.forget_embedded()?;
    let program = bench.place.start("serve", None).await?;
    let file = bench.place.data("users.db");
    let pace = |rate, lasts| Pace::Open { rate, lasts };
    let watch = Lines::watch(file.clone(), COARSE);
    let tally = bench
        .load(&program, PATH, pace(500.0, WARM_UP), Keep::Nothing)
        .run()
        .await?;
    // Everything of before is there, so that what comes from now on is what is sent from now on.
    watch.stop_at(tally.accepted).await?;

    let watch = Lines::watch(file.clone(), FINE);
    let tally = bench
        .load(
            &program,
            PATH,
            pace(RATE, bench.scale.latency),
            Keep::Events,
        )
        .run()
        .await?;
    let seen = watch.stop_at(tally.accepted).await?;
    let lag = lag(&tally.sent, &seen)?;
    bench.figures.add(
        "embedded.commit_p50_ms",
        lag.value_at_quantile(0.5) as f64 / 1000.0,
    );
    bench.figures.add(
        "embedded.commit_p99_ms",
        lag.value_at_quantile(0.99) as f64 / 1000.0,
    );
    bench
        .figures
        .add("embedded.answer_p50_ms", tally.answer_ms(50.0));
    bench
        .figures
        .add("embedded.answer_p99_ms", tally.answer_ms(99.0));

    let (watch, usage, began) = (Lines::watch(file, COARSE), program.watch(), Instant::now());
    let closed = Pace::Closed {
        lasts: bench.scale.short,
    };
    let tally = bench
        .load(&program, PATH, closed, Keep::Nothing)
        .run()
        .await?;
    let loaded = (watch.count(), began.elapsed());
    let seen = watch.stop_at(tally.accepted).await?;
    let last = seen.values().max().copied().context("no line was seen")?;
    let drained = (seen.len() as u64).saturating_sub(loaded.0) as f64;
    let whole = seen.len() as f64 / (last - began).as_secs_f64();
    bench.figures.add("embedded.accepted", tally.rate());
    bench.figures.add("embedded.refused", tally.refused as f64);
    bench.figures.add("embedded.committed", whole);
    // Where few are left, its worker was as fast as what came in, or faster.
    let drained = match drained {
        0.0..=FEW => whole,
        left => left / (last - began - loaded.1).as_secs_f64(),
    };
    bench.figures.add("embedded.drained", drained);
    bench.figures.add(
        "embedded.processor_us",
        usage.samples().micros_each(tally.accepted),
    );
    bench
        .figures
        .add("embedded.memory_mb", usage.samples().memory_peak());
    program.stop().await?;
    bench.place.forget_embedded()
}

/// Looks on as lines come.
struct Lines {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    seen: JoinHandle<anyhow::Result<HashMap<String, Instant>>>,
}

impl Lines {
    /// From the lines on that are there when it begins.
    fn watch(file: PathBuf, interval: Duration) -> Self {
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let seen = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(look_on(file, interval, &stopped, &counted))
        });
        Self { stop, count, seen }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// When each line was seen first, once there are `count`.
    async fn stop_at(self, count: u64) -> anyhow::Result<HashMap<String, Instant>> {
        let began = Instant::now();
        while self.count() < count {
            if began.elapsed() > ROWS_TIMEOUT || self.seen.is_finished() {
                bail!("of {count} events {} are recorded", self.count());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.stop.store(true, Ordering::Relaxed);
        self.seen
            .join()
            .map_err(|_| anyhow!("the watch over lines broke"))?
    }
}

async fn look_on(
    file: PathBuf,
    interval: Duration,
    stop: &AtomicBool,
    count: &AtomicU64,
) -> anyhow::Result<HashMap<String, Instant>> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .read_only(true)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    let mut last: i64 = sqlx::query_scalar("select coalesce(max(rowid), 0) from events")
        .fetch_one(&mut connection)
        .await?;
    let mut seen = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let query =
            sqlx::query("select rowid, event_id from events where rowid > ? order by rowid")
                .bind(last);
        let rows = query.fetch_all(&mut connection).await?;
        let at = Instant::now();
        for row in rows {
            last = row.try_get(0)?;
            seen.insert(row.try_get(1)?, at);
        }
        count.store(seen.len() as u64, Ordering::Relaxed);
        std::thread::sleep(interval);
    }
    Ok(seen)
}

fn lag(sent: &[Sent], seen: &HashMap<String, Instant>) -> anyhow::Result<Histogram<u64>> {
    let mut lag = micros();
    for Sent { id, due } in sent {
        let at = seen
            .get(id)
            .context("an event that was accepted was not recorded")?;
        lag.saturating_record(u64::try_from(
            at.saturating_duration_since(*due).as_micros(),
        )?);
    }
    Ok(lag)
}
