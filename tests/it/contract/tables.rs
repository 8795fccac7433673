//! The lists of columns, compared with what the migrations make.

use clerk_sync::clerk::{Kind, Table, tables};
use sqlx::{Connection, SqliteConnection};

use super::store::Place;
use crate::support::app::tempdir::TempDir;
use crate::support::database::TestDatabase;

/// A column as a database describes it: name, type and comment.
type Described = (String, String, Option<String>);

/// The columns that every table has, with PostgreSQL's types.
const SHARED: [(&str, &str); 8] = [
    ("clerk_id", "text"),
    ("data", "jsonb"),
    ("deleted_at", "timestamp with time zone"),
    ("erased_at", "timestamp with time zone"),
    ("event_id", "text"),
    ("occurred_at", "timestamp with time zone"),
    ("synced_at", "timestamp with time zone"),
    ("updated_at", "timestamp with time zone"),
];

fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Boolean => "boolean",
        Kind::Integer => "bigint",
        Kind::Time => "timestamp with time zone",
        Kind::Json | Kind::Texts => "jsonb",
    }
}

/// The columns of the list, sorted, with PostgreSQL's types and comments.
fn listed(table: &Table) -> Vec<Described> {
    let own = table.columns.iter();
    let own = own.map(|column| (column.name, type_of(column.kind), Some(column.description)));
    let shared = SHARED.map(|(name, of)| (name, of, None));
    let mut columns: Vec<Described> = own
        .chain(shared)
        .map(|(name, of, comment)| (name.into(), of.into(), comment.map(str::to_owned)))
        .collect();
    columns.sort_unstable();
    columns
}

#[tokio::test]
async fn the_migrations_of_postgresql_make_the_columns_of_the_list() {
    let place = Place::Postgres(TestDatabase::create().await);
    let store = place.migrated().await;
    let Place::Postgres(database) = &place else {
        unreachable!("it is PostgreSQL")
    };
    let mut connection = database.connect().await;
    for table in tables::ALL {
        let found: Vec<Described> = sqlx::query_as(
            "select column_name::text, data_type::text, col_description(('clerk.' || table_name)::regclass, ordinal_position)
               from information_schema.columns
              where table_schema = 'clerk' and table_name = $1
              order by column_name collate \"C\"",
        )
        .bind(table.name)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let is_shared = |name: &str| SHARED.iter().any(|(shared, _)| *shared == name);
        let found: Vec<_> = found
            .into_iter()
            .map(|(name, of, comment)| {
                let comment = comment.filter(|_| !is_shared(&name));
                (name, of, comment)
            })
            .collect();
        assert_eq!(found, listed(table), "{}", table.name);
    }
    store.close().await;
}

#[tokio::test]
async fn the_migrations_of_sqlite_make_the_columns_of_the_list() {
    let directory = TempDir::new();
    let path = directory.path().join("users.db");
    let place = Place::Sqlite(directory);
    let store = place.migrated().await;
    let mut connection = SqliteConnection::connect(path.to_str().unwrap())
        .await
        .unwrap();
    for table in tables::ALL {
        let found: Vec<(String, String)> = sqlx::query_as(
            "select name, lower(type) from pragma_table_info(?1) where name <> 'folded' order by name",
        )
        .bind(table.name)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let of = |of: String| match of.as_str() {
            "text" | "jsonb" => "text",
            _ => "integer",
        };
        let expected: Vec<_> = listed(table)
            .into_iter()
            .map(|(name, kind, _)| (name, of(kind).to_owned()))
            .collect();
        assert_eq!(found, expected, "{}", table.name);
    }
    store.close().await;
}
