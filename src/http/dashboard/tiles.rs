//! The parts of the service at a glance: a tile for each. Pure.

use super::view_models::When;
use crate::format;
use crate::http::service_status::PartStatus;
use crate::http::snapshot::{Snapshot, is_slow};
use crate::store;

/// A part at a glance.
pub struct Tile {
    pub id: &'static str,
    pub name: &'static str,
    /// `good`, `warn`, `bad`, `idle` or `none`.
    pub class: &'static str,
    pub value: String,
    pub note: String,
}

/// What tiles need beside the snapshot.
pub struct Process<'a> {
    /// Whether this process takes webhooks.
    pub receives: bool,
    /// The receivers that workers have heard of lately, by their events.
    pub receivers: &'a [store::Process],
    pub is_stopping: bool,
    /// The name of the database.
    pub database_name: &'static str,
    /// The type of the last event.
    pub last_type: Option<&'a str>,
}

/// Class, value and note of a tile.
type Reading = (&'static str, String, String);

/// A tile without a value.
const NO_VALUE: &str = "—";

/// The note of a tile if the database did not answer.
const UNKNOWN: &str = "not known now";

fn reading(class: &'static str, value: impl Into<String>, note: impl Into<String>) -> Reading {
    (class, value.into(), note.into())
}

fn ready(status: &PartStatus, note: impl Into<String>) -> Reading {
    match status {
        Ok(()) => reading("good", "Ready", note),
        Err(_) => reading("bad", "Not ready", note),
    }
}

/// The tiles in the order of the page.
pub fn tiles(snapshot: &Snapshot, process: &Process) -> Vec<Tile> {
    [
        ("receiver", "Receiver", receiver(snapshot, process)),
        ("queue", "Queue", ready(&snapshot.queue, waiting(snapshot))),
        (
            "database",
            "Database",
            ready(&snapshot.database, process.database_name),
        ),
        ("last", "Last event", last(snapshot, process)),
        ("lag", "Lag now", lag(snapshot)),
        ("failed", "Failed", failed(snapshot)),
    ]
    .into_iter()
    .map(|(id, name, (class, value, note))| Tile {
        id,
        name,
        class,
        value,
        note,
    })
    .collect()
}

fn receiver(snapshot: &Snapshot, process: &Process) -> Reading {
    if !process.receives {
        let heard_of = process.receivers.iter().map(|receiver| receiver.seen_at);
        return match heard_of.max_by_key(|seen_at| seen_at.0) {
            Some(last) => {
                let age = When::at(last, snapshot.now).age;
                let count = format::number(process.receivers.len() as u64);
                reading(
                    "idle",
                    format!("{count} elsewhere"),
                    format!("an event from one {age}"),
                )
            }
            None => reading("idle", "Not here", "this process takes no webhooks"),
        };
    }
    if process.is_stopping {
        return reading("warn", "Stopping", "this process stops");
    }
    if snapshot.queue.is_err() {
        return reading(
            "bad",
            "Refusing",
            "503 until the queue is back; Svix tries again",
        );
    }
    let alarm = snapshot
        .refused
        .and_then(|refused| refused.alarming(snapshot.now));
    match alarm {
        Some((reason, ..)) => reading("warn", "Refusing", reason),
        None => reading("good", "Receiving", "in this process"),
    }
}

/// What waits in the queue, and since when.
pub fn waiting(snapshot: &Snapshot) -> String {
    let waiting = snapshot.waiting.summary();
    match snapshot.waiting.oldest_received_at {
        Some(time) => format!(
            "{waiting}, the oldest from {}",
            When::at(time, snapshot.now).age
        ),
        None => waiting,
    }
}

fn last(snapshot: &Snapshot, process: &Process) -> Reading {
    match snapshot.last_received_at {
        Some(time) => {
            let received = When::at(time, snapshot.now);
            reading("none", received.age, process.last_type.unwrap_or_default())
        }
        None if snapshot.database.is_err() => reading("none", NO_VALUE, UNKNOWN),
        None => reading("none", NO_VALUE, "none yet"),
    }
}

fn lag(snapshot: &Snapshot) -> Reading {
    match snapshot.lag_now() {
        Some((p50, p95)) => {
            let class = if is_slow(p95) { "warn" } else { "none" };
            let note = format!("p95; median {}", format::ms(p50));
            reading(class, format::ms(p95), note)
        }
        None if snapshot.hour.is_none() => reading("none", NO_VALUE, UNKNOWN),
        None => reading("none", NO_VALUE, "nothing in the last minutes"),
    }
}

fn failed(snapshot: &Snapshot) -> Reading {
    match snapshot.failed.map(|failed| failed.count) {
        None => reading("none", NO_VALUE, UNKNOWN),
        Some(0) => reading("good", "None", "nothing waits for you"),
        Some(count) => reading("bad", format::number(count), "kept until you act"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clerk::Timestamp;
    use crate::http::service_status::Waiting;

    #[test]
    fn a_tile_says_only_what_is_known() {
        let waiting = Waiting {
            depth: Some(0),
            taken: Some(20),
            ..Waiting::default()
        };
        let snapshot = Snapshot {
            queue: Ok(()),
            database: Err("gone".into()),
            worker: Ok(()),
            waiting: &waiting,
            failed: None,
            last_received_at: None,
            hour: None,
            refused: None,
            paused: None,
            now: Timestamp::from_ms(1_795_400_000_000).unwrap(),
        };
        let worker = Process {
            receives: false,
            receivers: &[],
            is_stopping: false,
            database_name: "PostgreSQL",
            last_type: None,
        };
        let read = |snapshot: &Snapshot, process: &Process| {
            let tiles = tiles(snapshot, process).into_iter();
            tiles
                .map(|tile| (tile.value, tile.note))
                .collect::<Vec<_>>()
        };
        let expected = |value: &str, note: &str| (value.to_owned(), note.to_owned());
        let shown = read(&snapshot, &worker);
        assert_eq!(
            shown[0],
            expected("Not here", "this process takes no webhooks")
        );
        let held = "0 waiting, 20 taken by this process and not applied yet";
        assert_eq!(shown[1], expected("Ready", held));
        assert_eq!(shown[3], expected("—", "not known now"));
        let both = Process {
            receives: true,
            ..worker
        };
        let away = Snapshot {
            queue: Err("connecting to RabbitMQ".into()),
            ..snapshot
        };
        assert_eq!(read(&away, &both)[0].0, "Refusing");
    }
}
