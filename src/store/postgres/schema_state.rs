//! The schema as it is: whether clerk-sync made it, which migrations it has, and whether the role
//! sees all of it.

use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use super::migrations::Applied;
use super::schema_fault::SchemaFault;
use super::schema_name::SchemaName;
use super::statements::Statements;
use crate::clerk::tables;
use crate::store::{SchemaVersion, StoreError};

/// What the catalogs say of the schema.
#[derive(Debug, Clone)]
pub struct SchemaState {
    /// The name.
    pub name: SchemaName,
    /// The encoding of the database.
    pub encoding: String,
    /// Objects with a name that the migrations use but that they did not create, such as `users (a
    /// foreign table)`.
    pub foreign: Vec<String>,
    /// Tables of which row-level security hides rows from this role, or refuses them.
    pub hidden: Vec<String>,
    /// Whether there is a table of migrations.
    pub is_versioned: bool,
    /// Tables that are not there.
    pub missing: Vec<&'static str>,
    /// The migrations that were made; `None` if they were not read.
    pub applied: Option<Vec<Applied>>,
}

/// The tables that the program reads and writes, the bookkeeping first.
fn needed() -> impl Iterator<Item = &'static str> {
    let synced = tables::ALL.iter().map(|table| table.name);
    [VERSIONS].into_iter().chain(synced).chain(["events"])
}

const VERSIONS: &str = "_migrations";

/// Tables without which a worker applies events all the same.
const OPTIONAL: [&str; 3] = ["settings", "processes", "audit"];

/// The encoding that holds every character.
const ENCODING: &str = "UTF8";

impl SchemaState {
    /// Reads the state, with the migrations that were made if the role `may_read` them.
    ///
    /// # Errors
    /// Fails if the server does not answer.
    pub async fn read(
        connection: &mut PgConnection,
        sql: &Statements,
        may_read: bool,
    ) -> Result<Self, Error> {
        let row = sqlx::query(sql.schema_state.clone())
            .fetch_one(&mut *connection)
            .await?;
        let mut state = Self::of(&row, &sql.schema)?;
        if may_read && state.is_versioned && state.foreign.is_empty() {
            let rows = sqlx::query(sql.applied.clone())
                .fetch_all(connection)
                .await?;
            state.applied = Some(rows.iter().map(Applied::read).collect::<Result<_, _>>()?);
        }
        Ok(state)
    }

    /// Reads the answer to `schema_state.sql`.
    fn of(row: &PgRow, name: &SchemaName) -> Result<Self, Error> {
        let (found, taken): (Vec<String>, Vec<String>) =
            (row.try_get("found")?, row.try_get("taken")?);
        let mut found: Vec<_> = found
            .iter()
            .filter_map(|name| name.split_once(' '))
            .collect();
        let missing = missing(&found);
        let is_versioned: bool = row.try_get("is_versioned")?;
        if !is_versioned {
            found.extend(taken.iter().filter_map(|name| name.split_once(' ')));
        }
        Ok(Self {
            name: name.clone(),
            encoding: row.try_get("encoding")?,
            foreign: foreign(&found, is_versioned),
            hidden: row.try_get("hidden")?,
            is_versioned,
            missing,
            applied: (!is_versioned).then(Vec::new),
        })
    }

    /// The migrations that were made, as far as they were read.
    pub fn applied(&self) -> &[Applied] {
        self.applied.as_deref().unwrap_or_default()
    }

    /// Checks that a worker can read and write all of it, as far as the catalogs say.
    ///
    /// # Errors
    /// `Incompatible`, which names what a person must fix.
    pub fn check(&self, version: SchemaVersion) -> Result<(), StoreError> {
        let hides = self
            .hidden
            .iter()
            .any(|name| !OPTIONAL.contains(&name.as_str()));
        let hides_rows = || self.hides_rows().filter(|_| hides);
        let fault = self.is_of_another().or_else(hides_rows);
        reject(fault.or_else(|| self.lacks_tables(version)))
    }

