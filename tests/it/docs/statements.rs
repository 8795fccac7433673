//! Every SQL statement of the pages runs: on PostgreSQL, or on SQLite if its block says so.
//!
//! The blocks of a page run in their order in one transaction, which is rolled back at the end.
//! `$1` stands for the ID of a user. A block that begins with a question must have an answer.

use std::str::FromStr;

use clerk_sync::store::Store;
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, Connection, Database, Either, Executor, Postgres, Sqlite};

use super::fixture;
use super::page::{self, Block, Page};
use crate::support::app::Place;

/// What is there before the first block of a page, beside our tables: the roles that pages grant
/// rights to.
const ROLES: &str = "
    do $$
    declare role text;
    begin
        foreach role in array array['clerk_sync', 'app'] loop
            if not exists (select from pg_roles where rolname = role) then
                execute format('create role %I', role);
            end if;
        end loop;
    end
    $$";

#[tokio::test]
async fn every_statement_for_postgresql_runs() {
    let place = Place::servers().await;
    fill(&place.store()).await;
    let (mut faults, mut count) = (String::new(), 0);
    for page in page::all() {
        let mut connection = place.database().connect().await;
        let mut transaction = connection.begin().await.unwrap();
        transaction.execute(ROLES).await.unwrap();
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
    fill(&place.store()).await;
    let file = format!("sqlite://{}/users.db", place.directory().display());
    let mut faults = String::new();
    for page in page::all() {
        let options = SqliteConnectOptions::from_str(&file).unwrap();
        let mut connection = sqlx::SqliteConnection::connect_with(&options)
            .await
            .unwrap();
        let mut transaction = connection.begin().await.unwrap();
        let blocks = blocks(&page, "sql sqlite");
        run::<Sqlite>(&mut transaction, &page, &blocks, &mut faults).await;
        transaction.rollback().await.unwrap();
    }
    assert!(faults.is_empty(), "\n{faults}");
}

async fn fill(store: &Store) {
    fixture::fill(store).await;
}

fn blocks(page: &Page, language: &str) -> Vec<Block> {
    let mut blocks = page.blocks();
    blocks.retain(|block| block.language == language);
    blocks
}

/// Runs the blocks up to the first that fails: a transaction that failed takes no more.
async fn run<D: Database>(
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
