//! What the control in the database allows this worker now: whether applying is paused, and the
//! worker's share of the rate limit.
//!
//! Before each write the view is read again if it is older than 400 ms: so a worker obeys within a
//! second, one without events asks nothing, and a busy one asks little. A database that does not
//! answer leaves the last view; the write itself meets the outage.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::return_reason::ReturnReason;
use crate::shutdown::Shutdown;
use crate::store::{Control, Store, StoreError};

/// How old the view may be, and how often a paused worker asks.
const VIEW_AGE: Duration = Duration::from_millis(400);

/// Longest wait for an answer of the database.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Batches per second under a rate limit: the events of one come at once, so no second has more
/// than a fifth above its limit.
const BATCHES_PER_SECOND: f64 = 5.0;

/// The view of one worker. Clones share it.
#[derive(Clone)]
pub struct ControlView(Arc<Shared>);

struct Shared {
    store: Store,
    process_id: String,
    view: Mutex<View>,
    /// Held by the part of the worker that asks.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct View {
    /// When it was read last, in vain or not.
    read_at: Option<Instant>,
    is_paused: bool,
    rate_limit: Option<NonZeroU32>,
    budget: Option<Budget>,
    is_fault_logged: bool,
    /// Other workers that count, and since when fewer are seen.
    others: u64,
    fewer_since: Option<Instant>,
}

/// The events that may be applied under a rate limit: they accrue with time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Budget {
    /// This worker's share of the limit, in events per second.
    share: f64,
    events: f64,
    filled_at: Instant,
}

/// For how long fewer workers must be seen until fewer count: longer than a worker takes for its
/// next sign of life after an outage of the database.
const FEWER_AFTER: Duration = Duration::from_secs(60);

/// Whether events may be applied now.
#[derive(Debug, PartialEq)]
enum Permit {
    Now,
    After(Duration),
    No(ReturnReason),
}

impl ControlView {
    pub fn new(store: Store, process_id: String) -> Self {
        Self(Arc::new(Shared {
            store,
            process_id,
            view: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }))
    }

    /// Whether applying is paused.
    pub async fn is_paused(&self) -> bool {
        self.renew().await;
        self.view().is_paused
    }

    /// Returns once applying is not paused. Cancel-safe.
    pub async fn resumed(&self) {
        while self.is_paused().await {
            sleep(VIEW_AGE).await;
        }
    }

    /// Returns once so many events may be applied, and counts them.
    ///
    /// # Errors
    /// Fails if they must return to the queue.
    pub async fn permit(&self, events: usize, shutdown: &Shutdown) -> Result<(), ReturnReason> {
        loop {
            self.renew().await;
            let permit = self.view().permit(events, Instant::now());
            match permit {
                Permit::Now => return Ok(()),
                Permit::No(reason) => return Err(reason),
                Permit::After(wait) => {
                    let wait = sleep(wait.min(VIEW_AGE));
                    shutdown.or(wait).await.ok_or(ReturnReason::Stopping)?;
                }
            }
        }
    }

    /// Most events in a batch: `wanted`, or fewer under a rate limit.
    pub fn batch_max(&self, wanted: NonZeroUsize) -> NonZeroUsize {
        let budget = self.view().budget;
        budget.map_or(wanted, |budget| wanted.min(budget.batch_max()))
    }

    /// Reads the view if it is too old.
    async fn renew(&self) {
        if self.view().is_fresh() {
            return;
        }
        let _asking = self.0.asking.lock().await;
        if self.view().is_fresh() {
            return;
        }
        let read = timeout(READ_TIMEOUT, self.read()).await.ok();
        if let Some(Err(error)) = &read {
            self.log(error).await;
        }
        self.view().keep(read.and_then(Result::ok), Instant::now());
    }

