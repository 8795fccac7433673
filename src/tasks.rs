//! Long-lived tasks: the death of each is logged with its consequence.
//!
//! - A task dies of a panic, or if it ends although no stop was requested.
//! - `restarted` is for work that can be started again: what a panic leaves half done there is safe
//!   to drop.
//! - `vital` is for the rest: its death shuts the process down, with status 1. An orchestrator
//!   starts it again.
//! - `brief` is for work that ends by itself or with the process, and whose caller notices a
//!   failure.
//!
//! No other file of the program spawns a task or a thread; `tests/it/tidy.rs` lists the exceptions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use crate::backoff::Backoff;
use crate::shutdown::Shutdown;

/// After work has run this long, the intervals between restarts start short again.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// Threads of libraries that are neither restarted nor awaited, with what is lost with each.
const THREADS: [(&str, Loss); 3] = [
    ("actix-server acceptor", Loss::Process),
    ("lapin-io-loop", Loss::Process),
    ("OpenTelemetry.Traces.BatchProcessor", Loss::Traces),
];

/// What is lost with a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The process cannot work any more.
    Process,
    /// Traces are no longer exported.
    Traces,
}

/// The name of the vital task that died first.
static DEATH: LazyLock<watch::Sender<Option<String>>> = LazyLock::new(|| watch::Sender::new(None));

/// Returns the name of a vital task once one has died. Cancel-safe.
pub async fn death() -> String {
    let mut deaths = DEATH.subscribe();
    let died = deaths.wait_for(Option::is_some).await;
    // The sender is static, so waiting cannot fail.
    died.ok().and_then(|name| name.clone()).unwrap_or_default()
}

/// Spawns work that ends by itself or with the process. A caller that needs the result notices if
/// there is none.
pub fn brief<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

/// The same on another runtime than the caller's, which may end before the work does.
pub fn brief_on<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<T> {
    runtime.spawn(work)
}

/// The same on this thread alone, for work that cannot go to another.
pub fn brief_here<T: 'static>(work: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    tokio::task::spawn_local(work)
}

/// Spawns work whose death shuts the process down, unless `stop` was requested before. Returns
/// `None` after a panic.
pub fn vital<T: Send + 'static>(
    task: &'static str,
    stop: &Shutdown,
    work: impl Future<Output = T> + Send + 'static,
) -> JoinHandle<Option<T>> {
    let stop = stop.clone();
    tokio::spawn(async move {
        let ended = AssertUnwindSafe(work).catch_unwind().await.ok();
        if let Some(cause) = cause(ended.is_none(), stop.is_requested()) {
            end_process(task, cause);
        }
        ended
    })
}

/// Runs work until it ends as requested. After a death it calls `died` and runs the work again,
/// less often each time.
pub async fn restarted<F: Future<Output = ()>>(
    task: &'static str,
    is_stopping: impl Fn() -> bool,
    died: impl Fn(),
    work: impl Fn() -> F,
) {
    let mut backoff = Backoff::for_repair();
    loop {
        let started = Instant::now();
        // `work` itself may panic too, before it is a future.
        let panicked = AssertUnwindSafe(async { work().await })
            .catch_unwind()
            .await
            .is_err();
        let Some(cause) = cause(panicked, is_stopping()) else {
            return;
        };
        if started.elapsed() > STABLE_AFTER {
            backoff.reset();
        }
        let wait = backoff.next_interval();
        let restarts_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        error!(
            task,
            cause, restarts_in_ms, "a task died and is restarted; report it"
        );
        // A bug there must not end the restarts.
        drop(catch_unwind(AssertUnwindSafe(&died)));
        tokio::time::sleep(wait).await;
        if is_stopping() {
            return;
        }
    }
}

/// Handles a panic on a thread of a library: that thread dies of it. The panic hook calls this.
pub fn handle_panic_on(thread: Option<&str>) {
    let loss = THREADS.iter().find(|(name, _)| thread == Some(*name));
    match loss {
        Some((name, Loss::Process)) => end_process(name, PANIC),
        Some((name, Loss::Traces)) => error!(
            thread = name,
            "a thread died; traces are no longer exported; report it"
        ),
        None => {}
    }
}

