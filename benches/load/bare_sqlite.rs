//! The limits of the embedded way: what SQLite can do here by itself, with the program's own
//! schemas, every commit on disk.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clerk_sync::clerk::tables::users::TABLE;
use clerk_sync::clerk::{Column, Kind, SignedEvent, Value};
use clerk_sync::queue::{self, Queue};
use clerk_sync::store::{self, Keep, Store};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, query::Query};

use crate::bare::Batch;
use crate::bench::CONNECTIONS;
use crate::crowd::Crowd;
use crate::place::Place;

/// Rows in one statement. One each is several times slower.
const ROWS: usize = 32;

/// Events in one transaction of the upsert: those of a full batch.
const BATCH: usize = 500;

/// Inserts events into a queue file, in one transaction as many as a load of 64 connections can
/// have under way; events a second.
pub async fn insert(place: &Place, crowd: &Crowd, lasts: Duration) -> anyhow::Result<f64> {
    place.forget_embedded()?;
    let path = file(place, "queue.db")?;
    let options = queue::embedded::Options { path: path.clone() };
    // It makes the file.
    let queue = Queue::open(&queue::Options::Embedded(options)).await?;
    queue.close().await;
    let mut connection = connect(path).await?;
    let (start, mut inserted) = (Instant::now(), 0);
    while start.elapsed() < lasts {
        let events: Vec<_> = (0..CONNECTIONS).map(|_| crowd.signed()).collect();
        connection.execute("begin immediate").await?;
        for part in events.chunks(ROWS) {
            let query = sqlx::query(AssertSqlSafe(INSERT.as_str()));
            let query = part.iter().fold(query, bind_waiting);
            query.execute(&mut connection).await?;
        }
        connection.execute("commit").await?;
        inserted += events.len();
    }
    let rate = inserted as f64 / start.elapsed().as_secs_f64();
    connection.close().await?;
    place.forget_embedded()?;
    Ok(rate)
}

type Bound<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind_waiting<'q>(query: Bound<'q>, event: &'q SignedEvent) -> Bound<'q> {
    query
        .bind(event.id().as_str())
        .bind(event.event_type().as_str())
        .bind(event.sent_at().ms())
        .bind(event.received_at().ms())
        .bind(&event.body()[..])
}

/// Writes batches of parsed users, which are there already, by version, with a record of each
/// event; events a second.
pub async fn upsert(place: &Place, crowd: &Crowd, users: u32, count: u32) -> anyhow::Result<f64> {
    place.forget_embedded()?;
    let path = file(place, "users.db")?;
    let options = store::sqlite::Options {
        path: path.clone(),
        keep: Keep::default(),
        change_feed: false,
    };
    let store = Store::open(&store::Options::Sqlite(options))?;
    store.migrate().await?;
    store.close().await;
    let mut connection = connect(path).await?;
    let seeds: Vec<u64> = (0..users.into()).collect();
    for part in seeds.chunks(BATCH) {
        let first: Vec<_> = part.iter().map(|seed| Crowd::first_of(*seed)).collect();
        write(&mut connection, &Batch::of(&first)).await?;
    }
    let batches: Vec<_> = (0..count as usize / BATCH)
        .map(|_| (0..BATCH).map(|_| crowd.signed()).collect::<Vec<_>>())
        .map(|events| Batch::of(&events))
        .collect();
    let start = Instant::now();
    for batch in &batches {
        write(&mut connection, batch).await?;
    }
    let rate = (batches.len() * BATCH) as f64 / start.elapsed().as_secs_f64();
    connection.close().await?;
    place.forget_embedded()?;
    Ok(rate)
}

