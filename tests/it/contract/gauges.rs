//! The gauges of both stores are right, and are read from an index alone with any number of rows.

use clerk_sync::clerk::EventId;
use clerk_sync::store::{Act, Action};
use sqlx::{AssertSqlSafe, Executor, Row};

use super::store::Place;
use crate::support::app::tempdir::TempDir;
use crate::support::database::TestDatabase;
use crate::support::history::{event, fail, operator, update};

super::both_arms! {
    postgresql: crate::contract::store::Place::Postgres(crate::support::database::TestDatabase::create().await),
    sqlite: crate::contract::store::Place::Sqlite(crate::support::app::tempdir::TempDir::new());

    failed_events_are_counted_and_known_by_their_type_when_they_are_discarded
}

async fn failed_events_are_counted_and_known_by_their_type_when_they_are_discarded(place: Place) {
    let store = place.migrated().await;
    assert_eq!(store.failed_count(100).await.unwrap(), 0);
    let events = [
        update("msg_1", "user_1", 1),
        update("msg_2", "user_2", 2),
        event("msg_3", "no JSON"),
    ];
    fail(&store, &events).await;
    assert_eq!(store.failed_count(100).await.unwrap(), 3);
    assert_eq!(
        store.failed_count(2).await.unwrap(),
        2,
        "not beyond the limit"
    );

    let ids = ["msg_1", "msg_3", "msg_none"].map(|id| EventId::new(id).unwrap());
    let act = Act::new(Action::Discarded, &operator());
    let mut types = store.discard(&ids, &act).await.unwrap();
    types.sort_unstable();
    assert_eq!(types, ["user.unreadable", "user.updated"]);
    assert!(
        store.discard(&ids, &act).await.unwrap().is_empty(),
        "they are no longer failed"
    );
    assert_eq!(store.failed_count(100).await.unwrap(), 1);
}

#[tokio::test]
async fn postgresql_reads_an_index_alone() {
    let place = Place::Postgres(TestDatabase::create().await);
    place.migrated().await;
    let Place::Postgres(database) = &place else {
        unreachable!()
    };
    let mut connection = database.connect().await;
    let rows = "insert into clerk.events (event_id, event_type, sent_at, received_at, processed_at, status)
         select 'msg_' || n, 'user.updated', now(), now(), now(), case when n % 1000 = 0 then 'failed' else 'applied' end
           from generate_series(1, 50000) n;
         analyze clerk.events";
    connection.execute(rows).await.unwrap();
    let sql = include_str!("../../../src/store/postgres/failed_count.sql").replace("$1", "100000");
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("explain {sql}")))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(
        plan.contains("Index Only Scan using events_by_status"),
        "{plan}"
    );
}

#[tokio::test]
async fn sqlite_reads_an_index_alone() {
    let place = Place::Sqlite(TempDir::new());
    place.migrated().await;
    let Place::Sqlite(directory) = &place else {
        unreachable!()
    };
    let path = directory.path().join("users.db");
    let mut connection =
        <sqlx::SqliteConnection as sqlx::Connection>::connect(path.to_str().unwrap())
            .await
            .unwrap();
    let sql = include_str!("../../../src/store/sqlite/failed_count.sql");
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("explain query plan {sql}")))
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    assert!(
        plan.iter()
            .any(|step| step.contains("USING COVERING INDEX events_by_status")),
        "{plan:?}"
    );
}
