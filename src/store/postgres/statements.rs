//! Every statement of PostgreSQL. `clerk` in the files is replaced by DATABASE_SCHEMA, once, when
//! the store is opened.

use sqlx::SqlStr;

use super::apply_conditions::{CONDITIONS, WITH_CHANGE_FEED, WITHOUT_CHANGE_FEED};
use super::migrations;
use super::schema_name::SchemaName;
use crate::clerk::{Table, tables};
use crate::store::queries::{Queries, find, of_each, statement};
use crate::store::template::{self, Dialect};

/// Declares `Statements` with a field for each `.sql` file of this directory that names a table.
macro_rules! statements {
    (once: $($name:ident)*; of each table: $($of_table:ident)*;) => {
        /// The statements that name a table, by the names of their files. A clone of one shares its
        /// text.
        pub struct Statements {
            pub schema: SchemaName,
            /// Whether they record what they change.
            pub has_change_feed: bool,
            /// Those that SQLite has too.
            pub queries: Queries,
            $(pub $name: SqlStr,)*
            tables: Box<[(&'static Table, TableStatements)]>,
        }

        /// Those that are about one table.
        pub struct TableStatements {
            $(pub $of_table: SqlStr,)*
        }

        impl Statements {
            /// Renders all of them, with the change feed or without it.
            pub fn new(schema: SchemaName, change_feed: bool) -> Self {
                let made = migrations::names_made().map(|name| format!("'{name}'"));
                let made = made.collect::<Vec<_>>().join(", ");
                let feed = if change_feed { WITH_CHANGE_FEED } else { WITHOUT_CHANGE_FEED };
                let mut conditions = [&CONDITIONS[..], &feed[..]].concat();
                conditions.push(("<made>", &made));
                let render = |sql, table| render(sql, table, &schema, &conditions);
                let of_table = |table| TableStatements {
                    $($of_table: render(include_str!(concat!(stringify!($of_table), ".sql")), table),)*
                };
                Self {
                    $($name: render(include_str!(concat!(stringify!($name), ".sql")), ANY),)*
                    tables: of_each(of_table),
                    queries: Queries::postgres(|sql| in_schema(&sql, &schema)),
                    schema,
                    has_change_feed: change_feed,
                }
            }
        }
    };
}

statements! {
    once:
        applied change_writers discard empty_failed identity inspect set_published make_migrations may_write prune prune_audit
        prune_changes record_act record_migration record_processes record_replay remove_process schema_state set
        take_publish_turn try_write;
    of each table:
        apply empty_payloads erase erase_late erase_owned forget scrub;
}

/// For the statements that are about no table.
const ANY: &Table = &tables::users::TABLE;

impl Statements {
    /// A statement of a migration, for the schema.
    pub fn render(&self, sql: &str) -> SqlStr {
        render(sql, ANY, &self.schema, &CONDITIONS)
    }

    /// The statements that are about this table.
    pub fn of(&self, table: &Table) -> &TableStatements {
        find(&self.tables, table)
    }

    /// The statement of a list of rows of this table.
    pub fn list_of(&self, table: &Table, sql: &str) -> SqlStr {
        render(sql, table, &self.schema, &[])
    }

    /// The statement of a list, with these conditions.
    pub fn list(&self, sql: &str, conditions: &[(&str, &str)]) -> SqlStr {
        render(sql, ANY, &self.schema, conditions)
    }
}

fn render(sql: &str, table: &Table, schema: &SchemaName, conditions: &[(&str, &str)]) -> SqlStr {
    let sql = template::render(sql, table, Dialect::Postgres, conditions);
    // `SchemaName` holds nothing that SQL could read as more than a name.
    statement(in_schema(&sql, schema))
}

/// The statement with `schema` for `clerk`, which every file writes: before the dot of a name,
/// after `schema`, and as a text. Quoted, so that a word of SQL is a name too.
fn in_schema(sql: &str, schema: &SchemaName) -> String {
    sql.replace("clerk.", &format!("\"{schema}\"."))
        .replace("schema clerk ", &format!("schema \"{schema}\" "))
        .replace("'clerk'", &format!("'{schema}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mention_of_the_schema_is_replaced() {
        let schema = SchemaName::new("app").unwrap();
        let migration = "comment on schema clerk is 'x'; create table clerk.users (clerk_id text);";
        assert_eq!(
            in_schema(migration, &schema),
            r#"comment on schema "app" is 'x'; create table "app".users (clerk_id text);"#
        );
        let statements = Statements::new(schema, true);
        for sql in [
            &statements.of(ANY).apply,
            &statements.inspect,
            &statements.schema_state,
        ] {
            let sql = sql.as_str();
            assert!(!sql.contains("clerk.") && !sql.contains("'clerk'"), "{sql}");
            assert!(!sql.contains("{{") && !sql.contains("<alters>"), "{sql}");
        }
        assert!(
            statements
                .of(ANY)
                .apply
                .as_str()
                .contains(r#"insert into "app".users"#)
        );
    }
}
