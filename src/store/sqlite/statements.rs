//! SQLite's statements, rendered once.

use std::sync::LazyLock;

use sqlx::SqlStr;

use crate::clerk::tables::users;
use crate::store::queries::{Queries, statement};
use crate::store::sort::Sort;
use crate::store::template::{self, Dialect};
use crate::store::{EventFilter, Status, UserFilter};

/// The queries.
pub static QUERIES: LazyLock<Queries> = LazyLock::new(Queries::sqlite);

/// The statement, for the table of users.
pub fn render(sql: &str, conditions: &[(&str, &str)]) -> String {
    template::render(sql, &users::TABLE, Dialect::Sqlite, conditions)
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
    DELETED_NOT_ERASED = include_str!("deleted_not_erased.sql");
    DISCARD = include_str!("discard.sql");
    EMPTY_PAYLOADS = include_str!("empty_payloads.sql");
    EMPTY_PAYLOADS_OF_ERASED = include_str!("empty_payloads_of_erased.sql");
    ERASE = include_str!("erase.sql");
    RECORD_REPLAY = include_str!("record_replay.sql");
    ROWS_BEFORE = include_str!("rows_before.sql");
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
