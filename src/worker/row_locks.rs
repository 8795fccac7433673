//! Which users are being written, so that two writes of one process never wait for each other in the database.
//!
//! A write that meets a row of another one waits for the other's commit with all of its own rows: two batches with one user in
//! common would be written one after the other. So a batch claims its users, and what is about another's is written after
//! that one. Nothing rests on it but speed: writes of several processes meet in the database all the same.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::clerk::{Change, ClerkId};
use crate::store::{Parsed, Record, Write};

/// How long another's write is waited for: longer than a full one takes. One that hangs must not hold up all that meets it.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// The claims of the batches in flight. Clones share them.
#[derive(Clone, Default)]
pub struct Claims(Arc<Mutex<Vec<InFlight>>>);

struct InFlight {
    users: HashSet<ClerkId>,
    /// Fails once its claim is dropped.
    done: watch::Receiver<()>,
}

/// A batch's claim on its users, until it is dropped.
pub struct Claim {
    _done: watch::Sender<()>,
    /// Claims of those who were there before.
    others: Vec<watch::Receiver<()>>,
}

impl Claims {
    /// Claims the users of a write: what of it can be written now, and what is about users that others have claimed before.
    pub fn claim(&self, write: Write) -> (Claim, Write, Write) {
        let users = write
            .changes
            .iter()
            .map(|change| change.clerk_id.clone())
            .collect();
        let (done, in_flight) = watch::channel(());
        let mut claims = self.in_flight();
        claims.retain(|claim| claim.done.has_changed().is_ok());
        let (now, later) = split(write, |user| {
            claims.iter().any(|claim| claim.users.contains(user))
        });
        let others = match later.changes.is_empty() {
            true => Vec::new(),
            false => claims.iter().map(|claim| claim.done.clone()).collect(),
        };
        claims.push(InFlight {
            users,
            done: in_flight,
        });
        (
            Claim {
                _done: done,
                others,
            },
            now,
            later,
        )
    }

    fn in_flight(&self) -> MutexGuard<'_, Vec<InFlight>> {
        // No code that holds the lock can leave the list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Waits until those who were there before are done, or one takes too long. Nobody waits for who came later, so nobody
    /// waits in a circle.
    pub async fn wait_for_others(&mut self) {
        let done = async {
            for other in &mut self.others {
                while other.changed().await.is_ok() {}
            }
        };
        // The rows that it holds are waited for in the database then, as long as that allows.
        _ = timeout(WAIT_MAX, done).await;
    }
}

/// What of a write is about none of these users, and the rest. Each part is in order, as the whole was.
fn split(write: Write, is_claimed: impl Fn(&ClerkId) -> bool) -> (Write, Write) {
    let (later, now): (Vec<Change>, Vec<Change>) = write
        .changes
        .into_iter()
        .partition(|change| is_claimed(&change.clerk_id));
    if later.is_empty() {
        return (
            Write {
                changes: now,
                records: write.records,
            },
            Write::default(),
        );
    }
    let is_later = |record: &Record| match &record.parsed {
        Parsed::Readable { clerk_id, .. } => later
            .binary_search_by(|change| change.clerk_id.cmp(clerk_id))
            .is_ok(),
        // It changes no row.
        Parsed::Failed { .. } => false,
    };
    let (records_later, records_now) = write.records.into_iter().partition(is_later);
    (
        Write {
            changes: now,
            records: records_now,
        },
        Write {
            changes: later,
            records: records_later,
        },
    )
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
    async fn what_is_about_another_batch_s_users_waits_for_that_batch() {
        let claims = Claims::default();
        let (first, now, later) = claims.claim(write(&["user_a", "user_b"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_a", "user_b"], vec![])
        );
        let (mut second, now, later) = claims.claim(write(&["user_d", "user_b", "user_c"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_c", "user_d"], vec!["user_b"])
        );
        // A third one waits for what the second one will write, too.
        let (_third, now, later) = claims.claim(write(&["user_b", "user_d", "user_e"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_e"], vec!["user_b", "user_d"])
        );
        let mut waiting = crate::tasks::brief(async move {
            second.wait_for_others().await;
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
        let (_, now, later) = claims.claim(write(&["user_a", "user_c"]));
        assert_eq!(
            (users(&now), users(&later)),
            (vec!["user_a", "user_c"], vec![])
        );
    }

    #[tokio::test]
    async fn a_batch_that_hangs_is_not_waited_for_for_ever() {
        let claims = Claims::default();
        let (_hangs, ..) = claims.claim(write(&["user_a"]));
        let (mut claim, _, later) = claims.claim(write(&["user_a"]));
        assert_eq!(users(&later), ["user_a"]);
        claim.wait_for_others().await;
    }

    #[test]
    fn what_cannot_be_read_changes_no_row_and_waits_for_nobody() {
        let claims = Claims::default();
        let (_first, ..) = claims.claim(write(&["user_a"]));
        let events = [
            event("msg_8", "not json".into()),
            event("msg_9", r#"{"data":{"id":"user_a"}}"#.into()),
        ];
        let (_second, now, later) = claims.claim(plan::plan(&events));
        assert_eq!((now.records.len(), later.records.len()), (2, 0));
    }
}