const PANIC: &str = "a panic; the line before has its place";

/// Returns why a task died, or `None` if a stop was requested.
fn cause(panicked: bool, is_stopping: bool) -> Option<&'static str> {
    match (panicked, is_stopping) {
        // The panic itself is logged.
        (_, true) => None,
        (true, false) => Some(PANIC),
        (false, false) => Some("it ended although no stop was requested"),
    }
}

fn end_process(task: &str, cause: &'static str) {
    error!(
        task,
        cause, "a required task died; the process shuts down and exits with status 1"
    );
    DEATH.send_if_modified(|first| {
        let is_first = first.is_none();
        first.get_or_insert_with(|| task.to_owned());
        is_first
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts its runs; those up to the second die.
    #[derive(Clone, Default)]
    struct Runs(Arc<AtomicU32>);

    impl Runs {
        fn next(&self) -> u32 {
            self.0.fetch_add(1, Ordering::Relaxed) + 1
        }

        fn count(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn work_that_dies_runs_again_until_a_stop_is_requested() {
        let (runs, deaths, stop) = (Runs::default(), Runs::default(), Shutdown::default());
        let work = || async {
            match runs.next() {
                1 => panic!("a bug, shown by a test"),
                // It ends although no stop was requested.
                2 => {}
                _ => {
                    stop.request();
                    stop.requested().await;
                }
            }
        };
        restarted("a test", || stop.is_requested(), || _ = deaths.next(), work).await;
        assert_eq!((runs.count(), deaths.count()), (3, 2));
    }

    #[tokio::test]
    async fn a_bug_before_the_first_await_and_one_in_the_report_do_not_end_the_restarts() {
        let (runs, stop) = (Runs::default(), Shutdown::default());
        let work = || {
            assert!(runs.next() > 2, "a bug, shown by a test");
            stop.request();
            std::future::ready(())
        };
        restarted(
            "a test",
            || stop.is_requested(),
            || panic!("another bug, shown by a test"),
            work,
        )
        .await;
        assert_eq!(runs.count(), 3);
    }

    #[tokio::test]
    async fn work_that_panics_while_stopping_is_not_run_again() {
        let (runs, stop) = (Runs::default(), Shutdown::default());
        let work = || async {
            runs.next();
            stop.request();
            panic!("a bug, shown by a test");
        };
        restarted("a test", || stop.is_requested(), || {}, work).await;
        assert_eq!(runs.count(), 1);
    }

    /// One test, since the process has one first death.
    #[tokio::test]
    async fn the_death_of_a_vital_task_is_reported_and_a_requested_end_is_not() {
        let stop = Shutdown::default();
        stop.request();
        assert_eq!(
            vital("stopping", &stop, async { 7 }).await.unwrap(),
            Some(7)
        );
        assert_eq!(
            vital("stopping", &stop, async {
                panic!("a bug, shown by a test")
            })
            .await
            .unwrap(),
            None::<()>
        );
        handle_panic_on(Some("OpenTelemetry.Traces.BatchProcessor"));
        handle_panic_on(Some("tokio-runtime-worker"));
        handle_panic_on(None);
        assert!(death().now_or_never().is_none(), "no vital task died");

        let at_work = Shutdown::default();
        vital("ended", &at_work, async {}).await.unwrap();
        assert_eq!(death().await, "ended");
        vital("panicked", &at_work, async {
            panic!("a bug, shown by a test")
        })
        .await
        .unwrap()
        .unwrap_or(());
        handle_panic_on(Some("lapin-io-loop"));
        assert_eq!(death().await, "ended", "the first one is reported");
    }

    #[test]
    fn a_panic_and_an_unrequested_end_are_deaths() {
        assert_eq!(cause(true, false), Some(PANIC));
        assert!(cause(false, false).is_some());
        assert_eq!((cause(true, true), cause(false, true)), (None, None));
    }
}
