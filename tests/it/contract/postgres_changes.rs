//! The change feed of PostgreSQL under writers that run at once: no reader skips a change, whatever
//! order the transactions end in, and the changes of one row are in order.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use clerk_sync::clerk::{ChangeKind, ClerkId};
use clerk_sync::store::{self, ChangeCursor, ChangePage, ChangeRow, Keep, Outcome, Store};
use clerk_sync::worker::plan::plan;
use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::postgres::waiting;
use crate::support::app::until;
use crate::support::database::TestDatabase;
use crate::support::history::{at, delete, operator, update};

const ALL: NonZeroU32 = NonZeroU32::new(1000).unwrap();

async fn recording(database: &TestDatabase) -> Store {
    let options = store::postgres::Options {
        schema: Default::default(),
        address: database.url().parse().unwrap(),
        connections: 4,
        keep: Keep::default(),
        change_feed: true,
    };
    let store = Store::open(&store::Options::Postgres(options)).unwrap();
    store.migrate().await.unwrap();
    store.note_change_feed().await.unwrap();
    store
}

async fn read(store: &Store, after: Option<ChangeCursor>) -> (Vec<ChangeRow>, ChangeCursor) {
    match store.changes(after, None, ALL).await.unwrap() {
        ChangePage::Changes { changes, next, .. } => (changes, next),
        ChangePage::Expired => panic!("the place is expired"),
    }
}

/// A change of a row that no store writes.
async fn insert(connection: &mut PgConnection, row: &str) {
    let insert = format!(
        "insert into clerk.changes (table_name, clerk_id, change, fields, committed_at)
         values ('users', '{row}', 'updated', '{{}}', now())"
    );
    connection.execute(AssertSqlSafe(insert)).await.unwrap();
}

