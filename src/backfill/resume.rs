//! Where a stopped backfill continues: a small file in `DATA_DIR`.
//!
//! - It has one part for each table: how far its list was read, or that it is complete.
//! - It is written whole or not at all, and only after its objects are in the database. So what a
//!   crash loses is read again.
//! - It holds for one instance of Clerk, one key and one database. The key is not in it, only a
//!   part of its digest.
//! - A part is ignored if the database does not have the last objects that it names: that is
//!   another or an empty database.
//! - A run that comes to its end removes the parts of its tables, and the file with the last part.
//!
//! The file is a convenience: if it cannot be written, the run continues, and starts over after a
//! stop.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::failure::ObjectFailure;
use super::place::Place;
use super::request::ORDER;
use super::tally::Tally;
use crate::clerk::{Table, Timestamp};
use crate::private_file;

const FILE: &str = "backfill.json";

/// A run that was stopped longer ago starts over: too many of its first objects have changed since.
const AGE_MAX_MS: i64 = 24 * 60 * 60 * 1000;

/// Between two writes of the file, which wait for the disk.
const INTERVAL: Duration = Duration::from_millis(500);

/// What a run reads and where it writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunKey {
    api: String,
    key: String,
    order: String,
    database: String,
}

impl RunKey {
    /// Returns the key of a run from this API, with this secret key, into this database.
    pub fn of(api: &str, key: &SecretString, database: String) -> Self {
        let digest = digest::digest(&digest::SHA256, key.expose_secret().as_bytes());
        // Enough to distinguish keys, and of no use to anyone else: a key has more than 200 random
        // bits.
        let key = digest.as_ref()[..8].iter();
        Self {
            api: api.into(),
            key: key.map(|byte| format!("{byte:02x}")).collect(),
            order: ORDER.into(),
            database,
        }
    }

    /// Returns the first difference, or `None` if there is none.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            (&self.api, &other.api, "CLERK_API_URL"),
            (&self.key, &other.key, "CLERK_SECRET_KEY"),
            (&self.order, &other.order, "order"),
            (&self.database, &other.database, "database"),
        ];
        let differs = parts.into_iter().find(|(one, other, _)| one != other);
        differs.map(|(_, _, name)| name)
    }
}

/// How far a run got with a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whether the list was read to its end.
    pub is_complete: bool,
    #[serde(flatten)]
    pub place: Place,
    pub tally: Tally,
    /// The first objects that failed.
    pub failures: Vec<ObjectFailure>,
}

/// What the file has of a table.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    saved_ms: i64,
    #[serde(flatten)]
    progress: Progress,
}

/// What the file has.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    #[serde(rename = "identity")]
    run: RunKey,
    /// By the names of the tables.
    tables: BTreeMap<String, Part>,
}

/// The file, and when it was last written.
pub struct Resume {
    path: PathBuf,
    saved: Saved,
    written: Option<Instant>,
    has_failed: bool,
}

impl Resume {
    /// Returns the file of a run in this directory, which need not exist.
    pub fn at(data_dir: &Path, run: RunKey) -> Self {
        let tables = BTreeMap::new();
        Self {
            path: data_dir.join(FILE),
            saved: Saved { run, tables },
            written: None,
            has_failed: false,
        }
    }

