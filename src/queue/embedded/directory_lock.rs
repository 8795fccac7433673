//! A lock on the data directory: only one process may take events from it.
//!
//! Two of them would both deliver every event. The system releases the lock when the process ends,
//! however it ends, so there is no stale lock to remove. Commands that only publish do not need it.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use crate::private_file;
use crate::queue::error::OpenError;

/// Locks the directory until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks the file `lock` in the directory; creates both if they are missing. Does not wait.
    ///
    /// # Errors
    /// Fails if another process holds the lock, or the directory cannot be written.
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
                // Only for the error below: the lock works without it.
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
