//! A note in DATA_DIR of a process that runs: other commands read where it listens, or which
//! database it uses.
//!
//! The process locks the file as long as it lives, and removes it at its stop. One that was left
//! behind by a crash is not locked, and is not believed.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::private_file;

/// Removes the file when it is dropped.
pub struct LiveNote {
    path: PathBuf,
    _locked: File,
}

/// A reader holds the lock for a moment.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

impl LiveNote {
    /// Writes the file, whose directory must exist.
    pub fn write(path: PathBuf, text: &str) -> io::Result<Self> {
        let file = private_file::options().open(&path)?;
        let mut tries = 1;
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if tries < TRIES => std::thread::sleep(PAUSE),
                error => return Err(error.into()),
            }
            tries += 1;
        }
        file.set_len(0)?;
        (&file).write_all(text.as_bytes())?;
        Ok(Self {
            path,
            _locked: file,
        })
    }
}

impl Drop for LiveNote {
    fn drop(&mut self) {
        // One that stays is not locked any more.
        drop(fs::remove_file(&self.path));
    }
}

/// The text of the file, if the process that wrote it still runs.
pub fn read(path: &Path) -> Option<String> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => fs::read_to_string(path).ok(),
        _ => None,
    }
}