    /// Logs once that the settings cannot be read. The write that follows meets an outage or an old
    /// schema, and logs it.
    async fn log(&self, error: &StoreError) {
        let is_transient = matches!(error, StoreError::Unavailable(_));
        if is_transient || self.view().is_fault_logged {
            return;
        }
        let version = timeout(READ_TIMEOUT, self.0.store.schema_version()).await;
        if version.is_ok_and(|version| version.is_ok_and(|version| version.check().is_ok())) {
            warn!(%error, "the settings of a pause and a rate limit cannot be read: this worker does not see changes of them, and keeps to what it read last");
            self.view().is_fault_logged = true;
        }
    }

    async fn read(&self) -> Result<(Control, u64), StoreError> {
        // The first read also shows whether rows are hidden from this role.
        let is_first = self.view().read_at.is_none();
        let control = if is_first {
            self.0.store.control().await?
        } else {
            self.0.store.control_before_write().await?
        };
        let others = match control.rate_limit {
            // A role that may not read the processes has the limit alone.
            Some(_) => match self.0.store.other_workers(&self.0.process_id).await {
                Err(error @ StoreError::Unavailable(_)) => return Err(error),
                others => others.unwrap_or(0),
            },
            None => 0,
        };
        Ok((control, others))
    }

    fn view(&self) -> MutexGuard<'_, View> {
        // No code that holds the lock can leave it half changed.
        self.0.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    fn is_fresh(&self) -> bool {
        self.read_at.is_some_and(|at| at.elapsed() < VIEW_AGE)
    }

    /// How many other workers count, when so many are seen. After an outage of the database their
    /// signs of life are old, and they work all the same: fewer count only after a while.
    fn others_that_count(&mut self, seen: u64, now: Instant) -> u64 {
        if seen < self.others {
            let since = *self.fewer_since.get_or_insert(now);
            if now.duration_since(since) < FEWER_AFTER {
                return self.others;
            }
        }
        self.fewer_since = None;
        self.others = seen;
        seen
    }

    /// Keeps an answer, with the number of other workers; `None` if there was none.
    fn keep(&mut self, read: Option<(Control, u64)>, now: Instant) {
        self.read_at = Some(now);
        let Some((control, others)) = read else {
            return;
        };
        self.is_fault_logged = false;
        match &control.paused {
            Some(pause) if !self.is_paused => {
                info!(since = %pause.paused_at, by = pause.paused_by, reason = pause.reason, "paused: events wait in the queue until `clerk-sync resume`");
            }
            None if self.is_paused => info!("resumed: events are applied again"),
            _ => {}
        }
        self.is_paused = control.paused.is_some();
        if self.rate_limit != control.rate_limit {
            let events_per_second = control.rate_limit.map(NonZeroU32::get);
            info!(
                events_per_second,
                "the rate limit of all workers has changed"
            );
            self.rate_limit = control.rate_limit;
        }
        let others = self.others_that_count(others, now);
        self.budget = control.rate_limit.map(|limit| {
            #[expect(clippy::cast_precision_loss, reason = "there are not so many workers")]
            let share = f64::from(limit.get()) / (others + 1) as f64;
            let before = self.budget.unwrap_or(Budget {
                share,
                events: 0.0,
                filled_at: now,
            });
            Budget { share, ..before }
        });
    }

    /// Whether so many events may be applied now; counts them if they may.
    fn permit(&mut self, events: usize, now: Instant) -> Permit {
        if self.is_paused {
            return Permit::No(ReturnReason::Paused);
        }
        match &mut self.budget {
            Some(budget) => budget.permit(events, now),
            None => Permit::Now,
        }
    }
}

