//! Every change that the database makes, noted by the database itself: what is applied twice leaves
//! two of a kind.

use std::path::PathBuf;

use clerk_sync::clerk::tables;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};

/// A synced row goes through each state at most once: its version only rises and its time of
/// deletion only falls. So the same state twice is an event that was applied twice, or a write that
/// changed nothing. The record of an event gets its outcome once, unless the event failed.
const NOTE_IN_POSTGRES: &str = "
    create table public.noted (clerk_id text, state text);
    create function public.note_row() returns trigger language plpgsql as $$
    begin
        insert into public.noted values (new.clerk_id, concat_ws(' ', new.event_id, 'deleted', new.deleted_at));
        return null;
    end $$;
    create function public.note_event() returns trigger language plpgsql as $$
    begin
        insert into public.noted select new.clerk_id, concat_ws(' ', new.event_id, 'became', new.status)
            from generate_series(1, 2);
        return null;
    end $$;
    create trigger note_event after update on clerk.events for each row
        when (old.status in ('applied', 'stale') and (new.status, new.attempts) is distinct from (old.status, old.attempts))
        execute function public.note_event();";

const NOTE_ROWS_IN_POSTGRES: &str = "
    create trigger note_row after insert or update on clerk.<table> for each row execute function public.note_row();";

const NOTE_IN_SQLITE: &str = "
    create table noted (clerk_id text, state text);
    create trigger note_event after update on events
        when old.status in ('applied', 'stale') and (new.status <> old.status or new.attempts <> old.attempts) begin
        insert into noted values (new.clerk_id, new.event_id || ' became ' || new.status),
            (new.clerk_id, new.event_id || ' became ' || new.status);
    end;";

const NOTE_ROWS_IN_SQLITE: &str = "
    create trigger note_insert_<table> after insert on <table> begin
        insert into noted values (new.clerk_id, coalesce(new.event_id, '') || ' deleted ' || coalesce(new.deleted_at, ''));
    end;
    create trigger note_update_<table> after update on <table> begin
        insert into noted values (new.clerk_id, coalesce(new.event_id, '') || ' deleted ' || coalesce(new.deleted_at, ''));
    end;";

/// The statements, with those of the rows for each table.
fn notes(once: &str, of_table: &str) -> String {
    let of_tables = tables::ALL.iter();
    let of_tables = of_tables.map(|table| of_table.replace("<table>", table.name));
    [once.to_owned()].into_iter().chain(of_tables).collect()
}

const TWICE_IN_POSTGRES: &str =
    "select clerk_id || ': ' || state from public.noted where position($1 in clerk_id) > 0
    group by clerk_id, state having count(*) > 1";

const TWICE_IN_SQLITE: &str =
    "select clerk_id || ': ' || state from noted where instr(clerk_id, ?1) > 0
    group by clerk_id, state having count(*) > 1";

/// A database that notes its changes.
pub enum Noted {
    /// By its URL.
    Postgres(String),
    Sqlite(PathBuf),
}

impl Noted {
    /// Notes from now on. The tables must be there.
    pub async fn begin(self) -> Self {
        match &self {
            Self::Postgres(url) => {
                _ = PgConnection::connect(url)
                    .await
                    .unwrap()
                    .execute(AssertSqlSafe(notes(
                        NOTE_IN_POSTGRES,
                        NOTE_ROWS_IN_POSTGRES,
                    )))
                    .await
                    .unwrap()
            }
            Self::Sqlite(path) => {
                _ = sqlite(path)
                    .await
                    .execute(AssertSqlSafe(notes(NOTE_IN_SQLITE, NOTE_ROWS_IN_SQLITE)))
                    .await
                    .unwrap()
            }
        }
        self
    }

    /// What happened more than once to rows with this in their ID.
    pub async fn twice(&self, mark: &str) -> Vec<String> {
        match self {
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(TWICE_IN_POSTGRES)
                    .bind(mark)
                    .fetch_all(&mut connection)
                    .await
                    .unwrap()
            }
            Self::Sqlite(path) => sqlx::query_scalar(TWICE_IN_SQLITE)
                .bind(mark)
                .fetch_all(&mut sqlite(path).await)
                .await
                .unwrap(),
        }
    }
}

async fn sqlite(path: &std::path::Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", path.display()))
        .await
        .unwrap()
}
