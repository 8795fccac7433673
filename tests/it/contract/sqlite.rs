//! Tests of SQLite alone: a missing, empty or foreign file, readers beside a writer, and query
//! plans.

use std::path::Path;

use clerk_sync::clerk::ClerkId;
use clerk_sync::clerk::tables::users::TABLE;
use clerk_sync::store::template::{self, Dialect};
use clerk_sync::store::{self, EventFilter, Keep, Part, Sort, Store, StoreError, UserFilter};
use clerk_sync::worker::plan::plan;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, Row};

use super::store::page;
use crate::support::app::tempdir::TempDir;
use crate::support::history::{EPOCH_MS, event, operator, update};

fn open(path: &Path) -> Store {
    let options = store::sqlite::Options {
        path: path.into(),
        keep: Keep::default(),
        change_feed: false,
    };
    Store::open(&store::Options::Sqlite(options)).unwrap()
}

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

fn incompatible<T>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Incompatible(text)) => text,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("no error"),
    }
}

#[tokio::test]
async fn a_query_never_creates_the_file() {
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    let store = open(&path);
    let user = ClerkId::new("user_1").unwrap();
    let errors = [
        incompatible(store.user(&user).await),
        incompatible(store.users(&UserFilter::default(), &page(1)).await),
        incompatible(store.events(&EventFilter::default(), &page(1)).await),
        incompatible(store.ping().await),
        incompatible(store.apply(&plan(&[update("msg_1", "user_1", 1)])).await),
    ];
    for text in errors {
        assert!(text.contains("clerk-sync "), "says what to run: {text}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_is_empty_old_or_no_database_is_named_with_what_to_do() {
    let directory = TempDir::new();
    let user = ClerkId::new("user_1").unwrap();

    let empty = directory.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    let text = incompatible(open(&empty).ping().await);
    assert!(text.contains("clerk-sync migrate"), "{text}");
    open(&empty).migrate().await.unwrap();
    open(&empty).ping().await.unwrap();

    let text_file = directory.path().join("notes.db");
    std::fs::write(&text_file, "shopping list: ".repeat(1000)).unwrap();
    for text in [
        incompatible(open(&text_file).user(&user).await),
        incompatible(open(&text_file).migrate().await),
    ] {
        assert!(text.contains("no SQLite database"), "{text}");
    }

    let others = directory.path().join("others.db");
    connect(&others)
        .await
        .execute("create table users (mine text); insert into users values ('x')")
        .await
        .unwrap();
    let text = incompatible(open(&others).migrate().await);
    assert!(text.contains("another program"), "{text}");
    let mut connection = connect(&others).await;
    let tables: String =
        sqlx::query_scalar("select group_concat(name) from sqlite_schema where type = 'table'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!(tables, "users", "nothing of ours is left in it");
}

/// A command looks into the file while a service writes it.
#[tokio::test(flavor = "multi_thread")]
async fn one_reads_while_another_writes_and_a_second_writer_waits() {
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    let (service, command) = (open(&path), open(&path));
    service.migrate().await.unwrap();
    let mut other = connect(&path).await;
    other.execute("begin immediate").await.unwrap();
    // The file is being written; what is committed can be read all the same.
    assert!(
        command
            .user(&ClerkId::new("user_1").unwrap())
            .await
            .unwrap()
            .is_none()
    );
    let write = plan(&[update("msg_1", "user_1", 1)]);
    let (applied, ()) = tokio::join!(service.apply(&write), async {
        other.execute("commit").await.unwrap();
    });
    applied.unwrap();
    assert!(
        command
            .user(&ClerkId::new("user_1").unwrap())
            .await
            .unwrap()
            .is_some()
    );
}

/// A file from before there was a lower case of every script.
#[tokio::test]
async fn existing_rows_are_found_in_any_letter_case_after_the_migration() {
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    let store = open(&path);
    store.migrate().await.unwrap();
    let body = |n: usize, name: &str| {
        let data = serde_json::json!({"id": format!("user_{n:04}"), "first_name": name, "last_name": "ÖZ", "updated_at": EPOCH_MS});
        event(
            &format!("msg_{n}"),
            serde_json::json!({"data": data, "type": "user.created"}).to_string(),
        )
    };
    let events: Vec<_> = (0..1200)
        .map(|n| body(n, if n % 2 == 0 { "Ada" } else { "ÅSA" }))
        .collect();
    store.apply(&plan(&events)).await.unwrap();
    store.close().await;
    let before = "drop view active_users; drop index users_email_folded; drop index users_first_name;
        drop index users_last_name; alter table users drop column folded;
        create index users_first_name on users (lower(first_name)); create index users_last_name on users (lower(last_name));
        create view active_users as select * from users where deleted_at is null; delete from _migrations where version = 11";
    connect(&path).await.execute(before).await.unwrap();

    let store = open(&path);
    store.migrate().await.unwrap();
    let filter = |q: &str| UserFilter {
        q: Some(q.into()),
        ..UserFilter::default()
    };
    for (q, newest) in [
        ("åsa", "user_1199"),
        ("ada öz", "user_1198"),
        ("öZ", "user_1199"),
    ] {
        let found = store.users(&filter(q), &page(1)).await.unwrap().rows;
        assert_eq!(found[0].clerk_id, newest, "{q}");
    }
    let mut connection = connect(&path).await;
    let mut columns = async |name: &'static str| -> Vec<String> {
        let names = "select name from pragma_table_info(?1) order by cid";
        sqlx::query_scalar(names)
            .bind(name)
            .fetch_all(&mut connection)
            .await
            .unwrap()
    };
    let table = columns("users").await;
    assert_eq!(
        columns("active_users").await,
        table[..table.len() - 1],
        "the view has all but the one for look-ups"
    );
    store
        .erase(&ClerkId::new("user_1199").unwrap(), &operator())
        .await
        .unwrap();
    let kept = "select count(*) from users where folded is not null and first_name is null";
    let kept: i64 = sqlx::query_scalar(kept)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept, 0, "what is erased is erased here too");
}

/// SQLite plans without the values, so what a plan says here it does with any number of rows.
#[tokio::test]
async fn every_look_up_finds_its_index() {
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    open(&path).migrate().await.unwrap();
    let mut connection = connect(&path).await;
    let cases = [
        (
            include_str!("../../../src/store/sqlite/users_by_email.sql"),
            "users_email_folded (<expr>=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_phone.sql"),
            "users_phone (phone=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_username.sql"),
            "users_username (username=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_external_id.sql"),
            "users_external_id (external_id=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_ids.sql"),
            "sqlite_autoindex_users_1 (clerk_id=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/events_of_ids.sql"),
            "sqlite_autoindex_events_1 (event_id=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users.sql"),
            "sqlite_autoindex_users_1 (clerk_id<?)",
        ),
        (
            include_str!("../../../src/store/sqlite/events.sql"),
            "events_received_at (received_at>? AND received_at<?)",
        ),
        (
            include_str!("../../../src/store/sqlite/events_of_user.sql"),
            "events_clerk_id (clerk_id=? AND received_at>? AND",
        ),
        (
            include_str!("../../../src/store/sqlite/events_by_status.sql"),
            "events_by_status (status=? AND received_at>? AND",
        ),
        (
            include_str!("../../../src/store/sqlite/events_by_type.sql"),
            "events_by_type (event_type=? AND received_at>? AND",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_search.sql"),
            "MULTI-INDEX OR",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_search.sql"),
            "users_last_name (<expr>>? AND <expr><?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users_by_search_in_order.sql"),
            "sqlite_autoindex_users_1 (clerk_id<?)",
        ),
        (
            include_str!("../../../src/store/sqlite/search_is_common.sql"),
            "users_first_name (<expr>>? AND <expr><?)",
        ),
        (
            include_str!("../../../src/store/sqlite/users_deleted.sql"),
            "users_deleted (clerk_id<?)",
        ),
        (
            include_str!("../../../src/store/sqlite/failed.sql"),
            "events_by_status (status=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/recent.sql"),
            "events_received_at (received_at>?)",
        ),
        (
            include_str!("../../../src/store/sqlite/last_received.sql"),
            "COVERING INDEX events_received_at",
        ),
        (
            include_str!("../../../src/store/sqlite/row.sql"),
            "sqlite_autoindex_users_1 (clerk_id=?)",
        ),
        (
            include_str!("../../../src/store/sqlite/event.sql"),
            "sqlite_autoindex_events_1 (event_id=?)",
        ),
    ];
    // In these the filter leads to the rows, and the order follows.
    let follow = [
        include_str!("../../../src/store/sqlite/users_by_ids.sql"),
        include_str!("../../../src/store/sqlite/users_by_search.sql"),
    ];
    for (sql, index) in cases {
        let marks = if sql.contains("<past>") {
            Sort::NEWEST_EVENTS.marks(Dialect::Sqlite, Part::Values, true)
        } else {
            Sort::NEWEST_USERS.marks(Dialect::Sqlite, Part::Values, !follow.contains(&sql))
        };
        let plan = plan_of(&mut connection, sql, &marks).await;
        assert!(plan.contains(index), "{plan} without {index}:\n{sql}");
    }
}

