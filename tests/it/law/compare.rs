//! Compares the model with the stores, and the stores with each other.

use clerk_sync::clerk::Table;

use super::*;

pub(super) async fn row(store: &Store, id: &ClerkId) -> Result<TableRow, TestCaseError> {
    let is_of = |table: &&Table| id.as_str().starts_with(table.singular);
    let table = tables::ALL.iter().copied().find(is_of).unwrap();
    store
        .row(table, id)
        .await
        .unwrap()
        .ok_or_else(|| TestCaseError::fail(format!("{id} has no row")))
}

pub(super) async fn line(store: &Store, id: &str) -> Result<EventRow, TestCaseError> {
    let line = store.event(&EventId::new(id).unwrap()).await.unwrap();
    line.ok_or_else(|| TestCaseError::fail(format!("{id} has no line")))
}

pub(super) async fn compare_rows(model: &Model, store: &Store) -> Result<(), TestCaseError> {
    for (id, change) in &model.rows {
        let row = row(store, id).await?;
        let version = change.version();
        prop_assert_eq!(
            row.event_id.clone(),
            version.map(|version| version.event_id.to_string())
        );
        prop_assert_eq!(
            row.updated_at.map(|time| time.0),
            version.map(|version| version.updated_at)
        );
        prop_assert_eq!(
            row.occurred_at.map(|time| time.0),
            version.map(|version| version.occurred_at)
        );
        for (place, column) in change.table.columns.iter().enumerate() {
            let expected = change.value_at(place).cloned().unwrap_or_default();
            let found = row.value(column.name);
            if column.kind.is_json() {
                let json = |value: &clerk_sync::clerk::Value| -> Option<Value> {
                    value
                        .as_json()
                        .map(|text| serde_json::from_str(text).unwrap())
                };
                prop_assert_eq!(json(found), json(&expected), "{} {}", id, column.name);
            } else {
                prop_assert_eq!(found, &expected, "{} {}", id, column.name);
            }
        }
        prop_assert_eq!(row.data.is_some(), version.is_some());
        prop_assert_eq!(row.deleted_at.map(|time| time.0), change.deleted_at);
    }
    Ok(())
}

pub(super) async fn compare_lines(model: &Model, store: &Store) -> Result<(), TestCaseError> {
    for (id, expected) in &model.lines {
        let EventRow {
            status,
            deliveries,
            attempts,
            superseded_by,
            payload,
            ..
        } = line(store, id).await?;
        prop_assert_eq!(
            &Line {
                status,
                deliveries,
                attempts,
                superseded_by
            },
            expected,
            "{}",
            id
        );
        prop_assert_eq!(payload.is_some(), status == Status::Failed, "{}", id);
    }
    Ok(())
}

/// The order of two workers decides which events are stale. It does not change how often an event
/// was delivered, which events failed, and that the newest was applied.
pub(super) async fn compare_counts(model: &Model, store: &Store) -> Result<(), TestCaseError> {
    for (id, expected) in &model.lines {
        let line = line(store, id).await?;
        prop_assert_eq!(line.deliveries, expected.deliveries, "{}", id);
        prop_assert_eq!(
            line.status == Status::Failed,
            expected.status == Status::Failed,
            "{}",
            id
        );
    }
    let winners = model
        .rows
        .values()
        .filter_map(|change| change.profile.as_ref());
    for (version, _) in winners {
        prop_assert_eq!(
            line(store, version.event_id.as_str()).await?.status,
            Status::Applied,
            "{}",
            &version.event_id
        );
    }
    Ok(())
}

/// In any order: an event is stale only behind a version of the same user that is not older.
pub(super) async fn compare_reasons(
    events: &[SignedEvent],
    store: &Store,
) -> Result<(), TestCaseError> {
    let version = |id: &str| {
        let change = events
            .iter()
            .find(|event| event.id().as_str() == id)?
            .parse()
            .ok()?
            .change;
        Some((change.clerk_id, change.profile?.0))
    };
    for event in events {
        let line = line(store, event.id().as_str()).await?;
        let Some(newer) = line.superseded_by else {
            continue;
        };
        prop_assert_eq!(line.status, Status::Stale, "{}", event.id());
        let (Some((user, version)), Some((newer_user, newer))) =
            (version(event.id().as_str()), version(&newer))
        else {
            return Err(TestCaseError::fail(format!(
                "{} is no profile, or its reason is none",
                event.id()
            )));
        };
        prop_assert!(user == newer_user && newer > version, "{}", event.id());
    }
    Ok(())
}

/// The rows and lines as programs get them, but for the times of ours.
pub(super) async fn compare_stores(
    model: &Model,
    [one, two]: &[Store; 2],
) -> Result<(), TestCaseError> {
    let without = |row: Value, ours: &str| {
        let mut row = row;
        row.as_object_mut().unwrap().remove(ours).unwrap();
        row
    };
    for id in model.rows.keys() {
        let [one, two] = [row(one, id).await?, row(two, id).await?]
            .map(|row| serde_json::to_value(row).unwrap());
        prop_assert_eq!(without(one, "synced_at"), without(two, "synced_at"));
    }
    for id in model.lines.keys() {
        let [one, two] = [line(one, id).await?, line(two, id).await?]
            .map(|line| serde_json::to_value(line).unwrap());
        prop_assert_eq!(without(one, "processed_at"), without(two, "processed_at"));
    }
    Ok(())
}
