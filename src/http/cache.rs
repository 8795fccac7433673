//! An answer that is costly to find, kept for a while: whoever asks meanwhile gets the one that is there.
//!
//! - It is found at most once at a time, in the background, whoever goes away meanwhile.
//! - It is found again only after a rest. One that is costly rests for 50 times what it took: it never takes more than a fiftieth
//!   of the database's time.
//! - Nobody asks, nothing is done.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clerk::Timestamp;
use crate::clock::now;
use crate::tasks;

/// The rest, as a multiple of what the last search took.
const REST: u32 = 50;

/// The usual patience.
const PATIENCE: Duration = Duration::from_secs(2);

/// The patience for a question that has a timeout of its own, of 2 s: its answer is waited for.
const FULL_PATIENCE: Duration = Duration::from_secs(5);

/// The answer, and how it is come by.
pub struct Kept<T, E> {
    state: Mutex<State<T, E>>,
    found: Notify,
    /// Shortest rest.
    rest_min: Duration,
    /// The rest as a multiple of what the last search took, if that is more.
    rest_factor: u32,
    /// Longest wait of whoever asks for a new answer. After it the old one will do.
    patience: Duration,
}

struct State<T, E> {
    last: Option<Found<T>>,
    error: Option<E>,
    is_searching: bool,
    /// Until when nobody looks again.
    rests_until: Option<Instant>,
}

/// An answer, and when it was true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<T> {
    pub answer: T,
    pub as_of: Timestamp,
}

impl<T: Clone + Send + 'static, E: Clone + Send + 'static> Kept<T, E> {
    pub fn for_at_least(rest_min: Duration) -> Arc<Self> {
        Arc::new(Self::new(rest_min, REST, PATIENCE))
    }

    /// An answer that must not be older than `rest`, whatever it costs.
    pub fn every(rest: Duration) -> Arc<Self> {
        Arc::new(Self::new(rest, 0, FULL_PATIENCE))
    }

    fn new(rest_min: Duration, rest_factor: u32, patience: Duration) -> Self {
        let state = State {
            last: None,
            error: None,
            is_searching: false,
            rests_until: None,
        };
        Self {
            state: Mutex::new(state),
            found: Notify::new(),
            rest_min,
            rest_factor,
            patience,
        }
    }

    /// The answer: the one that is there while it rests, else a new one, or again the old one where that takes longer than 2 s.
    /// Nothing where none was ever found in that time; the error where the last search failed.
    pub async fn get<F>(self: &Arc<Self>, search: impl FnOnce() -> F) -> Result<Option<Found<T>>, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let found = self.found.notified();
        tokio::pin!(found);
        // From here on no end of a search is missed.
        found.as_mut().enable();
        if self.begin() {
            let (kept, search) = (Arc::clone(self), search());
            tasks::brief(async move { Search::of(kept).run(search).await });
        }
        if self.is_searching() {
            // The end of the patience is no error: what is there is the answer.
            let _in_time = tokio::time::timeout(self.patience, found).await;
        }
        let state = self.state();
        match &state.error {
            Some(error) => Err(error.clone()),
            None => Ok(state.last.clone()),
        }
    }

    /// Whether the caller is to search.
    fn begin(&self) -> bool {
        let mut state = self.state();
        let rests = state
            .rests_until
            .is_some_and(|until| Instant::now() < until);
        let begins = !rests && !state.is_searching;
        state.is_searching |= begins;
        begins
    }

    fn is_searching(&self) -> bool {
        self.state().is_searching
    }
}

impl<T, E> Kept<T, E> {
    /// Nothing is left half written: whoever holds the lock only moves values.
    fn state(&self) -> std::sync::MutexGuard<'_, State<T, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A search under way. However it ends, even by a panic, the next one can begin.
struct Search<T, E> {
    kept: Arc<Kept<T, E>>,
    begun: Instant,
}

impl<T, E> Search<T, E> {
    fn of(kept: Arc<Kept<T, E>>) -> Self {
        Self {
            kept,
            begun: Instant::now(),
        }
    }

    async fn run(self, search: impl Future<Output = Result<T, E>>) {
        let as_of = now();
        let found = search.await;
        let mut state = self.kept.state();
        match found {
            Ok(answer) => (state.last, state.error) = (Some(Found { answer, as_of }), None),
            Err(error) => state.error = Some(error),
        }
    }
}

impl<T, E> Drop for Search<T, E> {
    fn drop(&mut self) {
        let rest = (self.begun.elapsed() * self.kept.rest_factor).max(self.kept.rest_min);
        let mut state = self.kept.state();
        state.is_searching = false;
        state.rests_until = Some(Instant::now() + rest);
        drop(state);
        self.kept.found.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts the searches, and is told what each comes to.
    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicU32>);

    impl Counter {
        fn search(&self) -> impl Future<Output = Result<u32, &'static str>> + Send + use<> {
            let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            async move { Ok(count) }
        }
    }

    fn answer<T: Copy>(found: Result<Option<Found<T>>, &'static str>) -> Option<T> {
        found.unwrap().map(|found| found.answer)
    }

    #[tokio::test]
    async fn it_is_found_once_while_it_rests_and_again_after_it() {
        let counter = Counter::default();
        let kept = Kept::for_at_least(Duration::from_secs(3600));
        for _ in 0..3 {
            assert_eq!(answer(kept.get(|| counter.search()).await), Some(1));
        }
        let restless = Kept::for_at_least(Duration::ZERO);
        let mut last = 0;
        while last < 5 {
            last = answer(restless.get(|| counter.search()).await).unwrap();
        }
    }

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_search() {
        let counter = Counter::default();
        let kept = Kept::for_at_least(Duration::from_secs(3600));
        let all =
            futures_util::future::join_all((0..20).map(|_| kept.get(|| counter.search()))).await;
        assert!(all.into_iter().all(|found| answer(found) == Some(1)));
    }

    #[tokio::test]
    async fn who_has_waited_long_enough_gets_what_is_there() {
        let mut kept = Kept::<u32, &str>::for_at_least(Duration::ZERO);
        Arc::get_mut(&mut kept).unwrap().patience = Duration::ZERO;
        assert_eq!(answer(kept.get(std::future::pending).await), None);
        // That search is still under way, so none other begins.
        assert_eq!(answer(kept.get(|| async { unreachable!() }).await), None);
    }

    #[tokio::test]
    async fn an_error_is_told_until_a_search_succeeds() {
        let kept = Kept::<u32, &str>::for_at_least(Duration::ZERO);
        assert_eq!(kept.get(|| async { Err("away") }).await, Err("away"));
        let mut found = kept.get(|| async { Ok(7) }).await;
        while found.is_err() {
            found = kept.get(|| async { Ok(7) }).await;
        }
        assert_eq!(answer(found), Some(7));
    }

    #[tokio::test]
    async fn a_search_that_panics_is_not_the_last() {
        let kept = Kept::<u32, &str>::for_at_least(Duration::ZERO);
        assert_eq!(
            answer(kept.get(|| async { panic!("made by a test") }).await),
            None
        );
        let mut found = None;
        while found.is_none() {
            found = answer(kept.get(|| async { Ok(7) }).await);
        }
        assert_eq!(found, Some(7));
    }
}
