//! The rule as laws, and random histories: the model, PostgreSQL and SQLite agree row by row and line by line.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use clerk_sync::clerk::{ClerkId, SignedEvent, UserChange};
use clerk_sync::store::{self, Payloads, Status, Store};
use clerk_sync::worker::plan::plan;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use secrecy::SecretString;

use crate::support::app::tempdir::TempDir;
use crate::support::database::TestDatabase;
use crate::support::history::{delete, event, update_that_occurred};

/// One thing that happened; small numbers, so that versions collide.
#[derive(Debug, Clone)]
enum Happened {
    Update {
        user: u8,
        updated_ms: i64,
        occurred_ms: i64,
    },
    Delete {
        user: u8,
        occurred_ms: i64,
    },
    /// What nobody can read.
    Noise,
}

fn happened() -> impl Strategy<Value = Happened> {
    prop_oneof![
        6 => (0..4_u8, 0..6_i64, 0..4_i64).prop_map(|(user, updated_ms, occurred_ms)| Happened::Update { user, updated_ms, occurred_ms }),
        2 => (0..4_u8, 0..6_i64).prop_map(|(user, occurred_ms)| Happened::Delete { user, occurred_ms }),
        1 => Just(Happened::Noise),
    ]
}

/// Deliveries: events by number, repeated and shuffled, and where the batches are cut.
#[derive(Debug, Clone)]
struct History {
    events: Vec<Happened>,
    deliveries: Vec<usize>,
    cuts: Vec<usize>,
}

fn history() -> impl Strategy<Value = History> {
    prop::collection::vec(happened(), 1..24).prop_flat_map(|events| {
        let all: Vec<usize> = (0..events.len()).collect();
        let again = prop::collection::vec(0..events.len(), 0..12);
        let deliveries = again.prop_flat_map(move |again| Just([all.clone(), again].concat()).prop_shuffle());
        (Just(events), deliveries, prop::collection::vec(1..6_usize, 1..40))
            .prop_map(|(events, deliveries, cuts)| History { events, deliveries, cuts })
    })
}

impl History {
    /// The events, with IDs and users of this run alone. IDs alternate in case: bytes decide, not dictionaries.
    fn signed(&self, run: usize) -> Vec<SignedEvent> {
        let sign = |(number, happened): (usize, &Happened)| {
            let id = format!("msg_{run}_{}{number}", if number % 2 == 0 { "a" } else { "B" });
            match happened {
                Happened::Update { user, updated_ms, occurred_ms } => {
                    update_that_occurred(&id, &format!("user_{run}_{user}"), *updated_ms, *occurred_ms)
                }
                Happened::Delete { user, occurred_ms } => delete(&id, &format!("user_{run}_{user}"), *occurred_ms),
                Happened::Noise => event(&id, "noise"),
            }
        };
        self.events.iter().enumerate().map(sign).collect()
    }

    /// The deliveries, cut into batches.
    fn batches(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let mut batches = Vec::new();
        for size in self.cuts.iter().cycle() {
            if start == self.deliveries.len() {
                break;
            }
            let end = (start + size).min(self.deliveries.len());
            batches.push(start..end);
            start = end;
        }
        batches
    }
}

/// What the contract says, one delivery after the other.
#[derive(Default)]
struct Model {
    users: BTreeMap<ClerkId, UserChange>,
    /// Status and deliveries by event.
    lines: HashMap<String, (Status, i64)>,
}

impl Model {
    fn deliver(&mut self, event: &SignedEvent) {
        let line = self.lines.entry(event.id().to_string());
        let seen = line.and_modify(|(_, deliveries)| *deliveries += 1).or_insert((Status::Failed, 1));
        if seen.1 > 1 && seen.0 != Status::Failed {
            return;
        }
        let Ok(read) = event.parse() else { return };
        let id = read.change.clerk_id.clone();
        let before = self.users.remove(&id);
        let alters = before.as_ref().is_none_or(|before| read.change.alters(before));
        seen.0 = if alters { Status::Applied } else { Status::Stale };
        let after = match before {
            Some(before) => before.join(read.change),
            None => read.change,
        };
        self.users.insert(id, after);
    }
}

