//! Which queues the workers of a database consume. Each worker records its queue regularly, and a
//! command compares before it replays: on another queue an event would wait for ever.

use serde::{Deserialize, Serialize};

use crate::clerk::Timestamp;
use crate::clock::now;
use crate::queue::Identity;
use crate::store::{Store, StoreError};

/// The name of the row in the table of settings.
const SETTING: &str = "worker_queue";

/// How long another queue is kept after it was recorded: several times the interval at which
/// workers record theirs.
const KEPT_MS: u64 = 3 * 60 * 1000;

/// A queue, and when a worker last recorded it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    queue: Identity,
    /// In milliseconds since 1970. `None` if an older version wrote it.
    #[serde(default)]
    recorded_at: Option<i64>,
}

/// The value of the setting. Older versions read and write only its last queue.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    last: Entry,
    /// The other queues that were recorded shortly before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<Entry>,
}

impl Record {
    fn read(value: &str) -> Result<Self, StoreError> {
        serde_json::from_str(value).map_err(|_| {
            StoreError::Incompatible(format!(
                "a newer clerk-sync has written its setting {SETTING}: use that one"
            ))
        })
    }

    fn queues(self) -> impl Iterator<Item = Entry> {
        std::iter::once(self.last).chain(self.others)
    }

    /// Returns the record after a worker has recorded `queue`, and the other queues in the record
    /// before.
    fn with(before: Option<Self>, queue: &Identity, now: Timestamp) -> (Self, Vec<Identity>) {
        let is_same = |other: &Identity| other.is(queue) || other == queue;
        let mut others: Vec<_> = before
            .into_iter()
            .flat_map(Self::queues)
            .filter(|entry| !is_same(&entry.queue))
            .collect();
        let found = others.iter().map(|entry| entry.queue.clone()).collect();
        others
            .iter_mut()
            .for_each(|entry| _ = entry.recorded_at.get_or_insert(now.ms()));
        others.retain(|entry| {
            entry
                .recorded_at
                .is_some_and(|at| at.abs_diff(now.ms()) <= KEPT_MS)
        });
        (
            Self {
                last: Entry {
                    queue: queue.clone(),
                    recorded_at: Some(now.ms()),
                },
                others,
            },
            found,
        )
    }
}

/// Records the queue of a running worker, and returns the other queues that were recorded in the
/// last minutes.
///
/// Two workers that record at the same moment can drop one another's queue until the next time.
///
/// # Errors
/// Fails when the setting cannot be read or written.
pub async fn record(store: &Store, queue: &Identity) -> Result<Vec<Identity>, StoreError> {
    // A value that cannot be read is replaced: the worker of a version that was rolled back must be
    // found, too.
    let before = store
        .setting(SETTING)
        .await?
        .and_then(|value| Record::read(&value).ok());
    let (record, found) = Record::with(before, queue, now());
    let value = serde_json::to_string(&record)
        .map_err(|error| StoreError::Incompatible(error.to_string()))?;
    store.set(SETTING, &value).await?;
    Ok(found)
}

/// Returns the queues that workers consume, the last recorded first; none in a database that only
/// older versions used.
///
/// # Errors
/// Fails when the setting cannot be read.
pub async fn recorded(store: &Store) -> Result<Vec<Identity>, StoreError> {
    let Some(value) = store.setting(SETTING).await? else {
        return Ok(Vec::new());
    };
    Ok(Record::read(&value)?
        .queues()
        .map(|entry| entry.queue)
        .collect())
}

/// Returns the queues as a phrase.
pub fn listed(queues: &[Identity]) -> String {
    queues
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(namespace: &str) -> Identity {
        Identity::RabbitMq {
            hosts: vec!["mq".into()],
            vhost: "/".into(),
            namespace: namespace.into(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_795_400_000 + seconds).unwrap()
    }

    fn namespaces(record: Record) -> Vec<String> {
        let namespace = |entry: Entry| match entry.queue {
            Identity::RabbitMq { namespace, .. } => namespace,
            Identity::Embedded { path, .. } => path,
        };
        record.queues().map(namespace).collect()
    }

    #[test]
    fn a_queue_is_kept_for_minutes_after_it_was_recorded() {
        let (record, found) = Record::with(None, &queue("live"), at(0));
        assert_eq!(found, []);
        let (record, found) = Record::with(Some(record), &queue("test"), at(10));
        assert_eq!(found, [queue("live")]);
        let (record, found) = Record::with(Some(record), &queue("live"), at(60));
        assert_eq!(found, [queue("test")]);
        let (record, _) = Record::with(Some(record), &queue("live"), at(180));
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(namespaces(record), ["live", "test"]);
        // It is dropped when it is found for the last time. So is one of a clock that is ahead.
        for later in [200, -3600] {
            let (record, found) = Record::with(
                Some(Record::read(&json).unwrap()),
                &queue("live"),
                at(later),
            );
            assert_eq!(
                (namespaces(record), found),
                (vec!["live".to_owned()], vec![queue("test")])
            );
        }
    }

    #[test]
    fn records_of_older_versions_are_read_and_they_read_ours() {
        let old = serde_json::to_string(&queue("old")).unwrap();
        let (record, found) = Record::with(Some(Record::read(&old).unwrap()), &queue("new"), at(0));
        assert_eq!(found, [queue("old")]);
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(namespaces(record), ["new", "old"]);
        assert_eq!(
            serde_json::from_str::<Identity>(&json).unwrap(),
            queue("new")
        );
        assert!(Record::read(r#"{"kind":"other"}"#).is_err());
        // The file of an older version has no ID.
        let file = Identity::Embedded {
            id: String::new(),
            path: "/data/queue.db".into(),
        };
        let (record, _) = Record::with(None, &file, at(0));
        assert_eq!(Record::with(Some(record), &file, at(60)).1, []);
    }
}
