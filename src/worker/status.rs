//! Whether a worker applies events now, or why not: for readiness.

use std::sync::Arc;

use tokio::sync::watch;

/// Clones share one status. It starts as not applying.
#[derive(Clone)]
pub struct Status(watch::Sender<Reason>);

/// Why nothing is applied; `None` while events are applied.
pub type Reason = Option<Arc<str>>;

impl Default for Status {
    fn default() -> Self {
        Self(watch::Sender::new(Some("it starts".into())))
    }
}

impl Status {
    pub fn applies(&self) {
        self.0.send_replace(None);
    }

    pub fn waits(&self, reason: impl Into<Arc<str>>) {
        self.0.send_replace(Some(reason.into()));
    }

    pub fn subscribe(&self) -> watch::Receiver<Reason> {
        self.0.subscribe()
    }
}