    /// Reads how far a stopped run of the same kind got, or forgets it for these tables if they are
    /// to be read from the beginning. Returns notes about what cannot be continued.
    pub(super) fn load(
        &mut self,
        now: Timestamp,
        tables: &[&'static Table],
        restart: bool,
    ) -> Vec<String> {
        let mut found = match self.read() {
            Ok(found) => found,
            // Then it is replaced.
            Err(_) if restart => return Vec::new(),
            Err(why) => return vec![format!("{why}: starting over")],
        };
        let mut notes = Vec::new();
        for table in tables {
            let Some(part) = found.get(table.name) else {
                continue;
            };
            let is_old = now.ms() - part.saved_ms > AGE_MAX_MS;
            if is_old && !restart {
                let (path, plural) = (self.path.display(), table.plural);
                notes.push(format!(
                    "{path} is older than a day for {plural}: starting over"
                ));
            }
            if is_old || restart {
                found.remove(table.name);
            }
        }
        self.saved.tables = found;
        notes
    }

    /// Returns how far the stopped run got with the table.
    pub(super) fn of(&self, table: &Table) -> Option<Progress> {
        let part = self.saved.tables.get(table.name)?;
        Some(part.progress.clone())
    }

    fn read(&self) -> Result<BTreeMap<String, Part>, String> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(format!("{path} cannot be read ({error})")),
        };
        let saved: Saved = serde_json::from_str(&text)
            .map_err(|_| format!("{path} is not a progress file of clerk-sync"))?;
        match saved.run.difference(&self.saved.run) {
            Some(name) => Err(format!("{path} is of another {name}")),
            None => Ok(saved.tables),
        }
    }

    /// Saves the progress if the last save is long enough ago, or `at_once`. Returns a note the
    /// first time that it fails.
    pub(super) fn save(
        &mut self,
        table: &Table,
        progress: &Progress,
        now: Timestamp,
        at_once: bool,
    ) -> Option<String> {
        let is_due = at_once || self.written.is_none_or(|at| at.elapsed() >= INTERVAL);
        if !is_due || progress.place.is_start() {
            return None;
        }
        self.written = Some(Instant::now());
        let part = Part {
            saved_ms: now.ms(),
            progress: progress.clone(),
        };
        self.saved.tables.insert(table.name.into(), part);
        let error = self.write().err()?;
        let is_new = !std::mem::replace(&mut self.has_failed, true);
        let path = self.path.display();
        is_new.then(|| format!("{path} cannot be written ({error}): after a stop it starts over"))
    }

    fn write(&self) -> io::Result<()> {
        let Some(directory) = self.path.parent() else {
            return Ok(());
        };
        private_file::create_directory(directory)?;
        let new = self.path.with_extension("json.new");
        let mut file = private_file::options().truncate(true).open(&new)?;
        file.write_all(&serde_json::to_vec(&self.saved)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(directory)?.sync_all()
    }

    /// Removes these tables, whose lists are complete, and the file if it has no other.
    pub(super) fn end(&mut self, tables: &[&'static Table]) {
        let is_done = |name: &String| tables.iter().any(|table| table.name == name);
        self.saved.tables.retain(|name, _| !is_done(name));
        // If it stays, it is ignored after a day.
        match self.saved.tables.is_empty() {
            true => drop(fs::remove_file(&self.path)),
            false => drop(self.write()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::api_object::read_page;
    use crate::clerk::tables::{organizations, users};
    use crate::clerk::{OmittedFields, Paging};

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_795_000_000_000 + ms).unwrap()
    }

    fn run(api: &str, key: &str, database: &str) -> RunKey {
        RunKey::of(api, &SecretString::from(key), database.into())
    }

    fn same() -> RunKey {
        run("https://clerk", "sk_test_1", "db")
    }

    /// After one user.
    fn progress() -> Progress {
        let mut progress = Progress::default();
        let omitted = OmittedFields::default();
        let text = r#"[{"id":"user_7","updated_at":5}]"#;
        let page = read_page(&users::TABLE, Paging::Cursor, text, &omitted, at(0)).unwrap();
        progress.place.advance(6, 1, &page.objects);
        progress.tally.seen = 7;
        progress
    }

    const BOTH: [&Table; 2] = [&users::TABLE, &organizations::TABLE];

    #[test]
    fn a_progress_is_valid_for_its_own_run_and_for_a_day() {
        let directory = tempfile("valid");
        let loaded = |run: RunKey, now: Timestamp| {
            let mut resume = Resume::at(&directory, run);
            let notes = resume.load(now, &BOTH, false);
            (notes.join(" "), resume.of(&users::TABLE))
        };
        assert_eq!(loaded(same(), at(0)), (String::new(), None));
        let progress = progress();
        let mut resume = Resume::at(&directory, same());
        assert_eq!(resume.save(&users::TABLE, &progress, at(0), false), None);
        let mut later = progress.clone();
        later.tally.seen = 8;
        resume.save(&users::TABLE, &later, at(0), false);
        assert_eq!(
            loaded(same(), at(AGE_MAX_MS)),
            (String::new(), Some(progress)),
            "the second came too soon"
        );
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        assert!(!text.contains("sk_test_1"), "{text}");

        for (other, now, what) in [
            (same(), at(AGE_MAX_MS + 1), "is older than a day for users"),
            (
                run("https://other", "sk_test_1", "db"),
                at(0),
                "CLERK_API_URL",
            ),
            (
                run("https://clerk", "sk_test_2", "db"),
                at(0),
                "CLERK_SECRET_KEY",
            ),
            (
                run("https://clerk", "sk_test_1", "other"),
                at(0),
                "another database",
            ),
        ] {
            let (notes, found) = loaded(other, now);
            assert!(
                notes.contains(what) && notes.ends_with(": starting over"),
                "{notes}"
            );
            assert_eq!(found, None, "{what}");
        }
        fs::write(directory.join(FILE), "{").unwrap();
        assert!(loaded(same(), at(0)).0.contains("not a progress"));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn each_table_has_its_own_progress() {
        let directory = tempfile("tables");
        let mut resume = Resume::at(&directory, same());
        for table in BOTH {
            resume.save(table, &progress(), at(0), true);
        }
        resume.end(&BOTH[..1]);
        let mut again = Resume::at(&directory, same());
        assert!(again.load(at(0), &BOTH, false).is_empty());
        assert!(again.of(BOTH[0]).is_none() && again.of(BOTH[1]).is_some());
        assert!(again.load(at(0), &BOTH, true).is_empty());
        assert!(again.of(BOTH[1]).is_none(), "it starts over when asked to");
        again.end(&BOTH);
        assert!(!directory.join(FILE).exists());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_once() {
        let mut resume = Resume::at(Path::new("/dev/null"), same());
        let progress = progress();
        let mut save = || resume.save(&users::TABLE, &progress, at(0), true);
        assert!(save().unwrap().contains("starts over"));
        assert_eq!(save(), None);
    }

    fn tempfile(name: &str) -> PathBuf {
        let process = std::process::id();
        std::env::temp_dir().join(format!("clerk-sync-resume-{name}-{process}"))
    }
}
