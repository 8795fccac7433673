//! The schema as it is: whether clerk-sync made it, which migrations it has, and whether the role sees all of it.

use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::SchemaName;
use crate::store::{SchemaVersion, StoreError};

/// What is there.
#[derive(Debug, Clone)]
pub struct Schema {
    pub name: SchemaName,
    pub encoding: String,
    /// What bears a name that the migrations use, and was not made by them, such as `users (a foreign table)`.
    pub foreign: Vec<String>,
    /// Tables of which row-level security hides rows from this role, or refuses them.
    pub hidden: Vec<String>,
    /// Whether the versions can be asked for.
    pub is_versioned: bool,
    /// Tables that are not there.
    pub missing: Vec<&'static str>,
}

/// The tables that the program reads and writes.
const TABLES: [&str; 3] = [VERSIONS, "users", "events"];

const VERSIONS: &str = "_migrations";

pub const SETTINGS: &str = "settings";

/// The encoding that holds every character.
const ENCODING: &str = "UTF8";

/// What a person must fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub what: String,
    pub fix: String,
}

impl From<Fault> for StoreError {
    fn from(Fault { what, fix }: Fault) -> Self {
        Self::Incompatible(format!("{what}: {fix}"))
    }
}

impl Schema {
    /// Reads the answer to `schema_state.sql`.
    pub fn of(row: &PgRow, name: &SchemaName) -> Result<Self, Error> {
        let (found, taken): (Vec<String>, Vec<String>) =
            (row.try_get("found")?, row.try_get("taken")?);
        let mut found: Vec<_> = found
            .iter()
            .filter_map(|found| found.split_once(' '))
            .collect();
        let missing = missing(&found);
        let is_versioned: bool = row.try_get("is_versioned")?;
        if !is_versioned {
            found.extend(taken.iter().filter_map(|taken| taken.split_once(' ')));
        }
        Ok(Self {
            name: name.clone(),
            encoding: row.try_get("encoding")?,
            foreign: foreign(&found, is_versioned),
            hidden: row.try_get("hidden")?,
            is_versioned,
            missing,
        })
    }