/// Every order is that of an index; at most the rows of one value are sorted.
#[tokio::test]
async fn every_order_finds_its_index() {
    const SORTS_ALL: &str = "TEMP B-TREE FOR ORDER BY";
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    open(&path).migrate().await.unwrap();
    let mut connection = connect(&path).await;
    for name in Sort::names(&Sort::OF_USERS) {
        let sort = Sort::named(&name, &Sort::OF_USERS).unwrap();
        let sql = include_str!("../../../src/store/sqlite/users.sql");
        let index = match name.trim_start_matches('-') {
            "clerk_id" => "sqlite_autoindex_users_1 (clerk_id".into(),
            "email" => "users_email_folded (<expr>".to_owned(),
            column => format!("users_{column} ({column}"),
        };
        let marks = sort.marks(Dialect::Sqlite, Part::Values, true);
        let values = plan_of(&mut connection, sql, &marks).await;
        assert!(
            values.contains(&index) && !values.contains(SORTS_ALL),
            "{name}: {values}"
        );
        if sort.is_by_id() {
            continue;
        }
        for (are_common, index) in [
            (false, &*index),
            (true, "sqlite_autoindex_users_1 (clerk_id"),
        ] {
            let marks = sort.marks(Dialect::Sqlite, Part::Nulls { are_common }, true);
            let nulls = plan_of(&mut connection, sql, &marks).await;
            assert!(nulls.contains(index), "{name}: {nulls}");
        }
    }
    let oldest_first = Sort::named("received_at", &Sort::OF_EVENTS).unwrap();
    for sql in [
        include_str!("../../../src/store/sqlite/events.sql"),
        include_str!("../../../src/store/sqlite/events_of_user.sql"),
        include_str!("../../../src/store/sqlite/events_by_status.sql"),
        include_str!("../../../src/store/sqlite/events_by_type.sql"),
        include_str!("../../../src/store/sqlite/events_by_code.sql"),
    ] {
        let marks = oldest_first.marks(Dialect::Sqlite, Part::Values, true);
        let plan = plan_of(&mut connection, sql, &marks).await;
        let is_in_order =
            plan.contains("received_at>? AND received_at<?") && !plan.contains(SORTS_ALL);
        assert!(is_in_order, "{plan}:\n{sql}");
    }
}

