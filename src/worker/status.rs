//! Whether a worker applies events now, or why not. Readiness reports it.

use std::sync::Arc;

use tokio::sync::watch;

/// Clones share one status. It starts as not applying.
#[derive(Clone)]
pub struct Status(watch::Sender<Reason>);

/// Why no events are applied; `None` while they are.
pub type Reason = Option<Arc<str>>;

impl Default for Status {
    fn default() -> Self {
        Self(watch::Sender::new(Some("it starts".into())))
    }
}

impl Status {
    /// Sets that events are applied.
    pub fn applies(&self) {
        self.0.send_replace(None);
    }

    /// Sets why no events are applied.
    pub fn waits(&self, reason: impl Into<Arc<str>>) {
        self.0.send_replace(Some(reason.into()));
    }

    /// Follows the status.
    pub fn subscribe(&self) -> watch::Receiver<Reason> {
        self.0.subscribe()
    }
}
