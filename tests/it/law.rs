//! The rule as laws, and random histories of the rows of all tables together: the model, PostgreSQL
//! and SQLite agree row by row and line by line.

mod compare;
mod listed;

use compare::*;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use clerk_sync::clerk::{Change, ClerkId, EventId, OmittedFields, SignedEvent, tables};
use clerk_sync::queue::Source;
use clerk_sync::store::{self, EventRow, Keep, OnDelete, Status, Store, TableRow, Write};
use clerk_sync::worker::plan::plan_batch;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::app::tempdir::TempDir;
use crate::support::database::TestDatabase;
use crate::support::history::{delete_in, event, update_in};

/// One thing that happened; small numbers, so that versions collide.
#[derive(Debug, Clone)]
enum Happened {
    Update {
        /// The place in the list of tables.
        table: usize,
        row: u8,
        updated_ms: i64,
        occurred_ms: i64,
    },
    /// An update where the table has no deletes. A delete may carry a profile that is older or newer
    /// than it.
    Delete {
        table: usize,
        row: u8,
        updated_ms: i64,
        occurred_ms: i64,
    },
    /// A body that cannot be read.
    Noise,
}

/// What happens to users.
fn happened() -> BoxedStrategy<Happened> {
    happened_in(1)
}

/// What happens in the first tables.
fn happened_in(tables: usize) -> BoxedStrategy<Happened> {
    let update = (0..tables, 0..4_u8, 0..6_i64, 0..4_i64);
    let delete = (0..tables, 0..4_u8, 0..6_i64, 0..6_i64);
    prop_oneof![
        6 => update.prop_map(|(table, row, updated_ms, occurred_ms)| Happened::Update { table, row, updated_ms, occurred_ms }),
        2 => delete.prop_map(|(table, row, updated_ms, occurred_ms)| Happened::Delete { table, row, updated_ms, occurred_ms }),
        1 => Just(Happened::Noise),
    ]
    .boxed()
}

/// Deliveries: events by number, repeated and shuffled, and where the batches are cut.
#[derive(Debug, Clone)]
struct History {
    events: Vec<Happened>,
    deliveries: Vec<usize>,
    cuts: Vec<usize>,
}

/// Histories of rows of all tables.
fn history() -> impl Strategy<Value = History> {
    history_of(happened_in(tables::ALL.len()))
}

fn history_of(happened: BoxedStrategy<Happened>) -> impl Strategy<Value = History> {
    prop::collection::vec(happened, 1..32).prop_flat_map(|events| {
        let all: Vec<usize> = (0..events.len()).collect();
        let again = prop::collection::vec(0..events.len(), 0..12);
        let deliveries =
            again.prop_flat_map(move |again| Just([all.clone(), again].concat()).prop_shuffle());
        (
            Just(events),
            deliveries,
            prop::collection::vec(1..6_usize, 1..40),
        )
            .prop_map(|(events, deliveries, cuts)| History {
                events,
                deliveries,
                cuts,
            })
    })
}

