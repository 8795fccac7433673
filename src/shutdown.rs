//! The request to stop, awaited everywhere.

use tokio::sync::watch;

/// A request to stop. Clones share it; it is made once and stays.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// Requests the stop.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Returns whether the stop is requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when the stop is requested; immediately if it is already. Cancel-safe.
    pub async fn requested(&self) {
        let mut changes = self.0.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        let _stays_open = changes.wait_for(|requested| *requested).await;
    }

    /// Runs `work` until it ends. Returns `None` if the stop is requested first.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            done = work => Some(done),
        }
    }
}
