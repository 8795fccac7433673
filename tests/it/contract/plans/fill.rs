//! Tables with many rows.

use clerk_sync::store::{self, Keep, Store};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::support::database::TestDatabase;

/// So many users and ten events of each, over 30 days: 3 % are stale, one in a thousand failed, one
/// in a hundred thousand discarded; 15 % are of `user.created`, 5 % of `user.deleted`, and 1 % are of
/// one user. A quarter of the users is called something with A, 1 % is deleted, half have no number.
const FILL: &str = r#"
    insert into clerk.users (clerk_id, email, phone, username, external_id, first_name, last_name, deleted_at, data, updated_at, occurred_at, event_id)
    select 'user_' || lpad(n::text, 7, '0'), case when n % 50 <> 9 then first || '.' || n || '@example.com' end, case when n % 2 = 0 then '+1' || (2000000000 + n) end,
           case when n % 4 = 0 then first || n end, case when n % 500 <> 3 then 'ext' || n end,
           initcap(first), 'Lovelace' || n % 1000 || 'x', case when n % 100 = 0 then now() end,
           jsonb_build_object('id', n, 'filler', repeat(md5(n::text), 12)), now(), now(), 'msg_' || n
      from (select n, (array['ada','amal','amy','arif','aya','bo','cy','di','eli','fay','gil','hu','ida','jo','kai','lu','mo','ned','oz','pam'])[n % 20 + 1] as first
              from generate_series(1, {users}) n) as people;
    insert into clerk.events (event_id, event_type, clerk_id, occurred_at, sent_at, received_at, processed_at, status, error, error_code, payload)
    select 'msg_' || n,
           case when n % 100000 = 5 then 'user.unreadable' when n % 20 = 3 then 'user.deleted' when n % 20 < 3 then 'user.created' else 'user.updated' end,
           case when n % 100 = 77 then 'user_0000003' else 'user_' || lpad((hashint4(n) & 2147483647) % {users} || '', 7, '0') end,
           at, at, at, at + n % 50 * interval '1 ms',
           case when n % 100000 = 7 then 'discarded' when n % 1000 = 9 then 'failed' when n % 33 = 1 then 'stale' else 'applied' end,
           case when n % 1000 = 9 then 'made by a test' end, case when n % 1000 = 9 then 'unstorable' end,
           case when n % 1000 = 9 then convert_to('{"type":"user.updated","data":{"id":"user_1","filler":"' || repeat(md5(n::text), 40) || '"}}', 'UTF8') end
      from (select n, now() - ({events} - n) * (interval '30 days' / {events}) as at from generate_series(1, {events}) n) as history"#;

/// A database with so many rows, and a connection to it that plans as the store does.
pub async fn filled(database: &TestDatabase, users: u64, events: u64) -> PgConnection {
    let address = database.url().parse().unwrap();
    let options = store::postgres::Options {
        schema: Default::default(),
        address,
        connections: 1,
        keep: Keep::default(),
    };
    let store = Store::open(&store::Options::Postgres(options)).unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    let mut connection = database.connect().await;
    // Indexes are made faster than they are kept up.
    let indexes = "select indexname, indexdef from pg_indexes where schemaname = 'clerk'
         and tablename in ('users', 'events') and indexname not in (select conname from pg_constraint)";
    let indexes = connection.fetch_all(indexes).await.unwrap();
    let fill = FILL
        .replace("{users}", &users.to_string())
        .replace("{events}", &events.to_string());
    let drop = |row| format!("drop index clerk.{}", text(row, "indexname"));
    let create = |row| text(row, "indexdef");
    let steps = indexes
        .iter()
        .map(drop)
        .chain([fill])
        .chain(indexes.iter().map(create));
    for step in steps.collect::<Vec<_>>() {
        connection.execute(AssertSqlSafe(step)).await.unwrap();
    }
    // Each on its own: a vacuum is in no transaction.
    for statement in [
        "vacuum analyze clerk.users",
        "vacuum analyze clerk.events",
        "set plan_cache_mode = force_custom_plan",
        "set jit = off",
    ] {
        connection.execute(statement).await.unwrap();
    }
    connection
}

fn text(row: &PgRow, column: &str) -> String {
    row.get(column)
}
