//! Work in flight, by a key: callers of the same key at the same time share one run and its result.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

type Run<R> = BoxFuture<'static, R>;

/// The runs in flight. A run goes on while one of its callers waits, and ends with the last.
pub struct InFlight<K, R: Clone>(Arc<Mutex<Runs<K, R>>>);

struct Runs<K, R: Clone> {
    by_key: HashMap<K, (u64, WeakShared<Run<R>>)>,
    started: u64,
}

impl<K, R: Clone> Default for InFlight<K, R> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Runs {
            by_key: HashMap::new(),
            started: 0,
        })))
    }
}

impl<K, R> InFlight<K, R>
where
    K: Eq + Hash + Clone + Send + 'static,
    R: Clone + Send + Sync + 'static,
{
    /// Returns the result of the run of this key: of the one in flight, or of one that it starts.
    pub async fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> R
    where
        F: Future<Output = R> + Send + 'static,
    {
        let run = self.run(key, start);
        run.await
    }

    fn run<F>(&self, key: K, start: impl FnOnce() -> F) -> Shared<Run<R>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_flight = runs.by_key.get(&key).and_then(|(_, run)| run.upgrade());
        if let Some(run) = in_flight.filter(|run| run.peek().is_none()) {
            return run;
        }
        runs.started += 1;
        let entry = Entry {
            runs: Arc::clone(&self.0),
            key: key.clone(),
            number: runs.started,
        };
        let work = start();
        let run = async move {
            let _entry = entry;
            work.await
        };
        let run = run.boxed().shared();
        // A run that has not been polled can be held weakly.
        if let Some(weak) = run.downgrade() {
            let number = runs.started;
            runs.by_key.insert(key, (number, weak));
        }
        run
    }
}

/// Removes a run when it ends, or when no caller waits for it any more.
struct Entry<K: Eq + Hash, R: Clone> {
    runs: Arc<Mutex<Runs<K, R>>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, R: Clone> Drop for Entry<K, R> {
    fn drop(&mut self) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // Another run may have taken its place.
        let is_own = |(number, _): &(u64, _)| *number == self.number;
        if runs.by_key.get(&self.key).is_some_and(is_own) {
            runs.by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::{join_all, pending};
    use tokio::sync::Notify;

    use super::*;

    fn len(in_flight: &InFlight<u32, u32>) -> usize {
        in_flight.0.lock().unwrap().by_key.len()
    }

    #[tokio::test]
    async fn callers_of_one_key_share_one_run_and_later_ones_start_another() {
        let in_flight = InFlight::<u32, u32>::default();
        let (runs, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let join = |key| {
            let (runs, go) = (Arc::clone(&runs), Arc::clone(&go));
            in_flight.join(key, move || async move {
                go.notified().await;
                runs.fetch_add(1, Ordering::Relaxed) + 1
            })
        };
        let mut same = Box::pin(join_all((0..20).map(|_| join(1))));
        assert!((&mut same).now_or_never().is_none());
        go.notify_one();
        assert_eq!(same.await, [1; 20]);
        assert_eq!(len(&in_flight), 0);
        go.notify_one();
        assert_eq!(join(1).await, 2);
        let both = async {
            go.notify_one();
            tokio::join!(join(1), async {
                go.notify_one();
                join(2).await
            })
        };
        let (one, two) = both.await;
        assert_eq!(one + two, 7, "two keys are two runs");
    }

    #[tokio::test]
    async fn a_run_goes_on_without_the_caller_who_started_it_and_ends_with_the_last() {
        let in_flight = InFlight::<u32, u32>::default();
        let go = Arc::new(Notify::new());
        let start = || {
            let go = Arc::clone(&go);
            move || async move {
                go.notified().await;
                7
            }
        };
        let mut first = Box::pin(in_flight.join(1, start()));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(in_flight.join(1, pending));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert_eq!(len(&in_flight), 1);
        go.notify_one();
        assert_eq!(second.await, 7);

        let mut only = Box::pin(in_flight.join(1, pending));
        assert!((&mut only).now_or_never().is_none());
        assert_eq!(len(&in_flight), 1);
        drop(only);
        assert_eq!(len(&in_flight), 0);
    }
}
