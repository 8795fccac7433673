//! One signal to stop, awaited everywhere.

use tokio::sync::watch;

/// Clones share one signal. It is given once and stays.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the stop was requested, at once if it has been. Cancel-safe.
    pub async fn requested(&self) {
        let mut changes = self.0.subscribe();
        // The sender is in `self`, so waiting cannot fail.
        let _stays_open = changes.wait_for(|requested| *requested).await;
    }

    /// Runs `work` until it ends or the stop is requested; nothing in the latter case.
    pub async fn or<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.requested() => None,
            done = work => Some(done),
        }
    }
}
