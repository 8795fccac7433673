//! `Shared`: the leases, the reader and the health of one queue file, shared by its handles,
//! consumers and writer.

use std::sync::Arc;

use super::file::{self, QueueFile};
use super::in_flight::InFlightRows;
use super::reader::Reader;
use crate::logged_state::LoggedState;
use crate::queue::error::Unavailable;
use crate::shutdown::Shutdown;

pub struct Shared {
    pub in_flight: Arc<InFlightRows>,
    pub reader: tokio::sync::Mutex<Reader>,
    pub health: Health,
    pub closing: Shutdown,
}

impl Shared {
    pub fn new(file: QueueFile) -> Arc<Self> {
        Arc::new(Self {
            in_flight: InFlightRows::new(),
            reader: tokio::sync::Mutex::new(Reader::new(file)),
            health: Health::default(),
            closing: Shutdown::default(),
        })
    }
}

/// Why the last write failed; `None` if it succeeded.
#[derive(Default)]
pub struct Health(LoggedState<Option<&'static str>>);

impl Health {
    pub fn get(&self) -> Result<(), Unavailable> {
        let fault = self.0.get();
        fault.map_or(Ok(()), |fault| Err(Unavailable::new(fault)))
    }

    /// Notes a successful write.
    pub fn good(&self) {
        if self.0.changes_to(None) {
            tracing::info!("the queue file can be written again");
        }
    }

    /// Notes a failed write. Logs the start of a fault, not every event that meets it.
    pub fn failed(&self, error: &sqlx::Error) {
        let advice = advice(error);
        if self.0.changes_to(Some(advice)) {
            tracing::error!(%error, "events are refused, and Clerk sends them again: {advice}");
        }
    }

    /// Notes that the writer has panicked.
    pub fn panicked(&self) {
        self.0.changes_to(Some(
            "its writer met a bug of clerk-sync, and starts again within a minute: report it",
        ));
    }
}

/// What is wrong, and what to do.
pub fn advice(error: &sqlx::Error) -> &'static str {
    match file::primary_code(error) {
        Some(file::FULL) => "the disk of the queue file is full: make room on it",
        Some(file::IO_ERROR) => {
            "the queue file cannot be written to its disk: make room (quotas and limits of a file's size count too), or look for the disk in the system's log"
        }
        Some(file::READ_ONLY) => {
            "the queue file is read-only: restore its write permission, or mount its disk for writing"
        }
        Some(file::CORRUPT | file::NOT_A_DATABASE) => {
            "the queue file is damaged: stop clerk-sync, copy the file and its -wal file, and start again: the start reports what to do"
        }
        _ => {
            "the queue file cannot be written: check its disk, its permissions, and that no other program holds it"
        }
    }
}
