//! The queries that both databases have, each in its own SQL.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqlSafeStr, SqlStr};

use super::template::{self, Dialect};
use crate::clerk::{Table, tables};

/// Declares `Queries` with a field for each `.sql` file that both databases have.
macro_rules! queries {
    (once: $($name:ident)*; of each table: $($of_table:ident)*;) => {
        /// The statements, by the names of their files. A clone of one shares its text.
        pub struct Queries {
            $(pub $name: SqlStr,)*
            tables: Box<[(&'static Table, TableQueries)]>,
        }

        /// Those that are about one table.
        pub struct TableQueries {
            $(pub $of_table: SqlStr,)*
        }

        impl Queries {
            /// PostgreSQL's, of which `finish` makes what is sent.
            pub fn postgres(finish: impl Fn(String) -> String) -> Self {
                let render = |sql, table| statement(finish(template::render(sql, table, Dialect::Postgres, &[])));
                let of_table = |table| TableQueries {
                    $($of_table: render(include_str!(concat!("postgres/", stringify!($of_table), ".sql")), table),)*
                };
                Self {
                    $($name: render(include_str!(concat!("postgres/", stringify!($name), ".sql")), ANY),)*
                    tables: of_each(of_table),
                }
            }

            /// SQLite's.
            pub fn sqlite() -> Self {
                let render = |sql, table| statement(template::render(sql, table, Dialect::Sqlite, &[]));
                let of_table = |table| TableQueries {
                    $($of_table: render(include_str!(concat!("sqlite/", stringify!($of_table), ".sql")), table),)*
                };
                Self {
                    $($name: render(include_str!(concat!("sqlite/", stringify!($name), ".sql")), ANY),)*
                    tables: of_each(of_table),
                }
            }
        }
    };
}

queries! {
    once:
        audit change_marks change_feed_state changes changes_of_row control count_events_of_user event events_by_id events_that_begin failed failed_count
        last_received other_workers payloads processes recent search_is_common setting totals workers_without_feed;
    of each table:
        data_of_rows deleted_not_erased existing_rows failed_events history known_rows live_rows owned row totals_of_rows;
}

/// For the statements that are about no table.
const ANY: &Table = &tables::users::TABLE;

impl Queries {
    /// The statements that are about this table.
    pub fn of(&self, table: &Table) -> &TableQueries {
        find(&self.tables, table)
    }
}

/// What is made of each table.
pub fn of_each<T>(make: impl Fn(&'static Table) -> T) -> Box<[(&'static Table, T)]> {
    let tables = tables::ALL.iter().copied();
    tables.map(|table| (table, make(table))).collect()
}

/// What was made of this table.
pub fn find<'a, T>(made: &'a [(&'static Table, T)], table: &Table) -> &'a T {
    let found = made.iter().find(|(of, _)| *of == table);
    &found.expect("every table is in the list of tables").1
}

/// The text as a statement: it is made of files of ours and checked names.
pub fn statement(sql: String) -> SqlStr {
    // Shared: a clone of an owned text would copy it.
    AssertSqlSafe(Arc::<str>::from(sql)).into_sql_str()
}