    /// Checks that the versions can be read as they are: they are ours, and all of them are seen.
    ///
    /// # Errors
    /// `Incompatible`, which names what a person must fix.
    pub fn check_versions(&self) -> Result<(), StoreError> {
        reject(self.is_of_another())?;
        self.check_visible(VERSIONS)
    }

    /// Checks that the role sees every row of the table.
    ///
    /// # Errors
    /// `Incompatible` if row-level security hides some.
    pub fn check_visible(&self, table: &str) -> Result<(), StoreError> {
        let hides = self.hidden.iter().any(|hidden| hidden == table);
        reject(self.hides_rows().filter(|_| hides))
    }

    /// Checks that the database can hold every text.
    ///
    /// # Errors
    /// `Incompatible` if it cannot.
    pub fn check_encoding(&self) -> Result<(), StoreError> {
        reject(self.lacks_characters())
    }

    /// The fault of an encoding that lacks characters; `None` if it has all.
    pub fn lacks_characters(&self) -> Option<SchemaFault> {
        let what = format!(
            "the database's encoding is {}: events with other characters would fail",
            self.encoding
        );
        let fix = "make a database with `create database … encoding 'UTF8' template template0`";
        (self.encoding != ENCODING).then(|| SchemaFault::new(what, fix))
    }

    /// The fault of what another program made in the schema; `None` if it made nothing.
    pub fn is_of_another(&self) -> Option<SchemaFault> {
        let what = format!(
            "the schema {} has {}, which clerk-sync did not make (Supabase's Clerk wrapper makes such tables)",
            self.name,
            self.foreign.join(", ")
        );
        let fix = "give clerk-sync another schema with DATABASE_SCHEMA, or another database. Nothing was changed";
        (!self.foreign.is_empty()).then(|| SchemaFault::new(what, fix))
    }

    /// The fault of row-level security; `None` if it hides no row.
    pub fn hides_rows(&self) -> Option<SchemaFault> {
        let tables = self.tables(&self.hidden);
        let what = format!("row-level security hides rows of {tables} from this role");
        let fix = "give the role `bypassrls` or a policy `for all using (true)`, or `alter table … disable row level security`";
        (!self.hidden.is_empty()).then(|| SchemaFault::new(what, fix))
    }

    /// The fault of tables that are missing although their migrations were made; `None` if none is.
    pub fn lacks_tables(&self, version: SchemaVersion) -> Option<SchemaFault> {
        let (tables, name) = (self.tables(&self.missing), &self.name);
        let what = format!("{tables} is missing, although {name}.{VERSIONS} says that it was made");
        let fix = format!(
            "restore a backup, or drop the schema {name} and run `clerk-sync migrate` and `clerk-sync backfill`"
        );
        let lacks = version.found >= Some(version.wanted) && !self.missing.is_empty();
        lacks.then(|| SchemaFault::new(what, fix))
    }

    fn tables(&self, names: &[impl AsRef<str>]) -> String {
        let of_schema = |name: &_| format!("{}.{}", self.name, AsRef::<str>::as_ref(name));
        names
            .iter()
            .map(of_schema)
            .collect::<Vec<_>>()
            .join(" and ")
    }
}

fn reject(fault: Option<SchemaFault>) -> Result<(), StoreError> {
    fault.map_or(Ok(()), |fault| Err(fault.into()))
}

/// What the migrations did not make: all of it if there is no table of versions, else a table of
/// ours that is of another kind. A view of ours may be replaced.
fn foreign(found: &[(&str, &str)], is_versioned: bool) -> Vec<String> {
    let is_foreign = |name: &str, kind: &str| {
        !is_versioned || needed().any(|needed| needed == name) && !matches!(kind, "r" | "p")
    };
    let others = found.iter().filter(|(name, kind)| is_foreign(name, kind));
    others
        .map(|(name, kind)| format!("{name} ({})", kind_of(kind)))
        .collect()
}