#[test]
fn the_join_is_commutative_associative_and_idempotent() {
    let changes = || prop::collection::vec(happened(), 3);
    let mut runner = TestRunner::new(Config { cases: 5000, failure_persistence: None, ..Config::default() });
    let law = |happened: Vec<Happened>| {
        let same_user = |happened: Happened| match happened {
            Happened::Update { updated_ms, occurred_ms, .. } => Happened::Update { user: 0, updated_ms, occurred_ms },
            Happened::Delete { occurred_ms, .. } => Happened::Delete { user: 0, occurred_ms },
            Happened::Noise => Happened::Delete { user: 0, occurred_ms: 3 },
        };
        let events = happened.into_iter().map(same_user).collect();
        let history = History { events, deliveries: Vec::new(), cuts: Vec::new() };
        let changes: Vec<_> = history.signed(0).iter().map(|event| event.parse().unwrap().change).collect();
        let [a, b, c] = changes.try_into().unwrap();
        let join = |a: &UserChange, b: &UserChange| a.clone().join(b.clone());
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(join(&a, &a), a.clone());
        prop_assert_eq!(b.alters(&a), join(&a, &b) != a);
        Ok(())
    };
    runner.run(&changes(), law).unwrap();
}

#[test]
fn every_history_comes_to_the_rows_and_lines_of_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (database, directory, stores) = runtime.block_on(async {
        let (database, directory) = (TestDatabase::create().await, TempDir::new());
        let stores = [postgres(&database), sqlite(&directory)];
        for store in &stores {
            store.migrate().await.unwrap();
        }
        (database, directory, stores)
    });
    let run = std::cell::Cell::new(0);
    // The seed of a failing case is printed, and the case is made as small as it can be.
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let agree = |history: History| {
        run.set(run.get() + 1);
        let events = history.signed(run.get());
        let deliveries: Vec<_> = history.deliveries.iter().map(|number| events[*number].clone()).collect();
        let mut model = Model::default();
        deliveries.iter().for_each(|event| model.deliver(event));
        for store in &stores {
            runtime.block_on(async {
                for batch in history.batches() {
                    store.apply(&plan(&deliveries[batch])).await.unwrap();
                }
                compare(&model, store, &events).await
            })?;
        }
        Ok(())
    };
    let outcome = runner.run(&history(), agree);
    drop((database, directory));
    outcome.unwrap();
}

fn postgres(database: &TestDatabase) -> Store {
    let (url, payloads) = (SecretString::from(database.url()), Payloads::Failed);
    let options = store::postgres::Options { url, connections: 2, payloads };
    Store::open(&store::Options::Postgres(options)).unwrap()
}

fn sqlite(directory: &TempDir) -> Store {
    let path = directory.path().join("users.db");
    Store::open(&store::Options::Sqlite(store::sqlite::Options { path, payloads: Payloads::Failed })).unwrap()
}

async fn compare(model: &Model, store: &Store, events: &[SignedEvent]) -> Result<(), TestCaseError> {
    for (id, change) in &model.users {
        let row = store.user(id).await.unwrap();
        let row = row.ok_or_else(|| TestCaseError::fail(format!("{id} has no row")))?;
        let version = change.profile.as_ref().map(|(version, _)| version);
        prop_assert_eq!(row.event_id, version.map(|version| version.event_id.to_string()));
        prop_assert_eq!(row.updated_at.map(|time| time.0), version.map(|version| version.updated_at));
        prop_assert_eq!(row.occurred_at.map(|time| time.0), version.map(|version| version.occurred_at));
        prop_assert_eq!(row.first_name, change.profile.as_ref().and_then(|(_, profile)| profile.first_name.clone()));
        prop_assert_eq!(row.data.is_some(), version.is_some());
        prop_assert_eq!(row.deleted_at.map(|time| time.0), change.deleted_at);
    }
    for event in events {
        let line = store.event(event.id()).await.unwrap();
        let line = line.ok_or_else(|| TestCaseError::fail(format!("{} has no line", event.id())))?;
        let (status, deliveries) = model.lines[event.id().as_str()];
        prop_assert_eq!((line.status, line.deliveries), (status, deliveries), "{}", event.id());
    }
    Ok(())
}
