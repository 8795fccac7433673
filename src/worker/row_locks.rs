//! Which users are being written, so that two writes of one process never wait for each other in
//! the database.
//!
//! A write that needs a row of another write waits for its commit with all of its own rows locked:
//! two batches with one user in common would be written one after the other. So a batch locks its
//! users here, and changes of users that an earlier batch has locked are written after that batch.
//! This only affects speed: the database locks rows in any case.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::plan::split;
use crate::clerk::ClerkId;
use crate::store::Write;

/// Longest wait for an earlier write: longer than a full one takes. One that hangs must not hold up
/// all others.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// The locks of the batches in flight. Clones share them.
#[derive(Clone, Default)]
pub struct RowLocks(Arc<Mutex<Vec<Locked>>>);

struct Locked {
    users: HashSet<ClerkId>,
    /// Fails once the lock is dropped.
    released: watch::Receiver<()>,
}

/// Locks the users of one batch until it is dropped.
pub struct RowLock {
    _release: watch::Sender<()>,
    earlier: Vec<watch::Receiver<()>>,
}

impl RowLocks {
    /// Locks the users of a write. Returns the part that can be written now, and the part whose
    /// users earlier batches have locked.
    pub fn lock(&self, write: Write) -> (RowLock, Write, Write) {
        let changes = write.changes.iter();
        let users = changes.map(|change| change.clerk_id.clone()).collect();
        let (release, released) = watch::channel(());
        // No code that holds the mutex can leave the list half changed.
        let mut locked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locked.retain(|lock| lock.released.has_changed().is_ok());
        let (now, later) = split(write, |user| {
            locked.iter().any(|lock| lock.users.contains(user))
        });
        let mut earlier = Vec::new();
        if !later.changes.is_empty() {
            earlier.extend(locked.iter().map(|lock| lock.released.clone()));
        }
        locked.push(Locked { users, released });
        let lock = RowLock {
            _release: release,
            earlier,
        };
        (lock, now, later)
    }
}

impl RowLock {
    /// Waits until the earlier batches are done, or one takes too long. No batch waits for a later
    /// one, so there is no deadlock.
    pub async fn wait_for_earlier(&mut self) {
        let done = async {
            for earlier in &mut self.earlier {
                while earlier.changed().await.is_ok() {}
            }
        };
        // After that the write waits for the rows in the database, up to its lock timeout.
        _ = timeout(WAIT_MAX, done).await;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clerk::{EventId, EventType, SignedEvent, Timestamp};
    use crate::worker::plan;

    fn event(id: &str, body: String) -> SignedEvent {
        let at = Timestamp::from_ms(1_795_172_400_000).unwrap();
        SignedEvent::restored(
            EventId::new(id).unwrap(),
            EventType::named("user.updated"),
            at,
            at,
            Bytes::from(body),
        )
    }

    /// One event for each user, `msg_1` for the first.
    fn write(users: &[&str]) -> Write {
        let events = users.iter().zip(1..).map(|(user, number)| {
            let body = format!(
                r#"{{"data":{{"id":"{user}","updated_at":1795172400000}},"type":"user.updated"}}"#
            );
            event(&format!("msg_{number}"), body)
        });
        plan::plan(&events.collect::<Vec<_>>())
    }

    fn users(write: &Write) -> Vec<&str> {
        assert_eq!(
            write.changes.len(),
            write.records.len(),
            "each change has its record"
        );
        write
            .changes
            .iter()
            .map(|change| change.clerk_id.as_str())
            .collect()
    }

    #[tokio::test]
    async fn changes_of_users_of_another_batch_wait_for_that_batch() {
        let locks = RowLocks::default();
        let (first, now, later) = locks.lock(write(&["user_a", "user_b"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_a", "user_b"], vec![])
        );
        let (mut second, now, later) = locks.lock(write(&["user_d", "user_b", "user_c"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_c", "user_d"], vec!["user_b"])
        );
        // A third one waits for what the second one will write, too.
        let (_third, now, later) = locks.lock(write(&["user_b", "user_d", "user_e"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_e"], vec!["user_b", "user_d"])
        );
        let mut waiting = crate::tasks::brief(async move {
            second.wait_for_earlier().await;
            second
        });
        assert!(
            timeout(Duration::from_millis(20), &mut waiting)
                .await
                .is_err(),
            "the first one is in flight"
        );
        drop(first);
        drop(waiting.await.unwrap());
        let (_, now, later) = locks.lock(write(&["user_a", "user_c"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_a", "user_c"], vec![])
        );
    }

    #[tokio::test]
    async fn a_batch_that_hangs_is_not_waited_for_forever() {
        let locks = RowLocks::default();
        let (_hangs, ..) = locks.lock(write(&["user_a"]));
        let (mut lock, _, later) = locks.lock(write(&["user_a"]));
        assert_eq!(users(&later), ["user_a"]);
        lock.wait_for_earlier().await;
    }

    #[test]
    fn an_unreadable_event_changes_no_row_and_does_not_wait() {
        let locks = RowLocks::default();
        let (_first, ..) = locks.lock(write(&["user_a"]));
        let events = [
            event("msg_8", "not json".into()),
            event("msg_9", r#"{"data":{"id":"user_a"}}"#.into()),
        ];
        let (_second, now, later) = locks.lock(plan::plan(&events));
        assert_eq!((now.records.len(), later.records.len()), (2, 0));
    }
}