/// Tables of ours that are not there.
fn missing(found: &[(&str, &str)]) -> Vec<&'static str> {
    let is_missing = |name: &&str| found.iter().all(|(found, _)| found != name);
    needed().filter(is_missing).collect()
}

fn kind_of(letter: &str) -> &'static str {
    match letter {
        "r" => "a table",
        "p" => "a partitioned table",
        "f" => "a foreign table",
        "v" => "a view",
        "m" => "a materialized view",
        "S" => "a sequence",
        "i" | "I" => "an index",
        "c" | "T" => "a type",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(found: &[(&str, &str)], is_versioned: bool, hidden: &[&str]) -> SchemaState {
        SchemaState {
            name: SchemaName::default(),
            encoding: "UTF8".into(),
            foreign: foreign(found, is_versioned),
            hidden: hidden.iter().map(|name| (*name).into()).collect(),
            is_versioned,
            missing: missing(found),
            applied: None,
        }
    }

    /// As the migrations leave it.
    fn made() -> Vec<(&'static str, &'static str)> {
        let tables = needed().map(|name| (name, "r"));
        tables.chain([("active_users", "v")]).collect()
    }

    /// The same without the table of events.
    fn without_events() -> Vec<(&'static str, &'static str)> {
        let made = made().into_iter();
        made.filter(|(name, _)| *name != "events").collect()
    }

    const VERSION: SchemaVersion = SchemaVersion {
        found: Some(3),
        wanted: 3,
    };

    #[test]
    fn what_the_migrations_made_is_ours_and_nothing_else_is() {
        assert_eq!(schema(&made(), true, &[]).check(VERSION).ok(), Some(()));
        assert!(
            foreign(&[], false).is_empty(),
            "an empty schema may be filled"
        );
        assert_eq!(
            foreign(&[("users", "f")], false),
            ["users (a foreign table)"]
        );
        assert_eq!(
            foreign(&[("users", "r"), ("active_users", "v")], false),
            ["users (a table)", "active_users (a view)"]
        );
        assert_eq!(
            foreign(&[("_migrations", "r"), ("users", "f")], true),
            ["users (a foreign table)"]
        );
        assert!(
            foreign(&[("_migrations", "r"), ("active_users", "m")], true).is_empty(),
            "a person may replace it"
        );
        assert_eq!(
            foreign(&[("_migrations", "r")], false),
            ["_migrations (a table)"],
            "one of another program"
        );
    }

    #[test]
    fn each_fault_names_the_table_and_what_to_do() {
        let text = |schema: SchemaState| schema.check(VERSION).unwrap_err().to_string();
        let hidden = text(schema(&made(), true, &["events", "users"]));
        assert!(
            hidden.contains("row-level security hides rows of clerk.events and clerk.users"),
            "{hidden}"
        );
        assert!(
            hidden.contains("`alter table … disable row level security`"),
            "{hidden}"
        );
        assert!(
            schema(&made(), true, &OPTIONAL).check(VERSION).is_ok(),
            "events can be applied"
        );
        assert!(schema(&made(), true, &["users"]).check_versions().is_ok());
        assert!(schema(&made(), true, &[VERSIONS]).check_versions().is_err());
        let missing = text(schema(&without_events(), true, &[]));
        assert!(missing.contains("clerk.events is missing"), "{missing}");
        let old = SchemaVersion {
            found: Some(1),
            ..VERSION
        };
        assert!(
            schema(&without_events(), true, &[]).check(old).is_ok(),
            "a later migration makes it"
        );
        let latin = SchemaState {
            encoding: "LATIN1".into(),
            ..schema(&made(), true, &[])
        };
        assert!(
            latin
                .check_encoding()
                .unwrap_err()
                .to_string()
                .contains("encoding is LATIN1")
        );
    }
}
