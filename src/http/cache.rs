//! `Cached`: the last result of a query to the database or the queue, shared by all callers while
//! it is fresh.
//!
//! - A question is asked at most once at a time, in a task of its own: a caller that disconnects
//!   does not cancel it.
//! - A caller says how old the answer may be. The answer to a costly question is also kept for 50
//!   times as long as it took, so that it never takes more than a fiftieth of the database's time.
//! - Without callers nothing is asked.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clerk::Timestamp;
use crate::clock::now;
use crate::tasks;

/// How long the answer to a costly question is kept, as a multiple of the time that it took.
const COSTLY_FACTOR: u32 = 50;

/// How long a caller waits for the first answer to a costly question.
const COSTLY_WAIT: Duration = Duration::from_secs(2);

/// How long it waits for a new answer before it gets the old one.
const RENEWAL_WAIT: Duration = Duration::from_millis(200);

/// The same for a question with a timeout of its own, of 2 s: callers get its answer.
const TIMED_WAIT: Duration = Duration::from_secs(5);

/// Why a question has no answer.
pub type Reason = Arc<str>;

/// One question and its last answer.
pub struct Cached<T> {
    state: Mutex<State<T>>,
    answered: Notify,
    /// See `COSTLY_FACTOR`; 0 for a question with a timeout of its own.
    factor: u32,
    /// Longest wait of a caller for the first answer, and for a later one.
    wait: [Duration; 2],
}

struct State<T> {
    last: Option<Answer<T>>,
    error: Option<Reason>,
    is_asking: bool,
    /// When the last question ended, and how long it took.
    ended: Option<(Instant, Duration)>,
}

/// An answer, and when the question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<T> {
    pub value: T,
    pub as_of: Timestamp,
}

impl<T: Clone + Send + 'static> Cached<T> {
    /// A question whose answer may take long, such as a count.
    pub fn costly() -> Arc<Self> {
        Self::new(COSTLY_FACTOR, [COSTLY_WAIT, RENEWAL_WAIT])
    }

    /// A question that ends within 2 s.
    pub fn timed() -> Arc<Self> {
        Self::new(0, [TIMED_WAIT; 2])
    }

    fn new(factor: u32, wait: [Duration; 2]) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                last: None,
                error: None,
                is_asking: false,
                ended: None,
            }),
            answered: Notify::new(),
            factor,
            wait,
        })
    }

    /// Returns the last answer if it is fresh, else a new one, or the old one if the new one takes
    /// too long. Returns `None` if there was no answer yet in that time.
    ///
    /// # Errors
    ///
    /// The error of the last question, if it failed.
    pub async fn get<F>(
        self: &Arc<Self>,
        max_age: Duration,
        ask: impl FnOnce() -> F,
    ) -> Result<Option<Answer<T>>, Reason>
    where
        F: Future<Output = Result<T, Reason>> + Send + 'static,
    {
        let answered = self.answered.notified();
        tokio::pin!(answered);
        // From here on the end of a question is noticed.
        answered.as_mut().enable();
        if self.start(max_age) {
            let question = Question {
                cached: Arc::clone(self),
                started: Instant::now(),
            };
            let answer = ask();
            tasks::brief(async move { question.run(answer).await });
        }
        if let Some(wait) = self.wait() {
            // A timeout is no error: the old answer is returned.
            let _in_time = tokio::time::timeout(wait, answered).await;
        }
        let state = self.state();
        match &state.error {
            Some(error) => Err(Arc::clone(error)),
            None => Ok(state.last.clone()),
        }
    }

    /// Has the next caller ask, however fresh the last answer is.
    pub fn forget(&self) {
        self.state().ended = None;
    }

    /// How long a caller waits for the answer to a question in progress; `None` if there is none.
    fn wait(&self) -> Option<Duration> {
        let state = self.state();
        let wait = self.wait[usize::from(state.last.is_some())];
        state.is_asking.then_some(wait)
    }

    /// Returns whether the caller has to ask.
    fn start(&self, max_age: Duration) -> bool {
        let mut state = self.state();
        let is_fresh = state
            .ended
            .is_some_and(|(ended, took)| ended.elapsed() < max_age.max(took * self.factor));
        let starts = !is_fresh && !state.is_asking;
        state.is_asking |= starts;
        starts
    }
}

impl<T> Cached<T> {
    /// A panic leaves no half-written state: the lock is held only to move values.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question in progress. However it ends, even by a panic, the next one can start.
struct Question<T> {
    cached: Arc<Cached<T>>,
    started: Instant,
}

impl<T> Question<T> {
    async fn run(self, answer: impl Future<Output = Result<T, Reason>>) {
        let as_of = now();
        let answer = answer.await;
        let mut state = self.cached.state();
        match answer {
            Ok(value) => (state.last, state.error) = (Some(Answer { value, as_of }), None),
            Err(error) => state.error = Some(error),
        }
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        let mut state = self.cached.state();
        state.is_asking = false;
        state.ended = Some((Instant::now(), self.started.elapsed()));
        drop(state);
        self.cached.answered.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::join_all;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Answers with how often it was asked.
    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Counter {
        fn ask(&self) -> impl Future<Output = Result<u32, Reason>> + Send + use<> {
            ready(Ok(self.0.fetch_add(1, Ordering::Relaxed) + 1))
        }
    }

    fn value<T>(answer: Result<Option<Answer<T>>, Reason>) -> Option<T> {
        answer.unwrap().map(|answer| answer.value)
    }

    #[tokio::test]
    async fn a_question_is_asked_once_while_its_answer_is_fresh_and_again_afterwards() {
        let (counter, cached) = (Counter::default(), Cached::timed());
        for _ in 0..3 {
            assert_eq!(value(cached.get(HOUR, || counter.ask()).await), Some(1));
        }
        for count in 2..5 {
            let answer = cached.get(Duration::ZERO, || counter.ask()).await;
            assert_eq!(value(answer), Some(count));
        }
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_question() {
        let (counter, cached) = (Counter::default(), Cached::costly());
        let all = join_all((0..20).map(|_| cached.get(HOUR, || counter.ask()))).await;
        assert!(all.into_iter().all(|answer| value(answer) == Some(1)));
    }

    #[tokio::test]
    async fn a_caller_that_has_waited_long_enough_gets_the_old_answer() {
        let cached = Cached::<u32>::new(0, [Duration::ZERO; 2]);
        assert_eq!(value(cached.get(Duration::ZERO, pending).await), None);
        // That question is in progress, so no other starts.
        let second = cached.get(Duration::ZERO, || async { unreachable!() });
        assert_eq!(value(second.await), None);
    }

    #[tokio::test]
    async fn an_error_is_returned_until_a_question_succeeds() {
        let cached = Cached::<u32>::timed();
        let away = cached.get(HOUR, || ready(Err("away".into()))).await;
        assert_eq!(away, Err("away".into()));
        let found = cached.get(Duration::ZERO, || ready(Ok(7))).await;
        assert_eq!(value(found), Some(7));
    }

    #[tokio::test]
    async fn a_question_that_panics_is_not_the_last() {
        let cached = Cached::<u32>::timed();
        let panicked = cached.get(HOUR, || async { panic!("made by a test") });
        assert_eq!(value(panicked.await), None);
        let found = cached.get(Duration::ZERO, || ready(Ok(7))).await;
        assert_eq!(value(found), Some(7));
    }
}
