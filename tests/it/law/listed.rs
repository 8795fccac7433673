//! Users who were read from Clerk's list, among their events, in any order: one result, in which no
//! reading overrules an event of the same `updated_at` and none brings anybody back.

use std::collections::BTreeMap;

use clerk_sync::clerk::{Change, ClerkId, OmittedFields, Paging, api_object, tables};
use clerk_sync::store::{Keep, Write};
use clerk_sync::worker::plan::plan;
use futures_util::future::join_all;
use proptest::prelude::*;

use super::{Happened, History, Places, happened, row, runner};
use crate::support::history::{EPOCH_MS, at};

/// A step of the history: an event, or a reading of a user's object as of a time.
#[derive(Debug, Clone)]
enum Step {
    Event(Happened),
    Reading {
        user: u8,
        updated_ms: i64,
    },
    /// `reconcile` finds that Clerk does not have this user.
    Missed {
        user: u8,
        missed_ms: i64,
    },
}

fn steps() -> impl Strategy<Value = (Vec<Step>, bool)> {
    let step = prop_oneof![
        4 => happened().prop_map(Step::Event),
        4 => (0..4_u8, 0..6_i64).prop_map(|(user, updated_ms)| Step::Reading { user, updated_ms }),
        1 => (0..4_u8, 0..6_i64).prop_map(|(user, missed_ms)| Step::Missed { user, missed_ms }),
    ];
    (prop::collection::vec(step, 1..24), any::<bool>())
}

/// A reading's object says as of when it is, and so does its name.
fn reading(run: usize, user: u8, updated_ms: i64) -> Change {
    let at = EPOCH_MS + updated_ms;
    let page = format!(
        r#"[{{"id":"user_{run}_{user}","first_name":"listed_{updated_ms}","updated_at":{at}}}]"#
    );
    let (table, omitted) = (&tables::users::TABLE, OmittedFields::default());
    let now = clerk_sync::clock::now();
    let page = api_object::read_page(table, Paging::Cursor, &page, &omitted, now);
    page.unwrap().objects.remove(0).read.unwrap()
}

/// The steps as writes, one each.
fn writes(steps: &[Step], run: usize) -> Vec<Write> {
    let happened = steps.iter().filter_map(|step| match step {
        Step::Event(happened) => Some(happened.clone()),
        Step::Reading { .. } | Step::Missed { .. } => None,
    });
    let history = History {
        events: happened.collect(),
        deliveries: Vec::new(),
        cuts: Vec::new(),
    };
    let mut events = history.signed(run).into_iter();
    let of_change = |change: Change| Write {
        table: change.table,
        changes: vec![change],
        records: Vec::new(),
    };
    let write = |step: &Step| match step {
        Step::Event(_) => plan(&[events.next().unwrap()]),
        Step::Reading { user, updated_ms } => of_change(reading(run, *user, *updated_ms)),
        Step::Missed { user, missed_ms } => of_change(api_object::deleted(
            &tables::users::TABLE,
            ClerkId::new(&format!("user_{run}_{user}")).unwrap(),
            at(*missed_ms),
        )),
    };
    steps.iter().map(write).collect()
}

#[test]
fn readings_of_the_list_and_events_come_to_one_row_in_any_order() {
    let places = Places::open(Keep::default());
    let run = std::cell::Cell::new(0);
    let agree = |(steps, at_once): (Vec<Step>, bool)| {
        run.set(run.get() + 1);
        let writes = writes(&steps, run.get());
        let mut model: BTreeMap<ClerkId, Change> = BTreeMap::new();
        for change in writes.iter().flat_map(|write| write.changes.clone()) {
            let joined = match model.remove(&change.clerk_id) {
                Some(before) => before.join(change),
                None => change,
            };
            model.insert(joined.clerk_id.clone(), joined);
        }
        places.runtime.block_on(async {
            for store in &places.stores {
                if at_once {
                    for applied in join_all(writes.iter().map(|write| store.apply(write))).await {
                        applied.unwrap();
                    }
                }
                // The other way round, or everything for a second time.
                for write in writes.iter().rev() {
                    store.apply(write).await.unwrap();
                }
                for (id, expected) in &model {
                    let found = row(store, id).await?;
                    let version = expected.profile.as_ref().map(|(version, _)| version);
                    prop_assert_eq!(
                        found.updated_at.map(|time| time.0),
                        version.map(|version| version.updated_at)
                    );
                    prop_assert_eq!(
                        &found.event_id,
                        &version.map(|version| version.event_id.to_string()),
                        "{}",
                        id
                    );
                    let name = expected.value("first_name").and_then(|name| name.as_text());
                    prop_assert_eq!(
                        found.text("first_name"),
                        name,
                        "the profile is that of its version"
                    );
                    prop_assert_eq!(
                        found.deleted_at.map(|time| time.0),
                        expected.deleted_at,
                        "{}",
                        id
                    );
                    must_be_right(&writes, id, found.event_id.as_deref())?;
                }
            }
            Ok(())
        })
    };
    runner(64).run(&steps(), agree).unwrap();
}

/// Computed without the join: the newest `updated_at` wins; of equal ones, an event wins.
fn must_be_right(
    writes: &[Write],
    id: &ClerkId,
    winner: Option<&str>,
) -> Result<(), TestCaseError> {
    let changes = writes
        .iter()
        .flat_map(|write| &write.changes)
        .filter(|change| change.clerk_id == *id);
    let versions: Vec<_> = changes
        .filter_map(|change| change.profile.as_ref())
        .map(|(version, _)| version)
        .collect();
    let Some(newest) = versions.iter().map(|version| version.updated_at).max() else {
        prop_assert_eq!(winner, None);
        return Ok(());
    };
    let is_event = |event_id: &str| event_id != api_object::LISTED.as_str();
    let has_event = versions
        .iter()
        .any(|version| version.updated_at == newest && is_event(version.event_id.as_str()));
    prop_assert_eq!(winner.is_some_and(is_event), has_event, "{}", id);
    Ok(())
}
