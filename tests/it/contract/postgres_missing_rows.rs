//! A row that PostgreSQL drops is noticed, and one that another write has changed is not taken for
//! it.

use clerk_sync::store::{Outcome, StoreError};
use clerk_sync::worker::plan::plan;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::postgres::{migrated, waiting};
use crate::support::app::until;
use crate::support::database::TestDatabase;
use crate::support::history::{at, update};

/// Which transactions wrote the rows that are there.
async fn versions(connection: &mut PgConnection) -> Vec<String> {
    let versions =
        "select xmin::text from clerk.users union all select xmin::text from clerk.events";
    sqlx::query_scalar(versions)
        .fetch_all(connection)
        .await
        .unwrap()
}

/// A trigger that returns nothing, or a partition's rule: the row is gone, and PostgreSQL says
/// nothing.
#[tokio::test]
async fn a_row_that_the_database_drops_without_an_error_is_no_acknowledgement() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let mut outside = database.connect().await;
    let nul =
        "create function public.nul() returns trigger language plpgsql as 'begin return null; end'";
    outside.execute(nul).await.unwrap();
    store
        .apply(&plan(&[update("msg_0", "user_0", 10)]))
        .await
        .unwrap();
    let rows = async |outside: &mut PgConnection| -> (i64, i64) {
        let count =
            "select (select count(*) from clerk.users), (select count(*) from clerk.events)";
        sqlx::query_as(count).fetch_one(outside).await.unwrap()
    };
    for (table, what) in [
        ("events", "dropped an event"),
        ("users", "dropped a user's row"),
    ] {
        for (moment, user) in [
            ("insert", "user_1"),
            ("insert or update", "user_0"),
            ("update", "user_0"),
        ] {
            let trigger = format!(
                "create trigger n before {moment} on clerk.{table} for each row execute function public.nul()"
            );
            outside.execute(AssertSqlSafe(trigger)).await.unwrap();
            let id = if (table, moment) == ("events", "update") {
                "msg_0"
            } else {
                "msg_1"
            };
            let batch = plan(&[update(id, user, 20), update("msg_2", user, 5)]);
            let StoreError::Incompatible(text) = store.apply(&batch).await.unwrap_err() else {
                panic!("{moment} on {table}: not incompatible")
            };
            assert!(
                text.contains(what) && text.contains(&format!("its table {table}")),
                "{text}"
            );
            assert_eq!(
                rows(&mut outside).await,
                (1, 1),
                "{moment} on {table}: nothing is written"
            );
            let before = versions(&mut outside).await;
            assert!(
                matches!(store.ping().await, Err(StoreError::Incompatible(now)) if now == text)
            );
            let after = versions(&mut outside).await;
            assert_eq!(
                before, after,
                "{moment} on {table}: a ping calls no trigger"
            );
            outside
                .execute(AssertSqlSafe(format!("drop trigger n on clerk.{table}")))
                .await
                .unwrap();
        }
    }
    // A worker whose role may not use `settings` is to resume all the same.
    let rename = "alter table clerk.settings rename to elsewhere";
    outside.execute(rename).await.unwrap();
    store.usable().await.unwrap();
    let rename = "alter table clerk.elsewhere rename to settings";
    outside.execute(rename).await.unwrap();
    // A write that changes no row needs no row.
    let nul =
        "create trigger n before update on clerk.users for each row execute function public.nul()";
    outside.execute(nul).await.unwrap();
    assert_eq!(
        store
            .apply(&plan(&[update("msg_3", "user_0", 5)]))
            .await
            .unwrap(),
        [Outcome::Stale]
    );
    outside
        .execute("drop trigger n on clerk.users")
        .await
        .unwrap();
    assert_eq!(
        store
            .apply(&plan(&[update("msg_1", "user_1", 20)]))
            .await
            .unwrap(),
        [Outcome::Applied]
    );
    store.ping().await.unwrap();
}

/// Another write that comes between is no row that was dropped, whichever of the two is newer.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_another_write_reaches_first_is_not_missed() {
    let database = TestDatabase::create().await;
    let store = migrated(&database).await;
    let (mut other, mut watcher) = (database.connect().await, database.connect().await);
    let note = "create table public.changes (clerk_id text);
        create function public.note() returns trigger language plpgsql as
            'begin insert into public.changes values (new.clerk_id); return null; end';
        create trigger note after insert or update on clerk.users for each row execute function public.note()";
    other.execute(note).await.unwrap();
    for (round, is_there) in [(1, false), (2, true)] {
        for (older_by, outcome) in [(1, Outcome::Stale), (-1, Outcome::Applied)] {
            let user = format!("user_{round}{}", older_by + 1);
            if is_there {
                store
                    .apply(&plan(&[update(&format!("msg_{user}_0"), &user, 10)]))
                    .await
                    .unwrap();
            }
            let row = format!(
                "begin; insert into clerk.users (clerk_id, updated_at, occurred_at, event_id, synced_at)
                 values ('{user}', '{0}', '{0}', 'msg_other', now())
                 on conflict (clerk_id) do update set updated_at = excluded.updated_at,
                     occurred_at = excluded.occurred_at, event_id = excluded.event_id, synced_at = now()",
                chrono::DateTime::from_timestamp_millis(at(20 + older_by).ms()).unwrap()
            );
            other.execute(AssertSqlSafe(row)).await.unwrap();
            let batch = plan(&[update(&format!("msg_{user}_1"), &user, 20)]);
            let writer = store.clone();
            let writes = tokio::spawn(async move { writer.apply(&batch).await });
            until("it waits for the other", async || {
                waiting(&mut watcher).await == 1
            })
            .await;
            other.execute("commit").await.unwrap();
            assert_eq!(writes.await.unwrap().unwrap(), [outcome], "{user}");
            let writes: i64 =
                sqlx::query_scalar("select count(*) from public.changes where clerk_id = $1")
                    .bind(&user)
                    .fetch_one(&mut watcher)
                    .await
                    .unwrap();
            let expected = 1 + i64::from(is_there) + i64::from(outcome == Outcome::Applied);
            assert_eq!(
                writes, expected,
                "{user}: a write that alters nothing writes nothing"
            );
        }
    }
}