async fn write(connection: &mut SqliteConnection, batch: &Batch) -> anyhow::Result<()> {
    connection.execute("begin immediate").await?;
    for part in batch.users.chunks(ROWS) {
        let mut query = sqlx::query(AssertSqlSafe(statement(&UPSERT, part.len())));
        for (read, event_id) in part {
            let profile = read.change.profile.as_ref();
            let (version, profile) =
                profile.ok_or_else(|| anyhow!("an event without a profile"))?;
            query = query
                .bind(read.change.clerk_id.as_str())
                .bind(version.updated_at.ms())
                .bind(&*profile.data)
                .bind(event_id.as_str())
                .bind(read.occurred_at.ms())
                .bind(read.occurred_at.ms());
            for (value, column) in profile.values.iter().zip(TABLE.columns.iter()) {
                query = bind_value(query, value, column);
            }
        }
        query.execute(&mut *connection).await?;
    }
    for part in batch.events.chunks(ROWS) {
        let mut query = sqlx::query(AssertSqlSafe(statement(&RECORD, part.len())));
        for (id, user, at) in part {
            let at = at.timestamp_millis();
            query = query
                .bind(id.as_str())
                .bind("user.updated")
                .bind(user.as_str());
            query = query.bind(at).bind(at).bind(at).bind(at).bind("applied");
        }
        query.execute(&mut *connection).await?;
    }
    connection.execute("commit").await?;
    Ok(())
}

fn bind_value<'q>(query: Bound<'q>, value: &'q Value, column: &Column) -> Bound<'q> {
    match column.kind {
        Kind::Text => query.bind(value.as_text()),
        Kind::Boolean => query.bind(value.as_bool()),
        Kind::Integer => query.bind(value.as_integer()),
        Kind::Time => query.bind(value.as_time().map(|time| time.ms())),
        Kind::Json | Kind::Texts => query.bind(value.as_json()),
    }
}

/// A statement for so many rows, with `<rows>` for them, and the parameters of a row.
struct Template {
    text: String,
    parameters: usize,
    full: String,
}

impl Template {
    fn new(text: String, parameters: usize) -> Self {
        let full = fill(&text, parameters, ROWS);
        Self {
            text,
            parameters,
            full,
        }
    }
}

fn statement(template: &Template, rows: usize) -> String {
    match rows {
        ROWS => template.full.clone(),
        rows => fill(&template.text, template.parameters, rows),
    }
}

fn fill(text: &str, parameters: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; parameters].join(", "));
    text.replace("<rows>", &vec![row; rows].join(", "))
}

static INSERT: LazyLock<String> = LazyLock::new(|| {
    fill(
        "insert into queue (event_id, event_type, sent_at, received_at, body) values <rows>",
        5,
        ROWS,
    )
});

/// The newest profile wins. Plain, without the program's own care for deletes, failures and
/// erasure.
static UPSERT: LazyLock<Template> = LazyLock::new(|| {
    let own = ["updated_at", "data", "event_id", "occurred_at", "synced_at"];
    let columns = TABLE.columns.iter().map(|column| column.name);
    let names: Vec<_> = own.into_iter().chain(columns).collect();
    let update = |name: &&str| format!("{name} = excluded.{name}");
    let updates: Vec<_> = names.iter().map(update).collect();
    let (names_listed, updates) = (names.join(", "), updates.join(", "));
    let version = |of: &str| format!("({of}.updated_at, {of}.occurred_at, {of}.event_id)");
    let (new, old) = (version("excluded"), version("users"));
    let text = format!(
        "insert into users (clerk_id, {names_listed}) values <rows> on conflict (clerk_id) do update set {updates} where {new} > {old}"
    );
    Template::new(text, 1 + names.len())
});

static RECORD: LazyLock<Template> = LazyLock::new(|| {
    let text = "insert into events (event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status) values <rows> on conflict (event_id) do nothing";
    Template::new(text.to_owned(), 8)
});

fn file(place: &Place, name: &str) -> anyhow::Result<PathBuf> {
    let path = place.data(name);
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    Ok(path)
}

/// As the program's own connections are.
async fn connect(path: PathBuf) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    Ok(options.connect().await?)
}