/// How SQLite plans the statement, with these conditions.
async fn plan_of(connection: &mut SqliteConnection, sql: &str, marks: &[(&str, String)]) -> String {
    let marks: Vec<_> = marks.iter().map(|(mark, text)| (*mark, &**text)).collect();
    let sql = template::render(sql, &TABLE, Dialect::Sqlite, &marks);
    let rows = sqlx::raw_sql(AssertSqlSafe(format!("explain query plan {sql}")))
        .fetch_all(connection)
        .await
        .unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
    steps.join("; ")
}

/// No other account meets the rule of `dev --demo`, no other process, and none that opens the file
/// later.
#[tokio::test]
async fn the_rule_of_the_demo_is_for_its_own_account_in_its_own_process() {
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    let options = store::sqlite::Options {
        path: path.clone(),
        keep: Keep::default(),
        change_feed: false,
    };
    let demo = store::sqlite::Store::open(&options);
    demo.migrate().await.unwrap();
    // Every one of these accounts has one address.
    let write = |id: &str, user: &str| {
        let emails = r#"[{"id":"idn_1","email_address":"ada@example.com"}]"#;
        let data = format!(
            r#"{{"id":"{user}","updated_at":{EPOCH_MS},"primary_email_address_id":"idn_1","email_addresses":{emails}}}"#
        );
        let body = format!(r#"{{"data":{data},"timestamp":{EPOCH_MS},"type":"user.created"}}"#);
        plan(&[event(id, body)])
    };
    demo.apply(&write("msg_1", "user_1")).await.unwrap();

    let account = "user_o'brien";
    demo.set_demo_rule(Some(&ClerkId::new(account).unwrap()))
        .await;
    // As often as it is tried: a connection that met an error is replaced.
    for _ in 0..2 {
        let refused = demo.apply(&write("msg_2", account)).await;
        assert!(
            matches!(&refused, Err(StoreError::Rejected { code, .. }) if code == "sqlite_1811"),
            "{refused:?}"
        );
    }
    demo.apply(&write("msg_3", "user_3")).await.unwrap();
    let triggers = "select count(*) from sqlite_schema where type = 'trigger'";
    let row = connect(&path).await.fetch_one(triggers).await.unwrap();
    assert_eq!(row.get::<i64, _>(0), 0);
    open(&path).apply(&write("msg_2", account)).await.unwrap();

    let again = "user_o'hara";
    demo.set_demo_rule(Some(&ClerkId::new(again).unwrap()))
        .await;
    assert!(demo.apply(&write("msg_4", again)).await.is_err());
    demo.set_demo_rule(None).await;
    demo.apply(&write("msg_4", again)).await.unwrap();
}