    /// Whether a worker can read and write all of it, as far as the catalogs say.
    ///
    /// # Errors
    /// `Incompatible`, which names what a person must fix.
    pub fn check(&self, version: SchemaVersion) -> Result<(), StoreError> {
        // Without its settings a worker applies events all the same.
        let hides_rows = self
            .hides_rows()
            .filter(|_| self.hidden.iter().any(|name| name != SETTINGS));
        let faults = [self.is_of_another(), hides_rows, self.lacks_tables(version)];
        faults
            .into_iter()
            .flatten()
            .next()
            .map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Whether the versions can be read as they are: they are ours, and all of them are seen.
    pub fn check_versions(&self) -> Result<(), StoreError> {
        let hides_versions = || {
            self.hides_rows()
                .filter(|_| self.hidden.iter().any(|name| name == VERSIONS))
        };
        self.is_of_another()
            .or_else(hides_versions)
            .map_or(Ok(()), |fault| Err(fault.into()))
    }

    /// Whether the database can hold every text.
    pub fn check_encoding(&self) -> Result<(), StoreError> {
        self.lacks_characters()
            .map_or(Ok(()), |fault| Err(fault.into()))
    }

    pub fn lacks_characters(&self) -> Option<Fault> {
        (self.encoding != ENCODING).then(|| Fault {
            what: format!(
                "the database's encoding is {}: events with other characters would fail",
                self.encoding
            ),
            fix: "make a database with `create database … encoding 'UTF8' template template0`"
                .into(),
        })
    }

    /// What another program made there.
    pub fn is_of_another(&self) -> Option<Fault> {
        (!self.foreign.is_empty()).then(|| Fault {
            what: format!(
                "the schema {} has {}, which clerk-sync did not make (Supabase's Clerk wrapper makes such tables)",
                self.name,
                self.foreign.join(", ")
            ),
            fix: "give clerk-sync another schema with DATABASE_SCHEMA, or another database. Nothing was changed".into(),
        })
    }

    pub fn hides_rows(&self) -> Option<Fault> {
        (!self.hidden.is_empty()).then(|| Fault {
            what: format!("row-level security hides rows of {} from this role", self.tables(&self.hidden)),
            fix: "give the role `bypassrls` or a policy `for all using (true)`, or `alter table … disable row level security`".into(),
        })
    }

    pub fn lacks_tables(&self, version: SchemaVersion) -> Option<Fault> {
        (version.found >= Some(version.wanted) && !self.missing.is_empty()).then(|| Fault {
            what: format!(
                "{} is missing, although {}.{VERSIONS} says that it was made",
                self.tables(&self.missing),
                self.name
            ),
            fix: format!(
                "bring back a backup, or drop the schema {} and run `clerk-sync migrate` and `clerk-sync backfill`",
                self.name
            ),
        })
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

/// What was not made by the migrations: all of it where they left no table of versions, else a table of ours that is none. A view
/// of ours may be replaced.
fn foreign(found: &[(&str, &str)], is_versioned: bool) -> Vec<String> {
    let is_made = |name: &str, kind: &str| !TABLES.contains(&name) || matches!(kind, "r" | "p");
    let others = found
        .iter()
        .filter(|(name, kind)| !is_versioned || !is_made(name, kind));
    others
        .map(|(name, kind)| format!("{name} ({})", kind_of(kind)))
        .collect()
}

/// Tables of ours that are not there.
fn missing(found: &[(&str, &str)]) -> Vec<&'static str> {
    let is_missing = |name: &str| !found.iter().any(|(found, _)| *found == name);
    TABLES.into_iter().filter(|name| is_missing(name)).collect()
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

    fn schema(found: &[(&str, &str)], is_versioned: bool, hidden: &[&str]) -> Schema {
        Schema {
            name: SchemaName::default(),
            encoding: "UTF8".into(),
            foreign: foreign(found, is_versioned),
            hidden: hidden.iter().map(|name| (*name).into()).collect(),
            is_versioned,
            missing: missing(found),
        }
    }

    /// As the migrations leave it.
    const MADE: [(&str, &str); 4] = [
        ("_migrations", "r"),
        ("users", "r"),
        ("events", "r"),
        ("active_users", "v"),
    ];

    const VERSION: SchemaVersion = SchemaVersion {
        found: Some(3),
        wanted: 3,
    };

    #[test]
    fn what_the_migrations_made_is_ours_and_nothing_else_is() {
        assert_eq!(schema(&MADE, true, &[]).check(VERSION).ok(), Some(()));
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
        let text = |schema: Schema| schema.check(VERSION).unwrap_err().to_string();
        let hidden = text(schema(&MADE, true, &["events", "users"]));
        assert!(
            hidden.contains("row-level security hides rows of clerk.events and clerk.users"),
            "{hidden}"
        );
        assert!(
            hidden.contains("`alter table … disable row level security`"),
            "{hidden}"
        );
        assert!(
            schema(&MADE, true, &[SETTINGS]).check(VERSION).is_ok(),
            "events can be applied"
        );
        assert!(schema(&MADE, true, &["users"]).check_versions().is_ok());
        assert!(schema(&MADE, true, &[VERSIONS]).check_versions().is_err());
        let missing = text(schema(&MADE[..2], true, &[]));
        assert!(missing.contains("clerk.events is missing"), "{missing}");
        let old = SchemaVersion {
            found: Some(1),
            ..VERSION
        };
        assert!(
            schema(&MADE[..2], true, &[]).check(old).is_ok(),
            "a later migration makes it"
        );
        let latin = Schema {
            encoding: "LATIN1".into(),
            ..schema(&MADE, true, &[])
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
