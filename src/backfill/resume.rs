//! Where a walk goes on after a stop: a small file in `DATA_DIR`.
//!
//! - It is written whole or not at all, and only after what it speaks of is in the database. So what is lost with a crash is read again.
//! - It is good for one instance of Clerk's, one key and one database. The key is not in it: a part of its digest tells it from another.
//! - It is not believed where the database does not have the last users it speaks of: that is another one, or an empty one after a disaster.
//! - It goes when the walk is complete.
//!
//! The file is a convenience: where it cannot be written the walk goes on, and begins anew after a stop.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Failure;
use super::api::ORDER;
use super::fill::Tally;
use crate::clerk::{ClerkId, Timestamp};
use crate::private_file;

const FILE: &str = "backfill.json";

/// A walk that was stopped longer ago begins anew: too much of its beginning has changed since.
const AGE_MAX_MS: i64 = 24 * 60 * 60 * 1000;

/// Between two writes of the file, which wait for the disk. What is lost with a crash is read again.
const INTERVAL: Duration = Duration::from_millis(500);

/// What a progress is good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    api: String,
    key: String,
    order: String,
    database: String,
}

impl Identity {
    pub fn of(api: &str, key: &SecretString, database: String) -> Self {
        let digest = digest::digest(&digest::SHA256, key.expose_secret().as_bytes());
        // Enough to tell keys apart, and of no use to anybody else: a key has more than 200 random bits.
        let key = digest.as_ref()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self {
            api: api.into(),
            key,
            order: ORDER.into(),
            database,
        }
    }

    /// What is not the same.
    fn differs_in(&self, other: &Self) -> Option<&'static str> {
        let parts = [
            (self.api != other.api, "another CLERK_API_URL"),
            (self.key != other.key, "another CLERK_SECRET_KEY"),
            (self.order != other.order, "another order"),
            (self.database != other.database, "another database"),
        ];
        parts
            .into_iter()
            .find_map(|(differs, what)| differs.then_some(what))
    }
}

/// How far a walk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    identity: Identity,
    saved_ms: i64,
    trail: Vec<String>,
    pub tally: Tally,
    pub failures: Vec<Failure>,
}

impl Progress {
    /// The users after whom it goes on.
    pub fn trail(&self) -> Vec<ClerkId> {
        self.trail
            .iter()
            .filter_map(|id| ClerkId::new(id))
            .collect()
    }
}

/// The file, and when it was last written.
pub struct Resume {
    path: PathBuf,
    identity: Identity,
    saved: Option<Instant>,
    /// Told once.
    cannot_be_kept: bool,
}

impl Resume {
    pub fn at(data_dir: &Path, identity: Identity) -> Self {
        Self {
            path: data_dir.join(FILE),
            identity,
            saved: None,
            cannot_be_kept: false,
        }
    }

    /// How far a walk of the same kind got; nothing where there was none. The error says why one is not gone on with.
    pub fn load(&self, now: Timestamp) -> Result<Option<Progress>, String> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{} cannot be read ({error})", self.path.display())),
        };
        let progress: Progress = serde_json::from_str(&text).map_err(|_| {
            format!(
                "{} is not a progress of this program's",
                self.path.display()
            )
        })?;
        if let Some(what) = progress.identity.differs_in(&self.identity) {
            return Err(format!("{} is of {what}", self.path.display()));
        }
        if now.ms() - progress.saved_ms > AGE_MAX_MS {
            return Err(format!("{} is older than a day", self.path.display()));
        }
        Ok(Some(progress))
    }

    /// Keeps how far it is, now and then, or at once where it ends. Returns what to tell: that it cannot be kept.
    pub fn save(
        &mut self,
        trail: &[ClerkId],
        tally: &Tally,
        failures: &[Failure],
        now: Timestamp,
        at_once: bool,
    ) -> Option<String> {
        let is_due = at_once || self.saved.is_none_or(|saved| saved.elapsed() >= INTERVAL);
        if !is_due || trail.is_empty() {
            return None;
        }
        self.saved = Some(Instant::now());
        let progress = Progress {
            identity: self.identity.clone(),
            saved_ms: now.ms(),
            trail: trail.iter().map(ToString::to_string).collect(),
            tally: *tally,
            failures: failures.to_vec(),
        };
        let error = self.write(&progress).err()?;
        let is_new = !std::mem::replace(&mut self.cannot_be_kept, true);
        is_new.then(|| {
            format!(
                "{} cannot be written ({error}): after a stop it begins anew",
                self.path.display()
            )
        })
    }

    fn write(&self, progress: &Progress) -> io::Result<()> {
        let Some(directory) = self.path.parent() else {
            return Ok(());
        };
        private_file::create_directory(directory)?;
        let new = self.path.with_extension("json.new");
        let mut file = private_file::options().truncate(true).open(&new)?;
        file.write_all(&serde_json::to_vec(progress)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(directory)?.sync_all()
    }

    /// The walk is complete.
    pub fn forget(&self) {
        // One that stays is not believed for long.
        drop(fs::remove_file(&self.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(1_795_000_000_000 + ms).unwrap()
    }

    fn identity(api: &str, key: &str, database: &str) -> Identity {
        Identity::of(api, &SecretString::from(key), database.into())
    }

    #[test]
    fn a_progress_is_good_for_its_own_walk_and_for_a_day() {
        let directory =
            std::env::temp_dir().join(format!("clerk-sync-resume-{}", std::process::id()));
        let same = || Resume::at(&directory, identity("https://clerk", "sk_test_1", "db"));
        assert_eq!(same().load(at(0)), Ok(None));
        let (tally, trail) = (
            Tally {
                seen: 7,
                ..Tally::default()
            },
            [ClerkId::new("user_7").unwrap()],
        );
        let mut resume = same();
        assert_eq!(resume.save(&trail, &tally, &[], at(0), false), None);
        resume.save(&trail, &Tally { seen: 8, ..tally }, &[], at(0), false);
        let progress = same().load(at(AGE_MAX_MS)).unwrap().unwrap();
        assert_eq!(
            (progress.trail(), progress.tally),
            (trail.to_vec(), tally),
            "the second came too soon"
        );
        let text = fs::read_to_string(directory.join(FILE)).unwrap();
        assert!(!text.contains("sk_test_1"), "{text}");

        assert!(
            same()
                .load(at(AGE_MAX_MS + 1))
                .unwrap_err()
                .contains("older than a day")
        );
        for (other, what) in [
            (
                identity("https://other", "sk_test_1", "db"),
                "CLERK_API_URL",
            ),
            (
                identity("https://clerk", "sk_test_2", "db"),
                "CLERK_SECRET_KEY",
            ),
            (
                identity("https://clerk", "sk_test_1", "other"),
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
        resume.forget();
        assert_eq!(same().load(at(0)), Ok(None));
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told_once() {
        let mut resume = Resume::at(
            Path::new("/dev/null"),
            identity("https://clerk", "sk_test_1", "db"),
        );
        let trail = [ClerkId::new("user_7").unwrap()];
        let mut save = || resume.save(&trail, &Tally::default(), &[], at(0), true);
        assert!(save().unwrap().contains("begins anew"));
        assert_eq!(save(), None);
    }
}
