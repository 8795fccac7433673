//! Tables with many rows.

use clerk_sync::clerk::{Table, tables};
use clerk_sync::store::{self, Keep, Store};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Executor, PgConnection, Row};

use crate::support::database::TestDatabase;

/// So many memberships, a tenth of them of one organization and 2 % of one user; the oldest 2 % are of an organization that has no
/// newer ones. A quarter of organizations and of invitations. And so many users and ten events of each, over 30 days: 3 % are stale, one in a thousand failed, one
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
      from (select n, now() - ({events} - n) * (interval '30 days' / {events}) as at from generate_series(1, {events}) n) as history;
    insert into clerk.organizations (clerk_id, name, slug, created_by, deleted_at, data, updated_at, occurred_at, event_id)
    select 'org_' || lpad(n::text, 7, '0'), initcap(word) || ' ' || n, word || '-' || n, 'user_0000007', case when n % 100 = 0 then now() end,
           jsonb_build_object('id', n, 'filler', repeat(md5(n::text), 6)), now(), now(), 'msg_' || n
      from (select n, (array['fern','tern','acme','kilo','lima'])[n % 5 + 1] as word from generate_series(1, {users} / 4) n) as names;
    insert into clerk.organization_memberships (clerk_id, organization_id, user_id, role, deleted_at, data, updated_at, occurred_at, event_id)
    select 'orgmem_' || lpad(n::text, 7, '0'),
           'org_' || lpad(case when n <= {users} / 50 then 2 when n % 10 = 3 then 1 else 3 + n % ({users} / 4 - 2) end || '', 7, '0'),
           'user_' || lpad(case when n % 50 = 7 then 7 else (hashint4(n) & 2147483647) % {users} end || '', 7, '0'),
           case when n % 10 = 3 and n % 100 <> 3 then 'org:member' else 'org:admin' end, case when n % 20 = 11 then now() end,
           jsonb_build_object('id', n, 'filler', repeat(md5(n::text), 6)), now(), now(), 'msg_' || n
      from generate_series(1, {users}) n;
    insert into clerk.organization_invitations (clerk_id, organization_id, email_address, status, expires_at, data, updated_at, occurred_at, event_id)
    select 'orginv_' || lpad(n::text, 7, '0'), 'org_' || lpad(case when n % 10 = 3 then 1 else n % 1000 end || '', 7, '0'), 'Person.' || n || '@Example.com',
           case when n % 50 = 1 then 'pending' else 'accepted' end, now() + (n % 60 - 30) * interval '1 day',
           jsonb_build_object('id', n, 'filler', repeat(md5(n::text), 6)), now(), now(), 'msg_' || n
      from generate_series(1, {users} / 4) n;
    insert into clerk.changes (table_name, clerk_id, change, fields, event_id, committed_at)
    select 'users', event.clerk_id, 'updated', '{email,updated_at}', event.event_id, event.processed_at
      from clerk.events as event
     where event.status = 'applied'
     order by event.received_at"#;

/// A database with so many rows, and a connection to it that plans as the store does.
pub async fn filled(database: &TestDatabase, users: u64, events: u64) -> PgConnection {
    let address = database.url().parse().unwrap();
    let options = store::postgres::Options {
        schema: Default::default(),
        address,
        connections: 1,
        keep: Keep::default(),
        change_feed: false,
    };
    let store = Store::open(&store::Options::Postgres(options)).unwrap();
    store.migrate().await.unwrap();
    store.close().await;
    let mut connection = database.connect().await;
    // Indexes are made faster than they are kept up.
    let indexes = "select indexname, indexdef from pg_indexes where schemaname = 'clerk'
         and tablename <> 'audit' and indexname not in (select conname from pg_constraint)";
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
        .chain(tables::others().map(|table| fill_rest(table, users / 4)))
        .chain(indexes.iter().map(create));
    for step in steps.collect::<Vec<_>>() {
        connection.execute(AssertSqlSafe(step)).await.unwrap();
    }
    // Each on its own: a vacuum is in no transaction.
    for statement in [
        "vacuum analyze",
        "set plan_cache_mode = force_custom_plan",
        "set jit = off",
    ] {
        connection.execute(statement).await.unwrap();
    }
    connection
}

/// Fills a table that `FILL` does not know: each row has a user, an organization and a text of its
/// own, as far as the table has columns for them.
fn fill_rest(table: &Table, rows: u64) -> String {
    let name = table.name;
    let columns = table.columns.iter().filter(|column| column.is_indexed);
    let (mut names, mut values) = (String::new(), String::new());
    for column in columns {
        let value = match column.id_of {
            Some("organizations") => "'org_' || lpad(n % 1000 || '', 7, '0')",
            Some(_) => "'user_' || lpad(n % 1000 || '', 7, '0')",
            None => "'text-' || n",
        };
        names += &format!(", {}", column.name);
        values += &format!(", {value}");
    }
    let prefix = table.id_prefix;
    format!(
        "insert into clerk.{name} (clerk_id, updated_at, occurred_at, event_id{names})
         select '{prefix}_' || lpad(n || '', 7, '0'), now(), now(), 'msg_' || n{values}
           from generate_series(1, {rows}) n where not exists (select from clerk.{name})"
    )
}

fn text(row: &PgRow, column: &str) -> String {
    row.get(column)
}
