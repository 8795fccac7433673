//! SQLite's statements, rendered once.

use std::sync::LazyLock;

use sqlx::SqlStr;

use super::multi_insert::Rows;
use crate::clerk::Table;
use crate::clerk::tables::users;
use crate::store::queries::{Queries, find, of_each, statement};
use crate::store::sort::Sort;
use crate::store::template::{self, Dialect};
use crate::store::{EventFilter, Status, UserFilter};

/// The queries.
pub static QUERIES: LazyLock<Queries> = LazyLock::new(Queries::sqlite);

/// The statement of no table, or of the table of users.
pub fn render(sql: &str, conditions: &[(&str, &str)]) -> String {
    template::render(sql, &users::TABLE, Dialect::Sqlite, conditions)
}

/// The statements that are about one table and write it.
pub struct TableStatements {
    pub empty_payloads_of_erased: SqlStr,
    pub erase: SqlStr,
    pub erase_late: SqlStr,
    pub erase_owned: SqlStr,
    /// Without and with the erasure of deleted rows.
    pub join: [Rows; 2],
    pub rows_before: SqlStr,
}

impl TableStatements {
    fn new(table: &Table) -> Self {
        let render = |sql| statement(template::render(sql, table, Dialect::Sqlite, &[]));
        Self {
            empty_payloads_of_erased: render(include_str!("empty_payloads_of_erased.sql")),
            erase: render(include_str!("erase.sql")),
            erase_late: render(include_str!("erase_late.sql")),
            erase_owned: render(include_str!("erase_owned.sql")),
            join: join(table),
            rows_before: render(include_str!("rows_before.sql")),
        }
    }
}

/// The columns that every row has beside the table's own.
const SHARED_COLUMNS: usize = 9;

fn join(table: &Table) -> [Rows; 2] {
    let newer = "(<table>.event_id is null or (excluded.updated_at, excluded.occurred_at, excluded.event_id) > (<table>.updated_at, <table>.occurred_at, <table>.event_id))";
    let erased = [
        "<table>.erased_at is not null",
        "(<table>.erased_at is not null or <table>.deleted_at is not null or excluded.deleted_at is not null)",
    ];
    erased.map(|erased| {
        let conditions = [("<newer>", newer), ("<erased>", erased)];
        let sql = include_str!("join.sql");
        Rows::of(
            &template::render(sql, table, Dialect::Sqlite, &conditions),
            SHARED_COLUMNS + table.columns.len(),
        )
    })
}

/// The statements that are about this table and write it.
pub fn of(table: &Table) -> &'static TableStatements {
    static TABLES: LazyLock<Box<[(&Table, TableStatements)]>> =
        LazyLock::new(|| of_each(TableStatements::new));
    find(&TABLES, table)
}

/// The last 19 acts on an event, and the one that is given as JSON.
const ACTED: (&str, &str) = (
    "<acted>",
    "json_insert(
         case when json_array_length(coalesce(audit, '[]')) < 20 then coalesce(audit, '[]') else json_remove(audit, '$[0]') end,
         '$[#]',
         json_remove(?2, '$.id', '$.event_id', '$.clerk_id', '$.count', '$.filter', '$.reason')
     )",
);

/// Declares a static for a statement in a file.
macro_rules! statement {
    ($($name:ident = $sql:expr;)*) => {
        $(pub static $name: LazyLock<SqlStr> = LazyLock::new(|| statement(render($sql, &[ACTED])));)*
    };
}

statement! {
    DISCARD = include_str!("discard.sql");
    DISCARD_FAILED = include_str!("discard_failed.sql");
    EMPTY_PAYLOADS = include_str!("empty_payloads.sql");
    EMPTY_PAYLOADS_OF_ROW = include_str!("empty_payloads_of_row.sql");
    KEEP_BARE = include_str!("keep_bare.sql");
    RECORD_REPLAY = include_str!("record_replay.sql");
}

/// The statement whose index leads to the fewest users, and whether the index is that of the order.
/// All take the same values, and each looks at the parts that this order leaves to it.
pub fn users(filter: &UserFilter, is_common: Option<bool>, sort: Sort) -> (&'static str, bool) {
    let by_filter = match filter {
        _ if is_common == Some(true) => {
            return (include_str!("users_by_search_in_order.sql"), true);
        }
        _ if is_common.is_some() => return (include_str!("users_by_search.sql"), false),
        UserFilter { ids: Some(_), .. } => return (include_str!("users_by_ids.sql"), false),
        UserFilter { email: Some(_), .. } => include_str!("users_by_email.sql"),
        UserFilter { phone: Some(_), .. } => include_str!("users_by_phone.sql"),
        UserFilter {
            external_id: Some(_),
            ..
        } => include_str!("users_by_external_id.sql"),
        UserFilter {
            username: Some(_), ..
        } => include_str!("users_by_username.sql"),
        UserFilter {
            deleted: Some(true),
            ..
        } => include_str!("users_deleted.sql"),
        _ => return (include_str!("users.sql"), true),
    };
    // Each of these indexes has the users of one value in the order of their IDs, or few of them.
    (by_filter, sort.is_by_id())
}

/// The type that most events have; the index by type leaves it out.
const USUAL_TYPE: &str = "user.updated";

/// The same for events.
pub fn events(filter: &EventFilter) -> &'static str {
    match filter {
        EventFilter { ids: Some(_), .. } => include_str!("events_of_ids.sql"),
        EventFilter {
            clerk_id: Some(_), ..
        } => include_str!("events_of_user.sql"),
        EventFilter {
            status: Some(Status::Failed),
            error_code: Some(_),
            ..
        } => include_str!("events_by_code.sql"),
        EventFilter {
            status: Some(status),
            ..
        } if *status != Status::Applied => include_str!("events_by_status.sql"),
        EventFilter {
            event_type: Some(name),
            ..
        } if name != USUAL_TYPE => include_str!("events_by_type.sql"),
        _ => include_str!("events.sql"),
    }
}