impl History {
    /// The events, with IDs and users of this run alone. IDs alternate in case: bytes decide, not
    /// dictionaries.
    fn signed(&self, run: usize) -> Vec<SignedEvent> {
        let sign = |(number, happened): (usize, &Happened)| {
            let id = format!(
                "msg_{run}_{}{number}",
                if number % 2 == 0 { "a" } else { "B" }
            );
            match happened {
                Happened::Update {
                    table,
                    row,
                    updated_ms,
                    occurred_ms,
                } => {
                    let table = tables::ALL[*table];
                    let row = format!("{}_{run}_{row}", table.singular);
                    update_in(table, &id, &row, *updated_ms, *occurred_ms)
                }
                Happened::Delete {
                    table,
                    row,
                    updated_ms,
                    occurred_ms,
                } => {
                    let table = tables::ALL[*table];
                    let row = format!("{}_{run}_{row}", table.singular);
                    delete_in(table, &id, &row, *updated_ms, *occurred_ms)
                }
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

/// The contract as a model, one delivery after the other.
#[derive(Default)]
struct Model {
    rows: BTreeMap<ClerkId, Change>,
    lines: HashMap<String, Line>,
}

/// What is kept of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    status: Status,
    deliveries: i64,
    attempts: i64,
    superseded_by: Option<String>,
}

impl Model {
    /// Deliveries of one batch: an event that is in it twice is tried once.
    fn deliver_batch(&mut self, events: &[SignedEvent]) {
        let (mut tried, mut overtaken) = (HashSet::new(), Vec::new());
        for event in events {
            if self.deliver(event, tried.insert(event.id())) == Some(Status::Stale) {
                overtaken.push(event);
            }
        }
        // A profile that is stale is so behind the version that the batch leaves.
        for event in overtaken {
            let Ok(read) = event.parse() else { continue };
            if read.change.deleted_at.is_some() {
                continue;
            }
            let newest = read
                .change
                .profile
                .and(self.rows[&read.change.clerk_id].profile.as_ref());
            let line = self.lines.get_mut(event.id().as_str()).unwrap();
            line.superseded_by = newest.map(|(version, _)| version.event_id.to_string());
        }
    }

    /// Its status, where it was tried and could be read.
    fn deliver(&mut self, event: &SignedEvent, is_first_of_batch: bool) -> Option<Status> {
        let is_new = !self.lines.contains_key(event.id().as_str());
        let unseen = Line {
            status: Status::Failed,
            deliveries: 0,
            attempts: 0,
            superseded_by: None,
        };
        let seen = self.lines.entry(event.id().to_string()).or_insert(unseen);
        seen.deliveries += 1;
        if !is_new && seen.status != Status::Failed {
            return None;
        }
        seen.attempts += i64::from(is_first_of_batch);
        let read = event.parse().ok()?;
        let id = read.change.clerk_id.clone();
        let before = self.rows.remove(&id);
        let alters = before
            .as_ref()
            .is_none_or(|before| read.change.alters(before));
        let status = if alters {
            Status::Applied
        } else {
            Status::Stale
        };
        seen.status = status;
        let after = match before {
            Some(before) => before.join(read.change),
            None => read.change,
        };
        self.rows.insert(id, after);
        Some(status)
    }
}

/// A runner whose every case can be run again: the seed is printed where a case fails, and taken
/// from `LAW_SEED`.
fn runner(cases: u32) -> TestRunner {
    let seed = std::env::var("LAW_SEED").map_or_else(
        |_| rand::random(),
        |text| text.parse().expect("LAW_SEED is a number"),
    );
    println!("LAW_SEED={seed} repeats this run");
    let bytes: Vec<u8> = u64::to_le_bytes(seed).repeat(4);
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn the_join_is_commutative_associative_and_idempotent() {
    let changes = || prop::collection::vec(happened(), 3);
    let mut runner = runner(5000);
    let law = |happened: Vec<Happened>| {
        // Memberships: their deletes carry profiles.
        let membership = tables::ALL
            .iter()
            .position(|table| table.singular == "membership")
            .unwrap();
        let same_row = |happened: Happened| match happened {
            Happened::Update {
                updated_ms,
                occurred_ms,
                ..
            } => Happened::Update {
                table: membership,
                row: 0,
                updated_ms,
                occurred_ms,
            },
            Happened::Delete {
                updated_ms,
                occurred_ms,
                ..
            } => Happened::Delete {
                table: membership,
                row: 0,
                updated_ms,
                occurred_ms,
            },
            Happened::Noise => Happened::Delete {
                table: membership,
                row: 0,
                updated_ms: 3,
                occurred_ms: 3,
            },
        };
        let events = happened.into_iter().map(same_row).collect();
        let history = History {
            events,
            deliveries: Vec::new(),
            cuts: Vec::new(),
        };
        let changes: Vec<_> = history
            .signed(0)
            .iter()
            .map(|event| event.parse().unwrap().change)
            .collect();
        let [a, b, c] = changes.try_into().unwrap();
        let join = |a: &Change, b: &Change| a.clone().join(b.clone());
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        prop_assert_eq!(join(&a, &a), a.clone());
        prop_assert_eq!(b.alters(&a), join(&a, &b) != a);
        Ok(())
    };
    runner.run(&changes(), law).unwrap();
}

/// Both stores, and what holds them.
struct Places {
    runtime: Runtime,
    stores: [Store; 2],
    _database: TestDatabase,
    _directory: TempDir,
}

impl Places {
    fn open(keep: Keep) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let (stores, database, directory) = runtime.block_on(async {
            let (database, directory) = (TestDatabase::create().await, TempDir::new());
            let stores = [postgres(&database, keep), sqlite(&directory, keep)];
            for store in &stores {
                store.migrate().await.unwrap();
            }
            (stores, database, directory)
        });
        Self {
            runtime,
            stores,
            _database: database,
            _directory: directory,
        }
    }
}

#[test]
fn every_history_ends_in_the_rows_and_records_of_the_model() {
    let places = Places::open(Keep::default());
    let run = std::cell::Cell::new(0);
    let agree = |history: History| {
        run.set(run.get() + 1);
        let events = history.signed(run.get());
        let deliveries: Vec<_> = history
            .deliveries
            .iter()
            .map(|number| events[*number].clone())
            .collect();
        let mut model = Model::default();
        history
            .batches()
            .into_iter()
            .for_each(|batch| model.deliver_batch(&deliveries[batch]));
        places.runtime.block_on(async {
            for store in &places.stores {
                for batch in history.batches() {
                    for write in writes(&deliveries[batch]) {
                        store.apply(&write).await.unwrap();
                    }
                }
                compare_rows(&model, store).await?;
                compare_lines(&model, store).await?;
            }
            compare_stores(&model, &places.stores).await
        })
    };
    runner(160).run(&history(), agree).unwrap();
}

/// With erasure of deleted users: the model's rows, and a bare tombstone for each deleted user.
#[test]
fn every_history_ends_in_bare_tombstones_if_deleted_profiles_are_erased() {
    let places = Places::open(Keep {
        on_delete: OnDelete::Scrub,
        ..Keep::default()
    });
    let run = std::cell::Cell::new(0);
    let agree = |history: History| {
        run.set(run.get() + 1);
        let events = history.signed(run.get());
        let deliveries: Vec<_> = history
            .deliveries
            .iter()
            .map(|number| events[*number].clone())
            .collect();
        let mut model = Model::default();
        history
            .batches()
            .into_iter()
            .for_each(|batch| model.deliver_batch(&deliveries[batch]));
        model
            .rows
            .values_mut()
            .filter(|user| user.deleted_at.is_some())
            .for_each(|user| user.profile = None);
        places.runtime.block_on(async {
            for store in &places.stores {
                let writes: Vec<_> = history
                    .batches()
                    .into_iter()
                    .flat_map(|batch| writes(&deliveries[batch]))
                    .collect();
                for applied in join_all(writes.iter().map(|write| store.apply(write))).await {
                    applied.unwrap();
                }
                compare_rows(&model, store).await?;
                for (id, change) in &model.rows {
                    prop_assert_eq!(
                        row(store, id).await?.erased_at.is_some(),
                        change.deleted_at.is_some(),
                        "{}",
                        id
                    );
                }
            }
            Ok(())
        })
    };
    runner(64).run(&history_of(happened()), agree).unwrap();
}

/// Several workers at once: the rows do not depend on who comes first, and every event is counted.
#[test]
fn every_history_ends_in_the_same_rows_if_its_batches_are_applied_at_once() {
    let places = Places::open(Keep::default());
    let run = std::cell::Cell::new(0);
    let agree = |history: History| {
        run.set(run.get() + 1);
        let events = history.signed(run.get());
        let deliveries: Vec<_> = history
            .deliveries
            .iter()
            .map(|number| events[*number].clone())
            .collect();
        let mut model = Model::default();
        history
            .batches()
            .into_iter()
            .for_each(|batch| model.deliver_batch(&deliveries[batch]));
        places.runtime.block_on(async {
            for store in &places.stores {
                let writes: Vec<_> = history
                    .batches()
                    .into_iter()
                    .flat_map(|batch| writes(&deliveries[batch]))
                    .collect();
                for applied in join_all(writes.iter().map(|write| store.apply(write))).await {
                    applied.unwrap();
                }
                compare_rows(&model, store).await?;
                compare_counts(&model, store).await?;
                compare_reasons(&events, store).await?;
            }
            Ok(())
        })
    };
    runner(64).run(&history(), agree).unwrap();
}

/// The writes of a batch, as a worker makes them.
fn writes(events: &[SignedEvent]) -> Vec<Write> {
    plan_batch(events, Source::Events, &OmittedFields::default())
}

fn postgres(database: &TestDatabase, keep: Keep) -> Store {
    let address = database.url().parse().unwrap();
    let options = store::postgres::Options {
        schema: Default::default(),
        address,
        connections: 4,
        keep,
        change_feed: false,
    };
    Store::open(&store::Options::Postgres(options)).unwrap()
}

fn sqlite(directory: &TempDir, keep: Keep) -> Store {
    let path = directory.path().join("users.db");
    Store::open(&store::Options::Sqlite(store::sqlite::Options {
        path,
        keep,
        change_feed: false,
    }))
    .unwrap()
}
