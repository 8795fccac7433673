//! Where a stopped backfill continues: a small file in `DATA_DIR`.
//!
//! - It is written whole or not at all, and only after its users are in the database. So what a
//!   crash loses is read again.
//! - It holds for one instance of Clerk, one key and one database. The key is not in it, only a
//!   part of its digest.
//! - It is ignored if the database does not have the last users that it names: that is another or
//!   an empty database.
//! - It is deleted when the list is complete.
//!
//! The file is a convenience: if it cannot be written, the run continues, and starts over after a
//! stop.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::clerk_api::ORDER;
use super::failure::UserFailure;
use super::tally::Tally;
use crate::clerk::{ClerkId, Timestamp};
use crate::private_file;

const FILE: &str = "backfill.json";

/// A run that was stopped longer ago starts over: too many of its first users have changed since.
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

/// How far a run got.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    #[serde(rename = "trail")]
    cursors: Vec<String>,
    pub tally: Tally,
    /// The first users who failed.
    pub failures: Vec<UserFailure>,
}

impl Progress {
    /// Returns the last users; the run continues after the very last one.
    pub fn cursors(&self) -> Vec<ClerkId> {
        self.cursors
            .iter()
            .filter_map(|id| ClerkId::new(id))
            .collect()
    }

    /// Sets the last users.
    pub fn advance(&mut self, cursors: &[ClerkId]) {
        self.cursors = cursors.iter().map(ToString::to_string).collect();
    }
}

/// What the file has.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(rename = "identity")]
    run: RunKey,
    saved_ms: i64,
    #[serde(flatten)]
    progress: Progress,
}

/// The file, and when it was last written.
pub struct Resume {
    path: PathBuf,
    run: RunKey,
    saved: Option<Instant>,
    has_failed: bool,
}

impl Resume {
    /// Returns the file of a run in this directory, which need not exist.
    pub fn at(data_dir: &Path, run: RunKey) -> Self {
        Self {
            path: data_dir.join(FILE),
            run,
            saved: None,
            has_failed: false,
        }
    }

    /// Returns how far a stopped run of the same kind got, or `None` if there was none.
    ///
    /// # Errors
    /// Says why the run cannot be continued.
    pub fn load(&self, now: Timestamp) -> Result<Option<Progress>, String> {
        let path = self.path.display();
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{path} cannot be read ({error})")),
        };
        let saved: Saved = serde_json::from_str(&text)
            .map_err(|_| format!("{path} is not a progress file of clerk-sync"))?;
        if let Some(name) = saved.run.difference(&self.run) {
            return Err(format!("{path} is of another {name}"));
        }
        if now.ms() - saved.saved_ms > AGE_MAX_MS {
            return Err(format!("{path} is older than a day"));
        }
        Ok(Some(saved.progress))
    }

    /// Saves the progress if the last save is long enough ago, or `at_once`. Returns a note the
    /// first time that it fails.
    pub fn save(&mut self, progress: &Progress, now: Timestamp, at_once: bool) -> Option<String> {
        let is_due = at_once || self.saved.is_none_or(|saved| saved.elapsed() >= INTERVAL);
        if !is_due || progress.cursors.is_empty() {
            return None;
        }
        self.saved = Some(Instant::now());
        let saved = Saved {
            run: self.run.clone(),
            saved_ms: now.ms(),
            progress: progress.clone(),
        };
        let error = self.write(&saved).err()?;
        let is_new = !std::mem::replace(&mut self.has_failed, true);
        let path = self.path.display();
        is_new.then(|| format!("{path} cannot be written ({error}): after a stop it starts over"))
    }

    fn write(&self, saved: &Saved) -> io::Result<()> {
        let Some(directory) = self.path.parent() else {
            return Ok(());
        };
        private_file::create_directory(directory)?;
        let new = self.path.with_extension("json.new");
        let mut file = private_file::options().truncate(true).open(&new)?;
        file.write_all(&serde_json::to_vec(saved)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(directory)?.sync_all()
    }

    /// Deletes the file: the list is complete.
    pub fn delete(&self) {
        // If it stays, it is ignored after a day.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_795_000_000_000 + ms).unwrap()
    }

    fn run(api: &str, key: &str, database: &str) -> RunKey {
        RunKey::of(api, &SecretString::from(key), database.into())
    }

    #[test]
    fn a_progress_is_valid_for_its_own_run_and_for_a_day() {
        let directory =
            std::env::temp_dir().join(format!("clerk-sync-resume-{}", std::process::id()));
        let same = || Resume::at(&directory, run("https://clerk", "sk_test_1", "db"));
        assert_eq!(same().load(at(0)), Ok(None));
        let mut progress = Progress::default();
        progress.tally.seen = 7;
        progress.advance(&[ClerkId::new("user_7").unwrap()]);
        let mut resume = same();
        assert_eq!(resume.save(&progress, at(0), false), None);
        let mut later = progress.clone();
        later.tally.seen = 8;
        resume.save(&later, at(0), false);
        let loaded = same().load(at(AGE_MAX_MS)).unwrap().unwrap();
        assert_eq!(loaded, progress, "the second came too soon");
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        assert!(!text.contains("sk_test_1"), "{text}");

        assert!(
            same()
                .load(at(AGE_MAX_MS + 1))
                .unwrap_err()
                .contains("older than a day")
        );
        for (other, what) in [
            (run("https://other", "sk_test_1", "db"), "CLERK_API_URL"),
            (run("https://clerk", "sk_test_2", "db"), "CLERK_SECRET_KEY"),
            (
                run("https://clerk", "sk_test_1", "other"),
                "another database",
            ),
        ] {
            assert!(
                Resume::at(&directory, other)
                    .load(at(0))
                    .unwrap_err()
                    .contains(what)
            );
        }
        fs::write(directory.join(FILE), "{").unwrap();
        assert!(same().load(at(0)).unwrap_err().contains("not a progress"));
        resume.delete();
        assert_eq!(same().load(at(0)), Ok(None));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_once() {
        let mut resume = Resume::at(
            Path::new("/dev/null"),
            run("https://clerk", "sk_test_1", "db"),
        );
        let mut progress = Progress::default();
        progress.advance(&[ClerkId::new("user_7").unwrap()]);
        let mut save = || resume.save(&progress, at(0), true);
        assert!(save().unwrap().contains("starts over"));
        assert_eq!(save(), None);
    }
}