impl Budget {
    fn batch_max(self) -> NonZeroUsize {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share is at most a million"
        )]
        let events = (self.share / BATCHES_PER_SECOND).ceil() as usize;
        NonZeroUsize::new(events).unwrap_or(NonZeroUsize::MIN)
    }

    fn permit(&mut self, events: usize, now: Instant) -> Permit {
        #[expect(clippy::cast_precision_loss, reason = "at most a million")]
        let (events, most) = (events as f64, self.batch_max().get() as f64);
        let accrued = now.duration_since(self.filled_at).as_secs_f64() * self.share;
        self.events = (self.events + accrued).min(most);
        self.filled_at = now;
        // A larger batch, taken before the share fell and not accepted back by the queue, is
        // applied at once; those behind it wait for as long as it would have.
        let needed = events.min(most);
        if self.events >= needed {
            self.events -= events;
            return Permit::Now;
        }
        Permit::After(Duration::from_secs_f64((needed - self.events) / self.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(limit: Option<u32>) -> Control {
        Control {
            paused: None,
            rate_limit: limit.and_then(NonZeroU32::new),
        }
    }

    /// Events that are permitted within `seconds`, asked for in batches of `events`.
    fn permitted(view: &mut View, events: usize, from: Instant, seconds: u64) -> usize {
        let (mut now, mut done) = (from, 0);
        while now < from + Duration::from_secs(seconds) {
            match view.permit(events, now) {
                Permit::Now => done += events,
                Permit::After(wait) => now += wait.max(Duration::from_millis(1)),
                Permit::No(_) => return done,
            }
        }
        done
    }

    #[test]
    fn a_second_has_its_share_of_the_limit_and_little_more() {
        let (mut view, start) = (View::default(), Instant::now());
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(view.permit(10_000, start), Permit::Now, "without a limit");
        view.keep(Some((control(Some(100)), 1)), start);
        let batch = view.budget.unwrap().batch_max().get();
        assert_eq!(batch, 10, "half of the limit, in five batches per second");
        let first = permitted(&mut view, batch, start, 1);
        assert!((40..=50).contains(&first), "{first}");
        // A long rest saves one batch, not more.
        let second = permitted(&mut view, batch, later(100), 1);
        assert!((50..=60).contains(&second), "{second}");
        // Another worker comes.
        view.keep(Some((control(Some(100)), 3)), later(200));
        let third = permitted(&mut view, 5, later(201), 4);
        assert!((100..=106).contains(&third), "{third}");
        // A batch that is too large is paid for afterwards.
        assert_eq!(view.permit(100, later(250)), Permit::Now);
        let debt = permitted(&mut view, 5, later(250), 3);
        assert_eq!(debt, 0, "it took the share of 4 s, less what was saved");
        view.keep(Some((control(None), 3)), later(300));
        assert_eq!(view.permit(10_000, later(300)), Permit::Now);
    }

    #[test]
    fn a_share_below_one_event_per_second_is_kept() {
        let (mut view, start) = (View::default(), Instant::now());
        view.keep(Some((control(Some(1)), 9)), start);
        assert_eq!(permitted(&mut view, 1, start, 100), 9);
    }

    #[test]
    fn after_an_outage_workers_whose_signs_are_old_count_for_a_while() {
        let (mut view, start) = (View::default(), Instant::now());
        let mut share = |others, seconds| {
            let at = start + Duration::from_secs(seconds);
            view.keep(Some((control(Some(100)), others)), at);
            view.budget.unwrap().share
        };
        assert!((share(3, 0) - 25.0).abs() < 0.01);
        assert!((share(0, 10) - 25.0).abs() < 0.01);
        assert!((share(1, 69) - 25.0).abs() < 0.01);
        assert!((share(1, 70) - 50.0).abs() < 0.01);
        assert!((share(3, 71) - 25.0).abs() < 0.01);
    }

    #[test]
    fn an_error_leaves_the_last_view() {
        let (mut view, now) = (View::default(), Instant::now());
        let paused = Control {
            paused: Some(crate::store::Pause {
                paused_at: crate::store::Time(crate::clock::now()),
                reason: None,
                paused_by: "a test".into(),
            }),
            rate_limit: None,
        };
        view.keep(Some((paused, 0)), now);
        view.keep(None, now);
        assert_eq!(view.permit(1, now), Permit::No(ReturnReason::Paused));
        view.keep(Some((Control::default(), 0)), now);
        assert_eq!(view.permit(1, now), Permit::Now);
    }
}