fn rows(changes: &[ChangeRow]) -> Vec<&str> {
    changes.iter().map(|change| &*change.clerk_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_commits_late_is_not_skipped() {
    let database = TestDatabase::create().await;
    let store = recording(&database).await;
    for (how, late) in [
        ("commit", &["late", "user_1"][..]),
        ("rollback", &["user_1"][..]),
    ] {
        let (_, start) = read(&store, None).await;
        let mut open = database.connect().await;
        open.execute("begin").await.unwrap();
        insert(&mut open, "late").await;
        store
            .apply(&plan(&[update(
                &format!("msg_{how}"),
                "user_1",
                1 + how.len() as i64,
            )]))
            .await
            .unwrap();
        let (none, place) = read(&store, Some(start)).await;
        assert_eq!(rows(&none), [""; 0], "before the {how}");
        // One that begins later is not waited for.
        let mut later = database.connect().await;
        later.execute("begin").await.unwrap();
        insert(&mut later, "later").await;
        open.execute(how).await.unwrap();
        let (seen, place) = read(&store, Some(place)).await;
        assert_eq!(rows(&seen), late, "after the {how}");
        later.execute("commit").await.unwrap();
        let (seen, _) = read(&store, Some(place)).await;
        assert_eq!(rows(&seen), ["later"], "after the {how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_of_another_application_holds_nothing_up() {
    let database = TestDatabase::create().await;
    let store = recording(&database).await;
    let mut other = database.connect().await;
    let begin = "create table public.orders (id int); begin; insert into public.orders values (1)";
    other.execute(begin).await.unwrap();
    store
        .apply(&plan(&[update("msg_1", "user_1", 1)]))
        .await
        .unwrap();
    assert_eq!(rows(&read(&store, None).await.0), ["user_1"]);
    // Nor does one that reads the feed by hand.
    other.execute("select * from clerk.changes").await.unwrap();
    store
        .apply(&plan(&[update("msg_2", "user_2", 1)]))
        .await
        .unwrap();
    assert_eq!(rows(&read(&store, None).await.0), ["user_1", "user_2"]);
}

/// Writers hold their transactions open while others commit, and some roll back.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_follows_sees_every_change_in_the_order_of_the_ids() {
    let seed: u64 =
        std::env::var("FEED_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("FEED_SEED={seed} repeats this run");
    let database = TestDatabase::create().await;
    let store = recording(&database).await;
    let random = &|writer: u64| StdRng::seed_from_u64(seed ^ writer);
    let by_hand = async |writer: u64| {
        let mut random = random(writer);
        let mut connection = database.connect().await;
        for _ in 0..40 {
            connection.execute("begin").await.unwrap();
            for _ in 0..random.random_range(1..4) {
                insert(&mut connection, &format!("by_hand_{writer}")).await;
                let hold = format!("select pg_sleep({})", random.random_range(0.0..0.01));
                connection.execute(AssertSqlSafe(hold)).await.unwrap();
            }
            let how = if random.random_bool(0.8) {
                "commit"
            } else {
                "rollback"
            };
            connection.execute(how).await.unwrap();
        }
    };
    let by_store = async |writer: u64| {
        let mut random = random(writer);
        for round in 0..60 {
            let events = (0..random.random_range(1..20)).map(|place| {
                let user = format!("user_{}", random.random_range(0..15));
                let id = format!("msg_{writer}_{round}_{place}");
                update(&id, &user, random.random_range(1..1_000_000))
            });
            store
                .apply(&plan(&events.collect::<Vec<_>>()))
                .await
                .unwrap();
        }
    };
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let writers = async {
        tokio::join!(
            join_all((0..3).map(by_hand)),
            join_all((10..14).map(by_store)),
        );
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let reader = async {
        let (mut seen, mut place) = (Vec::new(), None);
        loop {
            // Looked at first: all that was committed then is seen in this round.
            let is_last = is_done.load(std::sync::atomic::Ordering::Relaxed);
            let (changes, next) = read(&store, place).await;
            (seen, place) = ([seen, changes].concat(), Some(next));
            if is_last {
                return seen;
            }
        }
    };
    let ((), seen) = tokio::join!(writers, reader);
    let all = sqlx::query_scalar::<_, i64>("select id from clerk.changes order by id");
    let all = all.fetch_all(&mut database.connect().await).await.unwrap();
    let ids: Vec<_> = seen.iter().map(|change| change.id).collect();
    assert_eq!(ids, all);
    assert!(all.len() > 200, "{}", all.len());
    // The last change of a row names the event that the row is of, and only the first creates it.
    let mut last = HashMap::new();
    for change in seen
        .iter()
        .filter(|change| change.clerk_id.starts_with("user_"))
    {
        let before = last.insert(change.clerk_id.clone(), change.event_id.clone().unwrap());
        let is_first = change.change == ChangeKind::Created;
        assert_eq!(is_first, before.is_none(), "{change:?}");
    }
    let now = sqlx::query_as::<_, (String, String)>("select clerk_id, event_id from clerk.users");
    let now = now.fetch_all(&mut database.connect().await).await.unwrap();
    assert_eq!(last, now.into_iter().collect());
}

/// Two writers reach a new row at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_another_write_has_created_is_not_created_again() {
    let database = TestDatabase::create().await;
    let store = recording(&database).await;
    let (mut other, mut watcher) = (database.connect().await, database.connect().await);
    let row = format!(
        "begin; insert into clerk.users (clerk_id, first_name, last_name, updated_at, occurred_at, event_id, synced_at)
         values ('user_1', 'msg_1', 'Okafor', '{0}', '{0}', 'msg_other', now())",
        chrono::DateTime::from_timestamp_millis(at(10).ms()).unwrap()
    );
    other.execute(AssertSqlSafe(row)).await.unwrap();
    let (batch, writer) = (plan(&[update("msg_1", "user_1", 20)]), store.clone());
    let writes = tokio::spawn(async move { writer.apply(&batch).await });
    until("it waits for the other", async || {
        waiting(&mut watcher).await == 1
    })
    .await;
    other.execute("commit").await.unwrap();
    assert_eq!(writes.await.unwrap().unwrap(), [Outcome::Applied]);
    let (changes, _) = read(&store, None).await;
    let [change] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(change.change, ChangeKind::Updated);
    // What the row was is not known then: no column that changed is left out.
    for field in ["first_name", "last_name", "updated_at"] {
        assert!(
            change.fields.iter().any(|known| known == field),
            "{change:?}"
        );
    }
}

/// A write fills columns while the user is erased.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_names_what_a_write_beside_it_has_filled() {
    let database = TestDatabase::create().await;
    let store = recording(&database).await;
    // One that is only known as deleted.
    store
        .apply(&plan(&[delete("msg_1", "user_1", 10)]))
        .await
        .unwrap();
    let (mut other, mut watcher) = (database.connect().await, database.connect().await);
    let fill = "begin; update clerk.users set username = 'ada', event_id = 'msg_other', updated_at = now(), occurred_at = now()
                where clerk_id = 'user_1'";
    other.execute(fill).await.unwrap();
    let eraser = store.clone();
    let erases = tokio::spawn(async move {
        let ada = ClerkId::new("user_1").unwrap();
        eraser.erase(&ada, &operator()).await
    });
    until("it waits for the other", async || {
        waiting(&mut watcher).await == 1
    })
    .await;
    other.execute("commit").await.unwrap();
    erases.await.unwrap().unwrap();
    let (changes, _) = read(&store, None).await;
    let erased = changes.last().unwrap();
    assert_eq!(erased.change, ChangeKind::Erased);
    assert_eq!(erased.fields, ["username", "updated_at"]);
}

/// One writer holds the feed up: each reader still has what was settled before, in a moment.
#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_wait_for_a_held_writer_one_after_the_other() {
    let database = TestDatabase::create().await;
    let store = recording(&database).await;
    store
        .apply(&plan(&[update("msg_1", "user_1", 1)]))
        .await
        .unwrap();
    assert_eq!(rows(&read(&store, None).await.0), ["user_1"]);
    let mut open = database.connect().await;
    open.execute("begin").await.unwrap();
    insert(&mut open, "held").await;
    let started = Instant::now();
    let readers = join_all((0..100).map(|_| read(&store, None))).await;
    // In turn, each would take a quarter of a second.
    assert!(started.elapsed() < Duration::from_secs(10));
    for (changes, _) in readers {
        assert_eq!(rows(&changes), ["user_1"]);
    }
}
