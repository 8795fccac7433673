//! PostgreSQL behind a real PgBouncer, with what it has by default: session pooling and transaction
//! pooling work, what cannot work is named, and no other client of the pooler meets anything of
//! ours.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clerk_sync::store::postgres::Pooling;
use clerk_sync::store::{self, Keep, Outcome, Status, Store, StoreError};
use clerk_sync::worker::plan::plan;
use futures_util::future::join_all;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Executor, PgConnection, Row};

use crate::support::app::{Place, SECRET, until};
use crate::support::database::TestDatabase;
use crate::support::history::update;
use crate::support::pgbouncer::{PgBouncer, can_follow, program};

const FOLLOWS: &str = "max_prepared_statements = 200";

fn open(url: &str) -> Store {
    let options = store::postgres::Options {
        schema: Default::default(),
        address: url.parse().unwrap(),
        connections: 2,
        keep: Keep::default(),
        change_feed: false,
    };
    Store::open(&store::Options::Postgres(options)).unwrap()
}

/// Another client of the pooler.
async fn client(url: &str) -> PgConnection {
    PgConnectOptions::from_str(url)
        .unwrap()
        .extra_float_digits(None)
        .connect()
        .await
        .unwrap()
}

const BODY: &str = r#"{"data":{"id":"user_1","updated_at":1795172400018},"timestamp":1795172400033,"type":"user.updated"}"#;

/// A table that the limits of each write go to.
const SEE: &str = "
    create table public.seen (statement_timeout text, lock_timeout text, seqscan text);
    create function public.see() returns trigger language plpgsql as $$ begin
        insert into public.seen values
            (current_setting('statement_timeout'), current_setting('lock_timeout'), current_setting('enable_seqscan'));
        return null;
    end $$;
    create trigger see after insert on clerk.events for each row execute function public.see()";

async fn seen(connection: &mut PgConnection) -> Vec<[String; 3]> {
    let rows = connection
        .fetch_all("select * from public.seen")
        .await
        .unwrap();
    rows.iter()
        .map(|row| [0, 1, 2].map(|column| row.get(column)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn session_pooling_works_and_has_the_limits() {
    let Some(program) = program() else { return };
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let bouncer = PgBouncer::before(&program, &database.url(), &["pool_mode = session"]).await;
    let url = bouncer.url(&database.url());
    place.succeed(&["migrate", "--database-url", &url]);
    database.connect().await.execute(SEE).await.unwrap();
    let app = place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("DATABASE_URL", &url),
            ],
        )
        .await;
    assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    assert_eq!(
        seen(&mut database.connect().await).await,
        [["30s", "5s", "off"].map(String::from)]
    );
    assert!(app.stop().success());
}

/// Asserts what another client of the pooler finds in each server session that it gets.
async fn nothing_is_left_in(url: &str, server: &mut PgConnection) {
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = client(url).await;
        // Each is held, so that each has a session of its own.
        client.execute("begin").await.unwrap();
        for (setting, default) in [
            ("statement_timeout", "0"),
            ("lock_timeout", "0"),
            ("enable_seqscan", "on"),
            ("plan_cache_mode", "auto"),
        ] {
            let row = client
                .fetch_one(sqlx::AssertSqlSafe(format!("show {setting}")))
                .await
                .unwrap();
            assert_eq!(row.get::<String, _>(0), default, "{setting}");
        }
        clients.push(client);
    }
    let locks = "select count(*) from pg_locks where locktype = 'advisory'
                  and database = (select oid from pg_database where datname = current_database())";
    let locks: i64 = sqlx::query_scalar(locks).fetch_one(server).await.unwrap();
    assert_eq!(locks, 0, "no lock is left");
}

