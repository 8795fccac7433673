//! A flood of random histories: senders that deliver again until they get a 2xx, as Svix does, and
//! what must come of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clerk_sync::clerk::{Change, ClerkId, EventId, SignedEvent, SigningSecret, tables};
use clerk_sync::clock::now;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::support::app::{DEADLINE, SECRET, headers, signing_secret, until};
use crate::support::history::{delete_in, update_in};

/// Senders at once, each with one delivery on its way.
const SENDERS: usize = 12;

/// Between two deliveries of a sender. It leaves processor time for the servers that start and stop
/// meanwhile.
const PACE: Duration = Duration::from_millis(15);

/// Few, so that versions collide and histories are long; half of them are users.
const ROWS: u32 = 20;

/// Svix gives up after 15 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// Where to deliver to; `None` while no server listens.
pub type Target = watch::Sender<Option<String>>;

pub struct Flood {
    shared: Arc<Shared>,
    senders: JoinSet<()>,
}

struct Shared {
    /// Part of every ID, so that the events of two floods never meet.
    name: String,
    target: Target,
    state: Mutex<State>,
    stopped: watch::Sender<bool>,
    secret: SigningSecret,
    client: reqwest::Client,
}

struct State {
    random: StdRng,
    events: Vec<SignedEvent>,
    accepted: HashMap<EventId, SignedEvent>,
    counts: Counts,
}

/// The responses that the senders got.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events that got a 2xx.
    pub accepted: u64,
    /// Deliveries that got a 2xx after another of the same event had.
    pub repeated: u64,
    /// Deliveries that got anything else, or no answer.
    pub refused: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.refused += other.refused;
    }
}

impl Flood {
    pub fn start(name: String, seed: u64, target: Target) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            events: Vec::new(),
            accepted: HashMap::new(),
            counts: Counts::default(),
        };
        let shared = Arc::new(Shared {
            name,
            target,
            state: Mutex::new(state),
            stopped: watch::Sender::new(false),
            secret: signing_secret(SECRET),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(ANSWER_TIMEOUT)
                .build()
                .unwrap(),
        });
        let mut senders = JoinSet::new();
        for _ in 0..SENDERS {
            senders.spawn(Arc::clone(&shared).send());
        }
        Self { shared, senders }
    }

    /// Waits until this many more events have been accepted.
    pub async fn accepts(&self, more: u64) {
        let before = self.counts().accepted;
        until("events are accepted", async || {
            self.counts().accepted >= before + more
        })
        .await;
    }

    /// Waits until this many more deliveries have been answered in any way, or not at all.
    pub async fn is_answered(&self, more: u64) {
        let answers = |counts: Counts| counts.accepted + counts.repeated + counts.refused;
        let before = answers(self.counts());
        until("deliveries are answered", async || {
            answers(self.counts()) >= before + more
        })
        .await;
    }

    /// Waits until this many more deliveries have been refused.
    pub async fn is_refused(&self, more: u64) {
        let before = self.counts().refused;
        until("requests are rejected", async || {
            self.counts().refused >= before + more
        })
        .await;
    }

    pub fn counts(&self) -> Counts {
        self.shared.state().counts
    }

    /// Sends nothing new, and returns what must have come of it once every event is accepted.
    pub async fn ends(mut self) -> Expected {
        self.shared.stopped.send_replace(true);
        let all = async {
            while self
                .senders
                .join_next()
                .await
                .transpose()
                .unwrap()
                .is_some()
            {}
        };
        tokio::time::timeout(DEADLINE, all)
            .await
            .expect("every event is accepted in the end");
        let state = self.shared.state();
        let name = &self.shared.name;
        Expected::of(
            [format!("msg_{name}_"), format!("_{name}_")],
            state.accepted.values().cloned().collect(),
            state.counts,
        )
    }
}

impl Shared {
    async fn send(self: Arc<Self>) {
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*self.stopped.borrow() {
            let event = self.state().next(&self.name);
            // Again and again, however long it takes: only what was never accepted may be lost.
            while !self.deliver(&event).await {
                pace.tick().await;
            }
            pace.tick().await;
        }
    }

    async fn deliver(&self, event: &SignedEvent) -> bool {
        let accepted = self.post(event).await;
        let mut state = self.state();
        if !accepted {
            state.counts.refused += 1;
        } else if state
            .accepted
            .insert(event.id().clone(), event.clone())
            .is_none()
        {
            state.counts.accepted += 1;
        } else {
            state.counts.repeated += 1;
        }
        accepted
    }

    async fn post(&self, event: &SignedEvent) -> bool {
        let Some(url) = self.target.borrow().clone() else {
            return false;
        };
        let sent_at = now();
        let signature = self.secret.sign(event.id(), sent_at, event.body());
        let mut request = self.client.post(url).body(event.body().clone());
        for (name, value) in headers(event.id().as_str(), sent_at, &signature) {
            request = request.header(name, value);
        }
        request
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    /// A new event of a random row of any table, or one that was sent before.
    fn next(&mut self, name: &str) -> SignedEvent {
        if !self.events.is_empty() && self.random.random_ratio(1, 5) {
            return self.events[self.random.random_range(0..self.events.len())].clone();
        }
        let number = self.events.len();
        // IDs alternate in case: bytes decide between two of them, not dictionaries.
        let id = format!(
            "msg_{name}_{}{number}",
            if number.is_multiple_of(2) { "a" } else { "B" }
        );
        let table = match self.random.random_bool(0.5) {
            true => tables::ALL[0],
            false => tables::ALL[self.random.random_range(0..tables::ALL.len())],
        };
        let row = self.random.random_range(0..ROWS);
        let row = format!("{}_{name}_{row}", table.singular);
        let (updated_ms, occurred_ms) = (
            self.random.random_range(0..200),
            self.random.random_range(0..20),
        );
        let event = if self.random.random_ratio(1, 12) {
            delete_in(table, &id, &row, updated_ms, updated_ms + occurred_ms)
        } else {
            update_in(table, &id, &row, updated_ms, updated_ms + occurred_ms)
        };
        self.events.push(event.clone());
        event
    }
}

/// The expected result of a flood.
pub struct Expected {
    /// What the IDs of its events begin with.
    pub prefix: String,
    /// What is in the IDs of its rows alone.
    pub row_mark: String,
    pub events: Vec<SignedEvent>,
    pub rows: BTreeMap<ClerkId, Change>,
    pub counts: Counts,
}

impl Expected {
    fn of([prefix, row_mark]: [String; 2], events: Vec<SignedEvent>, counts: Counts) -> Self {
        let mut rows: BTreeMap<ClerkId, Change> = BTreeMap::new();
        for event in &events {
            let change = event.parse().unwrap().change;
            let joined = match rows.remove(&change.clerk_id) {
                Some(before) => before.join(change),
                None => change,
            };
            rows.insert(joined.clerk_id.clone(), joined);
        }
        Self {
            prefix,
            row_mark,
            events,
            rows,
            counts,
        }
    }
}
