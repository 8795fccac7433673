//! The migrations of this program, and those that a database has.

use sqlx::migrate::Migration;
use sqlx::postgres::PgRow;
use sqlx::{Error, Row};

use super::schema_fault::SchemaFault;
use crate::store::SchemaVersion;
use crate::store::embedded_migrations::POSTGRES as EMBEDDED;

/// The version of the newest migration of this program.
pub fn newest() -> i64 {
    EMBEDDED
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// A migration that the database has.
#[derive(Debug, Clone)]
pub struct Applied {
    pub version: i64,
    checksum: Vec<u8>,
    is_finished: bool,
}

impl Applied {
    /// Reads a row of `applied.sql`.
    ///
    /// # Errors
    /// Fails for a row of another form.
    pub fn read(row: &PgRow) -> Result<Self, Error> {
        Ok(Self {
            version: row.try_get("version")?,
            checksum: row.try_get("checksum")?,
            is_finished: row.try_get("success")?,
        })
    }

    /// Why it is not one of this program's; `None` if it is.
    fn fault(&self) -> Option<SchemaFault> {
        let version = self.version;
        let known = EMBEDDED
            .iter()
            .find(|migration| migration.version == version);
        let (what, fix) = match known {
            _ if !self.is_finished => (
                format!("its migration {version} was not finished"),
                "fix it by hand",
            ),
            None => (
                format!("its schema has migration {version}, which this program does not know"),
                "use a newer clerk-sync",
            ),
            Some(migration) if *migration.checksum != *self.checksum => (
                format!("its migration {version} is not the one of this program"),
                "use the clerk-sync that made the schema, or give clerk-sync another database where another program made it",
            ),
            Some(_) => return None,
        };
        let fix = fix.into();
        Some(SchemaFault { what, fix })
    }
}

/// The newest of these migrations, and what is wrong with them whatever their number.
pub fn version(applied: &[Applied]) -> (SchemaVersion, Option<SchemaFault>) {
    let found = applied.iter().map(|applied| applied.version).max();
    let wanted = newest();
    // One that is newer than all of ours is reported by the version.
    let ours = applied.iter().filter(|applied| applied.version <= wanted);
    let fault = ours.filter_map(Applied::fault).next();
    (SchemaVersion { found, wanted }, fault)
}

/// The names of what the migrations make. No migration is made if another program has one of them,
/// and `check` reports it before.
pub fn names_made() -> impl Iterator<Item = &'static str> {
    let sql = EMBEDDED.iter().map(|migration| migration.sql.as_str());
    sql.flat_map(str::lines).filter_map(made_by)
}

fn made_by(line: &str) -> Option<&str> {
    let beginnings = [
        "create table clerk.",
        "create index ",
        "create view clerk.",
        "create type clerk.",
    ];
    let rest = beginnings
        .iter()
        .find_map(|beginning| line.strip_prefix(beginning))?;
    rest.split([' ', '(']).next()
}

/// The next migration to make; `None` if there is none.
///
/// # Errors
/// Fails if the database has what this program does not know.
pub fn pending(applied: &[Applied]) -> Result<Option<&'static Migration>, SchemaFault> {
    if let Some(fault) = applied.iter().find_map(Applied::fault) {
        return Err(fault);
    }
    let is_missing = |migration: &&Migration| {
        applied
            .iter()
            .all(|applied| applied.version != migration.version)
    };
    Ok(EMBEDDED.iter().find(is_missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(versions: &[i64]) -> Vec<Applied> {
        let checksum = |version: i64| {
            EMBEDDED
                .iter()
                .find(|known| known.version == version)
                .map_or_else(Vec::new, |known| known.checksum.to_vec())
        };
        versions
            .iter()
            .map(|&version| Applied {
                version,
                checksum: checksum(version),
                is_finished: true,
            })
            .collect()
    }

    #[test]
    fn the_next_migration_is_the_first_that_is_missing() {
        let next = |versions: &[i64]| {
            pending(&applied(versions))
                .unwrap()
                .map(|migration| migration.version)
        };
        let all: Vec<_> = EMBEDDED.iter().map(|migration| migration.version).collect();
        assert_eq!(next(&[]), Some(1));
        assert_eq!(next(&[1, 2]), Some(3));
        assert_eq!(next(&all), None);
        assert_eq!(all.last(), Some(&newest()));
    }

    #[test]
    fn what_this_program_does_not_know_is_refused() {
        let refused = |applied: &[Applied]| pending(applied).unwrap_err().what;
        assert!(
            refused(&applied(&[1, 9999]))
                .contains("migration 9999, which this program does not know")
        );
        let mut other = applied(&[1]);
        other[0].checksum = vec![0];
        assert!(refused(&other).contains("migration 1 is not the one of this program"));
        other[0].is_finished = false;
        assert!(refused(&other).contains("migration 1 was not finished"));
    }

    #[test]
    fn every_name_that_the_migrations_make_is_known() {
        let sql = EMBEDDED.iter().map(|migration| migration.sql.as_str());
        for line in sql.flat_map(str::lines) {
            assert!(
                !line.starts_with("create ")
                    || line.starts_with("create or replace view")
                    || made_by(line).is_some(),
                "{line}"
            );
        }
        let names: Vec<_> = names_made().collect();
        assert!(names.contains(&"users_email_prefix"), "{names:?}");
        assert!(names.contains(&"active_organizations"), "{names:?}");
        assert!(names.len() > 30, "{names:?}");
    }
}
