//! The queries that both databases have, each in its own SQL.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::template::{self, Dialect};
use crate::clerk::tables::users;

/// Declares `Queries` with a field for each `.sql` file that both databases have.
macro_rules! queries {
    ($($name:ident)*) => {
        /// The statements, by the names of their files. A clone of one shares its text.
        pub struct Queries {
            $(pub $name: SqlStr,)*
        }

        impl Queries {
            /// PostgreSQL's, of which `finish` makes what is sent.
            pub fn postgres(finish: impl Fn(String) -> String) -> Self {
                let render = |sql| finish(template::render(sql, &users::TABLE, Dialect::Postgres, &[]));
                Self {
                    $($name: statement(render(include_str!(concat!("postgres/", stringify!($name), ".sql")))),)*
                }
            }

            /// SQLite's.
            pub fn sqlite() -> Self {
                let render = |sql| template::render(sql, &users::TABLE, Dialect::Sqlite, &[]);
                Self {
                    $($name: statement(render(include_str!(concat!("sqlite/", stringify!($name), ".sql")))),)*
                }
            }
        }
    };
}

queries! {
    audit control count_events_of_user event events_by_id events_that_begin failed failed_count history known_rows
    last_received live_rows other_workers payloads processes recent row search_is_common setting totals totals_of_rows
}

/// The text as a statement: it is made of files of ours and checked names.
pub fn statement(sql: String) -> SqlStr {
    // Shared: a clone of an owned text would copy it.
    AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
}
