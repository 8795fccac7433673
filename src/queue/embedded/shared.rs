//! What the handles, the consumers and the writer of one queue file share.

use std::sync::{Arc, Mutex, PoisonError};

use super::file::{self, QueueFile};
use super::in_flight::InFlightRows;
use super::reader::Reader;
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
pub struct Health(Mutex<Option<&'static str>>);

impl Health {
    pub fn get(&self) -> Result<(), Unavailable> {
        self.fault()
            .map_or(Ok(()), |fault| Err(Unavailable::new(fault)))
    }

    pub fn is_failing(&self) -> bool {
        self.fault().is_some()
    }

    /// Notes a successful write.
    pub fn good(&self) {
        if self.set(None).is_some() {
            tracing::info!("the queue file can be written again");
        }
    }

    /// Logs the start of a fault, not every event that meets it.
    pub fn failed(&self, error: &sqlx::Error) {
        let advice = advice(error);
        if self.set(Some(advice)) != Some(advice) {
            tracing::error!(%error, "events are refused, and Clerk sends them again: {advice}");
        }
    }

    fn fault(&self) -> Option<&'static str> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the fault. Returns the one before.
    pub fn set(&self, fault: Option<&'static str>) -> Option<&'static str> {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, fault)
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
            "the queue file is read-only: give it back its permissions, or mount its disk for writing"
        }
        Some(file::CORRUPT | file::NOT_A_DATABASE) => {
            "the queue file is damaged: stop, keep it with its -wal file, and start again for what to do"
        }
        _ => {
            "the queue file cannot be written: check its disk, its permissions, and that no other program holds it"
        }
    }
}
