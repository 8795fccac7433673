//! Every SQL statement of the pages runs: on PostgreSQL, or on SQLite if its block says so.
//!
//! The blocks of a page run in their order in one transaction, which is rolled back at the end.
//! `$1` stands for the ID of a user. A block that begins with a question must have an answer.

use std::num::NonZeroU32;
use std::str::FromStr;

use clerk_sync::clerk::tables;
use clerk_sync::store::{Page as Listed, Status, TableFilter};
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Database, Either, Executor, Postgres, Sqlite};

use super::fixture;
use super::page::{self, Block, Page};
use crate::support::app::Place;

/// What is there before the first block of a page, beside our tables: roles that pages grant rights
/// to, a table of the application, and the function by which Supabase names who asks.
pub const PRELUDE: &str = "
    do $$
    declare role text;
    begin
        foreach role in array array['clerk_sync', 'app', 'authenticated'] loop
            if not exists (select from pg_roles where rolname = role) then
                execute format('create role %I', role);
            end if;
        end loop;
    end
    $$;
    create table public.invoices (clerk_id text not null);
    create schema auth;
    create function auth.jwt() returns jsonb language sql stable
        as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$";

#[tokio::test]
async fn every_statement_for_postgresql_runs() {
    let place = Place::servers().await;
    fixture::fill(&place.store_with_changes()).await;
    let (mut faults, mut count) = (String::new(), 0);
    for page in page::all() {
        let mut connection = place.database().connect().await;
        let mut transaction = connection.begin().await.unwrap();
        transaction.execute(PRELUDE).await.unwrap();
        let blocks = blocks(&page, "sql");
        count += blocks.len();
        run::<Postgres>(&mut transaction, &page, &blocks, &mut faults).await;
        transaction.rollback().await.unwrap();
    }
    assert!(faults.is_empty(), "\n{faults}");
    assert!(count > 2, "{count} blocks were found");
}

#[tokio::test]
async fn every_statement_for_sqlite_runs() {
    let place = Place::embedded();
    fixture::fill(&place.store()).await;
    let file = format!("sqlite://{}/users.db", place.directory().display());
    let (mut faults, mut count) = (String::new(), 0);
    for page in page::all() {
        let options = SqliteConnectOptions::from_str(&file).unwrap();
        let mut connection = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let blocks = blocks(&page, "sql sqlite");
        count += blocks.len();
        run::<Sqlite>(&mut transaction, &page, &blocks, &mut faults).await;
        transaction.rollback().await.unwrap();
    }
    assert!(faults.is_empty(), "\n{faults}");
    assert!(count > 2, "{count} blocks were found");
}

pub fn blocks(page: &Page, language: &str) -> Vec<Block> {
    let mut blocks = page.blocks();
    blocks.retain(|block| block.language == language);
    blocks
}

