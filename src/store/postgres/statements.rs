//! Every statement of PostgreSQL. `clerk` in the files is replaced by DATABASE_SCHEMA, once, when
//! the store is opened.

use sqlx::SqlStr;

use super::apply_conditions::CONDITIONS;
use super::schema_name::SchemaName;
use crate::clerk::tables::users;
use crate::store::queries::{Queries, statement};
use crate::store::template::{self, Dialect};

/// Declares `Statements` with a field for each `.sql` file of this directory that names a table.
macro_rules! statements {
    ($($name:ident)*) => {
        /// The statements that name a table, by the names of their files. A clone of one shares its
        /// text.
        pub struct Statements {
            pub schema: SchemaName,
            /// Those that SQLite has too.
            pub queries: Queries,
            $(pub $name: SqlStr,)*
        }

        impl Statements {
            /// Renders all of them.
            pub fn new(schema: SchemaName) -> Self {
                Self {
                    $($name: render(include_str!(concat!(stringify!($name), ".sql")), &schema, &CONDITIONS),)*
                    queries: Queries::postgres(|sql| in_schema(&sql, &schema)),
                    schema,
                }
            }
        }
    };
}

statements! {
    applied apply discard empty_payloads erase forget inspect make_migrations may_write prune prune_audit record_act
    record_migration record_processes record_replay remove_process schema_state scrub set try_write
}

impl Statements {
    /// A statement of a migration, for the schema.
    pub fn render(&self, sql: &str) -> SqlStr {
        render(sql, &self.schema, &CONDITIONS)
    }

    /// The statement of a list, with these conditions.
    pub fn list(&self, sql: &str, conditions: &[(&str, &str)]) -> SqlStr {
        render(sql, &self.schema, conditions)
    }
}

fn render(sql: &str, schema: &SchemaName, conditions: &[(&str, &str)]) -> SqlStr {
    let sql = template::render(sql, &users::TABLE, Dialect::Postgres, conditions);
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
        let statements = Statements::new(schema);
        for sql in [
            &statements.apply,
            &statements.inspect,
            &statements.schema_state,
        ] {
            let sql = sql.as_str();
            assert!(!sql.contains("clerk.") && !sql.contains("'clerk'"), "{sql}");
            assert!(!sql.contains("{{") && !sql.contains("<alters>"), "{sql}");
        }
        assert!(
            statements
                .apply
                .as_str()
                .contains(r#"insert into "app".users"#)
        );
    }
}
