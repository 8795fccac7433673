//! One serving process a data directory.
//!
//! Two of them would both hand out every event. The system gives the lock back when the process ends, however it ends, so
//! there is no stale lock to clear. Commands that only publish do without it.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::private_file;
use crate::queue::OpenError;

/// Held for as long as this value lives.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks the file `lock` in the directory; makes both where they are missing. Does not wait.
    pub fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join("lock");
        let failed = |error| {
            OpenError(format!(
                "{} cannot be locked: {error}. Set DATA_DIR to a writable directory on a local disk",
                path.display()
            ))
        };
        private_file::create_directory(directory).map_err(failed)?;
        let file = private_file::options().open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // For the error below alone: without it the lock is as good.
                drop(
                    file.set_len(0).and_then(|()| {
                        (&file).write_all(std::process::id().to_string().as_bytes())
                    }),
                );
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(OpenError(format!(
                "another clerk-sync{} works in {}: stop it, or set DATA_DIR to another directory. For several processes set AMQP_URL",
                holder(&path)
                    .map(|id| format!(" (process {id})"))
                    .unwrap_or_default(),
                directory.display()
            ))),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// The ID of the process that holds the lock. Returns `None` if it has not written it.
fn holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