/// Runs the blocks up to the first that fails: a transaction that failed takes no more.
pub async fn run<D: Database>(
    connection: &mut D::Connection,
    page: &Page,
    blocks: &[Block],
    faults: &mut String,
) where
    for<'a> &'a mut D::Connection: Executor<'a, Database = D>,
{
    for block in blocks {
        let sql = block.text.replace("$1", &format!("'{}'", fixture::ADA));
        let mut results = connection.fetch_many(sqlx::raw_sql(AssertSqlSafe(sql)));
        let mut rows = 0;
        let fault = loop {
            match results.try_next().await {
                Ok(Some(Either::Left(_))) => {}
                Ok(Some(Either::Right(_))) => rows += 1,
                Ok(None) if rows == 0 && is_question(&block.text) => {
                    break Some("it has no row".to_owned());
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        if let Some(fault) = fault {
            *faults += &format!("{}:{}: {fault}\n", page.path, block.line);
            return;
        }
    }
}

fn is_question(sql: &str) -> bool {
    let mut lines = sql.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with("--"));
    let word = first.and_then(|line| line.split_whitespace().next());
    matches!(word, Some("select" | "with"))
}

/// The page on SQL has people change our tables: indexes, a computed column, an inserted row, keys
/// that point at them. Events are applied all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_on_sql_adds_holds_up_no_event() {
    let place = Place::servers().await;
    fixture::fill(&place.store()).await;
    let mut connection = place.database().connect().await;
    let page = Page::read(&page::root().join("docs/sql.md"));
    let mut blocks = blocks(&page, "sql");
    // Roles belong to the whole server, so their blocks are left to the test above.
    let names_role = |block: &Block| {
        ["grant ", "authenticated"]
            .iter()
            .any(|word| block.text.contains(word))
    };
    blocks.retain(|block| !names_role(block));
    let mut faults = String::new();
    run::<Postgres>(&mut connection, &page, &blocks, &mut faults).await;
    assert!(faults.is_empty(), "\n{faults}");

    let app = place.serve().await;
    place.succeed(&["check", "--role", "worker"]);
    for (event, id) in [("msg_fresh", "user_2abcFresh"), ("msg_new", "user_2abcNew")] {
        app.deliver(event, fixture::sign_up(event, id).body().to_vec())
            .await;
        assert_eq!(app.settled(event).await.status, Status::Applied);
        let select = "select email, plan from clerk.users where clerk_id = $1";
        let row: (String, String) = sqlx::query_as(select)
            .bind(id)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(row, (format!("{id}@example.com"), "free".into()));
    }
    place.succeed(&["users", "erase", "user_2abcNew", "--yes"]);
    // An order points at it.
    let forget = place.run(&["users", "erase", "user_2abcFresh", "--forget", "--yes"]);
    assert_eq!(forget.status.code(), Some(1));
}

/// What the page warns of: a cast that fails, a unique column. The event is kept as failed.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_breaks_a_rule_of_the_application_fails() {
    for (rule, code) in [
        (
            "alter table clerk.users add column seats int
             generated always as ((public_metadata ->> 'plan')::int) stored",
            "sqlstate_22P02",
        ),
        (
            "create unique index on clerk.users (image_url)",
            "sqlstate_23505",
        ),
    ] {
        let place = Place::servers().await;
        place.succeed(&["migrate"]);
        let mut connection = place.database().connect().await;
        connection.execute(rule).await.unwrap();
        let app = place.serve().await;
        for event in ["msg_1", "msg_2"] {
            let signed_up = fixture::sign_up(event, &event.replace("msg", "user"));
            app.deliver(event, signed_up.body().to_vec()).await;
            app.settled(event).await;
        }
        let failed = app.settled("msg_2").await;
        assert_eq!(failed.status, Status::Failed, "{rule}");
        assert_eq!(failed.error_code.as_deref(), Some(code));
    }
}

/// A signed-in person sees their own row through the view of the page, and no other.
#[tokio::test]
async fn the_view_of_the_page_shows_people_their_own_row() {
    let place = Place::servers().await;
    fixture::fill(&place.store()).await;
    let mut connection = place.database().connect().await;
    let mut transaction = connection.begin().await.unwrap();
    transaction.execute(PRELUDE).await.unwrap();
    let page = Page::read(&page::root().join("docs/sql.md"));
    let mut blocks = blocks(&page, "sql");
    blocks.retain(|block| block.text.contains("public.me"));
    run::<Postgres>(&mut transaction, &page, &blocks, &mut String::new()).await;
    transaction
        .execute("grant usage on schema auth to authenticated")
        .await
        .unwrap();
    let rows = async |connection: &mut sqlx::PgConnection, claims: &str| {
        let set = "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)";
        sqlx::query(set)
            .bind(claims)
            .execute(&mut *connection)
            .await
            .unwrap();
        sqlx::query_scalar::<_, String>("select email from public.me")
            .fetch_all(connection)
            .await
            .unwrap()
    };
    let claims = format!(r#"{{"sub":"{}"}}"#, fixture::ADA);
    assert_eq!(rows(&mut transaction, &claims).await, ["ada@example.com"]);
    assert!(rows(&mut transaction, "").await.is_empty());
    transaction.rollback().await.unwrap();
}

/// What `docs/columns.md` says of views is there, in both databases, with the columns of the table.
#[tokio::test]
async fn the_views_of_every_table_show_its_rows() {
    for place in [Place::servers().await, Place::embedded()] {
        let store = place.store();
        fixture::fill(&store).await;
        for table in tables::ALL {
            for view in table.views {
                let page = Listed {
                    limit: NonZeroU32::new(500).unwrap(),
                    after: None,
                };
                let filter = TableFilter::default();
                let all = store.rows(table, &filter, &page, false).await;
                let all = all.unwrap().rows;
                let mut shown = 0;
                for row in &all {
                    let id = row.clerk_id.as_str();
                    let rows = store.rows_of_view(table, view, "clerk_id", id).await;
                    shown += rows.unwrap().len();
                }
                assert!(shown > 0 && shown <= all.len(), "{}: {shown}", view.name);
            }
        }
    }
}
