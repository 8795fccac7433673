//! The parts of the service at a glance: a tile for each. Pure.

use super::view_models::When;
use crate::clerk::Timestamp;
use crate::format;
use crate::http::change_feed_status::ChangeFeedStatus;
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

/// The tiles in the order of the page. The change feed has one only while it is on.
pub fn tiles(snapshot: &Snapshot, process: &Process) -> Vec<Tile> {
    let feed = snapshot.change_feed.as_ref();
    let feed = feed.map(|feed| ("feed", "Change feed", change_feed(feed, snapshot.now)));
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
    .chain(feed)
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

/// Whether all changes are recorded, and how far behind the published ones are. Where none is
/// published, the newest one.
fn change_feed(feed: &ChangeFeedStatus, now: Timestamp) -> Reading {
    let age = |time| When::at(time, now).age;
    if !feed.recording {
        return reading("warn", "Off", "in a worker, which does not record changes");
    }
    if let Some((oldest, lag_ms)) = feed.behind() {
        let class = if feed.late().is_some() {
            "warn"
        } else {
            "none"
        };
        let oldest = When::at(oldest, now).utc;
        let note = format!("behind; oldest unpublished change: {oldest}");
        return reading(class, format::ms(lag_ms), note);
    }
    match (feed.lag_ms, feed.newest_at, feed.oldest_kept_at) {
        (Some(_), Some(newest), _) => {
            let note = format!("every change; the newest is from {}", age(newest));
            reading("good", "Published", note)
        }
        (Some(_), None, _) => reading("good", "Published", "no change is kept"),
        (None, Some(newest), Some(oldest)) => {
            let note = format!("the newest change; kept since {}", age(oldest));
            reading("none", age(newest), note)
        }
        (None, ..) => reading("none", NO_VALUE, "no change is kept"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::service_status::Waiting;
    use crate::store::{ChangeFeedState, Time};

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
            change_feed: None,
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

    #[test]
    fn the_feed_says_how_far_behind_it_is_or_what_is_kept() {
        let now = Timestamp::from_ms(1_795_400_000_000).unwrap();
        let ago = |s: i64| Some(Time(Timestamp::from_ms(now.ms() - s * 1000).unwrap()));
        let state = |unpublished| ChangeFeedState {
            is_on: true,
            oldest_kept_at: ago(6 * 86_400),
            newest_at: ago(3),
            oldest_unpublished_at: unpublished,
        };
        let empty = ChangeFeedState {
            is_on: true,
            ..ChangeFeedState::default()
        };
        let off = ChangeFeedState {
            is_on: false,
            ..state(ago(120))
        };
        for (state, is_published, class, value, note) in [
            (
                state(None),
                true,
                "good",
                "Published",
                "every change; the newest is from 3 s ago",
            ),
            (
                state(ago(20)),
                true,
                "none",
                "20 s",
                "behind; oldest unpublished change: 2026-11-23 02:13:00\u{a0}UTC",
            ),
            (
                state(ago(120)),
                true,
                "warn",
                "2 min",
                "behind; oldest unpublished change: 2026-11-23 02:11:20\u{a0}UTC",
            ),
            (empty, true, "good", "Published", "no change is kept"),
            (
                state(ago(90)),
                false,
                "none",
                "3 s ago",
                "the newest change; kept since 6 days ago",
            ),
            (empty, false, "none", "—", "no change is kept"),
            (
                off,
                true,
                "warn",
                "Off",
                "in a worker, which does not record changes",
            ),
        ] {
            let feed = ChangeFeedStatus::of(&state, is_published, now);
            let read = change_feed(&feed, now);
            assert_eq!((read.0, &*read.1, &*read.2), (class, value, note));
        }
    }
}
