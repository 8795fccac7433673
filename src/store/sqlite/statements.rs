//! SQLite's statements, rendered once.

use std::sync::LazyLock;

use sqlx::SqlStr;

use crate::clerk::tables::users;
use crate::store::queries::{Queries, statement};
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
    EVENTS_BY_CODE = include_str!("events_by_code.sql");
    EVENTS_BY_STATUS = include_str!("events_by_status.sql");
    EVENTS_BY_TYPE = include_str!("events_by_type.sql");
    EVENTS_OF_IDS = include_str!("events_of_ids.sql");
    EVENTS_OF_USER = include_str!("events_of_user.sql");
    RECORD_REPLAY = include_str!("record_replay.sql");
    ROWS_BEFORE = include_str!("rows_before.sql");
    USERS_BY_EMAIL = include_str!("users_by_email.sql");
    USERS_BY_EXTERNAL_ID = include_str!("users_by_external_id.sql");
    USERS_BY_IDS = include_str!("users_by_ids.sql");
    USERS_BY_PHONE = include_str!("users_by_phone.sql");
    USERS_BY_USERNAME = include_str!("users_by_username.sql");
    USERS_DELETED = include_str!("users_deleted.sql");
}

/// The statement whose index leads to the fewest rows. All take the same values, and each looks at
/// the parts that this order leaves to it.
pub fn users(filter: &UserFilter) -> SqlStr {
    let statement = match filter {
        UserFilter { ids: Some(_), .. } => &USERS_BY_IDS,
        UserFilter { email: Some(_), .. } => &USERS_BY_EMAIL,
        UserFilter { phone: Some(_), .. } => &USERS_BY_PHONE,
        UserFilter {
            external_id: Some(_),
            ..
        } => &USERS_BY_EXTERNAL_ID,
        UserFilter {
            username: Some(_), ..
        } => &USERS_BY_USERNAME,
        UserFilter {
            deleted: Some(true),
            ..
        } => &USERS_DELETED,
        _ => return QUERIES.users.clone(),
    };
    SqlStr::clone(statement)
}

/// The type that most events have; the index by type leaves it out.
const USUAL_TYPE: &str = "user.updated";

/// The same for events.
pub fn events(filter: &EventFilter) -> SqlStr {
    let statement = match filter {
        EventFilter { ids: Some(_), .. } => &EVENTS_OF_IDS,
        EventFilter {
            clerk_id: Some(_), ..
        } => &EVENTS_OF_USER,
        EventFilter {
            status: Some(Status::Failed),
            error_code: Some(_),
            ..
        } => &EVENTS_BY_CODE,
        EventFilter {
            status: Some(status),
            ..
        } if *status != Status::Applied => &EVENTS_BY_STATUS,
        EventFilter {
            event_type: Some(name),
            ..
        } if name != USUAL_TYPE => &EVENTS_BY_TYPE,
        _ => return QUERIES.events.clone(),
    };
    SqlStr::clone(statement)
}