/// With few sessions of the server, with many, and in turn, as PgBouncer and others hand them out.
#[tokio::test(flavor = "multi_thread")]
async fn transaction_pooling_works_and_leaves_nothing_in_the_servers_sessions() {
    let Some(program) = program().filter(can_follow) else {
        return;
    };
    let (few, in_turn) = (
        "default_pool_size = 1\nreserve_pool_size = 4",
        "server_round_robin = 1",
    );
    for settings in [few, "default_pool_size = 20", in_turn] {
        let database = TestDatabase::create().await;
        let settings = ["pool_mode = transaction", FOLLOWS, settings];
        let bouncer = PgBouncer::before(&program, &database.url(), &settings).await;
        let url = bouncer.url(&database.url());
        // Sessions of the server that others have used before.
        for _ in 0..3 {
            client(&url).await.execute("select 1").await.unwrap();
        }
        let stores = [open(&url), open(&url)];
        // With so few sessions one may not come about in time.
        let migrates = |store| async move {
            until("it migrates", async || Store::migrate(store).await.is_ok()).await
        };
        join_all(stores.iter().map(migrates)).await;
        let works = |number: usize| {
            let store = &stores[number % 2];
            async move {
                let event = update(&format!("msg_{number}"), &format!("user_{number}"), 1);
                assert_eq!(
                    store.apply(&plan(&[event])).await.unwrap(),
                    [Outcome::Applied]
                );
                store.ping().await.unwrap();
                assert!(store.totals().await.is_ok());
            }
        };
        join_all((0..40).map(works)).await;
        nothing_is_left_in(&url, &mut database.connect().await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_works_through_a_transaction_pooler_and_check_says_so() {
    let Some(program) = program().filter(can_follow) else {
        return;
    };
    let place = Place::servers().await;
    let Place::Servers { database, .. } = &place else {
        unreachable!()
    };
    let bouncer = PgBouncer::before(
        &program,
        &database.url(),
        &["pool_mode = transaction", FOLLOWS],
    )
    .await;
    let url = bouncer.url(&database.url());
    let app = place
        .start(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("DATABASE_URL", &url),
            ],
        )
        .await;
    assert_eq!(app.deliver("msg_1", BODY).await.status, 200);
    assert_eq!(app.settled("msg_1").await.status, Status::Applied);
    let mut check = place.command(&["check"]);
    let checked = check
        .env("DATABASE_URL", &url)
        .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
        .output()
        .unwrap();
    let said = String::from_utf8(checked.stdout).unwrap();
    assert!(
        checked.status.success() && said.contains("a transaction pooler is in front of the server"),
        "{said}"
    );
    assert!(app.stop().success());
}

/// As with a pooler of several processes, where the first two connections may miss each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_pooler_that_shows_itself_later_is_recognized_then() {
    let Some(program) = program().filter(can_follow) else {
        return;
    };
    let database = TestDatabase::create().await;
    let bouncer =
        PgBouncer::before(&program, &database.url(), &["pool_mode = session", FOLLOWS]).await;
    let store = open(&bouncer.url(&database.url()));
    store.migrate().await.unwrap();
    let pooling = async || match store.inspect().await.unwrap() {
        store::DatabaseReport::Postgres(found) => found.pooling,
        store::DatabaseReport::Sqlite(_) => unreachable!(),
    };
    assert_eq!(pooling().await, Pooling::Session);
    bouncer.reload(&database.url(), &["pool_mode = transaction", FOLLOWS]);
    let mut others = Vec::new();
    let mut number = 0;
    until("it is recognized", async || {
        number += 1;
        let event = update(&format!("msg_{number}"), "user_1", number);
        assert_eq!(
            store.apply(&plan(&[event])).await.unwrap(),
            [Outcome::Applied]
        );
        // Idle for long enough to be asked, while others have the sessions that it had.
        let used = Instant::now();
        let mut other = client(&bouncer.url(&database.url())).await;
        other.execute("begin; select 1").await.unwrap();
        others.push(other);
        until("it is idle for a while", async || {
            used.elapsed() > Duration::from_millis(1100)
        })
        .await;
        pooling().await == Pooling::Transaction
    })
    .await;
    assert!(number < 10, "{number} rounds");
}

/// Settings of a pooler that cannot serve, and what names each.
fn useless(program: &PathBuf) -> Vec<(Vec<&'static str>, &'static str)> {
    let forgets = if can_follow(program) {
        vec!["pool_mode = transaction", "max_prepared_statements = 0"]
    } else {
        vec!["pool_mode = transaction"]
    };
    vec![
        (forgets, "does not follow prepared statements"),
        (vec!["pool_mode = statement"], "statement pooling"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_cannot_serve_is_named_with_the_direct_address() {
    let Some(program) = program() else { return };
    for (settings, name) in useless(&program) {
        let place = Place::servers().await;
        place.succeed(&["migrate"]);
        let Place::Servers { database, .. } = &place else {
            unreachable!()
        };
        let bouncer = PgBouncer::before(&program, &database.url(), &settings).await;
        let url = bouncer.url(&database.url());
        let is_named = |text: &str| text.contains(name) && text.contains("direct address");
        let app = place.start_unready(
            &["serve"],
            &[
                ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
                ("DATABASE_URL", &url),
            ],
        );
        until("the log names it", async || {
            app.log().iter().any(|line| is_named(line))
        })
        .await;
        until("readiness names it", async || {
            app.get("/readyz")
                .await
                .is_some_and(|answer| answer.status == 503 && is_named(&answer.body.to_string()))
        })
        .await;
        for command in ["migrate", "check"] {
            let output = place.run(&[command, "--database-url", &url]);
            let said =
                String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && is_named(&said),
                "{command}: {said}"
            );
        }
        assert!(app.stop().success());
    }
}

/// A commit that is only in memory could be lost after it was acknowledged, and a setting of ours
/// would reach other clients.
#[tokio::test]
async fn a_database_that_commits_asynchronously_is_refused_through_a_transaction_pooler() {
    let Some(program) = program().filter(can_follow) else {
        return;
    };
    let database = TestDatabase::create().await;
    let mut server = database.connect().await;
    let name: String = sqlx::query_scalar("select current_database()")
        .fetch_one(&mut server)
        .await
        .unwrap();
    let off = format!("alter database {name} set synchronous_commit = off");
    server.execute(sqlx::AssertSqlSafe(off)).await.unwrap();
    let bouncer = PgBouncer::before(
        &program,
        &database.url(),
        &["pool_mode = transaction", FOLLOWS],
    )
    .await;
    let refused = open(&bouncer.url(&database.url()))
        .migrate()
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, StoreError::Incompatible(text) if text.contains("synchronous_commit")),
        "{refused}"
    );
}
